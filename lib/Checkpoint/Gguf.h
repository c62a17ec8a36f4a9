// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The GGUF format of llama.cpp, versions 2 and 3: key-value pairs, then tensors.
#ifndef ADAPTER_LIB_CHECKPOINT_GGUF_H
#define ADAPTER_LIB_CHECKPOINT_GGUF_H

#include "lib/Checkpoint/File.h"
#include "lib/Checkpoint/Tensor.h"
#include <map>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace adapter::checkpoint {

// A number, a text, or a list, of which only its length is kept. Truth values are 0 and 1.
struct GgufList {
  uint64_t size = 0;
};
using GgufValue = std::variant<double, std::string, GgufList>;

struct Gguf {
  std::map<std::string, GgufValue> fields;
  // Shapes as in PyTorch, the fastest dimension last. Types are f32, f16, bf16 and f64; q8_0 is widened to f32.
  std::vector<Tensor> tensors;

  // Null where there is none, or one of another type.
  const std::string *text(const std::string &field) const;
  const double *number(const std::string &field) const;
};

bool isGguf(std::string_view bytes); // by how a file begins

// Maps a file. Counts, lengths and offsets are checked against it before anything is allocated for them.
Result<Gguf> readGguf(const std::string &path);

} // namespace adapter::checkpoint

#endif // ADAPTER_LIB_CHECKPOINT_GGUF_H
