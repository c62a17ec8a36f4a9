// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Command line of adapter-opt. One textual input that becomes text goes the way of every mlir-opt, with its
// options for tests; models and several inputs go through lib/Pipelines/Files.
#include "lib/Pipelines/Main.h"
#include "adapter/InitAll.h"
#include "lib/Attach/Attach.h"
#include "lib/Checkpoint/Text.h"
#include "lib/Compile/Passes.h"
#include "lib/Conversion/Passes.h"
#include "lib/Diff/Diff.h"
#include "lib/Pipelines/AdapterOptions.h"
#include "lib/Pipelines/Archives.h"
#include "lib/Pipelines/Compile.h"
#include "lib/Pipelines/Files.h"
#include "lib/Pipelines/Help.h"
#include "lib/Pipelines/PythonCommand.h"
#include "mlir/IR/AsmState.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Support/FileUtilities.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/InitLLVM.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/SourceMgr.h"
#include "llvm/Support/ToolOutputFile.h"

using namespace mlir;
using namespace adapter;
using checkpoint::Error;
using checkpoint::Result;
using checkpoint::Status;

namespace {
enum ExitCode { done = 0, inputAtFault = 1, wrongUsage = 2 };

struct CommandLine {
  std::vector<std::string> inputs;
  std::string output, target, compileTo;
  // Whether the module is written as it was read, or with its adapters where they belong.
  bool endsBefore(StringRef phase) const {
    return compileTo == "import" || (compileTo == "attach" && phase != "attach");
  }
  AdapterOptions adapters;
  AttachOptions attach;
  std::string report; // of --check: text, json or html
  bool allowLossyMerge = false;
  bool plan = false; // print it

  bool hasAdapters() const { return !adapters.adapters.empty() || !adapters.slots.empty(); }
  std::string rowInput;
  int64_t rowAxis = 0;
  PartitionOptions partition;
  // Whether what --plan prints about experts is all that was asked for.
  bool endsWithPlan() const { return partition.ranks && plan && output == "-" && compileTo.empty(); }
};

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

static int fail(ExitCode code, const llvm::Twine &message) {
  llvm::errs() << "adapter-opt: error: " << checkpoint::printable(message.str()) << '\n';
  return code;
}

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

static int runOnText(const CommandLine &line, DialectRegistry &registry, MlirOptMainConfig config) {
  std::string message;
  std::unique_ptr<llvm::MemoryBuffer> input = openInputFile(line.inputs.front(), &message);
  if (!input)
    return fail(inputAtFault, message);
  if (line.inputs.front() == "-" && input->getBufferSize() == 0)
    return fail(wrongUsage, "there is no input; name a model, or see --help");
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
  llvm::outs() << text;
  return done;
}

// Whether an output is code rather than a module.
static bool isCode(StringRef output) {
  return output.ends_with(".adapt") || output.ends_with(".ll") || output.ends_with(".s") ||
         output.ends_with(".o") || output.ends_with(".ptx") || output.ends_with(".hsaco") ||
         output.ends_with(".spv");
}

// Compiles as far as the output or --compile-to asks for, and writes.
static Status writeResult(ModuleOp module, const CommandLine &line) {
  StringRef output = line.output;
  if (!line.endsWithPlan() && ((!isCode(output) && line.compileTo.empty()) || line.endsBefore("optimise")))
    return writeOutput(module, line.output, line.inputs);
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
    return writeOutput(module, line.output, line.inputs);
  }
  return output.ends_with(".adapt") ? compileArtifact(module, options, output)
                                    : compileText(module, options, output);
}

// Whether an output has no place for adapters that the model is not one with.
static bool isMerged(const CommandLine &line) {
  FileKind kind = fileKindOf(line.output);
  return kind == FileKind::ONNX || (kind == FileKind::Unknown && !isCode(line.output));
}

// Binds the adapters. Nothing where compilation goes on, else the exit code.
static std::optional<ExitCode> runAttach(ModuleOp module, const CommandLine &line) {
  AttachReport report;
  if (Status status =
          attachAdapters(module, line.adapters.adapters, line.adapters.slots, line.attach, report);
      !status) {
    fail(inputAtFault, status.error().message);
    return inputAtFault;
  }
  if (line.attach.checkOnly)
    llvm::outs() << (line.report == "json"   ? reportJson(report)
                     : line.report == "html" ? reportHtml(report)
                                             : reportTable(report));
  if (line.plan)
    llvm::outs() << planText(report);
  if (!report.leftOver.empty()) {
    size_t more = report.leftOver.size() - 1;
    fail(inputAtFault, report.leftOver.front() +
                           (more ? " (and " + std::to_string(more) + " more, see --check)" : std::string()));
    return inputAtFault;
  }
  // Without an output the report is all that was asked for.
  bool reportOnly = line.attach.checkOnly ||
                    (line.plan && line.output == "-" && line.compileTo.empty() && !line.endsWithPlan());
  return reportOnly ? std::optional(done) : std::nullopt;
}

static int runOnModels(const CommandLine &line, DialectRegistry &registry, const MlirOptMainConfig &config) {
  Result<std::vector<std::string>> inputs = expandInputs(line.inputs);
  if (!inputs)
    return fail(inputAtFault, inputs.error().message);
  MLIRContext context(registry);
  context.allowUnregisteredDialects(config.shouldAllowUnregisteredDialects());
  context.printOpOnDiagnostic(false);
  bool said = false;
  ScopedDiagnosticHandler diagnostics(&context, [&](Diagnostic &diagnostic) {
    // One line is enough: what follows an error follows from it.
    std::string text = placeOf(diagnostic.getLocation(), *inputs) + diagnostic.str();
    if (diagnostic.getSeverity() == DiagnosticSeverity::Warning)
      llvm::errs() << "adapter-opt: warning: " << checkpoint::printable(text) << '\n';
    else if (diagnostic.getSeverity() == DiagnosticSeverity::Error && !std::exchange(said, true))
      fail(inputAtFault, text);
    return success();
  });
  Result<OwningOpRef<ModuleOp>> module = readInputs(&context, *inputs);
  if (!module)
    return module.error().message.empty() ? inputAtFault : fail(inputAtFault, module.error().message);
  if (line.hasAdapters() && !line.endsBefore("attach"))
    if (std::optional<ExitCode> code = runAttach(**module, line))
      return *code;
  PassManager manager(&context, ModuleOp::getOperationName());
  manager.enableVerifier(config.shouldVerifyPasses());
  if (failed(applyPassManagerCLOptions(manager)))
    return inputAtFault;
  applyDefaultTimingPassManagerCLOptions(manager);
  if (failed(config.setupPassPipeline(manager)))
    return inputAtFault;
  if (isMerged(line) || isCode(line.output) || line.endsWithPlan() ||
      (!line.compileTo.empty() && !line.endsBefore("optimise"))) {
    manager.addPass(createMergeModulesPass());
    manager.addPass(createMergePass({line.allowLossyMerge}));
    manager.addPass(createExpandModulesPass());
    bool onDevice = line.attach.onDevice;
    manager.addPass(createExpandMixturesPass({/*grouped=*/!isMerged(line) && !onDevice, onDevice}));
  }
  if (failed(manager.run(**module)))
    return inputAtFault;
  if (Status status = writeResult(**module, line); !status)
    return status.error().message.empty() ? inputAtFault : fail(inputAtFault, status.error().message);
  return done;
}

// What the command line alone decides about adapters; "" where all is well.
static std::string whyWrong(const CommandLine &line, StringRef report) {
  if (report != "text" && report != "json" && report != "html")
    return ("--report=" + report + ": the reports are text, json and html").str();
  bool isPlanned = line.plan && !line.partition.ranks;
  if (!line.hasAdapters() && (line.attach.checkOnly || isPlanned || !line.attach.ignoreMissing.empty()))
    return "--check, --plan and --ignore-missing are about adapters, and there is no --adapter";
  if (!line.hasAdapters() && (!line.attach.base.empty() || !line.attach.renamings.empty() ||
                              line.attach.noBase || line.attach.allowOtherBase || line.attach.requireProof))
    return "--base, --no-base, --allow-other-base, --require-proof and --map say where adapters go, and "
           "there is "
           "no --adapter";
  if (line.attach.noBase && !line.attach.base.empty())
    return "--no-base and --base contradict each other";
  if (line.attach.checkOnly && (line.output != "-" || !line.compileTo.empty()))
    return "--check writes nothing; leave out -o and --compile-to";
  if (line.partition.ranks && !line.endsWithPlan() &&
      (line.attach.checkOnly || (!isCode(line.output) && line.compileTo.empty()) ||
       line.endsBefore("optimise")))
    return "--partition-experts is about compiled code; write an .adapt, or see what it does with --plan";
  if (Result<Target> target = resolveTarget(line.target);
      line.partition.ranks && target && isDevice(target->codegen.kind))
    return "--partition-experts: experts are partitioned over processors, not over devices; leave out "
           "--target";
  if (!isMerged(line) || line.endsWithPlan())
    return "";
  for (const AdapterRequest &request : line.adapters.adapters)
    if (request.time != BindingTime::Build && !request.automatic)
      return "adapter '" + request.name + "' acts at " + stringifyBindingTime(request.time).str() +
             ", but in an .onnx file adapters can only be merged; write an .adapt, or leave the time out";
  for (const SlotRequest &slot : line.adapters.slots)
    return "slot '" + slot.name + "' is room in an .adapt; an .onnx file has none";
  return "";
}

int adapter::adapterOptMain(int argc, char **argv) {
  llvm::InitLLVM init(argc, argv);
  if (argc > 1 && StringRef(argv[1]) == "diff")
    return diff::command(argc, argv);
  if (argc > 1 && isPythonCommand(argv[1]))
    return pythonCommand(argc, argv);
  if (std::string later = optionNotYet({argv + 1, argv + argc}); !later.empty())
    return fail(wrongUsage, later);
  DialectRegistry registry;
  registerAllDialects(registry);
  registerAllPasses();

  hideOptionsOfLLVM();
  static llvm::cl::OptionCategory category("Adapter options"); // --help sorts categories by name
  llvm::cl::list<std::string> inputs(llvm::cl::Positional,
                                     llvm::cl::desc("<inputs: .onnx, .mlir, a folder, or ->"),
                                     llvm::cl::cat(category));
  llvm::cl::opt<std::string> output(
      "o",
      llvm::cl::desc(
          "Output, by its suffix: .onnx .mlir .mlirbc .ll .s .o .ptx .hsaco .spv .adapt; or a folder"),
      llvm::cl::value_desc("file"), llvm::cl::init("-"), llvm::cl::cat(category));
  llvm::cl::opt<std::string> target(
      "target", llvm::cl::desc("What code is compiled for"),
      llvm::cl::value_desc(
          "cpu[:native|x86-64-v3|x86-64-v4]|nvidia:sm_80|amd:gfx942|spirv:vulkan|spirv:opencl"),
      llvm::cl::init("cpu:native"), llvm::cl::cat(category));
  llvm::cl::opt<std::string> compileTo("compile-to", llvm::cl::desc("Print the module after a phase"),
                                       llvm::cl::value_desc("phase"), llvm::cl::cat(category));
  llvm::cl::list<std::string> adapters(
      "adapter",
      llvm::cl::desc("An adapter: a PEFT folder or its .safetensors, and when it acts (default: build)"),
      llvm::cl::value_desc("NAME=PATH[@build|switch|call|row|row-token|auto][:scale=S|@call]"),
      llvm::cl::cat(category));
  llvm::cl::list<std::string> slots(
      "adapter-slot",
      llvm::cl::desc(
          "Room for adapters that arrive later; forms: lora dora embedding rows add replace (default: "
          "any rank, all modules, row)"),
      llvm::cl::value_desc(
          "NAME:FORM[+FORM...][,rank=R][,modules=GLOB,...][@load|switch|call|row|row-token]"),
      llvm::cl::cat(category));
  llvm::cl::list<std::string> bindings(
      "bind",
      llvm::cl::desc("A property of an adapter or slot, scale or rank, that each call may set; or the task "
                     "that is meant, of an adapter of several"),
      llvm::cl::value_desc("NAME.PROPERTY@call|NAME.task=N"), llvm::cl::cat(category));
  llvm::cl::list<std::string> ignoreMissing(
      "ignore-missing", llvm::cl::desc("Modules of the adapters that the models are known not to hold"),
      llvm::cl::value_desc("glob"), llvm::cl::cat(category));
  llvm::cl::opt<std::string> base(
      "base",
      llvm::cl::desc(
          "The checkpoint that the models were exported from: finds weights by their contents, and proves "
          "that the models are the adapters' base"),
      llvm::cl::value_desc("file or folder"), llvm::cl::cat(category));
  llvm::cl::opt<bool> noBase(
      "no-base",
      llvm::cl::desc("Do not compare with the base that an adapter names, where that is on this machine"),
      llvm::cl::cat(category));
  llvm::cl::opt<bool> allowOtherBase(
      "allow-other-base",
      llvm::cl::desc("Attach to a model that holds other numbers than the base that is compared with it"),
      llvm::cl::cat(category));
  llvm::cl::opt<bool> requireProof(
      "require-proof",
      llvm::cl::desc("Refuse an adapter of which any parameter is not proved by the base's contents"),
      llvm::cl::cat(category));
  llvm::cl::list<std::string> renamings(
      "map",
      llvm::cl::desc(
          "Rename modules of the adapters, where no rule finds them: whole paths or their first names, "
          "'*' for any text"),
      llvm::cl::value_desc("OLD=NEW"), llvm::cl::cat(category));
  llvm::cl::opt<std::string> rowAxis(
      "row-axis",
      llvm::cl::desc("The axis that carries the rows of a call (default: the first input's first)"),
      llvm::cl::value_desc("INPUT=N"), llvm::cl::cat(category));
  llvm::cl::opt<bool> lossy(
      "allow-lossy-merge",
      llvm::cl::desc("Merge even where rounding to f16 or bf16 loses more than a tenth of an update"),
      llvm::cl::cat(category));
  llvm::cl::opt<std::string> partition(
      "partition-experts",
      llvm::cl::desc(
          "Share the experts of the model among N processes (mpirun), by what adapter-run profile saw"),
      llvm::cl::value_desc("ranks=N[,profile=FILE]"), llvm::cl::cat(category));
  llvm::cl::opt<bool> plan(
      "plan",
      llvm::cl::desc("Print when each adapter acts, why, and the bytes that this takes; which "
                     "rank has how much, with --partition-experts"),
      llvm::cl::cat(category));
  llvm::cl::opt<bool> check("check", llvm::cl::desc("Print where the adapters go; compile nothing"),
                            llvm::cl::cat(category));
  llvm::cl::opt<std::string> report("report", llvm::cl::desc("How --check reports"),
                                    llvm::cl::value_desc("text|json|html"), llvm::cl::init("text"),
                                    llvm::cl::cat(category));
  MlirOptMainConfig::registerCLOptions(registry);
  registerAsmPrinterCLOptions();
  registerMLIRContextCLOptions();
  registerPassManagerCLOptions();
  registerDefaultTimingManagerCLOptions();
  std::string errors;
  llvm::raw_string_ostream stream(errors);
  std::vector<const char *> arguments(argv, argv + argc);
#if defined(__SANITIZE_THREAD__)
  // LLVM's thread pool is in a library that is not instrumented: the sanitizer does not see what orders its tasks.
  arguments.insert(arguments.begin() + 1, "--mlir-disable-threading");
#endif
  if (!llvm::cl::ParseCommandLineOptions(static_cast<int>(arguments.size()), arguments.data(), helpOverview,
                                         &stream))
    return fail(wrongUsage, complaintOf(errors));
  MlirOptMainConfig config = MlirOptMainConfig::createFromCLOptions();
  CommandLine line{inputs, output, target, compileTo, {}, {}, report, lossy, plan, {}, 0, {}};
  line.attach.ignoreMissing = ignoreMissing;
  line.attach.base = base;
  line.attach.noBase = noBase;
  line.attach.allowOtherBase = allowOtherBase;
  line.attach.requireProof = requireProof;
  for (const std::string &text : renamings) {
    auto [from, to] = StringRef(text).split('=');
    if (from.empty() || !StringRef(text).contains('='))
      return fail(wrongUsage, "--map " + text + ": expected OLD=NEW, two paths of modules");
    line.attach.renamings.push_back({from.str(), to.str()});
  }
  line.attach.checkOnly = check;
  Result<AdapterOptions> requests = parseAdapterOptions({adapters, slots, bindings});
  if (!requests)
    return fail(wrongUsage, requests.error().message);
  line.adapters = std::move(*requests);
  line.attach.mergeOnly = isMerged(line);
  if (auto [input, axis] = StringRef(rowAxis).rsplit('='); !rowAxis.empty()) {
    if (input.empty() || axis.getAsInteger(10, line.rowAxis) || line.rowAxis < 0)
      return fail(wrongUsage, "--row-axis " + rowAxis + ": expected INPUT=N with N an axis, counted from 0");
    line.rowInput = input.str();
  }
  if (partition.getNumOccurrences()) {
    Result<PartitionOptions> parsed = parsePartitionOptions(partition);
    if (!parsed)
      return fail(wrongUsage, parsed.error().message);
    line.partition = std::move(*parsed);
    line.partition.plan = plan;
  }
  if (std::string wrong = whyWrong(line, report); !wrong.empty())
    return fail(wrongUsage, wrong);
  Result<Target> resolved = resolveTarget(line.target);
  TargetKind kind = resolved ? resolved->codegen.kind : TargetKind::CPU;
  line.attach.onDevice = isDevice(kind);
  std::vector<StringRef> phases = compilePhases(kind);
  if (!line.compileTo.empty() && !llvm::is_contained(phases, line.compileTo))
    return fail(wrongUsage,
                "--compile-to=" + line.compileTo + ": the phases are " + llvm::join(phases, ", "));
  if (line.inputs.empty())
    line.inputs.push_back("-");
  bool one = line.inputs.size() == 1 && !llvm::sys::fs::is_directory(line.inputs.front());
  if (one && !isCode(line.output) && fileKindOf(line.output) == FileKind::Unknown &&
      !llvm::sys::fs::is_directory(line.output))
    return fail(wrongUsage, line.output +
                                ": the output's suffix is none of .onnx, .mlir, .mlirbc, .ll, .s, .o, "
                                ".ptx, .hsaco, .spv and .adapt");
  bool text = one && fileKindOf(line.inputs.front()) != FileKind::ONNX && line.output == "-" &&
              line.compileTo.empty() && !line.hasAdapters() && !line.partition.ranks;
  return text ? runOnText(line, registry, config) : runOnModels(line, registry, config);
}
