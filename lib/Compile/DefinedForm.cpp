// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// See DefinedForm.h. A packed weight is [in, out] by column blocks, a form sees [out, cols]. Bodies compute in f64 and
// are rounded where they leave the function.
#include "lib/Compile/DefinedForm.h"
#include "lib/Compile/FormWriter.h"
#include "lib/Compile/Passes.h"
#include "lib/Forms/FormLibrary.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace adapter;
using B = ImplicitLocOpBuilder;

static constexpr int64_t kAny = ShapedType::kDynamic;

std::vector<std::string> adapter::roleOrder(const DefinedForm &use) {
  std::vector<std::string> order;
  for (auto role : FormOp(use.form).getRoles().getAsRange<RoleAttr>())
    if (use.roles.count(role.getName().str()))
      order.push_back(role.getName().str());
  return order;
}

//===----------------------------------------------------------------------===//
// Signature
//===----------------------------------------------------------------------===//

RankedTensorType FormWriter::parameterType() {
  if (use.kind == SiteKind::Linear)
    return f32({kAny, kAny, packing.block});
  if (use.kind == SiteKind::Embedding)
    return f32({kAny, kAny});
  return f32(SmallVector<int64_t>(use.rank, kAny));
}

SmallVector<Type> FormWriter::baseTypes() {
  SmallVector<Type> types{parameterType()};
  if (readsWeight)
    types.push_back(f32({kAny, kAny, packing.block}));
  return types;
}

MemRefType FormWriter::bufferType() {
  RankedTensorType type = parameterType();
  return MemRefType::get(type.getShape(), type.getElementType());
}

Type FormWriter::roleType(const forms::Role &role) {
  int64_t rank = role.layout == forms::RoleLayout::Plain ? role.dims.rank() : 2;
  if (role.layout == forms::RoleLayout::Coordinates && placeKind() == SiteKind::Vector)
    return RankedTensorType::get({1, kAny}, b.getI64Type());
  Type element = role.isIndex ? Type(b.getI64Type()) : Type(b.getF32Type());
  return RankedTensorType::get(SmallVector<int64_t>(rank, kAny), element);
}

void FormWriter::begin(StringRef name, ArrayRef<Type> parameters) {
  b.setInsertionPointToEnd(module.getBody());
  SmallVector<Type> types(parameters);
  first = types.size();
  for (const std::string &name : roleOrder(use))
    types.push_back(roleType(*signature.role(name)));
  types.push_back(RankedTensorType::get(signature.scalars.size(), b.getF64Type()));
  types.push_back(RankedTensorType::get(symbols.size(), b.getI64Type()));
  function = func::FuncOp::create(b, name, b.getFunctionType(types, {}));
  if (FormOp(use.form).getChecked())
    function->setAttr(checkedAttribute, FormOp(use.form).getSymNameAttr());
  if (Attribute trusted = FormOp(use.form)->getAttr(trustedLoopsAttribute))
    function->setAttr(trustedLoopsAttribute, trusted);
  b.setInsertionPointToStart(function.addEntryBlock());
}

void FormWriter::end(ValueRange results) {
  func::ReturnOp::create(b, results);
  function.setFunctionType(b.getFunctionType(function.getArgumentTypes(), results.getTypes()));
}

Value FormWriter::symbol(StringRef name) {
  auto place = llvm::find(symbols, name.str());
  Value at = arith::ConstantIndexOp::create(b, place - symbols.begin());
  Value element = tensor::ExtractOp::create(b, function.getArguments().back(), at);
  return arith::IndexCastOp::create(b, b.getIndexType(), element);
}

FormInputs FormWriter::inputs() {
  FormInputs inputs;
  inputs.kind = placeKind();
  inputs.storedTransposed = use.storedTransposed && !use.ofBias;
  inputs.delivered = true;
  for (auto [i, name] : llvm::enumerate(roleOrder(use)))
    inputs.roles[name] = argument(first + i);
  Value scalars = argument(function.getNumArguments() - 2);
  for (auto [i, scalar] : llvm::enumerate(signature.scalars)) {
    Value at = arith::ConstantIndexOp::create(b, i);
    inputs.scalars[scalar.name] = tensor::ExtractOp::create(b, scalars, at);
  }
  inputs.symbol = [this](StringRef name) { return symbol(name); };
  inputs.weight = [this] { return weightSeen(); };
  inputs.bias = [this] { return zeroTensor(b, symbol("out")); };
  return inputs;
}

// The update as an op, of the parameter as forms see it.
Value FormWriter::apply() {
  FormInputs given = inputs();
  SmallVector<Value> roles, scalars;
  SmallVector<StringRef> roleNames, scalarNames;
  for (auto &[name, value] : given.roles) {
    roleNames.push_back(signature.role(name)->name);
    roles.push_back(value);
  }
  for (const forms::Scalar &scalar : signature.scalars) {
    scalarNames.push_back(scalar.name);
    scalars.push_back(given.scalars[scalar.name]);
  }
  SmallVector<StringRef> symbolNames(symbols.begin(), symbols.end());
  auto flag = [&](bool value) { return value ? b.getUnitAttr() : UnitAttr(); };
  auto type = UpdateType::get(b.getContext(), f32(SmallVector<int64_t>(use.ofBias ? 1 : 2, kAny)));
  FlatSymbolRefAttr form = FormLibrary::get(b.getContext()).use(use.form, module);
  return ApplyOp::create(
      b, type, form, SiteKindAttr::get(b.getContext(), placeKind()), roles, b.getStrArrayAttr(roleNames),
      scalars, b.getStrArrayAttr(scalarNames), b.getStrArrayAttr(symbolNames),
      b.getDenseI64ArrayAttr(SmallVector<int64_t>(symbols.size(), 0)), function.getArguments().back(),
      readsWeight ? unpacked(argument(1)) : Value(), flag(use.ofBias),
      flag(use.storedTransposed && !use.ofBias), flag(readsWeight), b.getUnitAttr());
}

//===----------------------------------------------------------------------===//
// Few elements
//===----------------------------------------------------------------------===//

// Where (output, column) of a parameter stands as it is stored: a linear's in [out / block][in][out % block].
SmallVector<Value> FormWriter::storedPlace(B &at, ValueRange element) {
  if (use.kind == SiteKind::Vector)
    return {element[0]};
  if (use.kind == SiteKind::Embedding)
    return {element[1], element[0]};
  Value width = arith::ConstantIndexOp::create(at, packing.block);
  return {arith::DivUIOp::create(at, element[0], width), element[1],
          arith::RemUIOp::create(at, element[0], width)};
}

void FormWriter::touch(bool restores) {
  Value weights = argument(0), pristine = argument(1);
  auto op = apply().getDefiningOp<ApplyOp>();
  // Nothing is carried: the weights are memory.
  Value none = arith::ConstantIndexOp::create(b, 0);
  op.forEachTouched(b, ValueRange{none, none}, Value(), none,
                    [&](B &at, ValueRange element, Value carried, ElementUpdate change) {
                      SmallVector<Value> place = storedPlace(at, element);
                      Value next = memref::LoadOp::create(at, restores ? pristine : weights, place);
                      if (!restores) {
                        Value old = arith::ExtFOp::create(at, at.getF64Type(), next);
                        next = arith::TruncFOp::create(at, at.getF32Type(), change(at, old));
                      }
                      memref::StoreOp::create(at, next, weights, place);
                      return carried;
                    });
  end({});
  op.erase();
}

//===----------------------------------------------------------------------===//
// Functions
//===----------------------------------------------------------------------===//

void adapter::addMaterialize(ModuleOp module, const DefinedForm &use, Packing packing, StringRef name) {
  FormWriter writer(module, use, packing);
  writer.begin(name, writer.baseTypes());
  writer.end({writer.materialize()});
}

void adapter::addPrepare(ModuleOp module, const DefinedForm &use, Packing packing, StringRef name,
                         EntryShape &entry) {
  FormWriter writer(module, use, packing);
  writer.begin(name, writer.baseTypes());
  writer.end(writer.prepare(entry));
}

static bool dependsOnWeight(const DefinedForm &use, unsigned result) {
  return readsWeight(use.form, result, [&](StringRef role) { return use.roles.count(role.str()) > 0; });
}

bool adapter::readsWeightBeside(const DefinedForm &use) { return use.ofBias && dependsOnWeight(use, 1); }

bool adapter::changesFew(const DefinedForm &use) {
  // In place there is no weight to read: it is what changes.
  if (use.ofBias || dependsOnWeight(use, 0))
    return false;
  auto isGiven = [&](StringRef role) { return use.roles.count(role.str()) > 0; };
  Operation *yielded = yieldedBy(use.form, isGiven);
  auto add = dyn_cast_if_present<AddOp>(yielded);
  if (!add)
    return yielded && yielded->getNumResults() && putElements(yielded->getResult(0)).has_value();
  SmallVector<MapFactor> factors = factorsOf(chosenValue(use.form, add.getMap(), isGiven));
  return factors.size() == 1 && factors[0].map && isa<GatherOp>(*factors[0].map);
}

void adapter::addTouch(ModuleOp module, const DefinedForm &use, Packing packing, StringRef name,
                       bool restores) {
  FormWriter writer(module, use, packing);
  writer.begin(name, {writer.bufferType(), writer.bufferType()});
  writer.touch(restores);
}
