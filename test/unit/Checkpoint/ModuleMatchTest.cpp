// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Modules of a checkpoint and of a graph: one root for all, never two on one place.
#include "lib/Checkpoint/ModuleMatch.h"
#include <gtest/gtest.h>

using namespace adapter::checkpoint;

namespace {

// Items for the weights of modules, each with its candidates.
std::vector<MatchItem> items(const std::vector<std::pair<std::string, std::vector<Candidate>>> &all) {
  std::vector<MatchItem> result;
  for (const auto &[module, candidates] : all)
    result.push_back({module, "weight", candidates});
  return result;
}

using Paths = std::vector<std::string>;

TEST(ModuleMatch, EqualPathsCountFirst) {
  MatchResult match = matchModules(items({{"layers.0.q", {{"layers.0.q"}, {"decoder.layers.0.q"}}}}), "m");
  EXPECT_EQ(match.paths, Paths{"layers.0.q"});
  EXPECT_EQ(match.problems, Paths{""});
}

TEST(ModuleMatch, OneWrapperForAll) {
  MatchResult match = matchModules(items({{"q", {{"a.q"}, {"b.q"}}}, {"k", {{"b.k"}}}}), "m");
  EXPECT_EQ(match.paths, (Paths{"b.q", "b.k"}));
}

TEST(ModuleMatch, SeveralWrappersAreAmbiguous) {
  MatchResult match = matchModules(items({{"q", {{"a.q"}, {"b.q"}}}}), "m");
  EXPECT_EQ(match.paths, Paths{""});
  EXPECT_NE(match.problems[0].find("several modules of the graph could be meant: 'a.q', 'b.q'"),
            std::string::npos);
}

TEST(ModuleMatch, ShapesAndContentsDecideBetweenWrappers) {
  MatchResult match = matchModules(items({{"q", {{"a.q", false}, {"b.q", true}}}}), "m");
  EXPECT_EQ(match.paths, Paths{"b.q"});
}

TEST(ModuleMatch, DifferentWrappersContradictEachOther) {
  MatchResult match = matchModules(items({{"q", {{"a.q"}}}, {"k", {{"b.k"}}}}), "m");
  EXPECT_EQ(match.paths, (Paths{"", ""}));
  EXPECT_NE(match.problems[0].find("--map"), std::string::npos);
}

TEST(ModuleMatch, PartOfAModel) {
  MatchResult match = matchModules(items({{"model.q", {{"q"}}}, {"head", {}}}), "m");
  EXPECT_EQ(match.paths, (Paths{"q", ""}));
  EXPECT_EQ(match.root, "model");
}

TEST(ModuleMatch, TwoPartsNeverShareAPlace) {
  MatchResult match = matchModules(items({{"encoder.q", {{"q"}}}, {"decoder.q", {{"q"}}}}), "m");
  EXPECT_EQ(match.paths, (Paths{"", ""}));
  EXPECT_EQ(match.rivals, (Paths{"decoder", "encoder"}));
  for (const std::string &problem : match.problems) {
    EXPECT_NE(problem.find("'decoder.q' and 'encoder.q'"), std::string::npos) << problem;
    EXPECT_NE(problem.find("--ignore-missing"), std::string::npos) << problem;
  }
}

TEST(ModuleMatch, TwoPartsContradictEachOtherOnDifferentPlacesToo) {
  MatchResult match = matchModules(items({{"encoder.q", {{"q"}}}, {"decoder.k", {{"k"}}}}), "m");
  EXPECT_EQ(match.paths, (Paths{"", ""}));
}

TEST(ModuleMatch, ThePartThatFitsAsAWhole) {
  MatchResult match =
      matchModules(items({{"encoder.q", {{"q"}}}, {"decoder.q", {{"q"}}}, {"decoder.cross.q", {}}}), "m");
  EXPECT_EQ(match.paths, (Paths{"q", "", ""}));
  match = matchModules(
      items({{"encoder.q", {{"q"}}}, {"decoder.q", {{"q"}}}, {"decoder.cross.q", {{"cross.q"}}}}), "m");
  EXPECT_EQ(match.paths, (Paths{"", "q", "cross.q"}));
  EXPECT_NE(match.problems[0].find("'decoder' of the adapter's model"), std::string::npos);
}

TEST(ModuleMatch, TheFilesNameDecides) {
  std::vector<MatchItem> both = items({{"encoder.q", {{"q"}}}, {"decoder.q", {{"q"}}}});
  EXPECT_EQ(matchModules(both, "encoder_model").root, "encoder");
  EXPECT_EQ(matchModules(both, "decoder_with_past_model").root, "decoder");
  EXPECT_EQ(matchModules(both, "encoderish").root, "");
  std::vector<MatchItem> towers = items({{"text_encoder.q", {{"q"}}}, {"text_encoder_2.q", {{"q"}}}});
  EXPECT_EQ(matchModules(towers, "text_encoder_2").root, "text_encoder_2");
}

TEST(ModuleMatch, OneOfSeveralPartsNeedsMoreThanItsPaths) {
  std::vector<MatchItem> one = items({{"decoder.q", {{"q"}}}});
  for (const char *name : {"m", "encoder_model"}) {
    MatchResult match = matchModules(one, name);
    EXPECT_EQ(match.paths, Paths{""});
    EXPECT_NE(match.problems[0].find("nothing says that it is the part 'decoder'"), std::string::npos);
  }
  EXPECT_EQ(matchModules(one, "decoder_model").paths, Paths{"q"});
  EXPECT_EQ(matchModules(one, "m", {}, /*byContents=*/true).paths, Paths{"q"});
  one[0].candidates[0].fits = false;
  EXPECT_EQ(matchModules(one, "m", {}, /*byContents=*/true).paths, Paths{""});
}

TEST(ModuleMatch, WhatIsElsewhereIsOut) {
  std::vector<MatchItem> both = items({{"encoder.q", {{"q"}}}, {"decoder.q", {{"q"}}}});
  MatchResult match = matchModules(both, "m", {"encoder"});
  EXPECT_EQ(match.paths, (Paths{"", "q"}));
}

TEST(ModuleMatch, AnEqualPathKeepsOthersOut) {
  MatchResult match = matchModules(items({{"q", {{"q"}}}, {"model.q", {{"q"}}}}), "m");
  EXPECT_EQ(match.paths, (Paths{"q", ""}));
  EXPECT_NE(match.problems[1].find("could be it, but also 'q'"), std::string::npos);
}

std::string renamed(const Renaming &renaming, std::string path) {
  return rename(renaming, path) ? path : "unchanged";
}

TEST(ModuleMatch, Renamings) {
  EXPECT_EQ(renamed({"a.b", "c"}, "a.b"), "c");
  EXPECT_EQ(renamed({"a", "c.d"}, "a.b"), "c.d.b");
  EXPECT_EQ(renamed({"a", "c"}, "ab.b"), "unchanged");
  EXPECT_EQ(renamed({"encoder.*", "model.enc.*"}, "encoder.layers.0.q"), "model.enc.layers.0.q");
  EXPECT_EQ(renamed({"*.layers.*.q", "*.h.*.query"}, "model.layers.3.q"), "model.h.3.query");
  EXPECT_EQ(renamed({"decoder.*", "*"}, "decoder.layers.0.q"), "layers.0.q");
  EXPECT_EQ(renamed({"decoder", ""}, "decoder.q"), "q");
  EXPECT_EQ(renamed({"*", "x.*"}, "q"), "x.q");
}

} // namespace
