// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Attention, raised from the nodes that exporters write it as.
#ifndef ADAPTER_DIALECTS_ADAPTER_IR_ATTENTIONOPS_TD
#define ADAPTER_DIALECTS_ADAPTER_IR_ATTENTIONOPS_TD

include "dialects/Adapter/IR/AdapterDialect.td"
include "dialects/Adapter/IR/UpdateOps.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

def Adapter_AttentionOp : Adapter_Op<"attention", [Pure]> {
  let summary = "Scaled dot-product attention";
  let description = [{
    softmax(cap(scale * query key^T) + mask) value, over all rows and heads: query is [rows, heads, tokens, width], key and
    value are [rows, kv heads, keys, width]; as many query heads one after the other as divide share keys and values.
    cap(s) = softcap * tanh(s / softcap) where there is a softcap. With `causal` the last query sees all keys, each one
    before it one less; with a `window` of these the last `window`. The mask is broadcast. Where a mask hides all keys the
    result is what softmax makes of that, NaN for a mask of -inf, or 0 with `zero_masked`. The formula is that of ONNX's
    operator Attention.

    With `state = [k, v]` key and value are those of new tokens alone, and those of earlier ones are what a session keeps of
    each row under these numbers.

    Example:
    ```mlir
    func.func @example(%q: tensor<?x8x?x64xf32>, %k: tensor<?x2x?x64xf32>, %v: tensor<?x2x?x64xf32>, %m: tensor<?x1x?x?xf32>) -> tensor<?x8x?x64xf32> {
      %y = adapter.attention %q, %k, %v mask %m {scale = 0.125 : f32} : tensor<?x8x?x64xf32>, tensor<?x2x?x64xf32>, tensor<?x2x?x64xf32>, tensor<?x1x?x?xf32> -> tensor<?x8x?x64xf32>
      return %y : tensor<?x8x?x64xf32>
    }
    ```
  }];
  let arguments = (ins AnyRankedTensor:$query, AnyRankedTensor:$key, AnyRankedTensor:$value,
                       Optional<AnyRankedTensor>:$mask, F32Attr:$scale, OptionalAttr<F32Attr>:$softcap,
                       UnitAttr:$causal, OptionalAttr<ConfinedAttr<I64Attr, [IntPositive]>>:$window,
                       UnitAttr:$zero_masked, OptionalAttr<DenseI64ArrayAttr>:$state);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = [{
    $query `,` $key `,` $value (`mask` $mask^)? attr-dict `:` type($query) `,` type($key) `,` type($value)
    (`,` type($mask)^)? `->` type($result)
  }];
  let hasVerifier = 1;
}

#endif // ADAPTER_DIALECTS_ADAPTER_IR_ATTENTIONOPS_TD
