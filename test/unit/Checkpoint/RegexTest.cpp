// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Python's regular expressions; the answers are those of re.fullmatch.
#include "lib/Checkpoint/Regex.h"
#include "test/unit/Checkpoint/PeftFolder.h"

using namespace adapter::checkpoint;
using namespace adapter::test;

TEST(Regex, MeansWhatPythonMeans) {
  const struct {
    const char *pattern, *text;
    bool matches;
  } cases[] = {{R"(.*\.q_proj)", "layers.0.q_proj", true},
               {R"(.*\.q_proj)", "q_proj", false},
               {R"(q)", "qq", false},
               {R"((?i)LAYERS\.\d+)", "layers.12", true},
               {R"(LAYERS)", "layers", false},
               {R"((?P<number>\d+)\.(q|k))", "7.k", true},
               {R"(layers\.\d+\Z)", "layers.7", true},
               {R"(\Aq$)", "q", true},
               {R"(\A(Z|A))", "A", true},
               {R"((?!.*vision).*\.q)", "text.q", true},
               {R"((?!.*vision).*\.q)", "vision.q", false},
               {R"([^.\]]+)", "q_proj", true},
               {R"(layers\.([1-9]|1[0-2])\.(?:q|v))", "layers.12.v", true},
               {R"(a{2,3}?)", "aa", true}};
  for (const auto &each : cases)
    EXPECT_EQ(regexMatches(each.pattern, each.text), each.matches) << each.pattern;
}

TEST(Regex, SaysWhatItCannotRead) {
  for (const char *pattern : {R"((?<!vision\.)q)",
                              R"((?<=a)b)",
                              R"((?s).*)",
                              R"(a(?i)b)",
                              R"((?i:a))",
                              R"(a*+b)",
                              R"(a++)",
                              R"(a{2}+)",
                              R"((?P<n>a)(?P=n))",
                              R"((a)\1)",
                              R"([]a])",
                              R"([^]a])",
                              R"([[:alpha:]])",
                              R"(\pL)",
                              R"([\A])",
                              "(",
                              "[",
                              "\\",
                              "(?P<n",
                              R"((?>a))",
                              R"([a\)",
                              "a{,2}"})
    EXPECT_FALSE(regexMatches(pattern, "a")) << pattern;
}

// They check which modules are there; ranks and scales they decide.
TEST_F(PeftFolder, RegularExpressionsThatCannotBeRead) {
  lora(q);
  config["target_modules"] = R"((?<!vision\.).*q_proj)";
  EXPECT_EQ(updates().size(), 1u);
  config["exclude_modules"] = R"((?<=vision\.).*)";
  EXPECT_EQ(updates().size(), 1u);
  config["rank_pattern"] = {{R"((?<!\d)q_proj)", 8}};
  EXPECT_DOUBLE_EQ(updates().at(0).scale, 3.0);
  config["r"] = 16;
  config["rank_pattern"] = {{R"((?<!\d)q_proj)", 2}};
  EXPECT_DOUBLE_EQ(updates().at(0).scale, 3.0);
  config["rank_pattern"] = {{R"((?<!\d)q_proj)", 4}};
  EXPECT_ERROR("rank 2, but");
  config["r"] = 2;
  config["alpha_pattern"] = {{R"((?<!\d)q_proj)", 8}};
  EXPECT_ERROR("field 'alpha_pattern' has a key before the one for 'model.layers.0.q_proj'");
  config["alpha_pattern"] = {{R"((?<!\d)q_proj)", 6}};
  EXPECT_DOUBLE_EQ(updates().at(0).scale, 3.0);
  config["alpha_pattern"] = {{"q_proj", 4}, {R"((?<!\d)q_proj)", 8}};
  EXPECT_DOUBLE_EQ(updates().at(0).scale, 2.0);
}
