// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// See DefinedForm.h. A packed weight is [in, out] by column blocks, a form sees [out, cols]. Bodies compute in f64 and
// are rounded where they leave the function.
#include "lib/Compile/DefinedForm.h"
#include "dialects/Adapter/IR/FormInstance.h"
#include "dialects/Kernel/IR/KernelOps.h"
#include "lib/Compile/FormSteps.h"
#include "lib/Compile/Generate.h"
#include "lib/Compile/NormalForm.h"
#include "lib/Compile/Passes.h"
#include "lib/Forms/FormLibrary.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
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

namespace {
class Writer {
public:
  Writer(ModuleOp module, const DefinedForm &use, Packing packing)
      : b(module.getLoc(), module.getContext()), module(module), use(use), packing(packing),
        signature(FormOp(use.form).getSignature()), symbols(signature.symbolNames()),
        readsWeight(readsWeightBeside(use)) {}

  // Starts a function over `parameters`, the tensors, scalars and symbols.
  void begin(StringRef name, ArrayRef<Type> parameters);
  void end(ValueRange results);

  Value materialize();
  SmallVector<Value> prepare(EntryShape &entry);
  void touch(bool restores);
  RankedTensorType parameterType();
  // What functions read of the base: the parameter, and the weight beside a bias.
  SmallVector<Type> baseTypes();
  MemRefType bufferType();

private:
  RankedTensorType f32(ArrayRef<int64_t> shape) { return RankedTensorType::get(shape, b.getF32Type()); }
  Type roleType(const forms::Role &role);
  // Tensors of a bias's functions are those of a weight [out, cols].
  SiteKind placeKind() { return use.ofBias ? SiteKind::Linear : use.kind; }
  Value argument(unsigned at) { return function.getArgument(at); }
  Value sizeOf(Value tensor, int64_t dim) { return b.createOrFold<tensor::DimOp>(tensor, dim); }
  Value symbol(StringRef name);
  Value apply();
  Value unpacked(Value base);
  Value weightSeen();
  FormInputs inputs();
  Value narrowed(Value tensor);
  Value transposedNarrow(Value tensor);
  Value pack(Value source, bool isTransposed, int64_t width);
  Value paddedUp(Value outer);
  std::optional<SmallVector<Value>> factored(EntryShape &entry);
  void addFactors(const NormalForm &form, EntryShape &entry, SmallVector<Value> &results);
  bool addSteps(const NormalForm &form, EntryShape &entry, SmallVector<Value> &results);
  SmallVector<Value> elements(Value places, Value values);
  Value differences(const PutElements &put);
  SmallVector<Value> storedPlace(B &at, ValueRange element);

  B b;
  ModuleOp module;
  const DefinedForm &use;
  Packing packing;
  forms::Signature signature;
  std::vector<std::string> symbols;
  bool readsWeight; // beside a bias
  func::FuncOp function;
  unsigned first = 0; // of the tensors among the arguments
};
} // namespace

//===----------------------------------------------------------------------===//
// Signature
//===----------------------------------------------------------------------===//

RankedTensorType Writer::parameterType() {
  if (use.kind == SiteKind::Linear)
    return f32({kAny, kAny, packing.block});
  if (use.kind == SiteKind::Embedding)
    return f32({kAny, kAny});
  return f32(SmallVector<int64_t>(use.rank, kAny));
}

SmallVector<Type> Writer::baseTypes() {
  SmallVector<Type> types{parameterType()};
  if (readsWeight)
    types.push_back(f32({kAny, kAny, packing.block}));
  return types;
}

MemRefType Writer::bufferType() {
  RankedTensorType type = parameterType();
  return MemRefType::get(type.getShape(), type.getElementType());
}

Type Writer::roleType(const forms::Role &role) {
  int64_t rank = role.layout == forms::RoleLayout::Plain ? role.dims.rank() : 2;
  if (role.layout == forms::RoleLayout::Coordinates && placeKind() == SiteKind::Vector)
    return RankedTensorType::get({1, kAny}, b.getI64Type());
  Type element = role.isIndex ? Type(b.getI64Type()) : Type(b.getF32Type());
  return RankedTensorType::get(SmallVector<int64_t>(rank, kAny), element);
}

void Writer::begin(StringRef name, ArrayRef<Type> parameters) {
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
  b.setInsertionPointToStart(function.addEntryBlock());
}

void Writer::end(ValueRange results) {
  func::ReturnOp::create(b, results);
  function.setFunctionType(b.getFunctionType(function.getArgumentTypes(), results.getTypes()));
}

Value Writer::symbol(StringRef name) {
  auto place = llvm::find(symbols, name.str());
  Value at = arith::ConstantIndexOp::create(b, place - symbols.begin());
  Value element = tensor::ExtractOp::create(b, function.getArguments().back(), at);
  return arith::IndexCastOp::create(b, b.getIndexType(), element);
}

FormInputs Writer::inputs() {
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
Value Writer::apply() {
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
// Whole parameters
//===----------------------------------------------------------------------===//

// A linear's weight [in, out].
Value Writer::unpacked(Value base) {
  RankedTensorType type = f32({kAny, kAny});
  Value init = tensor::EmptyOp::create(b, type, ValueRange{sizeOf(base, 1), symbol("out")});
  return kernel::UnpackOp::create(b, type, base, init).getResults().front();
}

// [out, cols] of f64.
Value Writer::weightSeen() {
  if (use.kind == SiteKind::Linear)
    return transposedMatrix(b, widened(b, unpacked(argument(0))));
  if (use.kind == SiteKind::Embedding)
    return transposedMatrix(b, widened(b, argument(0)));
  return {};
}

Value Writer::pack(Value source, bool isTransposed, int64_t width) {
  Value depth = sizeOf(source, isTransposed ? 1 : 0), columns = sizeOf(source, isTransposed ? 0 : 1);
  Value blocks = arith::CeilDivSIOp::create(b, columns, arith::ConstantIndexOp::create(b, width));
  RankedTensorType type = f32({kAny, kAny, width});
  Value init = tensor::EmptyOp::create(b, type, ValueRange{blocks, depth});
  return kernel::PackOp::create(b, type, source, init, isTransposed).getResults().front();
}

Value Writer::materialize() {
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

//===----------------------------------------------------------------------===//
// Entries
//===----------------------------------------------------------------------===//

Value Writer::narrowed(Value tensor) {
  SmallVector<Value> sizes;
  for (int64_t dim = 0, rank = cast<RankedTensorType>(tensor.getType()).getRank(); dim < rank; ++dim)
    sizes.push_back(sizeOf(tensor, dim));
  return generateTensor(b, sizes, b.getF32Type(), [&](B &inner, ValueRange at) -> Value {
    return arith::TruncFOp::create(inner, inner.getF32Type(), tensor::ExtractOp::create(inner, tensor, at));
  });
}

Value Writer::transposedNarrow(Value tensor) {
  return generateTensor(b, {sizeOf(tensor, 1), sizeOf(tensor, 0)}, b.getF32Type(),
                        [&](B &inner, ValueRange at) -> Value {
                          Value element = tensor::ExtractOp::create(inner, tensor, ValueRange{at[1], at[0]});
                          return arith::TruncFOp::create(inner, inner.getF32Type(), element);
                        });
}

// [out, rank] with zeros up to the padded rank.
Value Writer::paddedUp(Value outer) {
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
SmallVector<Value> Writer::elements(Value places, Value values) {
  Value two = arith::ConstantIndexOp::create(b, 2), one = arith::ConstantIndexOp::create(b, 1);
  Value turned =
      generateTensor(b, {two, sizeOf(values, 0)}, b.getI64Type(), [&](B &inner, ValueRange at) -> Value {
        Value row = arith::SubIOp::create(inner, one, at[0]);
        return tensor::ExtractOp::create(inner, places, ValueRange{row, at[1]});
      });
  return {turned, narrowed(values)};
}

// What is to be added to the stored weight so that elements become what is put there.
Value Writer::differences(const PutElements &put) {
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

void Writer::addFactors(const NormalForm &form, EntryShape &entry, SmallVector<Value> &results) {
  DenseFactors factors = stackedFactors(b, form.terms, symbol("cols"));
  llvm::append_values(entry.slots, 0, 1);
  if (use.kind == SiteKind::Linear)
    results.append({pack(narrowed(factors.inner), true, packing.rankBlock),
                    pack(paddedUp(factors.outer), true, packing.block)});
  else
    results.append({transposedNarrow(factors.inner), transposedNarrow(factors.outer)});
}

bool Writer::addSteps(const NormalForm &form, EntryShape &entry, SmallVector<Value> &results) {
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
std::optional<SmallVector<Value>> Writer::factored(EntryShape &entry) {
  FormInputs given = inputs();
  Value made = instantiateForm(b, use.form, given);
  bool isLinear = use.kind == SiteKind::Linear;
  if (auto columns = putColumns(made); columns && !isLinear) {
    entry.slots = {2, 3};
    return SmallVector<Value>{columns->first, transposedNarrow(columns->second)};
  }
  if (std::optional<PutElements> put = putElements(made); put && isLinear) {
    entry.slots = {5, 6};
    return elements(put->places, differences(*put));
  }
  std::optional<NormalForm> form = normalFormOf(b, made, [&] { return weightSeen(); });
  if (!form || (!isLinear && form->gain))
    return std::nullopt;
  if (auto few = addedElements(b, *form); few && isLinear) {
    entry.slots = {5, 6};
    return elements(few->first, few->second);
  }
  if (form->needsSteps() && (!isLinear || !packing.takesSteps || addsMatrix(*form)))
    return std::nullopt;
  SmallVector<Value> results;
  if (!form->terms.empty())
    addFactors(*form, entry, results);
  if (form->gain) {
    entry.slots.push_back(2);
    results.push_back(narrowed(form->gain));
  }
  if (form->needsSteps() && !addSteps(*form, entry, results))
    return std::nullopt;
  return results;
}

SmallVector<Value> Writer::prepare(EntryShape &entry) {
  bool isMatrix = !use.ofBias && (use.kind == SiteKind::Linear || use.kind == SiteKind::Embedding);
  if (isMatrix)
    if (std::optional<SmallVector<Value>> results = factored(entry); results && !results->empty())
      return *results;
  entry = {{4}, {}, 0};
  return {materialize()};
}

//===----------------------------------------------------------------------===//
// Few elements
//===----------------------------------------------------------------------===//

// Where (output, column) of a parameter stands as it is stored: a linear's in [out / block][in][out % block].
SmallVector<Value> Writer::storedPlace(B &at, ValueRange element) {
  if (use.kind == SiteKind::Vector)
    return {element[0]};
  if (use.kind == SiteKind::Embedding)
    return {element[1], element[0]};
  Value width = arith::ConstantIndexOp::create(at, packing.block);
  return {arith::DivUIOp::create(at, element[0], width), element[1],
          arith::RemUIOp::create(at, element[0], width)};
}

void Writer::touch(bool restores) {
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
  Writer writer(module, use, packing);
  writer.begin(name, writer.baseTypes());
  writer.end({writer.materialize()});
}

void adapter::addPrepare(ModuleOp module, const DefinedForm &use, Packing packing, StringRef name,
                         EntryShape &entry) {
  Writer writer(module, use, packing);
  writer.begin(name, writer.baseTypes());
  writer.end(writer.prepare(entry));
}

static bool readsWeight(const DefinedForm &use, unsigned result) {
  FormOp form = use.form;
  Value made = form.getBody().front().getTerminator()->getOperand(result);
  auto isGiven = [&](StringRef role) { return use.roles.count(role.str()) > 0; };
  return llvm::any_of(opsBehind(form, made, isGiven), [](Operation *op) { return isa<WeightOp>(op); });
}

bool adapter::readsWeightBeside(const DefinedForm &use) { return use.ofBias && readsWeight(use, 1); }

bool adapter::changesFew(const DefinedForm &use) {
  // In place there is no weight to read: it is what changes.
  if (use.ofBias || readsWeight(use, 0))
    return false;
  Operation *yielded = yieldedBy(use.form, [&](StringRef role) { return use.roles.count(role.str()) > 0; });
  auto add = dyn_cast_if_present<AddOp>(yielded);
  if (!add)
    return yielded && yielded->getNumResults() && putElements(yielded->getResult(0)).has_value();
  SmallVector<MapFactor> factors = factorsOf(add.getMap());
  return factors.size() == 1 && isa<GatherOp>(*factors[0].map);
}

void adapter::addTouch(ModuleOp module, const DefinedForm &use, Packing packing, StringRef name,
                       bool restores) {
  Writer writer(module, use, packing);
  writer.begin(name, {writer.bufferType(), writer.bufferType()});
  writer.touch(restores);
}
