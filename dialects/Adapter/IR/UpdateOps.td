// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Ops that make updates from tensors, and ops that combine updates.
#ifndef ADAPTER_DIALECTS_ADAPTER_IR_UPDATEOPS_TD
#define ADAPTER_DIALECTS_ADAPTER_IR_UPDATEOPS_TD

include "dialects/Adapter/IR/AdapterInterfaces.td"
include "dialects/Adapter/IR/AdapterTypes.td"
include "dialects/Adapter/IR/ParameterOps.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

class Adapter_UpdateOp<string mnemonic, list<string> methods = [], list<Trait> traits = []>
    : Adapter_Op<mnemonic, !listconcat([Pure, DeclareOpInterfaceMethods<
                               Adapter_UpdateOpInterface, !listconcat(["materialize"], methods)>], traits)> {
  let results = (outs Adapter_UpdateType:$update);
}

//===----------------------------------------------------------------------===//
// From tensors
//===----------------------------------------------------------------------===//

def Adapter_LowRankOp : Adapter_UpdateOp<"low_rank", ["isAdditive"]> {
  let summary = "Add a product of two factors";
  let description = [{
    W[o, i...] + sum_r b[o, r] * middle[r] * a[r, i...]. Factor `a` has the shape of the weight with the rank
    in place of the outputs; more than one input dimension is a convolution's. `middle`, where there is
    one, is a vector.

    Example:
    ```mlir
    func.func @example(%a: tensor<8x64xf32>, %b: tensor<32x8xf32>) -> !adapter.update<tensor<32x64xf32>> {
      %u = adapter.low_rank %a, %b : tensor<8x64xf32>, tensor<32x8xf32> -> !adapter.update<tensor<32x64xf32>>
      return %u : !adapter.update<tensor<32x64xf32>>
    }
    ```
  }];
  let arguments = (ins AnyRankedTensor:$a, AnyRankedTensor:$b, Optional<AnyRankedTensor>:$middle);
  let assemblyFormat = [{
    $a `,` $b (`,` $middle^)? attr-dict `:` type($a) `,` type($b) (`,` type($middle)^)? `->` qualified(type($update))
  }];
  let hasVerifier = 1;
  let hasCanonicalizer = 1;
}

def Adapter_DenseOp : Adapter_UpdateOp<"dense", ["isAdditive"]> {
  let summary = "Add a tensor";
  let description = [{
    W + value.

    Example:
    ```mlir
    func.func @example(%v: tensor<64xf16>) -> !adapter.update<tensor<64xf32>> {
      %u = adapter.dense %v : tensor<64xf16> -> !adapter.update<tensor<64xf32>>
      return %u : !adapter.update<tensor<64xf32>>
    }
    ```
  }];
  let arguments = (ins AnyRankedTensor:$value);
  let assemblyFormat = "$value attr-dict `:` type($value) `->` qualified(type($update))";
  let hasVerifier = 1;
}

def Adapter_ReplaceOp : Adapter_UpdateOp<"replace", ["needsWeight"]> {
  let summary = "Put a tensor in the weight's place";
  let description = [{
    The weight becomes `value`, whatever it was.

    Example:
    ```mlir
    func.func @example(%v: tensor<64xf32>) -> !adapter.update<tensor<64xf32>> {
      %u = adapter.replace %v : tensor<64xf32> -> !adapter.update<tensor<64xf32>>
      return %u : !adapter.update<tensor<64xf32>>
    }
    ```
  }];
  let arguments = (ins AnyRankedTensor:$value);
  let assemblyFormat = "$value attr-dict `:` type($value) `->` qualified(type($update))";
  let hasVerifier = 1;
}

def Adapter_SparseOp : Adapter_UpdateOp<"sparse", ["isAdditive", "forEachTouched", "sizesMatter"]> {
  let summary = "Change few elements";
  let description = [{
    Adds values to few elements of a weight, or puts them in their place. The support says which elements:

    | support | indices | values | element |
    |---|---|---|---|
    | rows | i64 [n] | [n, ...] | [indices[j], ...] |
    | columns | i64 [n] | [d0, n] | [i, indices[j]] |
    | coordinates | i64 [rank, n] | [n] | [indices[:, j]] |
    | blocks | i64 [2, n] | [n, h, w] | [indices[0, j] * h + y, indices[1, j] * w + x] |
    | bitmask | i8 [ceil(elements / 8)] | [n] | those whose bit is set, in row-major order, lowest bit first |

    Elements are distinct and within the weight. SHiRA (U30) is `add coordinates`, trained tokens are
    `overwrite rows`, column updates (U26) are `overwrite columns`.

    Example:
    ```mlir
    func.func @example(%i: tensor<3xi64>, %v: tensor<3x32xf32>) -> !adapter.update<tensor<96x32xf32>> {
      %u = adapter.sparse overwrite rows %i, %v : tensor<3xi64>, tensor<3x32xf32> -> !adapter.update<tensor<96x32xf32>>
      return %u : !adapter.update<tensor<96x32xf32>>
    }
    func.func @shira(%i: tensor<2x?xi64>, %v: tensor<?xf32>) -> !adapter.update<tensor<96x32xf32>> {
      %u = adapter.sparse add coordinates %i, %v : tensor<2x?xi64>, tensor<?xf32> -> !adapter.update<tensor<96x32xf32>>
      return %u : !adapter.update<tensor<96x32xf32>>
    }
    ```
  }];
  let arguments = (ins Adapter_SparseMode:$mode, Adapter_SparseSupport:$support,
                       AnyRankedTensor:$indices, AnyRankedTensor:$values);
  let assemblyFormat = [{
    $mode $support $indices `,` $values attr-dict `:` type($indices) `,` type($values) `->` qualified(type($update))
  }];
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// From updates
//===----------------------------------------------------------------------===//

def Adapter_ScaleOp : Adapter_UpdateOp<"scale", ["isAdditive", "forEachTouched"], [AllTypesMatch<["source", "update"]>]> {
  let summary = "Go only part of an update's way";
  let description = [{
    W + factor * (U(W) - W). The factor is a value, since it may be known as late as the call.

    Example:
    ```mlir
    func.func @example(%u: !adapter.update<tensor<4x4xf32>>) -> !adapter.update<tensor<4x4xf32>> {
      %s = arith.constant 1.5 : f64
      %v = adapter.scale %u, %s : !adapter.update<tensor<4x4xf32>>
      return %v : !adapter.update<tensor<4x4xf32>>
    }
    ```
  }];
  let arguments = (ins Adapter_UpdateType:$source, F64:$factor);
  let assemblyFormat = "$source `,` $factor attr-dict `:` qualified(type($update))";
  let hasFolder = 1;
  let hasCanonicalizer = 1;
}

def Adapter_SumOp : Adapter_UpdateOp<"sum", ["isAdditive", "forEachTouched"]> {
  let summary = "Apply updates beside one another";
  let description = [{
    W + sum_k (U_k(W) - W), of additive updates; the order does not matter. The empty sum changes nothing.

    Example:
    ```mlir
    func.func @example(%u: !adapter.update<tensor<4xf32>>, %v: !adapter.update<tensor<4xf32>>) -> !adapter.update<tensor<4xf32>> {
      %s = adapter.sum %u, %v : !adapter.update<tensor<4xf32>>
      return %s : !adapter.update<tensor<4xf32>>
    }
    ```
  }];
  let arguments = (ins Variadic<Adapter_UpdateType>:$sources);
  let assemblyFormat = "$sources attr-dict `:` custom<OneType>(ref($sources), type($sources), type($update))";
  let hasVerifier = 1;
  let hasFolder = 1;
  let hasCanonicalizer = 1;
}

def Adapter_ComposeOp : Adapter_UpdateOp<"compose", ["isAdditive", "needsWeight"]> {
  let summary = "Apply updates one after the other";
  let description = [{
    U_n(... U_1(W)): the first operand acts first.

    Example:
    ```mlir
    func.func @example(%u: !adapter.update<tensor<4xf32>>, %v: !adapter.update<tensor<4xf32>>) -> !adapter.update<tensor<4xf32>> {
      %s = adapter.compose %u, %v : !adapter.update<tensor<4xf32>>
      return %s : !adapter.update<tensor<4xf32>>
    }
    ```
  }];
  let arguments = (ins Variadic<Adapter_UpdateType>:$sources);
  let assemblyFormat = "$sources attr-dict `:` custom<OneType>(ref($sources), type($sources), type($update))";
  let hasVerifier = 1;
  let hasFolder = 1;
  let hasCanonicalizer = 1;
}

def Adapter_MagnitudeOp : Adapter_UpdateOp<"magnitude", [], [AllTypesMatch<["source", "update"]>]> {
  let summary = "Set the length of each output's weights";
  let description = [{
    V = U(W); W'[.., k, ..] = magnitude[k] * V[.., k, ..] / |V[.., k, ..]|, where k runs along `axis` and the
    norm over all other dimensions. DoRA is this over `adapter.low_rank`.

    Example:
    ```mlir
    func.func @example(%u: !adapter.update<tensor<32x64xf32>>, %m: tensor<32xf32>) -> !adapter.update<tensor<32x64xf32>> {
      %v = adapter.magnitude %u, %m axis 0 : !adapter.update<tensor<32x64xf32>>, tensor<32xf32>
      return %v : !adapter.update<tensor<32x64xf32>>
    }
    ```
  }];
  let arguments = (ins Adapter_UpdateType:$source, AnyRankedTensor:$magnitude, I64Attr:$axis);
  let assemblyFormat = "$source `,` $magnitude `axis` $axis attr-dict `:` qualified(type($update)) `,` type($magnitude)";
  let hasVerifier = 1;
}

def Adapter_TransposeOp : Adapter_UpdateOp<"transpose", ["isAdditive", "needsWeight", "forEachTouched"]> {
  let summary = "The same update of the transposed weight";
  let description = [{
    Dimension i of the result's weight is dimension permutation[i] of the source's. Exporters store most
    linears transposed.

    Example:
    ```mlir
    func.func @example(%u: !adapter.update<tensor<32x64xf32>>) -> !adapter.update<tensor<64x32xf32>> {
      %v = adapter.transpose %u [1, 0] : !adapter.update<tensor<32x64xf32>> -> !adapter.update<tensor<64x32xf32>>
      return %v : !adapter.update<tensor<64x32xf32>>
    }
    ```
  }];
  let arguments = (ins Adapter_UpdateType:$source, DenseI64ArrayAttr:$permutation);
  let assemblyFormat = "$source $permutation attr-dict `:` qualified(type($source)) `->` qualified(type($update))";
  let hasVerifier = 1;
  let hasFolder = 1;
}

def Adapter_ReshapeOp : Adapter_UpdateOp<"reshape", ["isAdditive", "needsWeight"]> {
  let summary = "The same update of a weight of other dimensions";
  let description = [{
    Forms see a weight as a matrix: of a convolution, the input channels and taps are one dimension of it; a vector is a
    matrix of one column, whatever dimensions of size 1 a graph gives it. The elements are the same, in the same order;
    the first dimension is the same, or all of the weight's are joined to the first.

    Example:
    ```mlir
    func.func @example(%u: !adapter.update<tensor<8x27xf32>>) -> !adapter.update<tensor<8x3x3x3xf32>> {
      %v = adapter.reshape %u : !adapter.update<tensor<8x27xf32>> -> !adapter.update<tensor<8x3x3x3xf32>>
      return %v : !adapter.update<tensor<8x3x3x3xf32>>
    }
    ```
  }];
  let arguments = (ins Adapter_UpdateType:$source, UnitAttr:$vector);
  let assemblyFormat = "$source (`vector` $vector^)? attr-dict `:` qualified(type($source)) `->` qualified(type($update))";
  let hasVerifier = 1;
}

def Adapter_PlaceOp : Adapter_UpdateOp<"place", ["isAdditive", "forEachTouched", "sizesMatter"]> {
  let summary = "An update of a part of a weight";
  let description = [{
    Acts on the part of the weight that begins at `offset` along `axis` and has the size of the source's
    weight; the rest stays. Fused query, key and value weights take each module's update so.

    Example:
    ```mlir
    func.func @example(%u: !adapter.update<tensor<32x64xf32>>) -> !adapter.update<tensor<96x64xf32>> {
      %v = adapter.place %u at 32 axis 0 : !adapter.update<tensor<32x64xf32>> -> !adapter.update<tensor<96x64xf32>>
      return %v : !adapter.update<tensor<96x64xf32>>
    }
    ```
  }];
  let arguments = (ins Adapter_UpdateType:$source, I64Attr:$offset, I64Attr:$axis);
  let assemblyFormat = "$source `at` $offset `axis` $axis attr-dict `:` qualified(type($source)) `->` qualified(type($update))";
  let hasVerifier = 1;
}

#endif // ADAPTER_DIALECTS_ADAPTER_IR_UPDATEOPS_TD
