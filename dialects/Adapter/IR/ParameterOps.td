// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Parameters: named tensors outside the IR.
#ifndef ADAPTER_DIALECTS_ADAPTER_IR_PARAMETEROPS_TD
#define ADAPTER_DIALECTS_ADAPTER_IR_PARAMETEROPS_TD

include "dialects/Adapter/IR/AdapterDialect.td"
include "mlir/IR/BuiltinAttributes.td"
include "mlir/IR/OpBase.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

class Adapter_Op<string mnemonic, list<Trait> traits = []> : Op<Adapter_Dialect, mnemonic, traits>;

def Adapter_ParameterOp : Adapter_Op<"parameter", [Pure]> {
  let summary = "A tensor of an archive, by scope and key";
  let description = [{
    Names a tensor; its bytes stay in the archive that is bound to the scope (a safetensors file, an ONNX
    model's data) and never enter the IR, save for integer tensors of at most 64 elements, whose `value` the
    op may carry so that shapes are known.

    Example:
    ```mlir
    %w = adapter.parameter "base"::"layers.0.q_proj.weight" : tensor<768x768xf32>
    %shape = adapter.parameter "base"::"shape" = dense<[1, -1]> : tensor<2xi64>
    ```
  }];
  let arguments = (ins StrAttr:$scope, StrAttr:$key, OptionalAttr<ElementsAttr>:$value, OptionalAttr<StrAttr>:$extra);
  let results = (outs AnyType:$result);
  let hasCustomAssemblyFormat = 1;
  let hasVerifier = 1;
}

#endif // ADAPTER_DIALECTS_ADAPTER_IR_PARAMETEROPS_TD
