// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Linear maps, and the updates that they make.
#ifndef ADAPTER_DIALECTS_ADAPTER_IR_MAPOPS_TD
#define ADAPTER_DIALECTS_ADAPTER_IR_MAPOPS_TD

include "dialects/Adapter/IR/AdapterInterfaces.td"
include "dialects/Adapter/IR/FormTypes.td"
include "dialects/Adapter/IR/UpdateOps.td"

class Adapter_MapOp<string mnemonic, list<string> methods = [], list<Trait> traits = []>
    : Adapter_Op<mnemonic, !listconcat([Pure, DeclareOpInterfaceMethods<
                               Adapter_MapOpInterface, !listconcat(["apply"], methods)>], traits)> {
  let results = (outs Adapter_MapType:$map);
}

//===----------------------------------------------------------------------===//
// From tensors
//===----------------------------------------------------------------------===//

def Adapter_MatrixOp : Adapter_MapOp<"matrix", ["sizes"]> {
  let summary = "The map of a matrix [m, n]";
  let description = [{
    z[i] = sum_j tensor[i, j] x[j].

    Example:
    ```mlir
    func.func @example(%t: tensor<?x?xf64>) -> !adapter.map {
      %m = adapter.matrix %t : tensor<?x?xf64>
      return %m : !adapter.map
    }
    ```
  }];
  let arguments = (ins 2DTensorOf<[F64]>:$tensor);
  let assemblyFormat = "$tensor attr-dict `:` type($tensor)";
}

def Adapter_DiagonalOp : Adapter_MapOp<"diagonal", ["sizes"]> {
  let summary = "The map that multiplies each element by its own factor";
  let description = [{
    z[i] = factors[i] x[i].

    Example:
    ```mlir
    func.func @example(%v: tensor<?xf64>) -> !adapter.map {
      %m = adapter.diagonal %v : tensor<?xf64>
      return %m : !adapter.map
    }
    ```
  }];
  let arguments = (ins 1DTensorOf<[F64]>:$factors);
  let assemblyFormat = "$factors attr-dict `:` type($factors)";
}

def Adapter_BlocksOp : Adapter_MapOp<"blocks", ["sizes"]> {
  let summary = "A block-diagonal map";
  let description = [{
    Of tensor [k, p, q]: z[b p + i] = sum_j tensor[b, i, j] x[b q + j] for each of the `count` blocks. k is `count`, or
    1 for one tensor that is every block.

    Example:
    ```mlir
    func.func @example(%t: tensor<?x?x?xf64>, %n: index) -> !adapter.map {
      %m = adapter.blocks %t of %n : tensor<?x?x?xf64>
      return %m : !adapter.map
    }
    ```
  }];
  let arguments = (ins 3DTensorOf<[F64]>:$tensor,
                       Index:$count);
  let assemblyFormat = "$tensor `of` $count attr-dict `:` type($tensor)";
  let extraClassDeclaration = [{
    /// Emits the tensor of all blocks, [count, p, q].
    ::mlir::Value allBlocks(::mlir::ImplicitLocOpBuilder &builder);
  }];
}

def Adapter_ShuffleOp : Adapter_MapOp<"shuffle", ["sizes"]> {
  let summary = "Exchange the dimensions that a vector can be divided into";
  let description = [{
    x is seen as a tensor of the given sizes, whose dimension i becomes dimension permutation[i] of what it was.

    Example:
    ```mlir
    func.func @example(%a: index, %b: index) -> !adapter.map {
      %m = adapter.shuffle %a, %b by [1, 0]
      return %m : !adapter.map
    }
    ```
  }];
  let arguments = (ins Variadic<Index>:$dims, DenseI64ArrayAttr:$permutation);
  let assemblyFormat = "$dims `by` $permutation attr-dict";
  let hasVerifier = 1;
}

def Adapter_PermuteOp : Adapter_MapOp<"permute", ["sizes"]> {
  let summary = "Take the elements in another order";
  let description = [{
    z[i] = x[order[i]]; `order` holds each of 0 to n - 1 once.

    Example:
    ```mlir
    func.func @example(%p: tensor<?xi64>) -> !adapter.map {
      %m = adapter.permute %p : tensor<?xi64>
      return %m : !adapter.map
    }
    ```
  }];
  let arguments = (ins 1DTensorOf<[I64]>:$order);
  let assemblyFormat = "$order attr-dict `:` type($order)";
}

def Adapter_GatherOp : Adapter_MapOp<"gather", ["sizes"]> {
  let summary = "The map of a matrix of few elements";
  let description = [{
    Of places [2, count]: z[places[0, k]] += values[k] x[places[1, k]] for each k, from zero. `rows` and `columns` are
    the sizes of z and x.

    Example:
    ```mlir
    func.func @example(%i: tensor<2x?xi64>, %v: tensor<?xf64>, %m: index, %n: index) -> !adapter.map {
      %g = adapter.gather %i, %v of %m, %n : tensor<2x?xi64>, tensor<?xf64>
      return %g : !adapter.map
    }
    ```
  }];
  let arguments = (ins 2DTensorOf<[I64]>:$places,
                       1DTensorOf<[F64]>:$values, Index:$rows,
                       Index:$columns);
  let assemblyFormat = "$places `,` $values `of` $rows `,` $columns attr-dict `:` type($places) `,` type($values)";
}

def Adapter_IdentityOp : Adapter_MapOp<"identity"> {
  let summary = "The map that changes nothing";
  let description = [{
    z = x, of whatever size.

    Example:
    ```mlir
    func.func @example() -> !adapter.map {
      %m = adapter.identity
      return %m : !adapter.map
    }
    ```
  }];
  let assemblyFormat = "attr-dict";
}

//===----------------------------------------------------------------------===//
// From maps
//===----------------------------------------------------------------------===//

def Adapter_ChainOp : Adapter_MapOp<"chain", ["sizes"]> {
  let summary = "One map behind the other: the last acts first";
  let description = [{
    z = A(B(x)) of `chain A, B`.

    Example:
    ```mlir
    func.func @example(%a: !adapter.map, %b: !adapter.map) -> !adapter.map {
      %m = adapter.chain %a, %b
      return %m : !adapter.map
    }
    ```
  }];
  let arguments = (ins Variadic<Adapter_MapType>:$maps);
  let assemblyFormat = "$maps attr-dict";
  let hasVerifier = 1;
}

def Adapter_PlusOp : Adapter_MapOp<"plus", ["sizes"]> {
  let summary = "The sum of maps";
  let description = [{
    z = A x + B x of `plus A, B`.

    Example:
    ```mlir
    func.func @example(%a: !adapter.map, %b: !adapter.map) -> !adapter.map {
      %m = adapter.plus %a, %b
      return %m : !adapter.map
    }
    ```
  }];
  let arguments = (ins Variadic<Adapter_MapType>:$maps);
  let assemblyFormat = "$maps attr-dict";
  let hasVerifier = 1;
}

def Adapter_AdjointOp : Adapter_MapOp<"adjoint", ["sizes"]> {
  let summary = "The transposed map";
  let description = [{
    The map of the transposed matrix.

    Example:
    ```mlir
    func.func @example(%a: !adapter.map) -> !adapter.map {
      %m = adapter.adjoint %a
      return %m : !adapter.map
    }
    ```
  }];
  let arguments = (ins Adapter_MapType:$source);
  let assemblyFormat = "$source attr-dict";
}

//===----------------------------------------------------------------------===//
// Updates from maps
//===----------------------------------------------------------------------===//

class Adapter_MapUpdateOp<string mnemonic, list<string> methods = [], list<Trait> traits = []>
    : Adapter_Op<mnemonic, !listconcat([Pure, DeclareOpInterfaceMethods<
                               Adapter_UpdateOpInterface, !listconcat(["materialize"], methods)>], traits)> {
  let results = (outs Adapter_ViewUpdate:$update);
}

def Adapter_AddOp : Adapter_MapUpdateOp<"add", ["isAdditive", "forEachTouched"]> {
  let summary = "Add a map to the weight";
  let description = [{
    W + scale * M. Weights are seen as [out, cols].

    Example:
    ```mlir
    func.func @example(%m: !adapter.map, %s: f64) -> !adapter.update<tensor<?x?xf64>> {
      %u = adapter.add %m scale %s
      return %u : !adapter.update<tensor<?x?xf64>>
    }
    ```
  }];
  let arguments = (ins Adapter_MapType:$map, Optional<F64>:$scale);
  let assemblyFormat = "$map (`scale` $scale^)? attr-dict";
}

def Adapter_LeftOp : Adapter_MapUpdateOp<"left"> {
  let summary = "Act on the outputs of the weight";
  let description = [{
    M W: what the weight makes is mapped, its bias is not.

    Example:
    ```mlir
    func.func @example(%m: !adapter.map) -> !adapter.update<tensor<?x?xf64>> {
      %u = adapter.left %m
      return %u : !adapter.update<tensor<?x?xf64>>
    }
    ```
  }];
  let arguments = (ins Adapter_MapType:$map);
  let assemblyFormat = "$map attr-dict";
}

def Adapter_RightOp : Adapter_MapUpdateOp<"right"> {
  let summary = "Act on the inputs of the weight";
  let description = [{
    W M: what the weight reads is mapped first.

    Example:
    ```mlir
    func.func @example(%m: !adapter.map) -> !adapter.update<tensor<?x?xf64>> {
      %u = adapter.right %m
      return %u : !adapter.update<tensor<?x?xf64>>
    }
    ```
  }];
  let arguments = (ins Adapter_MapType:$map);
  let assemblyFormat = "$map attr-dict";
}

#endif // ADAPTER_DIALECTS_ADAPTER_IR_MAPOPS_TD
