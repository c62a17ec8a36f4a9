// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Ops of the onnx dialect: model, graph, function, node.
#ifndef ADAPTER_DIALECTS_ONNX_IR_ONNXOPS_TD
#define ADAPTER_DIALECTS_ONNX_IR_ONNXOPS_TD

include "dialects/ONNX/IR/ONNXDialect.td"
include "dialects/ONNX/IR/ONNXTypes.td"
include "mlir/IR/OpBase.td"
include "mlir/IR/RegionKindInterface.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

class ONNX_Op<string mnemonic, list<Trait> traits = []> : Op<ONNX_Dialect, mnemonic, traits>;

def ONNX_ModelOp : ONNX_Op<"model", [IsolatedFromAbove, Symbol, NoTerminator, SymbolTable, SingleBlock]> {
  let summary = "One ONNX model";
  let description = [{
    Holds one `onnx.graph` and the model's local functions. `opsets` lists domains and their versions in turn;
    `extra` is the rest of the ModelProto (producer, metadata, ...) as protobuf text, see lib/Import/ONNX.
    `explicit_domains` says that nodes of the default domain say so ("" rather than nothing), `external_data`
    that big tensors belong into a file of their own.
    A module may hold several models (encoder and decoder).

    Example:
    ```mlir
    onnx.model @mul_add attributes {ir_version = 8 : i64, opsets = ["", 17 : i64]} {
      onnx.graph @main (%x: tensor<?x4xf32, #onnx.dims<"batch", "">>) {
        %w = adapter.parameter "base"::"w" : tensor<4x4xf32>
        %y = onnx.node "MatMul"(%x, %w) {result_names = ["y"]} : (tensor<?x4xf32, #onnx.dims<"batch", "">>, tensor<4x4xf32>) -> tensor<?x4xf32, #onnx.dims<"batch", "">>
        onnx.return %y : tensor<?x4xf32, #onnx.dims<"batch", "">>
      } {input_names = ["x"]}
    }
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, I64Attr:$ir_version, ArrayAttr:$opsets,
                       UnitAttr:$explicit_domains, UnitAttr:$external_data, OptionalAttr<StrAttr>:$extra);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "$sym_name attr-dict-with-keyword $body";
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    /// Version that the model imports of an operator set; 0: none.
    int64_t getOpsetVersion(::llvm::StringRef domain);
  }];
}

def ONNX_GraphOp : ONNX_Op<"graph", [IsolatedFromAbove, Symbol, HasParent<"ModelOp">,
                                     SingleBlockImplicitTerminator<"ReturnOp">]> {
  let summary = "The main graph of a model";
  let description = [{
    Its block's arguments are the graph's inputs (without those that are initialisers), its
    `adapter.parameter` ops the initialisers, its `onnx.node` ops the nodes in order.
    `info` is what the GraphProto says beyond that; see lib/Import/ONNX.
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, StrArrayAttr:$input_names, OptionalAttr<DictionaryAttr>:$info);
  let regions = (region SizedRegion<1>:$body);
  let hasCustomAssemblyFormat = 1;
  let hasVerifier = 1;
}

def ONNX_FunctionOp : ONNX_Op<"function", [IsolatedFromAbove, Symbol, HasParent<"ModelOp">,
                                           SingleBlockImplicitTerminator<"ReturnOp">]> {
  let summary = "A local function of a model";
  let description = [{
    A FunctionProto: `domain` and `function_name` are what nodes call it by; block arguments are its inputs.
    `opsets` lists the function's own operator sets, as a model's does; `info` holds the rest (attributes, ...).
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, StrAttr:$domain, StrAttr:$function_name,
                       StrArrayAttr:$input_names, OptionalAttr<ArrayAttr>:$opsets,
                       OptionalAttr<DictionaryAttr>:$info);
  let regions = (region SizedRegion<1>:$body);
  let hasCustomAssemblyFormat = 1;
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    /// Version that the function imports of an operator set; 0: none.
    int64_t getOpsetVersion(::llvm::StringRef domain);
  }];
}

def ONNX_ReturnOp : ONNX_Op<"return", [Pure, Terminator]> {
  let summary = "The outputs of a graph, subgraph or function";
  let description = [{ Operands are the outputs in order; `output_names` their ONNX names. }];
  let arguments = (ins Variadic<AnyType>:$operands, OptionalAttr<StrArrayAttr>:$output_names);
  let assemblyFormat = "attr-dict ($operands^ `:` type($operands))?";
  let builders = [OpBuilder<(ins), [{ (void)$_builder; }]>];
  let hasVerifier = 1;
}

def ONNX_AbsentOp : ONNX_Op<"absent", [Pure]> {
  let summary = "An optional input or output that a node leaves out";
  let description = [{
    Example:
    ```mlir
    %none = onnx.absent
    ```
  }];
  let results = (outs NoneType:$result);
  let assemblyFormat = "attr-dict";
  let builders = [OpBuilder<(ins), [{ $_state.addTypes($_builder.getNoneType()); }]>];
}

def ONNX_NodeOp : ONNX_Op<"node", [RecursiveMemoryEffects,
                                   DeclareOpInterfaceMethods<MemoryEffectsOpInterface, ["getEffects"]>]> {
  let summary = "One node of an ONNX graph, of any operator";
  let description = [{
    `op_type` and `domain` name the operator (its version is the model's `opsets` entry), `node_attributes` its
    attributes: f32 floats, i64 integers, strings, dense arrays f32 and i64, arrays of strings, `#onnx.tensor`
    or, for integer tensors of at most 64 elements, dense elements; attributes of other kinds and what else
    the NodeProto says stand in `extra` as protobuf text. `attribute_order` is there where the model's order
    is not that of the names. Graph attributes are the regions, in the order of `region_names` (those of a
    list of graphs are named `body[0]`, `body[1]`, ...); `info` holds for each region its `input_names` and
    what an `onnx.graph` says in `info`. A region's values may refer to values outside, as in ONNX.
    `result_names` are the ONNX names of the results; a result that the node leaves out has the name "" and
    type none. `node_name` and `metadata` (keys and values in turn) are NodeProto's.
    Operators that draw random numbers have an effect, so that two of them are never merged.

    Example:
    ```mlir
    func.func @example(%x: tensor<4xf32>) -> tensor<4xf32> {
      %y = onnx.node "Elu"(%x) {node_attributes = {alpha = 0.5 : f32}, result_names = ["y"], node_name = "elu0"} : (tensor<4xf32>) -> tensor<4xf32>
      return %y : tensor<4xf32>
    }
    ```
  }];
  let arguments = (ins StrAttr:$op_type, Variadic<AnyType>:$inputs,
                       DefaultValuedAttr<StrAttr, "\"\"">:$domain,
                       DefaultValuedAttr<DictionaryAttr, "{}">:$node_attributes,
                       OptionalAttr<StrArrayAttr>:$attribute_order,
                       OptionalAttr<StrArrayAttr>:$region_names,
                       StrArrayAttr:$result_names,
                       OptionalAttr<StrAttr>:$node_name,
                       OptionalAttr<StrArrayAttr>:$metadata,
                       OptionalAttr<DictionaryAttr>:$info,
                       OptionalAttr<StrAttr>:$extra);
  let results = (outs Variadic<AnyType>:$results);
  let regions = (region VariadicRegion<SizedRegion<1>>:$graphs);
  let assemblyFormat = [{
    $op_type `(` $inputs `)` attr-dict `:` functional-type($inputs, $results) ($graphs^)?
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    /// The named attribute of the node, or null.
    ::mlir::Attribute getNodeAttr(::llvm::StringRef name) { return getNodeAttributes().get(name); }
    /// The input at `index`, or null where the node leaves it out.
    ::mlir::Value getInputOrNull(unsigned index);
    /// Value of metadata key, or "".
    ::llvm::StringRef getMetadataValue(::llvm::StringRef key);
    /// Version of the operator set that the enclosing model imports for this node's domain; 0: none.
    int64_t getOpsetVersion();
  }];
}

#endif // ADAPTER_DIALECTS_ONNX_IR_ONNXOPS_TD
