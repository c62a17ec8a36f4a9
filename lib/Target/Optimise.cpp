// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// LLVM's default pipeline, which ends early where the work is called off, and what LLVM reports meanwhile.
#include "lib/Target/Optimise.h"
#include "lib/Checkpoint/Work.h"
#include "llvm/IR/DiagnosticInfo.h"
#include "llvm/IR/DiagnosticPrinter.h"
#include "llvm/IR/Module.h"
#include "llvm/IR/OptBisect.h"
#include "llvm/Passes/PassBuilder.h"
#include "llvm/Support/raw_ostream.h"
#include "llvm/Target/TargetMachine.h"

using namespace adapter;
using checkpoint::Done;
using checkpoint::Error;
using checkpoint::Status;

namespace {
// LLVM's own handler prints to standard error and, at an error, ends the process.
struct Collector : llvm::DiagnosticHandler {
  explicit Collector(std::string &errors) : errors(errors) {}
  bool handleDiagnostics(const llvm::DiagnosticInfo &info) override {
    if (info.getSeverity() != llvm::DS_Error)
      return true;
    llvm::raw_string_ostream stream(errors);
    llvm::DiagnosticPrinterRawOStream printer(stream);
    if (!errors.empty())
      stream << "; ";
    info.print(printer);
    return true;
  }
  std::string &errors;
};

// Code generation asks before each pass that it could do without.
struct Gate : llvm::OptPassGate {
  bool shouldRunPass(llvm::StringRef pass, llvm::StringRef description) const override {
    return !checkpoint::isCancelled();
  }
  bool isEnabled() const override { return true; }
};
} // namespace

void adapter::collectErrors(llvm::LLVMContext &context, std::string &errors) {
  static Gate gate;
  context.setDiagnosticHandler(std::make_unique<Collector>(errors));
  if (checkpoint::currentWork())
    context.setOptPassGate(gate);
}

Status adapter::optimise(llvm::Module &module, llvm::TargetMachine &machine) {
  llvm::PassInstrumentationCallbacks callbacks;
  callbacks.registerShouldRunOptionalPassCallback(
      [](llvm::StringRef, llvm::Any) { return !checkpoint::isCancelled(); });
  llvm::PipelineTuningOptions options;
  options.LoopUnrolling = options.LoopInterleaving = true;
  options.LoopVectorization = options.SLPVectorization = true;
  llvm::PassBuilder builder(&machine, options, std::nullopt, &callbacks);
  llvm::LoopAnalysisManager loops;
  llvm::FunctionAnalysisManager functions;
  llvm::CGSCCAnalysisManager components;
  llvm::ModuleAnalysisManager modules;
  builder.registerModuleAnalyses(modules);
  builder.registerCGSCCAnalyses(components);
  builder.registerFunctionAnalyses(functions);
  builder.registerLoopAnalyses(loops);
  builder.crossRegisterProxies(loops, functions, components, modules);
  builder.buildPerModuleDefaultPipeline(llvm::OptimizationLevel::O3).run(module, modules);
  return checkpoint::isCancelled() ? Status(checkpoint::cancelledError()) : Status(Done{});
}
