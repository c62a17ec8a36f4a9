// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "lib/Signature/Signature.h"
#include <gtest/gtest.h>

using namespace adapter::forms;

static Role role(const std::string &name, const std::string &dims) {
  Role role;
  role.name = name;
  role.dims = *Dims::parse(dims);
  return role;
}

static Signature oft() {
  Signature form;
  form.name = "oft";
  form.kinds = {"linear", "convolution"};
  form.roles = {role("R", "blocks | 1, p")};
  form.attributes = {{"terms", 5}};
  form.definitions = {*Definition::parse("b = (1 + isqrt(1 + 8 * p)) / 2"),
                      *Definition::parse("blocks = cols / b")};
  form.requirements = {*Expression::parse("p == b * (b - 1) / 2")};
  return form;
}

static Signature lora() {
  Signature form;
  form.name = "lora";
  form.kinds = {"linear", "convolution", "embedding"};
  form.roles = {role("A", "r, cols"), role("B", "out, r, 1.."), role("magnitude", "out; 1, out, 1..")};
  form.roles[2].isOptional = true;
  form.roles[2].variant = "dora";
  return form;
}

static Place linear(int64_t out, int64_t in) {
  Place place;
  place.kind = "linear";
  place.out = out;
  place.in = in;
  place.text = "linear [" + std::to_string(out) + ", " + std::to_string(in) + "] (node)";
  return place;
}

static std::string problem(const Signature &form, const Place &place, std::map<std::string, Given> tensors,
                           const std::map<std::string, int64_t> &attributes = {}) {
  auto symbols = form.bind(place, tensors, attributes);
  return symbols ? "" : symbols.error().message;
}

TEST(Signature, BindsAndComputes) {
  auto symbols = oft().bind(linear(10, 64), {{"R", {"q.oft_R.weight", {4, 120}}}}, {});
  ASSERT_TRUE(symbols) << symbols.error().message;
  EXPECT_EQ((*symbols)["b"], 16);
  EXPECT_EQ((*symbols)["blocks"], 4);
  EXPECT_EQ((*symbols)["terms"], 5);
  // Shared by all blocks.
  EXPECT_EQ(problem(oft(), linear(10, 64), {{"R", {"R", {1, 120}}}}), "");
}

TEST(Signature, SaysWhatWasExpected) {
  EXPECT_EQ(problem(oft(), linear(10, 64), {{"R", {"q.oft_R.weight", {3, 120}}}}),
            "'q.oft_R.weight' has shape [3, 120], expected [blocks | 1, p] = [4 | 1, 120] with b = 16, "
            "blocks = 4, cols = 64, "
            "p = 120 "
            "for the graph's linear [10, 64] (node)");
  EXPECT_NE(problem(oft(), linear(10, 60), {{"R", {"R", {4, 120}}}}).find("60 is not a multiple of 16"),
            std::string::npos);
  EXPECT_NE(problem(oft(), linear(10, 64), {{"R", {"R", {4, 119}}}}).find("not a multiple"),
            std::string::npos);
  EXPECT_NE(problem(oft(), linear(10, 64), {}).find("the tensor 'R' is missing"), std::string::npos);
  EXPECT_NE(problem(oft(), linear(10, 64), {{"R", {"R", {4, 120}}}, {"S", {"q.S", {1}}}})
                .find("'q.S' has no place"),
            std::string::npos);
  EXPECT_NE(
      problem(oft(), linear(10, 64), {{"R", {"R", {4, 120}}}}, {{"turms", 1}}).find("no attribute 'turms'"),
      std::string::npos);
  Place embedding = linear(8, 100);
  embedding.kind = "embedding";
  EXPECT_NE(problem(oft(), embedding, {{"R", {"R", {4, 120}}}}).find("does not act on embeddings"),
            std::string::npos);
  EXPECT_NE(problem(oft(), linear(10, 64), {{"R", {"R", {4, 120}, false}}}).find("holds integers"),
            std::string::npos);
}

TEST(Signature, Convolutions) {
  Place place = linear(8, 3);
  place.kind = "convolution";
  place.taps = {3, 3};
  std::map<std::string, Given> tensors{
      {"A", {"A", {4, 3, 3, 3}}}, {"B", {"B", {8, 4, 1, 1}}}, {"magnitude", {"m", {1, 8, 1, 1}}}};
  auto symbols = lora().bind(place, tensors, {});
  ASSERT_TRUE(symbols) << symbols.error().message;
  Signature form = lora();
  EXPECT_EQ(deliveredShape(form.roles[0], place, *symbols, {4, 3, 3, 3}), (Shape{4, 27}));
  EXPECT_EQ(deliveredShape(form.roles[1], place, *symbols, {8, 4, 1, 1}), (Shape{8, 4}));
  EXPECT_EQ(deliveredShape(form.roles[2], place, *symbols, {1, 8, 1, 1}), (Shape{8}));
  tensors["A"].shape = {4, 3, 3, 2};
  EXPECT_NE(problem(lora(), place, tensors).find("expected [r, cols] = [r, 3, 3, 3]"), std::string::npos);
}

TEST(Signature, VariantNames) {
  EXPECT_EQ(lora().variantName({"A", "B"}), "lora");
  EXPECT_EQ(lora().variantName({"A", "B", "magnitude"}), "lora+dora");
}

TEST(Signature, Verifies) {
  EXPECT_TRUE(oft().verify());
  Signature form = oft();
  form.roles.push_back(role("R", "n"));
  EXPECT_FALSE(form.verify());
  form = oft();
  form.roles.push_back(role("S", "unknown + 1"));
  EXPECT_NE(form.verify().error().message.find("which nothing binds"), std::string::npos);
  form = oft();
  form.attributes.push_back({"out", 1});
  EXPECT_FALSE(form.verify());
  form = oft();
  form.definitions = {*Definition::parse("k = l + 1"), *Definition::parse("l = out")};
  EXPECT_NE(form.verify().error().message.find("defined behind it"), std::string::npos);
  form = oft();
  form.sliceable = {"unknown"};
  EXPECT_FALSE(form.verify());
  EXPECT_FALSE(Dims::parse("a | b, c | d"));
  EXPECT_FALSE(Dims::parse("1.., 1.."));
  EXPECT_FALSE(Definition::parse("b + 1"));
}

// A group of a choice may be empty, and one may hold another.
TEST(Signature, ChoiceOfNone) {
  auto choice = parseChoice("none | a | a, b");
  ASSERT_TRUE(choice);
  Signature form;
  form.name = "form";
  form.kinds = {"linear"};
  form.roles = {role("a", "n"), role("b", "m")};
  for (Role &each : form.roles)
    each.isOptional = true;
  form.choices = {*choice};
  Place place;
  place.kind = "linear";
  place.out = place.in = 4;
  const Given tensor = {"key", {2}};
  EXPECT_TRUE(form.bind(place, {}, {}));
  EXPECT_TRUE(form.bind(place, {{"a", tensor}}, {}));
  EXPECT_TRUE(form.bind(place, {{"a", tensor}, {"b", tensor}}, {}));
  auto wrong = form.bind(place, {{"b", tensor}}, {});
  ASSERT_FALSE(wrong);
  EXPECT_NE(wrong.error().message.find("needs either none of them, or a, or a and b"), std::string::npos)
      << wrong.error().message;
  EXPECT_FALSE(parseChoice("none"));
  EXPECT_FALSE(parseChoice("a | a"));
  EXPECT_FALSE(parseChoice("none, a | b"));
}
