// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Bringing an adapter's tensors to the shape in which a form's body wants them, and copying the body.
#include "dialects/Adapter/IR/FormInstance.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/IRMapping.h"

using namespace mlir;
using namespace adapter;
using B = ImplicitLocOpBuilder;

static RankedTensorType typeOf(Value tensor) { return cast<RankedTensorType>(tensor.getType()); }

static Value castTo(B &b, Value tensor, Type type) {
  return tensor.getType() == type ? tensor : tensor::CastOp::create(b, type, tensor).getResult();
}

static RankedTensorType anySizes(int64_t rank, Type element) {
  return RankedTensorType::get(SmallVector<int64_t>(rank, ShapedType::kDynamic), element);
}

// Element by element.
static Value mapElements(B &b, Value tensor, Type element,
                         function_ref<Value(OpBuilder &, Location, Value)> body) {
  SmallVector<AffineMap> maps(2, b.getMultiDimIdentityMap(typeOf(tensor).getRank()));
  SmallVector<utils::IteratorType> iterators(typeOf(tensor).getRank(), utils::IteratorType::parallel);
  Value init = tensor::EmptyOp::create(b, tensor::getMixedSizes(b, b.getLoc(), tensor), element);
  auto generic = linalg::GenericOp::create(b, init.getType(), tensor, init, maps, iterators,
                                           [&](OpBuilder &inner, Location loc, ValueRange at) {
                                             linalg::YieldOp::create(inner, loc, body(inner, loc, at[0]));
                                           });
  return generic.getResult(0);
}

Value adapter::widened(B &b, Value tensor) {
  if (!isa<FloatType>(typeOf(tensor).getElementType()) || typeOf(tensor).getElementType().isF64())
    return tensor;
  return mapElements(b, tensor, b.getF64Type(), [&](OpBuilder &inner, Location loc, Value value) -> Value {
    return arith::ExtFOp::create(inner, loc, inner.getF64Type(), value);
  });
}

//===----------------------------------------------------------------------===//
// Shapes
//===----------------------------------------------------------------------===//

static Value flattened(B &b, Value tensor) {
  int64_t rank = typeOf(tensor).getRank();
  if (rank == 1)
    return castTo(b, tensor, anySizes(1, typeOf(tensor).getElementType()));
  ReassociationIndices all;
  for (int64_t dim = 0; dim < rank; ++dim)
    all.push_back(dim);
  Value any = castTo(b, tensor, anySizes(rank, typeOf(tensor).getElementType()));
  return tensor::CollapseShapeOp::create(b, any, SmallVector<ReassociationIndices>{all});
}

// The same elements with other sizes.
static Value reshaped(B &b, Value tensor, ArrayRef<OpFoldResult> sizes) {
  Value flat = flattened(b, tensor);
  if (sizes.size() == 1)
    return flat;
  ReassociationIndices all;
  for (size_t dim = 0; dim < sizes.size(); ++dim)
    all.push_back(dim);
  SmallVector<OpFoldResult> dynamic;
  for (OpFoldResult size : sizes)
    dynamic.push_back(isa<Value>(size)
                          ? size
                          : OpFoldResult(arith::ConstantIndexOp::create(
                                             b, cast<IntegerAttr>(cast<Attribute>(size)).getInt())
                                             .getResult()));
  return tensor::ExpandShapeOp::create(b, anySizes(sizes.size(), typeOf(tensor).getElementType()), flat,
                                       SmallVector<ReassociationIndices>{all}, dynamic);
}

Value adapter::transposedMatrix(B &b, Value matrix) {
  SmallVector<OpFoldResult> sizes = tensor::getMixedSizes(b, b.getLoc(), matrix);
  std::swap(sizes[0], sizes[1]);
  Value init = tensor::EmptyOp::create(b, sizes, typeOf(matrix).getElementType());
  return linalg::TransposeOp::create(b, matrix, init, ArrayRef<int64_t>{1, 0})->getResult(0);
}

namespace {
class Instance {
public:
  Instance(B &b, FormOp form, const FormInputs &inputs) : b(b), form(form), inputs(inputs) {}
  Value run();

private:
  using Dims = forms::Dims;
  Value delivered(const forms::Role &role, Value tensor);
  Value wholeWeight(Value tensor);
  Value coordinates(Value tensor);
  Value plain(const forms::Role &role, Value tensor);
  Value evaluate(const forms::Expression &expression);
  void copyBlock(Block &block);
  void copyOp(Operation &op);
  Value outerValue(Operation *op);

  B &b;
  FormOp form;
  const FormInputs &inputs;
  IRMapping mapping;
  DenseSet<Operation *> read; ///< what the wanted result depends on
};
} // namespace

// As [out, cols].
Value Instance::wholeWeight(Value tensor) {
  bool isTurned =
      inputs.kind == SiteKind::Embedding || (inputs.kind == SiteKind::Linear && inputs.storedTransposed);
  if (isTurned)
    return castTo(b, transposedMatrix(b, tensor), anySizes(2, typeOf(tensor).getElementType()));
  if (inputs.delivered)
    return castTo(b, tensor, anySizes(2, typeOf(tensor).getElementType()));
  return reshaped(b, tensor, {inputs.symbol("out"), inputs.symbol("cols")});
}

// [axes, n] as [2, n] of output and column.
Value Instance::coordinates(Value tensor) {
  bool isTurned =
      inputs.kind == SiteKind::Embedding || (inputs.kind == SiteKind::Linear && inputs.storedTransposed);
  bool isVector = inputs.kind == SiteKind::Vector;
  if (!isTurned && !isVector)
    return castTo(b, tensor, anySizes(2, b.getI64Type()));
  SmallVector<OpFoldResult> sizes{b.getIndexAttr(2), tensor::getMixedSize(b, b.getLoc(), tensor, 1)};
  Value init = tensor::EmptyOp::create(b, sizes, b.getI64Type());
  SmallVector<utils::IteratorType> iterators(2, utils::IteratorType::parallel);
  auto generic = linalg::GenericOp::create(
      b, init.getType(), ValueRange(), init, b.getMultiDimIdentityMap(2), iterators,
      [&](OpBuilder &inner, Location loc, ValueRange) {
        Value row = linalg::IndexOp::create(inner, loc, 0), k = linalg::IndexOp::create(inner, loc, 1);
        Value zero = arith::ConstantIndexOp::create(inner, loc, 0),
              one = arith::ConstantIndexOp::create(inner, loc, 1);
        Value other = isVector ? zero : arith::SubIOp::create(inner, loc, one, row).getResult();
        Value at = tensor::ExtractOp::create(inner, loc, tensor, ValueRange{other, k});
        if (isVector) {
          Value isFirst = arith::CmpIOp::create(inner, loc, arith::CmpIPredicate::eq, row, zero);
          Value none = arith::ConstantOp::create(inner, loc, inner.getI64IntegerAttr(0));
          at = arith::SelectOp::create(inner, loc, isFirst, at, none);
        }
        linalg::YieldOp::create(inner, loc, at);
      });
  return castTo(b, generic.getResult(0), anySizes(2, b.getI64Type()));
}

// Sizes are products of symbols and numbers mostly; those that are more are symbols by definition.
Value Instance::evaluate(const forms::Expression &expression) {
  if (std::optional<std::string> name = expression.symbol())
    return inputs.symbol(*name);
  if (expression.reads().empty())
    return arith::ConstantIndexOp::create(b, *expression.evaluate({}));
  return {};
}

Value Instance::plain(const forms::Role &role, Value tensor) {
  const Dims::List &list = role.dims.alternatives().front();
  RankedTensorType type = typeOf(tensor);
  bool isAsGiven = role.dims.alternatives().size() == 1 && static_cast<size_t>(type.getRank()) == list.size();
  for (const Dims::Size &size : list)
    isAsGiven &= size.kind != Dims::Size::Ones;
  if (isAsGiven || inputs.delivered)
    return castTo(b, tensor, anySizes(type.getRank(), type.getElementType()));
  // What cannot be said by symbols is what the others leave.
  SmallVector<OpFoldResult> sizes;
  Value elements = arith::ConstantIndexOp::create(b, 1);
  for (int64_t dim = 0; dim < type.getRank(); ++dim)
    elements = arith::MulIOp::create(b, elements, b.createOrFold<tensor::DimOp>(tensor, dim));
  std::optional<size_t> open;
  for (const Dims::Size &size : list) {
    if (size.kind == Dims::Size::Ones)
      continue;
    Value value = size.kind == Dims::Size::Columns ? inputs.symbol("cols")
                  : size.expressions.size() == 1   ? evaluate(size.expressions[0])
                                                   : Value();
    if (!value)
      open = sizes.size();
    else
      elements = arith::DivUIOp::create(b, elements, value);
    sizes.push_back(value ? OpFoldResult(value) : OpFoldResult());
  }
  if (open)
    sizes[*open] = elements;
  return reshaped(b, tensor, sizes);
}

Value Instance::delivered(const forms::Role &role, Value tensor) {
  if (role.layout == forms::RoleLayout::Coordinates)
    return coordinates(tensor);
  Value wide = role.isIndex ? tensor : widened(b, tensor);
  return role.layout == forms::RoleLayout::Weight ? wholeWeight(wide) : plain(role, wide);
}

//===----------------------------------------------------------------------===//
// Bodies
//===----------------------------------------------------------------------===//

static std::string roleNameOf(FormOp form, Value tensor) {
  auto argument = cast<BlockArgument>(tensor);
  return cast<RoleAttr>(form.getRoles()[argument.getArgNumber()]).getName().str();
}

static Block &chosenBlock(FormOp form, IfGivenOp choice, function_ref<bool(StringRef)> isGiven) {
  return (isGiven(roleNameOf(form, choice.getTensor())) ? choice.getGiven() : choice.getMissing()).front();
}

DenseSet<Operation *> adapter::opsBehind(FormOp form, Value result, function_ref<bool(StringRef)> isGiven) {
  DenseSet<Operation *> read;
  SmallVector<Value> work{result};
  auto addOperands = [&](Operation *op) { llvm::append_range(work, op->getOperands()); };
  while (!work.empty()) {
    Operation *op = work.pop_back_val().getDefiningOp();
    if (!op || !read.insert(op).second)
      continue;
    if (auto choice = dyn_cast<IfGivenOp>(op)) {
      addOperands(chosenBlock(form, choice, isGiven).getTerminator());
      continue;
    }
    // Of ops with regions all that stands in them is read.
    op->walk([&](Operation *inner) {
      read.insert(inner);
      addOperands(inner);
    });
  }
  return read;
}

bool adapter::readsWeight(FormOp form, unsigned result, function_ref<bool(StringRef)> isGiven) {
  Value made = form.getBody().front().getTerminator()->getOperand(result);
  return llvm::any_of(opsBehind(form, made, isGiven), [](Operation *op) { return isa<WeightOp>(op); });
}

// What stands for an op that is the same wherever it stands in the body; null for others.
Value Instance::outerValue(Operation *op) {
  if (auto symbol = dyn_cast<SymbolOp>(op))
    return inputs.symbol(symbol.getName());
  if (auto weight = dyn_cast<WeightOp>(op))
    return castTo(b, inputs.weight(), weight.getType());
  if (auto bias = dyn_cast<BiasOp>(op))
    return castTo(b, inputs.bias(), bias.getType());
  return {};
}

// An op with what stands in its regions, where the form's own ops have a value or a choice that is known.
void Instance::copyOp(Operation &op) {
  SmallVector<Value> values;
  op.walk([&](Operation *inner) { values.push_back(outerValue(inner)); });
  SmallVector<Operation *> copies, choices;
  SmallVector<bool> given;
  op.walk(
      [&](IfGivenOp choice) { given.push_back(inputs.roles.count(roleNameOf(form, choice.getTensor()))); });
  b.clone(op, mapping)->walk([&](Operation *inner) {
    copies.push_back(inner);
    if (isa<IfGivenOp>(inner))
      choices.push_back(inner);
  });
  for (auto [copy, value] : llvm::zip(copies, values))
    if (value) {
      copy->getResult(0).replaceAllUsesWith(value);
      copy->erase();
    }
  // Inner choices come first.
  for (auto [copy, isGiven] : llvm::zip(choices, given)) {
    auto choice = cast<IfGivenOp>(copy);
    Block &chosen = (isGiven ? choice.getGiven() : choice.getMissing()).front();
    Operation *end = chosen.getTerminator();
    choice->replaceAllUsesWith(end->getOperands());
    end->erase();
    choice->getBlock()->getOperations().splice(choice->getIterator(), chosen.getOperations());
    choice.erase();
  }
}

void Instance::copyBlock(Block &block) {
  for (Operation &op : block.without_terminator()) {
    if (!read.contains(&op))
      continue;
    if (Value value = outerValue(&op)) {
      mapping.map(op.getResult(0), value);
    } else if (auto choice = dyn_cast<IfGivenOp>(op)) {
      Block &chosen =
          chosenBlock(form, choice, [&](StringRef role) { return inputs.roles.count(role.str()); });
      copyBlock(chosen);
      for (auto [result, value] : llvm::zip(choice.getResults(), chosen.getTerminator()->getOperands()))
        mapping.map(result, mapping.lookup(value));
    } else {
      copyOp(op);
    }
  }
}

Value Instance::run() {
  Block &body = form.getBody().front();
  forms::Signature signature = form.getSignature();
  unsigned at = 0;
  for (const forms::Role &role : signature.roles) {
    BlockArgument argument = body.getArgument(at++);
    if (auto given = inputs.roles.find(role.name); given != inputs.roles.end())
      mapping.map(argument, castTo(b, delivered(role, given->second), argument.getType()));
  }
  for (const forms::Scalar &scalar : signature.scalars) {
    auto given = inputs.scalars.find(scalar.name);
    Value value = given != inputs.scalars.end()
                      ? given->second
                      : arith::ConstantOp::create(b, b.getF64FloatAttr(scalar.byDefault.value_or(0)));
    mapping.map(body.getArgument(at++), value);
  }
  for (const forms::IntegerAttribute &integer : signature.attributes)
    mapping.map(body.getArgument(at++), inputs.symbol(integer.name));
  Value wanted = body.getTerminator()->getOperand(inputs.wantsBias ? 1 : 0);
  read = opsBehind(form, wanted, [&](StringRef role) { return inputs.roles.count(role.str()); });
  copyBlock(body);
  return mapping.lookup(wanted);
}

Value adapter::instantiateForm(B &b, FormOp form, const FormInputs &inputs) {
  return Instance(b, form, inputs).run();
}

Value adapter::chosenValue(FormOp form, Value value, llvm::function_ref<bool(StringRef)> isGiven) {
  while (auto choice = value.getDefiningOp<IfGivenOp>())
    value = chosenBlock(form, choice, isGiven)
                .getTerminator()
                ->getOperand(cast<OpResult>(value).getResultNumber());
  return value;
}

Operation *adapter::yieldedBy(FormOp form, llvm::function_ref<bool(StringRef)> isGiven) {
  return chosenValue(form, form.getBody().front().getTerminator()->getOperand(0), isGiven).getDefiningOp();
}
