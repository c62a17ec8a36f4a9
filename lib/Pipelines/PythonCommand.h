// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// adapter-opt verify, adapter-opt export and adapter-opt convert. ONNX Runtime, PyTorch, transformers and NumPy, which do
// their work, are Python packages, and so the commands are Python: adapter_opt/verify_command.py, export_command.py and
// convert_command.py.
#ifndef ADAPTER_LIB_PIPELINES_PYTHONCOMMAND_H
#define ADAPTER_LIB_PIPELINES_PYTHONCOMMAND_H

#include "llvm/ADT/StringRef.h"

namespace adapter {

/// Whether the first word of a command line is one of these commands.
bool isPythonCommand(llvm::StringRef word);

/// Becomes Python with the arguments behind the command in argv[1]; returns the exit code where that is not possible.
int pythonCommand(int argc, char **argv);

} // namespace adapter

#endif // ADAPTER_LIB_PIPELINES_PYTHONCOMMAND_H
