// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Sizes as expressions over integers and symbols: "b * (b - 1) / 2". Part of what a form says of its tensors, and
// evaluated wherever an adapter is looked at: by the compiler and, from the manifest, by the runtime.
#ifndef ADAPTER_LIB_SIGNATURE_EXPRESSION_H
#define ADAPTER_LIB_SIGNATURE_EXPRESSION_H

#include "lib/Checkpoint/Result.h"
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace adapter::forms {

using checkpoint::Result;
/// What symbols stand for.
using Symbols = std::map<std::string, int64_t>;

/// Integers and symbols with + - * / div mod ceildiv, min(a, b), max(a, b), isqrt(a), ilog2(a), pow(a, b),
/// comparisons (1 or 0), `and`, `or`.
/// "/" must divide without remainder, "div" rounds down; overflow and what has no value are errors.
class Expression {
public:
  static Result<Expression> parse(std::string_view text);

  /// Its value; an error that says why there is none, or names a symbol that is not bound.
  Result<int64_t> evaluate(const Symbols &symbols) const;
  /// The symbols that it reads.
  const std::set<std::string> &reads() const { return names; }
  /// The symbol that it is, where it is nothing else.
  std::optional<std::string> symbol() const;
  /// As it was written.
  const std::string &text() const { return source; }

private:
  friend class ExpressionParser;
  enum class Op {
    Number,
    Symbol,
    Add,
    Subtract,
    Multiply,
    Exact,
    Floor,
    Modulo,
    Ceiling,
    Min,
    Max,
    Root,
    Logarithm,
    Power,
    Equal,
    Unequal,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    And,
    Or
  };
  // In postfix order.
  struct Step {
    Op op;
    int64_t number = 0;
    std::string name;
  };
  static Result<int64_t> apply(Op op, int64_t x, int64_t y);

  std::string source;
  std::vector<Step> steps;
  std::set<std::string> names;
};

/// Whether a text is the name of a symbol: a letter, then letters, digits and underscores.
bool isSymbolName(std::string_view text);

} // namespace adapter::forms

#endif // ADAPTER_LIB_SIGNATURE_EXPRESSION_H
