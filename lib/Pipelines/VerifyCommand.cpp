// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// See VerifyCommand.h.
#include "lib/Pipelines/VerifyCommand.h"
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

static constexpr const char *program = R"(
import sys
try:
    from adapter_opt.verify_command import main
except (ImportError, SyntaxError) as error:
    sys.exit(f"adapter-opt: error: verify needs a Python on the path that has NumPy, ONNX Runtime and the package "
             f"adapter_opt ({error}): pip install numpy onnxruntime, and make build for the package")
sys.exit(main(sys.argv[1:]))
)";

int adapter::verifyCommand(int argc, char **argv) {
  namespace path = llvm::sys::path;
  // The package and this very program, as a build lays them out: bin/adapter-opt, python/adapter_opt.
  std::string self = llvm::sys::fs::getMainExecutable(argv[0], reinterpret_cast<void *>(&verifyCommand));
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
  std::vector<const char *> words{"python3", "-c", program};
  words.insert(words.end(), argv + 2, argv + argc);
  words.push_back(nullptr);
  llvm::outs().flush();
  execvp(words[0], const_cast<char **>(words.data()));
  llvm::errs() << "adapter-opt: error: verify runs in Python, and python3 cannot be started: "
               << std::strerror(errno) << "; install it, with numpy and onnxruntime\n";
  return 1;
}
