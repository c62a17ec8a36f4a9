// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Symbols from shapes. A symbol that is a size alone is bound by the first tensor that has it; all else is computed
// and compared, so that every message can say what was expected and why.
#include "lib/Signature/Signature.h"
#include <algorithm>

namespace adapter::forms {

using checkpoint::Done;
using checkpoint::Error;

static std::string listText(const Shape &shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i)
    text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

// The axes that "cols" stands for in a checkpoint's tensor.
static Shape columnAxes(const Place &place) {
  Shape axes{place.in / std::max<int64_t>(place.groups, 1)};
  axes.insert(axes.end(), place.taps.begin(), place.taps.end());
  return axes;
}

namespace {
class Binder {
public:
  Binder(const Signature &signature, const Place &place, const std::map<std::string, Given> &tensors)
      : signature(signature), place(place), tensors(tensors), symbols(place.symbols()) {
    for (const Definition &definition : signature.definitions)
      defined.insert(definition.symbol);
  }
  Result<Symbols> run(const std::map<std::string, int64_t> &attributes);

private:
  // A size that could not be compared when its tensor was looked at.
  struct Pending {
    const Role *role;
    const Given *tensor;
    const Dims::Size *size;
    int64_t value;
  };
  Status takeAttributes(const std::map<std::string, int64_t> &given);
  Status checkNames() const;
  Status checkChoices(const std::string &present) const;
  Status matchRole(const Role &role, const Given &tensor);
  bool matchList(const Role &role, const Given &tensor, const Dims::List &list, const Shape &columns);
  bool matchSize(const Role &role, const Given &tensor, const Dims::Size &size, int64_t value);
  Status computeDefinitions();
  Status comparePending() const;
  Error mismatch(const Role &role, const Given &tensor) const;
  std::string expected(const Dims::List &list, std::set<std::string> &used) const;

  const Signature &signature;
  const Place &place;
  const std::map<std::string, Given> &tensors;
  Symbols symbols;
  std::set<std::string> defined;
  std::vector<Pending> pending;
};
} // namespace

Status Binder::takeAttributes(const std::map<std::string, int64_t> &given) {
  for (const auto &pair : given) {
    bool known = std::any_of(signature.attributes.begin(), signature.attributes.end(),
                             [&](const IntegerAttribute &each) { return each.name == pair.first; });
    if (!known)
      return Error{"form '" + signature.name + "' has no attribute '" + pair.first + "'"};
  }
  for (const IntegerAttribute &attribute : signature.attributes) {
    auto value = given.find(attribute.name);
    if (value == given.end() && !attribute.byDefault)
      return Error{"form '" + signature.name + "' needs the attribute '" + attribute.name + "'"};
    symbols[attribute.name] = value == given.end() ? *attribute.byDefault : value->second;
  }
  return Done{};
}

Status Binder::checkNames() const {
  std::string present, known;
  for (const auto &[name, tensor] : tensors) {
    if (!signature.role(name)) {
      for (const Role &role : signature.roles)
        known += (known.empty() ? "" : ", ") + role.name;
      return Error{"'" + tensor.key + "' has no place: form '" + signature.name + "' has the tensors " +
                   known};
    }
    present = present.empty() ? tensor.key : present;
  }
  for (const Role &role : signature.roles)
    if (!role.isOptional && !tensors.count(role.name))
      return Error{"the tensor '" + role.name + "' is missing: form '" + signature.name + "' needs it" +
                   (present.empty() ? "" : " beside '" + present + "'")};
  return checkChoices(present);
}

Status Binder::checkChoices(const std::string &present) const {
  for (const auto &choice : signature.choices) {
    std::string texts;
    std::set<std::string> given;
    for (const std::set<std::string> &group : choice) {
      std::string names;
      for (const std::string &name : group) {
        if (tensors.count(name))
          given.insert(name);
        names += (names.empty() ? "" : " and ") + name;
      }
      texts += (texts.empty() ? "" : ", or ") + (names.empty() ? "none of them" : names);
    }
    if (!std::count(choice.begin(), choice.end(), given))
      return Error{"form '" + signature.name + "' needs either " + texts +
                   (present.empty() ? "" : " beside '" + present + "'")};
  }
  return Done{};
}

bool Binder::matchSize(const Role &role, const Given &tensor, const Dims::Size &size, int64_t value) {
  bool later = false;
  for (const Expression &expression : size.expressions) {
    std::optional<std::string> name = expression.symbol();
    if (name && size.expressions.size() == 1 && !symbols.count(*name) && !defined.count(*name)) {
      symbols[*name] = value;
      return true;
    }
    bool isKnown = std::all_of(expression.reads().begin(), expression.reads().end(),
                               [&](const std::string &each) { return symbols.count(each) > 0; });
    if (!isKnown) {
      later = true;
      continue;
    }
    Result<int64_t> wanted = expression.evaluate(symbols);
    if (wanted && *wanted == value)
      return true;
  }
  if (later)
    pending.push_back({&role, &tensor, &size, value});
  return later;
}

bool Binder::matchList(const Role &role, const Given &tensor, const Dims::List &list, const Shape &columns) {
  // "1.." takes what the others leave.
  size_t fixed = 0;
  for (const Dims::Size &size : list)
    fixed += size.kind == Dims::Size::Columns ? columns.size() : size.kind == Dims::Size::Expressions;
  if (tensor.shape.size() < fixed)
    return false;
  size_t spare = tensor.shape.size() - fixed, axis = 0;
  for (const Dims::Size &size : list) {
    if (size.kind == Dims::Size::Columns) {
      for (int64_t wanted : columns)
        if (tensor.shape[axis++] != wanted)
          return false;
    } else if (size.kind == Dims::Size::Ones) {
      for (; spare; --spare)
        if (tensor.shape[axis++] != 1)
          return false;
    } else if (size.kind == Dims::Size::Rest) {
      int64_t product = 1;
      if (!spare)
        return false;
      for (; spare; --spare)
        product *= tensor.shape[axis++];
      if (!matchSize(role, tensor, size, product))
        return false;
    } else if (!matchSize(role, tensor, size, tensor.shape[axis++])) {
      return false;
    }
  }
  return spare == 0;
}

// The sizes of an alternative with what they come to.
std::string Binder::expected(const Dims::List &list, std::set<std::string> &used) const {
  std::string text, values;
  bool differs = false;
  for (const Dims::Size &size : list) {
    std::string word, value;
    if (size.kind == Dims::Size::Ones) {
      word = value = "1..";
    } else if (size.kind == Dims::Size::Columns) {
      word = "cols";
      for (int64_t axis : columnAxes(place))
        value += (value.empty() ? "" : ", ") + std::to_string(axis);
    }
    std::string more = size.kind == Dims::Size::Rest ? ".." : "";
    for (const Expression &expression : size.expressions) {
      Result<int64_t> known = expression.evaluate(symbols);
      word += (word.empty() ? "" : " | ") + expression.text() + more;
      value += (value.empty() ? "" : " | ") + (known ? std::to_string(*known) : expression.text()) + more;
      for (const std::string &name : expression.reads())
        used.insert(name);
    }
    differs |= word != value;
    text += (text.empty() ? "" : ", ") + word;
    values += (values.empty() ? "" : ", ") + value;
  }
  return "[" + text + "]" + (differs ? " = [" + values + "]" : "");
}

Error Binder::mismatch(const Role &role, const Given &tensor) const {
  std::string text = "'" + tensor.key + "' has shape " + listText(tensor.shape) + ", expected ";
  if (role.layout == RoleLayout::Weight)
    return Error{text + listText(place.stored()) + " for the graph's " + place.text};
  if (role.layout == RoleLayout::Coordinates)
    return Error{text + "[" + std::to_string(place.stored().size()) + ", n] for the graph's " + place.text};
  std::set<std::string> used, known;
  for (const Dims::List &list : role.dims.alternatives()) {
    std::string one = expected(list, used);
    // Alternatives may come to the same here.
    if (known.insert(one.substr(one.find(" = ") + 1)).second)
      text += (known.size() == 1 ? "" : " or ") + one;
  }
  // What defined symbols are made of is said too.
  for (size_t round = 0; round < signature.definitions.size(); ++round)
    for (const Definition &definition : signature.definitions)
      if (used.count(definition.symbol))
        used.insert(definition.value.reads().begin(), definition.value.reads().end());
  std::string with;
  for (const std::string &name : used)
    if (auto value = symbols.find(name); value != symbols.end())
      with += (with.empty() ? " with " : ", ") + name + " = " + std::to_string(value->second);
  return Error{text + with + " for the graph's " + place.text};
}

Status Binder::matchRole(const Role &role, const Given &tensor) {
  if (tensor.isFloat == role.isIndex)
    return Error{"'" + tensor.key + "' holds " + (tensor.isFloat ? "floats" : "integers") + ", expected " +
                 (role.isIndex ? "integers" : "floats")};
  if (role.layout == RoleLayout::Weight) {
    bool isVector = place.kind == "vector";
    int64_t elements = 1;
    for (int64_t size : tensor.shape)
      elements *= size;
    bool isFlat = place.kind == "convolution" && tensor.shape == Shape{place.out, place.columns()};
    return tensor.shape == place.stored() || isFlat || (isVector && elements == place.out)
               ? Status(Done{})
               : mismatch(role, tensor);
  }
  if (role.layout == RoleLayout::Coordinates) {
    bool isFlat = place.kind == "convolution" && tensor.shape.size() == 2 && tensor.shape[0] == 2;
    if (!isFlat &&
        (tensor.shape.size() != 2 || tensor.shape[0] != static_cast<int64_t>(place.stored().size())))
      return mismatch(role, tensor);
    auto [bound, isNew] = symbols.emplace("n", tensor.shape[1]);
    return isNew || bound->second == tensor.shape[1] ? Status(Done{}) : mismatch(role, tensor);
  }
  // "cols" are the axes of a checkpoint's weight, or all of them in one: so an artifact keeps them.
  std::vector<Shape> columns{columnAxes(place)};
  if (!place.taps.empty())
    columns.push_back({place.columns()});
  for (const Dims::List &list : role.dims.alternatives())
    for (const Shape &axes : columns) {
      Symbols before = symbols;
      size_t waiting = pending.size();
      if (matchList(role, tensor, list, axes))
        return Done{};
      symbols = std::move(before);
      pending.resize(waiting);
    }
  return mismatch(role, tensor);
}

Status Binder::computeDefinitions() {
  for (const Definition &definition : signature.definitions) {
    Result<int64_t> value = definition.value.evaluate(symbols);
    if (!value)
      return Error{"form '" + signature.name + "': " + definition.symbol + " = " + definition.value.text() +
                   ": " + value.error().message + " for the graph's " + place.text};
    symbols[definition.symbol] = *value;
  }
  return Done{};
}

Status Binder::comparePending() const {
  for (const Pending &each : pending) {
    bool fits = std::any_of(each.size->expressions.begin(), each.size->expressions.end(),
                            [&](const Expression &expression) {
                              Result<int64_t> wanted = expression.evaluate(symbols);
                              return wanted && *wanted == each.value;
                            });
    if (!fits)
      return mismatch(*each.role, *each.tensor);
  }
  return Done{};
}

Result<Symbols> Binder::run(const std::map<std::string, int64_t> &attributes) {
  if (!signature.actsOn(place.kind))
    return Error{"form '" + signature.name + "' does not act on " + place.kind + "s: the graph's " +
                 place.text};
  if (Status status = takeAttributes(attributes); !status)
    return status.error();
  if (Status status = checkNames(); !status)
    return status.error();
  for (const Role &role : signature.roles)
    if (auto tensor = tensors.find(role.name); tensor != tensors.end())
      if (Status status = matchRole(role, tensor->second); !status)
        return status.error();
  if (Status status = computeDefinitions(); !status)
    return status.error();
  if (Status status = comparePending(); !status)
    return status.error();
  for (const Expression &requirement : signature.requirements) {
    Result<int64_t> holds = requirement.evaluate(symbols);
    if (holds && *holds)
      continue;
    std::string with;
    for (const std::string &name : requirement.reads())
      if (auto value = symbols.find(name); value != symbols.end())
        with += (with.empty() ? " with " : ", ") + name + " = " + std::to_string(value->second);
    return Error{"form '" + signature.name + "' requires " + requirement.text() + "," + with +
                 (holds ? "" : ": " + holds.error().message) + ", at the graph's " + place.text};
  }
  return symbols;
}

Result<Symbols> Signature::bind(const Place &place, const std::map<std::string, Given> &tensors,
                                const std::map<std::string, int64_t> &attributes) const {
  return Binder(*this, place, tensors).run(attributes);
}

} // namespace adapter::forms
