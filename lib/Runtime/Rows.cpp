// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Adapters of rows: their notation, and the segments of a call. Rows and tokens side by side that have the same
// adapters share one, unless what an adapter does may depend on all positions of its row.
#include "lib/Runtime/Rows.h"
#include "lib/Checkpoint/Text.h"
#include <cctype>
#include <charconv>
#include <cmath>

namespace adapter::runtime {

Result<Mix> readMix(const std::string &text) {
  Mix mix;
  if (text.empty())
    return mix;
  auto complain = [&](const std::string &why) {
    return Error{"'" + checkpoint::printable(text) + "': " + why +
                 "; expected the name of an adapter, perhaps with a task, sql:2, or shares of several as in "
                 "0.7*fr+0.3*sql"};
  };
  for (size_t at = 0; at <= text.size();) {
    // A number may hold a + behind its e, a name does not: names begin with a letter.
    bool hasNumber = at < text.size() && (std::isdigit(static_cast<unsigned char>(text[at])) ||
                                          text[at] == '.' || text[at] == '-');
    size_t star = hasNumber ? text.find('*', at) : at;
    size_t plus = text.find('+', star == std::string::npos ? at : star);
    std::string part = text.substr(at, plus == std::string::npos ? plus : plus - at);
    Share share{part, 1.0};
    if (size_t times = part.find('*'); times != std::string::npos) {
      share.name = part.substr(times + 1);
      const char *end = part.data() + times;
      auto [rest, error] = std::from_chars(part.data(), end, share.weight);
      if (error != std::errc() || rest != end || !std::isfinite(static_cast<float>(share.weight)))
        return complain("'" + checkpoint::printable(part.substr(0, times)) + "' is no finite number");
    }
    if (size_t colon = share.name.find(':'); colon != std::string::npos) {
      const char *end = share.name.data() + share.name.size();
      auto [rest, error] = std::from_chars(share.name.data() + colon + 1, end, share.task);
      if (error != std::errc() || rest != end || share.task < 0)
        return complain("'" + checkpoint::printable(share.name.substr(colon + 1)) +
                        "' is no task; tasks are counted from 0");
      share.name.resize(colon);
    }
    if (share.name.empty())
      return complain("a share has no adapter");
    for (const Share &other : mix)
      if (other.name == share.name && other.task == share.task)
        return complain("'" + checkpoint::printable(share.name) + "' is named twice");
    mix.push_back(std::move(share));
    if (plus == std::string::npos)
      break;
    at = plus + 1;
  }
  return mix;
}

void RowPlan::addRow(const std::vector<adapter_assignment_v1> &adapters, int64_t most) {
  auto row = static_cast<int64_t>(entries.size());
  entries.push_back(adapters.empty() ? -1 : adapters.front().entry);
  if (adapters.empty())
    return;
  if (!segments.empty()) {
    adapter_segment_v1 &last = segments.back();
    bool isNext = last.end == row && last.end - last.begin < most &&
                  last.count == static_cast<int64_t>(adapters.size());
    for (int64_t i = 0; isNext && i < last.count; ++i)
      isNext = assignments[last.first + i].entry == adapters[i].entry &&
               assignments[last.first + i].weight == adapters[i].weight;
    if (isNext) {
      ++last.end;
      return;
    }
  }
  isPlain &= adapters.size() == 1 && adapters.front().weight == 1.0f;
  segments.push_back(
      {row, row + 1, static_cast<int64_t>(assignments.size()), static_cast<int64_t>(adapters.size())});
  assignments.insert(assignments.end(), adapters.begin(), adapters.end());
}

void RowPlan::describe(adapter_call_v1 &call) const {
  if (segments.empty())
    return;
  call.segments = segments.data();
  call.segment_count = static_cast<int64_t>(segments.size());
  call.assignments = assignments.data();
  call.rows = static_cast<int64_t>(entries.size());
  call.row_entries = entries.data();
}

} // namespace adapter::runtime
