// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The body of adapter-opt. One textual input that becomes text goes the way of every mlir-opt, with its options for
// tests; models and several inputs go through lib/Pipelines/Files.
#include "lib/Pipelines/Driver.h"
#include "lib/Checkpoint/Work.h"
#include "lib/Compile/Passes.h"
#include "lib/Conversion/Passes.h"
#include "lib/Pipelines/Archives.h"
#include "lib/Pipelines/Compile.h"
#include "lib/Pipelines/Files.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Support/FileUtilities.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"

using namespace mlir;
using namespace adapter;
using checkpoint::Error;
using checkpoint::Result;
using checkpoint::Status;

namespace {
// Binds the tensors that a textual module names before any pass asks for them.
struct BindArchivesPass : PassWrapper<BindArchivesPass, OperationPass<ModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(BindArchivesPass)
  explicit BindArchivesPass(std::string folder) : folder(std::move(folder)) {}
  void runOnOperation() override {
    if (Status status = bindArchives(getOperation(), folder); !status) {
      getOperation().emitError(status.error().message);
      signalPassFailure();
    }
  }
  StringRef getArgument() const override { return "bind-archives"; }
  std::string folder;
};

// Standard output lies in no folder: what it refers to is named from the working directory.
struct ReferToSourcesPass : PassWrapper<ReferToSourcesPass, OperationPass<ModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(ReferToSourcesPass)
  void runOnOperation() override {
    if (!getOperation()->hasAttr(archivesAttribute))
      return;
    if (Status status = referToSources(getOperation()); !status) {
      getOperation().emitError(status.error().message);
      signalPassFailure();
    }
  }
  StringRef getArgument() const override { return "refer-to-sources"; }
};
} // namespace

// Where in the inputs an error is, as messages begin; names of nodes are in the messages themselves.
static std::string placeOf(Location location, llvm::ArrayRef<std::string> inputs) {
  std::string place = inputs.size() == 1 ? inputs.front() + ": " : "";
  location->walk([&](Location part) {
    auto line = dyn_cast<FileLineColLoc>(part);
    if (!line)
      return WalkResult::advance();
    place = llvm::formatv("{0}:{1}:{2}: ", line.getFilename().getValue(), line.getLine(), line.getColumn());
    return WalkResult::interrupt();
  });
  return place;
}

ExitCode adapter::runOnText(const CommandLine &line, DialectRegistry &registry, MlirOptMainConfig config,
                            const Console &console) {
  std::string message;
  std::unique_ptr<llvm::MemoryBuffer> input = openInputFile(line.inputs.front(), &message);
  if (!input)
    return console.fail(inputAtFault, message);
  if (line.inputs.front() == "-" && input->getBufferSize() == 0)
    return console.fail(wrongUsage, "there is no input; name a model, or see --help");
  std::string folder = llvm::sys::path::parent_path(line.inputs.front()).str();
  auto user = std::make_shared<MlirOptMainConfig>(config);
  config.setPassPipelineSetupFn([=](PassManager &manager) {
    if (manager.getOpAnchorName() != ModuleOp::getOperationName())
      return user->setupPassPipeline(manager);
    manager.addPass(std::make_unique<BindArchivesPass>(folder.empty() ? "." : folder));
    if (failed(user->setupPassPipeline(manager)))
      return failure();
    manager.addPass(std::make_unique<ReferToSourcesPass>());
    return success();
  });
  std::string text;
  llvm::raw_string_ostream stream(text);
  if (failed(MlirOptMain(stream, std::move(input), registry, config)))
    return inputAtFault;
  console.out << text;
  return done;
}

// Compiles as far as the output or --compile-to asks for, and writes.
static Status writeResult(ModuleOp module, const CommandLine &line, const Console &console) {
  StringRef output = line.output;
  if (!line.endsWithPlan() && ((!line.isCode() && line.compileTo.empty()) || line.endsBefore("optimise")))
    return writeOutput(module, line.output, console.out, line.inputs);
  Result<Target> target = resolveTarget(line.target);
  if (!target)
    return target.error();
  CompileOptions options;
  options.target = *target;
  options.rowInput = line.rowInput;
  options.rowAxis = line.rowAxis;
  options.partition = line.partition;
  if (line.endsWithPlan())
    return runPhases(module, options, "optimise");
  if (!line.compileTo.empty()) {
    if (Status status = runPhases(module, options, line.compileTo); !status)
      return status;
    return writeOutput(module, line.output, console.out, line.inputs);
  }
  return output.ends_with(".adapt") ? compileArtifact(module, options, output)
                                    : compileText(module, options, output);
}

// Binds the adapters. Nothing where compilation goes on, else the exit code.
static std::optional<ExitCode> runAttach(ModuleOp module, const CommandLine &line, const Console &console) {
  AttachReport report;
  if (Status status =
          attachAdapters(module, line.adapters.adapters, line.adapters.slots, line.attach, report);
      !status)
    return console.fail(inputAtFault, status.error().message);
  if (line.attach.checkOnly)
    console.out << (line.report == "json"   ? reportJson(report)
                    : line.report == "html" ? reportHtml(report)
                                            : reportTable(report));
  if (line.plan)
    console.out << planText(report);
  if (std::string why = complaint(report); !why.empty())
    return console.fail(inputAtFault, why);
  // Without an output the report is all that was asked for.
  bool reportOnly = line.attach.checkOnly ||
                    (line.plan && line.output == "-" && line.compileTo.empty() && !line.endsWithPlan());
  return reportOnly ? std::optional(done) : std::nullopt;
}

// The output must not take an input's place. Files that the inputs refer to are seen when they are written.
static std::string whyDestructive(const CommandLine &line, llvm::ArrayRef<std::string> inputs) {
  for (const std::string &input : inputs) {
    StringRef folder = llvm::sys::path::parent_path(input);
    if (line.output == "-" || input == "-")
      continue;
    if (llvm::sys::fs::equivalent(line.output, input))
      return line.output + ": the output is an input; name another output";
    if (llvm::sys::fs::equivalent(line.output, folder.empty() ? "." : folder))
      return line.output + ": the output's folder holds the input " + input + "; name another output";
  }
  return "";
}

// Lets no pass begin once the work is called off; what is left then is thrown away.
static void watch(MLIRContext &context, const checkpoint::Work &work) {
  context.registerActionHandler([&work](llvm::function_ref<void()> run, const tracing::Action &action) {
    if (!isa<PassExecutionAction>(action) || !work.isCancelled())
      run();
  });
}

ExitCode adapter::runOnModels(const CommandLine &line, const DialectRegistry &registry,
                              const MlirOptMainConfig &config, const Console &console) {
  Result<std::vector<std::string>> inputs = expandInputs(line.inputs);
  if (!inputs)
    return console.fail(inputAtFault, inputs.error().message);
  if (std::string why = whyDestructive(line, *inputs); !why.empty())
    return console.fail(inputAtFault, why);
  // Work within a process has one thread: passes within functions are a small part, and what another thread throws
  // nobody catches.
  const checkpoint::Work *work = checkpoint::currentWork();
  MLIRContext context(registry, work ? MLIRContext::Threading::DISABLED : MLIRContext::Threading::ENABLED);
  context.allowUnregisteredDialects(config.shouldAllowUnregisteredDialects());
  context.printOpOnDiagnostic(false);
  if (work)
    watch(context, *work);
  bool said = false;
  ScopedDiagnosticHandler diagnostics(&context, [&](Diagnostic &diagnostic) {
    // One line is enough: what follows an error follows from it.
    std::string text = placeOf(diagnostic.getLocation(), *inputs) + diagnostic.str();
    if (diagnostic.getSeverity() == DiagnosticSeverity::Warning)
      console.warning(text);
    else if (diagnostic.getSeverity() == DiagnosticSeverity::Error && !std::exchange(said, true))
      console.error(text);
    return success();
  });
  Result<OwningOpRef<ModuleOp>> module = readInputs(&context, *inputs);
  if (!module)
    return module.error().message.empty() ? inputAtFault : console.fail(inputAtFault, module.error().message);
  if (line.hasAdapters() && !line.endsBefore("attach"))
    if (std::optional<ExitCode> code = runAttach(**module, line, console))
      return *code;
  PassManager manager(&context, ModuleOp::getOperationName());
  manager.enableVerifier(config.shouldVerifyPasses());
  // A run within a process has no options of MLIR.
  if (!work && failed(applyPassManagerCLOptions(manager)))
    return inputAtFault;
  applyDefaultTimingPassManagerCLOptions(manager);
  if (failed(config.setupPassPipeline(manager)))
    return inputAtFault;
  if (line.isMerged() || line.isCode() || line.endsWithPlan() ||
      (!line.compileTo.empty() && !line.endsBefore("optimise"))) {
    manager.addPass(createMergeModulesPass());
    manager.addPass(createMergePass({line.allowLossyMerge}));
    manager.addPass(createExpandModulesPass());
    bool onDevice = line.attach.onDevice;
    manager.addPass(createExpandMixturesPass({/*grouped=*/!line.isMerged() && !onDevice, onDevice}));
  }
  if (failed(manager.run(**module)) || checkpoint::isCancelled())
    return inputAtFault;
  if (Status status = writeResult(**module, line, console); !status)
    return status.error().message.empty() ? inputAtFault : console.fail(inputAtFault, status.error().message);
  return done;
}
