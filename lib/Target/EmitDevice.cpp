// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Kernels as their driver loads them: PTX, a code object of AMD's, SPIR-V.
#include "lib/Checkpoint/Work.h"
#include "lib/Target/Linking.h"
#include "lib/Target/Optimise.h"
#include "lib/Target/Target.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/SPIRV/IR/SPIRVOps.h"
#include "mlir/Target/LLVMIR/Dialect/Builtin/BuiltinToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/GPU/GPUToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/LLVMIR/LLVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/NVVM/NVVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/ROCDL/ROCDLToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "mlir/Target/SPIRV/Serialization.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/MC/MCSubtargetInfo.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FileUtilities.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/TargetParser/Triple.h"

using namespace adapter;
using checkpoint::Error;
using checkpoint::Result;
using checkpoint::Status;
using Bytes = llvm::SmallVector<char, 0>;

namespace {
// A target of LLVM, and what its code generator is asked for.
struct Backend {
  const char *triple;
  llvm::CodeGenFileType type;
};
} // namespace

static Backend backendOf(TargetKind kind) {
  switch (kind) {
  case TargetKind::NVIDIA:
    return {"nvptx64-nvidia-cuda", llvm::CodeGenFileType::AssemblyFile};
  case TargetKind::AMD:
    return {"amdgcn-amd-amdhsa", llvm::CodeGenFileType::ObjectFile};
  default:
    return {"spirv64v1.0-unknown-unknown", llvm::CodeGenFileType::ObjectFile};
  }
}

void adapter::initializeTargets() {
  static bool once = [] {
    llvm::InitializeNativeTarget();
    llvm::InitializeNativeTargetAsmPrinter();
    llvm::InitializeNativeTargetAsmParser();
    LLVMInitializeNVPTXTargetInfo();
    LLVMInitializeNVPTXTarget();
    LLVMInitializeNVPTXTargetMC();
    LLVMInitializeNVPTXAsmPrinter();
    LLVMInitializeAMDGPUTargetInfo();
    LLVMInitializeAMDGPUTarget();
    LLVMInitializeAMDGPUTargetMC();
    LLVMInitializeAMDGPUAsmPrinter();
    LLVMInitializeAMDGPUAsmParser();
    LLVMInitializeSPIRVTargetInfo();
    LLVMInitializeSPIRVTarget();
    LLVMInitializeSPIRVTargetMC();
    LLVMInitializeSPIRVAsmPrinter();
    return true;
  }();
  (void)once;
}

static Result<const llvm::Target *> generatorOf(const Backend &backend) {
  initializeTargets();
  std::string message;
  const llvm::Target *found = llvm::TargetRegistry::lookupTarget(llvm::Triple(backend.triple), message);
  if (!found)
    return Error{std::string("no code generator for ") + backend.triple + ": " + message};
  return found;
}

Status adapter::checkChip(TargetKind kind, llvm::StringRef chip) {
  Backend backend = backendOf(kind);
  Result<const llvm::Target *> found = generatorOf(backend);
  if (!found)
    return found.error();
  std::unique_ptr<llvm::MCSubtargetInfo> known(
      (*found)->createMCSubtargetInfo(llvm::Triple(backend.triple), "", ""));
  if (!known || !known->isCPUStringValid(chip))
    return Error{
        ("the code generator for " + llvm::Twine(backend.triple) + " knows no '" + chip + "'").str()};
  return checkpoint::Done{};
}

static Result<Bytes> emitLLVM(mlir::gpu::GPUModuleOp kernels, const Target &target) {
  mlir::MLIRContext &context = *kernels.getContext();
  mlir::registerBuiltinDialectTranslation(context);
  mlir::registerGPUDialectTranslation(context);
  mlir::registerLLVMDialectTranslation(context);
  mlir::registerNVVMDialectTranslation(context);
  mlir::registerROCDLDialectTranslation(context);
  CodegenLock lock;
  std::string errors;
  llvm::LLVMContext llvmContext;
  collectErrors(llvmContext, errors);
  std::unique_ptr<llvm::Module> module = mlir::translateModuleToLLVMIR(kernels, llvmContext);
  if (!module)
    return Error{"the kernels cannot be translated to LLVM IR"};
  Backend backend = backendOf(target.codegen.kind);
  llvm::Triple triple(backend.triple);
  Result<const llvm::Target *> found = generatorOf(backend);
  if (!found)
    return found.error();
  bool hasChip = target.codegen.kind != TargetKind::OpenCL;
  std::unique_ptr<llvm::TargetMachine> machine(
      (*found)->createTargetMachine(triple, hasChip ? target.codegen.chip : "", "", {}, llvm::Reloc::PIC_, {},
                                    llvm::CodeGenOptLevel::Aggressive));
  // Version 6, LLVM's default, is newer than many drivers.
  if (target.codegen.kind == TargetKind::AMD && !module->getModuleFlag("amdhsa_code_object_version"))
    module->addModuleFlag(llvm::Module::Error, "amdhsa_code_object_version", 500);
  // Where nothing is said about groups at a time, ptxas saves registers and spills.
  if (target.codegen.kind == TargetKind::NVIDIA)
    for (llvm::Function &function : *module)
      if (function.getCallingConv() == llvm::CallingConv::PTX_Kernel)
        function.addFnAttr("nvvm.minctasm", "1");
  module->setTargetTriple(triple);
  module->setDataLayout(machine->createDataLayout());
  if (Status status = optimise(*module, *machine); !status)
    return status.error();
  Bytes bytes;
  llvm::raw_svector_ostream stream(bytes);
  llvm::legacy::PassManager passes;
  if (machine->addPassesToEmitFile(passes, stream, nullptr, backend.type))
    return Error{"the target emits no files of this kind"};
  passes.run(*module);
  if (checkpoint::isCancelled())
    return checkpoint::cancelledError();
  if (!errors.empty())
    return Error{"LLVM cannot generate the kernels: " + errors};
  return bytes;
}

// AMD's loader takes shared objects.
static Result<Bytes> link(const Bytes &object) {
  llvm::SmallString<64> in, out;
  int descriptor;
  if (std::error_code error = llvm::sys::fs::createTemporaryFile("kernels", "o", descriptor, in))
    return Error{"cannot make a temporary file: " + error.message()};
  llvm::FileRemover removeIn(in);
  {
    llvm::raw_fd_ostream file(descriptor, /*shouldClose=*/true);
    file.write(object.data(), object.size());
  }
  if (std::error_code error = llvm::sys::fs::createTemporaryFile("kernels", "hsaco", out))
    return Error{"cannot make a temporary file: " + error.message()};
  llvm::FileRemover removeOut(out);
  if (Status status = linkSharedLibrary(in, out); !status)
    return status.error();
  auto linked = llvm::MemoryBuffer::getFile(out);
  if (!linked)
    return Error{"the linker's output cannot be read"};
  llvm::StringRef bytes = (*linked)->getBuffer();
  return Bytes(bytes.begin(), bytes.end());
}

static Result<Bytes> emitSPIRV(mlir::spirv::ModuleOp module) {
  llvm::SmallVector<uint32_t, 0> words;
  if (mlir::failed(mlir::spirv::serialize(module, words)))
    return Error{"the kernels cannot be written as SPIR-V"};
  const char *bytes = reinterpret_cast<const char *>(words.data());
  return Bytes(bytes, bytes + words.size() * sizeof(uint32_t));
}

Result<Bytes> adapter::emitDevice(mlir::ModuleOp module, const Target &target) {
  Bytes code;
  for (mlir::Operation &op : llvm::make_early_inc_range(*module.getBody())) {
    if (!mlir::isa<mlir::gpu::GPUModuleOp, mlir::spirv::ModuleOp>(op))
      continue;
    auto binary = mlir::dyn_cast<mlir::spirv::ModuleOp>(op);
    Result<Bytes> made =
        binary ? emitSPIRV(binary) : emitLLVM(mlir::cast<mlir::gpu::GPUModuleOp>(op), target);
    if (made && target.codegen.kind == TargetKind::AMD)
      made = link(*made);
    if (!made)
      return made;
    code = std::move(*made);
    op.erase();
  }
  return code;
}
