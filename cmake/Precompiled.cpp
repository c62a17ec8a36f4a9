// Holds the precompiled header; see AdapterMLIR.cmake.
