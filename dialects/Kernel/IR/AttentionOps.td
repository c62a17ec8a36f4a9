// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Attention, and the keys and values that the rows of a session keep.
#ifndef ADAPTER_DIALECTS_KERNEL_IR_ATTENTIONOPS_TD
#define ADAPTER_DIALECTS_KERNEL_IR_ATTENTIONOPS_TD

include "dialects/Kernel/IR/KernelOps.td"

def Kernel_AttentionOp : Kernel_DestinationOp<"attention"> {
  let summary = "Scaled dot-product attention of heads that may share keys and values";
  let description = [{
    query is [B, heads, T, D], key [B, kv_heads, S, D], value [B, kv_heads, S, Dv], output [B, heads, T, Dv]; as many heads
    one after the other as divide share keys and values. For each query t of the T, over keys j:

        score[j]  = scale * sum_d query[b, h, t, d] * key[b, kv, j, d]
        score[j]  = softcap * tanh(score[j] / softcap)                           with a softcap
        score[j] += mask[b, h, t, M - L + j]                                     with a mask
        output    = sum_j softmax(score)[j] * value[b, kv, j]

    over the L keys, S of them, of which with `causal` query t sees those before L - T + t + 1, and with a `window` of them
    the last `window`. The mask is [B or 1, heads or 1, T or 1, M]; M may be larger than L: its last columns count. Where a
    mask of -inf leaves nothing to see the result is NaN, or 0 with `zero_masked`.

    With `state = [k, v]` the key and value are new ones of rows that a session keeps: they are put behind those that row b
    has under the numbers k and v, and L is row b's length and S.

    Sums run over keys in blocks that are counted from a row's first: a row's result does not depend on others, nor
    on threads.

    Example:
    ```mlir
    func.func @example(%q: tensor<?x8x?x64xf32>, %k: tensor<?x2x?x64xf32>, %v: tensor<?x2x?x64xf32>,
                       %mask: tensor<?x1x?x?xf32>, %init: tensor<?x8x?x64xf32>) -> tensor<?x8x?x64xf32> {
      %y = kernel.attention ins(%q, %k, %v, %mask : tensor<?x8x?x64xf32>, tensor<?x2x?x64xf32>, tensor<?x2x?x64xf32>, tensor<?x1x?x?xf32>)
          outs(%init : tensor<?x8x?x64xf32>) {scale = 0.125 : f32, zero_masked} -> tensor<?x8x?x64xf32>
      return %y : tensor<?x8x?x64xf32>
    }
    ```
  }];
  let arguments = (ins AnyShaped:$query, AnyShaped:$key, AnyShaped:$value, Optional<AnyShaped>:$mask,
                       AnyShaped:$output, F32Attr:$scale, OptionalAttr<F32Attr>:$softcap, UnitAttr:$causal,
                       OptionalAttr<ConfinedAttr<I64Attr, [IntPositive]>>:$window, UnitAttr:$zero_masked,
                       OptionalAttr<DenseI64ArrayAttr>:$state);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let assemblyFormat = [{
    `ins` `(` $query `,` $key `,` $value (`,` $mask^)? `:` type($query) `,` type($key) `,` type($value)
    (`,` type($mask)^)? `)` `outs` `(` $output `:` type($output) `)` attr-dict (`->` type($results)^)?
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{ ::mlir::MutableOperandRange getDpsInitsMutable() { return getOutputMutable(); } }];
}

def Kernel_RowLengthOp : Kernel_Op<"row_length", [Pure]> {
  let summary = "How many tokens a row of the session holds before the call";
  let description = [{
    Example:
    ```mlir
    func.func @example(%row: index) -> index {
      %n = kernel.row_length %row
      return %n : index
    }
    ```
  }];
  let arguments = (ins Index:$row);
  let results = (outs Index:$result);
  let assemblyFormat = "$row attr-dict";
}

def Kernel_RowCapacityOp : Kernel_Op<"row_capacity", [Pure]> {
  let summary = "How many tokens a row of the session has room for";
  let description = [{
    A multiple of the block of keys.

    Example:
    ```mlir
    func.func @example(%row: index) -> index {
      %n = kernel.row_capacity %row
      return %n : index
    }
    ```
  }];
  let arguments = (ins Index:$row);
  let results = (outs Index:$result);
  let assemblyFormat = "$row attr-dict";
}

def Kernel_RowMemoryOp : Kernel_Op<"row_memory", [Pure]> {
  let summary = "What a row of the session keeps of a state";
  let description = [{
    `size` numbers, of state number `state`.

    Example:
    ```mlir
    func.func @example(%state: index, %row: index, %size: index) -> memref<?xf32> {
      %m = kernel.row_memory %state, %row [%size] : memref<?xf32>
      return %m : memref<?xf32>
    }
    ```
  }];
  let arguments = (ins Index:$state, Index:$row, Index:$size);
  let results = (outs AnyMemRef:$result);
  let assemblyFormat = "$state `,` $row `[` $size `]` attr-dict `:` type($result)";
}

#endif // ADAPTER_DIALECTS_KERNEL_IR_ATTENTIONOPS_TD
