// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Forms: what a method computes, defined once, and its use at one parameter.
#ifndef ADAPTER_DIALECTS_ADAPTER_IR_FORMOPS_TD
#define ADAPTER_DIALECTS_ADAPTER_IR_FORMOPS_TD

include "dialects/Adapter/IR/MapOps.td"
include "mlir/IR/SymbolInterfaces.td"

/// Of ops that mean something in the body of a form alone.
def Adapter_InForm : NativeOpTrait<"InForm"> {
  let cppNamespace = "::adapter";
}

def Adapter_FormOp : Adapter_Op<"form", [Symbol, IsolatedFromAbove, SingleBlock]> {
  let summary = "What a method makes of a weight, and of its bias";
  let description = [{
    The definition of a method: the tensors that it asks for, by role and with their sizes as expressions over symbols,
    its scalars and whole numbers, and a body that makes an update of them, and, where it has one, the new bias. Roles,
    then scalars, then whole numbers (as indices) are the arguments of the body. Tensors come in f64, indices in i64.
    Merging, switching, batches by row, fit checks and the manifest all follow from it.

    Weights are seen as [out, cols]: those of a convolution with its input channels and taps as one dimension, tables of
    an embedding transposed, as [dim, vocabulary], vectors as [n, 1]. `checked` is of forms that users bring: what is made
    of them is checked as it runs.

    Example:
    ```mlir
    adapter.form @example for [linear, embedding]
        roles(%A "A" : "r, cols", %B "B" : "out, r")
        scalars(%s "scale" = 1.0)
        sliceable("r") {
      %b = adapter.matrix %B : tensor<?x?xf64>
      %a = adapter.matrix %A : tensor<?x?xf64>
      %m = adapter.chain %b, %a
      %u = adapter.add %m scale %s
      adapter.yield %u : !adapter.update<tensor<?x?xf64>>
    }
    adapter.form @rotation for [linear]
        roles(%R "R" : "blocks | 1, b, b")
        attributes(%unused "terms" = 5)
        where("blocks = cols / b") requires("b >= 2") {
      %n = adapter.symbol "blocks"
      %k = adapter.blocks %R of %n : tensor<?x?x?xf64>
      %u = adapter.right %k
      adapter.yield %u : !adapter.update<tensor<?x?xf64>>
    }
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, ArrayAttr:$kinds,
                       TypedArrayAttrBase<Adapter_RoleAttr, "roles">:$roles,
                       TypedArrayAttrBase<Adapter_ScalarAttr, "scalars">:$scalars,
                       TypedArrayAttrBase<Adapter_IntegerAttr, "whole numbers">:$integers,
                       StrArrayAttr:$choices, StrArrayAttr:$definitions, StrArrayAttr:$requirements,
                       StrArrayAttr:$sliceable, UnitAttr:$checked);
  let regions = (region SizedRegion<1>:$body);
  let hasCustomAssemblyFormat = 1;
  let hasVerifier = 1;
  let hasRegionVerifier = 1;
  let extraClassDeclaration = [{
    /// What it asks for, as compiler and runtime check it. Only of a form that verifies.
    ::adapter::forms::Signature getSignature();
    /// The argument of a role; null where it has none of that name.
    ::mlir::BlockArgument getRoleArgument(::llvm::StringRef role);
    /// Whether the body yields a new bias.
    bool makesBias();
    /// Whether that is zero wherever there was none.
    bool keepsNoBias();
  }];
}

def Adapter_SymbolOp : Adapter_Op<"symbol", [Pure, Adapter_InForm]> {
  let summary = "The value of one of a form's symbols";
  let description = [{
    A size of the place that the form acts on (out, in, cols, groups), or a symbol that tensors, whole numbers or
    definitions bind.

    Example: see adapter.form.
  }];
  let arguments = (ins StrAttr:$name);
  let results = (outs Index:$value);
  let assemblyFormat = "$name attr-dict";
}

def Adapter_WeightOp : Adapter_Op<"weight", [Pure, Adapter_InForm]> {
  let summary = "The weight that a form acts on, as [out, cols]";
  let description = [{
    At build the base's weight, later the stored one. A form that reads it keeps it at hand wherever an adapter is
    loaded.

    Example:
    ```mlir
    adapter.form @hadamard for [linear] roles(%M "M" : "out, cols") {
      %w = adapter.weight : tensor<?x?xf64>
      %p = arith.mulf %w, %M : tensor<?x?xf64>
      %m = adapter.matrix %p : tensor<?x?xf64>
      %u = adapter.add %m
      adapter.yield %u : !adapter.update<tensor<?x?xf64>>
    }
    ```
  }];
  let results = (outs 2DTensorOf<[F64]>:$weight);
  let assemblyFormat = "attr-dict `:` type($weight)";
}

def Adapter_BiasOp : Adapter_Op<"bias", [Pure, Adapter_InForm]> {
  let summary = "The bias beside the weight that a form acts on; zeros where there is none";
  let description = [{
    Example:
    ```mlir
    adapter.form @scaled for [linear] roles(%l "l" : "out") {
      %d = adapter.diagonal %l : tensor<?xf64>
      %u = adapter.left %d
      %b = adapter.bias : tensor<?xf64>
      %new = arith.mulf %l, %b : tensor<?xf64>
      adapter.yield %u, %new : !adapter.update<tensor<?x?xf64>>, tensor<?xf64>
    }
    ```
  }];
  let results = (outs 1DTensorOf<[F64]>:$bias);
  let assemblyFormat = "attr-dict `:` type($bias)";
}

def Adapter_IfGivenOp : Adapter_Op<"if_given", [RecursiveMemoryEffects, SingleBlock, Adapter_InForm]> {
  let summary = "One value where an adapter gives an optional tensor, another where not";
  let description = [{
    Decided when the form is used at a parameter: no branch remains.

    Example:
    ```mlir
    adapter.form @optional for [linear]
        roles(%v "value" : "out, cols", %m "magnitude" : "out" optional "dora") {
      %a = adapter.matrix %v : tensor<?x?xf64>
      %u = adapter.add %a
      %w = adapter.if_given %m : tensor<?xf64> -> !adapter.update<tensor<?x?xf64>> {
        %x = adapter.magnitude %u, %m axis 0 : !adapter.update<tensor<?x?xf64>>, tensor<?xf64>
        adapter.yield %x : !adapter.update<tensor<?x?xf64>>
      } else {
        adapter.yield %u : !adapter.update<tensor<?x?xf64>>
      }
      adapter.yield %w : !adapter.update<tensor<?x?xf64>>
    }
    ```
  }];
  let arguments = (ins AnyRankedTensor:$tensor);
  let results = (outs Variadic<AnyType>:$results);
  let regions = (region SizedRegion<1>:$given, SizedRegion<1>:$missing);
  let assemblyFormat = "$tensor `:` type($tensor) `->` type($results) $given `else` $missing attr-dict";
  let hasVerifier = 1;
}

def Adapter_ApplyOp : Adapter_Op<"apply", [Pure, AttrSizedOperandSegments,
    DeclareOpInterfaceMethods<SymbolUserOpInterface>,
    DeclareOpInterfaceMethods<Adapter_UpdateOpInterface, ["materialize", "isAdditive", "forEachTouched", "needsWeight"]>]> {
  let summary = "The update that a form makes of an adapter's tensors";
  let description = [{
    A form at one parameter. `roles` are the tensors, as their checkpoint has them, by `role_names`; `scalars` those that
    are given; `symbols` hold the values of `symbol_names`, or a tensor of i64 does, where one function serves places of
    several sizes. The update is of the weight as forms see it, or, with `bias`, of its bias; then `weight` is the weight
    beside it, where the form reads that. With `delivered` the tensors have the dimensions that the form's body wants, if
    perhaps in the order of the checkpoint's weight.

    Example:
    ```mlir
    module {
      adapter.form @added for [linear] roles(%v "value" : "weight") scalars(%s "scale" = 1.0) {
        %m = adapter.matrix %v : tensor<?x?xf64>
        %u = adapter.add %m scale %s
        adapter.yield %u : !adapter.update<tensor<?x?xf64>>
      }
      func.func @example(%v: tensor<32x64xf32>, %s: f64) -> !adapter.update<tensor<32x64xf32>> {
        %u = adapter.apply @added at <linear> (%v) ["value"] scalars(%s) ["scale"] symbols ["cols", "out"] = [64, 32]
            : (tensor<32x64xf32>) -> !adapter.update<tensor<32x64xf32>>
        return %u : !adapter.update<tensor<32x64xf32>>
      }
    }
    ```
  }];
  let arguments = (ins FlatSymbolRefAttr:$form, Adapter_SiteKindAttr:$kind, Variadic<AnyRankedTensor>:$roles,
                       StrArrayAttr:$role_names, Variadic<F64>:$scalars, StrArrayAttr:$scalar_names,
                       StrArrayAttr:$symbol_names, DenseI64ArrayAttr:$symbols,
                       Optional<AnyRankedTensor>:$symbol_values, Optional<AnyRankedTensor>:$weight,
                       UnitAttr:$bias, UnitAttr:$stored_transposed, UnitAttr:$weight_transposed, UnitAttr:$delivered);
  let results = (outs Adapter_UpdateType:$update);
  let assemblyFormat = [{
    $form `at` $kind (`transposed` $stored_transposed^)? `(` $roles `)` $role_names
    (`scalars` `(` $scalars^ `)`)? $scalar_names
    `symbols` $symbol_names `=` $symbols (`from` $symbol_values^ `:` type($symbol_values))?
    (`bias` $bias^)? (`weight` `(` $weight^ `:` type($weight) `)`)? attr-dict
    `:` functional-type($roles, $update)
  }];
}

#endif // ADAPTER_DIALECTS_ADAPTER_IR_FORMOPS_TD
