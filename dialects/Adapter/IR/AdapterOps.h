// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Dialect, types, attributes and ops of adapter.
#ifndef ADAPTER_DIALECTS_ADAPTER_IR_ADAPTEROPS_H
#define ADAPTER_DIALECTS_ADAPTER_IR_ADAPTEROPS_H

#include "dialects/Adapter/IR/ParameterProvider.h"
#include "lib/Checkpoint/Bottleneck.h"
#include "lib/Signature/Signature.h"
#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/BuiltinAttributeInterfaces.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/DialectImplementation.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/Interfaces/InferTypeOpInterface.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include <memory>

#include "dialects/Adapter/IR/AdapterDialect.h.inc"
#include "dialects/Adapter/IR/AdapterEnums.h.inc"

#define GET_TYPEDEF_CLASSES
#include "dialects/Adapter/IR/AdapterTypes.h.inc"

// What attributes of lib/Checkpoint's values need.
namespace adapter::checkpoint {
llvm::raw_ostream &operator<<(llvm::raw_ostream &stream, Activation value);
llvm::hash_code hash_value(const Bottleneck &value);
} // namespace adapter::checkpoint
template <>
struct mlir::FieldParser<adapter::checkpoint::Activation> {
  static FailureOr<adapter::checkpoint::Activation> parse(AsmParser &parser);
};

#define GET_ATTRDEF_CLASSES
#include "dialects/Adapter/IR/AdapterAttrs.h.inc"

namespace adapter {

/// Of ops that stand in the body of a form, however deep.
mlir::LogicalResult verifyInForm(mlir::Operation *op);
template <typename Op>
struct InForm : mlir::OpTrait::TraitBase<Op, InForm> {
  static mlir::LogicalResult verifyTrait(mlir::Operation *op) { return verifyInForm(op); }
};

/// The weight that an update is applied to.
struct UpdateTarget {
  mlir::Value weight;     ///< tensor of f64
  mlir::AffineMap layout; ///< from the weight's dimensions to the update's: result i is update dimension i
  mlir::Value factor;     ///< f64, or null for 1

  static UpdateTarget of(mlir::Value weight);
  int64_t rank() const { return layout.getNumDims(); }
  /// The dimension of the weight that update dimension `dim` is.
  unsigned weightDim(unsigned dim) const { return layout.getDimPosition(dim); }
};

/// The new value of an element (f64), given its old one.
using ElementUpdate = llvm::function_ref<mlir::Value(mlir::ImplicitLocOpBuilder &builder, mlir::Value old)>;
/// What becomes of a tensor that is carried through loops over changed elements; see forEachTouched.
using TouchBody =
    llvm::function_ref<mlir::Value(mlir::ImplicitLocOpBuilder &builder, mlir::ValueRange element,
                                   mlir::Value carried, ElementUpdate update)>;

/// Of functions that are graphs: the rows of the table that kernel.parameter refers to, and the graphs' inputs and outputs.
inline constexpr const char *parametersAttribute = "adapter.parameters";
inline constexpr const char *inputsAttribute = "adapter.inputs", *inputNamesAttribute = "adapter.input_names";
inline constexpr const char *outputsAttribute = "adapter.outputs",
                            *outputNamesAttribute = "adapter.output_names";

/// The type of updates of weights as forms see them: [out, cols] of f64.
UpdateType viewUpdateType(mlir::MLIRContext *context);
/// The type of updates of a weight; names of dims do not matter.
UpdateType updateTypeOf(mlir::Type weight);
/// Whether an update, or one that it is made of, depends on the input of the weight's reader.
bool dependsOnInput(mlir::Value update);
/// Whether an update is made of tensors alone, none of it found only at run time.
bool isKnownUpdate(mlir::Value update);
/// Whether sizes may be equal, dimension by dimension.
bool shapesAgree(llvm::ArrayRef<int64_t> a, llvm::ArrayRef<int64_t> b);

} // namespace adapter

#include "dialects/Adapter/IR/AdapterInterfaces.h.inc"

#define GET_OP_CLASSES
#include "dialects/Adapter/IR/AdapterOps.h.inc"

#endif // ADAPTER_DIALECTS_ADAPTER_IR_ADAPTEROPS_H
