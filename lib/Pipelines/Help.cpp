// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// See Help.h.
#include "lib/Pipelines/Help.h"
#include "lib/Pipelines/CommandLine.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/FormatAdapters.h"
#include "llvm/Support/raw_ostream.h"

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

  adapter-opt base.onnx --adapter sql=sql-lora --check          does it fit? module by module
  adapter-opt base.onnx --adapter sql=sql-lora -o merged.onnx   one plain model
  adapter-opt base.onnx --adapter a-lora@row --adapter b-lora@row -o model.adapt
                                                                compiled; each row has its own adapter
  adapter-opt x.mlir --canonicalize                             an mlir-opt: --help-passes, --help-all
  adapter-opt export|convert|diff|combine|verify --help         transformers to ONNX; files of papers' authors,
                                                                or what changed, as an adapter; several as one;
                                                                is it as expected?

Exit codes: 0 done, 1 a model or an adapter is at fault, 2 wrong usage.
)";

std::string adapter::helpText() {
  std::string text = "adapter-opt: ";
  raw_string_ostream stream(text);
  stream << helpOverview << "\nOptions:\n";
  static constexpr size_t column = 44;
  auto line = [&](const std::string &option, StringRef help) {
    stream << "  " << llvm::left_justify(option, column) << help << "\n";
  };
  for (const OptionEntry &entry : optionTable())
    line((entry.name.size() == 1 ? "-" : "--") + entry.name.str() + (entry.value.empty() ? "" : " ") +
             entry.value.str(),
         entry.help);
  line("--help, --help-passes, --help-all", "This; the passes; every option, those of MLIR too");
  line("--version", "Versions of this program and of LLVM");
  return text;
}

std::string adapter::optionNotYet(ArrayRef<char *> arguments) {
  static constexpr StringRef later[] = {"base-as", "row-dense-budget"};
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
