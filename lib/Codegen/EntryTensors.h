// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Which tensor stands where in an adapter_entry_v1, see adapter-rt/artifact.h.
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
  kAdded = 6
};

} // namespace adapter

#endif // ADAPTER_LIB_CODEGEN_ENTRYTENSORS_H
