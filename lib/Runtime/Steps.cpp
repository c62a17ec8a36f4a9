// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// See Steps.h. Nothing here knows a form: the manifest says which output a step reads.
#include "lib/Runtime/Steps.h"
#include "lib/Checkpoint/DType.h"
#include "lib/Runtime/Realise.h"
#include <algorithm>
#include <cstring>

namespace adapter::runtime {

namespace {

constexpr int32_t f32 = static_cast<int32_t>(checkpoint::DType::F32);
constexpr int32_t i64 = static_cast<int32_t>(checkpoint::DType::I64);
// Of an entry of a linear: tensors, then extents.
constexpr int tablePosition = 7, numbersPosition = 8, indicesPosition = 9;
constexpr int stepsExtent = 4, beforeExtent = 5, temporariesExtent = 6, widthExtent = 7, readsExtent = 8;
constexpr int64_t alignment = 64;

// Outputs one behind the other, each once, and where they begin.
template <typename Element>
struct Pool {
  std::vector<Element> elements;
  std::map<int, int64_t> begins; // by output

  int64_t place(int output, const std::vector<Output> &outputs) {
    if (output < 0)
      return 0;
    auto [known, isNew] = begins.emplace(output, static_cast<int64_t>(elements.size()));
    if (!isNew)
      return known->second;
    const auto *from = static_cast<const Element *>(outputs[output].data.get());
    elements.insert(elements.end(), from, from + outputs[output].elements());
    constexpr size_t unit = alignment / sizeof(Element);
    elements.resize((elements.size() + unit - 1) / unit * unit);
    return known->second;
  }
};

template <typename Element>
void keep(int position, checkpoint::DType dtype, const std::vector<Element> &elements,
          adapter_entry_v1 &entry, EntrySizes &sizes, std::vector<std::shared_ptr<void>> &owners) {
  checkpoint::Tensor tensor = checkpoint::allocateTensor(dtype, {static_cast<int64_t>(elements.size())});
  if (!elements.empty())
    std::memcpy(checkpoint::mutableData(tensor), elements.data(), elements.size() * sizeof(Element));
  entry.tensor[position] = tensor.data;
  sizes.elements[position] = static_cast<int64_t>(elements.size());
  sizes.integers[position] = dtype == checkpoint::DType::I64;
  owners.push_back(std::const_pointer_cast<void>(tensor.owner));
}

} // namespace

std::vector<int32_t> stepOutputs(const artifact::SiteForm &form) {
  int first = form.entry_tensors_size();
  std::vector<int32_t> dtypes;
  auto add = [&](int output, int32_t dtype) {
    if (output <= first)
      return;
    dtypes.resize(std::max(dtypes.size(), static_cast<size_t>(output - first)), f32);
    dtypes[output - first - 1] = dtype;
  };
  for (const artifact::FormStep &step : form.steps()) {
    add(step.numbers(), f32);
    add(step.indices(), i64);
  }
  if (form.steps_size())
    dtypes.push_back(i64);
  return dtypes;
}

std::string checkSteps(const artifact::SiteForm &form) {
  if (form.steps_before() < 0 || form.steps_before() > form.steps_size())
    return "has an impossible number of steps";
  // Outputs are at most as many as steps read tensors.
  int first = form.entry_tensors_size(), last = first + 2 * form.steps_size();
  auto isOutput = [&](int output) { return output > first && output <= last; };
  for (const artifact::FormStep &step : form.steps()) {
    int most = ADAPTER_STEP_TEMPORARY + form.steps_size();
    bool reads = step.kernel() == ADAPTER_STEP_DIAGONAL || step.kernel() == ADAPTER_STEP_BLOCKS ||
                 step.kernel() == ADAPTER_STEP_GATHER;
    bool places = step.kernel() == ADAPTER_STEP_PERMUTE || step.kernel() == ADAPTER_STEP_GATHER;
    if (step.kernel() < ADAPTER_STEP_COPY || step.kernel() > ADAPTER_STEP_GATHER || step.from() < 0 ||
        step.from() >= most || step.to() < ADAPTER_STEP_RESULT || step.to() >= most ||
        (reads ? !isOutput(step.numbers()) : step.numbers() != 0) ||
        (places ? !isOutput(step.indices()) : step.indices() != 0))
      return "has a step that does not exist";
  }
  return "";
}

void addSteps(const artifact::SiteForm &form, const std::vector<Output> &outputs, adapter_entry_v1 &entry,
              EntrySizes &sizes, std::vector<std::shared_ptr<void>> &owners) {
  const auto *extents = static_cast<const int64_t *>(outputs.back().data.get());
  Pool<float> numbers;
  Pool<int64_t> indices;
  std::vector<int64_t> table;
  int64_t temporaries = 0, width = 0, readsResult = 0;
  for (int i = 0; i < form.steps_size(); ++i, extents += ADAPTER_STEP_EXTENTS) {
    const artifact::FormStep &step = form.steps(i);
    for (int64_t word :
         {int64_t(step.kernel()), int64_t(step.from()), int64_t(step.to()), int64_t(step.accumulate()),
          numbers.place(step.numbers() - 1, outputs), indices.place(step.indices() - 1, outputs)})
      table.push_back(word);
    table.insert(table.end(), extents, extents + ADAPTER_STEP_EXTENTS);
    if (step.to() >= ADAPTER_STEP_TEMPORARY) {
      temporaries = std::max(temporaries, int64_t(step.to() - ADAPTER_STEP_TEMPORARY + 1));
      width = std::max(width, extents[0]);
    }
    readsResult |= i >= form.steps_before() && step.from() == ADAPTER_STEP_RESULT;
  }
  keep(tablePosition, checkpoint::DType::I64, table, entry, sizes, owners);
  keep(numbersPosition, checkpoint::DType::F32, numbers.elements, entry, sizes, owners);
  keep(indicesPosition, checkpoint::DType::I64, indices.elements, entry, sizes, owners);
  // Each temporary begins where a line of the cache does.
  constexpr int64_t unit = alignment / sizeof(float);
  entry.extent[stepsExtent] = form.steps_size();
  entry.extent[beforeExtent] = form.steps_before();
  entry.extent[temporariesExtent] = temporaries;
  entry.extent[widthExtent] = (width + unit - 1) / unit * unit;
  entry.extent[readsExtent] = readsResult;
}

} // namespace adapter::runtime
