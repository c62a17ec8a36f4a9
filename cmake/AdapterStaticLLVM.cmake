# Debian's MLIR and LLD libraries name libLLVM.so as what they need. Here they get the static libraries of the components
# that this project uses instead. ADAPTER_LLVM_STUBS: a source to be linked along.
llvm_map_components_to_libnames(components
  AMDGPU NVPTX SPIRV X86 AggressiveInstCombine Analysis AsmParser BitReader BitWriter Core DTLTO DebugInfoDWARF Demangle
  ExecutionEngine IRPrinter IRReader InstCombine JITLink LTO Linker MC Object Option OrcJIT Passes ScalarOpts Support
  Target TargetParser TransformUtils Vectorize ipo)
# Polly, which link-time optimisation may call, is another package; Z3 is for the static analyser.
foreach(target IN LISTS MLIR_EXPORTED_TARGETS LLD_EXPORTED_TARGETS LLVM_AVAILABLE_LIBS)
  if(NOT TARGET ${target})
    continue()
  endif()
  get_target_property(needed ${target} INTERFACE_LINK_LIBRARIES)
  if(needed)
    list(TRANSFORM needed REPLACE "^LLVM$" "AdapterLLVM")
    list(TRANSFORM needed REPLACE ":LLVM>$" ":AdapterLLVM>")
    list(TRANSFORM needed REPLACE "^zstd::libzstd_shared$" "zstd::libzstd_static")
    list(FILTER needed EXCLUDE REGEX "Polly|/libz3")
    set_target_properties(${target} PROPERTIES INTERFACE_LINK_LIBRARIES "${needed}")
  endif()
endforeach()
add_library(AdapterLLVM INTERFACE)
target_link_libraries(AdapterLLVM INTERFACE ${components})

# For link-time optimisation, which nothing here asks for, LLD registers every target that LLVM was built with. The
# functions that do so are empty here for those that this project generates no code for, so that they stay out.
set(text "void getPollyPluginInfo() {}\n")
foreach(target IN LISTS LLVM_ALL_TARGETS LLVM_TARGETS_TO_BUILD)
  list(APPEND targets ${target})
endforeach()
list(REMOVE_DUPLICATES targets)
list(REMOVE_ITEM targets AMDGPU NVPTX SPIRV X86)
foreach(target IN LISTS targets)
  foreach(what TargetInfo Target TargetMC AsmPrinter AsmParser Disassembler)
    string(APPEND text "extern \"C\" void LLVMInitialize${target}${what}() {}\n")
  endforeach()
endforeach()
set(ADAPTER_LLVM_STUBS "${PROJECT_BINARY_DIR}/LLVMStubs.cpp")
file(CONFIGURE OUTPUT "${ADAPTER_LLVM_STUBS}" CONTENT "${text}")
