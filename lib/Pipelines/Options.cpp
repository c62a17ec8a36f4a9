// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The table of adapter-opt's options, and two parsers that go by it: LLVM's for the command, which mixes them with
// passes and options of MLIR, and one without any state for calls within a process.
#include "lib/Pipelines/CommandLine.h"
#include "llvm/Support/CommandLine.h"
#include <functional>
#include <memory>

using namespace adapter;
using checkpoint::Error;
using checkpoint::Result;
using llvm::StringRef;
namespace cl = llvm::cl;

using List = std::vector<std::string>;
using Optional = std::optional<std::string>;

llvm::ArrayRef<OptionEntry> adapter::optionTable() {
  static const OptionEntry table[] = {
      {"o", "file",
       "Output, by its suffix: .onnx .mlir .mlirbc .ll .s .o .ptx .hsaco .spv .adapt; or a folder",
       &Words::output},
      {"target", "cpu[:native|x86-64-v3|x86-64-v4]|nvidia:sm_80|amd:gfx942|spirv:vulkan|spirv:opencl",
       "What code is compiled for", &Words::target},
      {"compile-to", "phase", "Print the module after a phase", &Words::compileTo},
      {"adapter", "NAME=PATH[@build|switch|call|row|row-token|auto][:scale=S|@call]",
       "An adapter: a PEFT folder or its .safetensors, and when it acts (default: build)", &Words::adapters},
      {"adapter-slot", "NAME:FORM[+FORM...][,rank=R][,modules=GLOB,...][@load|switch|call|row|row-token]",
       "Room for adapters that arrive later; forms: lora dora embedding rows add replace (default: "
       "any rank, all modules, row)",
       &Words::slots},
      {"bind", "NAME.PROPERTY@call|NAME.task=N",
       "A property of an adapter or slot, scale or rank, that each call may set; or the task "
       "that is meant, of an adapter of several",
       &Words::bindings},
      {"ignore-missing", "glob", "Modules of the adapters that the models are known not to hold",
       &Words::ignoreMissing},
      {"base", "file or folder",
       "The checkpoint that the models were exported from: finds weights by their contents, and proves "
       "that the models are the adapters' base",
       &Words::base},
      {"no-base", "", "Do not compare with the base that an adapter names, where that is on this machine",
       &Words::noBase},
      {"allow-other-base", "",
       "Attach to a model that holds other numbers than the base that is compared with it",
       &Words::allowOtherBase},
      {"require-proof", "", "Refuse an adapter of which any parameter is not proved by the base's contents",
       &Words::requireProof},
      {"map", "OLD=NEW",
       "Rename modules of the adapters, where no rule finds them: whole paths or their first names, "
       "'*' for any text",
       &Words::renamings},
      {"row-axis", "INPUT=N", "The axis that carries the rows of a call (default: the first input's first)",
       &Words::rowAxis},
      {"allow-lossy-merge", "",
       "Merge even where rounding to f16 or bf16 loses more than a tenth of an update", &Words::lossy},
      {"partition-experts", "ranks=N[,profile=FILE]",
       "Share the experts of the model among N processes (mpirun), by what adapter-run profile saw",
       &Words::partition},
      {"plan", "",
       "Print when each adapter acts, why, and the bytes that this takes; which "
       "rank has how much, with --partition-experts",
       &Words::plan},
      {"check", "", "Print where the adapters go; compile nothing", &Words::check},
      {"report", "text|json|html", "How --check reports", &Words::report},
  };
  return table;
}

//===----------------------------------------------------------------------===//
// By LLVM
//===----------------------------------------------------------------------===//

namespace {
// Reads one registered option into its place.
using Reader = std::function<void(Words &)>;
} // namespace

static cl::OptionCategory &category() {
  static cl::OptionCategory options("Adapter options"); // --help sorts categories by name
  return options;
}

template <typename Option, typename T>
static Reader registerOption(const OptionEntry &entry, T Words::*place) {
  auto option = std::make_shared<Option>(entry.name, cl::desc(entry.help), cl::cat(category()));
  if (!entry.value.empty())
    option->setValueStr(entry.value);
  return [option, place](Words &words) {
    if (!option->getNumOccurrences())
      return;
    if constexpr (std::is_same_v<T, List>)
      words.*place = *option;
    else
      words.*place = option->getValue();
  };
}

static Reader registerEntry(const OptionEntry &entry) {
  if (auto *flag = std::get_if<bool Words::*>(&entry.place))
    return registerOption<cl::opt<bool>>(entry, *flag);
  if (auto *text = std::get_if<std::string Words::*>(&entry.place))
    return registerOption<cl::opt<std::string>>(entry, *text);
  if (auto *text = std::get_if<Optional Words::*>(&entry.place))
    return registerOption<cl::opt<std::string>>(entry, *text);
  return registerOption<cl::list<std::string>>(entry, std::get<List Words::*>(entry.place));
}

// Options live as long as LLVM's parser, which refers to them.
static const std::vector<Reader> &readers() {
  static const auto *all = [] {
    auto *made = new std::vector<Reader>;
    auto inputs = std::make_shared<cl::list<std::string>>(
        cl::Positional, cl::desc("<inputs: .onnx, .mlir, a folder, or ->"), cl::cat(category()));
    made->push_back([inputs](Words &words) { words.inputs = *inputs; });
    for (const OptionEntry &entry : optionTable())
      made->push_back(registerEntry(entry));
    return made;
  }();
  return *all;
}

Words (*adapter::registerOptions())() {
  readers();
  return +[] {
    Words words;
    for (const Reader &reader : readers())
      reader(words);
    return words;
  };
}

//===----------------------------------------------------------------------===//
// Without state
//===----------------------------------------------------------------------===//

static const OptionEntry *findEntry(StringRef name) {
  const OptionEntry *found =
      llvm::find_if(optionTable(), [&](const auto &each) { return each.name == name; });
  return found == optionTable().end() ? nullptr : found;
}

Result<Words> adapter::parseWords(llvm::ArrayRef<std::string> arguments) {
  Words words;
  for (size_t i = 0; i < arguments.size(); ++i) {
    StringRef argument = arguments[i];
    if (argument == "--") {
      llvm::append_range(words.inputs, arguments.drop_front(i + 1));
      break;
    }
    if (argument == "-" || !argument.consume_front("-")) {
      words.inputs.push_back(argument.str());
      continue;
    }
    argument.consume_front("-");
    StringRef name = argument.split('=').first;
    bool hasValue = name.size() != argument.size();
    std::string value = argument.split('=').second.str();
    const OptionEntry *entry = findEntry(name);
    if (!entry)
      return Error{("there is no option --" + name).str()};
    if (auto *flag = std::get_if<bool Words::*>(&entry->place)) {
      if (hasValue)
        return Error{("--" + name + " takes no value").str()};
      words.*(*flag) = true;
      continue;
    }
    if (!hasValue && ++i == arguments.size())
      return Error{("--" + name + " needs a value").str()};
    if (!hasValue)
      value = arguments[i];
    if (auto *text = std::get_if<std::string Words::*>(&entry->place))
      words.*(*text) = value;
    else if (auto *text = std::get_if<Optional Words::*>(&entry->place))
      words.*(*text) = value;
    else
      (words.*std::get<List Words::*>(entry->place)).push_back(value);
  }
  return words;
}
