// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// See Help.h.
#include "lib/Pipelines/Help.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/CommandLine.h"

using namespace llvm;

void adapter::hideOptionsOfLLVM() {
  for (auto &[name, option] : cl::getRegisteredOptions()) {
    // --help and its like are LLVM's too.
    if (name.starts_with("help") || name == "version")
      continue;
    option->setHiddenFlag(cl::ReallyHidden);
  }
}

const char *const adapter::helpOverview = R"(compiler for models that carry adapters

  adapter-opt base.onnx --adapter sql=sql-lora/ --check            does it fit? module by module
  adapter-opt base.onnx --adapter sql=sql-lora/ -o merged.onnx     one plain model
  adapter-opt base.onnx --adapter a=a/@row --adapter b=b/@row -o model.adapt
                                                                   compiled; each row has its own adapter
  adapter-opt base.onnx --compile-to=linalg                        the module after a phase
  adapter-opt x.mlir --canonicalize                                an mlir-opt
  adapter-opt export model-folder -o folder/                       from transformers to ONNX; see export --help
  adapter-opt diff base.safetensors tuned.safetensors --as sparse -o folder/
                                                                   what changed, as an adapter; see diff --help
  adapter-opt verify model.adapt --samples in_out.npz              does it give what is expected? see verify --help

Exit codes: 0 done, 1 a model or an adapter is at fault, 2 wrong usage.
)";

std::string adapter::optionNotYet(ArrayRef<char *> arguments) {
  static constexpr StringRef later[] = {"combine", "base-as",     "stateful",
                                        "weights", "activations", "row-dense-budget"};
  for (StringRef argument : arguments) {
    if (argument == "--")
      break;
    if (!argument.consume_front("--"))
      continue;
    StringRef name = argument.split('=').first;
    if (is_contained(later, name))
      return ("--" + name + " is not there yet").str();
  }
  return "";
}

std::string adapter::complaintOf(StringRef errors) {
  SmallVector<StringRef> lines;
  errors.split(lines, '\n', /*MaxSplit=*/-1, /*KeepEmpty=*/false);
  std::string complaint;
  for (StringRef line : lines) {
    line.consume_front("adapter-opt: ");
    line = line.split("  Try: ").first.trim(" .");
    if (line.consume_front("Did you mean"))
      complaint += "; did you mean" + line.str();
    else
      complaint += (complaint.empty() ? "" : "; ") + line.str();
  }
  if (!StringRef(complaint).ends_with("?"))
    complaint += "; try adapter-opt --help";
  return complaint;
}
