// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// See SparseForm.h. What is touched, and what it becomes, comes from the update op alone (forEachTouched).
#include "lib/Compile/SparseForm.h"
#include "lib/Compile/Generate.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace adapter;

static constexpr int64_t kAny = ShapedType::kDynamic;

Value adapter::makeSparseUpdate(ImplicitLocOpBuilder &b, const FormKey &key, RankedTensorType target,
                                Value indices, Value values, Value scale) {
  auto type = UpdateType::get(b.getContext(), target);
  SparseMode mode = key.form == "sparse" ? SparseMode::Add : SparseMode::Overwrite;
  Value update = SparseOp::create(b, type, mode, SparseSupport::Coordinates, indices, values);
  update = ScaleOp::create(b, type, update, scale);
  if (key.kind != SiteKind::Linear || key.storedTransposed)
    return update;
  return TransposeOp::create(b, type, update, ArrayRef<int64_t>{1, 0});
}

// Where an element of the parameter stands as it is stored: a linear's in [out / block][in][out % block].
static SmallVector<Value> storedPlace(ImplicitLocOpBuilder &b, const FormKey &key, int64_t block,
                                      ValueRange element) {
  if (key.kind != SiteKind::Linear)
    return llvm::to_vector(element);
  Value width = arith::ConstantIndexOp::create(b, block);
  return {arith::DivUIOp::create(b, element[1], width), element[0],
          arith::RemUIOp::create(b, element[1], width)};
}

static SmallVector<int64_t> storedShape(const FormKey &key, int64_t block) {
  if (key.kind == SiteKind::Linear)
    return {kAny, kAny, block};
  return SmallVector<int64_t>(key.kind == SiteKind::Embedding ? 2 : 1, kAny);
}

static void addTouchFunction(ModuleOp module, const FormKey &key, int64_t block, StringRef name,
                             bool restores) {
  ImplicitLocOpBuilder b(module.getLoc(), module.getContext());
  b.setInsertionPointToEnd(module.getBody());
  auto buffer = MemRefType::get(storedShape(key, block), b.getF32Type());
  int64_t dims = key.kind == SiteKind::Vector ? 1 : 2;
  SmallVector<Type> types{buffer, buffer, RankedTensorType::get({dims, kAny}, b.getI64Type()),
                          RankedTensorType::get({kAny}, b.getF32Type()),
                          RankedTensorType::get({}, b.getF64Type())};
  auto function = func::FuncOp::create(b, name, b.getFunctionType(types, {}));
  b.setInsertionPointToStart(function.addEntryBlock());
  Value weights = function.getArgument(0), pristine = function.getArgument(1);
  Value scale = tensor::ExtractOp::create(b, function.getArgument(4), ValueRange());
  auto target = RankedTensorType::get(SmallVector<int64_t>(dims, kAny), b.getF32Type());
  Value update = makeSparseUpdate(b, key, target, function.getArgument(2), function.getArgument(3), scale);
  // Nothing is carried: the weights are memory. Sizes matter to bitmasks alone, which come as coordinates.
  Value none = arith::ConstantIndexOp::create(b, 0);
  SmallVector<Value> sizes(dims, none);
  auto op = update.getDefiningOp<UpdateOpInterface>();
  op.forEachTouched(b, sizes, Value(), none,
                    [&](ImplicitLocOpBuilder &at, ValueRange element, Value carried, ElementUpdate change) {
                      SmallVector<Value> place = storedPlace(at, key, block, element);
                      Value next = memref::LoadOp::create(at, restores ? pristine : weights, place);
                      if (!restores) {
                        Value old = arith::ExtFOp::create(at, at.getF64Type(), next);
                        next = arith::TruncFOp::create(at, at.getF32Type(), change(at, old));
                      }
                      memref::StoreOp::create(at, next, weights, place);
                      return carried;
                    });
  func::ReturnOp::create(b);
  while (op) { // the updates have said what they do
    Operation *source = op->getOperand(0).getDefiningOp();
    op->erase();
    op = dyn_cast_if_present<UpdateOpInterface>(source);
  }
}

void adapter::addTouchFunctions(ModuleOp module, const FormKey &key, int64_t block, StringRef touch,
                                StringRef restore) {
  addTouchFunction(module, key, block, touch, false);
  addTouchFunction(module, key, block, restore, true);
}

std::pair<Value, Value> adapter::emitSparseEntries(ImplicitLocOpBuilder &b, const FormKey &key, int64_t block,
                                                   Value base, Value indices, Value values, Value scale) {
  Value count = tensor::DimOp::create(b, values, 0), two = arith::ConstantIndexOp::create(b, 2);
  // The checkpoint has (output, input), or the reverse.
  auto coordinate = [&](ImplicitLocOpBuilder &at, Value which, Value entry) -> Value {
    Value one = arith::ConstantIndexOp::create(at, 1);
    Value row = key.storedTransposed ? which : Value(arith::SubIOp::create(at, one, which));
    return tensor::ExtractOp::create(at, indices, ValueRange{row, entry});
  };
  Value places =
      generateTensor(b, {two, count}, b.getI64Type(), [&](ImplicitLocOpBuilder &at, ValueRange ivs) {
        return coordinate(at, ivs[0], ivs[1]);
      });
  Value added =
      generateTensor(b, {count}, b.getF32Type(), [&](ImplicitLocOpBuilder &at, ValueRange ivs) -> Value {
        Value value = tensor::ExtractOp::create(at, values, ivs);
        value = arith::ExtFOp::create(at, at.getF64Type(), value);
        if (key.form != "sparse") {
          SmallVector<Value> element;
          for (int64_t which = 0; which < 2; ++which) {
            Value index = coordinate(at, arith::ConstantIndexOp::create(at, which), ivs[0]);
            element.push_back(arith::IndexCastOp::create(at, at.getIndexType(), index));
          }
          Value old = tensor::ExtractOp::create(at, base, storedPlace(at, key, block, element));
          value = arith::SubFOp::create(at, value, arith::ExtFOp::create(at, at.getF64Type(), old));
        }
        return arith::TruncFOp::create(at, at.getF32Type(), arith::MulFOp::create(at, value, scale));
      });
  return {places, added};
}
