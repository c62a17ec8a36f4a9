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
      {"o", "FILE", "What to write, by its suffix: .onnx .adapt .mlir .mlirbc .ll .s .o, or a folder",
       &Words::output},
      {"adapter", "[NAME=]PATH[@TIME][:scale=S]",
       "An adapter; TIME: build (default), switch, call, row, row-token, auto", &Words::adapters},
      {"combine", "NAME=METHOD:A[=WEIGHT],B...[@TIME]",
       "An adapter made of others, which do not act then; adapter-opt combine --help lists methods",
       &Words::combinations},
      {"adapter-slot", "NAME:FORMS[,rank=R][@TIME]",
       "Room for adapters that come later; FORMS as in lora+dora+replace", &Words::slots},
      {"forms", "FILE.mlir", "Definitions of methods of your own (docs/own-method.md)", &Words::forms},
      {"list-forms", "", "Print what each form asks of an adapter, those of --forms too; needs no input",
       &Words::listForms},
      {"bind", "NAME.PROPERTY@call",
       "What each call may set, scale or rank; NAME.task=N: the task that is meant", &Words::bindings},
      {"check", "", "Report where the adapters go, to standard output or -o; compile nothing", &Words::check},
      {"report", "text|json|html", "How --check reports (default: as the suffix of -o says)", &Words::report},
      {"plan", "", "Print when each adapter acts, why, and the bytes that this takes", &Words::plan},
      {"base", "PATH", "The base model's checkpoint: finds weights by contents and proves them",
       &Words::base},
      {"no-base", "", "Do not compare with the base that an adapter names", &Words::noBase},
      {"require-proof", "", "Refuse an adapter of which the base does not prove every parameter",
       &Words::requireProof},
      {"allow-other-base", "", "Attach to a model of other numbers than the base's", &Words::allowOtherBase},
      {"map", "OLD=NEW", "What a module of the adapters is called in the model; '*' for any text",
       &Words::renamings},
      {"ignore-missing", "GLOB", "Modules of the adapters that the model is known not to hold",
       &Words::ignoreMissing},
      {"allow-lossy-merge", "", "Merge even where rounding to 16 bits loses over a tenth of an update",
       &Words::lossy},
      {"target", "TARGET", "cpu:native (default), cpu:x86-64-v3, nvidia:sm_80, amd:gfx942, ...",
       &Words::target},
      {"row-axis", "INPUT=N", "The axis that carries the rows of a call (default: the first input's first)",
       &Words::rowAxis},
      {"partition-experts", "ranks=N[,profile=FILE]", "Share the model's experts among N processes (mpirun)",
       &Words::partition},
      {"weights", "bf16|f16|int8|int4[:group=N]", "Store the weights of products so; group: of one scale, 32",
       &Words::weights},
      {"activations", "int8|bf16|f32",
       "What narrow weights are multiplied with (default: int8 for integers, f32 for others)",
       &Words::activations},
      {"stateful", "", "Caches (past... and present...) are state that sessions keep", &Words::stateful},
      {"compile-to", "PHASE", "Print the module after a phase", &Words::compileTo},
      {"quiet", "", "Say nothing but warnings and errors", &Words::quiet},
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
