// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Parsing and evaluation of sizes. Texts may come from users: depth and length are bounded.
#include "lib/Signature/Expression.h"
#include <cctype>
#include <cmath>

namespace adapter::forms {

using checkpoint::Error;

static constexpr size_t longest = 1000;
static constexpr int deepest = 50;

bool isSymbolName(std::string_view text) {
  if (text.empty() || !(std::isalpha(static_cast<unsigned char>(text[0])) || text[0] == '_'))
    return false;
  for (char c : text)
    if (!(std::isalnum(static_cast<unsigned char>(c)) || c == '_'))
      return false;
  for (const char *word : {"div", "mod", "ceildiv", "min", "max", "isqrt", "ilog2", "pow", "and", "or"})
    if (text == word)
      return false;
  return true;
}

// Recursive descent, one function for each level of precedence.
class ExpressionParser {
public:
  explicit ExpressionParser(std::string_view text) : text(text) { next(); }

  Result<Expression> parse() {
    result.source = std::string(text);
    if (text.size() > longest)
      return Error{"is longer than " + std::to_string(longest) + " characters"};
    disjunction();
    if (problem.empty() && !token.empty())
      problem = "has '" + std::string(token) + "' where its end is expected";
    if (!problem.empty())
      return Error{problem};
    return result;
  }

private:
  using Op = Expression::Op;

  void next() {
    while (at < text.size() && std::isspace(static_cast<unsigned char>(text[at])))
      ++at;
    size_t begin = at;
    if (at == text.size()) {
      token = {};
      return;
    }
    auto isWord = [&](size_t i) {
      return i < text.size() && (std::isalnum(static_cast<unsigned char>(text[i])) || text[i] == '_');
    };
    if (isWord(at)) {
      while (isWord(at))
        ++at;
    } else {
      std::string_view two = text.substr(at, 2);
      at += two == "==" || two == "!=" || two == "<=" || two == ">=" ? 2 : 1;
    }
    token = text.substr(begin, at - begin);
  }

  void fail(const std::string &what) {
    if (problem.empty())
      problem = what;
    token = {};
    at = text.size();
  }

  bool take(std::string_view wanted) {
    if (token != wanted)
      return false;
    next();
    return true;
  }

  void expect(std::string_view wanted) {
    if (!take(wanted))
      fail("has '" + std::string(token) + "' where '" + std::string(wanted) + "' is expected");
  }

  void emit(Op op, int64_t number = 0, std::string name = {}) {
    result.steps.push_back({op, number, std::move(name)});
  }

  using Level = void (ExpressionParser::*)();
  void binary(Level inner, std::initializer_list<std::pair<std::string_view, Op>> ops) {
    (this->*inner)();
    for (bool again = true; again && problem.empty();) {
      again = false;
      for (auto [word, op] : ops)
        if (take(word)) {
          (this->*inner)();
          emit(op);
          again = true;
          break;
        }
    }
  }

  void disjunction() { binary(&ExpressionParser::conjunction, {{"or", Op::Or}}); }
  void conjunction() { binary(&ExpressionParser::comparison, {{"and", Op::And}}); }
  void comparison() {
    binary(&ExpressionParser::sum, {{"==", Op::Equal},
                                    {"!=", Op::Unequal},
                                    {"<=", Op::LessEqual},
                                    {">=", Op::GreaterEqual},
                                    {"<", Op::Less},
                                    {">", Op::Greater}});
  }
  void sum() { binary(&ExpressionParser::product, {{"+", Op::Add}, {"-", Op::Subtract}}); }
  void product() {
    binary(&ExpressionParser::primary, {{"*", Op::Multiply},
                                        {"/", Op::Exact},
                                        {"div", Op::Floor},
                                        {"mod", Op::Modulo},
                                        {"ceildiv", Op::Ceiling}});
  }

  void call(Op op, int arguments) {
    expect("(");
    for (int i = 0; i < arguments && problem.empty(); ++i) {
      if (i)
        expect(",");
      disjunction();
    }
    expect(")");
    emit(op);
  }

  void primary() {
    if (++depth > deepest)
      return fail("is nested too deeply");
    if (token.empty())
      fail("ends where a size is expected");
    else if (take("("))
      disjunction(), expect(")");
    else if (take("min"))
      call(Op::Min, 2);
    else if (take("max"))
      call(Op::Max, 2);
    else if (take("isqrt"))
      call(Op::Root, 1);
    else if (take("ilog2"))
      call(Op::Logarithm, 1);
    else if (take("pow"))
      call(Op::Power, 2);
    else if (std::isdigit(static_cast<unsigned char>(token[0])))
      number();
    else if (isSymbolName(token)) {
      result.names.insert(std::string(token));
      emit(Op::Symbol, 0, std::string(token));
      next();
    } else
      fail("has '" + std::string(token) + "' where a size is expected");
    --depth;
  }

  void number() {
    int64_t value = 0;
    for (char c : token)
      if (!std::isdigit(static_cast<unsigned char>(c)) || __builtin_mul_overflow(value, 10, &value) ||
          __builtin_add_overflow(value, c - '0', &value))
        return fail("has '" + std::string(token) + "', which is not a whole number of 64 bits");
    emit(Op::Number, value);
    next();
  }

  std::string_view text, token;
  size_t at = 0;
  int depth = 0;
  std::string problem;
  Expression result;
};

Result<Expression> Expression::parse(std::string_view text) { return ExpressionParser(text).parse(); }

std::optional<std::string> Expression::symbol() const {
  return steps.size() == 1 && steps[0].op == Op::Symbol ? std::optional(steps[0].name) : std::nullopt;
}

static int64_t integerRoot(int64_t x) {
  auto root = static_cast<int64_t>(std::sqrt(static_cast<double>(x)));
  while (root > 0 && root > x / root)
    --root;
  while (root + 1 <= x / (root + 1))
    ++root;
  return root;
}

// The largest p with 2^p <= x, of a positive x.
static int64_t integerLogarithm(int64_t x) { return 63 - __builtin_clzll(static_cast<uint64_t>(x)); }

// False where it overflows. Bases other than -1, 0 and 1 are done after 63 steps.
static bool power(int64_t x, int64_t y, int64_t &value) {
  value = 1;
  if (x == 0 || x == 1 || x == -1)
    y = y == 0 ? 0 : 2 - y % 2;
  for (int64_t i = 0; i < y; ++i)
    if (__builtin_mul_overflow(value, x, &value))
      return false;
  return true;
}

// Rounds down.
static int64_t floorOf(int64_t x, int64_t y) { return x / y - (x % y != 0 && (x < 0) != (y < 0)); }

Result<int64_t> Expression::apply(Op op, int64_t x, int64_t y) {
  int64_t value = 0;
  bool overflows = false;
  bool divides = op == Op::Exact || op == Op::Floor || op == Op::Modulo || op == Op::Ceiling;
  if (divides && (y == 0 || (y == -1 && x == INT64_MIN)))
    return Error{std::to_string(x) + " cannot be divided by " + std::to_string(y)};
  switch (op) {
  case Op::Add:
    overflows = __builtin_add_overflow(x, y, &value);
    break;
  case Op::Subtract:
    overflows = __builtin_sub_overflow(x, y, &value);
    break;
  case Op::Multiply:
    overflows = __builtin_mul_overflow(x, y, &value);
    break;
  case Op::Exact:
    if (x % y)
      return Error{std::to_string(x) + " is not a multiple of " + std::to_string(y)};
    value = x / y;
    break;
  case Op::Floor:
    value = floorOf(x, y);
    break;
  case Op::Modulo:
    value = x - floorOf(x, y) * y;
    break;
  case Op::Ceiling:
    value = floorOf(x, y) + (x % y != 0);
    break;
  case Op::Power:
    if (y < 0)
      return Error{"there is no whole " + std::to_string(x) + " to the power " + std::to_string(y)};
    overflows = !power(x, y, value);
    break;
  case Op::Min:
    value = std::min(x, y);
    break;
  case Op::Max:
    value = std::max(x, y);
    break;
  case Op::Equal:
    value = x == y;
    break;
  case Op::Unequal:
    value = x != y;
    break;
  case Op::Less:
    value = x < y;
    break;
  case Op::LessEqual:
    value = x <= y;
    break;
  case Op::Greater:
    value = x > y;
    break;
  case Op::GreaterEqual:
    value = x >= y;
    break;
  case Op::And:
    value = x && y;
    break;
  case Op::Or:
    value = x || y;
    break;
  case Op::Number:
  case Op::Symbol:
  case Op::Root:
  case Op::Logarithm:
    break;
  }
  if (overflows)
    return Error{"it overflows"};
  return value;
}

Result<int64_t> Expression::evaluate(const Symbols &symbols) const {
  std::vector<int64_t> stack;
  for (const Step &step : steps) {
    if (step.op == Op::Number) {
      stack.push_back(step.number);
    } else if (step.op == Op::Symbol) {
      auto bound = symbols.find(step.name);
      if (bound == symbols.end())
        return Error{"'" + step.name + "' is not bound"};
      stack.push_back(bound->second);
    } else if (step.op == Op::Root) {
      if (stack.back() < 0)
        return Error{"there is no root of " + std::to_string(stack.back())};
      stack.back() = integerRoot(stack.back());
    } else if (step.op == Op::Logarithm) {
      if (stack.back() <= 0)
        return Error{"there is no logarithm of " + std::to_string(stack.back())};
      stack.back() = integerLogarithm(stack.back());
    } else {
      int64_t y = stack.back();
      stack.pop_back();
      Result<int64_t> value = apply(step.op, stack.back(), y);
      if (!value)
        return value;
      stack.back() = *value;
    }
  }
  return stack.back();
}

} // namespace adapter::forms
