// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Loops for modules that differ by row: a row's positions are one segment, whose two products use the register tiles
// of the base's; what is between and behind them is done position by position. Which form an entry has is its number
// among the site's; code is there for what those have.
#include "lib/Checkpoint/Bottleneck.h"
#include "lib/Codegen/LowerRows.h"
#include "lib/Codegen/RowEmitter.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include <cmath>

using namespace mlir;
using namespace adapter;
using namespace adapter::rows;
using checkpoint::BottleneckForm;

// Places in an adapter_entry_v1, see adapter-rt/artifact.h.
enum BottleneckTensor { kDown = 0, kUp = 1, kDownBias = 2, kUpBias = 3, kNormAfter = 4, kGate = 5 };

static Value number(ImplicitLocOpBuilder &b, double value) {
  return arith::ConstantOp::create(b, b.getF32FloatAttr(static_cast<float>(value)));
}

static Value sigmoid(ImplicitLocOpBuilder &b, Value x) {
  Value power = math::ExpOp::create(b, arith::NegFOp::create(b, x)), one = number(b, 1.0);
  return arith::DivFOp::create(b, one, arith::AddFOp::create(b, one, power));
}

// One of lib/Checkpoint/Bottleneck.h's activations of an f32.
static Value activation(ImplicitLocOpBuilder &b, StringRef function, Value x) {
  auto add = [&](Value y, double z) -> Value { return arith::AddFOp::create(b, y, number(b, z)); };
  auto times = [&](Value y, Value z) -> Value { return arith::MulFOp::create(b, y, z); };
  auto by = [&](Value y, double z) -> Value { return times(y, number(b, z)); };
  auto clipped = [&](Value y, double low, double high) -> Value {
    return arith::MinimumFOp::create(b, arith::MaximumFOp::create(b, y, number(b, low)), number(b, high));
  };
  auto bell = [&](double mean, double deviation) -> Value {
    Value inner = arith::DivFOp::create(b, add(x, -mean), number(b, deviation * std::sqrt(2.0)));
    return by(add(math::ErfOp::create(b, inner), 1.0), 0.5);
  };
  auto positive = [&]() -> Value { return arith::MaximumFOp::create(b, x, number(b, 0.0)); };
  if (function == "relu")
    return positive();
  if (function == "relu2") {
    Value y = positive();
    return times(y, y);
  }
  if (function == "relu6")
    return clipped(x, 0.0, 6.0);
  if (function == "leaky_relu") {
    Value negative = arith::CmpFOp::create(b, arith::CmpFPredicate::OLT, x, number(b, 0.0));
    return arith::SelectOp::create(b, negative, by(x, 0.01), x);
  }
  if (function == "sigmoid")
    return sigmoid(b, x);
  if (function == "tanh")
    return math::TanhOp::create(b, x);
  if (function == "silu")
    return times(x, sigmoid(b, x));
  if (function == "quick_gelu")
    return times(x, sigmoid(b, by(x, 1.702)));
  if (function == "mish") {
    // softplus without overflow
    Value small = math::ExpOp::create(b, arith::NegFOp::create(b, math::AbsFOp::create(b, x)));
    Value softplus = arith::AddFOp::create(b, positive(), math::Log1pOp::create(b, small));
    return times(x, math::TanhOp::create(b, softplus));
  }
  if (function == "gelu")
    return times(x, bell(0.0, 1.0));
  if (function == "gelu_10")
    return clipped(times(x, bell(0.0, 1.0)), -10.0, 10.0);
  if (function == "laplace")
    return bell(0.707107, 0.282095);
  if (function == "gelu_tanh") {
    Value cube = times(times(x, x), x);
    Value inner = by(arith::AddFOp::create(b, x, by(cube, 0.044715)), std::sqrt(2.0 / M_PI));
    return times(by(x, 0.5), add(math::TanhOp::create(b, inner), 1.0));
  }
  return x;
}

namespace {
class BottleneckLowering {
public:
  BottleneckLowering(kernel::RowBottleneckOp op, TileFunctions &tiles)
      : b(op.getLoc(), op), emit(b, op.getBank()), op(op), tiles(tiles) {
    for (auto text : op.getForms().getAsRange<StringAttr>())
      forms.push_back(BottleneckForm::parse(text.getValue().str()).value_or(BottleneckForm()));
  }
  void lower();

private:
  using Has = llvm::function_ref<bool(const BottleneckForm &)>;
  // Emits `body` behind a test, where some form of the site has the property, or plainly where all have.
  void whereForm(Value variant, Has has, llvm::function_ref<void()> then);
  Value sumOf(Value from, Value to, llvm::function_ref<Value(Value)> term);
  Value segment(Value slot, Value begin, Value end);
  Value normalised(Value x, double epsilon);
  void standardise(Value matrix, Value m, Value target, double epsilon, Value affine);
  void activate(Value inner, Value bias, Value variant);
  Value gateOf(Value slot, Value x);
  Value matrix(Value rows, Value columns) {
    return memref::AllocOp::create(b, MemRefType::get({any, any}, b.getF32Type()), ValueRange{rows, columns});
  }
  Value load(Value memref, ValueRange at) { return memref::LoadOp::create(b, memref, at); }

  static constexpr int64_t any = ShapedType::kDynamic;
  ImplicitLocOpBuilder b;
  RowEmitter emit;
  kernel::RowBottleneckOp op;
  TileFunctions &tiles;
  SmallVector<BottleneckForm> forms;
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
  std::vector<std::string> done;
  for (const BottleneckForm &form : forms) {
    if (llvm::is_contained(done, form.activation))
      continue;
    done.push_back(form.activation);
    whereForm(
        variant, [&](const BottleneckForm &each) { return each.activation == form.activation; },
        [&] {
          emit.loop(zero, rows, [&](Value m) {
            emit.loop(zero, columns, [&](Value n) {
              Value x = arith::AddFOp::create(b, load(inner, {m, n}), load(bias, {n}));
              memref::StoreOp::create(b, activation(b, form.activation, x), inner, ValueRange{m, n});
            });
          });
        });
  }
}

// The mean over the segment's positions of sigmoid(x gate + bias); 1 where the entry has no gate.
Value BottleneckLowering::gateOf(Value slot, Value x) {
  if (llvm::none_of(forms, [](const BottleneckForm &form) { return form.gate; }))
    return number(b, 1.0);
  auto choose = scf::IfOp::create(b, TypeRange{b.getF32Type()}, emit.has(slot, kGate), true);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(choose.elseBlock());
  scf::YieldOp::create(b, number(b, 1.0));
  b.setInsertionPointToStart(choose.thenBlock());
  Value zero = index(b, 0), rows = dim(b, x, 0), width = dim(b, x, 1);
  Value gate = emit.tensor(slot, kGate, {any}, {arith::AddIOp::create(b, width, index(b, 1))});
  Value sum = sumOf(zero, rows, [&](Value m) -> Value {
    Value dot = sumOf(zero, width, [&](Value n) -> Value {
      return arith::MulFOp::create(b, load(x, {m, n}), load(gate, {n}));
    });
    return sigmoid(b, arith::AddFOp::create(b, dot, load(gate, {width})));
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
  emit.forEachRow(output, [&](Value slot, Value begin, Value count, Value to) {
    Value rank = emit.extent(slot, 0), variant = emit.extent(slot, 1);
    // Entries of adapters that leave this site alone are zero.
    emit.when(emit.has(slot, kDown), [&] {
      Value rankBlocks = arith::DivUIOp::create(b, rank, index(b, width));
      Value down = emit.tensor(slot, kDown, {any, any, width}, {rankBlocks, depth});
      Value up = emit.tensor(slot, kUp, {any, any, width}, {blocks, rank});
      Value downBias = emit.tensor(slot, kDownBias, {any}, {rank});
      Value upBias = emit.tensor(slot, kUpBias, {any}, {columns});
      // What is added to the base's own result must be that of before: another adapter may have changed it.
      Value from = rowsOf(b, input, begin, count);
      Value onto = residual ? rowsOf(b, residual, begin, count) : to;
      Value inner = matrix(count, rank), wide = matrix(count, columns);
      auto narrow = [&](Value x) {
        emit.loop(zero, rankBlocks, [&](Value block) {
          tiles.call(b, TileStart::Zero, x, down, Value(), inner, block, zero, count);
        });
      };
      whereForm(variant, [](const BottleneckForm &form) { return !form.normBefore; }, [&] { narrow(from); });
      for (double epsilon : {1e-5, 1e-6})
        whereForm(
            variant, [&](const BottleneckForm &form) { return form.normBefore && form.epsilon == epsilon; },
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
      Value gate = gateOf(slot, from);
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
          variant, [](const BottleneckForm &form) { return form.residualFirst; }, [&] { addResidual(wide); });
      for (double epsilon : {1e-5, 1e-6})
        whereForm(
            variant, [&](const BottleneckForm &form) { return form.normAfter && form.epsilon == epsilon; },
            [&] {
              Value affine = emit.tensor(slot, kNormAfter, {2, any}, {columns});
              emit.loop(zero, count, [&](Value m) { standardise(wide, m, wide, epsilon, affine); });
            });
      whereForm(
          variant, [](const BottleneckForm &form) { return form.residualFirst; },
          [&] { each([&](Value v, ValueRange) { return v; }, to); });
      whereForm(
          variant, [](const BottleneckForm &form) { return !form.residualFirst; }, [&] { addResidual(to); });
      memref::DeallocOp::create(b, inner);
      memref::DeallocOp::create(b, wide);
    });
  });
  op.erase();
}

void adapter::lowerRowBottleneck(kernel::RowBottleneckOp op, TileFunctions &tiles) {
  BottleneckLowering(op, tiles).lower();
}
