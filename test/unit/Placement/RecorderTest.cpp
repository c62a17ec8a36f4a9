// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Profiles: what is counted, and files.
#include "lib/Placement/Recorder.h"
#include "test/unit/TempFolder.h"
#include <gtest/gtest.h>
#include <numeric>

using namespace adapter::placement;

static LayerProfile layer(const char *name, int64_t experts) {
  LayerProfile layer;
  layer.name = name;
  layer.identity = "i";
  layer.experts = experts;
  return layer;
}

TEST(Recorder, Counts) {
  Recorder recorder({layer("a", 4), layer("b", 2)});
  std::vector<int64_t> chosen{3, 0, 1, 0, 3, 2, 2, 2, 2};
  recorder.record(0, 3, 3, chosen.data());
  const LayerProfile &a = recorder.get().layers[0];
  EXPECT_EQ(a.tokens, 3);
  EXPECT_EQ(a.counts, std::vector<int64_t>({2, 1, 4, 2}));
  std::map<std::pair<int32_t, int32_t>, int64_t> pairs{{{0, 1}, 1}, {{0, 2}, 1}, {{0, 3}, 2},
                                                       {{1, 3}, 1}, {{2, 2}, 1}, {{2, 3}, 1}};
  EXPECT_EQ(a.pairs, pairs);
  EXPECT_EQ(recorder.get().layers[1].tokens, 0);
}

TEST(Recorder, SampleIsBoundedAndFair) {
  Recorder recorder({layer("a", 1 << 14)});
  std::vector<int64_t> chosen(1 << 14);
  std::iota(chosen.begin(), chosen.end(), 0);
  recorder.record(0, 1 << 14, 1, chosen.data());
  const LayerProfile &a = recorder.get().layers[0];
  ASSERT_EQ(a.sample.size(), Recorder::sampleLimit);
  double mean = 0;
  for (const std::vector<int32_t> &token : a.sample)
    mean += token[0] / static_cast<double>(a.sample.size());
  EXPECT_NEAR(mean, 1 << 13, 600); // four standard deviations
}

TEST(Recorder, Faults) {
  Recorder recorder({layer("a", 4)});
  std::vector<int64_t> chosen{0, 1, 2};
  recorder.record(0, 1, 2, chosen.data());
  EXPECT_EQ(recorder.fault(), "");
  recorder.record(0, 1, 3, chosen.data());
  EXPECT_NE(recorder.fault().find("now 2, now 3"), std::string::npos);
  Recorder other({layer("a", 4)});
  other.record(1, 1, 2, chosen.data());
  EXPECT_NE(other.fault(), "");
}

TEST(Profile, ReadsWhatItWrites) {
  adapter::test::TempFolder folder;
  Recorder recorder({layer("a", 4), layer("unused", 2)});
  std::vector<int64_t> chosen{3, 0, 0, 1, 2, 2};
  recorder.record(0, 3, 2, chosen.data());
  std::string path = folder / "p.json";
  ASSERT_TRUE(writeProfile(path, recorder.get()));
  auto read = readProfile(path);
  ASSERT_TRUE(read) << read.error().message;
  ASSERT_EQ(read->layers.size(), 2u);
  for (int i : {0, 1}) {
    const LayerProfile &before = recorder.get().layers[i], &after = read->layers[i];
    EXPECT_EQ(after.name, before.name);
    EXPECT_EQ(after.identity, before.identity);
    EXPECT_EQ(after.tokens, before.tokens);
    EXPECT_EQ(after.pairs, before.pairs);
    EXPECT_EQ(after.sample, before.sample);
  }
  EXPECT_EQ(read->layers[0].counts, recorder.get().layers[0].counts);
  EXPECT_EQ(read->layers[1].counts, std::vector<int64_t>(2));
}

// Cut anywhere, and with any byte changed: an error that names the file, or another profile, but no crash.
TEST(Profile, Damaged) {
  adapter::test::TempFolder folder;
  Recorder recorder({layer("a", 4)});
  std::vector<int64_t> chosen{3, 0, 0, 1, 2, 2};
  recorder.record(0, 3, 2, chosen.data());
  ASSERT_TRUE(writeProfile(folder / "p.json", recorder.get()));
  std::string text = folder.read("p.json");
  for (size_t size = 0; size + 2 < text.size(); ++size) {
    auto read = readProfile(folder.write("cut.json", text.substr(0, size)));
    ASSERT_FALSE(read) << size;
    EXPECT_NE(read.error().message.find("cut.json"), std::string::npos);
  }
  for (size_t at = 0; at < text.size(); ++at)
    for (char other : {'9', '-', '"', '[', '\0', '\xff'}) {
      std::string changed = text;
      changed[at] = other;
      if (auto read = readProfile(folder.write("changed.json", changed)); !read)
        EXPECT_NE(read.error().message.find("changed.json"), std::string::npos);
    }
}
