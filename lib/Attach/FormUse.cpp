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

static forms::Place placeOf(const ModuleParameter &parameter) {
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

// A bias that the graph lacks has no value, but readers; null where it has neither.
static MLIRContext *contextOf(const ModuleParameter &parameter) {
  if (parameter.value)
    return ParameterOp(parameter.value).getContext();
  return parameter.uses.empty() ? nullptr : onnxir::NodeOp(parameter.uses.front().node).getContext();
}

FormOp adapter::definitionOf(const Update &update, const ModuleParameter &parameter) {
  MLIRContext *context = contextOf(parameter);
  if (!context)
    return {};
  // The bias is of a module with a weight of one of the form's kinds.
  return FormLibrary::get(context).find(update.form,
                                        update.ofBias ? "linear" : stringifySiteKind(parameter.kind));
}

FormTraits adapter::traitsOf(const Update &update, const ModuleParameter &parameter) {
  FormTraits traits = traitsWith(definitionOf(update, parameter), rolesOf(update));
  if (!update.ofBias)
    return traits;
  // The others are of what the form makes of the weight.
  FormTraits ofBias;
  ofBias.scales = traits.scales;
  return ofBias;
}

std::set<std::string> adapter::rolesOf(const Update &update) {
  std::set<std::string> roles;
  for (const auto &[role, tensor] : update.tensors)
    if (!update.masked)
      roles.insert(role);
    else if (role.rfind("mask.", 0) != 0)
      roles.insert(role.substr(0, role.find('.')));
  return roles;
}

std::map<std::string, forms::Given> adapter::givenBy(const Update &update) {
  std::map<std::string, forms::Given> given;
  for (const std::string &role : rolesOf(update)) {
    auto tensor = update.tensors.find(role);
    if (tensor == update.tensors.end())
      tensor = update.tensors.find(role + ".0");
    given[role] = {tensor->second.key, tensor->second.shape, checkpoint::isFloat(tensor->second.dtype)};
  }
  return given;
}

forms::Place adapter::placeOf(const ModuleParameter &parameter, const Update &update) {
  forms::Place place = ::placeOf(parameter);
  FormOp form = definitionOf(update, parameter);
  if (!form || parameter.kind != SiteKind::Linear || place.out == place.in)
    return place;
  for (const forms::Role &role : form.getSignature().roles)
    if (auto tensor = update.tensors.find(role.name);
        role.layout == forms::RoleLayout::Weight && tensor != update.tensors.end())
      place.storedTransposed = tensor->second.shape == forms::Shape{place.in, place.out};
  return place;
}

Result<forms::Symbols> adapter::bindSymbols(FormOp form, const Update &update,
                                            const ModuleParameter &parameter) {
  return form.getSignature().bind(placeOf(parameter, update), givenBy(update), update.attributes);
}

std::string adapter::whyFormUnfit(FormOp form, const Update &update, const ModuleParameter &parameter) {
  Result<forms::Symbols> symbols = bindSymbols(form, update, parameter);
  if (!symbols)
    return symbols.error().message;
  forms::Signature signature = form.getSignature();
  forms::Place place = placeOf(parameter, update);
  for (const auto &[role, tensor] : update.tensors) {
    const forms::Role *wanted = signature.role(role);
    if (!wanted)
      continue; // a mask, or what is behind one
    if (Result<checkpoint::Tensor> made = forms::withinLimits(*wanted, place, *symbols, tensor); !made)
      return made.error().message;
  }
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
                          llvm::function_ref<Value(StringRef, const checkpoint::Tensor *)> tensor) {
  forms::Signature signature = form.getSignature();
  const ModuleParameter &place = weight ? *weight : parameter;
  forms::Symbols symbols = *bindSymbols(form, update, place);
  SmallVector<Value> roles, scalars;
  SmallVector<StringRef> roleNames, scalarNames, symbolNames;
  SmallVector<int64_t> values;
  std::set<std::string> given = rolesOf(update);
  for (const std::string &role : given) {
    roleNames.push_back(role);
    auto own = update.tensors.find(role);
    if (own == update.tensors.end()) {
      roles.push_back(tensor(role, nullptr));
      continue;
    }
    Result<checkpoint::Tensor> contents =
        forms::withinLimits(*signature.role(role), placeOf(place, update), symbols, own->second);
    roles.push_back(tensor(role, &*contents));
  }
  for (const forms::Scalar &scalar : signature.scalars) {
    auto own = update.scalars.find(scalar.name);
    bool isScale = scalar.name == "scale";
    if (!isScale && own == update.scalars.end())
      continue;
    double value = isScale ? update.scale * scale : own->second;
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
      flag(placeOf(place, update).storedTransposed), flag(readsWeight && place.transposed));
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

FormOp adapter::definitionAt(StringRef form, const ModuleParameter &parameter) {
  StringRef name = splitName(form).first;
  MLIRContext *context = contextOf(parameter);
  if (!context)
    return {};
  FormLibrary &library = FormLibrary::get(context);
  FormOp own = library.find(name, stringifySiteKind(parameter.kind));
  // A bias that the graph lacks has room for what is made beside the weight alone.
  bool isThere = own && (parameter.value || traitsOf(own).isWhole());
  if (isThere && own.getSignature().actsOn(stringifySiteKind(parameter.kind).str()))
    return own;
  FormOp beside = library.find(name, "linear");
  bool makes = isBias(parameter) && beside && beside.makesBias();
  return makes && (parameter.value || !beside.keepsNoBias()) ? beside : FormOp();
}

FormTraits adapter::traitsAt(StringRef form, const ModuleParameter &parameter) {
  return traitsOf(definitionAt(form, parameter), splitName(form).second);
}

checkpoint::Status adapter::complete(Update &update, const ModuleParameter &parameter) {
  forms::Place place = ::placeOf(parameter);
  return update.complete(place.out, place.columns());
}

std::string adapter::labelOf(const Update &update, const ModuleParameter &parameter) {
  FormOp form = definitionOf(update, parameter);
  if (!form)
    return update.formText();
  forms::Signature signature = form.getSignature();
  signature.name = update.form;
  return signature.label(rolesOf(update)) + (update.ofBias ? ":bias" : "");
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
  forms::Place place = placeOf(weight, update);
  for (auto &[role, tensor] : result.tensors) {
    const forms::Role &wanted = *signature.role(role);
    Result<checkpoint::Tensor> made = forms::deliver(wanted, place, *symbols, tensor, /*besideBias=*/false);
    if (made)
      tensor = std::move(*made);
  }
  return result;
}

bool adapter::biasReadsWeight(FormOp form, const Update &update) {
  std::set<std::string> roles = rolesOf(update);
  return form.makesBias() &&
         readsWeight(form, /*result=*/1, [&](StringRef role) { return roles.count(role.str()) > 0; });
}

Result<std::optional<Update>> adapter::flattened(const Update &update, const ModuleParameter &parameter) {
  auto tensor = update.tensors.find(traitsOf(update, parameter).places);
  ParameterOp value = parameter.value;
  if (parameter.kind != SiteKind::Vector || !value || tensor == update.tensors.end())
    return std::optional<Update>();
  ArrayRef<int64_t> shape = cast<RankedTensorType>(value.getType()).getShape();
  const checkpoint::Tensor &given = tensor->second;
  bool isFlat = llvm::count_if(shape, [](int64_t size) { return size != 1; }) <= 1;
  if (given.shape.size() != 2 || (given.shape[0] == 1 && isFlat))
    return std::optional<Update>();
  int64_t rank = shape.size(), count = given.shape[1];
  if (given.shape[0] != rank)
    return Error{"'" + given.key + "' has shape " + checkpoint::shapeText(given.shape) + ", expected [" +
                 std::to_string(rank) + ", n] for the graph's tensor " +
                 checkpoint::shapeText({shape.begin(), shape.end()}) + " (" + parameter.nodeName() + ")"};
  Result<checkpoint::Tensor> wide = checkpoint::toI64(given);
  if (!wide)
    return wide.error();
  const auto *index = reinterpret_cast<const int64_t *>(wide->data);
  checkpoint::Tensor flat = checkpoint::allocateTensor(checkpoint::DType::I64, {1, count});
  flat.key = given.key;
  auto *to = reinterpret_cast<int64_t *>(checkpoint::mutableData(flat));
  for (int64_t k = 0; k < count; ++k) {
    to[k] = 0;
    for (int64_t axis = 0; axis < rank; ++axis) {
      int64_t at = index[axis * count + k];
      if (at < 0 || at >= shape[axis])
        return Error{"'" + given.key + "' holds the index " + std::to_string(at) + ", but axis " +
                     std::to_string(axis) + " of the graph's tensor (" + parameter.nodeName() + ") has " +
                     std::to_string(shape[axis])};
      to[k] = to[k] * shape[axis] + at;
    }
  }
  Update result = update;
  result.tensors[tensor->first] = std::move(flat);
  return std::optional<Update>(std::move(result));
}

bool adapter::keepsNoBias(const Update &update, MLIRContext *context) {
  FormOp form = FormLibrary::get(context).find(update.form, "linear");
  return form && form.keepsNoBias();
}

checkpoint::Status adapter::placeOwnForm(checkpoint::Adapter &adapter, MLIRContext *context) {
  if (!adapter.own)
    return checkpoint::Done{};
  FormLibrary &library = FormLibrary::get(context);
  const std::set<std::string> wanted = adapter.own->forms();
  std::map<std::string, checkpoint::OwnDefinition> definitions;
  std::set<std::string> names;
  for (FormOp form : library.all()) {
    std::string name = methodOf(form).str();
    names.insert(name);
    if (!wanted.count(name))
      continue;
    checkpoint::OwnDefinition &definition = definitions[name];
    definition.hash = library.hashOf(form);
    ++definition.kinds;
    forms::Signature signature = form.getSignature();
    for (const forms::Role &role : signature.roles)
      definition.roles.push_back({role.name, role.isShared});
    for (const forms::Scalar &scalar : signature.scalars)
      definition.scalars.push_back({scalar.name, scalar.byDefault});
  }
  for (const std::string &form : wanted)
    if (!definitions.count(form))
      return Error{adapter.path + ": its form '" + form +
                   "' is not defined; give the definition with --forms FILE. Defined are " +
                   llvm::join(names, ", ")};
  return checkpoint::placeOwnForm(adapter, definitions);
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
