// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "lib/Runtime/Steps.h"
#include "lib/Checkpoint/DType.h"
#include "lib/Runtime/Realise.h"
#include <gtest/gtest.h>

using namespace adapter;
using namespace adapter::runtime;

namespace {

constexpr int32_t f32 = 1, i64 = 7;

artifact::FormStep step(int kernel, int from, int to, bool accumulate, int numbers, int indices) {
  artifact::FormStep step;
  step.set_kernel(kernel);
  step.set_from(from);
  step.set_to(to);
  step.set_accumulate(accumulate);
  step.set_numbers(numbers);
  step.set_indices(indices);
  return step;
}

template <typename Element>
Output output(std::vector<Element> elements, int32_t dtype) {
  auto data = std::make_shared<std::vector<Element>>(std::move(elements));
  auto size = static_cast<int64_t>(data->size());
  return {std::shared_ptr<void>(data, data->data()), {size}, dtype};
}

// A form with an entry's tensor, a rotation before the product, and behind it a permutation and the same blocks again.
artifact::SiteForm rotation() {
  artifact::SiteForm form;
  form.add_entry_tensors(2);
  *form.add_steps() = step(ADAPTER_STEP_BLOCKS, ADAPTER_STEP_INPUT, ADAPTER_STEP_RESULT, false, 2, 0);
  *form.add_steps() = step(ADAPTER_STEP_PERMUTE, ADAPTER_STEP_INPUT, ADAPTER_STEP_TEMPORARY + 1, false, 0, 3);
  *form.add_steps() =
      step(ADAPTER_STEP_DIAGONAL, ADAPTER_STEP_TEMPORARY + 1, ADAPTER_STEP_TEMPORARY, false, 4, 0);
  *form.add_steps() = step(ADAPTER_STEP_BLOCKS, ADAPTER_STEP_TEMPORARY, ADAPTER_STEP_RESULT, true, 2, 0);
  form.set_steps_before(1);
  return form;
}

std::vector<Output> outputsOf() {
  return {output<float>({9, 9, 9}, f32), output<float>({1, 2, 3, 4}, f32), output<int64_t>({2, 0, 1}, i64),
          output<float>({5, 6, 7}, f32),
          output<int64_t>({4,  4,  2, 2, 2, 1, // extents of four steps
                           17, 17, 0, 0, 0, 0, //
                           3,  3,  0, 0, 0, 0, //
                           4,  4,  2, 2, 2, 1},
                          i64)};
}

} // namespace

TEST(Steps, OutputsHaveTheTypesThatStepsRead) {
  EXPECT_EQ(stepOutputs(rotation()), (std::vector<int32_t>{f32, i64, f32, i64}));
  EXPECT_TRUE(stepOutputs(artifact::SiteForm()).empty());
}

TEST(Steps, WhatDoesNotExistIsNamed) {
  EXPECT_EQ(checkSteps(rotation()), "");
  EXPECT_EQ(checkSteps(artifact::SiteForm()), "");
  auto isRefused = [](auto change) {
    artifact::SiteForm form = rotation();
    change(form);
    return !checkSteps(form).empty();
  };
  EXPECT_TRUE(isRefused([](artifact::SiteForm &form) { form.set_steps_before(5); }));
  EXPECT_TRUE(isRefused([](artifact::SiteForm &form) { form.set_steps_before(-1); }));
  EXPECT_TRUE(isRefused([](artifact::SiteForm &form) { form.mutable_steps(0)->set_kernel(-1); }));
  EXPECT_TRUE(isRefused([](artifact::SiteForm &form) { form.mutable_steps(0)->set_from(-1); }));
  EXPECT_TRUE(isRefused([](artifact::SiteForm &form) { form.mutable_steps(0)->set_to(0); }));
  EXPECT_TRUE(isRefused([](artifact::SiteForm &form) { form.mutable_steps(0)->set_to(1000); }));
  EXPECT_TRUE(isRefused([](artifact::SiteForm &form) { form.mutable_steps(0)->set_numbers(0); }));
  EXPECT_TRUE(isRefused([](artifact::SiteForm &form) { form.mutable_steps(0)->set_numbers(1); }));
  EXPECT_TRUE(isRefused([](artifact::SiteForm &form) { form.mutable_steps(1)->set_indices(1000); }));
}

TEST(Steps, TensorsLieOneBehindTheOther) {
  adapter_entry_v1 entry = {};
  EntrySizes sizes;
  std::vector<std::shared_ptr<void>> owners;
  addSteps(rotation(), outputsOf(), entry, sizes, owners);
  EXPECT_EQ(entry.extent[4], 4);
  EXPECT_EQ(entry.extent[5], 1);
  EXPECT_EQ(entry.extent[6], 2);  // temporaries
  EXPECT_EQ(entry.extent[7], 32); // 17, up to a line of the cache
  EXPECT_EQ(entry.extent[8], 0);
  EXPECT_EQ(sizes.elements[7], 4 * ADAPTER_STEP_WORDS);
  EXPECT_TRUE(sizes.integers[7] && !sizes.integers[8] && sizes.integers[9]);
  const auto *table = static_cast<const int64_t *>(entry.tensor[7]);
  const auto *numbers = static_cast<const float *>(entry.tensor[8]);
  const auto *indices = static_cast<const int64_t *>(entry.tensor[9]);
  auto row = [&](int at) { return std::vector<int64_t>(table + at * 12, table + (at + 1) * 12); };
  // The same tensor stands there once.
  EXPECT_EQ(row(0), (std::vector<int64_t>{2, 0, 1, 0, 0, 0, 4, 4, 2, 2, 2, 1}));
  EXPECT_EQ(row(1), (std::vector<int64_t>{3, 0, 3, 0, 0, 0, 17, 17, 0, 0, 0, 0}));
  EXPECT_EQ(row(2), (std::vector<int64_t>{1, 3, 2, 0, 16, 0, 3, 3, 0, 0, 0, 0}));
  EXPECT_EQ(row(3), (std::vector<int64_t>{2, 2, 1, 1, 0, 0, 4, 4, 2, 2, 2, 1}));
  EXPECT_EQ(numbers[3], 4);
  EXPECT_EQ(numbers[16 + 2], 7);
  EXPECT_EQ(indices[0], 2);
  for (int position : {7, 8, 9})
    EXPECT_EQ(reinterpret_cast<uintptr_t>(entry.tensor[position]) % 64, 0u);
}

TEST(Steps, WhatReadsTheResultBehindTheProductIsMarked) {
  artifact::SiteForm form = rotation();
  form.mutable_steps(1)->set_from(ADAPTER_STEP_RESULT);
  adapter_entry_v1 entry = {};
  EntrySizes sizes;
  std::vector<std::shared_ptr<void>> owners;
  addSteps(form, outputsOf(), entry, sizes, owners);
  EXPECT_EQ(entry.extent[8], 1);
}
