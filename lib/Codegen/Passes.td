// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Passes from linalg and kernel ops on buffers down to LLVM.
#ifndef ADAPTER_LIB_CODEGEN_PASSES_TD
#define ADAPTER_LIB_CODEGEN_PASSES_TD

include "mlir/Pass/PassBase.td"

def FreeBuffersPass : Pass<"kernel-free-buffers", "mlir::ModuleOp"> {
  let summary = "Free each buffer after its last use";
  let description = [{
    For allocations of straight-line code: inserts memref.dealloc behind the last operation of the block that
    uses the buffer or a view of it. Buffers that a function returns stay.
  }];
  let dependentDialects = ["mlir::memref::MemRefDialect"];
}

def PlanMemoryPass : Pass<"kernel-plan-memory", "mlir::ModuleOp"> {
  let summary = "Give buffers of straight-line code their places in one arena";
  let description = [{
    Buffers whose sizes follow from what a function is called with get offsets in one buffer that is allocated when
    the function begins. Two buffers that live at the same time do not overlap, whatever the sizes: of each such
    pair, one lies below the other, and an offset is the end of the highest buffer below, computed at run time.
    Which of the two lies below is planned for an example, in which every size that varies is `sample`: largest
    buffers first, each at the lowest place that is free, so that memory is reused across buffers of all sizes.

    A buffer that a public function returns is written where the caller wants it (kernel.output) where its shape is
    known in time; `kernel.placed` lists these results. What a function decides while it runs (the number of
    non-zeros) has no place in the plan; kernel-free-buffers frees it after its last use.

    ```mlir
    // before
    func.func private @chain(%x: memref<?xf32>) {
      %c0 = arith.constant 0 : index
      %n = memref.dim %x, %c0 : memref<?xf32>
      %a = memref.alloc(%n) : memref<?xf32>
      memref.copy %x, %a : memref<?xf32> to memref<?xf32>
      return
    }
    // after
    func.func private @planned(%x: memref<?xf32>, %offset: index, %total: index) {
      %c0 = arith.constant 0 : index
      %n = memref.dim %x, %c0 : memref<?xf32>
      %arena = memref.alloc(%total) : memref<?xi8>
      %a = memref.view %arena[%offset][%n] : memref<?xi8> to memref<?xf32>
      memref.copy %x, %a : memref<?xf32> to memref<?xf32>
      memref.dealloc %arena : memref<?xi8>
      return
    }
    ```
  }];
  let dependentDialects = ["::adapter::kernel::KernelDialect", "mlir::arith::ArithDialect",
                           "mlir::memref::MemRefDialect"];
  let options = [Option<"sample", "sample", "int64_t", /*default=*/"32", "The example's size of what varies">];
  let statistics = [Statistic<"numPlanned", "num-planned", "Buffers with a place in an arena">,
                    Statistic<"numPlaced", "num-placed", "Results that are written where the caller wants them">,
                    Statistic<"numLeft", "num-left", "Buffers that the plan could not hold">];
}

def LowerGenericsPass : Pass<"convert-linalg-to-kernel-loops", "mlir::ModuleOp"> {
  let summary = "Lower linalg.generic on buffers to parallel and sequential loops";
  let description = [{
    Parallel dimensions but the last become one kernel.parallel; the last is the innermost loop, for LLVM to
    vectorise. Reductions accumulate in registers, of results that lie side by side some at once. Elementwise ops on equal
    shapes become one flat loop. All buffers are contiguous.
  }];
  let dependentDialects = ["::adapter::kernel::KernelDialect", "mlir::arith::ArithDialect",
                           "mlir::memref::MemRefDialect", "mlir::scf::SCFDialect", "mlir::vector::VectorDialect"];
}

def LowerProductsPass : Pass<"kernel-lower-products", "mlir::ModuleOp"> {
  let summary = "Lower products to register-blocked vector loops";
  let description = [{
    kernel.linear and kernel.batch_matmul call one tile function per way of starting the accumulators. The
    tile keeps rows x vectors accumulators in registers over all of K; rows left over are smaller tiles, and a
    last block of fewer columns is tiles of fewer vectors.
    kernel.row_linear asks what the call's adapters do at its site, makes the products with their first factors, and
    then, block by block of columns, the base's product with the second factors' in the same tiles. Entries' steps are
    run by one function that reads them.
    Where the weight has a `format` of integers, rows are rounded to integers, in blocks of 32 steps of K with a scale
    each, and their products are summed as integers; the sums do not depend on the machine. With `bf16-activations`
    rows are rounded to bf16 for a weight of bf16; sums are f32's in the same order with and without AVX512-BF16.
    kernel.update_weight adds the tiles of a thin product to panels of the weight, each read and written once.
    kernel.grouped_linear calls it for each group's rows. kernel.pack and the other ops of experts become loops;
    exchanges between processes stay and get contiguous buffers.
  }];
  let dependentDialects = ["::adapter::kernel::KernelDialect", "mlir::arith::ArithDialect", "mlir::cf::ControlFlowDialect",
                           "mlir::func::FuncDialect", "mlir::LLVM::LLVMDialect", "mlir::memref::MemRefDialect",
                           "mlir::scf::SCFDialect", "mlir::vector::VectorDialect", "mlir::math::MathDialect"];
  let options = [Option<"lanes", "lanes", "int64_t", /*default=*/"16", "Lanes of a f32 vector register">,
                 Option<"rows", "rows", "int64_t", /*default=*/"12", "Rows of the register block">,
                 Option<"vectors", "vectors", "int64_t", /*default=*/"2", "Vectors in a row of the register block">,
                 Option<"integerActivations", "integer-activations", "bool", /*default=*/"true",
                        "Round rows to integers of 8 bits where the weight is of integers">,
                 Option<"vnni", "vnni", "bool", /*default=*/"false", "The processor has AVX512-VNNI or AVX-VNNI">,
                 Option<"bf16Activations", "bf16-activations", "bool", /*default=*/"false",
                        "Round rows to bf16 where the weight is of bf16">,
                 Option<"bf16", "bf16", "bool", /*default=*/"false", "Sum pairs of bf16 by AVX512-BF16">];
}

def OutlineParallelPass : Pass<"kernel-outline-parallel", "mlir::ModuleOp"> {
  let summary = "Turn parallel loops into functions that the host calls";
  let description = [{
    The body of each outermost kernel.parallel becomes a private function over a range of iterations; the
    loop becomes a call of a declaration with the attribute `kernel.launch`, which bind-host later fills in.
    Loops within a parallel loop become scf.for. Every function gets the call's frame as first argument.
  }];
  let dependentDialects = ["::adapter::kernel::KernelDialect", "mlir::arith::ArithDialect",
                           "mlir::func::FuncDialect", "mlir::LLVM::LLVMDialect", "mlir::scf::SCFDialect"];
}

def LowerCallsPass : Pass<"kernel-lower-calls", "mlir::ModuleOp"> {
  let summary = "Lower parameters, views and asserts to what LLVM conversion knows";
  let description = [{
    kernel.parameter reads the call's parameter table, kernel.reshape becomes memref.reinterpret_cast,
    kernel.require and cf.assert leave the function after telling the host, exchanges between processes call the
    host's collectives. Runs after control flow is lowered to blocks.
  }];
  let dependentDialects = ["::adapter::kernel::KernelDialect", "mlir::arith::ArithDialect", "mlir::LLVM::LLVMDialect",
                           "mlir::cf::ControlFlowDialect", "mlir::memref::MemRefDialect",
                           "mlir::func::FuncDialect", "mlir::ub::UBDialect"];
}

def BindHostPass : Pass<"kernel-bind-host", "mlir::ModuleOp"> {
  let summary = "Connect LLVM functions to the host table and emit the artifact's entry points";
  let description = [{
    Replaces allocation calls by calls through the host table, fills in `kernel.launch` declarations and
    makes, for every function with `kernel.entry`, the function over adapter_call_v1 that unpacks inputs
    and hands outputs over.
  }];
  let dependentDialects = ["mlir::LLVM::LLVMDialect"];
}

def ExpandMathPass : Pass<"kernel-expand-math", "mlir::ModuleOp"> {
  let summary = "Expand math functions to arithmetic, so that code needs no libm";
  let description = [{
    exp, log, tanh, erf, sin, cos and the like become polynomials in f32 (f16 and bf16 by way of f32);
    operations that processors have (sqrt, floor, ceil, fma, ...) stay.
  }];
  let dependentDialects = ["mlir::arith::ArithDialect", "mlir::math::MathDialect",
                           "mlir::vector::VectorDialect"];
}

#endif // ADAPTER_LIB_CODEGEN_PASSES_TD
