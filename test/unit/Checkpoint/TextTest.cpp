// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "lib/Checkpoint/Text.h"
#include <gtest/gtest.h>

using adapter::checkpoint::printable;

TEST(Text, KeepsWhatCanBeShown) {
  EXPECT_EQ(printable("tensor 'größe.重み.😀'"), "tensor 'größe.重み.😀'");
  EXPECT_EQ(printable(""), "");
}

TEST(Text, ControlCharactersBecomeBlanks) { EXPECT_EQ(printable("a\nb\tc\x1b[31m\x7f"), "a b c [31m "); }

TEST(Text, BytesThatAreNoUTF8AreNamed) {
  EXPECT_EQ(printable("a\xff\xfe"), "a\\xff\\xfe");
  EXPECT_EQ(printable("\xc3"), "\\xc3");                   // cut off
  EXPECT_EQ(printable("\xc0\x80"), "\\xc0\\x80");          // overlong
  EXPECT_EQ(printable("\xed\xa0\x80"), "\\xed\\xa0\\x80"); // half of a surrogate pair
  EXPECT_EQ(printable("\xf4\x90\x80\x80"), "\\xf4\\x90\\x80\\x80");
  EXPECT_EQ(printable("\xe9\x87"), "\\xe9\\x87");
}

TEST(Text, GuessesWhatWasMeant) {
  EXPECT_EQ(adapter::checkpoint::didYouMean("input_id", {"attention_mask", "input_ids"}),
            "; did you mean 'input_ids'?");
  EXPECT_EQ(adapter::checkpoint::didYouMean("sacle", {"scale", "rank"}), "; did you mean 'scale'?");
  EXPECT_EQ(adapter::checkpoint::didYouMean("x", {"attention_mask", "y"}), "");
  EXPECT_EQ(adapter::checkpoint::didYouMean("zebra", {"scale", "rank", ""}), "");
  EXPECT_EQ(adapter::checkpoint::didYouMean("", {"a"}), "");
}
