// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What maps do to the vectors that lie along one dimension of a matrix, as linalg on tensors of f64.
#include "dialects/Adapter/IR/AdapterOps.h"
#include "dialects/Adapter/IR/MapUtils.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/IndexingUtils.h"

using namespace mlir;
using namespace adapter;
using B = ImplicitLocOpBuilder;
using utils::IteratorType;

static Value sizeOf(B &b, Value tensor, int64_t axis) { return b.createOrFold<tensor::DimOp>(tensor, axis); }
static Value constant(B &b, int64_t value) { return arith::ConstantIndexOp::create(b, value); }

static RankedTensorType anyTensor(B &b, int64_t rank) {
  return RankedTensorType::get(SmallVector<int64_t>(rank, ShapedType::kDynamic), b.getF64Type());
}

Value adapter::zeroTensor(B &b, ValueRange sizes) {
  Value empty = tensor::EmptyOp::create(b, anyTensor(b, sizes.size()), sizes);
  Value zero = arith::ConstantOp::create(b, b.getF64FloatAttr(0));
  return linalg::FillOp::create(b, zero, empty).getResult(0);
}

static Value emptyTensor(B &b, ValueRange sizes) {
  return tensor::EmptyOp::create(b, anyTensor(b, sizes.size()), sizes);
}

// x of a type without static sizes, which all that follows may rely on.
static Value ofAnySize(B &b, Value x) {
  RankedTensorType type = anyTensor(b, cast<RankedTensorType>(x.getType()).getRank());
  return x.getType() == type ? x : tensor::CastOp::create(b, type, x).getResult();
}

// Loops of `iterators` that add products to `init`, one of each element of the inputs.
static Value sumProducts(B &b, ValueRange inputs, Value init, ArrayRef<AffineMap> maps,
                         ArrayRef<IteratorType> iterators) {
  auto generic = linalg::GenericOp::create(b, init.getType(), inputs, init, maps, iterators,
                                           [](OpBuilder &inner, Location loc, ValueRange at) {
                                             Value product = arith::MulFOp::create(inner, loc, at[0], at[1]);
                                             Value sum = arith::AddFOp::create(inner, loc, at[2], product);
                                             linalg::YieldOp::create(inner, loc, sum);
                                           });
  return generic.getResult(0);
}

//===----------------------------------------------------------------------===//
// adapter.matrix
//===----------------------------------------------------------------------===//

std::pair<Value, Value> MatrixOp::sizes(B &b) {
  return {sizeOf(b, getTensor(), 0), sizeOf(b, getTensor(), 1)};
}

Value MatrixOp::apply(B &b, Value x, unsigned axis, bool adjoint) {
  Value made = sizeOf(b, getTensor(), adjoint), other = sizeOf(b, x, 1 - axis);
  Value init = zeroTensor(b, axis ? ValueRange{other, made} : ValueRange{made, other});
  // Loops (first of the result, k, second of the result): the last runs along memory in both; but rows by rows are
  // best as products of rows.
  bool dots = axis == 1 && !adjoint;
  AffineExpr first = b.getAffineDimExpr(0), second = b.getAffineDimExpr(dots ? 1 : 2),
             k = b.getAffineDimExpr(dots ? 2 : 1);
  AffineExpr along = axis ? second : first, across = axis ? first : second;
  auto map = [&](AffineExpr i, AffineExpr j) { return AffineMap::get(3, 0, {i, j}, b.getContext()); };
  SmallVector<AffineMap> maps{adjoint ? map(k, along) : map(along, k), axis ? map(across, k) : map(k, across),
                              map(first, second)};
  SmallVector<IteratorType> iterators(3, IteratorType::parallel);
  iterators[dots ? 2 : 1] = IteratorType::reduction;
  return sumProducts(b, {getTensor(), x}, init, maps, iterators);
}

//===----------------------------------------------------------------------===//
// adapter.diagonal
//===----------------------------------------------------------------------===//

std::pair<Value, Value> DiagonalOp::sizes(B &b) {
  Value size = sizeOf(b, getFactors(), 0);
  return {size, size};
}

Value DiagonalOp::apply(B &b, Value x, unsigned axis, bool) {
  Value init = emptyTensor(b, {sizeOf(b, x, 0), sizeOf(b, x, 1)});
  AffineMap identity = b.getMultiDimIdentityMap(2);
  SmallVector<AffineMap> maps{AffineMap::get(2, 0, b.getAffineDimExpr(axis)), identity, identity};
  SmallVector<IteratorType> iterators(2, IteratorType::parallel);
  auto generic =
      linalg::GenericOp::create(b, init.getType(), ValueRange{getFactors(), ofAnySize(b, x)}, init, maps,
                                iterators, [](OpBuilder &inner, Location loc, ValueRange at) {
                                  Value product = arith::MulFOp::create(inner, loc, at[0], at[1]);
                                  linalg::YieldOp::create(inner, loc, product);
                                });
  return generic.getResult(0);
}

//===----------------------------------------------------------------------===//
// Dividing a dimension
//===----------------------------------------------------------------------===//

// x with dimension `axis` divided into `parts`.
static Value divide(B &b, Value x, unsigned axis, ValueRange parts) {
  SmallVector<OpFoldResult> sizes;
  SmallVector<ReassociationIndices> groups(2);
  for (unsigned dim = 0, at = 0; dim < 2; ++dim) {
    SmallVector<Value> own(axis == dim ? SmallVector<Value>(parts) : SmallVector<Value>{sizeOf(b, x, dim)});
    for (Value size : own) {
      sizes.push_back(size);
      groups[dim].push_back(at++);
    }
  }
  RankedTensorType type = anyTensor(b, sizes.size());
  return tensor::ExpandShapeOp::create(b, type, ofAnySize(b, x), groups, sizes);
}

// The reverse, of `count` parts.
static Value join(B &b, Value x, unsigned axis, unsigned count) {
  SmallVector<ReassociationIndices> groups(2);
  for (unsigned dim = 0, at = 0; dim < 2; ++dim)
    for (unsigned i = 0; i < (axis == dim ? count : 1); ++i)
      groups[dim].push_back(at++);
  return tensor::CollapseShapeOp::create(b, anyTensor(b, 2), ofAnySize(b, x), groups);
}

//===----------------------------------------------------------------------===//
// adapter.blocks
//===----------------------------------------------------------------------===//

std::pair<Value, Value> BlocksOp::sizes(B &b) {
  return {arith::MulIOp::create(b, getCount(), sizeOf(b, getTensor(), 1)),
          arith::MulIOp::create(b, getCount(), sizeOf(b, getTensor(), 2))};
}

// [count, p, q], whatever there is one of.
Value BlocksOp::allBlocks(B &b) {
  Value init = emptyTensor(b, {getCount(), sizeOf(b, getTensor(), 1), sizeOf(b, getTensor(), 2)});
  Value given = sizeOf(b, getTensor(), 0);
  SmallVector<IteratorType> iterators(3, IteratorType::parallel);
  auto generic = linalg::GenericOp::create(b, init.getType(), ValueRange(), init, b.getMultiDimIdentityMap(3),
                                           iterators, [&](OpBuilder &inner, Location loc, ValueRange) {
                                             SmallVector<Value> at;
                                             for (int64_t dim = 0; dim < 3; ++dim)
                                               at.push_back(linalg::IndexOp::create(inner, loc, dim));
                                             at[0] = arith::RemUIOp::create(inner, loc, at[0], given);
                                             Value element =
                                                 tensor::ExtractOp::create(inner, loc, getTensor(), at);
                                             linalg::YieldOp::create(inner, loc, element);
                                           });
  return generic.getResult(0);
}

Value BlocksOp::apply(B &b, Value x, unsigned axis, bool adjoint) {
  Value read = sizeOf(b, getTensor(), adjoint ? 1 : 2), made = sizeOf(b, getTensor(), adjoint ? 2 : 1);
  Value parts = divide(b, x, axis, {getCount(), read}), other = sizeOf(b, x, 1 - axis);
  // Loops (block, made, read, other), or (other, block, read, made): the last runs along memory.
  AffineExpr d[] = {b.getAffineDimExpr(0), b.getAffineDimExpr(1), b.getAffineDimExpr(2),
                    b.getAffineDimExpr(3)};
  AffineExpr block = d[axis], to = axis ? d[3] : d[1], from = d[2], across = axis ? d[0] : d[3];
  auto map = [&](ArrayRef<AffineExpr> exprs) { return AffineMap::get(4, 0, exprs, b.getContext()); };
  SmallVector<AffineMap> maps;
  SmallVector<Value> sizes;
  maps.push_back(adjoint ? map({block, from, to}) : map({block, to, from}));
  if (axis) {
    maps.append({map({across, block, from}), map({across, block, to})});
    sizes = {other, getCount(), made};
  } else {
    maps.append({map({block, from, across}), map({block, to, across})});
    sizes = {getCount(), made, other};
  }
  SmallVector<IteratorType> iterators(4, IteratorType::parallel);
  iterators[2] = IteratorType::reduction;
  Value result = sumProducts(b, {allBlocks(b), parts}, zeroTensor(b, sizes), maps, iterators);
  return join(b, result, axis, 2);
}

//===----------------------------------------------------------------------===//
// adapter.shuffle and adapter.permute
//===----------------------------------------------------------------------===//

LogicalResult ShuffleOp::verify() {
  if (getPermutation().size() != getDims().size() || !isPermutationVector(getPermutation()))
    return emitOpError("needs a permutation of its ") << getDims().size() << " dimensions";
  return success();
}

std::pair<Value, Value> ShuffleOp::sizes(B &b) {
  Value size = constant(b, 1);
  for (Value dim : getDims())
    size = arith::MulIOp::create(b, size, dim);
  return {size, size};
}

Value ShuffleOp::apply(B &b, Value x, unsigned axis, bool adjoint) {
  SmallVector<int64_t> order(getPermutation());
  SmallVector<Value> dims(getDims());
  if (adjoint) {
    dims = applyPermutation(dims, order);
    order = invertPermutationVector(order);
  }
  Value parts = divide(b, x, axis, dims);
  // The other dimension of x stays where it is.
  int64_t count = dims.size(), rank = count + 1;
  SmallVector<int64_t> whole;
  if (axis)
    whole.push_back(0);
  for (int64_t dim : order)
    whole.push_back(dim + axis);
  if (!axis)
    whole.push_back(rank - 1);
  SmallVector<Value> sizes;
  for (int64_t dim : whole)
    sizes.push_back(sizeOf(b, parts, dim));
  Value moved = linalg::TransposeOp::create(b, parts, emptyTensor(b, sizes), whole)->getResult(0);
  return join(b, moved, axis, count);
}

std::pair<Value, Value> PermuteOp::sizes(B &b) {
  Value size = sizeOf(b, getOrder(), 0);
  return {size, size};
}

// z[inverse ? order[i] : i] = x[inverse ? i : order[i]]
Value PermuteOp::apply(B &b, Value x, unsigned axis, bool adjoint) {
  SmallVector<Value> sizes{sizeOf(b, x, 0), sizeOf(b, x, 1)};
  Value zero = constant(b, 0), one = constant(b, 1);
  auto outer = scf::ForOp::create(b, zero, sizes[0], one, zeroTensor(b, sizes));
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(outer.getBody());
  auto inner = scf::ForOp::create(b, zero, sizes[1], one, outer.getRegionIterArg(0));
  scf::YieldOp::create(b, inner.getResult(0));
  b.setInsertionPointToStart(inner.getBody());
  SmallVector<Value> at{outer.getInductionVar(), inner.getInductionVar()}, moved(at);
  Value place = tensor::ExtractOp::create(b, getOrder(), at[axis]);
  moved[axis] = arith::IndexCastOp::create(b, b.getIndexType(), place);
  Value element = tensor::ExtractOp::create(b, x, adjoint ? at : moved);
  Value next = tensor::InsertOp::create(b, element, inner.getRegionIterArg(0), adjoint ? moved : at);
  scf::YieldOp::create(b, next);
  return outer.getResult(0);
}

//===----------------------------------------------------------------------===//
// adapter.gather
//===----------------------------------------------------------------------===//

std::pair<Value, Value> GatherOp::sizes(B &) { return {getRows(), getColumns()}; }

Value GatherOp::apply(B &b, Value x, unsigned axis, bool adjoint) {
  Value made = adjoint ? getColumns() : getRows(), other = sizeOf(b, x, 1 - axis);
  Value init = zeroTensor(b, axis ? ValueRange{other, made} : ValueRange{made, other});
  Value zero = constant(b, 0), one = constant(b, 1);
  auto outer = scf::ForOp::create(b, zero, sizeOf(b, getValues(), 0), one, init);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(outer.getBody());
  Value k = outer.getInductionVar(), value = tensor::ExtractOp::create(b, getValues(), k);
  auto place = [&](Value row) -> Value {
    Value at = tensor::ExtractOp::create(b, getPlaces(), ValueRange{row, k});
    return arith::IndexCastOp::create(b, b.getIndexType(), at);
  };
  Value to = place(adjoint ? one : zero), from = place(adjoint ? zero : one);
  auto inner = scf::ForOp::create(b, zero, other, one, outer.getRegionIterArg(0));
  scf::YieldOp::create(b, inner.getResult(0));
  b.setInsertionPointToStart(inner.getBody());
  Value i = inner.getInductionVar(), carried = inner.getRegionIterArg(0);
  auto at = [&](Value along) { return axis ? SmallVector<Value>{i, along} : SmallVector<Value>{along, i}; };
  Value before = tensor::ExtractOp::create(b, carried, at(to));
  Value read = tensor::ExtractOp::create(b, x, at(from));
  Value sum = arith::AddFOp::create(b, before, arith::MulFOp::create(b, value, read));
  scf::YieldOp::create(b, tensor::InsertOp::create(b, sum, carried, at(to)).getResult());
  return outer.getResult(0);
}

//===----------------------------------------------------------------------===//
// adapter.chain, adapter.plus, adapter.adjoint
//===----------------------------------------------------------------------===//

MapOpInterface adapter::definingMap(Value map) { return map.getDefiningOp<MapOpInterface>(); }

Value IdentityOp::apply(B &, Value x, unsigned, bool) { return x; }

LogicalResult ChainOp::verify() {
  return getMaps().empty() ? emitOpError("needs maps; adapter.identity is the one without") : success();
}

std::pair<Value, Value> ChainOp::sizes(B &b) {
  return {definingMap(getMaps().front()).sizes(b).first, definingMap(getMaps().back()).sizes(b).second};
}

Value ChainOp::apply(B &b, Value x, unsigned axis, bool adjoint) {
  SmallVector<Value> order(getMaps());
  if (!adjoint)
    std::reverse(order.begin(), order.end());
  for (Value map : order)
    x = definingMap(map).apply(b, x, axis, adjoint);
  return x;
}

LogicalResult PlusOp::verify() { return getMaps().empty() ? emitOpError("needs maps to add up") : success(); }

std::pair<Value, Value> PlusOp::sizes(B &b) {
  std::pair<Value, Value> known;
  for (Value map : getMaps()) {
    std::pair<Value, Value> own = definingMap(map).sizes(b);
    known = {known.first ? known.first : own.first, known.second ? known.second : own.second};
  }
  return known;
}

Value PlusOp::apply(B &b, Value x, unsigned axis, bool adjoint) {
  Value sum;
  for (Value map : getMaps()) {
    Value part = ofAnySize(b, definingMap(map).apply(b, x, axis, adjoint));
    sum = sum ? arith::AddFOp::create(b, sum, part).getResult() : part;
  }
  return sum;
}

std::pair<Value, Value> AdjointOp::sizes(B &b) {
  std::pair<Value, Value> own = definingMap(getSource()).sizes(b);
  return {own.second, own.first};
}

Value AdjointOp::apply(B &b, Value x, unsigned axis, bool adjoint) {
  return definingMap(getSource()).apply(b, x, axis, !adjoint);
}
