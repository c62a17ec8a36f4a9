// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// GraphLowering: tensors by element, broadcasting, reductions, reshapes.
#include "dialects/Kernel/IR/KernelOps.h"
#include "lib/Conversion/ONNXToLinalg/Provenance.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include <list>

using namespace mlir;
using namespace adapter;

RankedTensorType GraphLowering::typeOf(ArrayRef<OpFoldResult> shape, Type type) {
  SmallVector<int64_t> sizes;
  for (OpFoldResult size : shape)
    sizes.push_back(getConstantIntValue(size).value_or(ShapedType::kDynamic));
  return RankedTensorType::get(sizes, type);
}

Value GraphLowering::empty(ArrayRef<OpFoldResult> shape, Type type) {
  return tensor::EmptyOp::create(b, shape, type);
}

Value GraphLowering::scalarConstant(Type type, double number) {
  if (auto floating = dyn_cast<FloatType>(type))
    return arith::ConstantOp::create(b, b.getFloatAttr(floating, number));
  return arith::ConstantOp::create(b, b.getIntegerAttr(type, static_cast<int64_t>(number)));
}

Lowered GraphLowering::reshape(Lowered &source, ArrayRef<OpFoldResult> shape) {
  Lowered result;
  result.shape.assign(shape.begin(), shape.end());
  result.elementType = source.elementType;
  result.isUnsigned = source.isUnsigned;
  result.isParameter = source.isParameter;
  result.banks = source.banks;
  follow(result, [&](RowFact fact) { return reshapeRows(fact, source, shape); });
  result.elements = source.elements;
  if (result.elements && !result.hasStaticShape())
    result.elements.reset();
  if (result.elements)
    return result;
  RankedTensorType type = typeOf(shape, source.elementType);
  if (result.shape == source.shape) {
    result.tensor = tensor(source);
    return result;
  }
  SmallVector<Value> sizes;
  for (OpFoldResult size : shape)
    if (!getConstantIntValue(size))
      sizes.push_back(cast<Value>(size));
  result.tensor = kernel::ReshapeOp::create(b, type, tensor(source), sizes);
  return result;
}

//===----------------------------------------------------------------------===//
// Elementwise
//===----------------------------------------------------------------------===//

// The size that x and y are broadcast to. Only sizes that can agree: y where x is 1, else x.
static OpFoldResult broadcastSize(GraphLowering &graph, OpFoldResult x, OpFoldResult y) {
  std::optional<int64_t> knownX = getConstantIntValue(x), knownY = getConstantIntValue(y);
  if (knownX == 1 || GraphLowering::same(x, y))
    return y;
  if (knownY == 1)
    return x;
  if (knownX && knownY && *knownX != *knownY && graph.fault.empty())
    graph.fault = "sizes " + std::to_string(*knownX) + " and " + std::to_string(*knownY) +
                  " cannot be broadcast to each other";
  // A static size other than 1 is the result's.
  if (knownX || knownY)
    return knownX ? x : y;
  Value isOne = graph.unique(arith::CmpIOp::create(graph.b, arith::CmpIPredicate::eq, graph.value(x),
                                                   graph.value(graph.constant(1))));
  return graph.unique(arith::SelectOp::create(graph.b, isOne, graph.value(y), graph.value(x)));
}

SmallVector<OpFoldResult> GraphLowering::broadcastShapes(ArrayRef<Lowered *> inputs) {
  int64_t rank = 0;
  for (Lowered *input : inputs)
    rank = std::max(rank, input->rank());
  SmallVector<OpFoldResult> shape;
  for (int64_t dim = 0; dim < rank; ++dim) {
    OpFoldResult size = constant(1);
    for (Lowered *input : inputs) {
      int64_t own = dim - (rank - input->rank());
      if (own >= 0)
        size = broadcastSize(*this, size, input->shape[own]);
    }
    shape.push_back(size);
  }
  return shape;
}

// What is simpler of sizes, which are not negative and do not overflow, than of any integers: a product divided by
// one of its factors, and comparisons with the -1 that stands for a size to be inferred. Null: nothing.
static Value simplifySize(GraphLowering &graph, Operation *op) {
  APInt known;
  if (auto quotient = dyn_cast<arith::DivSIOp>(op)) {
    auto product = quotient.getLhs().getDefiningOp<arith::MulIOp>();
    if (!product || !op->getResult(0).getType().isIndex() ||
        !matchPattern(quotient.getRhs(), m_ConstantInt(&known)) || !known.isStrictlyPositive())
      return {};
    for (unsigned side : {0, 1})
      if (APInt factor; matchPattern(product->getOperand(side), m_ConstantInt(&factor)) && factor == known)
        return product->getOperand(1 - side);
  }
  if (auto compare = dyn_cast<arith::CmpIOp>(op)) {
    bool isEqual = compare.getPredicate() == arith::CmpIPredicate::eq;
    if (!(isEqual || compare.getPredicate() == arith::CmpIPredicate::ne) ||
        !compare.getLhs().getType().isIndex() || GraphLowering::mayBeNegative(compare.getLhs()) ||
        !matchPattern(compare.getRhs(), m_ConstantInt(&known)) || !known.isNegative())
      return {};
    return arith::ConstantOp::create(graph.b, graph.b.getBoolAttr(!isEqual));
  }
  return {};
}

// Runs body on scalars that are all known and folds what it makes.
static Value evaluateScalars(GraphLowering &graph, ArrayRef<Value> arguments, GraphLowering::Body body) {
  Block *block = graph.b.getInsertionBlock();
  Operation *before =
      graph.b.getInsertionPoint() == block->begin() ? nullptr : &*std::prev(graph.b.getInsertionPoint());
  Value result = body(graph.b, arguments);
  Block::iterator next = before ? std::next(before->getIterator()) : block->begin();
  while (next != graph.b.getInsertionPoint()) {
    Operation *op = &*next++;
    if (op->getNumResults() != 1)
      continue;
    Value old = op->getResult(0);
    SmallVector<Value> folded;
    SmallVector<Operation *> constants;
    Value replacement;
    if (succeeded(graph.b.tryFold(op, folded, &constants)) && folded.size() == 1)
      replacement = folded.front();
    if (!replacement)
      replacement = simplifySize(graph, op);
    if (replacement && replacement != old) {
      old.replaceAllUsesWith(replacement);
      if (result == old)
        result = replacement;
      op->erase();
    }
  }
  return result;
}

// How an operand of a broadcast is read: as a scalar, by an affine map, or with run-time size-1 selects.
namespace {
struct Operand {
  Value scalar, tensor;
  AffineMap map;
  SmallVector<Value> selects; // per own dim: true where the size is 1 in this run; null where it is known
};
} // namespace

// What is said where `input` has neither size 1 nor the others' along a dimension of the result.
static std::string complaintOf(GraphLowering &graph, const Lowered &input, ArrayRef<Lowered *> all,
                               int64_t dim, int64_t rank, OpFoldResult &whole) {
  auto placed = [&](const Lowered &each) {
    return graph.describeOperand(each) + " has {" + (&each == &input ? "0" : "1") + "} along axis " +
           std::to_string(dim - (rank - each.rank()));
  };
  // The one whose size it is, or of two the other one, whose size it then is in the run.
  const Lowered *other = nullptr;
  for (Lowered *each : all)
    if (int64_t own = dim - (rank - each->rank()); each != &input && own >= 0)
      if (GraphLowering::same(each->shape[own], whole) || (all.size() == 2 && !other))
        other = each;
  std::string who = graph.node ? describe(graph.node) + ": " : "";
  return who + placed(input) + ", " + (other ? placed(*other) : "the others {1}");
}

static Operand readOperand(GraphLowering &graph, Lowered &input, ArrayRef<Lowered *> all,
                           ArrayRef<OpFoldResult> shape) {
  Operand operand;
  if (input.elements && input.elements->size() == 1) {
    operand.scalar = input.elements->front();
    if (operand.scalar.getType() != input.elementType)
      operand.scalar = graph.b.createOrFold<arith::IndexCastOp>(input.elementType, operand.scalar);
    return operand;
  }
  operand.tensor = graph.tensor(input);
  SmallVector<AffineExpr> exprs;
  bool needsSelect = false;
  int64_t offset = static_cast<int64_t>(shape.size()) - input.rank();
  for (int64_t dim = 0; dim < input.rank(); ++dim) {
    OpFoldResult own = input.shape[dim], whole = shape[offset + dim];
    Value select;
    if (isConstantIntValue(own, 1)) {
      exprs.push_back(graph.b.getAffineConstantExpr(0));
    } else {
      exprs.push_back(graph.b.getAffineDimExpr(offset + dim));
      if (!GraphLowering::same(own, whole)) {
        Value size = graph.value(own), one = graph.value(graph.constant(1));
        select = arith::CmpIOp::create(graph.b, arith::CmpIPredicate::eq, size, one);
        Value equal = arith::CmpIOp::create(graph.b, arith::CmpIPredicate::eq, size, graph.value(whole));
        int64_t rank = static_cast<int64_t>(shape.size());
        graph.require(arith::OrIOp::create(graph.b, select, equal),
                      complaintOf(graph, input, all, offset + dim, rank, whole), {own, whole});
        needsSelect = true;
      }
    }
    operand.selects.push_back(select);
  }
  if (!needsSelect) {
    operand.selects.clear();
    operand.map = AffineMap::get(shape.size(), 0, exprs, graph.b.getContext());
  }
  return operand;
}

Lowered GraphLowering::elementwise(ArrayRef<Lowered *> given, Type resultType, Body body) {
  // Parameters that differ by row become one vector for each position.
  SmallVector<Lowered *> inputs(given);
  std::list<Lowered> expanded;
  for (Lowered *&input : inputs)
    if (!input->banks.empty()) {
      expanded.push_back(rowVectors(*input, given));
      input = &expanded.back();
    }
  SmallVector<OpFoldResult> shape = broadcastShapes(inputs);
  int64_t count = 1;
  bool known = llvm::all_of(inputs, [](Lowered *input) { return input->elements.has_value(); });
  for (OpFoldResult size : shape)
    count = getConstantIntValue(size) && count <= 64 ? count * *getConstantIntValue(size) : 65;
  if (known && count <= 64 && fault.empty()) {
    SmallVector<int64_t> sizes;
    for (OpFoldResult size : shape)
      sizes.push_back(*getConstantIntValue(size));
    SmallVector<Value> elements;
    for (int64_t i = 0; i < count; ++i) {
      SmallVector<Value> arguments;
      for (Lowered *input : inputs) {
        int64_t flat = 0, rest = i, stride = 1;
        for (int64_t dim = shape.size() - 1; dim >= 0; --dim) {
          int64_t index = rest % sizes[dim];
          rest /= sizes[dim];
          int64_t own = dim - (static_cast<int64_t>(shape.size()) - input->rank());
          if (own >= 0) {
            flat += (input->staticSize(own) == 1 ? 0 : index) * stride;
            stride *= input->staticSize(own);
          }
        }
        arguments.push_back((*input->elements)[flat]);
      }
      Value element = evaluateScalars(*this, arguments, body);
      if (isa<IntegerType>(element.getType()) && !element.getType().isInteger(1))
        element = b.createOrFold<arith::IndexCastOp>(b.getIndexType(), element);
      // What the body hands on is held by the input already.
      elements.push_back(llvm::is_contained(arguments, element) ? element : unique(element));
    }
    Lowered result = wrapElements(elements, sizes, resultType);
    follow(result, [&](RowFact fact) { return mergeRows(fact, shape, inputs); });
    return result;
  }

  SmallVector<Operand> operands;
  SmallVector<Value> tensors;
  SmallVector<AffineMap> maps;
  for (Lowered *input : inputs) {
    operands.push_back(readOperand(*this, *input, inputs, shape));
    if (operands.back().map) {
      tensors.push_back(operands.back().tensor);
      maps.push_back(operands.back().map);
    }
  }
  maps.push_back(b.getMultiDimIdentityMap(shape.size()));
  SmallVector<utils::IteratorType> iterators(shape.size(), utils::IteratorType::parallel);
  Value init = empty(shape, resultType);
  auto generic = linalg::GenericOp::create(
      b, init.getType(), tensors, init, maps, iterators,
      [&](OpBuilder &nested, Location loc, ValueRange arguments) {
        ImplicitLocOpBuilder inner(loc, nested);
        SmallVector<Value> scalars;
        unsigned next = 0;
        for (Operand &operand : operands) {
          if (operand.scalar) {
            scalars.push_back(operand.scalar);
          } else if (operand.map) {
            scalars.push_back(arguments[next++]);
          } else {
            SmallVector<Value> indices;
            int64_t rank = operand.selects.size();
            Value zero = arith::ConstantIndexOp::create(inner, 0);
            auto type = cast<RankedTensorType>(operand.tensor.getType());
            for (int64_t dim = 0; dim < rank; ++dim) {
              Value index = zero;
              if (type.getDimSize(dim) != 1)
                index = linalg::IndexOp::create(inner, static_cast<int64_t>(shape.size()) - rank + dim);
              if (operand.selects[dim])
                index = arith::SelectOp::create(inner, operand.selects[dim], zero, index);
              indices.push_back(index);
            }
            scalars.push_back(tensor::ExtractOp::create(inner, operand.tensor, indices));
          }
        }
        linalg::YieldOp::create(inner, body(inner, scalars));
      });
  Lowered result = wrap(generic.getResult(0), shape);
  result.isParameter = llvm::all_of(inputs, [](Lowered *input) { return input->isParameter; });
  follow(result, [&](RowFact fact) { return mergeRows(fact, shape, inputs); });
  return result;
}

//===----------------------------------------------------------------------===//
// By index, transposed, reduced
//===----------------------------------------------------------------------===//

Lowered GraphLowering::broadcastTo(Lowered &input, ArrayRef<OpFoldResult> shape) {
  Lowered place = wrap(empty(shape, input.elementType), shape);
  return elementwise({&input, &place}, input.elementType,
                     [](ImplicitLocOpBuilder &, ArrayRef<Value> s) -> Value { return s[0]; });
}

Lowered GraphLowering::generate(ArrayRef<OpFoldResult> shape, Type type, IndexedBody body) {
  Value init = empty(shape, type);
  SmallVector<AffineMap> maps{b.getMultiDimIdentityMap(shape.size())};
  SmallVector<utils::IteratorType> iterators(shape.size(), utils::IteratorType::parallel);
  auto generic = linalg::GenericOp::create(b, init.getType(), ValueRange(), init, maps, iterators,
                                           [&](OpBuilder &nested, Location loc, ValueRange) {
                                             ImplicitLocOpBuilder inner(loc, nested);
                                             SmallVector<Value> indices;
                                             for (size_t dim = 0; dim < shape.size(); ++dim)
                                               indices.push_back(linalg::IndexOp::create(inner, dim));
                                             linalg::YieldOp::create(inner, body(inner, indices));
                                           });
  return wrap(generic.getResult(0), shape);
}

std::optional<Lowered> GraphLowering::pickElements(const Lowered &source, ArrayRef<OpFoldResult> shape,
                                                   Pick pick) {
  int64_t count = 1;
  for (OpFoldResult size : shape) {
    count *= getConstantIntValue(size).value_or(65);
    if (count > 64)
      return std::nullopt;
  }
  if (!source.elements || !source.hasStaticShape())
    return std::nullopt;
  SmallVector<int64_t> sizes, at(shape.size()), from;
  for (OpFoldResult size : shape)
    sizes.push_back(*getConstantIntValue(size));
  SmallVector<Value> elements;
  for (int64_t i = 0; i < count; ++i) {
    int64_t rest = i;
    for (int64_t dim = sizes.size() - 1; dim >= 0; --dim) {
      at[dim] = rest % sizes[dim];
      rest /= sizes[dim];
    }
    from.assign(source.rank(), 0);
    pick(at, from);
    int64_t flat = 0;
    for (int64_t dim = 0; dim < source.rank(); ++dim)
      flat = flat * source.staticSize(dim) + from[dim];
    elements.push_back((*source.elements)[flat]);
  }
  Lowered result = wrapElements(elements, sizes, source.elementType);
  result.isUnsigned = source.isUnsigned;
  return result;
}

Lowered GraphLowering::transpose(Lowered &input, ArrayRef<int64_t> permutation) {
  SmallVector<OpFoldResult> shape;
  SmallVector<AffineExpr> exprs(input.rank());
  bool onlyOnesMove = true;
  int64_t last = -1;
  for (auto [to, from] : llvm::enumerate(permutation)) {
    shape.push_back(input.shape[from]);
    exprs[from] = b.getAffineDimExpr(to);
    if (!isConstantIntValue(input.shape[from], 1)) {
      onlyOnesMove &= from > last;
      last = from;
    }
  }
  auto followMoved = [&](Lowered &result) {
    follow(result, [&](RowFact fact) {
      Rows rows = input.*fact;
      rows.axis = rows.isTraced() ? llvm::find(permutation, rows.axis) - permutation.begin() : 0;
      return rows;
    });
  };
  if (auto known = pickElements(input, shape, [&](ArrayRef<int64_t> at, SmallVectorImpl<int64_t> &from) {
        for (auto [to, axis] : llvm::enumerate(permutation))
          from[axis] = at[to];
      })) {
    followMoved(*known);
    return *known;
  }
  if (onlyOnesMove) {
    Lowered result = reshape(input, shape);
    followMoved(result);
    return result;
  }
  Value init = empty(shape, input.elementType);
  SmallVector<AffineMap> maps{AffineMap::get(input.rank(), 0, exprs, b.getContext()),
                              b.getMultiDimIdentityMap(input.rank())};
  SmallVector<utils::IteratorType> iterators(input.rank(), utils::IteratorType::parallel);
  auto generic = linalg::GenericOp::create(b, init.getType(), tensor(input), init, maps, iterators,
                                           [](OpBuilder &nested, Location loc, ValueRange arguments) {
                                             linalg::YieldOp::create(nested, loc, arguments.front());
                                           });
  Lowered result = wrap(generic.getResult(0), shape);
  result.isParameter = input.isParameter;
  result.isUnsigned = input.isUnsigned;
  result.banks = input.banks;
  followMoved(result);
  return result;
}

Lowered GraphLowering::reduce(Lowered &input, ArrayRef<int64_t> axes, bool keepDims, Value initial,
                              Reducer reducer) {
  SmallVector<OpFoldResult> kept, shape;
  SmallVector<AffineExpr> exprs;
  SmallVector<utils::IteratorType> iterators;
  for (int64_t dim = 0; dim < input.rank(); ++dim) {
    bool reduced = llvm::is_contained(axes, dim);
    iterators.push_back(reduced ? utils::IteratorType::reduction : utils::IteratorType::parallel);
    if (!reduced) {
      kept.push_back(input.shape[dim]);
      exprs.push_back(b.getAffineDimExpr(dim));
    }
    if (!reduced || keepDims)
      shape.push_back(reduced ? constant(1) : input.shape[dim]);
  }
  Value init = empty(kept, initial.getType());
  init = linalg::FillOp::create(b, initial, init).getResult(0);
  SmallVector<AffineMap> maps{b.getMultiDimIdentityMap(input.rank()),
                              AffineMap::get(input.rank(), 0, exprs, b.getContext())};
  auto generic =
      linalg::GenericOp::create(b, init.getType(), tensor(input), init, maps, iterators,
                                [&](OpBuilder &nested, Location loc, ValueRange arguments) {
                                  ImplicitLocOpBuilder inner(loc, nested);
                                  linalg::YieldOp::create(inner, reducer(inner, arguments[0], arguments[1]));
                                });
  Lowered result = wrap(generic.getResult(0), kept);
  if (keepDims)
    result = reshape(result, shape);
  follow(result, [&](RowFact fact) { return reducedRows(*this, input.*fact, axes, keepDims); });
  return result;
}
