// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Matrices that tools stored as integers of 4 or 8 bits, in one layout whichever operator reads them.
#ifndef ADAPTER_LIB_SUPPORT_QUANTISED_H
#define ADAPTER_LIB_SUPPORT_QUANTISED_H

#include "lib/Checkpoint/Result.h"
#include "lib/Checkpoint/Tensor.h"
#include <functional>

namespace adapter {

/// The attribute of an adapter.parameter whose contents are such a matrix: a dictionary of `codes`, `scales` and perhaps
/// `zeros`, tensors of the archive quantisedScope, and of `block`, `format` and perhaps `transposed`, as kernel.dequantize
/// has them. The store holds nothing under the parameter's own name.
inline constexpr const char *quantisedAttribute = "adapter.quantised";
inline constexpr const char *quantisedScope = "quantised";

/// Element [r, c] is scales[r, c / block] * (codes[r, c] - zeros[r, c / block]).
struct Quantised {
  checkpoint::Tensor
      codes; ///< bytes [rows, ..], with two codes in each where they have 4 bits, the low half first
  checkpoint::Tensor scales; ///< f32 [rows, blocks]
  checkpoint::Tensor zeros;  ///< likewise; none where all are half of the codes' range
  int64_t rows = 0, columns = 0, block = 0, bits = 8;
  int64_t group = 0;       ///< so many columns of a product's group; 0: blocks do not consist of groups
  bool wideScales = false; ///< not all scales and zeros are numbers of f16
};

/// Elements of a tensor of integers of any type up to 32 bits.
class IntegerView {
public:
  explicit IntegerView(const checkpoint::Tensor &tensor) : tensor(tensor) {}
  static bool isKnown(checkpoint::DType type);
  int32_t operator[](int64_t i) const;

private:
  const checkpoint::Tensor &tensor;
};

/// Integers of so few bits as f32 [rows, perRow]: those of a row lie one behind the other in whole bytes, from the lowest
/// bit on.
checkpoint::Tensor unpackedBits(const checkpoint::Tensor &bytes, int64_t rows, int64_t perRow, int64_t bits);

/// The matrix in f32, or its transpose.
checkpoint::Tensor dequantised(const Quantised &matrix, bool transposed);

/// Sets what follows from the rest: the group, wideScales, no zeros where they say nothing.
void settle(Quantised &matrix);

} // namespace adapter

#endif // ADAPTER_LIB_SUPPORT_QUANTISED_H
