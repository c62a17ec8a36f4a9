// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The notation of a row's adapters, and what the code gets of them.
#include "lib/Runtime/Rows.h"
#include <gtest/gtest.h>

using namespace adapter::runtime;

static std::string messageOf(const std::string &text) {
  Result<Mix> mix = readMix(text);
  return mix ? "" : mix.error().message;
}

TEST(Rows, NamesAndShares) {
  EXPECT_EQ(*readMix(""), Mix());
  EXPECT_EQ(*readMix("sql-1.b"), (Mix{{"sql-1.b", 1.0}}));
  EXPECT_EQ(*readMix("0.7*fr+-.3*sql+c"), (Mix{{"fr", 0.7}, {"sql", -0.3}, {"c", 1.0}}));
  EXPECT_EQ(*readMix("1e+2*fr+2E-1*sql"), (Mix{{"fr", 100.0}, {"sql", 0.2}}));
  // A name may end in e: the + behind it parts shares, since no number begins there.
  EXPECT_EQ(*readMix("0.5*le+0.5*te"), (Mix{{"le", 0.5}, {"te", 0.5}}));
  EXPECT_EQ(*readMix("le+0.5*te"), (Mix{{"le", 1.0}, {"te", 0.5}}));
}

TEST(Rows, AtFault) {
  EXPECT_NE(messageOf("a+a").find("'a' is named twice"), std::string::npos);
  for (const char *text : {"+", "a+", "0.5*", "*", "+a"})
    EXPECT_NE(messageOf(text), "") << text;
  for (const char *text : {"x*a", "*a", "1e400*a", "inf*a", "nan*a", "1e39*a", "0x1*a", "1 *a"})
    EXPECT_NE(messageOf(text).find("is no finite number"), std::string::npos) << text;
}

TEST(Rows, Plan) {
  RowPlan plan;
  plan.addRow({{2, 1.0f}});
  plan.addRow({});
  EXPECT_TRUE(plan.isPlain);
  plan.addRow({{0, 0.5f}, {3, 0.25f}});
  EXPECT_FALSE(plan.isPlain);
  adapter_call_v1 call = {};
  plan.describe(call);
  EXPECT_EQ(call.rows, 3);
  ASSERT_EQ(call.segment_count, 2);
  EXPECT_EQ(call.segments[1].begin, 2);
  EXPECT_EQ(call.segments[1].end, 3);
  EXPECT_EQ(call.segments[1].first, 1);
  EXPECT_EQ(call.segments[1].count, 2);
  EXPECT_EQ(call.assignments[2].entry, 3);
  EXPECT_EQ(call.row_entries[1], -1);
}

TEST(Rows, NeighboursShareASegment) {
  RowPlan plan;
  for (int32_t entry : {1, 1, 1, 2, 2, 1})
    plan.addRow({{entry, 1.0f}}, /*most=*/2);
  ASSERT_EQ(plan.segments.size(), 4u);
  EXPECT_EQ(plan.segments[0].end, 2);
  EXPECT_EQ(plan.segments[1].begin, 2);
  EXPECT_EQ(plan.segments[1].end, 3);
  EXPECT_EQ(plan.segments[2].end, 5);
  EXPECT_EQ(plan.assignments.size(), 4u);
  EXPECT_EQ(plan.entries.size(), 6u);
}

TEST(Rows, NoneAtAll) {
  RowPlan plan;
  plan.addRow({});
  adapter_call_v1 call = {};
  plan.describe(call);
  EXPECT_EQ(call.rows, 0);
  EXPECT_EQ(call.segment_count, 0);
}
