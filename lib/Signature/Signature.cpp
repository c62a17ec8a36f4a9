// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Places, and whether a signature is consistent in itself.
#include "lib/Signature/Signature.h"
#include "lib/Checkpoint/Text.h"
#include <algorithm>
#include <cmath>

namespace adapter::forms {

using checkpoint::Done;
using checkpoint::Error;
using checkpoint::quotable;

int64_t Place::columns() const {
  int64_t columns = in / std::max<int64_t>(groups, 1);
  for (int64_t tap : taps)
    columns *= tap;
  return columns;
}

Shape Place::stored() const {
  if (kind == "vector")
    return {out};
  if (kind == "embedding")
    return {in, out};
  if (storedTransposed)
    return {in, out};
  Shape shape{out, in / std::max<int64_t>(groups, 1)};
  shape.insert(shape.end(), taps.begin(), taps.end());
  return shape;
}

Symbols Place::symbols() const {
  Symbols symbols{{"out", out}, {"in", in}, {"cols", columns()}, {"groups", groups}};
  if (kind == "embedding") {
    symbols["vocab"] = in;
    symbols["dim"] = out;
  }
  return symbols;
}

const Role *Signature::role(const std::string &wanted) const {
  for (const Role &role : roles)
    if (role.name == wanted)
      return &role;
  return nullptr;
}

bool Signature::actsOn(const std::string &kind) const {
  return std::find(kinds.begin(), kinds.end(), kind) != kinds.end();
}

std::string Signature::variantName(const std::set<std::string> &given) const {
  std::string text = name;
  for (const Role &role : roles)
    if (!role.variant.empty() && given.count(role.name))
      text += "+" + role.variant;
  return text;
}

std::string Signature::label(const std::set<std::string> &given) const {
  std::string others;
  bool hasOthers = false;
  for (const Role &role : roles) {
    if (!role.isOptional || !role.variant.empty())
      continue;
    hasOthers = true;
    if (given.count(role.name))
      others += (others.empty() ? "" : ",") + role.name;
  }
  return variantName(given) + (hasOthers ? "(" + others + ")" : "");
}

std::vector<std::set<std::string>> Signature::roleSets(const std::set<std::string> &variants) const {
  std::vector<std::set<std::string>> sets{{}};
  std::set<std::string> chosen; // by a choice
  for (const auto &choice : choices) {
    std::vector<std::set<std::string>> more;
    for (const std::set<std::string> &set : sets)
      for (const std::set<std::string> &group : choice) {
        more.push_back(set);
        more.back().insert(group.begin(), group.end());
        chosen.insert(group.begin(), group.end());
      }
    sets = std::move(more);
  }
  for (const Role &role : roles) {
    if (chosen.count(role.name))
      continue;
    bool isGiven = !role.isOptional || (!role.variant.empty() && variants.count(role.variant));
    size_t count = sets.size();
    for (size_t i = 0; i < count; ++i) {
      // Those that no variant names may be there or not.
      if (role.isOptional && role.variant.empty())
        sets.push_back(sets[i]);
      if (isGiven || (role.isOptional && role.variant.empty()))
        sets[i].insert(role.name);
    }
  }
  return sets;
}

std::vector<std::string> Signature::symbolNames() const {
  std::set<std::string> names{"cols", "dim", "groups", "in", "out", "vocab"};
  for (const Role &role : roles) {
    std::set<std::string> read = role.dims.reads();
    names.insert(read.begin(), read.end());
    if (role.layout == RoleLayout::Coordinates)
      names.insert("n");
  }
  for (const IntegerAttribute &attribute : attributes)
    names.insert(attribute.name);
  for (const Definition &definition : definitions)
    names.insert(definition.symbol);
  return {names.begin(), names.end()};
}

namespace {
// Symbols in the order in which they become known.
class SymbolCheck {
public:
  explicit SymbolCheck(const Signature &signature) : signature(signature) {
    for (const char *name : {"out", "in", "cols", "groups", "vocab", "dim"})
      known.insert(name);
  }
  Status run();

private:
  Status declare(const std::string &what, const std::string &name) {
    if (!isSymbolName(name))
      return Error{what + " '" + name + "' is not a name: letters, digits and underscores"};
    if (!known.insert(name).second)
      return Error{what + " '" + name + "' has the name of another symbol"};
    return Done{};
  }
  Status requireKnown(const std::string &what, const std::set<std::string> &names) const {
    for (const std::string &name : names)
      if (!known.count(name))
        return Error{what + " reads '" + name + "', which nothing binds: a size of a tensor that is '" +
                     name + "' alone, an attribute or a definition must"};
    return Done{};
  }
  void bindFreeSymbols();

  const Signature &signature;
  std::set<std::string> known;
};
} // namespace

// A size that is a symbol alone binds it.
void SymbolCheck::bindFreeSymbols() {
  for (const Role &role : signature.roles)
    for (const Dims::List &list : role.dims.alternatives())
      for (const Dims::Size &size : list)
        if (size.expressions.size() == 1)
          if (std::optional<std::string> name = size.expressions[0].symbol())
            known.insert(*name);
}

Status SymbolCheck::run() {
  if (signature.kinds.empty())
    return Error{"acts on no kind of parameter"};
  std::set<std::string> names;
  for (const Role &role : signature.roles) {
    if (role.name.empty() || role.name.find_first_of(" \t\n,;:+|()/\\\"'") != std::string::npos)
      return Error{"has a role '" + quotable(role.name) + "', which is not a name of tensors in a file"};
    if (!names.insert(role.name).second)
      return Error{"says the role '" + role.name + "' twice"};
  }
  for (const Scalar &scalar : signature.scalars) {
    if (scalar.name.empty())
      return Error{"has a scalar without a name"};
    if (!names.insert(scalar.name).second)
      return Error{"says the scalar '" + scalar.name + "' twice, or as a role too"};
    if (scalar.byDefault && !std::isfinite(*scalar.byDefault))
      return Error{"the scalar '" + scalar.name + "' has a default that is not a finite number"};
  }
  for (const IntegerAttribute &attribute : signature.attributes)
    if (Status status = declare("the attribute", attribute.name); !status)
      return status;
  for (const auto &choice : signature.choices)
    for (const std::set<std::string> &group : choice)
      for (const std::string &name : group)
        if (const Role *role = signature.role(name); !role || !role->isOptional)
          return Error{"has a choice of '" + name + "', which is not an optional tensor of it"};
  std::set<std::string> defined;
  for (const Definition &definition : signature.definitions)
    if (!defined.insert(definition.symbol).second)
      return Error{"defines '" + definition.symbol + "' twice"};
  for (const std::string &name : defined)
    if (Status status = declare("the definition of", name); !status)
      return status;
  bindFreeSymbols();
  std::set<std::string> later = defined;
  for (const Definition &definition : signature.definitions) {
    std::string what = "the definition of '" + definition.symbol + "'";
    if (Status status = requireKnown(what, definition.value.reads()); !status)
      return status;
    for (const std::string &name : definition.value.reads())
      if (later.count(name))
        return Error{what + " reads '" + name + "', which is " +
                     (name == definition.symbol ? "itself" : "defined behind it")};
    later.erase(definition.symbol);
  }
  for (const std::string &name : signature.sliceable)
    if (!known.count(name))
      return Error{"says that '" + quotable(name) + "' is sliceable, which nothing binds"};
  for (const Role &role : signature.roles) {
    if (Status status = requireKnown("the role '" + role.name + "'", role.dims.reads()); !status)
      return status;
    if (!role.indexOf.empty())
      if (Status status = requireKnown("the role '" + role.name + "'", {role.indexOf}); !status)
        return status;
  }
  for (const Expression &requirement : signature.requirements)
    if (Status status = requireKnown("the requirement '" + requirement.text() + "'", requirement.reads());
        !status)
      return status;
  return Done{};
}

Status Signature::verify() const { return SymbolCheck(*this).run(); }

} // namespace adapter::forms
