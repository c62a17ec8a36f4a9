// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The checks in front of the JSON parser.
#include "lib/Checkpoint/Json.h"
#include <gtest/gtest.h>

using namespace adapter::checkpoint;

TEST(Json, KeepsTheOrderOfKeys) {
  Result<Json> json = parseJson(R"({"b": 1, "a": [true, null, "x"]})", "text");
  ASSERT_TRUE(json);
  EXPECT_EQ(json->begin().key(), "b");
}

TEST(Json, RefusesDuplicateKeys) {
  Result<Json> json = parseJson(R"({"a": {"r": 1, "r": 2}})", "file");
  ASSERT_FALSE(json);
  EXPECT_EQ(json.error().message, "file: the key 'r' stands there twice");
  EXPECT_TRUE(parseJson(R"([{"r": 1}, {"r": 2}])", "file"));
}

TEST(Json, RefusesDeepNesting) {
  EXPECT_TRUE(parseJson(std::string(64, '[') + std::string(64, ']'), "file"));
  EXPECT_FALSE(parseJson(std::string(65, '[') + std::string(65, ']'), "file"));
  EXPECT_FALSE(parseJson(std::string(1000000, '['), "file"));
}

TEST(Json, RefusesBrokenText) {
  for (const char *text : {"", "{", "{\"a\" 1}", "nul", "{}x", "\"\xff\"", "[1,]", "1e999"})
    EXPECT_FALSE(parseJson(text, "file")) << text;
}
