// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Files of arrays on the command line of adapter-run: what --input reads and --output writes.
#ifndef ADAPTER_LIB_RUNTOOL_INPUTFILES_H
#define ADAPTER_LIB_RUNTOOL_INPUTFILES_H

#include "lib/Checkpoint/Result.h"
#include "lib/Checkpoint/Tensor.h"
#include <string>
#include <vector>

namespace adapter::runtool {

// Whether a path is that of an archive; its suffix says so.
bool isArchive(const std::string &path);

// The inputs that one --input brings, under their names. Without a name all arrays of an archive; with one the array
// of an .npy file or, of an archive, the one of that name or the only one.
checkpoint::Result<std::vector<checkpoint::Tensor>> readInputs(const std::string &name,
                                                               const std::string &path);

// Why outputs cannot be written there, or nothing; `count` is 0 as long as the model is not known.
std::string complaintOfOutput(const std::string &path, size_t count);
checkpoint::Status writeOutputs(const std::string &path, const std::vector<checkpoint::Tensor> &outputs);

} // namespace adapter::runtool

#endif // ADAPTER_LIB_RUNTOOL_INPUTFILES_H
