// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Passes from graphs on buffers to kernels of devices and the host's calls of them.
#ifndef ADAPTER_LIB_CODEGEN_GPU_PASSES_TD
#define ADAPTER_LIB_CODEGEN_GPU_PASSES_TD

include "mlir/Pass/PassBase.td"

def PlaceOnDevicePass : Pass<"kernel-place-on-device", "mlir::ModuleOp"> {
  let summary = "Put the buffers of graphs into the device's memory";
  let description = [{
    Graphs are the functions with `adapter.parameters`; others run on the host, when an adapter is loaded.
    Inputs are copied to the device and results back; what lies between has the memory space
    `#gpu.address_space<global>`.
  }];
  let dependentDialects = ["mlir::arith::ArithDialect", "mlir::gpu::GPUDialect", "mlir::memref::MemRefDialect"];
}

def ConvertToLaunchesPass : Pass<"convert-kernel-to-gpu", "mlir::ModuleOp"> {
  let summary = "Turn what graphs compute on device buffers into kernel launches";
  let description = [{
    linalg.generic, kernel.linear, kernel.batch_matmul and the row updates become gpu.launch ops of groups in one
    dimension over buffers of one dimension. Arithmetic on sizes stays on the host. A failed kernel.require leaves its
    number in a status buffer, which the host looks at once, at the end.
  }];
  let dependentDialects = ["::adapter::kernel::KernelDialect", "mlir::affine::AffineDialect",
                           "mlir::arith::ArithDialect", "mlir::cf::ControlFlowDialect", "mlir::gpu::GPUDialect",
                           "mlir::linalg::LinalgDialect", "mlir::LLVM::LLVMDialect", "mlir::math::MathDialect",
                           "mlir::memref::MemRefDialect", "mlir::scf::SCFDialect"];
  let options = [Option<"threads", "threads", "int64_t", /*default=*/"256", "Threads of a group">,
                 Option<"reductionThreads", "reduction-threads", "int64_t", /*default=*/"64",
                        "Threads of a group that reduces together">,
                 Option<"tileRows", "tile-rows", "int64_t", /*default=*/"64", "Rows of a product's tile">,
                 Option<"tileColumns", "tile-columns", "int64_t", /*default=*/"64", "Columns of a product's tile">,
                 Option<"tileDepth", "tile-depth", "int64_t", /*default=*/"16", "Depth of a tile's panels">,
                 Option<"threadRows", "thread-rows", "int64_t", /*default=*/"4", "Rows of a thread's block">,
                 Option<"threadColumns", "thread-columns", "int64_t", /*default=*/"4",
                        "Columns of a thread's block">,
                 Option<"maxGroups", "max-groups", "int64_t", /*default=*/"65535", "Groups of a launch">];
}

def CollectKernelsPass : Pass<"kernel-collect-kernels", "mlir::ModuleOp"> {
  let summary = "Gather outlined kernels in one module, equal ones once";
  let description = [{
    Kernels of gpu.launch_func ops move to the gpu.module `kernels`. Their arguments become buffers first, then
    scalars of 32 bits, whatever the target. The module's `kernel.table` lists them by number.
  }];
  let dependentDialects = ["mlir::arith::ArithDialect", "mlir::gpu::GPUDialect"];
}

def LowerDeviceCallsPass : Pass<"kernel-lower-device-calls", "mlir::ModuleOp"> {
  let summary = "Lower the host's use of a device to calls through the device table";
  let description = [{
    Allocations, copies, parameters, banks and launches become calls of adapter_device_v1's functions; a load
    or store of a device buffer on the host copies one element. Runs behind kernel-outline-parallel, which
    gives functions their frame.
  }];
  let dependentDialects = ["::adapter::kernel::KernelDialect", "mlir::arith::ArithDialect",
                           "mlir::LLVM::LLVMDialect", "mlir::memref::MemRefDialect"];
}

def LowerDeviceMemoryPass : Pass<"kernel-lower-device-memory", "mlir::gpu::GPUModuleOp"> {
  let summary = "Lower buffers of kernels to pointers, for targets of LLVM";
  let description = [{
    Kernel arguments become pointers in address space 1, memory of groups a global in address space 3. Booleans
    are bytes. Math functions that LLVM's targets have become intrinsics: without them, conversions call the
    vendor's libraries.
  }];
  let dependentDialects = ["mlir::arith::ArithDialect", "mlir::LLVM::LLVMDialect"];
  let options = [Option<"indexBits", "index-bits", "unsigned", /*default=*/"32", "Width of an index">];
}

def PrepareSPIRVPass : Pass<"kernel-prepare-spirv", "mlir::ModuleOp"> {
  let summary = "Give kernels the form that conversion to SPIR-V for Vulkan takes";
  let description = [{
    Buffers become storage buffers, scalars a buffer behind them, memory of groups allocations within the kernel,
    booleans bytes.
  }];
  let dependentDialects = ["mlir::arith::ArithDialect", "mlir::memref::MemRefDialect",
                           "mlir::spirv::SPIRVDialect"];
}

def EraseSourcesPass : Pass<"kernel-erase-sources", "mlir::ModuleOp"> {
  let summary = "Drop the gpu.module whose kernels are SPIR-V by now";
  let description = [{
    Nothing refers to it: launches are calls by number.
  }];
}

#endif // ADAPTER_LIB_CODEGEN_GPU_PASSES_TD
