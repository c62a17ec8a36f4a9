// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Routers and the experts that they choose.
#ifndef ADAPTER_DIALECTS_ADAPTER_IR_EXPERTOPS_TD
#define ADAPTER_DIALECTS_ADAPTER_IR_EXPERTOPS_TD

include "dialects/Adapter/IR/AdapterTypes.td"
include "dialects/Adapter/IR/ParameterOps.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

def Adapter_RouterScore : I32EnumAttr<"RouterScore", "what a router makes of its logits", [
  I32EnumAttrCase<"None", 0, "none">, I32EnumAttrCase<"Softmax", 1, "softmax">,
  I32EnumAttrCase<"Sigmoid", 2, "sigmoid">]> {
  let cppNamespace = "::adapter";
}

def Adapter_RouterNormalise : I32EnumAttr<"RouterNormalise", "when weights are divided by their sum", [
  I32EnumAttrCase<"None", 0, "none">, I32EnumAttrCase<"Before", 1, "before">,
  I32EnumAttrCase<"After", 2, "after">]> {
  let cppNamespace = "::adapter";
}

def Adapter_RouterOrder : I32EnumAttr<"RouterOrder", "whether the score or the selection comes first", [
  I32EnumAttrCase<"ScoreFirst", 0, "score_first">, I32EnumAttrCase<"SelectFirst", 1, "select_first">]> {
  let cppNamespace = "::adapter";
}

def Adapter_RouterScope : I32EnumAttr<"RouterScope", "what is routed as one", [
  I32EnumAttrCase<"Token", 0, "token">, I32EnumAttrCase<"Sequence", 1, "sequence">,
  I32EnumAttrCase<"Task", 2, "task">]> {
  let cppNamespace = "::adapter";
}

def Adapter_ExpertActivation : I32EnumAttr<"ExpertActivation", "the function between an expert's products", [
  I32EnumAttrCase<"Identity", 0, "identity">, I32EnumAttrCase<"Relu", 1, "relu">,
  I32EnumAttrCase<"Silu", 2, "silu">, I32EnumAttrCase<"Gelu", 3, "gelu">,
  I32EnumAttrCase<"GeluTanh", 4, "gelu_tanh">]> {
  let cppNamespace = "::adapter";
}

def Adapter_RouteOp : Adapter_Op<"route", [Pure]> {
  let summary = "Choose experts from a router's logits";
  let description = [{
    Chooses the `top` experts of each row of logits [rows, experts], the best first, the lower number first of
    equal ones. Nothing is implied, since published codes differ:

    | attribute | says |
    |---|---|
    | `score` | the function over a row: `softmax`, `sigmoid` or `none` |
    | `order` | `score_first`: scores of all experts, of which the best are chosen; `select_first`: the best logits are chosen, the score is over the chosen ones alone |
    | `normalise` | divide by the sum: `before` the selection (over all experts), `after` it (over the chosen ones), or not: `none` |
    | `scope` | what a row is: a `token`, a `sequence` or a `task` |

    What contradicts is refused: `before` with `select_first`, a second sum over what a softmax has normalised
    (`softmax` with `before`, `softmax select_first` with `after`), and a sum of `none`, which may be zero.
    Mixtral is `softmax score_first normalise after`, Qwen3-MoE the same or, without `norm_topk_prob`,
    `normalise none`.

    Example:
    ```mlir
    func.func @example(%logits: tensor<?x8xf32>) -> (tensor<?x2xf32>, tensor<?x2xi64>) {
      %w, %ids = adapter.route softmax score_first top 2 normalise after scope token %logits : tensor<?x8xf32> -> tensor<?x2xf32>, tensor<?x2xi64>
      return %w, %ids : tensor<?x2xf32>, tensor<?x2xi64>
    }
    ```
  }];
  let arguments = (ins AnyRankedTensor:$logits, Adapter_RouterScore:$score, Adapter_RouterOrder:$order,
                       I64Attr:$top, Adapter_RouterNormalise:$normalise, Adapter_RouterScope:$scope);
  let results = (outs AnyRankedTensor:$weights, AnyRankedTensor:$ids);
  let assemblyFormat = [{
    $score $order `top` $top `normalise` $normalise `scope` $scope $logits attr-dict `:` type($logits) `->`
    type($weights) `,` type($ids)
  }];
  let hasVerifier = 1;
}

def Adapter_ExpertsOp : Adapter_Op<"experts", [Pure]> {
  let summary = "Two-layer experts, each on the tokens that chose it";
  let description = [{
    y[m] = sum_j weights[m, j] * E(input[m], ids[m, j]), summed in the order of j, where

    E(x, e) = down[e] act(up[e] x), or with `gated`, down[e] (act(g) * u) for g, u the halves of up[e] x.

    `up` is [experts, inner, hidden] and `down` [experts, hidden, inner], inner twice as large in `up` if `gated`; with
    `transposed` the last two sizes are swapped. A `bias`, [experts, inner], is added to up[e] x. Ids are integers in
    [-experts, experts), negative ones count from the end. A token may choose an expert twice.

    With `ranks` and `placement` the experts belong to that many processes: expert e to process placement[e], as many
    to each. The result is the same; every process has all of it.

    Example:
    ```mlir
    func.func @example(%x: tensor<?x64xf32>, %ids: tensor<?x2xi64>, %w: tensor<?x2xf32>, %up: tensor<8x192x64xf32>, %down: tensor<8x64x96xf32>) -> tensor<?x64xf32> {
      %y = adapter.experts silu %x, %ids, %w, %up, %down {gated} : tensor<?x64xf32>, tensor<?x2xi64>, tensor<?x2xf32>, tensor<8x192x64xf32>, tensor<8x64x96xf32> -> tensor<?x64xf32>
      return %y : tensor<?x64xf32>
    }
    ```
  }];
  let arguments = (ins AnyRankedTensor:$input, AnyRankedTensor:$ids, AnyRankedTensor:$weights,
                       AnyRankedTensor:$up, AnyRankedTensor:$down, Optional<AnyRankedTensor>:$bias,
                       Adapter_ExpertActivation:$activation, UnitAttr:$gated, UnitAttr:$transposed,
                       OptionalAttr<I64Attr>:$ranks, OptionalAttr<DenseI64ArrayAttr>:$placement);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = [{
    $activation $input `,` $ids `,` $weights `,` $up `,` $down (`bias` $bias^)? (`ranks` $ranks^ `placement` $placement)?
    attr-dict `:` type($input) `,` type($ids) `,` type($weights) `,` type($up) `,` type($down) (`,` type($bias)^)? `->`
    type($result)
  }];
  let hasVerifier = 1;
}

#endif // ADAPTER_DIALECTS_ADAPTER_IR_EXPERTOPS_TD
