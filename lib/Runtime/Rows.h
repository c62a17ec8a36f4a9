// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Which adapters act on which rows of a call.
#ifndef ADAPTER_LIB_RUNTIME_ROWS_H
#define ADAPTER_LIB_RUNTIME_ROWS_H

#include "adapter-rt/artifact.h"
#include "lib/Checkpoint/Result.h"
#include <cstdint>
#include <string>
#include <vector>

namespace adapter::runtime {

using checkpoint::Error;
using checkpoint::Result;

// An adapter and the share of its changes that comes to be.
struct Share {
  std::string name;
  double weight = 1.0;
  int64_t task = -1; // of an adapter of several; -1: none is named
  bool operator==(const Share &other) const {
    return name == other.name && weight == other.weight && task == other.task;
  }
};

// The adapters of a row; none: the base alone.
using Mix = std::vector<Share>;

// Reads "", "sql", "0.7*fr+0.3*sql" or, with a task, "poly:2".
Result<Mix> readMix(const std::string &text);

// What the compiled code gets of the rows.
struct RowPlan {
  std::vector<adapter_segment_v1> segments;
  std::vector<adapter_assignment_v1> assignments;
  std::vector<int32_t> entries; // of each row, for devices
  bool isPlain = true; // no row has several adapters or one with a weight, so that `entries` says it all

  // The row behind those that are there already. It joins the segment in front of it if that has the same adapters
  // and less than `most` rows.
  void addRow(const std::vector<adapter_assignment_v1> &adapters, int64_t most = 1);
  // Puts the rows into `call`, which points into the plan.
  void describe(adapter_call_v1 &call) const;
};

} // namespace adapter::runtime

#endif // ADAPTER_LIB_RUNTIME_ROWS_H
