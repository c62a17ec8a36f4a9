// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// See GenerateCommand.h.
#include "lib/RunTool/GenerateCommand.h"
#include "lib/Checkpoint/DType.h"
#include "lib/Checkpoint/Json.h"
#include <algorithm>
#include <cmath>
#include <cstdio>

namespace adapter::runtool {

using checkpoint::Done;
using checkpoint::Json;

namespace {

class Generation {
public:
  Generation(OpenModel &model, const Options &options) : model(model), options(options) {}

  Status run() {
    if (Status status = prepare(); !status)
      return status;
    while (!active.empty())
      if (Status status = step(); !status)
        return status;
    return Done{};
  }
  const std::vector<std::vector<int64_t>> &result() const { return made; }

private:
  Status prepare() {
    Result<std::string> text = model.info();
    Result<Json> info = text ? checkpoint::parseJson(*text, "info") : text.error();
    if (!info)
      return info.error();
    for (const Json &entry : info->value("entries", Json::array()))
      if (input.empty() && (options.entry.empty() || entry.value("name", "") == options.entry))
        input = entry.value("row_input", "");
    size_t rows = options.prompts.size(), longest = 0;
    if (options.rowAdapters && options.rowAdapters->size() != rows)
      return Error{std::to_string(options.rowAdapters->size()) + " adapters are named for " +
                   std::to_string(rows) + " texts"};
    for (size_t row = 0; row < rows; ++row) {
      longest = std::max(longest, options.prompts[row].size());
      active.push_back(static_cast<int64_t>(row));
    }
    next = options.prompts;
    made.resize(rows);
    adapter_rt_session_options asked = {sizeof asked, options.entry.empty() ? nullptr : options.entry.c_str(),
                                        static_cast<int64_t>(rows),
                                        static_cast<int64_t>(longest) + options.newTokens};
    adapter_rt_session *opened = nullptr;
    if (Status status = check(adapter_rt_session_open(model.handle(), &asked, &opened)); !status)
      return status;
    session.reset(opened);
    return Done{};
  }

  // Reads the rows' next tokens and chooses those that follow.
  Status step() {
    size_t longest = 0;
    std::vector<int64_t> lengths;
    for (int64_t row : active) {
      lengths.push_back(static_cast<int64_t>(next[row].size()));
      longest = std::max(longest, next[row].size());
    }
    std::vector<int64_t> tokens(active.size() * longest);
    for (size_t i = 0; i < active.size(); ++i)
      std::copy(next[active[i]].begin(), next[active[i]].end(),
                tokens.begin() + static_cast<int64_t>((i + 1) * longest - next[active[i]].size()));
    int64_t dims[] = {static_cast<int64_t>(active.size()), static_cast<int64_t>(longest)};
    adapter_rt_tensor view = {input.c_str(), tokens.data(), dims, 2,
                              static_cast<int32_t>(checkpoint::DType::I64)};
    std::vector<const char *> adapters;
    adapter_rt_call_options call = {};
    call.struct_size = sizeof call;
    if (options.rowAdapters) {
      for (int64_t row : active)
        adapters.push_back((*options.rowAdapters)[row].empty() ? nullptr
                                                               : (*options.rowAdapters)[row].c_str());
      call.row_adapters = adapters.data();
      call.row_count = adapters.size();
    } else if (options.adapter && !model.isSwitched()) {
      call.adapter = options.adapter->c_str();
    }
    adapter_rt_result *called = nullptr;
    if (Status status = check(adapter_rt_session_call(session.get(), active.data(), lengths.data(),
                                                      active.size(), &view, 1, &call, &called));
        !status)
      return status;
    std::unique_ptr<adapter_rt_result, void (*)(adapter_rt_result *)> owner(called, adapter_rt_result_free);
    return choose(*called);
  }

  Status choose(const adapter_rt_result &result) {
    adapter_rt_tensor logits = {};
    for (size_t i = 0; i < adapter_rt_result_count(&result); ++i) {
      adapter_rt_tensor each;
      if (Status status = check(adapter_rt_result_get(&result, i, &each)); !status)
        return status;
      if (i == 0 || std::string(each.name) == "logits")
        logits = each;
    }
    checkpoint::Tensor given;
    given.dtype = static_cast<checkpoint::DType>(logits.dtype);
    given.shape.assign(logits.dims, logits.dims + logits.rank);
    given.data = static_cast<const std::byte *>(logits.data);
    given.bytes = checkpoint::tensorBytes(given.dtype, given.shape).value_or(0);
    Result<checkpoint::Tensor> wide = checkpoint::toF32(given);
    if (!wide || logits.rank != 3 || logits.dims[1] < 1 || logits.dims[2] < 1)
      return Error{"the model gives no logits, floats [rows, tokens, vocabulary]"};
    const auto *scores = reinterpret_cast<const float *>(wide->data);
    int64_t width = logits.dims[2];
    std::vector<int64_t> left;
    for (size_t i = 0; i < active.size(); ++i) {
      const float *last = scores + (static_cast<int64_t>(i + 1) * logits.dims[1] - 1) * width;
      if (std::any_of(last, last + width, [](float each) { return std::isnan(each); }))
        return Error{"the model's logits are not numbers (NaN)"};
      int64_t row = active[i], token = std::max_element(last, last + width) - last;
      if (std::find(options.ends.begin(), options.ends.end(), token) != options.ends.end())
        continue;
      made[row].push_back(token);
      next[row] = {token};
      if (static_cast<int64_t>(made[row].size()) < options.newTokens)
        left.push_back(row);
    }
    active = std::move(left);
    return Done{};
  }

  OpenModel &model;
  const Options &options;
  std::string input; // of tokens
  std::unique_ptr<adapter_rt_session, void (*)(adapter_rt_session *)> session{nullptr,
                                                                              adapter_rt_session_close};
  std::vector<int64_t> active;                  // rows that go on
  std::vector<std::vector<int64_t>> next, made; // tokens to read and new ones, by row
};

} // namespace

Status generate(OpenModel &model, const Options &options) {
  if (options.tokens)
    return Error{"generate takes one adapter for each row, not for each token"};
  Generation generation(model, options);
  if (Status status = generation.run(); !status)
    return status;
  if (Status status = model.confirm(); !status)
    return status;
  for (const std::vector<int64_t> &row : generation.result()) {
    for (size_t i = 0; i < row.size(); ++i)
      std::printf("%s%lld", i ? "," : "", static_cast<long long>(row[i]));
    std::printf("\n");
  }
  return Done{};
}

} // namespace adapter::runtool
