// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What updates are called.
#include "lib/Checkpoint/Adapter.h"

namespace adapter::checkpoint {

std::string Update::formText() const {
  std::string text = bottleneck ? bottleneck->text() : mixture ? mixture->text() : form;
  return masked ? text + "+" + word(masked->mode) + std::to_string(masked->count) : text;
}

} // namespace adapter::checkpoint
