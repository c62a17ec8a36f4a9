// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// From a module of ONNX models to a compiled artifact.
#include "lib/Pipelines/Compile.h"
#include "adapter/Pipelines.h"
#include "lib/Checkpoint/File.h"
#include "lib/Checkpoint/Work.h"
#include "lib/Compile/Passes.h"
#include "lib/Conversion/Passes.h"
#include "lib/Export/Artifact/WriteArtifact.h"
#include "lib/Import/ONNX/Passes.h"
#include "lib/Pipelines/Manifest.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/Passes.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Transforms/Passes.h"

using namespace mlir;
using namespace adapter;
using checkpoint::Done;
using checkpoint::Error;
using checkpoint::Result;
using checkpoint::Status;

std::vector<StringRef> adapter::compilePhases(TargetKind kind) {
  std::vector<StringRef> names{"import", "attach", "optimise"};
  for (const Phase &phase : codegenPhases(kind))
    names.push_back(phase.name);
  return names;
}

namespace {
// Tells how many of the passes on the whole module have run.
struct StepInstrumentation final : PassInstrumentation {
  StepInstrumentation(const StepListener &step, size_t all) : step(step), all(all) {}
  void runAfterPass(Pass *pass, Operation *op) override {
    if (isa<ModuleOp>(op) && done < all)
      step("lowering", ++done, all);
  }
  const StepListener &step;
  size_t done = 0, all;
};
} // namespace

// Runs the phases in (first, last].
static Status runBetween(ModuleOp module, const CompileOptions &options, StringRef first, StringRef last) {
  PassManager manager(module.getContext(), ModuleOp::getOperationName());
  (void)applyPassManagerCLOptions(manager);
  applyDefaultTimingPassManagerCLOptions(manager);
  CodegenOptions codegen = options.target.codegen;
  codegen.rowInput = options.rowInput;
  codegen.rowAxis = options.rowAxis;
  codegen.weights = options.weights;
  codegen.integerActivations = options.integerActivations;
  codegen.bf16Activations = options.bf16Activations;
  codegen.weightGroup = options.weightGroup;
  bool within = first.empty();
  if (within) {
    manager.addPass(createONNXInferShapesPass());
    manager.addPass(createExpandOperatorsPass({options.stateful}));
    // In between attention is one node, wherever it came from.
    if (!isDevice(codegen.kind))
      manager.addPass(createRaiseAttentionPass());
    manager.addPass(createExpandAttentionPass());
    if (options.stateful) {
      manager.addPass(createPairStatesPass());
      manager.addPass(createKeepStatesPass());
    }
    manager.addPass(createRaiseExpertsPass());
    if (const PartitionOptions &partition = options.partition; partition.ranks) {
      manager.addPass(createSliceNetworksPass({partition.ranks}));
      manager.addPass(createPartitionExpertsPass({partition.ranks, partition.profile, partition.plan}));
    }
  }
  if (last != "optimise")
    for (const Phase &phase : codegenPhases(options.target.codegen.kind)) {
      if (within)
        phase.build(manager, codegen);
      if (phase.name == last)
        break;
      within |= phase.name == first;
    }
  manager.addInstrumentation(std::make_unique<StepInstrumentation>(options.step, manager.size()));
  if (failed(manager.run(module)))
    return Error{""};
  return checkpoint::isCancelled() ? Status(checkpoint::cancelledError()) : Status(Done{});
}

Status adapter::runPhases(ModuleOp module, const CompileOptions &options, StringRef last) {
  return runBetween(module, options, "", last);
}

Status adapter::compileArtifact(ModuleOp module, const CompileOptions &options, StringRef path) {
  Result<ArtifactFolder> folder = ArtifactFolder::create(path.str());
  if (!folder)
    return folder.error();
  if (Status status = runBetween(module, options, "", "stage"); !status)
    return status;
  options.step("writing", 0, 0);
  ManifestBuilder manifest(options);
  if (Status status = manifest.addEntries(module); !status)
    return status;
  if (Status status = manifest.addExperts(module); !status)
    return status;
  if (Status status = manifest.addSites(module); !status)
    return status;
  if (Status status = folder->writeTensors(manifest.parameterFile(), manifest.get()); !status)
    return status;
  for (const TensorFile &file : manifest.adapterFiles())
    if (Status status = folder->writeTensors(file, manifest.get()); !status)
      return status;
  PassManager forms(module.getContext(), ModuleOp::getOperationName());
  forms.addPass(createLowerMaterializePass());
  // Bodies of forms compute on whole tensors.
  forms.addNestedPass<func::FuncOp>(createConvertElementwiseToLinalgPass());
  forms.addNestedPass<func::FuncOp>(createCheckBoundsPass());
  forms.addPass(createLinalgElementwiseOpFusionPass());
  forms.addPass(createLowerDivisionsPass());
  forms.addPass(createCanonicalizerPass());
  forms.addPass(createCSEPass());
  if (failed(forms.run(module)) || checkpoint::isCancelled())
    return Error{""};
  llvm::SmallVector<char, 0> deviceCode;
  if (isDevice(options.target.codegen.kind)) {
    if (Status status = runBetween(module, options, "stage", "device"); !status)
      return status;
    manifest.addDevice(module);
    Result<llvm::SmallVector<char, 0>> code = emitDevice(module, options.target);
    if (!code)
      return code.error();
    deviceCode = std::move(*code);
  }
  StringRef done = isDevice(options.target.codegen.kind) ? "device" : "stage";
  if (Status status = runBetween(module, options, done, "llvm"); !status)
    return status;
  options.step("assembling", 0, 0);
  ExportTable table{manifest.get().SerializeAsString(), manifest.functions(), std::move(deviceCode)};
  Result<llvm::SmallVector<char, 0>> object = emitObject(module, options.target, &table);
  if (!object)
    return object.error();
  std::string objectFile = folder->folder() + "/code.o";
  if (Status status = checkpoint::writeFile(objectFile, {object->data(), object->size()}); !status)
    return folder->atTarget(status.error());
  Status linked = linkSharedLibrary(objectFile, folder->folder() + "/code.so");
  ::remove(objectFile.c_str());
  if (!linked)
    return folder->atTarget(linked.error());
  return folder->commit(table.manifest);
}

StringRef adapter::deviceSuffix(TargetKind kind) {
  switch (kind) {
  case TargetKind::CPU:
    return "";
  case TargetKind::NVIDIA:
    return ".ptx";
  case TargetKind::AMD:
    return ".hsaco";
  case TargetKind::Vulkan:
  case TargetKind::OpenCL:
    return ".spv";
  }
  llvm_unreachable("a target kind without a suffix");
}

Status adapter::compileText(ModuleOp module, const CompileOptions &options, StringRef path) {
  StringRef suffix = deviceSuffix(options.target.codegen.kind);
  bool isDeviceCode = !suffix.empty() && path.ends_with(suffix);
  if (!isDeviceCode && (path.ends_with(".ptx") || path.ends_with(".hsaco") || path.ends_with(".spv")))
    return Error{(path + ": the target's kernels are no such file").str()};
  if (Status status = runBetween(module, options, "", isDeviceCode ? "device" : "llvm"); !status)
    return status;
  std::string bytes;
  if (isDevice(options.target.codegen.kind)) {
    Result<llvm::SmallVector<char, 0>> code = emitDevice(module, options.target);
    if (!code)
      return code.error();
    bytes.assign(code->begin(), code->end());
  }
  // What adapters act on is said in an artifact's manifest; code alone has nobody to tell.
  for (Operation &op : llvm::make_early_inc_range(*module.getBody()))
    if (isa<AttachmentOp, ResidentOp, SiteOp, SlotOp>(op))
      op.erase();
  if (isDeviceCode) {
    // Written below.
  } else if (path.ends_with(".o")) {
    Result<llvm::SmallVector<char, 0>> object = emitObject(module, options.target);
    if (!object)
      return object.error();
    bytes.assign(object->begin(), object->end());
  } else {
    Result<std::string> text = emitText(module, options.target, /*assembly=*/path.ends_with(".s"));
    if (!text)
      return text.error();
    bytes = std::move(*text);
  }
  return checkpoint::writeFile(path.str(), bytes);
}
