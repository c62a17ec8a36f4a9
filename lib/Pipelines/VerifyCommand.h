// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// adapter-opt verify: a model's answers beside a reference's. The reference runs in ONNX Runtime, which is a Python
// package, and so the command is Python: adapter_opt/verify_command.py.
#ifndef ADAPTER_LIB_PIPELINES_VERIFYCOMMAND_H
#define ADAPTER_LIB_PIPELINES_VERIFYCOMMAND_H

namespace adapter {

/// Becomes Python with the arguments behind `verify`; returns the exit code where that is not possible.
int verifyCommand(int argc, char **argv);

} // namespace adapter

#endif // ADAPTER_LIB_PIPELINES_VERIFYCOMMAND_H
