// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Convolutions as products with patches.
#include "lib/Checkpoint/Adapter.h"

namespace adapter::checkpoint {

void flattenConvolution(Update &update, bool ofProduct) {
  bool factors = update.form.rfind("lora_conv", 0) == 0;
  if (!factors && !(ofProduct && update.form == "replace"))
    return;
  if (factors)
    update.form.erase(4, 5); // lora, and what follows
  for (auto &[role, tensor] : update.tensors) {
    if (tensor.shape.size() <= 2)
      continue;
    int64_t first = tensor.shape[0];
    tensor.shape = {first, first ? tensor.elements() / first : 0};
  }
}

} // namespace adapter::checkpoint
