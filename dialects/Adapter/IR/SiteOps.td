// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Where updates meet the model: sites, and ops that use updates.
#ifndef ADAPTER_DIALECTS_ADAPTER_IR_SITEOPS_TD
#define ADAPTER_DIALECTS_ADAPTER_IR_SITEOPS_TD

include "dialects/Adapter/IR/ModuleAttrs.td"
include "dialects/Adapter/IR/UpdateOps.td"
include "mlir/IR/SymbolInterfaces.td"

def Adapter_SiteOp : Adapter_Op<"site", [Symbol]> {
  let summary = "What adapters act on at run time: a parameter, or an edge";
  let description = [{
    `module` and `parameter` are the path in adapters' checkpoints, `rows` and `columns` the size as the
    module's framework sees it: outputs and inputs of a linear or convolution (the latter over all but the
    first dimension), vocabulary and width of an embedding, size and 0 of a vector; for a bottleneck, outputs
    and inputs of the module. `transposed`: the graph's
    tensor is [columns, rows]. `stored_transposed`: so is the module's own, and hence what replaces it
    (GPT-2's Conv1D). `forms` lists the forms of updates that may come, as lib/Checkpoint names them. A bottleneck has no
    parameter and no forms: there the word names the place of its module, and `bottlenecks` says what the modules that
    may come compute.
    `tied` are sites that follow this one where an update of a tied weight reaches both. `slots` names the slots
    that have room here; a `spare` site is for them alone, and is left out where the graph cannot serve it. `by_token`
    says that adapters of a row-bound site may differ by token: `adapter` where one of the build does, `room` where only adapters
    that come later may. `bank` is the number of the entries that rows or calls choose among; a site that `shares` another's
    parameter reads what that one holds.
    `graph` is the model that the site is of, where there are several: an adapter's modules are matched in each by
    itself.

    Example:
    ```mlir
    module {
      adapter.site @site_0 {module = "layers.0.q_proj", parameter = "weight", kind = #adapter.kind<linear>,
                            time = #adapter.time<row>, rows = 32 : i64, columns = 64 : i64, transposed, forms = ["lora"]}
    }
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, StrAttr:$module, StrAttr:$parameter,
                       Adapter_SiteKindAttr:$kind, Adapter_BindingTimeAttr:$time, I64Attr:$rows,
                       I64Attr:$columns, UnitAttr:$transposed, UnitAttr:$stored_transposed,
                       DefaultValuedAttr<StrArrayAttr, "{}">:$forms,
                       OptionalAttr<Adapter_BottleneckArrayAttr>:$bottlenecks,
                       OptionalAttr<TypedArrayAttrBase<FlatSymbolRefAttr, "symbols">>:$tied,
                       OptionalAttr<StrArrayAttr>:$slots, UnitAttr:$spare,
                       OptionalAttr<StrAttr>:$graph, OptionalAttr<DenseI64ArrayAttr>:$taps,
                       OptionalAttr<Adapter_TokenUseAttr>:$by_token,
                       OptionalAttr<ConfinedAttr<I64Attr, [IntNonNegative]>>:$bank,
                       OptionalAttr<FlatSymbolRefAttr>:$shares);
  let assemblyFormat = "$sym_name attr-dict";
  let hasVerifier = 1;
}

def Adapter_SelectOp : Adapter_UpdateOp<"select", [], [DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "The update that a site holds at run time";
  let description = [{
    Whatever adapter acts at the site: none, one for the whole model, or one per row.

    Example:
    ```mlir
    module {
      adapter.site @site_0 {module = "head", parameter = "bias", kind = #adapter.kind<vector>,
                            time = #adapter.time<switch>, rows = 8 : i64, columns = 0 : i64, forms = ["replace"]}
      func.func @example(%b: tensor<8xf32>) -> tensor<8xf32> {
        %u = adapter.select @site_0 : !adapter.update<tensor<8xf32>>
        %c = adapter.materialize %b, %u : tensor<8xf32>
        return %c : tensor<8xf32>
      }
    }
    ```
  }];
  let arguments = (ins FlatSymbolRefAttr:$site);
  let assemblyFormat = "$site attr-dict `:` qualified(type($update))";
}

def Adapter_MaterializeOp : Adapter_Op<"materialize", [Pure, AllTypesMatch<["weight", "result"]>,
    TypesMatchWith<"update acts on the weight's type", "weight", "update", "::adapter::updateTypeOf($_self)">]> {
  let summary = "A weight with an update applied";
  let description = [{
    Stands on the edge between a parameter and the operation that reads it. Updates known when the compiler
    runs are evaluated away (adapter-merge); those known later decide how the reader is lowered.

    Example:
    ```mlir
    func.func @example(%w: tensor<4xf32>, %u: !adapter.update<tensor<4xf32>>) -> tensor<4xf32> {
      %v = adapter.materialize %w, %u : tensor<4xf32>
      return %v : tensor<4xf32>
    }
    ```
  }];
  let arguments = (ins AnyRankedTensor:$weight, Adapter_UpdateType:$update);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$weight `,` $update attr-dict `:` type($weight)";
  let hasVerifier = 1;
  let hasFolder = 1;
}

def Adapter_LinearOp : Adapter_Op<"linear", [Pure]> {
  let summary = "A linear layer whose weight carries an update";
  let description = [{
    y = x U(W) + bias, where W is [in, out], or [out, in] with `transpose_weight`. The form that updates take
    which differ from position to position of x (`adapter.mix`). Where it stands for a node of a graph, `node`
    holds what that said of itself: its operator, attributes, names and metadata.

    Example:
    ```mlir
    func.func @example(%x: tensor<?x7x64xf32>, %w: tensor<64x32xf32>, %u: !adapter.update<tensor<64x32xf32>>) -> tensor<?x7x32xf32> {
      %y = adapter.linear %x, %w update %u : tensor<?x7x64xf32>, tensor<64x32xf32>, !adapter.update<tensor<64x32xf32>> -> tensor<?x7x32xf32>
      return %y : tensor<?x7x32xf32>
    }
    ```
  }];
  let arguments = (ins AnyType:$input, AnyType:$weight, Optional<AnyRankedTensor>:$bias,
                       Adapter_UpdateType:$update, UnitAttr:$transpose_weight,
                       OptionalAttr<DictionaryAttr>:$node);
  let results = (outs AnyType:$result);
  let assemblyFormat = [{
    $input `,` $weight (`bias` $bias^)? `update` $update attr-dict `:` type($input) `,` type($weight)
    `,` qualified(type($update)) (`,` type($bias)^)? `->` type($result)
  }];
  let hasVerifier = 1;
}

def Adapter_EmbeddingOp : Adapter_Op<"embedding", [Pure]> {
  let summary = "Rows of a table that carries an update";
  let description = [{
    y[..., :] = U(W)[ids[...], :]; negative ids count from the end.

    Example:
    ```mlir
    func.func @example(%ids: tensor<?x7xi64>, %w: tensor<96x32xf32>, %u: !adapter.update<tensor<96x32xf32>>) -> tensor<?x7x32xf32> {
      %y = adapter.embedding %ids, %w update %u : tensor<?x7xi64>, tensor<96x32xf32>, !adapter.update<tensor<96x32xf32>> -> tensor<?x7x32xf32>
      return %y : tensor<?x7x32xf32>
    }
    ```
  }];
  let arguments = (ins AnyRankedTensor:$ids, AnyRankedTensor:$weight, Adapter_UpdateType:$update);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = [{
    $ids `,` $weight `update` $update attr-dict `:` type($ids) `,` type($weight) `,` qualified(type($update)) `->` type($result)
  }];
  let hasVerifier = 1;
}

#endif // ADAPTER_DIALECTS_ADAPTER_IR_SITEOPS_TD
