// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// From the LLVM dialect through LLVM's optimiser to objects.
#include "adapter-rt/artifact.h"
#include "lib/Checkpoint/Work.h"
#include "lib/Target/Linking.h"
#include "lib/Target/Optimise.h"
#include "lib/Target/Target.h"
#include "mlir/Target/LLVMIR/Dialect/Builtin/BuiltinToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/LLVMIR/LLVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "llvm/IR/IRBuilder.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/TargetParser/Triple.h"

using namespace adapter;
using checkpoint::Error;
using checkpoint::Result;
using checkpoint::Status;

namespace {
struct Lowered {
  std::string errors; // that LLVM reports
  std::unique_ptr<llvm::LLVMContext> context;
  std::unique_ptr<llvm::Module> module;
  std::unique_ptr<llvm::TargetMachine> machine;
};
} // namespace

// adapter_artifact_query(max_version): the table if its version is wanted, else null.
static void addTable(llvm::Module &module, const ExportTable &table) {
  llvm::LLVMContext &context = module.getContext();
  llvm::Type *pointer = llvm::PointerType::get(context, 0);
  llvm::Type *i32 = llvm::Type::getInt32Ty(context), *i64 = llvm::Type::getInt64Ty(context);
  auto constant = [&](llvm::Constant *value, const char *name) {
    return new llvm::GlobalVariable(module, value->getType(), true, llvm::GlobalValue::InternalLinkage, value,
                                    name);
  };
  llvm::Constant *manifest =
      constant(llvm::ConstantDataArray::getString(context, table.manifest, false), "kernel.manifest");
  std::vector<llvm::Constant *> pointers;
  for (const std::string &symbol : table.functions)
    pointers.push_back(module.getFunction(symbol));
  auto *functions = constant(
      llvm::ConstantArray::get(llvm::ArrayType::get(pointer, pointers.size()), pointers), "kernel.functions");
  llvm::Constant *code = llvm::ConstantPointerNull::get(llvm::PointerType::get(context, 0));
  if (!table.deviceCode.empty()) {
    llvm::StringRef bytes(table.deviceCode.data(), table.deviceCode.size());
    auto *data = constant(llvm::ConstantDataArray::getString(context, bytes, false), "kernel.device_code");
    data->setAlignment(llvm::Align(64));
    code = data;
  }
  llvm::Constant *fields[] = {llvm::ConstantInt::get(i32, sizeof(adapter_artifact_v1)),
                              llvm::ConstantInt::get(i32, ADAPTER_ABI_VERSION),
                              manifest,
                              llvm::ConstantInt::get(i64, table.manifest.size()),
                              functions,
                              llvm::ConstantInt::get(i64, pointers.size()),
                              code,
                              llvm::ConstantInt::get(i64, table.deviceCode.size())};
  llvm::GlobalVariable *artifact = constant(llvm::ConstantStruct::getAnon(fields), "kernel.artifact");
  auto *query = llvm::Function::Create(llvm::FunctionType::get(pointer, {i32}, false),
                                       llvm::GlobalValue::ExternalLinkage, ADAPTER_ARTIFACT_QUERY, module);
  llvm::IRBuilder<> builder(llvm::BasicBlock::Create(context, "", query));
  llvm::Value *wanted =
      builder.CreateICmpUGE(query->getArg(0), llvm::ConstantInt::get(i32, ADAPTER_ABI_VERSION));
  builder.CreateRet(builder.CreateSelect(wanted, artifact,
                                         llvm::ConstantPointerNull::get(llvm::PointerType::get(context, 0))));
}

static Result<std::unique_ptr<Lowered>> lowerToLLVM(mlir::ModuleOp module, const Target &target,
                                                    const ExportTable *table) {
  initializeTargets();
  mlir::registerBuiltinDialectTranslation(*module.getContext());
  mlir::registerLLVMDialectTranslation(*module.getContext());
  auto lowered = std::make_unique<Lowered>();
  Lowered &result = *lowered;
  result.context = std::make_unique<llvm::LLVMContext>();
  collectErrors(*result.context, result.errors);
  result.module = mlir::translateModuleToLLVMIR(module, *result.context);
  if (!result.module)
    return Error{"the module cannot be translated to LLVM IR"};
  std::string message;
  llvm::Triple triple(target.triple);
  const llvm::Target *backend = llvm::TargetRegistry::lookupTarget(triple, message);
  if (!backend)
    return Error{"no code generator for " + target.triple + ": " + message};
  result.machine.reset(backend->createTargetMachine(
      triple, target.cpu, target.features, {}, llvm::Reloc::PIC_, {}, llvm::CodeGenOptLevel::Aggressive));
  result.module->setTargetTriple(triple);
  result.module->setDataLayout(result.machine->createDataLayout());
  if (table) {
    for (const std::string &symbol : table->functions)
      if (!result.module->getFunction(symbol))
        return Error{"internal error: no function " + symbol};
    addTable(*result.module, *table);
    for (llvm::Function &function : *result.module)
      if (!function.isDeclaration() && function.getName() != ADAPTER_ARTIFACT_QUERY)
        function.setLinkage(llvm::GlobalValue::InternalLinkage);
  }
  for (llvm::Function &function : *result.module) {
    function.addFnAttr("target-cpu", target.cpu);
    function.addFnAttr("target-features", target.features);
    // No unwinding passes through compiled code.
    function.addFnAttr(llvm::Attribute::NoUnwind);
  }
  if (Status status = optimise(*result.module, *result.machine); !status)
    return status.error();
  return lowered;
}

static Result<llvm::SmallVector<char, 0>> generate(Lowered &lowered, llvm::CodeGenFileType type) {
  llvm::SmallVector<char, 0> bytes;
  llvm::raw_svector_ostream stream(bytes);
  llvm::legacy::PassManager passes;
  if (lowered.machine->addPassesToEmitFile(passes, stream, nullptr, type))
    return Error{"the target emits no files of this kind"};
  passes.run(*lowered.module);
  if (checkpoint::isCancelled())
    return checkpoint::cancelledError();
  if (!lowered.errors.empty())
    return Error{"LLVM cannot generate the code: " + lowered.errors};
  return bytes;
}

Result<llvm::SmallVector<char, 0>> adapter::emitObject(mlir::ModuleOp module, const Target &target,
                                                       const ExportTable *table) {
  CodegenLock lock;
  auto lowered = lowerToLLVM(module, target, table);
  if (!lowered)
    return lowered.error();
  return generate(**lowered, llvm::CodeGenFileType::ObjectFile);
}

Result<std::string> adapter::emitText(mlir::ModuleOp module, const Target &target, bool assembly) {
  CodegenLock lock;
  auto lowered = lowerToLLVM(module, target, nullptr);
  if (!lowered)
    return lowered.error();
  std::string text;
  if (!assembly) {
    llvm::raw_string_ostream stream(text);
    (*lowered)->module->print(stream, nullptr);
    return text;
  }
  Result<llvm::SmallVector<char, 0>> bytes = generate(**lowered, llvm::CodeGenFileType::AssemblyFile);
  if (!bytes)
    return bytes.error();
  return std::string(bytes->begin(), bytes->end());
}
