// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Holds the precompiled header; see AdapterMLIR.cmake.
