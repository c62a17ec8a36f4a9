// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A form at a parameter: fit by its signature, then adapter.apply and the way back to the graph's layout.
#include "lib/Attach/FormUse.h"
#include "dialects/Adapter/IR/FormInstance.h"
#include "lib/Checkpoint/DType.h"
#include "lib/Checkpoint/OwnForm.h"
#include "lib/Forms/FormLibrary.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "llvm/ADT/StringExtras.h"

using namespace mlir;
using namespace adapter;
using checkpoint::Error;
using checkpoint::Result;
using checkpoint::Update;

// What attaching still knows by what its strings mean; code is made of their definitions.
static bool isNamedByStrings(StringRef name) {
  return llvm::is_contained({"lora", "sparse", "overwrite", "rows", "replace", "add"}, name);
}

forms::Place adapter::placeOf(const ModuleParameter &parameter) {
  forms::Place place;
  place.kind = stringifySiteKind(parameter.kind).str();
  ArrayRef<int64_t> shape = parameter.shape;
  place.text = place.kind + " " + checkpoint::shapeText({shape.begin(), shape.end()}) + " (" +
               parameter.nodeName() + ")";
  place.storedTransposed = parameter.storedTransposed;
  place.out = shape[0];
  place.in = shape.size() > 1 ? shape[1] : 1;
  if (parameter.kind == SiteKind::Embedding)
    std::swap(place.out, place.in);
  if (parameter.kind == SiteKind::Convolution) {
    place.taps.assign(shape.begin() + 2, shape.end());
    place.groups = parameter.groups();
    place.in *= place.groups;
  }
  return place;
}

FormOp adapter::definitionOf(const Update &update, const ModuleParameter &parameter) {
  // A bias that the graph lacks has no value, but readers.
  if (isNamedByStrings(update.form) || parameter.uses.empty())
    return {};
  FormLibrary &library = FormLibrary::get(onnxir::NodeOp(parameter.uses.front().node).getContext());
  // The bias is of a module with a weight of one of the form's kinds.
  return library.find(update.form, update.ofBias ? "linear" : stringifySiteKind(parameter.kind));
}

Result<forms::Symbols> adapter::bindSymbols(FormOp form, const Update &update,
                                            const ModuleParameter &parameter) {
  std::map<std::string, forms::Given> given;
  for (const auto &[role, tensor] : update.tensors)
    given[role] = {tensor.key, tensor.shape, checkpoint::isFloat(tensor.dtype)};
  return form.getSignature().bind(placeOf(parameter), given, update.attributes);
}

std::string adapter::whyFormUnfit(FormOp form, const Update &update, const ModuleParameter &parameter) {
  Result<forms::Symbols> symbols = bindSymbols(form, update, parameter);
  if (!symbols)
    return symbols.error().message;
  forms::Signature signature = form.getSignature();
  forms::Place place = placeOf(parameter);
  for (const auto &[role, tensor] : update.tensors)
    if (Result<checkpoint::Tensor> made = forms::withinLimits(*signature.role(role), place, *symbols, tensor);
        !made)
      return made.error().message;
  return "";
}

static UpdateType updateOf(OpBuilder &b, ArrayRef<int64_t> shape, Type element) {
  return UpdateType::get(b.getContext(), RankedTensorType::get(shape, element));
}

// From [out, cols] to what the graph has.
static Value inGraphLayout(ImplicitLocOpBuilder &b, Value update, const ModuleParameter &parameter) {
  UpdateType graph = updateTypeOf(const_cast<ParameterOp &>(parameter.value).getType());
  switch (parameter.kind) {
  case SiteKind::Convolution:
    return ReshapeOp::create(b, graph, update, /*vector=*/false);
  case SiteKind::Vector:
    return ReshapeOp::create(b, graph, update, /*vector=*/true);
  default:
    bool isTurned = parameter.transposed != (parameter.kind == SiteKind::Embedding);
    return isTurned ? TransposeOp::create(b, graph, update, ArrayRef<int64_t>{1, 0}).getUpdate() : update;
  }
}

Value adapter::buildApply(ImplicitLocOpBuilder &b, FormOp form, const Update &update,
                          const ModuleParameter &parameter, const ModuleParameter *weight, double scale,
                          llvm::function_ref<Value(StringRef, checkpoint::Tensor)> tensor) {
  forms::Signature signature = form.getSignature();
  const ModuleParameter &place = weight ? *weight : parameter;
  forms::Symbols symbols = *bindSymbols(form, update, place);
  SmallVector<Value> roles, scalars;
  SmallVector<StringRef> roleNames, scalarNames, symbolNames;
  SmallVector<int64_t> values;
  for (const auto &[role, given] : update.tensors) {
    roleNames.push_back(role);
    roles.push_back(
        tensor(role, *forms::withinLimits(*signature.role(role), placeOf(place), symbols, given)));
  }
  for (const forms::Scalar &scalar : signature.scalars) {
    auto given = update.scalars.find(scalar.name);
    bool isScale = scalar.name == "scale";
    if (!isScale && given == update.scalars.end())
      continue;
    double value = isScale ? update.scale * scale : given->second;
    scalarNames.push_back(scalar.name);
    scalars.push_back(arith::ConstantOp::create(b, b.getF64FloatAttr(value)));
  }
  for (const auto &[name, value] : symbols) {
    symbolNames.push_back(name);
    values.push_back(value);
  }
  Type element =
      cast<RankedTensorType>(const_cast<ParameterOp &>(parameter.value).getType()).getElementType();
  UpdateType type = weight ? updateOf(b, {symbols["out"]}, element)
                           : updateOf(b, {symbols["out"], symbols["cols"]}, element);
  Operation *table = SymbolTable::getNearestSymbolTable(b.getBlock()->getParentOp());
  FlatSymbolRefAttr symbol = FormLibrary::get(b.getContext()).use(form, table);
  auto flag = [&](bool value) { return value ? b.getUnitAttr() : UnitAttr(); };
  bool readsWeight = weight && biasReadsWeight(form, update);
  Value applied = ApplyOp::create(
      b, type, symbol, SiteKindAttr::get(b.getContext(), place.kind), roles, b.getStrArrayAttr(roleNames),
      scalars, b.getStrArrayAttr(scalarNames), b.getStrArrayAttr(symbolNames), b.getDenseI64ArrayAttr(values),
      /*symbol_values=*/Value(), readsWeight ? Value(ParameterOp(weight->value)) : Value(), flag(weight),
      flag(place.storedTransposed), flag(readsWeight && place.transposed));
  return weight ? applied : inGraphLayout(b, applied, parameter);
}

// The name in front of the variants, and they.
static std::pair<StringRef, std::set<std::string>> splitName(StringRef form) {
  SmallVector<StringRef> parts;
  form.split(parts, '+');
  std::set<std::string> variants;
  for (StringRef variant : ArrayRef(parts).drop_front())
    variants.insert(variant.str());
  return {parts.front(), std::move(variants)};
}

static bool isBias(const ModuleParameter &parameter) {
  return parameter.kind == SiteKind::Vector && parameter.parameter == "bias";
}

// The definition that a slot's form has at a parameter, or at the weight beside it.
static FormOp definitionAt(StringRef form, const ModuleParameter &parameter) {
  StringRef name = splitName(form).first;
  if (isNamedByStrings(name) || parameter.uses.empty())
    return {};
  FormLibrary &library = FormLibrary::get(onnxir::NodeOp(parameter.uses.front().node).getContext());
  FormOp own = library.find(name, stringifySiteKind(parameter.kind));
  // A bias that the graph lacks has room for what is made beside the weight alone.
  if (parameter.value && own && own.getSignature().actsOn(stringifySiteKind(parameter.kind).str()))
    return own;
  FormOp beside = library.find(name, "linear");
  bool makes = isBias(parameter) && beside && beside.makesBias();
  return makes && (parameter.value || !beside.keepsNoBias()) ? beside : FormOp();
}

bool adapter::isDefinition(StringRef form, MLIRContext *context) {
  StringRef name = splitName(form).first;
  return !isNamedByStrings(name) && FormLibrary::get(context).has(name);
}

bool adapter::hasRoomFor(StringRef form, const ModuleParameter &parameter) {
  return definitionAt(form, parameter) && !(parameter.kind == SiteKind::Convolution && parameter.grouped());
}

std::string adapter::labelOf(const Update &update, const ModuleParameter &parameter) {
  FormOp form = definitionOf(update, parameter);
  if (!form)
    return update.form;
  std::set<std::string> roles;
  for (const auto &[role, tensor] : update.tensors)
    roles.insert(role);
  forms::Signature signature = form.getSignature();
  signature.name = update.form;
  return signature.label(roles) + (update.ofBias ? ":bias" : "");
}

std::vector<std::string> adapter::labelsOf(StringRef form, const ModuleParameter &parameter) {
  FormOp definition = definitionAt(form, parameter);
  if (!definition)
    return {form.str()};
  auto [name, variants] = splitName(form);
  forms::Signature signature = definition.getSignature();
  signature.name = name.str();
  bool ofBias = isBias(parameter) && !signature.actsOn("vector");
  std::vector<std::string> labels;
  for (const std::set<std::string> &roles : signature.roleSets(variants))
    labels.push_back(signature.label(roles) + (ofBias ? ":bias" : ""));
  return labels;
}

Update adapter::delivered(const Update &update, const ModuleParameter &weight) {
  Update result = update;
  FormOp form = definitionOf(update, weight);
  Result<forms::Symbols> symbols = form ? bindSymbols(form, update, weight) : Error{"no definition"};
  if (!symbols)
    return result;
  forms::Signature signature = form.getSignature();
  forms::Place place = placeOf(weight);
  for (auto &[role, tensor] : result.tensors) {
    const forms::Role &wanted = *signature.role(role);
    Result<checkpoint::Tensor> made = forms::deliver(wanted, place, *symbols, tensor, /*besideBias=*/false);
    if (made)
      tensor = std::move(*made);
  }
  return result;
}

bool adapter::biasReadsWeight(FormOp form, const Update &update) {
  return form.makesBias() &&
         llvm::any_of(opsBehind(form, form.getBody().front().getTerminator()->getOperand(1),
                                [&](StringRef role) { return update.tensors.count(role.str()) > 0; }),
                      [](Operation *op) { return isa<WeightOp>(op); });
}

bool adapter::keepsNoBias(const Update &update, MLIRContext *context) {
  FormOp form = FormLibrary::get(context).find(update.form, "linear");
  return form && form.keepsNoBias();
}

checkpoint::Status adapter::placeOwnForm(checkpoint::Adapter &adapter, MLIRContext *context) {
  if (!adapter.own)
    return checkpoint::Done{};
  FormLibrary &library = FormLibrary::get(context);
  checkpoint::OwnDefinition wanted;
  std::set<std::string> names;
  for (FormOp form : library.all()) {
    StringRef name = form.getSymName().split('.').first;
    names.insert(name.str());
    if (name != adapter.own->form)
      continue;
    wanted.hash = library.hashOf(form);
    ++wanted.kinds;
    forms::Signature signature = form.getSignature();
    for (const forms::Role &role : signature.roles)
      wanted.roles.push_back({role.name, role.isShared});
    for (const forms::Scalar &scalar : signature.scalars)
      wanted.scalars.push_back({scalar.name, scalar.byDefault});
  }
  if (wanted.hash.empty())
    return Error{adapter.path + ": its form '" + adapter.own->form +
                 "' is not defined; give the definition with --forms FILE. Defined are " +
                 llvm::join(names, ", ")};
  return checkpoint::placeOwnForm(adapter, wanted);
}

void adapter::addBiasUpdates(checkpoint::Adapter &adapter, MLIRContext *context) {
  FormLibrary &library = FormLibrary::get(context);
  std::vector<Update> biases;
  for (const Update &update : adapter.updates) {
    FormOp form = library.find(update.form, "linear");
    if (!form || !form.makesBias())
      continue;
    biases.push_back(update);
    biases.back().parameter = "bias";
    biases.back().ofBias = true;
  }
  llvm::append_range(adapter.updates, std::move(biases));
}
