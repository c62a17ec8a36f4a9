// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// adapter.apply: a form as an update of a weight.
#include "dialects/Adapter/IR/FormInstance.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "llvm/ADT/StringSet.h"

using namespace mlir;
using namespace adapter;
using B = ImplicitLocOpBuilder;

static FormOp formOf(ApplyOp op) {
  return SymbolTable::lookupNearestSymbolFrom<FormOp>(op, op.getFormAttr());
}

static bool isGiven(ApplyOp op, StringRef role) {
  return llvm::is_contained(op.getRoleNames().getAsValueRange<StringAttr>(), role);
}

static Operation *yieldedOf(ApplyOp op) {
  FormOp form = formOf(op);
  return form ? yieldedBy(form, [&](StringRef role) { return isGiven(op, role); }) : nullptr;
}

LogicalResult ApplyOp::verifySymbolUses(SymbolTableCollection &symbols) {
  auto form = symbols.lookupNearestSymbolFrom<FormOp>(*this, getFormAttr());
  if (!form)
    return emitOpError("refers to @") << getForm() << ", which is not an adapter.form";
  if (getRoles().size() != getRoleNames().size() || getScalars().size() != getScalarNames().size() ||
      getSymbols().size() != getSymbolNames().size())
    return emitOpError("needs a name for each tensor, scalar and symbol");
  if (getBias() && !form.makesBias())
    return emitOpError("asks for a bias, but @") << getForm() << " makes none";
  forms::Signature signature = form.getSignature();
  for (StringRef name : getRoleNames().getAsValueRange<StringAttr>())
    if (!signature.role(name.str()))
      return emitOpError("gives '") << name << "', which @" << getForm() << " does not ask for";
  for (const forms::Role &role : signature.roles)
    if (!role.isOptional && !isGiven(*this, role.name))
      return emitOpError("lacks '") << role.name << "', which @" << getForm() << " asks for";
  for (StringRef name : getScalarNames().getAsValueRange<StringAttr>())
    if (llvm::none_of(signature.scalars, [&](const forms::Scalar &each) { return each.name == name; }))
      return emitOpError("gives the scalar '") << name << "', which @" << getForm() << " does not ask for";
  int64_t rank = getUpdateType().getWeight().getRank();
  if (rank != (getBias() ? 1 : 2))
    return emitOpError("makes an update of ")
           << getUpdateType().getWeight() << "; forms see weights as [out, cols]";
  return success();
}

bool ApplyOp::isAdditive() {
  auto update = dyn_cast_if_present<UpdateOpInterface>(yieldedOf(*this));
  return update && !getBias() && update.isAdditive();
}

bool ApplyOp::needsWeight() {
  auto update = dyn_cast_if_present<UpdateOpInterface>(yieldedOf(*this));
  bool reads = false;
  if (FormOp form = formOf(*this))
    form.getBody().walk([&](Operation *op) { reads |= isa<WeightOp, BiasOp>(op); });
  return reads || getBias() || !update || update.needsWeight();
}

// The form at the target, whose dimensions are those of `layout`.
static Value instantiate(B &b, ApplyOp op, Value weight, AffineMap layout) {
  FormInputs inputs;
  inputs.kind = op.getKind();
  inputs.storedTransposed = op.getStoredTransposed();
  inputs.delivered = op.getDelivered();
  for (auto [name, value] : llvm::zip(op.getRoleNames().getAsValueRange<StringAttr>(), op.getRoles()))
    inputs.roles[name.str()] = value;
  for (auto [name, value] : llvm::zip(op.getScalarNames().getAsValueRange<StringAttr>(), op.getScalars()))
    inputs.scalars[name.str()] = value;
  Value given = op.getSymbolValues();
  inputs.symbol = [&b, op, given](StringRef name) mutable -> Value {
    for (auto [i, known] : llvm::enumerate(op.getSymbolNames().getAsValueRange<StringAttr>()))
      if (known == name) {
        if (!given)
          return arith::ConstantIndexOp::create(b, op.getSymbols()[i]);
        Value at = arith::ConstantIndexOp::create(b, i);
        Value element = tensor::ExtractOp::create(b, given, at);
        return arith::IndexCastOp::create(b, b.getIndexType(), element);
      }
    return arith::ConstantIndexOp::create(b, 0);
  };
  auto zeros = [&b, inputs] {
    Value out = inputs.symbol("out");
    auto type = RankedTensorType::get({ShapedType::kDynamic}, b.getF64Type());
    Value zero = arith::ConstantOp::create(b, b.getF64FloatAttr(0));
    return linalg::FillOp::create(b, zero, tensor::EmptyOp::create(b, type, ValueRange{out}).getResult())
        .getResult(0);
  };
  if (op.getBias()) {
    inputs.wantsBias = true;
    inputs.bias = [weight] { return weight; };
    Value beside = op.getWeight();
    bool turned = op.getWeightTransposed();
    inputs.weight = [&b, beside, turned]() -> Value {
      Value wide = widened(b, beside);
      return turned ? transposedMatrix(b, wide) : wide;
    };
  } else {
    inputs.bias = zeros;
    inputs.weight = [&b, weight, layout]() -> Value {
      return layout.isIdentity() ? weight : transposedMatrix(b, weight);
    };
  }
  return instantiateForm(b, formOf(op), inputs);
}

Value ApplyOp::materialize(B &b, UpdateTarget target) {
  if (!formOf(*this))
    return {};
  Value made = instantiate(b, *this, target.weight, target.layout);
  if (getBias()) {
    if (!target.factor)
      return made;
    // The bias goes as much of its way as the weight does.
    Value way = arith::SubFOp::create(b, made, target.weight);
    Value size = b.createOrFold<tensor::DimOp>(made, 0);
    Value factor = tensor::SplatOp::create(b, target.factor, made.getType(), ValueRange{size});
    return arith::AddFOp::create(b, target.weight, arith::MulFOp::create(b, way, factor));
  }
  auto update = made.getDefiningOp<UpdateOpInterface>();
  return update ? update.materialize(b, target) : Value();
}

Value ApplyOp::forEachTouched(B &b, ValueRange sizes, Value factor, Value carried, TouchBody body) {
  auto yielded = dyn_cast_if_present<UpdateOpInterface>(yieldedOf(*this));
  if (!yielded || getBias())
    return {};
  Value made = instantiate(b, *this, Value(), AffineMap());
  auto update = made.getDefiningOp<UpdateOpInterface>();
  return update ? update.forEachTouched(b, sizes, factor, carried, body) : Value();
}
