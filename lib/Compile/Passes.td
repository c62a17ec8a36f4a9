// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Passes that split a program by binding time.
#ifndef ADAPTER_LIB_COMPILE_PASSES_TD
#define ADAPTER_LIB_COMPILE_PASSES_TD

include "mlir/Pass/PassBase.td"

def StagePass : Pass<"adapter-stage", "mlir::ModuleOp"> {
  let summary = "Evaluate what is known at build time";
  let description = [{
    In functions with a parameter table (`adapter.parameters`): values that depend on parameters alone and
    are read by the rest are computed now, by compiled code, and become parameters. Parameters that nothing
    reads any more leave the table.
  }];
  let dependentDialects = ["::adapter::AdapterDialect", "::adapter::kernel::KernelDialect"];
}

def MergePass : Pass<"adapter-merge", "mlir::ModuleOp"> {
  let summary = "Evaluate the weights whose updates are known at build";
  let description = [{
    Every `adapter.materialize` whose weight and update are made of parameters with contents is a program
    without inputs: it is compiled for this machine, run, and replaced by a parameter of scope "merged" with
    the result. Equal forms are compiled once, for tensors of any size. Updates that come later stay. A result
    in f16 or bf16 is rounded once, from f64; what that loses of an update, |Q(W + dW) - (W + dW)| / |dW|, must
    not be more than 0.1.

    ```mlir
    // before
    %w = adapter.parameter "base"::"w" : tensor<64x32xf32>
    %a = adapter.parameter "x"::"q.weight.lora.A" : tensor<8x64xf32>
    %b = adapter.parameter "x"::"q.weight.lora.B" : tensor<32x8xf32>
    %u = adapter.low_rank %a, %b : tensor<8x64xf32>, tensor<32x8xf32> -> !adapter.update<tensor<32x64xf32>>
    %t = adapter.transpose %u [1, 0] : !adapter.update<tensor<32x64xf32>> -> !adapter.update<tensor<64x32xf32>>
    %n = adapter.materialize %w, %t : tensor<64x32xf32>
    // after
    %n = adapter.parameter "merged"::"w" : tensor<64x32xf32>
    ```
  }];
  let dependentDialects = ["::adapter::AdapterDialect", "::adapter::kernel::KernelDialect",
                           "mlir::arith::ArithDialect", "mlir::cf::ControlFlowDialect",
                           "mlir::func::FuncDialect", "mlir::linalg::LinalgDialect",
                           "mlir::LLVM::LLVMDialect", "mlir::math::MathDialect", "mlir::memref::MemRefDialect",
                           "mlir::scf::SCFDialect", "mlir::tensor::TensorDialect", "mlir::ub::UBDialect",
                           "mlir::vector::VectorDialect"];
  let options = [Option<"allowLossy", "allow-lossy", "bool", "false",
                        "Merge into narrow weights that lose more than a tenth of the update to rounding">];
  let statistics = [Statistic<"numLossy", "num-lossy", "Weights that lose more than a tenth of their update">,
                    Statistic<"numMerged", "num-merged", "Weights that were merged">,
                    Statistic<"numCompiled", "num-compiled", "Forms that were compiled">];
}

def MergeModulesPass : Pass<"adapter-merge-modules", "mlir::ModuleOp"> {
  let summary = "Fold mixtures of masked modules into one factor";
  let description = [{
    Every `adapter.mask_mix` of parameters with contents is computed by compiled code, in f64, and becomes a parameter
    of scope "merged": what is deployed is one plain adapter, without a trace of its modules. Masks of a disjoint
    mixture that overlap are an error. It runs before `adapter-merge`, which merges low-rank updates on into the
    weights.

    ```mlir
    // before
    %w = adapter.parameter "x"::"up.0" : tensor<32x8xf32>
    %v = adapter.parameter "x"::"up.1" : tensor<32x8xf32>
    %m = adapter.parameter "x"::"mask.0" : tensor<32x8xi8>
    %n = adapter.parameter "x"::"mask.1" : tensor<32x8xi8>
    %u = adapter.mask_mix mean %w, %v masks %m, %n {disjoint} : tensor<32x8xf32>, tensor<32x8xf32> masks tensor<32x8xi8>, tensor<32x8xi8> -> tensor<32x8xf32>
    // after
    %u = adapter.parameter "merged"::"up.0" : tensor<32x8xf32>
    ```
  }];
  let dependentDialects = ["::adapter::AdapterDialect", "::adapter::kernel::KernelDialect",
                           "mlir::arith::ArithDialect", "mlir::cf::ControlFlowDialect",
                           "mlir::func::FuncDialect", "mlir::linalg::LinalgDialect",
                           "mlir::LLVM::LLVMDialect", "mlir::math::MathDialect", "mlir::memref::MemRefDialect",
                           "mlir::scf::SCFDialect", "mlir::tensor::TensorDialect", "mlir::ub::UBDialect",
                           "mlir::vector::VectorDialect"];
  let statistics = [Statistic<"numMerged", "num-merged", "Mixtures that were folded">];
}

def PartitionExpertsPass : Pass<"adapter-partition-experts", "mlir::ModuleOp"> {
  let summary = "Say which rank has which expert";
  let description = [{
    Every `adapter.experts` that has no ranks gets `ranks` and a placement with as many experts on each. With a
    profile (`adapter-run profile`) the placement balances how often the experts of a rank are chosen and keeps
    experts that tokens choose together on one rank; without one, experts stay in order. Ranks that do not divide the
    experts, and a profile of another model, are errors.

    ```mlir
    // before
    func.func @example(%x: tensor<?x64xf32>, %i: tensor<?x2xi64>, %w: tensor<?x2xf32>, %up: tensor<8x192x64xf32>, %down: tensor<8x64x96xf32>) -> tensor<?x64xf32> {
      %y = adapter.experts silu %x, %i, %w, %up, %down {gated} : tensor<?x64xf32>, tensor<?x2xi64>, tensor<?x2xf32>, tensor<8x192x64xf32>, tensor<8x64x96xf32> -> tensor<?x64xf32>
      return %y : tensor<?x64xf32>
    }
    // after, with ranks=2
    func.func @example(%x: tensor<?x64xf32>, %i: tensor<?x2xi64>, %w: tensor<?x2xf32>, %up: tensor<8x192x64xf32>, %down: tensor<8x64x96xf32>) -> tensor<?x64xf32> {
      %y = adapter.experts silu %x, %i, %w, %up, %down ranks 2 placement [0, 0, 0, 0, 1, 1, 1, 1] {gated} : tensor<?x64xf32>, tensor<?x2xi64>, tensor<?x2xf32>, tensor<8x192x64xf32>, tensor<8x64x96xf32> -> tensor<?x64xf32>
      return %y : tensor<?x64xf32>
    }
    ```
  }];
  let dependentDialects = ["::adapter::AdapterDialect"];
  let options = [Option<"ranks", "ranks", "int64_t", /*default=*/"1", "Processes that share the experts">,
                 Option<"profile", "profile", "std::string", /*default=*/"\"\"", "What adapter-run profile wrote">,
                 Option<"plan", "plan", "bool", /*default=*/"false",
                        "Print balance and traffic of the placement, of round-robin and of EPLB's packing">];
  let statistics = [Statistic<"numPlaced", "num-placed", "Layers of experts that were placed">];
}

def NarrowWeightsPass : Pass<"adapter-narrow-weights", "mlir::ModuleOp"> {
  let summary = "Store weights in a narrow format";
  let description = [{
    Weights of `kernel.linear` and `kernel.row_linear` that are packed from parameters alone are encoded, and the products
    read them so. A weight whose number of rows is not a multiple of the format's group is stored in bf16, one with an odd number of
    them in f32.

    ```mlir
    // before
    func.func @example(%x: tensor<?x64xf32>, %p0: tensor<?x40xf32>, %q0: tensor<2x64x32xf32>) -> tensor<?x40xf32> {
      %w = kernel.parameter 0 : tensor<64x40xf32>
      %q = kernel.pack ins(%w : tensor<64x40xf32>) outs(%q0 : tensor<2x64x32xf32>) -> tensor<2x64x32xf32>
      %y = kernel.linear ins(%x, %q : tensor<?x64xf32>, tensor<2x64x32xf32>) outs(%p0 : tensor<?x40xf32>) -> tensor<?x40xf32>
      return %y : tensor<?x40xf32>
    }
    // after
    func.func @narrow(%x: tensor<?x64xf32>, %p0: tensor<?x40xf32>, %q0: tensor<2x64x32xf32>) -> tensor<?x40xf32> {
      %w = kernel.parameter 0 : tensor<64x40xf32>
      %q = kernel.pack ins(%w : tensor<64x40xf32>) outs(%q0 : tensor<2x64x32xf32>) -> tensor<2x64x32xf32>
      %e0 = tensor.empty() : tensor<2x2x576xi8>
      %e = kernel.encode ins(%q : tensor<2x64x32xf32>) outs(%e0 : tensor<2x2x576xi8>) {format = #kernel.format<int4>} -> tensor<2x2x576xi8>
      %y = kernel.linear ins(%x, %e : tensor<?x64xf32>, tensor<2x2x576xi8>) outs(%p0 : tensor<?x40xf32>) {format = #kernel.format<int4>} -> tensor<?x40xf32>
      return %y : tensor<?x40xf32>
    }
    ```
  }];
  let dependentDialects = ["::adapter::kernel::KernelDialect", "mlir::tensor::TensorDialect"];
  let options = [Option<"number", "number", "std::string", /*default=*/"\"bf16\"", "bf16, f16, int8 or int4">,
                 Option<"group", "group", "int64_t", /*default=*/"0", "Rows that share a scale; 0: 32">];
  let statistics = [Statistic<"numNarrowed", "num-narrowed", "Weights that are stored narrow">,
                    Statistic<"numOther", "num-other", "Weights whose rows do not fit the format">];
}

def RepackWeightsPass : Pass<"adapter-repack-weights", "mlir::ModuleOp"> {
  let summary = "Have products read weights as the integers that they are stored as";
  let description = [{
    A `kernel.pack` of a `kernel.dequantize` whose rows are the weight's columns, read by `kernel.linear` or
    `kernel.row_linear`, becomes a `kernel.repack`: nothing is rounded.

    ```mlir
    // before
    func.func @example(%x: tensor<?x64xf32>, %q: tensor<40x32xi8>, %s: tensor<40x2xf32>, %w0: tensor<64x40xf32>, %p0: tensor<2x64x32xf32>, %y0: tensor<?x40xf32>) -> tensor<?x40xf32> {
      %w = kernel.dequantize ins(%q, %s : tensor<40x32xi8>, tensor<40x2xf32>) outs(%w0 : tensor<64x40xf32>) {block = 32 : i64, format = #kernel.format<int4>, transposed} -> tensor<64x40xf32>
      %p = kernel.pack ins(%w : tensor<64x40xf32>) outs(%p0 : tensor<2x64x32xf32>) -> tensor<2x64x32xf32>
      %y = kernel.linear ins(%x, %p : tensor<?x64xf32>, tensor<2x64x32xf32>) outs(%y0 : tensor<?x40xf32>) -> tensor<?x40xf32>
      return %y : tensor<?x40xf32>
    }
    // after
    func.func @repacked(%x: tensor<?x64xf32>, %q: tensor<40x32xi8>, %s: tensor<40x2xf32>, %y0: tensor<?x40xf32>) -> tensor<?x40xf32> {
      %p0 = tensor.empty() : tensor<2x2x576xi8>
      %p = kernel.repack ins(%q, %s : tensor<40x32xi8>, tensor<40x2xf32>) outs(%p0 : tensor<2x2x576xi8>) {block = 32 : i64, format = #kernel.format<int4>} -> tensor<2x2x576xi8>
      %y = kernel.linear ins(%x, %p : tensor<?x64xf32>, tensor<2x2x576xi8>) outs(%y0 : tensor<?x40xf32>) {format = #kernel.format<int4>} -> tensor<?x40xf32>
      return %y : tensor<?x40xf32>
    }
    ```
  }];
  let dependentDialects = ["::adapter::kernel::KernelDialect", "mlir::tensor::TensorDialect"];
  let statistics = [Statistic<"numRepacked", "num-repacked", "Weights that stay integers">];
}

def CheckBoundsPass : Pass<"adapter-check-bounds", "mlir::func::FuncOp"> {
  let summary = "Check what users' forms compute as they run";
  let description = [{
    In functions with the attribute `adapter.checked`, elements that are read or written get a check that they lie within
    their tensor, ops whose sizes must fit one that they do (upstream's RuntimeVerifiableOpInterface), and loops that
    they end soon, but with `adapter.trusted_loops`: those of the library's forms that an adapter's indices steer. A
    check that fails makes the call fail.

    ```mlir
    // before
    func.func @example(%x: tensor<?xf64>, %i: index) -> f64 attributes {adapter.checked} {
      %e = tensor.extract %x[%i] : tensor<?xf64>
      return %e : f64
    }
    // after
    func.func @example(%x: tensor<?xf64>, %i: index) -> f64 attributes {adapter.checked} {
      %c0 = arith.constant 0 : index
      %n = tensor.dim %x, %c0 : tensor<?xf64>
      %inside = arith.cmpi ult, %i, %n : index
      cf.assert %inside, "a form reads or writes beyond a tensor"
      %e = tensor.extract %x[%i] : tensor<?xf64>
      return %e : f64
    }
    ```
  }];
  let dependentDialects = ["mlir::arith::ArithDialect", "mlir::cf::ControlFlowDialect", "mlir::tensor::TensorDialect"];
}

#endif // ADAPTER_LIB_COMPILE_PASSES_TD
