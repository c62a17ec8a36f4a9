// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What stands where in an adapter_entry_v1, see adapter-rt/artifact.h.
#ifndef ADAPTER_LIB_CODEGEN_ENTRYTENSORS_H
#define ADAPTER_LIB_CODEGEN_ENTRYTENSORS_H

namespace adapter {

enum EntryTensor {
  kDown = 0,
  kUp = 1,
  kColumnScale = 2, ///< of a linear
  kIndices = 2,     ///< of an embedding
  kRows = 3,
  kWhole = 4,
  kPlaces = 5,
  kAdded = 6,
  kStepTable = 7,
  kStepNumbers = 8,
  kStepIndices = 9
};

/// Which extent of a linear's entry says what.
enum EntryExtent {
  kRank = 0,
  kChanged = 3, ///< elements
  kSteps = 4,
  kStepsBefore = 5,
  kTemporaries = 6,
  kTemporaryWidth = 7,
  kReadsResult = 8
};

} // namespace adapter

#endif // ADAPTER_LIB_CODEGEN_ENTRYTENSORS_H
