// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// How attention lays out keys and values, for code and for what an artifact says of the memory that it needs.
#ifndef ADAPTER_LIB_CODEGEN_KEYLAYOUT_H
#define ADAPTER_LIB_CODEGEN_KEYLAYOUT_H

#include <cstdint>

namespace adapter {

/// How keys and values of one head lie in memory, in numbers of f32: keys in panels of one column block each,
/// [key blocks][width][block], values in [key steps][blocks of their width][keys of a step][block].
struct KeyLayout {
  int64_t keyWidth, valueWidth, columns; ///< columns of a panel

  /// Keys that are taken at a time; capacities are multiples of it.
  int64_t step() const { return 2 * columns; }
  int64_t valueBlocks() const { return (valueWidth + columns - 1) / columns; }
  int64_t keyNumbers() const { return keyWidth; }                  ///< of one key
  int64_t valueNumbers() const { return valueBlocks() * columns; } ///< of one value
};

} // namespace adapter

#endif // ADAPTER_LIB_CODEGEN_KEYLAYOUT_H
