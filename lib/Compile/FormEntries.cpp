// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Functions that make the tensors of an adapter_entry_v1.
#include "lib/Compile/FormSteps.h"
#include "lib/Compile/FormWriter.h"
#include "lib/Compile/Generate.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace adapter;
using B = ImplicitLocOpBuilder;

Value FormWriter::narrowed(Value tensor) {
  SmallVector<Value> sizes;
  for (int64_t dim = 0, rank = cast<RankedTensorType>(tensor.getType()).getRank(); dim < rank; ++dim)
    sizes.push_back(sizeOf(tensor, dim));
  return generateTensor(b, sizes, b.getF32Type(), [&](B &inner, ValueRange at) -> Value {
    return arith::TruncFOp::create(inner, inner.getF32Type(), tensor::ExtractOp::create(inner, tensor, at));
  });
}

Value FormWriter::transposedNarrow(Value tensor) {
  return generateTensor(b, {sizeOf(tensor, 1), sizeOf(tensor, 0)}, b.getF32Type(),
                        [&](B &inner, ValueRange at) -> Value {
                          Value element = tensor::ExtractOp::create(inner, tensor, ValueRange{at[1], at[0]});
                          return arith::TruncFOp::create(inner, inner.getF32Type(), element);
                        });
}

// [out, rank] with zeros up to the padded rank.
Value FormWriter::paddedUp(Value outer) {
  Value rank = sizeOf(outer, 1), width = arith::ConstantIndexOp::create(b, packing.rankBlock);
  Value padded = arith::MulIOp::create(b, arith::CeilDivSIOp::create(b, rank, width), width);
  return generateTensor(b, {sizeOf(outer, 0), padded}, b.getF32Type(), [&](B &inner, ValueRange at) -> Value {
    Value inside = arith::CmpIOp::create(inner, arith::CmpIPredicate::slt, at[1], rank);
    auto choose = scf::IfOp::create(inner, TypeRange{inner.getF32Type()}, inside, true);
    OpBuilder::InsertionGuard guard(inner);
    inner.setInsertionPointToStart(choose.thenBlock());
    Value element = tensor::ExtractOp::create(inner, outer, at);
    scf::YieldOp::create(inner, arith::TruncFOp::create(inner, inner.getF32Type(), element).getResult());
    inner.setInsertionPointToStart(choose.elseBlock());
    scf::YieldOp::create(inner, arith::ConstantOp::create(inner, inner.getF32FloatAttr(0)).getResult());
    return choose.getResult(0);
  });
}

// (output, column) as (input, output), and the values.
SmallVector<Value> FormWriter::elements(Value places, Value values) {
  Value two = arith::ConstantIndexOp::create(b, 2), one = arith::ConstantIndexOp::create(b, 1);
  Value turned =
      generateTensor(b, {two, sizeOf(values, 0)}, b.getI64Type(), [&](B &inner, ValueRange at) -> Value {
        Value row = arith::SubIOp::create(inner, one, at[0]);
        return tensor::ExtractOp::create(inner, places, ValueRange{row, at[1]});
      });
  return {turned, narrowed(values)};
}

// What is to be added to the stored weight so that elements become what is put there.
Value FormWriter::differences(const PutElements &put) {
  return generateTensor(b, sizeOf(put.values, 0), b.getF64Type(), [&](B &inner, ValueRange at) -> Value {
    SmallVector<Value> element;
    for (int64_t axis : {0, 1}) {
      Value which = arith::ConstantIndexOp::create(inner, axis);
      Value index = tensor::ExtractOp::create(inner, put.places, ValueRange{which, at[0]});
      element.push_back(arith::IndexCastOp::create(inner, inner.getIndexType(), index));
    }
    Value old = tensor::ExtractOp::create(inner, argument(0), storedPlace(inner, element));
    Value way = arith::SubFOp::create(inner, tensor::ExtractOp::create(inner, put.values, at),
                                      arith::ExtFOp::create(inner, inner.getF64Type(), old));
    return put.share ? arith::MulFOp::create(inner, way, put.share).getResult() : way;
  });
}

void FormWriter::addFactors(const NormalForm &form, EntryShape &entry, SmallVector<Value> &results) {
  DenseFactors factors = stackedFactors(b, form.terms, symbol("cols"));
  llvm::append_values(entry.positions, 0, 1);
  if (use.kind == SiteKind::Linear)
    results.append({pack(narrowed(factors.inner), true, packing.rankBlock),
                    pack(paddedUp(factors.outer), true, packing.block)});
  else
    results.append({transposedNarrow(factors.inner), transposedNarrow(factors.outer)});
}

bool FormWriter::addSteps(const NormalForm &form, EntryShape &entry, SmallVector<Value> &results) {
  std::optional<FormSteps> made = stepsOf(b, form, symbol("out"), symbol("cols"));
  if (!made)
    return false;
  entry.steps = std::move(made->steps);
  entry.stepsBefore = made->before;
  for (Value tensor : made->tensors)
    results.push_back(getElementTypeOrSelf(tensor).isF64() ? narrowed(tensor) : tensor);
  results.push_back(made->extents);
  return true;
}

// A whole matrix that is added is as much as a whole weight.
static bool addsMatrix(const NormalForm &form) {
  return llvm::any_of(form.after, [](const AfterMap &each) {
    ArrayRef<MapFactor> factors = each.term.factors;
    return !each.isLeft && factors.size() == 1 && isa<MatrixOp>(*factors.front().map);
  });
}

// The outputs of prepare where the update has a factored shape.
std::optional<SmallVector<Value>> FormWriter::factored(EntryShape &entry) {
  FormInputs given = inputs();
  Value made = instantiateForm(b, use.form, given);
  bool isLinear = use.kind == SiteKind::Linear;
  if (auto columns = putColumns(made); columns && !isLinear) {
    entry.positions = {2, 3};
    return SmallVector<Value>{columns->first, transposedNarrow(columns->second)};
  }
  if (std::optional<PutElements> put = putElements(made); put && isLinear) {
    entry.positions = {5, 6};
    return elements(put->places, differences(*put));
  }
  std::optional<NormalForm> form = normalFormOf(b, made, [&] { return weightSeen(); });
  if (!form || (!isLinear && form->gain))
    return std::nullopt;
  if (auto few = addedElements(b, *form); few && isLinear) {
    entry.positions = {5, 6};
    return elements(few->first, few->second);
  }
  if (form->needsSteps() && (!isLinear || !packing.takesSteps || addsMatrix(*form)))
    return std::nullopt;
  SmallVector<Value> results;
  if (!form->terms.empty())
    addFactors(*form, entry, results);
  if (form->gain) {
    entry.positions.push_back(2);
    results.push_back(narrowed(form->gain));
  }
  if (form->needsSteps() && !addSteps(*form, entry, results))
    return std::nullopt;
  return results;
}

SmallVector<Value> FormWriter::prepare(EntryShape &entry) {
  bool isMatrix = !use.ofBias && (use.kind == SiteKind::Linear || use.kind == SiteKind::Embedding);
  if (isMatrix)
    if (std::optional<SmallVector<Value>> results = factored(entry); results && !results->empty())
      return *results;
  entry = {{4}, {}, 0};
  return {materialize()};
}
