// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Loops for modules that differ by row: a row's positions are one segment, whose two products use the register tiles
// of the base's; what is between and behind them is done position by position. Which form an entry has is its number
// among the site's; code is there for what those have.
#include "lib/Codegen/LowerRows.h"
#include "lib/Codegen/RowEmitter.h"
#include "lib/Support/Activations.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include <set>

using namespace mlir;
using namespace adapter;
using namespace adapter::rows;
using checkpoint::Bottleneck;

// Places in an adapter_entry_v1, see adapter-rt/artifact.h.
enum BottleneckTensor { kDown = 0, kUp = 1, kDownBias = 2, kUpBias = 3, kNormAfter = 4, kGate = 5 };

static Value number(ImplicitLocOpBuilder &b, double value) {
  return arith::ConstantOp::create(b, b.getF32FloatAttr(static_cast<float>(value)));
}

namespace {
class BottleneckLowering {
public:
  BottleneckLowering(kernel::RowBottleneckOp op, TileFunctions &tiles)
      : b(op.getLoc(), op), emit(b, op.getBank()), op(op), tiles(tiles) {
    for (auto each : op.getBottlenecks().getAsRange<BottleneckAttr>())
      forms.push_back(each.getValue());
  }
  void lower();

private:
  using Has = llvm::function_ref<bool(const Bottleneck &)>;
  // Emits `body` behind a test, where some form of the site has the property, or plainly where all have.
  void whereForm(Value variant, Has has, llvm::function_ref<void()> then);
  Value sumOf(Value from, Value to, llvm::function_ref<Value(Value)> term);
  Value segment(Value entry, Value begin, Value end);
  Value normalised(Value x, double epsilon);
  void standardise(Value matrix, Value m, Value target, double epsilon, Value affine);
  void activate(Value inner, Value bias, Value variant);
  Value gateOf(Value entry, Value x);
  Value matrix(Value rows, Value columns) {
    return memref::AllocOp::create(b, MemRefType::get({any, any}, b.getF32Type()), ValueRange{rows, columns});
  }
  Value load(Value memref, ValueRange at) { return memref::LoadOp::create(b, memref, at); }

  static constexpr int64_t any = ShapedType::kDynamic;
  ImplicitLocOpBuilder b;
  RowEmitter emit;
  kernel::RowBottleneckOp op;
  TileFunctions &tiles;
  SmallVector<Bottleneck> forms;
};
} // namespace

void BottleneckLowering::whereForm(Value variant, Has has, llvm::function_ref<void()> then) {
  size_t having = llvm::count_if(forms, has);
  if (!having)
    return;
  if (having == forms.size())
    return then();
  Value test = arith::ConstantOp::create(b, b.getBoolAttr(false));
  for (auto [i, form] : llvm::enumerate(forms))
    if (has(form))
      test = arith::OrIOp::create(b, test,
                                  arith::CmpIOp::create(b, arith::CmpIPredicate::eq, variant, index(b, i)));
  emit.when(test, then);
}

Value BottleneckLowering::sumOf(Value from, Value to, llvm::function_ref<Value(Value)> term) {
  auto loop = scf::ForOp::create(b, from, to, index(b, 1), number(b, 0.0));
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(loop.getBody());
  Value part = term(loop.getInductionVar());
  scf::YieldOp::create(b, ValueRange{arith::AddFOp::create(b, loop.getRegionIterArgs()[0], part)});
  return loop.getResult(0);
}

// target[m] = (matrix[m] - mean) / deviation, times and plus the rows of `affine` where there is one.
void BottleneckLowering::standardise(Value source, Value m, Value target, double epsilon, Value affine) {
  Value zero = index(b, 0), width = dim(b, source, 1);
  Value count =
      arith::UIToFPOp::create(b, b.getF32Type(), arith::IndexCastOp::create(b, b.getI64Type(), width));
  Value mean =
      arith::DivFOp::create(b, sumOf(zero, width, [&](Value n) { return load(source, {m, n}); }), count);
  Value squares = sumOf(zero, width, [&](Value n) -> Value {
    Value distance = arith::SubFOp::create(b, load(source, {m, n}), mean);
    return arith::MulFOp::create(b, distance, distance);
  });
  Value variance = arith::AddFOp::create(b, arith::DivFOp::create(b, squares, count), number(b, epsilon));
  Value factor = arith::DivFOp::create(b, number(b, 1.0), math::SqrtOp::create(b, variance));
  emit.loop(zero, width, [&](Value n) {
    Value value = arith::MulFOp::create(b, arith::SubFOp::create(b, load(source, {m, n}), mean), factor);
    if (affine)
      value = arith::AddFOp::create(b, arith::MulFOp::create(b, value, load(affine, {zero, n})),
                                    load(affine, {index(b, 1), n}));
    memref::StoreOp::create(b, value, target, ValueRange{m, n});
  });
}

// inner = act(inner + bias), by the entry's form.
void BottleneckLowering::activate(Value inner, Value bias, Value variant) {
  Value zero = index(b, 0), rows = dim(b, inner, 0), columns = dim(b, inner, 1);
  SmallVector<checkpoint::Activation> done;
  for (const Bottleneck &form : forms) {
    if (llvm::is_contained(done, form.activation))
      continue;
    done.push_back(form.activation);
    whereForm(
        variant, [&](const Bottleneck &each) { return each.activation == form.activation; },
        [&] {
          emit.loop(zero, rows, [&](Value m) {
            emit.loop(zero, columns, [&](Value n) {
              Value x = arith::AddFOp::create(b, load(inner, {m, n}), load(bias, {n}));
              memref::StoreOp::create(b, adapter::activate(b, form.activation, x), inner, ValueRange{m, n});
            });
          });
        });
  }
}

// The mean over the segment's positions of sigmoid(x gate + bias); 1 where the entry has no gate.
Value BottleneckLowering::gateOf(Value entry, Value x) {
  if (llvm::none_of(forms, [](const Bottleneck &form) { return form.gate; }))
    return number(b, 1.0);
  auto choose = scf::IfOp::create(b, TypeRange{b.getF32Type()}, emit.has(entry, kGate), true);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(choose.elseBlock());
  scf::YieldOp::create(b, number(b, 1.0));
  b.setInsertionPointToStart(choose.thenBlock());
  Value zero = index(b, 0), rows = dim(b, x, 0), width = dim(b, x, 1);
  Value gate = emit.tensor(entry, kGate, {any}, {arith::AddIOp::create(b, width, index(b, 1))});
  Value sum = sumOf(zero, rows, [&](Value m) -> Value {
    Value dot = sumOf(zero, width, [&](Value n) -> Value {
      return arith::MulFOp::create(b, load(x, {m, n}), load(gate, {n}));
    });
    return ScalarArithmetic(b).sigmoid(arith::AddFOp::create(b, dot, load(gate, {width})));
  });
  Value count =
      arith::UIToFPOp::create(b, b.getF32Type(), arith::IndexCastOp::create(b, b.getI64Type(), rows));
  scf::YieldOp::create(b, ValueRange{arith::DivFOp::create(b, sum, count)});
  return choose.getResult(0);
}

void BottleneckLowering::lower() {
  int64_t width = tiles.getBlock();
  Value input = rowsOfAnySize(b, op.getInput()), output = rowsOfAnySize(b, op.getOutput());
  Value residual = op.getResidual() ? rowsOfAnySize(b, op.getResidual()) : Value();
  Value zero = index(b, 0), depth = dim(b, input, 1), columns = dim(b, output, 1);
  Value blocks = arith::CeilDivSIOp::create(b, columns, index(b, width));
  std::set<double> epsilons;
  for (const Bottleneck &form : forms)
    epsilons.insert(form.epsilon);
  emit.forEachRow(output, [&](Value entry, Value begin, Value count, Value to) {
    Value rank = emit.extent(entry, 0), variant = emit.extent(entry, 1);
    // Entries of adapters that leave this site alone are zero.
    emit.when(emit.has(entry, kDown), [&] {
      Value rankBlocks = arith::DivUIOp::create(b, rank, index(b, width));
      Value down = emit.tensor(entry, kDown, {any, any, width}, {rankBlocks, depth});
      Value up = emit.tensor(entry, kUp, {any, any, width}, {blocks, rank});
      Value downBias = emit.tensor(entry, kDownBias, {any}, {rank});
      Value upBias = emit.tensor(entry, kUpBias, {any}, {columns});
      // What is added to the base's own result must be that of before: another adapter may have changed it.
      Value from = rowsOf(b, input, begin, count);
      Value onto = residual ? rowsOf(b, residual, begin, count) : to;
      Value inner = matrix(count, rank), wide = matrix(count, columns);
      auto narrow = [&](Value x) {
        emit.loop(zero, rankBlocks, [&](Value block) {
          tiles.call(b, TileStart::Zero, x, down, Value(), inner, block, zero, count);
        });
      };
      whereForm(variant, [](const Bottleneck &form) { return !form.normBefore; }, [&] { narrow(from); });
      for (double epsilon : epsilons)
        whereForm(
            variant, [&](const Bottleneck &form) { return form.normBefore && form.epsilon == epsilon; },
            [&] {
              Value standard = matrix(count, depth);
              emit.loop(zero, count, [&](Value m) { standardise(from, m, standard, epsilon, Value()); });
              narrow(standard);
              memref::DeallocOp::create(b, standard);
            });
      activate(inner, downBias, variant);
      emit.loop(zero, blocks, [&](Value block) {
        tiles.call(b, TileStart::Zero, inner, up, Value(), wide, block, zero, count);
      });
      Value gate = gateOf(entry, from);
      auto each = [&](llvm::function_ref<Value(Value, ValueRange)> value, Value target) {
        emit.loop(zero, count, [&](Value m) {
          emit.loop(zero, columns, [&](Value n) {
            SmallVector<Value> at{m, n};
            memref::StoreOp::create(b, value(load(wide, at), at), target, at);
          });
        });
      };
      each(
          [&](Value v, ValueRange at) -> Value {
            return arith::MulFOp::create(b, arith::AddFOp::create(b, v, load(upBias, {at[1]})), gate);
          },
          wide);
      auto addResidual = [&](Value target) {
        each([&](Value v, ValueRange at) -> Value { return arith::AddFOp::create(b, v, load(onto, at)); },
             target);
      };
      whereForm(
          variant, [](const Bottleneck &form) { return form.residualFirst; }, [&] { addResidual(wide); });
      for (double epsilon : epsilons)
        whereForm(
            variant, [&](const Bottleneck &form) { return form.normAfter && form.epsilon == epsilon; },
            [&] {
              Value affine = emit.tensor(entry, kNormAfter, {2, any}, {columns});
              emit.loop(zero, count, [&](Value m) { standardise(wide, m, wide, epsilon, affine); });
            });
      whereForm(
          variant, [](const Bottleneck &form) { return form.residualFirst; },
          [&] { each([&](Value v, ValueRange) { return v; }, to); });
      whereForm(
          variant, [](const Bottleneck &form) { return !form.residualFirst; }, [&] { addResidual(to); });
      memref::DeallocOp::create(b, inner);
      memref::DeallocOp::create(b, wide);
    });
  });
  op.erase();
}

void adapter::lowerRowBottleneck(kernel::RowBottleneckOp op, TileFunctions &tiles) {
  BottleneckLowering(op, tiles).lower();
}
