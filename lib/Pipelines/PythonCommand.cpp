// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// See PythonCommand.h.
#include "lib/Pipelines/PythonCommand.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string>
#include <unistd.h>
#include <vector>

namespace {

struct Command {
  const char *name, *packages, *install;
};

} // namespace

static constexpr Command commands[] = {
    {"verify", "NumPy, ONNX Runtime", "numpy onnxruntime"},
    {"convert", "NumPy", "numpy"},
    {"export", "NumPy", "numpy torch transformers onnx onnxscript"},
};

static const Command *find(llvm::StringRef word) {
  for (const Command &command : commands)
    if (word == command.name)
      return &command;
  return nullptr;
}

static constexpr const char *program = R"(
import importlib, sys
name, packages, install = sys.argv[1:4]
try:
    main = importlib.import_module(f"adapter_opt.{name}_command").main
except (ImportError, SyntaxError) as error:
    sys.exit(f"adapter-opt: error: {name} needs a Python on the path that has {packages} and the package "
             f"adapter_opt ({error}): pip install {install}, and make build for the package")
sys.exit(main(sys.argv[4:]))
)";

bool adapter::isPythonCommand(llvm::StringRef word) { return find(word); }

int adapter::pythonCommand(int argc, char **argv) {
  namespace path = llvm::sys::path;
  // The package and this very program, as a build lays them out: bin/adapter-opt, python/adapter_opt.
  std::string self = llvm::sys::fs::getMainExecutable(argv[0], reinterpret_cast<void *>(&pythonCommand));
  llvm::StringRef bin = path::parent_path(self);
  llvm::SmallString<256> package(path::parent_path(bin));
  path::append(package, "python");
  if (llvm::sys::fs::is_directory(package)) {
    std::string searched = package.str().str();
    if (const char *before = std::getenv("PYTHONPATH"); before && *before)
      searched += std::string(":") + before;
    setenv("PYTHONPATH", searched.c_str(), 1);
  }
  setenv("ADAPTER_OPT_BIN", bin.str().c_str(), 0);
  setenv("PYTHONSAFEPATH", "1", 1); // what lies in the working directory is not a module
  const Command &command = *find(argv[1]);
  std::vector<const char *> words{"python3", "-c", program, command.name, command.packages, command.install};
  words.insert(words.end(), argv + 2, argv + argc);
  words.push_back(nullptr);
  llvm::outs().flush();
  execvp(words[0], const_cast<char **>(words.data()));
  llvm::errs() << "adapter-opt: error: " << command.name
               << " runs in Python, and python3 cannot be started: " << std::strerror(errno)
               << "; install it, then pip install " << command.install << "\n";
  return 1;
}
