// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The interface of updates: all that passes know about them.
#ifndef ADAPTER_DIALECTS_ADAPTER_IR_ADAPTERINTERFACES_TD
#define ADAPTER_DIALECTS_ADAPTER_IR_ADAPTERINTERFACES_TD

include "mlir/IR/OpBase.td"

def Adapter_UpdateOpInterface : OpInterface<"UpdateOpInterface"> {
  let cppNamespace = "::adapter";
  let description = [{
    Implemented by every op that makes an update. An update is a function on weights, U(W).
  }];
  let methods = [
    InterfaceMethod<[{
      Emits tensor-level IR that computes `target.weight` + `target.factor` * (U(`target.weight`) -
      `target.weight`) in f64; a null factor is 1. `target.layout` permutes the update's dimensions into the
      weight's. Null where the update is not known before run time.
    }], "::mlir::Value", "materialize",
      (ins "::mlir::ImplicitLocOpBuilder &":$builder, "::adapter::UpdateTarget":$target)>,
    InterfaceMethod<[{
      Whether U(W) - W is independent of W. Sums are of such updates; they commute and scale.
    }], "bool", "isAdditive", (ins), "", [{ return false; }]>,
    InterfaceMethod<[{
      For an update that changes few elements: emits loops over them that carry a tensor. `body` is called inside
      the innermost loop, once for each source of a sum, with the element's indices in the update's weight of
      sizes `sizes` and its new value as a function of the old one; it returns the tensor's next value. `factor`
      is an f64 or null for 1. Null where all elements may change; what was emitted by then is without use.
    }], "::mlir::Value", "forEachTouched",
      (ins "::mlir::ImplicitLocOpBuilder &":$builder, "::mlir::ValueRange":$sizes, "::mlir::Value":$factor,
           "::mlir::Value":$carried, "::adapter::TouchBody":$body), "", [{ return {}; }]>,
    InterfaceMethod<[{
      Whether the sizes in the types of this op are part of what it means. Where they are not, the same code serves
      weights of all sizes.
    }], "bool", "sizesMatter", (ins), "", [{ return false; }]>,
    InterfaceMethod<[{
      Whether U(W) depends on W at all.
    }], "bool", "needsWeight", (ins), "", [{ return true; }]>,
    InterfaceMethod<[{
      Whether the update is another one for each position of what is multiplied with the weight, so that there is
      no adapted weight. Only a reader such as adapter.linear takes it.
    }], "bool", "dependsOnInput", (ins), "", [{ return false; }]>,
  ];
  let extraSharedClassDeclaration = [{
    /// The type of the update.
    ::adapter::UpdateType getUpdateType() {
      return ::llvm::cast<::adapter::UpdateType>($_op->getResult(0).getType());
    }
  }];
}

def Adapter_MapOpInterface : OpInterface<"MapOpInterface"> {
  let cppNamespace = "::adapter";
  let description = [{
    Implemented by every op that makes a linear map z = M x.
  }];
  let methods = [
    InterfaceMethod<[{
      Emits IR that applies the map, or with `adjoint` the transposed one, to each vector that lies along dimension
      `axis` of the matrix `x` of f64.
    }], "::mlir::Value", "apply",
      (ins "::mlir::ImplicitLocOpBuilder &":$builder, "::mlir::Value":$x, "unsigned":$axis, "bool":$adjoint)>,
    InterfaceMethod<[{
      Emits the sizes of z and x as indices; null values where they are whatever is on the other side.
    }], "::std::pair<::mlir::Value, ::mlir::Value>", "sizes",
      (ins "::mlir::ImplicitLocOpBuilder &":$builder), "", [{ return {}; }]>,
  ];
}

#endif // ADAPTER_DIALECTS_ADAPTER_IR_ADAPTERINTERFACES_TD
