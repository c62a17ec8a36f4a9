// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The body of adapter-opt. One textual input that becomes text goes the way of every mlir-opt, with its options for
// tests; models and several inputs go through lib/Pipelines/Files.
#include "lib/Pipelines/Driver.h"
#include "lib/Checkpoint/File.h"
#include "lib/Checkpoint/Work.h"
#include "lib/Compile/Passes.h"
#include "lib/Conversion/Passes.h"
#include "lib/Forms/FormLibrary.h"
#include "lib/Pipelines/Archives.h"
#include "lib/Pipelines/Changes.h"
#include "lib/Pipelines/Compile.h"
#include "lib/Pipelines/Files.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Support/FileUtilities.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include <chrono>
#include <filesystem>

using namespace mlir;
using namespace adapter;
using checkpoint::Done;
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

// How weights are stored: as the user says, else as the model had them, unless an adapter that is loaded must change them.
static std::string weightsFor(ModuleOp module, const CommandLine &line, const Target &target) {
  auto before = module->getAttrOfType<StringAttr>(widenedFromAttribute);
  bool changes = false;
  module.walk([&](SiteOp site) { changes |= site.getTime() == BindingTime::Load; });
  if (!line.weights.empty() || !before || changes || isDevice(target.codegen.kind))
    return line.weights;
  return before.getValue().str();
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
  options.stateful = line.stateful;
  options.weights = weightsFor(module, line, *target);
  options.integerActivations = line.integerActivations;
  options.bf16Activations = line.bf16Activations;
  options.weightGroup = line.weightGroup;
  options.step = console.step;
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

static Status writeReport(const AttachReport &report, const CommandLine &line, const Console &console) {
  std::string text = line.report == "json"   ? reportJson(report)
                     : line.report == "html" ? reportHtml(report)
                                             : reportTable(report);
  if (line.reportFile == "-") {
    console.out << text;
    return Done{};
  }
  return checkpoint::writeFile(line.reportFile, text);
}

namespace {
// An adapter that was merged into a model before.
struct Merged {
  std::string model, name, hash;
};
} // namespace

static std::vector<Merged> mergedInto(ModuleOp module) {
  std::vector<Merged> result;
  for (auto model : module.getOps<onnxir::ModelOp>())
    for (auto record : model.getBody().front().getOps<AttachmentOp>())
      if (record.getTime() == BindingTime::Build)
        result.push_back({model.getSymName().str(), record.getAdapter().str(), record.getHash().str()});
  return result;
}

// Who merges twice rarely means it, and nothing in the numbers shows it.
static void warnOfMerged(ArrayRef<Merged> merged, const AttachReport &report, const Console &console) {
  for (const AdapterVerdict &adapter : report.verdicts) {
    const Merged *same = llvm::find_if(merged, [&](const Merged &each) { return each.hash == adapter.hash; });
    if (same != merged.end())
      console.warning("adapter '" + adapter.adapter + "' is merged into " + same->model + " already, as '" +
                      same->name + "'; it would count twice");
    else if (!merged.empty())
      console.warning(merged.front().model + " has adapters merged into it ('" + merged.front().name + "'" +
                      (merged.size() > 1 ? " and " + std::to_string(merged.size() - 1) + " more" : "") +
                      "); '" + adapter.adapter + "' comes on top");
  }
}

// The adapters, those that are made of others included.
static Result<std::vector<AdapterRequest>> readyAdapters(ModuleOp module, const CommandLine &line,
                                                         const Console &console) {
  std::vector<AdapterRequest> requests = line.adapters.adapters;
  ModelChanges changes(module, line.attach);
  for (const CombinationRequest &combination : line.adapters.combinations) {
    console.step("combining", 0, 0);
    Result<diff::Combined> made = diff::combine(combination.how, combination.parts, &changes);
    if (!made)
      return Error{"--combine " + combination.name + ": " + made.error().message};
    console.note("made " + combination.name + ", " + made->text());
    for (AdapterRequest &each : requests)
      if (each.name == combination.name)
        each.contents = std::make_shared<checkpoint::Adapter>(made->adapter(each.path));
  }
  return requests;
}

// A model of ONNX keeps the operators and types that it came with; code computes in f32 and knows weights of integers as
// parameters, and so does what is said of adapters that code would hold.
static LogicalResult prepareForCode(ModuleOp module, const CommandLine &line) {
  bool isOfCode = line.isCode() || line.attach.checkOnly || line.plan || !line.compileTo.empty();
  if (!isOfCode || line.isMerged() || line.endsBefore("attach"))
    return success();
  PassManager manager(module.getContext(), ModuleOp::getOperationName());
  manager.addPass(createWidenFloatsPass({line.stateful}));
  manager.addPass(createRaiseQuantisedPass());
  return manager.run(module);
}

// Binds the adapters. Nothing where compilation goes on, else the exit code.
static std::optional<ExitCode> runAttach(ModuleOp module, const CommandLine &line, const Console &console) {
  AttachReport report;
  std::vector<Merged> merged = mergedInto(module);
  Result<std::vector<AdapterRequest>> adapters = readyAdapters(module, line, console);
  if (!adapters)
    return console.fail(inputAtFault, adapters.error().message);
  if (Status status = attachAdapters(module, *adapters, line.adapters.slots, line.attach, report); !status)
    return console.fail(inputAtFault, status.error().message);
  if (line.attach.checkOnly)
    if (Status status = writeReport(report, line, console); !status)
      return console.fail(inputAtFault, status.error().message);
  if (line.plan)
    console.out << planText(report);
  warnOfMerged(merged, report, console);
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

// The bytes of a file with its external data, or of all files of a folder.
static uint64_t bytesOf(const std::string &path) {
  namespace fs = std::filesystem;
  std::error_code code;
  uint64_t bytes = 0;
  if (!fs::is_directory(path, code)) {
    for (const std::string &file : {path, path + ".data"})
      if (uint64_t size = fs::file_size(file, code); !code)
        bytes += size;
    return bytes;
  }
  for (fs::recursive_directory_iterator it(path, code), end; !code && it != end; it.increment(code))
    if (it->is_regular_file(code))
      bytes += it->file_size(code);
  return bytes;
}

// What was written, in one line.
static std::string describeOutput(const CommandLine &line, std::chrono::duration<double> time) {
  std::string text, adapters, slots;
  llvm::raw_string_ostream stream(text);
  stream << "wrote " << line.output << ", "
         << llvm::format("%.1f MB in %.1f s", bytesOf(line.output) / 1e6, time.count());
  for (const AdapterRequest &each : line.adapters.adapters)
    adapters += (adapters.empty() ? "" : ", ") + each.name + " (" +
                (each.automatic ? "auto" : stringifyBindingTime(each.time)).str() + ")";
  for (const SlotRequest &each : line.adapters.slots)
    slots += (slots.empty() ? "" : ", ") + each.name + " (" + stringifyBindingTime(each.time).str() + ")";
  if (!adapters.empty())
    stream << "; adapters: " << adapters;
  if (!slots.empty())
    stream << "; room: " << slots;
  return text;
}

ExitCode adapter::runOnModels(const CommandLine &line, const DialectRegistry &registry,
                              const MlirOptMainConfig &config, const Console &console) {
  Result<std::vector<std::string>> inputs = expandInputs(line.inputs);
  if (!inputs)
    return console.fail(inputAtFault, inputs.error().message);
  if (std::string why = whyDestructive(line, *inputs); !why.empty())
    return console.fail(inputAtFault, why);
  if (console.isTerminal && !line.isOutputGiven && line.printsModule())
    return console.fail(wrongUsage,
                        "there is no output; -o merged.onnx writes a model, -o model.adapt compiles it, "
                        "and -o - prints the module here");
  auto start = std::chrono::steady_clock::now();
  console.step("reading", 0, 0);
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
  for (const std::string &file : line.forms)
    if (failed(FormLibrary::get(&context).addFile(file)))
      return inputAtFault;
  if (failed(prepareForCode(**module, line)))
    return inputAtFault;
  console.step("attaching", 0, 0);
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
  console.step("merging", 0, 0);
  if (failed(manager.run(**module)) || checkpoint::isCancelled())
    return inputAtFault;
  if (Status status = writeResult(**module, line, console); !status)
    return status.error().message.empty() ? inputAtFault : console.fail(inputAtFault, status.error().message);
  if (line.output != "-")
    console.note(describeOutput(line, std::chrono::steady_clock::now() - start));
  return done;
}
