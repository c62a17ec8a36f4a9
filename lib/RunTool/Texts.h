// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Options of adapter-run whose values are texts with a form of their own.
#ifndef ADAPTER_LIB_RUNTOOL_TEXTS_H
#define ADAPTER_LIB_RUNTOOL_TEXTS_H

#include "lib/RunTool/OpenModel.h"
#include <string>
#include <vector>

namespace adapter::runtool {

// The options as they stand on the command line.
struct Texts {
  std::vector<std::string> loads, settings, inputs, prompts;
  std::string rowAdapters, ends;
};

// Thrown and caught within the command line, as CLI11's own errors are.
struct UsageError {
  std::string message;
};

// Reads them into `options`; throws UsageError.
void readTexts(const Texts &texts, bool hasRows, Options &options);

} // namespace adapter::runtool

#endif // ADAPTER_LIB_RUNTOOL_TEXTS_H
