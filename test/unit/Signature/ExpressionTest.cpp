// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "lib/Signature/Expression.h"
#include <gtest/gtest.h>

using namespace adapter::forms;

static int64_t valueOf(const std::string &text, const Symbols &symbols = {}) {
  auto expression = Expression::parse(text);
  EXPECT_TRUE(expression) << text;
  auto value = expression->evaluate(symbols);
  EXPECT_TRUE(value) << text << ": " << (value ? "" : value.error().message);
  return value ? *value : -999;
}

static std::string problemOf(const std::string &text, const Symbols &symbols = {}) {
  auto expression = Expression::parse(text);
  if (!expression)
    return expression.error().message;
  auto value = expression->evaluate(symbols);
  return value ? "" : value.error().message;
}

TEST(Expression, Arithmetic) {
  EXPECT_EQ(valueOf("1 + 2 * 3"), 7);
  EXPECT_EQ(valueOf("(1 + 2) * 3 - 1"), 8);
  EXPECT_EQ(valueOf("b * (b - 1) / 2", {{"b", 16}}), 120);
  EXPECT_EQ(valueOf("(1 + isqrt(1 + 8 * p)) / 2", {{"p", 120}}), 16);
  EXPECT_EQ(valueOf("7 div 2 + 7 mod 2 + 7 ceildiv 2"), 3 + 1 + 4);
  EXPECT_EQ(valueOf("min(3, max(1, 2))"), 2);
  EXPECT_EQ(valueOf("10 - 3 - 2"), 5);
}

TEST(Expression, Comparisons) {
  EXPECT_EQ(valueOf("1 + 1 == 2 and 3 < 4"), 1);
  EXPECT_EQ(valueOf("1 == 2 or 3 >= 4"), 0);
  EXPECT_EQ(valueOf("1 != 2"), 1);
}

TEST(Expression, LogarithmsAndPowers) {
  for (auto [x, log] : {std::pair(1, 0), {2, 1}, {3, 1}, {4, 2}, {1023, 9}, {1024, 10}})
    EXPECT_EQ(valueOf("ilog2(x)", {{"x", x}}), log) << x;
  EXPECT_EQ(valueOf("ilog2(9223372036854775807)"), 62);
  EXPECT_EQ(valueOf("pow(2, ilog2(x)) == x", {{"x", 4096}}), 1);
  EXPECT_EQ(valueOf("pow(2, ilog2(x)) == x", {{"x", 4095}}), 0);
  EXPECT_EQ(valueOf("pow(3, 4) + pow(7, 0) + pow(0, 0) + pow(0, 5)"), 81 + 1 + 1 + 0);
  EXPECT_EQ(valueOf("pow(0 - 2, 63)"), INT64_MIN);
  // However large the exponent, these are done at once.
  EXPECT_EQ(valueOf("pow(1, 9223372036854775807)"), 1);
  EXPECT_EQ(valueOf("pow(0 - 1, 9223372036854775807)"), -1);
  EXPECT_EQ(valueOf("pow(0 - 1, 9223372036854775806)"), 1);
  EXPECT_NE(problemOf("pow(2, 63)").find("overflows"), std::string::npos);
  EXPECT_NE(problemOf("pow(2, 9223372036854775807)").find("overflows"), std::string::npos);
  EXPECT_NE(problemOf("pow(2, 0 - 1)").find("no whole 2 to the power -1"), std::string::npos);
  EXPECT_NE(problemOf("ilog2(0)").find("no logarithm of 0"), std::string::npos);
  EXPECT_NE(problemOf("ilog2(0 - 4)").find("no logarithm of -4"), std::string::npos);
}

TEST(Expression, NegativeNumbersRoundDown) {
  EXPECT_EQ(valueOf("(0 - 7) div 2"), -4);
  EXPECT_EQ(valueOf("(0 - 7) mod 2"), 1);
}

TEST(Expression, WhatHasNoValue) {
  EXPECT_NE(problemOf("7 / 2").find("not a multiple"), std::string::npos);
  EXPECT_NE(problemOf("1 div 0").find("cannot be divided"), std::string::npos);
  EXPECT_NE(problemOf("x").find("'x' is not bound"), std::string::npos);
  EXPECT_NE(problemOf("9223372036854775807 + 1").find("overflows"), std::string::npos);
  EXPECT_NE(problemOf("isqrt(0 - 1)").find("no root"), std::string::npos);
}

TEST(Expression, WhatIsNone) {
  for (const char *text : {"", "1 +", "(1", "1)", "1 2", "min(1)", "99999999999999999999", "1x", "a $ b",
                           "div", "pow(1)", "ilog2()", "pow"})
    EXPECT_FALSE(Expression::parse(text)) << text;
  EXPECT_FALSE(Expression::parse(std::string(100, '(')));
  EXPECT_FALSE(Expression::parse(std::string(2000, ' ')));
}
