// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Orthogonal wavelets by name: db1 to db10, sym2 to sym10, coif1 to coif4.
#ifndef ADAPTER_LIB_CHECKPOINT_WAVELETS_H
#define ADAPTER_LIB_CHECKPOINT_WAVELETS_H

#include <string>
#include <vector>

namespace adapter::checkpoint {

struct Wavelet {
  int padding; // rows and columns that a reconstruction takes off
  std::vector<double>
      low; // the low-pass filter of reconstruction; the high-pass one is its alternating reverse
};

// Null where there is none of the name.
const Wavelet *findWavelet(const std::string &name);

} // namespace adapter::checkpoint

#endif // ADAPTER_LIB_CHECKPOINT_WAVELETS_H
