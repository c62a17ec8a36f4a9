// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// kernel-plan-memory: one arena for the buffers of a function. Where sizes vary nobody can say which offsets are
// best, but an order can be fixed: of two buffers that live at the same time, one lies below the other. The
// order comes from packing an example; offsets are then longest paths in that order, a few additions and maxima
// at run time, and right for any sizes.
#include "dialects/Kernel/IR/KernelOps.h"
#include "lib/Codegen/EarlySizes.h"
#include "lib/Codegen/Lifetimes.h"
#include "lib/Codegen/Passes.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

namespace adapter {
#define GEN_PASS_DEF_PLANMEMORYPASS
#include "lib/Codegen/Passes.h.inc"
} // namespace adapter

using namespace mlir;
using namespace adapter;

// Buffers begin where a vector of any target may.
static constexpr int64_t kAlignment = 64;
// What a size counts as that is too large to be computed: no host has as much.
static constexpr int64_t kTooLarge = int64_t(1) << 48;

namespace {
struct Buffer {
  memref::AllocOp alloc;
  Value bytes; // early, a multiple of the alignment
  int64_t first, last, sampled, place = 0;

  bool meets(const Buffer &other) const { return first <= other.last && other.first <= last; }
  int64_t end() const { return place + sampled; }
};

// What bytes follow from: a factor that is known, and sizes.
struct Extent {
  int64_t known;
  SmallVector<Value> varying;
  Value bytes;
};

class Planner {
public:
  Planner(func::FuncOp function, int64_t sample)
      : function(function), block(function.front()), sizes(function), sample(sample) {}

  int64_t placeOutputs();
  void collect();
  void plan();

  SmallVector<Buffer> buffers;
  int64_t left = 0;

private:
  Value bytesOf(MemRefType type, ArrayRef<Value> shape);
  void pack();
  SmallVector<size_t> directlyBelow(size_t number, ArrayRef<size_t> order);

  func::FuncOp function;
  Block &block;
  EarlySizes sizes;
  int64_t sample;
  SmallVector<Extent> extents;
};
} // namespace

//===----------------------------------------------------------------------===//
// Results
//===----------------------------------------------------------------------===//

// The buffer that a result is a contiguous view of.
static memref::AllocOp rootOf(Value value) {
  while (Operation *op = value.getDefiningOp()) {
    if (auto alloc = dyn_cast<memref::AllocOp>(op))
      return alloc;
    if (auto reshape = dyn_cast<kernel::ReshapeOp>(op))
      value = reshape.getSource();
    else if (auto cast = dyn_cast<memref::CastOp>(op))
      value = cast.getSource();
    else
      break;
  }
  return {};
}

static SmallVector<Value> dynamicOf(MemRefType type, ArrayRef<Value> shape) {
  SmallVector<Value> dynamic;
  for (auto [dim, size] : llvm::enumerate(shape))
    if (type.isDynamicDim(dim))
      dynamic.push_back(size);
  return dynamic;
}

int64_t Planner::placeOutputs() {
  SmallVector<int64_t> placed;
  for (auto [index, value] : llvm::enumerate(block.getTerminator()->getOperands())) {
    auto type = dyn_cast<MemRefType>(value.getType());
    memref::AllocOp alloc = rootOf(value);
    if (!type || !type.getLayout().isIdentity() || !alloc || alloc->getBlock() != &block)
      continue;
    std::optional<SmallVector<Value>> shape = sizes.shapeOf(value);
    if (!shape)
      continue;
    ImplicitLocOpBuilder b(alloc.getLoc(), alloc);
    Value buffer = kernel::OutputOp::create(b, type, static_cast<int64_t>(index), dynamicOf(type, *shape));
    if (alloc.getType() != type)
      buffer = kernel::ReshapeOp::create(b, alloc.getType(), buffer, alloc.getDynamicSizes());
    alloc.replaceAllUsesWith(buffer);
    alloc.erase();
    placed.push_back(static_cast<int64_t>(index));
  }
  if (!placed.empty())
    function->setAttr("kernel.placed", Builder(function.getContext()).getDenseI64ArrayAttr(placed));
  return placed.size();
}

//===----------------------------------------------------------------------===//
// Buffers with early sizes
//===----------------------------------------------------------------------===//

// Bytes, rounded up to the alignment; at most kTooLarge, since a product of sizes may wrap around.
Value Planner::bytesOf(MemRefType type, ArrayRef<Value> shape) {
  ImplicitLocOpBuilder &b = sizes.getBuilder();
  Type element = type.getElementType();
  int64_t known = element.isIndex() ? 8 : llvm::divideCeil(element.getIntOrFloatBitWidth(), 8);
  for (int64_t size : type.getShape())
    if (!ShapedType::isDynamic(size))
      known *= size;
  SmallVector<Value> varying = dynamicOf(type, shape);
  for (const Extent &extent : extents)
    if (extent.known == known && extent.varying == varying)
      return extent.bytes;
  auto constant = [&](int64_t value) -> Value { return arith::ConstantIndexOp::create(b, value); };
  Value limit = constant(kTooLarge), none = constant(0), bytes = constant(known);
  for (Value size : varying) {
    auto product = arith::MulUIExtendedOp::create(b, bytes, size);
    Value fits = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, product.getHigh(), none);
    Value low = arith::MinUIOp::create(b, product.getLow(), limit);
    bytes = arith::SelectOp::create(b, fits, low, limit);
  }
  if (known % kAlignment) {
    Value up = arith::AddIOp::create(b, bytes, constant(kAlignment - 1));
    bytes = arith::AndIOp::create(b, up, constant(-kAlignment));
  }
  extents.push_back({known, std::move(varying), bytes});
  return bytes;
}

void Planner::collect() {
  llvm::DenseMap<Operation *, int64_t> numbers;
  for (Operation &op : block)
    numbers[&op] = static_cast<int64_t>(numbers.size());
  for (auto alloc : llvm::make_early_inc_range(block.getOps<memref::AllocOp>())) {
    Operation *last = lastUse(alloc, &block);
    MemRefType type = alloc.getType();
    std::optional<SmallVector<Value>> shape;
    if (last && type.getLayout().isIdentity() && !type.getMemorySpace())
      shape = sizes.shapeOf(alloc);
    if (!shape) {
      ++left;
      continue;
    }
    // It need not be there before somebody writes it.
    int64_t first = numbers[last];
    for (Operation *user : alloc->getUsers())
      first = std::min(first, numbers[block.findAncestorOpInBlock(*user)]);
    Value bytes = bytesOf(type, *shape);
    int64_t sampled = std::clamp(sizes.sample(bytes, sample).value_or(0), kAlignment, kTooLarge);
    buffers.push_back({alloc, bytes, first, numbers[last], sampled});
  }
}

//===----------------------------------------------------------------------===//
// Places
//===----------------------------------------------------------------------===//

// Places for the example: the largest buffer first, each as low as those that it meets allow.
void Planner::pack() {
  SmallVector<Buffer *> bySize;
  for (Buffer &buffer : buffers)
    bySize.push_back(&buffer);
  llvm::sort(bySize, [](Buffer *x, Buffer *y) { return std::tie(y->sampled, x) < std::tie(x->sampled, y); });
  SmallVector<Buffer *> placed; // by place
  for (Buffer *buffer : bySize) {
    for (Buffer *other : placed) {
      if (!buffer->meets(*other))
        continue;
      if (buffer->end() <= other->place)
        break;
      buffer->place = std::max(buffer->place, other->end());
    }
    auto at = llvm::upper_bound(placed, buffer, [](Buffer *x, Buffer *y) { return x->place < y->place; });
    placed.insert(at, buffer);
  }
}

// Those below a buffer that others below it do not stand upon. `order` is by place.
SmallVector<size_t> Planner::directlyBelow(size_t number, ArrayRef<size_t> order) {
  const Buffer &buffer = buffers[number];
  SmallVector<size_t> below;
  for (size_t other : llvm::reverse(order)) {
    const Buffer &candidate = buffers[other];
    if (candidate.place >= buffer.place || !buffer.meets(candidate))
      continue;
    if (llvm::none_of(below, [&](size_t above) { return buffers[above].meets(candidate); }))
      below.push_back(other);
  }
  return below;
}

// The higher of two ends; null is the arena's beginning.
static Value higher(ImplicitLocOpBuilder &b, Value x, Value y) {
  return !x || x == y ? y : Value(arith::MaxUIOp::create(b, x, y));
}

void Planner::plan() {
  if (buffers.empty())
    return;
  pack();
  SmallVector<size_t> order = llvm::to_vector(llvm::seq<size_t>(0, buffers.size()));
  llvm::sort(order, [&](size_t x, size_t y) {
    return std::pair(buffers[x].place, x) < std::pair(buffers[y].place, y);
  });
  ImplicitLocOpBuilder &b = sizes.getBuilder();
  Value total;
  SmallVector<Value> offsets(buffers.size()), ends(buffers.size());
  for (auto [position, number] : llvm::enumerate(order)) {
    Value offset;
    for (size_t below : directlyBelow(number, ArrayRef(order).take_front(position)))
      offset = higher(b, offset, ends[below]);
    offsets[number] = offset ? offset : arith::ConstantIndexOp::create(b, 0);
    ends[number] = offset ? arith::AddIOp::create(b, offset, buffers[number].bytes) : buffers[number].bytes;
    total = higher(b, total, ends[number]);
  }
  auto arenaType = MemRefType::get({ShapedType::kDynamic}, b.getI8Type());
  Value arena = memref::AllocOp::create(b, arenaType, ValueRange{total}, b.getI64IntegerAttr(kAlignment));
  for (auto [number, buffer] : llvm::enumerate(buffers)) {
    ImplicitLocOpBuilder at(buffer.alloc.getLoc(), buffer.alloc);
    Value view = memref::ViewOp::create(at, buffer.alloc.getType(), arena, offsets[number],
                                        buffer.alloc.getDynamicSizes());
    buffer.alloc.replaceAllUsesWith(view);
    buffer.alloc.erase();
  }
  b.setInsertionPoint(block.getTerminator());
  memref::DeallocOp::create(b, arena);
}

namespace {
struct PlanMemoryPass final : adapter::impl::PlanMemoryPassBase<PlanMemoryPass> {
  using Base::Base;
  void runOnOperation() override {
    for (auto function : getOperation().getOps<func::FuncOp>()) {
      if (function.isDeclaration() || !function.getBody().hasOneBlock())
        continue;
      Planner planner(function, sample);
      if (function.isPublic())
        numPlaced += planner.placeOutputs();
      planner.collect();
      numPlanned += planner.buffers.size();
      numLeft += planner.left;
      planner.plan();
    }
  }
};
} // namespace
