// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Types and enumerations of the adapter dialect.
#ifndef ADAPTER_DIALECTS_ADAPTER_IR_ADAPTERTYPES_TD
#define ADAPTER_DIALECTS_ADAPTER_IR_ADAPTERTYPES_TD

include "dialects/Adapter/IR/AdapterDialect.td"
include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/EnumAttr.td"

def Adapter_UpdateType : TypeDef<Adapter_Dialect, "Update"> {
  let mnemonic = "update";
  let summary = "What maps a weight to its adapted self";
  let description = [{
    The type of an update of tensors of one shape and element type. It names the weight that the update acts
    on, not what the update is made of: factors may be of other element types. `adapter.materialize` applies
    it.

    ```mlir
    func.func private @example(!adapter.update<tensor<768x768xf32>>)
    ```
  }];
  let parameters = (ins "::mlir::RankedTensorType":$weight);
  let assemblyFormat = "`<` $weight `>`";
  let genVerifyDecl = 1;
}

def Adapter_BindingTime : I32EnumAttr<"BindingTime", "when a value becomes known", [
  I32EnumAttrCase<"Build", 0, "build">, I32EnumAttrCase<"Load", 1, "load">,
  I32EnumAttrCase<"Switch", 2, "switch">, I32EnumAttrCase<"Call", 3, "call">,
  I32EnumAttrCase<"Row", 4, "row">]> {
  let cppNamespace = "::adapter";
  let genSpecializedAttr = 0;
}
def Adapter_BindingTimeAttr : EnumAttr<Adapter_Dialect, Adapter_BindingTime, "time"> {
  let assemblyFormat = "`<` $value `>`";
}

def Adapter_SiteKind : I32EnumAttr<"SiteKind", "what adapters act on at a site", [
  I32EnumAttrCase<"Linear", 0, "linear">, I32EnumAttrCase<"Embedding", 1, "embedding">,
  I32EnumAttrCase<"Vector", 2, "vector">, I32EnumAttrCase<"Convolution", 3, "convolution">,
  I32EnumAttrCase<"Bottleneck", 4, "bottleneck">]> {
  let cppNamespace = "::adapter";
  let genSpecializedAttr = 0;
}
def Adapter_SiteKindAttr : EnumAttr<Adapter_Dialect, Adapter_SiteKind, "kind"> {
  let assemblyFormat = "`<` $value `>`";
}

def Adapter_TokenUse : I32EnumAttr<"TokenUse", "which adapters of a row-bound site act token by token", [
  I32EnumAttrCase<"Adapter", 0, "adapter">, I32EnumAttrCase<"Room", 1, "room">]> {
  let cppNamespace = "::adapter";
  let genSpecializedAttr = 0;
}
def Adapter_TokenUseAttr : EnumAttr<Adapter_Dialect, Adapter_TokenUse, "by_token"> {
  let assemblyFormat = "`<` $value `>`";
}

def Adapter_ParameterRowAttr : AttrDef<Adapter_Dialect, "ParameterRow"> {
  let mnemonic = "row";
  let summary = "A row of a function's table of parameters";
  let description = [{
    A tensor of an archive, by scope and key, that `kernel.parameter` names by the row's number; with the site that it is a parameter
    of, where adapters may change it. The table is the attribute `adapter.parameters` of the function, which has it to the end.

    ```mlir
    func.func private @example() attributes {adapter.parameters = [#adapter.row<"base", "w">, #adapter.row<"base", "v", @site_0>]}
    ```
  }];
  let parameters = (ins "::mlir::StringAttr":$scope, "::mlir::StringAttr":$key,
                        OptionalParameter<"::mlir::FlatSymbolRefAttr">:$site);
  let assemblyFormat = "`<` $scope `,` $key (`,` $site^)? `>`";
}

def Adapter_SparseMode : I32EnumAttr<"SparseMode", "how values meet what is there", [
  I32EnumAttrCase<"Add", 0, "add">, I32EnumAttrCase<"Overwrite", 1, "overwrite">]> {
  let cppNamespace = "::adapter";
}

def Adapter_SparseSupport : I32EnumAttr<"SparseSupport", "which elements a sparse update holds", [
  I32EnumAttrCase<"Rows", 0, "rows">, I32EnumAttrCase<"Columns", 1, "columns">,
  I32EnumAttrCase<"Coordinates", 2, "coordinates">, I32EnumAttrCase<"Blocks", 3, "blocks">,
  I32EnumAttrCase<"Bitmask", 4, "bitmask">]> {
  let cppNamespace = "::adapter";
}

def Adapter_MaskMixMode : I32EnumAttr<"MaskMixMode", "how masked tensors become one", [
  I32EnumAttrCase<"Sum", 0, "sum">, I32EnumAttrCase<"Mean", 1, "mean">,
  I32EnumAttrCase<"Select", 2, "select">]> {
  let cppNamespace = "::adapter";
}

#endif // ADAPTER_DIALECTS_ADAPTER_IR_ADAPTERTYPES_TD
