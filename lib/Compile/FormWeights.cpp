// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Functions that make whole parameters. Where the form's normal form is a product of thin matrices and a scaling, the
// weight is changed as it is stored, in f32 and in one go; else it is unpacked and computed as the form's body says, in f64.
#include "dialects/Kernel/IR/KernelOps.h"
#include "lib/Compile/FormWriter.h"
#include "lib/Compile/Generate.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;
using namespace adapter;
using B = ImplicitLocOpBuilder;

static constexpr int64_t kAny = ShapedType::kDynamic;

// A linear's weight [in, out].
Value FormWriter::unpacked(Value base) {
  RankedTensorType type = f32({kAny, kAny});
  Value init = tensor::EmptyOp::create(b, type, ValueRange{sizeOf(base, 1), symbol("out")});
  return kernel::UnpackOp::create(b, type, base, init).getResults().front();
}

// [out, cols] of f64.
Value FormWriter::weightSeen() {
  if (use.kind == SiteKind::Linear)
    return transposedMatrix(b, widened(b, unpacked(argument(0))));
  if (use.kind == SiteKind::Embedding)
    return transposedMatrix(b, widened(b, argument(0)));
  return {};
}

Value FormWriter::pack(Value source, bool isTransposed, int64_t width) {
  Value depth = sizeOf(source, isTransposed ? 1 : 0), columns = sizeOf(source, isTransposed ? 0 : 1);
  Value blocks = arith::CeilDivSIOp::create(b, columns, arith::ConstantIndexOp::create(b, width));
  RankedTensorType type = f32({kAny, kAny, width});
  Value init = tensor::EmptyOp::create(b, type, ValueRange{blocks, depth});
  return kernel::PackOp::create(b, type, source, init, isTransposed).getResults().front();
}

// Nothing where the update is of another kind.
Value FormWriter::updatedThinly() {
  bool isLinear = use.kind == SiteKind::Linear;
  if (use.ofBias || (!isLinear && use.kind != SiteKind::Embedding))
    return {};
  FormInputs given = inputs();
  Value made = instantiateForm(b, use.form, given);
  std::optional<NormalForm> form = normalFormOf(b, made);
  if (!form || form->needsSteps() || (form->gain ? !isLinear : form->terms.empty()))
    return {};
  Value down, up, gain;
  if (!form->terms.empty()) {
    DenseFactors factors = stackedFactors(b, form->terms, symbol("cols"));
    down = transposedNarrow(factors.inner);
    up = pack(narrowed(factors.outer), true, packing.block);
  }
  if (form->gain) {
    Value one = arith::ConstantIndexOp::create(b, 1);
    Value column = generateTensor(b, {sizeOf(form->gain, 0), one}, b.getF32Type(),
                                  [&](B &inner, ValueRange at) -> Value {
                                    Value element = tensor::ExtractOp::create(inner, form->gain, at.front());
                                    return arith::TruncFOp::create(inner, inner.getF32Type(), element);
                                  });
    gain = pack(column, true, packing.block);
  }
  Value weight = argument(0);
  SmallVector<Value> sizes;
  RankedTensorType type = parameterType();
  for (int64_t dim = 0; dim < type.getRank(); ++dim)
    if (type.isDynamicDim(dim))
      sizes.push_back(sizeOf(weight, dim));
  Value init = tensor::EmptyOp::create(b, type, sizes);
  return kernel::UpdateWeightOp::create(b, type, weight, down, up, gain, init, form->unit)
      .getResults()
      .front();
}

Value FormWriter::materialize() {
  Block *block = b.getInsertionBlock();
  Operation *before = block->empty() ? nullptr : &block->back();
  if (Value updated = updatedThinly())
    return updated;
  // What was written to find out would be computed, if it is checked.
  while (!block->empty() && &block->back() != before)
    block->back().erase();
  bool isLinear = use.kind == SiteKind::Linear && !use.ofBias;
  Value weight = isLinear ? unpacked(argument(0)) : argument(0), update = apply();
  auto type = cast<RankedTensorType>(weight.getType());
  UpdateType seen = updateTypeOf(type);
  if (!use.ofBias)
    update = use.kind == SiteKind::Vector
                 ? ReshapeOp::create(b, seen, update, /*vector=*/true).getUpdate()
                 : TransposeOp::create(b, seen, update, ArrayRef<int64_t>{1, 0}).getUpdate();
  Value updated = MaterializeOp::create(b, type, weight, update);
  return isLinear ? pack(updated, false, packing.block) : updated;
}
