// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// adapter-run profile: which experts a model's routers choose.
#ifndef ADAPTER_LIB_RUNTOOL_PROFILECOMMAND_H
#define ADAPTER_LIB_RUNTOOL_PROFILECOMMAND_H

#include "lib/RunTool/OpenModel.h"

namespace adapter::runtool {

// Runs the model on every batch and writes the profile to `path`; a line for each layer goes to standard output.
Status profileRouting(OpenModel &model, const std::string &path);

} // namespace adapter::runtool

#endif // ADAPTER_LIB_RUNTOOL_PROFILECOMMAND_H
