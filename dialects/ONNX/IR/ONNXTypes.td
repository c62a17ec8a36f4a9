// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Types and attributes of ONNX values that builtin types do not cover.
#ifndef ADAPTER_DIALECTS_ONNX_IR_ONNXTYPES_TD
#define ADAPTER_DIALECTS_ONNX_IR_ONNXTYPES_TD

include "dialects/ONNX/IR/ONNXDialect.td"
include "mlir/IR/AttrTypeBase.td"

class ONNX_Type<string name, string typeMnemonic> : TypeDef<ONNX_Dialect, name> {
  let mnemonic = typeMnemonic;
}

def ONNX_StringType : ONNX_Type<"String", "string"> {
  let summary = "Element type of tensors of strings";
}

def ONNX_UnknownType : ONNX_Type<"Unknown", "unknown"> {
  let summary = "Type of a value of which the model says nothing";
}

def ONNX_SequenceType : ONNX_Type<"Sequence", "sequence"> {
  let summary = "A sequence of values of one type";
  let parameters = (ins "::mlir::Type":$elementType);
  let assemblyFormat = "`<` $elementType `>`";
}

def ONNX_OptionalType : ONNX_Type<"Optional", "optional"> {
  let summary = "A value or nothing";
  let parameters = (ins "::mlir::Type":$elementType);
  let assemblyFormat = "`<` $elementType `>`";
}

def ONNX_MapType : ONNX_Type<"Map", "map"> {
  let summary = "A map from keys to values";
  let parameters = (ins "::mlir::Type":$keyType, "::mlir::Type":$valueType);
  let assemblyFormat = "`<` $keyType `,` $valueType `>`";
}

def ONNX_SparseTensorType : ONNX_Type<"SparseTensor", "sparse_tensor"> {
  let summary = "A sparse tensor, given by its dense type";
  let parameters = (ins "::mlir::Type":$denseType);
  let assemblyFormat = "`<` $denseType `>`";
}

def ONNX_DimsAttr : AttrDef<ONNX_Dialect, "Dims"> {
  let mnemonic = "dims";
  let summary = "Names of a tensor's dimensions (dim_param)";
  let description = [{
    The encoding of a ranked tensor type. One name for each dimension; "" where it has none. Two dynamic
    dimensions of one name are equal in every run. A static dimension has no name.

    ```mlir
    func.func private @example(tensor<?x?x64xf32, #onnx.dims<"batch", "seq", "">>)
    ```
  }];
  let parameters = (ins ArrayRefParameter<"::mlir::StringAttr">:$names);
  let assemblyFormat = "`<` $names `>`";
}

def ONNX_TensorAttr : AttrDef<ONNX_Dialect, "Tensor"> {
  let mnemonic = "tensor";
  let summary = "A node's tensor attribute, by scope and key";
  let description = [{
    The tensor's bytes stay outside the IR, as those of `adapter.parameter` do. `value` is there for integer
    tensors of at most 64 elements; `extra` is what else the TensorProto says, as protobuf text.

    ```mlir
    func.func @example() -> tensor<2xf32> {
      %y = onnx.node "Constant"() {node_attributes = {value = #onnx.tensor<"base", "y.value", tensor<2xf32>>}, result_names = ["y"]} : () -> tensor<2xf32>
      return %y : tensor<2xf32>
    }
    ```
  }];
  let parameters = (ins StringRefParameter<"scope">:$scope, StringRefParameter<"key">:$key,
                        "::mlir::Type":$type, OptionalParameter<"::mlir::ElementsAttr">:$value,
                        OptionalParameter<"::mlir::StringAttr">:$extra);
  let assemblyFormat = "`<` $scope `,` $key `,` $type (`=` $value^)? (`extra` $extra^)? `>`";
}

def ONNX_StateAttr : AttrDef<ONNX_Dialect, "State"> {
  let mnemonic = "state";
  let summary = "An input of a graph that an output continues";
  let description = [{
    Output number `present` is input number `past` with what a call adds behind it along `axis`: a cache of keys or
    values. Axis 0 is that of rows. What is `kept`, under a number that is even for keys and odd for values, is continued
    in place: only the input's sizes count, and it has no output.
  }];
  let parameters = (ins "int64_t":$past, "int64_t":$present, "int64_t":$axis,
                        DefaultValuedParameter<"int64_t", "-1">:$kept);
  let assemblyFormat = "`<` struct(params) `>`";
}

def ONNX_SessionAttr : AttrDef<ONNX_Dialect, "Session"> {
  let mnemonic = "session";
  let summary = "What of a graph is state that sessions keep";
  let description = [{
    `mask` is the input, [rows, earlier and new tokens], that hides padding, `positions` the one, [rows, new tokens],
    that says where tokens stand; -1 where the graph has none. Graphs and functions carry it as `onnx.session`.

    ```mlir
    func.func private @example(%mask: tensor<?x?xi64>, %past: tensor<?x2x?x8xf32>) -> tensor<?x2x?x8xf32>
        attributes {onnx.session = #onnx.session<[<past = 1, present = 0, axis = 2>], mask = 0>}
    ```
  }];
  let parameters = (ins ArrayRefParameter<"StateAttr">:$states, DefaultValuedParameter<"int64_t", "-1">:$mask,
                        DefaultValuedParameter<"int64_t", "-1">:$positions);
  let assemblyFormat = [{
    `<` `[` $states `]` (`,` `mask` `=` $mask^)? (`,` `positions` `=` $positions^)? `>`
  }];
}

#endif // ADAPTER_DIALECTS_ONNX_IR_ONNXTYPES_TD
