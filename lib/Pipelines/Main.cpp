// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The adapter-opt command: its command line, and where it prints.
#include "lib/Pipelines/Main.h"
#include "adapter/InitAll.h"
#include "adapter/Version.h"
#include "lib/Checkpoint/Temporary.h"
#include "lib/Checkpoint/Text.h"
#include "lib/Diff/Combine.h"
#include "lib/Diff/Diff.h"
#include "lib/Pipelines/Changes.h"
#include "lib/Pipelines/Driver.h"
#include "lib/Pipelines/Help.h"
#include "lib/Pipelines/Progress.h"
#include "lib/Pipelines/PythonCommand.h"
#include "mlir/IR/AsmState.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"
#include "llvm/Config/llvm-config.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/InitLLVM.h"
#include "llvm/Support/MemoryBuffer.h"

using namespace mlir;
using namespace adapter;
using checkpoint::Result;

// Where the command says something.
static Console standardConsole() {
  auto say = [](const char *kind) {
    return [kind](const std::string &message) {
      llvm::errs() << "adapter-opt: " << kind << checkpoint::printable(message) << '\n';
    };
  };
  Console console{llvm::outs(), say("error: "), say("warning: ")};
  console.note = say("");
  console.isTerminal = llvm::outs().is_displayed();
  return console;
}

// The same, which shows what the run is at where somebody looks.
static Console withProgress(Console console, Progress &progress) {
  auto above = [&progress](std::function<void(const std::string &)> say) {
    return [&progress, say = std::move(say)](const std::string &message) {
      progress.hide();
      say(message);
    };
  };
  console.error = above(std::move(console.error));
  console.warning = above(std::move(console.warning));
  console.note = above(std::move(console.note));
  console.step = [&progress](StringRef name, size_t done, size_t all) { progress.step(name, done, all); };
  return console;
}

static ExitCode run(const CommandLine &line, DialectRegistry &registry, const Console &console) {
  MlirOptMainConfig config = MlirOptMainConfig::createFromCLOptions();
  // Lists need no input.
  if (config.shouldShowDialects() || config.shouldListPasses()) {
    LogicalResult listed = MlirOptMain(llvm::outs(), llvm::MemoryBuffer::getMemBuffer(""), registry, config);
    return succeeded(listed) ? done : inputAtFault;
  }
  if (line.listForms)
    return listForms(line, registry, console);
  if (line.isText())
    return runOnText(line, registry, config, console);
  Progress progress(llvm::errs().is_displayed() && !line.quiet);
  Console shown = withProgress(console, progress);
  if (line.quiet)
    shown.note = [](const std::string &) {};
  return runOnModels(line, registry, config, shown);
}

// Whether standard output took all that was written. LLVM would end the process with a message of its own.
static bool flushed(const Console &console) {
  llvm::outs().flush();
  std::error_code code = llvm::outs().error();
  llvm::outs().clear_error();
  if (code)
    console.error("standard output: cannot write: " + code.message());
  return !code;
}

// Parses this project's options among MLIR's; the message of what is wrong with them.
static Result<Words> parseArguments(int argc, char **argv, DialectRegistry &registry) {
  hideOptionsOfLLVM();
  Words (*read)() = registerOptions();
  MlirOptMainConfig::registerCLOptions(registry);
  registerAsmPrinterCLOptions();
  registerMLIRContextCLOptions();
  registerPassManagerCLOptions();
  registerDefaultTimingManagerCLOptions();
  llvm::cl::SetVersionPrinter([](llvm::raw_ostream &out) {
    out << "adapter-opt " ADAPTER_VERSION "\nLLVM " LLVM_VERSION_STRING "\n";
  });
  std::string errors;
  llvm::raw_string_ostream stream(errors);
  std::vector<const char *> arguments(argv, argv + argc);
  // What LLVM prints for --help is everything.
  for (const char *&argument : arguments)
    if (StringRef(argument) == "--help-all")
      argument = "--help";
#if defined(__SANITIZE_THREAD__)
  // LLVM's thread pool is in a library that is not instrumented: the sanitizer does not see what orders its tasks.
  arguments.insert(arguments.begin() + 1, "--mlir-disable-threading");
#endif
  if (!llvm::cl::ParseCommandLineOptions(static_cast<int>(arguments.size()), arguments.data(), helpOverview,
                                         &stream))
    return checkpoint::Error{complaintOf(errors)};
  return read();
}

// Whether one of the words stands among the options.
static bool asksFor(int argc, char **argv, std::initializer_list<StringRef> words) {
  for (int i = 1; i < argc && StringRef(argv[i]) != "--"; ++i)
    if (llvm::is_contained(words, argv[i]))
      return true;
  return false;
}

int adapter::adapterOptMain(int argc, char **argv) {
  llvm::InitLLVM init(argc, argv);
  if (argc > 1 && isPythonCommand(argv[1]))
    return pythonCommand(argc, argv);
  checkpoint::removeTemporariesOnSignal();
  if (argc > 1 && StringRef(argv[1]) == "diff")
    return diff::command(argc, argv);
  if (argc > 1 && StringRef(argv[1]) == "combine")
    return diff::combineCommand(argc, argv, openChanges);
  Console console = standardConsole();
  if (std::string later = optionNotYet({argv + 1, argv + argc}); !later.empty())
    return console.fail(wrongUsage, later);
  if (asksFor(argc, argv, {"--help", "-help", "-h"})) {
    console.out << helpText();
    return flushed(console) ? done : inputAtFault;
  }
  DialectRegistry registry;
  registerAllDialects(registry);
  registerAllPasses();
  if (asksFor(argc, argv, {"--help-passes"})) {
    printRegisteredPasses();
    return flushed(console) ? done : inputAtFault;
  }
  Result<Words> words = parseArguments(argc, argv, registry);
  if (!words)
    return console.fail(wrongUsage, words.error().message);
  Result<CommandLine> line = interpret(*words);
  if (!line)
    return console.fail(wrongUsage, line.error().message);
  ExitCode code = run(*line, registry, console);
  return flushed(console) || code ? code : inputAtFault;
}
