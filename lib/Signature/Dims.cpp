// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Texts of dims and of definitions.
#include "lib/Checkpoint/Text.h"
#include "lib/Signature/Signature.h"
#include <algorithm>

namespace adapter::forms {

using checkpoint::Error;
using checkpoint::quotable;

static std::string_view trimmed(std::string_view text) {
  while (!text.empty() && text.front() == ' ')
    text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ')
    text.remove_suffix(1);
  return text;
}

// The parts between separators that stand in no parentheses.
static std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  size_t begin = 0;
  int depth = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    depth += (text[i] == '(') - (text[i] == ')');
    if (text[i] != separator || depth)
      continue;
    parts.push_back(trimmed(text.substr(begin, i - begin)));
    begin = i + 1;
  }
  parts.push_back(trimmed(text.substr(begin)));
  return parts;
}

static Result<Dims::Size> parseSize(std::string_view text) {
  Dims::Size size;
  if (text == "1..")
    size.kind = Dims::Size::Ones;
  else if (text == "cols")
    size.kind = Dims::Size::Columns;
  if (size.kind != Dims::Size::Expressions)
    return size;
  if (checkpoint::endsWith(text, "..")) {
    size.kind = Dims::Size::Rest;
    text.remove_suffix(2);
  }
  for (std::string_view part : split(text, '|')) {
    Result<Expression> expression = Expression::parse(part);
    if (!expression)
      return Error{"'" + quotable(part) + "' " + expression.error().message};
    size.expressions.push_back(std::move(*expression));
  }
  return size;
}

Result<Dims> Dims::parse(std::string_view text) {
  Dims dims;
  dims.source = std::string(text);
  for (std::string_view alternative : split(text, ';')) {
    List list;
    for (std::string_view part : split(alternative, ',')) {
      Result<Size> size = parseSize(part);
      if (!size)
        return Error{"of the sizes '" + quotable(dims.source) + "', " + size.error().message};
      list.push_back(std::move(*size));
    }
    auto isMany = [](const Size &size) { return size.kind == Size::Ones || size.kind == Size::Rest; };
    if (std::count_if(list.begin(), list.end(), isMany) > 1)
      return Error{"the sizes '" + quotable(dims.source) + "' have two that take any number of axes"};
    auto hasChoice = [](const Size &size) { return size.expressions.size() > 1; };
    if (std::count_if(list.begin(), list.end(), hasChoice) > 1)
      return Error{"the sizes '" + quotable(dims.source) + "' have two sizes with a choice ('|')"};
    dims.lists.push_back(std::move(list));
  }
  return dims;
}

size_t Dims::rank() const {
  if (lists.empty())
    return 0;
  return std::count_if(lists.front().begin(), lists.front().end(),
                       [](const Size &size) { return size.kind != Size::Ones; });
}

std::set<std::string> Dims::reads() const {
  std::set<std::string> names;
  for (const List &list : lists)
    for (const Size &size : list)
      for (const Expression &expression : size.expressions)
        names.insert(expression.reads().begin(), expression.reads().end());
  return names;
}

Result<Role> Role::parse(const std::string &name, const std::string &dims) {
  Role role;
  role.name = name;
  role.isIndex = dims == "coordinates";
  role.layout = dims == "weight" ? RoleLayout::Weight
                : role.isIndex   ? RoleLayout::Coordinates
                                 : RoleLayout::Plain;
  if (role.layout != RoleLayout::Plain)
    return role;
  Result<Dims> parsed = Dims::parse(dims);
  if (!parsed)
    return Error{"role '" + name + "': " + parsed.error().message};
  role.dims = std::move(*parsed);
  return role;
}

Result<std::vector<std::set<std::string>>> parseChoice(std::string_view text) {
  std::vector<std::set<std::string>> groups;
  for (std::string_view part : split(text, '|')) {
    std::set<std::string> group;
    for (std::string_view name : split(part, ','))
      if (part == "none")
        break;
      else if (name.empty() || name == "none" || !group.insert(std::string(name)).second)
        return Error{"'" + quotable(text) + "' is not a choice, like \"w | w_a, w_b\""};
    if (std::count(groups.begin(), groups.end(), group))
      return Error{"'" + quotable(text) + "' has a group twice"};
    groups.push_back(std::move(group));
  }
  if (groups.size() < 2)
    return Error{"'" + quotable(text) + "' leaves no choice, like \"w | w_a, w_b\" does"};
  return groups;
}

Result<Definition> Definition::parse(std::string_view text) {
  size_t at = text.find('=');
  std::string_view name = trimmed(text.substr(0, at));
  if (at == std::string_view::npos || !isSymbolName(name))
    return Error{"'" + quotable(text) + "' is not a definition, like \"b = cols / blocks\""};
  Result<Expression> value = Expression::parse(trimmed(text.substr(at + 1)));
  if (!value)
    return Error{"'" + quotable(text) + "' " + value.error().message};
  return Definition{std::string(name), std::move(*value)};
}

} // namespace adapter::forms
