// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// See Definitions.h. The same checks as the compiler's, on what the manifest says.
#include "lib/Runtime/Definitions.h"
#include "lib/Checkpoint/DType.h"
#include "lib/Checkpoint/LowRank.h"
#include "lib/Checkpoint/OwnForm.h"
#include <algorithm>
#include <set>

namespace adapter::runtime {

using checkpoint::Done;
using checkpoint::Error;
using checkpoint::Result;
using checkpoint::Status;
using checkpoint::Tensor;
using checkpoint::Update;

static Status readRoles(const artifact::FormDefinition &definition, forms::Signature &signature) {
  for (const artifact::FormRole &each : definition.roles()) {
    Result<forms::Role> role = forms::Role::parse(each.name(), each.dims());
    if (!role)
      return role.error();
    role->isIndex |= each.index();
    role->indexOf = each.index_of();
    role->isOptional = each.optional();
    role->variant = each.variant();
    role->isShared = each.shared();
    role->isPermutation = each.permutation();
    signature.roles.push_back(std::move(*role));
  }
  return Done{};
}

static Status readTexts(const artifact::FormDefinition &definition, forms::Signature &signature) {
  for (const std::string &text : definition.choices()) {
    auto choice = forms::parseChoice(text);
    if (!choice)
      return choice.error();
    signature.choices.push_back(std::move(*choice));
  }
  for (const std::string &text : definition.definitions()) {
    Result<forms::Definition> value = forms::Definition::parse(text);
    if (!value)
      return value.error();
    signature.definitions.push_back(std::move(*value));
  }
  for (const std::string &text : definition.requirements()) {
    Result<forms::Expression> requirement = forms::Expression::parse(text);
    if (!requirement)
      return Error{"'" + text + "' " + requirement.error().message};
    signature.requirements.push_back(std::move(*requirement));
  }
  return Done{};
}

std::string methodOf(const artifact::FormDefinition &definition) {
  return definition.name().substr(0, definition.name().find('.'));
}

const artifact::FormDefinition *anyDefinition(const artifact::Manifest &manifest, const std::string &method) {
  for (const artifact::FormDefinition &each : manifest.forms())
    if (methodOf(each) == method)
      return &each;
  return nullptr;
}

Result<forms::Signature> signatureOf(const artifact::FormDefinition &definition) {
  forms::Signature signature;
  signature.name = methodOf(definition);
  signature.kinds.assign(definition.kinds().begin(), definition.kinds().end());
  signature.sliceable.assign(definition.sliceable().begin(), definition.sliceable().end());
  for (const artifact::FormScalar &scalar : definition.scalars())
    signature.scalars.push_back(
        {scalar.name(), scalar.has_by_default() ? std::optional(scalar.by_default()) : std::nullopt});
  for (const artifact::FormInteger &integer : definition.integers())
    signature.attributes.push_back(
        {integer.name(), integer.has_by_default() ? std::optional(integer.by_default()) : std::nullopt});
  for (auto read : {readRoles, readTexts})
    if (Status status = read(definition, signature); !status)
      return Error{"form '" + signature.name + "': " + status.error().message};
  if (Status status = signature.verify(); !status)
    return Error{"form '" + signature.name + "': " + status.error().message};
  return signature;
}

forms::Place placeOf(const artifact::Site &site) {
  forms::Place place;
  place.out = site.rows();
  place.in = site.kind() == artifact::VECTOR ? 1 : site.columns();
  place.kind = "linear";
  if (site.kind() == artifact::EMBEDDING) {
    place.kind = "embedding";
    std::swap(place.out, place.in);
  } else if (site.kind() == artifact::VECTOR) {
    place.kind = "vector";
  } else if (site.taps_size()) {
    place.kind = "convolution";
    for (int64_t tap : site.taps()) {
      place.taps.push_back(tap);
      place.in /= std::max<int64_t>(tap, 1);
    }
  }
  place.storedTransposed = site.transposed();
  forms::Shape shape = place.stored();
  place.text = place.kind + " " + checkpoint::shapeText(shape) + " ('" + site.module() + "." +
               site.parameter_name() + "')";
  return place;
}

const artifact::FormDefinition *findDefinition(const artifact::Manifest &manifest, const std::string &form,
                                               const std::string &kind) {
  for (const std::string &name : {form + "." + kind, form})
    for (const artifact::FormDefinition &each : manifest.forms())
      if (each.name() == name)
        return &each;
  return nullptr;
}

static std::set<std::string> rolesOf(const Update &update) {
  std::set<std::string> roles;
  for (const auto &[role, tensor] : update.tensors)
    roles.insert(role);
  return roles;
}

Result<std::string> labelOf(const artifact::FormDefinition &definition, const Update &update) {
  Result<forms::Signature> signature = signatureOf(definition);
  if (!signature)
    return signature.error();
  return signature->label(rolesOf(update)) + (update.ofBias ? ":bias" : "");
}

Result<std::string> variantOf(const artifact::FormDefinition &definition, const Update &update) {
  Result<forms::Signature> signature = signatureOf(definition);
  if (!signature)
    return signature.error();
  return signature->variantName(rolesOf(update));
}

Status placeOwnForm(const artifact::Manifest &manifest, checkpoint::Adapter &adapter) {
  if (!adapter.own)
    return Done{};
  const std::set<std::string> wanted = adapter.own->forms();
  std::map<std::string, checkpoint::OwnDefinition> definitions;
  std::set<std::string> names;
  for (const artifact::FormDefinition &form : manifest.forms()) {
    std::string name = methodOf(form);
    names.insert(name);
    if (!wanted.count(name))
      continue;
    checkpoint::OwnDefinition &definition = definitions[name];
    definition.hash = form.hash();
    ++definition.kinds;
    for (const artifact::FormRole &role : form.roles())
      definition.roles.push_back({role.name(), role.shared()});
    for (const artifact::FormScalar &scalar : form.scalars())
      definition.scalars.push_back(
          {scalar.name(), scalar.has_by_default() ? std::optional(scalar.by_default()) : std::nullopt});
  }
  std::string known;
  for (const std::string &name : names)
    known += (known.empty() ? "" : ", ") + name;
  for (const std::string &form : wanted)
    if (!definitions.count(form))
      return Error{adapter.path + ": its form '" + form +
                   "' is not in this artifact; it has: " + (known.empty() ? "none" : known)};
  return checkpoint::placeOwnForm(adapter, definitions);
}

void addBiasUpdates(const artifact::Manifest &manifest, checkpoint::Adapter &adapter) {
  std::vector<Update> biases;
  for (const Update &update : adapter.updates) {
    const artifact::FormDefinition *definition = findDefinition(manifest, update.form, "linear");
    if (!definition || !definition->makes_bias() || update.ofBias)
      continue;
    biases.push_back(update);
    biases.back().parameter = "bias";
    biases.back().ofBias = true;
  }
  for (Update &bias : biases)
    adapter.updates.push_back(std::move(bias));
}

// Whole tensors of a linear as its site has them: which way a checkpoint stores them shows in their shape, where the
// sizes differ.
static void turnWhole(const forms::Signature &signature, const forms::Place &place,
                      std::map<std::string, Tensor> &tensors) {
  if (place.kind != "linear" || place.out == place.in)
    return;
  forms::Shape other = place.stored();
  std::reverse(other.begin(), other.end());
  for (auto &[role, tensor] : tensors) {
    const forms::Role *wanted = signature.role(role);
    if (wanted && wanted->layout == forms::RoleLayout::Weight && tensor.shape == other)
      tensor = checkpoint::transposedMatrix(tensor);
  }
}

Result<FormNumbers> bindDefinition(const artifact::FormDefinition &definition, const artifact::Site &site,
                                   const Update &update, std::map<std::string, Tensor> &tensors) {
  Result<forms::Signature> signature = signatureOf(definition);
  if (!signature)
    return signature.error();
  forms::Place place = placeOf(site);
  if (!update.ofBias)
    turnWhole(*signature, place, tensors);
  std::map<std::string, forms::Given> given;
  for (const auto &[role, tensor] : tensors)
    given[role] = {tensor.key, tensor.shape, checkpoint::isFloat(tensor.dtype)};
  Result<forms::Symbols> symbols = signature->bind(place, given, update.attributes);
  if (!symbols)
    return symbols.error();
  for (auto &[role, tensor] : tensors) {
    Result<Tensor> made = forms::deliver(*signature->role(role), place, *symbols, tensor, update.ofBias);
    if (!made)
      return made.error();
    tensor = std::move(*made);
  }
  FormNumbers numbers;
  for (const std::string &name : signature->symbolNames()) {
    if (!signature->sliceable.empty() && name == signature->sliceable.front())
      numbers.rank = static_cast<int64_t>(numbers.symbols.size());
    auto value = symbols->find(name);
    numbers.symbols.push_back(value == symbols->end() ? 0 : value->second);
  }
  for (const forms::Scalar &scalar : signature->scalars) {
    if (scalar.name == "scale")
      numbers.scale = static_cast<int64_t>(numbers.scalars.size());
    auto value = update.scalars.find(scalar.name);
    if (value == update.scalars.end() && !scalar.byDefault && scalar.name != "scale")
      return Error{"form '" + signature->name + "' needs the scalar '" + scalar.name + "'"};
    numbers.scalars.push_back(value == update.scalars.end() ? scalar.byDefault.value_or(1) : value->second);
  }
  return numbers;
}

} // namespace adapter::runtime
