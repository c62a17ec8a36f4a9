// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Routers and the experts that they choose.
#ifndef ADAPTER_DIALECTS_ADAPTER_IR_EXPERTOPS_TD
#define ADAPTER_DIALECTS_ADAPTER_IR_EXPERTOPS_TD

include "dialects/Adapter/IR/AdapterTypes.td"
include "dialects/Adapter/IR/ModuleAttrs.td"
include "dialects/Adapter/IR/ParameterOps.td"
include "dialects/Adapter/IR/UpdateOps.td"
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

def Adapter_RouterSelection : I32EnumAttr<"RouterSelection", "which experts a router chooses", [
  I32EnumAttrCase<"Top", 0, "top">, I32EnumAttrCase<"Argmax", 1, "argmax">,
  I32EnumAttrCase<"Threshold", 2, "threshold">, I32EnumAttrCase<"TopP", 3, "top_p">,
  I32EnumAttrCase<"All", 4, "all">]> {
  let cppNamespace = "::adapter";
}

def Adapter_RouterScope : I32EnumAttr<"RouterScope", "what is routed as one", [
  I32EnumAttrCase<"Token", 0, "token">, I32EnumAttrCase<"Sequence", 1, "sequence">,
  I32EnumAttrCase<"Task", 2, "task">]> {
  let cppNamespace = "::adapter";
}

def Adapter_RouteOp : Adapter_Op<"route", [Pure]> {
  let summary = "Choose experts from a router's logits";
  let description = [{
    Chooses experts for each row of logits, the last dimension being the experts. Nothing is implied, since
    published codes differ:

    | attribute | says |
    |---|---|
    | `score` | the function over a row, of logits divided by `temperature`: `softmax`, `sigmoid` or `none` |
    | `order` | `score_first`: the choice is among the scores of all experts; `select_first`: it is among the logits, and the score is over the chosen ones alone |
    | selection | `top k`: the k best, the best first, the lower number first of equal ones; `argmax`: the best one; `threshold t`: those of at least t, of scores or logits as `order` says; `top_p p`: the best ones up to the first with which their sum exceeds p, all if none does; `all` |
    | `normalise` | divide by the sum: `before` the selection (over all experts), `after` it (over the chosen ones), or not: `none` |
    | `null` | the last n of the logits' experts are none: they can be chosen, and then their weight is dropped before `normalise after` (R01) |
    | `shared` | the first n experts have no logits: they are always chosen, with weight 1, and the logits' experts count on from n (R19) |
    | `scope` | what a row is: a `token`, a `sequence` or a `task` |

    `top` and `argmax` give the weights and ids of the chosen: [..., shared + k]. A null expert has weight 0 and
    keeps its number, which is behind those of all experts. The other selections choose any number of experts and
    give the weights of all, [..., shared + experts without null ones], 0 where one is not chosen; ids are 0, 1, 2
    and so on. Where nothing may be chosen (`null`, `threshold`), a sum of 0 divides by 1.

    What contradicts is refused: `before` with `select_first`, a second sum over what a softmax has normalised
    (`softmax` with `before`, `softmax select_first` with `after` unless there are null experts), a sum of `none`,
    which may be zero, a `temperature` without a score, `top_p` of what does not add up to 1, `all` in an order.
    Mixtral is `softmax score_first top 2 normalise after`, Qwen3-MoE the same or, without `norm_topk_prob`,
    `normalise none`; AdaMoE is Mixtral's with null experts. `softmax select_first argmax` weighs the best with 1.

    Example:
    ```mlir
    func.func @example(%logits: tensor<?x8xf32>) -> (tensor<?x2xf32>, tensor<?x2xi64>) {
      %w, %ids = adapter.route softmax score_first top 2 normalise after scope token %logits : tensor<?x8xf32> -> tensor<?x2xf32>, tensor<?x2xi64>
      return %w, %ids : tensor<?x2xf32>, tensor<?x2xi64>
    }
    func.func @dynamic(%logits: tensor<?x7x8xf32>) -> tensor<?x7x7xf32> {
      %w, %ids = adapter.route softmax score_first top_p 0.4 normalise none scope token temperature 0.5 null 2 shared 1 %logits : tensor<?x7x8xf32> -> tensor<?x7x7xf32>, tensor<?x7x7xi64>
      return %w : tensor<?x7x7xf32>
    }
    ```
  }];
  let arguments = (ins AnyType:$logits, Adapter_RouterScore:$score, Adapter_RouterOrder:$order,
                       Adapter_RouterSelection:$selection, DefaultValuedOptionalAttr<I64Attr, "0">:$top,
                       OptionalAttr<F64Attr>:$limit, Adapter_RouterNormalise:$normalise,
                       Adapter_RouterScope:$scope, DefaultValuedOptionalAttr<F64Attr, "1.0">:$temperature,
                       DefaultValuedOptionalAttr<I64Attr, "0">:$null_experts,
                       DefaultValuedOptionalAttr<I64Attr, "0">:$shared_experts);
  let results = (outs AnyType:$weights, AnyType:$ids);
  let assemblyFormat = [{
    $score $order custom<Selection>($selection, $top, $limit) `normalise` $normalise `scope` $scope
    (`temperature` $temperature^)? (`null` $null_experts^)? (`shared` $shared_experts^)? $logits attr-dict
    `:` type($logits) `->` type($weights) `,` type($ids)
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    /// Whether the results are of a fixed number of chosen experts; else of all experts.
    bool isSparse() {
      return getSelection() == RouterSelection::Top || getSelection() == RouterSelection::Argmax;
    }
    /// How many of the logits' experts are chosen, where that is fixed.
    int64_t getChosen() { return getSelection() == RouterSelection::Argmax ? 1 : getTop(); }
    /// Whether it may choose no expert.
    bool mayBeEmpty() { return getNullExperts() > 0 || getSelection() == RouterSelection::Threshold; }
  }];
}

def Adapter_MixOp : Adapter_UpdateOp<"mix", ["isAdditive", "dependsOnInput"], [AllTypesMatch<["source", "update"]>, AttrSizedOperandSegments]> {
  let summary = "Weigh blocks of a low-rank update by a router's choice";
  let description = [{
    W x + b diag(g) a x for each position of x, where a and b are the factors of `source`, an `adapter.low_rank`.
    Its ranks are divided into `blocks`, of any sizes, 0 included, and all ranks of block e have the gate
    g = the weight of expert e. This is the form of every mixture of LoRA experts; blocks of 1 are SMoRA (R14).

    All gates are multiplied by `gate`, [1], where there is one: a parameter that a site adapts, so that the mixture
    acts in some calls or rows only.

    With `ids`, weights [..., k] are those of the experts that the ids name; an id without a block is no
    expert, an expert that is not named has weight 0. Without them weights are [..., blocks].

    The update depends on the input of what reads the weight: `adapter.linear` takes it, no weight can be
    materialized from it. `adapter-expand-mixtures` writes it as nodes.

    Example:
    ```mlir
    func.func @example(%x: tensor<?x64xf32>, %w: tensor<32x64xf32>, %a: tensor<12x64xf32>, %b: tensor<32x12xf32>, %g: tensor<?x1xf32>, %i: tensor<?x1xi64>) -> tensor<?x32xf32> {
      %u = adapter.low_rank %a, %b : tensor<12x64xf32>, tensor<32x12xf32> -> !adapter.update<tensor<32x64xf32>>
      %m = adapter.mix %u, %g ids %i : tensor<?x1xi64> blocks [8, 4] : !adapter.update<tensor<32x64xf32>>, tensor<?x1xf32>
      %y = adapter.linear %x, %w update %m {transpose_weight} : tensor<?x64xf32>, tensor<32x64xf32>, !adapter.update<tensor<32x64xf32>> -> tensor<?x32xf32>
      return %y : tensor<?x32xf32>
    }
    ```
  }];
  let arguments = (ins Adapter_UpdateType:$source, AnyType:$weights, Optional<AnyType>:$ids,
                       Optional<AnyRankedTensor>:$gate, DenseI64ArrayAttr:$blocks);
  let assemblyFormat = [{
    $source `,` $weights (`ids` $ids^ `:` type($ids))? (`gate` $gate^ `:` type($gate))? `blocks` $blocks attr-dict
    `:` qualified(type($update)) `,` type($weights)
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
    to each. The result is the same; every process has all of it. `layer` is the path of the module that they are, where
    it is known, by which profiles and plans name them.

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
                       Adapter_ActivationAttr:$activation, UnitAttr:$gated, UnitAttr:$transposed,
                       OptionalAttr<I64Attr>:$ranks, OptionalAttr<DenseI64ArrayAttr>:$placement,
                       OptionalAttr<StrAttr>:$layer);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = [{
    $activation $input `,` $ids `,` $weights `,` $up `,` $down (`bias` $bias^)? (`ranks` $ranks^ `placement` $placement)?
    attr-dict `:` type($input) `,` type($ids) `,` type($weights) `,` type($up) `,` type($down) (`,` type($bias)^)? `->`
    type($result)
  }];
  let hasVerifier = 1;
  let builders = [
    // Of experts without biases that are not placed.
    OpBuilder<(ins "::mlir::Type":$result, "::mlir::Value":$input, "::mlir::Value":$ids, "::mlir::Value":$weights,
                   "::mlir::Value":$up, "::mlir::Value":$down, "::adapter::checkpoint::Activation":$activation, "bool":$gated,
                   "bool":$transposed), [{
      build($_builder, $_state, result, input, ids, weights, up, down, ::mlir::Value(), activation, gated, transposed,
            ::mlir::IntegerAttr(), ::mlir::DenseI64ArrayAttr(), ::mlir::StringAttr());
    }]>
  ];
}

#endif // ADAPTER_DIALECTS_ADAPTER_IR_EXPERTOPS_TD
