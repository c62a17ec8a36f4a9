// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// adapter-run generate: continues rows of tokens through a session.
#ifndef ADAPTER_LIB_RUNTOOL_GENERATECOMMAND_H
#define ADAPTER_LIB_RUNTOOL_GENERATECOMMAND_H

#include "lib/RunTool/OpenModel.h"

namespace adapter::runtool {

// Continues the prompts of the options by the best token each time and prints the new tokens, a line for each row, once
// the model's files are found to be whole.
Status generate(OpenModel &model, const Options &options);

} // namespace adapter::runtool

#endif // ADAPTER_LIB_RUNTOOL_GENERATECOMMAND_H
