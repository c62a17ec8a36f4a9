// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Entries of bottlenecks: factors in blocks, scales and the affine part of a norm folded into them, in f64.
#include "lib/Compile/ModuleForm.h"
#include "dialects/Kernel/IR/KernelOps.h"
#include "lib/Compile/Generate.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace adapter;
using checkpoint::Bottleneck;

static constexpr int64_t kAny = ShapedType::kDynamic;

namespace {
class EntryWriter {
public:
  EntryWriter(ImplicitLocOpBuilder &b, int64_t block, const std::map<std::string, Value> &tensors,
              Value scale)
      : b(b), block(block), tensors(tensors), scale(scale) {}
  SmallVector<Value> write(const Bottleneck &form, std::vector<int> &positions);

private:
  RankedTensorType f32(ArrayRef<int64_t> shape) { return RankedTensorType::get(shape, b.getF32Type()); }
  Value dim(Value tensor, int64_t at) { return tensor::DimOp::create(b, tensor, at); }
  // A tensor whose elements are f64s rounded.
  Value generate(ValueRange sizes, ElementBody body);
  Value wide(ImplicitLocOpBuilder &inner, Value tensor, ValueRange at) {
    Value element = tensor::ExtractOp::create(inner, tensor, at);
    return arith::ExtFOp::create(inner, inner.getF64Type(), element);
  }
  // Of an output: the scale, and its channel's.
  Value scaleOf(ImplicitLocOpBuilder &inner, Value output) {
    auto channel = tensors.find("channel");
    return channel == tensors.end()
               ? scale
               : Value(arith::MulFOp::create(inner, scale, wide(inner, channel->second, output)));
  }
  // The value where `at` is below `size`, else 0.
  Value padded(ImplicitLocOpBuilder &inner, Value at, Value size, llvm::function_ref<Value()> value);
  Value pack(Value source);

  ImplicitLocOpBuilder &b;
  int64_t block;
  const std::map<std::string, Value> &tensors;
  Value scale;
};
} // namespace

Value EntryWriter::generate(ValueRange sizes, ElementBody body) {
  return generateTensor(b, sizes, b.getF32Type(), [&](ImplicitLocOpBuilder &inner, ValueRange at) -> Value {
    return arith::TruncFOp::create(inner, inner.getF32Type(), body(inner, at));
  });
}

Value EntryWriter::padded(ImplicitLocOpBuilder &inner, Value at, Value size,
                          llvm::function_ref<Value()> value) {
  Value inside = arith::CmpIOp::create(inner, arith::CmpIPredicate::slt, at, size);
  auto choose = scf::IfOp::create(inner, TypeRange{inner.getF64Type()}, inside, true);
  OpBuilder::InsertionGuard guard(inner);
  inner.setInsertionPointToStart(choose.thenBlock());
  scf::YieldOp::create(inner, value());
  inner.setInsertionPointToStart(choose.elseBlock());
  Value zero = arith::ConstantOp::create(inner, inner.getF64FloatAttr(0));
  scf::YieldOp::create(inner, zero);
  return choose.getResult(0);
}

// [n / block, k, block] of [n, k].
Value EntryWriter::pack(Value source) {
  Value blocks = arith::CeilDivSIOp::create(b, dim(source, 0), arith::ConstantIndexOp::create(b, block));
  RankedTensorType type = f32({kAny, kAny, block});
  Value init = tensor::EmptyOp::create(b, type, ValueRange{blocks, dim(source, 1)});
  return kernel::PackOp::create(b, type, source, init, /*transposed=*/true).getResults().front();
}

SmallVector<Value> EntryWriter::write(const Bottleneck &form, std::vector<int> &positions) {
  Value down = tensors.at("down"), downBias = tensors.at("down_bias"), up = tensors.at("up"),
        upBias = tensors.at("up_bias");
  Value rank = dim(down, 0), in = dim(down, 1), out = dim(up, 0),
        width = arith::ConstantIndexOp::create(b, block);
  Value paddedRank = arith::MulIOp::create(b, arith::CeilDivSIOp::create(b, rank, width), width);
  Value affineDown = down;
  if (form.normBefore)
    affineDown = generate({rank, in}, [&](ImplicitLocOpBuilder &inner, ValueRange at) -> Value {
      return arith::MulFOp::create(inner, wide(inner, down, at),
                                   wide(inner, tensors.at("norm_before"), at[1]));
    });
  Value bias = generate({paddedRank}, [&](ImplicitLocOpBuilder &inner, ValueRange at) -> Value {
    return padded(inner, at[0], rank, [&]() -> Value {
      Value own = wide(inner, downBias, at);
      if (!form.normBefore)
        return own;
      Value zero = arith::ConstantIndexOp::create(inner, 0), one = arith::ConstantIndexOp::create(inner, 1);
      auto loop = scf::ForOp::create(inner, zero, in, one, own);
      OpBuilder::InsertionGuard guard(inner);
      inner.setInsertionPointToStart(loop.getBody());
      Value k = loop.getInductionVar();
      Value part = arith::MulFOp::create(inner, wide(inner, down, {at[0], k}),
                                         wide(inner, tensors.at("norm_before_bias"), k));
      scf::YieldOp::create(inner,
                           ValueRange{arith::AddFOp::create(inner, loop.getRegionIterArgs()[0], part)});
      return loop.getResult(0);
    });
  });
  Value scaledUp = generate({out, paddedRank}, [&](ImplicitLocOpBuilder &inner, ValueRange at) -> Value {
    return padded(inner, at[1], rank, [&]() -> Value {
      return arith::MulFOp::create(inner, wide(inner, up, at), scaleOf(inner, at[0]));
    });
  });
  Value scaledBias = generate({out}, [&](ImplicitLocOpBuilder &inner, ValueRange at) -> Value {
    return arith::MulFOp::create(inner, wide(inner, upBias, at), scaleOf(inner, at[0]));
  });
  positions = {0, 1, 2, 3};
  SmallVector<Value> results{pack(affineDown), pack(scaledUp), bias, scaledBias};
  if (form.normAfter) {
    positions.push_back(4);
    Value two = arith::ConstantIndexOp::create(b, 2);
    results.push_back(generate({two, out}, [&](ImplicitLocOpBuilder &inner, ValueRange at) -> Value {
      Value first = arith::CmpIOp::create(inner, arith::CmpIPredicate::eq, at[0],
                                          arith::ConstantIndexOp::create(inner, 0));
      return arith::SelectOp::create(inner, first, wide(inner, tensors.at("norm_after"), at[1]),
                                     wide(inner, tensors.at("norm_after_bias"), at[1]));
    }));
  }
  if (form.gate) {
    positions.push_back(5);
    Value one = arith::ConstantIndexOp::create(b, 1), zero = arith::ConstantIndexOp::create(b, 0);
    Value size = arith::AddIOp::create(b, in, one);
    results.push_back(generate({size}, [&](ImplicitLocOpBuilder &inner, ValueRange at) -> Value {
      Value inside = arith::CmpIOp::create(inner, arith::CmpIPredicate::slt, at[0], in);
      auto choose = scf::IfOp::create(inner, TypeRange{inner.getF64Type()}, inside, true);
      OpBuilder::InsertionGuard guard(inner);
      inner.setInsertionPointToStart(choose.thenBlock());
      scf::YieldOp::create(inner, wide(inner, tensors.at("gate"), {zero, at[0]}));
      inner.setInsertionPointToStart(choose.elseBlock());
      scf::YieldOp::create(inner, wide(inner, tensors.at("gate_bias"), zero));
      return choose.getResult(0);
    }));
  }
  return results;
}

SmallVector<Value> adapter::emitModuleEntries(ImplicitLocOpBuilder &b, const Bottleneck &form, int64_t block,
                                              const std::map<std::string, Value> &tensors, Value scale,
                                              std::vector<int> &positions) {
  return EntryWriter(b, block, tensors, scale).write(form, positions);
}
