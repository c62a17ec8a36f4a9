// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What definitions of methods are written with: structured linear maps, and what a form says of its tensors.
#ifndef ADAPTER_DIALECTS_ADAPTER_IR_FORMTYPES_TD
#define ADAPTER_DIALECTS_ADAPTER_IR_FORMTYPES_TD

include "dialects/Adapter/IR/AdapterTypes.td"

def Adapter_MapType : TypeDef<Adapter_Dialect, "Map"> {
  let mnemonic = "map";
  let summary = "A linear map, z = M x";
  let description = [{
    A matrix in a structured way: a diagonal, blocks, a permutation, few elements, a product of maps. It is known by
    what it does to a vector; it is written out as a matrix only where that is the cheaper way.

    ```mlir
    func.func private @example(!adapter.map)
    ```
  }];
}

def Adapter_RoleAttr : AttrDef<Adapter_Dialect, "Role"> {
  let mnemonic = "role";
  let summary = "A tensor that a form asks for";
  let description = [{
    Its name, which is the end of its key in a folder of type ADAPTER_OPT_FORM, and its sizes (see docs/forms.md).
    Part of adapter.form, which prints it in its own way.
  }];
  let parameters = (ins "::mlir::StringAttr":$name, "::mlir::StringAttr":$dims, DefaultValuedParameter<"bool", "false">:$index,
                        OptionalParameter<"::mlir::StringAttr">:$index_of,
                        DefaultValuedParameter<"bool", "false">:$optional,
                        OptionalParameter<"::mlir::StringAttr">:$variant,
                        DefaultValuedParameter<"bool", "false">:$shared);
  let assemblyFormat = "`<` struct(params) `>`";
}

def Adapter_ScalarAttr : AttrDef<Adapter_Dialect, "Scalar"> {
  let mnemonic = "scalar";
  let summary = "A number that a form asks for; without a default it must be given";
  let parameters = (ins "::mlir::StringAttr":$name, OptionalParameter<"::mlir::FloatAttr">:$by_default);
  let assemblyFormat = "`<` struct(params) `>`";
}

def Adapter_IntegerAttr : AttrDef<Adapter_Dialect, "FormInteger"> {
  let mnemonic = "integer";
  let summary = "A whole number that a form asks for; without a default it must be given";
  let parameters = (ins "::mlir::StringAttr":$name, OptionalParameter<"::mlir::IntegerAttr">:$by_default);
  let assemblyFormat = "`<` struct(params) `>`";
}

/// An update of the two-dimensional view of a weight that forms see.
def Adapter_ViewUpdate
    : Type<CPred<"$_self == ::adapter::viewUpdateType($_self.getContext())">, "an update of a tensor<?x?xf64>">,
      BuildableType<"::adapter::viewUpdateType($_builder.getContext())">;

#endif // ADAPTER_DIALECTS_ADAPTER_IR_FORMTYPES_TD
