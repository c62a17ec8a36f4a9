// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Conversions between this project's dialects and upstream ones.
#ifndef ADAPTER_LIB_CONVERSION_PASSES_TD
#define ADAPTER_LIB_CONVERSION_PASSES_TD

include "mlir/Pass/PassBase.td"

def ConvertONNXToLinalgPass : Pass<"convert-onnx-to-linalg", "mlir::ModuleOp"> {
  let summary = "Lower ONNX graphs to functions over linalg and kernel ops";
  let description = [{
    Every `onnx.graph` becomes a `func.func` on tensors. Nodes are lowered by the table of lowerings, found by
    domain, operator and version; one that is missing is an error that names the node. Sizes are tracked as
    values: dims of one name are one value, shape computations become scalar arithmetic. Products with
    weights become `kernel.linear` over `kernel.pack`.

    Along with it goes a data-flow analysis of which row of the call, and which token of it, each position of a value
    belongs to, by a transfer function per operator whose default is that this is lost. Sites of rows and tokens ask
    it: adapters that cannot be served are errors, room that cannot is left out.
  }];
  let dependentDialects = ["::adapter::AdapterDialect", "::adapter::kernel::KernelDialect", "mlir::arith::ArithDialect",
                           "mlir::cf::ControlFlowDialect", "mlir::func::FuncDialect",
                           "mlir::linalg::LinalgDialect", "mlir::math::MathDialect", "mlir::scf::SCFDialect",
                           "mlir::tensor::TensorDialect"];
  let options = [Option<"columnBlock", "column-block", "int64_t", /*default=*/"32",
                        "Columns of a block of a packed weight: two vector registers of f32">,
                 Option<"rowInput", "row-input", "std::string", /*default=*/"\"\"",
                        "The input that carries the rows of a call; the first one where it is empty">,
                 Option<"rowAxis", "row-axis", "int64_t", /*default=*/"0", "The axis of rows of that input">,
                 Option<"narrow", "narrow", "bool", /*default=*/"false",
                        "Weights of products are to be stored in a narrow format">];
}

def LowerMaterializePass : Pass<"adapter-lower-materialize"> {
  let summary = "Compute weights from the updates that are known";
  let description = [{
    Every `adapter.materialize` in a function whose update is made of tensors at hand becomes linalg: the weight
    widened to f64, what the update does to it, the result rounded to the weight's type. Sizes may be
    dynamic. Updates that come from `adapter.select` or from outside the function stay.

    ```
    // before
    %u = adapter.dense %v : tensor<?xf16> -> !adapter.update<tensor<?xf32>>
    %n = adapter.materialize %w, %u : tensor<?xf32>
    // after, shortened
    %0 = linalg.generic ins(%w : tensor<?xf32>) ... arith.extf
    %1 = linalg.generic ins(%v : tensor<?xf16>) outs(%0 : tensor<?xf64>) ... arith.addf
    %n = linalg.generic ins(%1 : tensor<?xf64>) ... arith.truncf
    ```
  }];
  let dependentDialects = ["mlir::arith::ArithDialect", "mlir::linalg::LinalgDialect",
                           "mlir::math::MathDialect", "mlir::scf::SCFDialect",
                           "mlir::tensor::TensorDialect"];
}

def LowerDivisionsPass : Pass<"kernel-lower-divisions"> {
  let summary = "Divisions of a dimension into several of dynamic sizes, as the same memory seen otherwise";
  let description = [{
    A `tensor.expand_shape` with more than one dynamic size in a group becomes `kernel.reshape`.

    ```
    // before
    %y = tensor.expand_shape %x [[0, 1]] output_shape [%a, %b] : tensor<?xf64> into tensor<?x?xf64>
    // after
    %y = kernel.reshape %x [%a, %b] : tensor<?xf64> to tensor<?x?xf64>
    ```
  }];
  let dependentDialects = ["::adapter::kernel::KernelDialect"];
}

def RaiseExpertsPass : Pass<"adapter-raise-experts"> {
  let summary = "Find mixtures of experts that gather each token's weights";
  let description = [{
    Exporters write a mixture of experts as one program for all tokens: every token's expert weights are gathered,
    so that the same matrices are copied again and again, and multiplied with that token alone. Where a graph
    holds this pattern, over weights that are parameters, it becomes one `adapter.experts`, and a router that is
    a top-k of scores becomes `adapter.route`; the experts of a router of another kind read its nodes' results.
    What differs from the pattern stays. Nodes that nothing reads any more are erased.

    ```
    // before, shortened
    %p = onnx.node "Softmax"(%logits) {node_attributes = {axis = -1 : i64}}
    %s, %e = onnx.node "TopK"(%p, %two)
    %n = onnx.node "ReduceSum"(%s, %last)
    %w = onnx.node "Div"(%s, %n)
    %g = onnx.node "Gather"(%up, %flat_e) ... MatMul, Split, Sigmoid, Mul, Mul, Gather, MatMul, Mul, Reshape
    %y = onnx.node "ReduceSum"(%parts, %one) {node_attributes = {keepdims = 0 : i64}}
    // after
    %w, %e = adapter.route softmax score_first top 2 normalise after scope token %logits
    %y = adapter.experts silu %x, %e, %w, %up, %down {gated}
    ```
  }];
  let dependentDialects = ["::adapter::AdapterDialect"];
  let statistics = [Statistic<"numRaised", "num-raised", "Mixtures of experts that were found">,
                    Statistic<"numRouters", "num-routers", "Routers that were found">];
}

def SliceNetworksPass : Pass<"adapter-slice-networks"> {
  let summary = "Slice feed-forward networks into experts that every token has";
  let description = [{
    act(x W + b) V over parameters, with a gate or without, is the sum over slices of its inner neurons. In a module
    that has no experts each such network becomes one `adapter.experts` over `slices` experts, columns of W and b and
    rows of V, of which every token has all, with weight 1. Slices that do not divide the neurons are an error.
    A product with an adapter that acts later is none with a parameter, and stays.

    ```mlir
    // before
    func.func @example(%x: tensor<?x64xf32>) -> tensor<?x64xf32> {
      %w = adapter.parameter "base"::"up" : tensor<64x256xf32>
      %v = adapter.parameter "base"::"down" : tensor<256x64xf32>
      %0 = onnx.node "MatMul"(%x, %w) {result_names = ["0"]} : (tensor<?x64xf32>, tensor<64x256xf32>) -> tensor<?x256xf32>
      %1 = onnx.node "Relu"(%0) {result_names = ["1"]} : (tensor<?x256xf32>) -> tensor<?x256xf32>
      %y = onnx.node "MatMul"(%1, %v) {result_names = ["y"]} : (tensor<?x256xf32>, tensor<256x64xf32>) -> tensor<?x64xf32>
      return %y : tensor<?x64xf32>
    }
    // after, with slices=4, shortened: reshaped and transposed weights are arguments here
    func.func @example(%x: tensor<?x64xf32>, %ids: tensor<?x4xi64>, %ones: tensor<?x4xf32>, %up: tensor<4x64x64xf32>, %down: tensor<4x64x64xf32>) -> tensor<?x64xf32> {
      %y = adapter.experts relu %x, %ids, %ones, %up, %down {transposed} : tensor<?x64xf32>, tensor<?x4xi64>, tensor<?x4xf32>, tensor<4x64x64xf32>, tensor<4x64x64xf32> -> tensor<?x64xf32>
      return %y : tensor<?x64xf32>
    }
    ```
  }];
  let dependentDialects = ["::adapter::AdapterDialect", "::adapter::onnxir::ONNXDialect"];
  let options = [Option<"slices", "slices", "int64_t", /*default=*/"1", "Experts that a network becomes">];
  let statistics = [Statistic<"numSliced", "num-sliced", "Networks that were sliced">];
}

def PairStatesPass : Pass<"adapter-pair-states"> {
  let summary = "Find the caches of keys and values that graphs continue";
  let description = [{
    An output that is a Concat of an input, as it came, and of what the call adds is that input's continuation: together
    they are state, which a session keeps for each row. Each graph gets an `onnx.session` that names them, and the inputs
    `attention_mask` and `position_ids` where there are such. Names only say what must be found: an input `past...` that
    nothing continues, an output `present...` that continues nothing, and a graph without any state are errors, and so
    are sizes that leave no room for rows and tokens.

    ```mlir
    // before
    onnx.model @m attributes {ir_version = 10 : i64, opsets = ["", 20]} {
      onnx.graph @main (%past: tensor<?x2x?x8xf32>, %new: tensor<?x2x?x8xf32>) {
        %all = onnx.node "Concat"(%past, %new) {node_attributes = {axis = 2 : i64}, result_names = ["all"]} : (tensor<?x2x?x8xf32>, tensor<?x2x?x8xf32>) -> tensor<?x2x?x8xf32>
        onnx.return %all : tensor<?x2x?x8xf32>
      } {input_names = ["past.0", "new"]}
    }
    // after: the graph has {onnx.session = #onnx.session<[<past = 0, present = 0, axis = 2>]>}
    ```
  }];
  let dependentDialects = ["::adapter::onnxir::ONNXDialect"];
  let statistics = [Statistic<"numStates", "num-states", "Inputs that an output continues">];
}

def RaiseQuantisedPass : Pass<"adapter-raise-quantised"> {
  let summary = "Make parameters of weights that are stored as integers";
  let description = [{
    `com.microsoft.MatMulNBits` and `com.microsoft.GatherBlockQuantized` become MatMul and Gather, and these and the readers
    of a DequantizeLinear of constants read a parameter of f32 that the store does not hold: `adapter.quantised` says
    which codes, scales and zero points it stands for. It has the name that the weight had before it was quantised, as far
    as the integers' name tells. What no product takes as it is, a tensor of other rank or in blocks of odd sizes,
    is computed and becomes a parameter like any other.

    ```mlir
    // before
    onnx.model @m attributes {ir_version = 10 : i64, opsets = ["", 20, "com.microsoft", 1]} {
      onnx.graph @main (%x: tensor<?x64xf32>) {
        %q = adapter.parameter "base"::"up.weight_Q4" : tensor<40x2x16xui8>
        %s = adapter.parameter "base"::"up.weight_scales" : tensor<40x2xf32>
        %y = onnx.node "MatMulNBits"(%x, %q, %s) {domain = "com.microsoft", node_attributes = {K = 64, N = 40, bits = 4, block_size = 32}, result_names = ["y"]} : (tensor<?x64xf32>, tensor<40x2x16xui8>, tensor<40x2xf32>) -> tensor<?x40xf32>
        onnx.return %y : tensor<?x40xf32>
      } {input_names = ["x"]}
    }
    // after
    onnx.model @n attributes {ir_version = 10 : i64, opsets = ["", 20, "com.microsoft", 1]} {
      onnx.graph @main (%x: tensor<?x64xf32>) {
        %w = adapter.parameter "base"::"up.weight" {adapter.quantised = {block = 32 : i64, codes = #onnx.tensor<"quantised", "up.weight.codes", tensor<40x32xi8>>, format = #kernel.format<int4>, scales = #onnx.tensor<"quantised", "up.weight.scales", tensor<40x2xf32>>, transposed}} : tensor<64x40xf32>
        %y = onnx.node "MatMul"(%x, %w) {result_names = ["y"]} : (tensor<?x64xf32>, tensor<64x40xf32>) -> tensor<?x40xf32>
        onnx.return %y : tensor<?x40xf32>
      } {input_names = ["x"]}
    }
    ```
  }];
  let dependentDialects = ["::adapter::AdapterDialect", "::adapter::kernel::KernelDialect",
                           "::adapter::onnxir::ONNXDialect"];
  let statistics = [Statistic<"numRaised", "num-raised", "Matrices that stay integers">,
                    Statistic<"numWhole", "num-whole", "Tensors that became floats">];
}

def KeepStatesPass : Pass<"adapter-keep-states"> {
  let summary = "Leave caches of keys and values where a session keeps them";
  let description = [{
    Caches that `adapter-pair-states` found and that nothing but one attention reads, beside questions for their shape, need
    neither come in nor go out: `adapter.attention` gets the new keys and values with the numbers of both states, which
    are `kept` in `onnx.session`, and outputs that continue them go. Others stay as they are.

    ```mlir
    // before
    onnx.model @m attributes {ir_version = 10 : i64, opsets = ["", 20]} {
      onnx.graph @main (%q: tensor<?x2x?x8xf32>, %k: tensor<?x2x?x8xf32>, %v: tensor<?x2x?x8xf32>, %pk: tensor<?x2x?x8xf32>, %pv: tensor<?x2x?x8xf32>) {
        %0 = onnx.node "Concat"(%pk, %k) {node_attributes = {axis = 2 : i64}, result_names = ["0"]} : (tensor<?x2x?x8xf32>, tensor<?x2x?x8xf32>) -> tensor<?x2x?x8xf32>
        %1 = onnx.node "Concat"(%pv, %v) {node_attributes = {axis = 2 : i64}, result_names = ["1"]} : (tensor<?x2x?x8xf32>, tensor<?x2x?x8xf32>) -> tensor<?x2x?x8xf32>
        %y = adapter.attention %q, %0, %1 {scale = 1.0 : f32} : tensor<?x2x?x8xf32>, tensor<?x2x?x8xf32>, tensor<?x2x?x8xf32> -> tensor<?x2x?x8xf32>
        onnx.return %y, %0, %1 : tensor<?x2x?x8xf32>, tensor<?x2x?x8xf32>, tensor<?x2x?x8xf32>
      } {input_names = ["q", "k", "v", "pk", "pv"], onnx.session = #onnx.session<[<past = 3, present = 1, axis = 2>, <past = 4, present = 2, axis = 2>]>}
    }
    // after: attention reads %k and %v and has {state = [0, 1]}; %y alone is returned
    ```
  }];
  let dependentDialects = ["::adapter::AdapterDialect", "::adapter::onnxir::ONNXDialect"];
  let statistics = [Statistic<"numKept", "num-kept", "Caches that sessions keep in place">];
}

def RaiseAttentionPass : Pass<"adapter-raise-attention"> {
  let summary = "Find attention in the nodes that exporters write it as";
  let description = [{
    softmax(scale * q k^T (capped) + mask) v becomes `adapter.attention`, and so does ONNX's operator Attention but where
    it has lengths of keys, hands out products or sees keys on its right. Factors are constants, before or behind the
    product, or made from static sizes; up to two masks are added; NaN may be replaced by 0 after the softmax. Keys and values
    that are written out for several heads, by Unsqueeze, Expand and Reshape, are taken as they were before. Numbers of heads
    and widths must be static, all of f32. What differs in anything, or has probabilities that something else reads, stays.

    ```mlir
    // before
    func.func @example(%q: tensor<?x4x?x8xf32>, %k: tensor<?x4x?x8xf32>, %v: tensor<?x4x?x8xf32>) -> tensor<?x4x?x8xf32> {
      %0 = onnx.node "Transpose"(%k) {node_attributes = {perm = array<i64: 0, 1, 3, 2>}, result_names = ["0"]} : (tensor<?x4x?x8xf32>) -> tensor<?x4x8x?xf32>
      %1 = onnx.node "MatMul"(%q, %0) {result_names = ["1"]} : (tensor<?x4x?x8xf32>, tensor<?x4x8x?xf32>) -> tensor<?x4x?x?xf32>
      %2 = onnx.node "Softmax"(%1) {node_attributes = {axis = -1 : i64}, result_names = ["2"]} : (tensor<?x4x?x?xf32>) -> tensor<?x4x?x?xf32>
      %y = onnx.node "MatMul"(%2, %v) {result_names = ["y"]} : (tensor<?x4x?x?xf32>, tensor<?x4x?x8xf32>) -> tensor<?x4x?x8xf32>
      return %y : tensor<?x4x?x8xf32>
    }
    // after
    func.func @example(%q: tensor<?x4x?x8xf32>, %k: tensor<?x4x?x8xf32>, %v: tensor<?x4x?x8xf32>) -> tensor<?x4x?x8xf32> {
      %y = adapter.attention %q, %k, %v {scale = 1.0 : f32} : tensor<?x4x?x8xf32>, tensor<?x4x?x8xf32>, tensor<?x4x?x8xf32> -> tensor<?x4x?x8xf32>
      return %y : tensor<?x4x?x8xf32>
    }
    ```
  }];
  let dependentDialects = ["::adapter::AdapterDialect", "::adapter::onnxir::ONNXDialect"];
  let statistics = [Statistic<"numRaised", "num-raised", "Products with values that became attention">];
}

def ExpandModulesPass : Pass<"adapter-expand-modules"> {
  let summary = "Write adapter modules as nodes of the graph";
  let description = [{
    Every `adapter.bottleneck` becomes products, additions and its inner function's own nodes; so do mixtures of
    masked factors that are left (`adapter.mask_mix`). Modules of sites stay.

    ```
    // before
    %y = adapter.bottleneck %x down %d up %u residual %x {
    ^bb0(%n: tensor<?x8xf32>):
      %a = onnx.node "Relu"(%n) ...
      adapter.yield %a : tensor<?x8xf32>
    } {factor = 4.0 : f64} : ...
    // after, shortened; the matrices are transposed
    %0 = onnx.node "MatMul"(%x, %d)
    %1 = onnx.node "Relu"(%0)
    %2 = onnx.node "MatMul"(%1, %u)
    %3 = onnx.node "Mul"(%2, %factor)
    %y = onnx.node "Add"(%3, %x)
    ```
  }];
  let dependentDialects = ["::adapter::AdapterDialect", "::adapter::onnxir::ONNXDialect"];
  let statistics = [Statistic<"numExpanded", "num-expanded", "Modules that were expanded">];
}

def ExpandMixturesPass : Pass<"adapter-expand-mixtures"> {
  let summary = "Write mixtures of low-rank updates, and routers, as nodes of the graph";
  let description = [{
    Every `adapter.linear` whose update is an `adapter.mix` becomes its product, with the name that the node had,
    and beside it the product of the factors with a gate for each rank; `adapter.route` becomes nodes too. They are
    of operator set 13.

    With `grouped`, a mixture of a fixed number of chosen experts of each token becomes `adapter.experts` of
    identity where that takes fewer multiply-adds: positions are sorted by expert and only the chosen ones are
    multiplied. The rule is `mixtureCost` in lib/Checkpoint/Mixture.h, and `--plan` prints what it says.

    ```
    // before
    %w, %i = adapter.route softmax score_first top 1 normalise none scope token %logits
    %u = adapter.low_rank %a, %b
    %m = adapter.mix %u, %w ids %i blocks [8, 4]
    %y = adapter.linear %x, %weight update %m
    // after, shortened; the factors are transposed
    %p = onnx.node "Softmax"(%logits)
    %w, %i = onnx.node "TopK"(%p, %one)
    %0 = onnx.node "MatMul"(%x, %weight)
    %1 = onnx.node "MatMul"(%x, %a)
    %2 = onnx.node "Equal"(%i, %blocks) ... Where, ReduceSum
    %3 = onnx.node "Mul"(%1, %2)
    %4 = onnx.node "MatMul"(%3, %b)
    %y = onnx.node "Add"(%0, %4)
    ```
  }];
  let dependentDialects = ["::adapter::AdapterDialect", "::adapter::onnxir::ONNXDialect"];
  let options = [Option<"grouped", "grouped", "bool", "false",
                        "Multiply the chosen experts alone where that takes less">,
                 Option<"pairwise", "pairwise", "bool", "false",
                        "Choose by comparing each expert with all others: without sorting, for devices">];
  let statistics = [Statistic<"numExpanded", "num-expanded", "Linears whose mixture was expanded">,
                    Statistic<"numGrouped", "num-grouped", "Mixtures that are grouped by expert">];
}

def WidenFloatsPass : Pass<"adapter-widen-floats"> {
  let summary = "Let models in f16 and bf16 compute in f32";
  let description = [{
    Tensors and values of f16 and bf16 become f32, which holds each of their numbers, and so do the types that nodes cast
    to. Inputs and outputs keep their types, behind casts, but for caches with `sessions`: inputs `past...` and outputs
    `present...`. Contents of parameters are those of the model, and the module says in `adapter.widened_from` what most of them
    were of, so that code can store them so again.

    ```mlir
    // before
    onnx.model @m attributes {ir_version = 10 : i64, opsets = ["", 20]} {
      onnx.graph @main (%x: tensor<?x4xf16>) {
        %y = onnx.node "Relu"(%x) {result_names = ["y"]} : (tensor<?x4xf16>) -> tensor<?x4xf16>
        onnx.return %y : tensor<?x4xf16>
      } {input_names = ["x"]}
    }
    // after
    onnx.model @n attributes {ir_version = 10 : i64, opsets = ["", 20]} {
      onnx.graph @main (%x: tensor<?x4xf16>) {
        %0 = onnx.node "Cast"(%x) {node_attributes = {to = 1 : i64}, result_names = ["0"]} : (tensor<?x4xf16>) -> tensor<?x4xf32>
        %1 = onnx.node "Relu"(%0) {result_names = ["y"]} : (tensor<?x4xf32>) -> tensor<?x4xf32>
        %y = onnx.node "Cast"(%1) {node_attributes = {to = 10 : i64}, result_names = ["2"]} : (tensor<?x4xf32>) -> tensor<?x4xf16>
        onnx.return %y : tensor<?x4xf16>
      } {input_names = ["x"]}
    }
    ```
  }];
  let dependentDialects = ["::adapter::AdapterDialect", "::adapter::onnxir::ONNXDialect"];
  let options = [Option<"sessions", "sessions", "bool", /*default=*/"false", "Caches are those of sessions">];
}

def ExpandOperatorsPass : Pass<"adapter-expand-operators"> {
  let summary = "Write operators of ONNX Runtime as nodes of ONNX's own";
  let description = [{
    Operators of the domain `com.microsoft` that GenAI's model builder and ONNX Runtime's optimiser put into graphs become
    nodes of ONNX's own operators: norms with a skip, embeddings with a norm, rotary embeddings (ONNX's own too),
    activations with a bias, FusedMatMul. MultiHeadAttention, Attention and GroupQueryAttention become ONNX's
    Attention. What is made is of operator set 25, whatever the model imports (`onnx.version` on each node), so it is
    for compiled code alone. An attribute, input or result that is not supported is an error that names it.

    The cache of GroupQueryAttention holds each row from position 0 on; new keys are written behind those of the row by
    TensorScatter, and `nonpad_kv_seqlen` of Attention says where they end. With `sessions` its past is Attention's, of
    rows that are as long as they are, and the graph is marked so.

    ```mlir
    // before
    func.func @example(%x: tensor<?x4xf32>, %b: tensor<4xf32>) -> tensor<?x4xf32> {
      %y = onnx.node "BiasGelu"(%x, %b) {domain = "com.microsoft", result_names = ["y"]} : (tensor<?x4xf32>, tensor<4xf32>) -> tensor<?x4xf32>
      return %y : tensor<?x4xf32>
    }
    // after
    func.func @example(%x: tensor<?x4xf32>, %b: tensor<4xf32>) -> tensor<?x4xf32> {
      %s = onnx.node "Add"(%x, %b) {onnx.version = 25 : i64, result_names = ["s"]} : (tensor<?x4xf32>, tensor<4xf32>) -> tensor<?x4xf32>
      %y = onnx.node "Gelu"(%s) {onnx.version = 25 : i64, result_names = ["y"]} : (tensor<?x4xf32>) -> tensor<?x4xf32>
      return %y : tensor<?x4xf32>
    }
    ```
  }];
  let dependentDialects = ["::adapter::AdapterDialect", "::adapter::onnxir::ONNXDialect"];
  let options = [Option<"sessions", "sessions", "bool", /*default=*/"false",
                        "Caches are those of sessions, which hold rows without padding">];
  let statistics = [Statistic<"numExpanded", "num-expanded", "Nodes that were expanded">];
}

def ExpandAttentionPass : Pass<"adapter-expand-attention"> {
  let summary = "Write ONNX's Attention as products and a softmax";
  let description = [{
    Every node of ONNX's Attention, of operator sets 23 to 25, becomes the nodes of its definition: products, the mask,
    Softmax. Query heads that share keys and values are rows of one product. A query that no key is shown to has
    zeros as its result.

    ```
    // before
    %y = onnx.node "Attention"(%q, %k, %v) {node_attributes = {is_causal = 1 : i64}, ...}
    // after, shortened
    %0 = onnx.node "Mul"(%q, %scale)
    %1 = onnx.node "Transpose"(%k)
    %2 = onnx.node "MatMul"(%0, %1)
    %3 = onnx.node "LessOrEqual"(%keys, %queries)
    %4 = onnx.node "Where"(%3, %2, %infinity)
    %5 = onnx.node "Softmax"(%4)
    %y = onnx.node "MatMul"(%5, %v)
    ```
  }];
  let dependentDialects = ["::adapter::AdapterDialect", "::adapter::onnxir::ONNXDialect"];
  let statistics = [Statistic<"numExpanded", "num-expanded", "Nodes that were expanded">];
}

#endif // ADAPTER_LIB_CONVERSION_PASSES_TD
