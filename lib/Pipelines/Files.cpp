// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Reading inputs into one module, writing it out again.
#include "lib/Pipelines/Files.h"
#include "dialects/ONNX/IR/ONNXOps.h"
#include "lib/Checkpoint/File.h"
#include "lib/Export/ONNX/Export.h"
#include "lib/Import/ONNX/Import.h"
#include "lib/Pipelines/Archives.h"
#include "mlir/Bytecode/BytecodeWriter.h"
#include "mlir/Parser/Parser.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir;
using namespace adapter;
using checkpoint::AtomicFile;
using checkpoint::Done;
using checkpoint::Error;
using checkpoint::Result;
using checkpoint::Status;

FileKind adapter::fileKindOf(StringRef path) {
  if (path == "-")
    return FileKind::Standard;
  StringRef suffix = llvm::sys::path::extension(path);
  if (suffix == ".onnx")
    return FileKind::ONNX;
  if (suffix == ".mlir")
    return FileKind::MLIR;
  if (suffix == ".mlirbc")
    return FileKind::Bytecode;
  return FileKind::Unknown;
}

Result<std::vector<std::string>> adapter::expandInputs(const std::vector<std::string> &inputs) {
  std::vector<std::string> result;
  for (const std::string &input : inputs) {
    if (input == "-" || !llvm::sys::fs::is_directory(input)) {
      result.push_back(input);
      continue;
    }
    std::vector<std::string> found;
    std::error_code code;
    for (llvm::sys::fs::directory_iterator it(input, code), end; it != end && !code; it.increment(code))
      if (fileKindOf(it->path()) == FileKind::ONNX)
        found.push_back(it->path());
    if (code)
      return Error{input + ": cannot be read: " + code.message()};
    if (found.empty())
      return Error{input + ": the folder holds no .onnx file"};
    llvm::sort(found);
    result.insert(result.end(), found.begin(), found.end());
  }
  return result;
}

// Ops of a textual module move into `module`; its archives are bound.
static Status readModule(ModuleOp module, const std::string &input) {
  ParserConfig config(module.getContext());
  OwningOpRef<ModuleOp> parsed = parseSourceFile<ModuleOp>(input, config);
  if (!parsed)
    return Error{""};
  std::string folder = input == "-" ? "" : llvm::sys::path::parent_path(input).str();
  if (Status status = bindArchives(*parsed, folder.empty() ? "." : folder); !status)
    return Error{input + ": " + status.error().message};
  for (NamedAttribute each : (*parsed)->getDiscardableAttrs())
    if (each.getName() != archivesAttribute)
      module->setAttr(each.getName(), each.getValue());
  module.getBody()->getOperations().splice(module.getBody()->end(), parsed->getBody()->getOperations());
  return Done{};
}

Result<OwningOpRef<ModuleOp>> adapter::readInputs(MLIRContext *context,
                                                  const std::vector<std::string> &inputs) {
  OwningOpRef<ModuleOp> module = ModuleOp::create(UnknownLoc::get(context));
  SymbolTable symbols(*module);
  for (const std::string &input : inputs) {
    if (fileKindOf(input) != FileKind::ONNX) {
      if (Status status = readModule(*module, input); !status)
        return status.error();
      continue;
    }
    ImportOptions options;
    options.symbol = llvm::sys::path::stem(input).str();
    for (int i = 1; symbols.lookup(options.symbol); ++i)
      options.symbol = llvm::sys::path::stem(input).str() + "_" + std::to_string(i);
    if (inputs.size() > 1)
      options.scope = options.symbol;
    auto model = importONNXFile(context, input, options);
    if (!model)
      return model.error();
    symbols.insert(model->release());
  }
  return module;
}

static Status writeText(ModuleOp module, const std::string &path, bool bytecode) {
  if (Status status = writeArchives(module, path); !status)
    return status;
  std::string text;
  llvm::raw_string_ostream stream(text);
  if (bytecode) {
    if (failed(writeBytecodeToFile(module, stream)))
      return Error{path + ": cannot be written: the module has no bytecode"};
  } else {
    module.print(stream);
    stream << '\n';
  }
  Result<std::unique_ptr<AtomicFile>> file = AtomicFile::create(path);
  if (!file)
    return file.error();
  Status status = (*file)->write(text.data(), text.size());
  return status ? (*file)->commit() : status;
}

static Status writeModels(ModuleOp module, const std::string &path) {
  SmallVector<onnxir::ModelOp> models(module.getOps<onnxir::ModelOp>());
  if (models.empty())
    return Error{path + ": cannot be written: the module holds no onnx.model"};
  if (models.size() == 1 && fileKindOf(path) == FileKind::ONNX)
    return exportONNXFile(models.front(), path);
  if (std::error_code code = llvm::sys::fs::create_directories(path))
    return Error{path + ": cannot be written: " + code.message()};
  for (onnxir::ModelOp model : models) {
    llvm::SmallString<256> file(path);
    llvm::sys::path::append(file, model.getSymName() + ".onnx");
    if (Status status = exportONNXFile(model, file.str().str()); !status)
      return status;
  }
  return Done{};
}

Status adapter::writeOutput(ModuleOp module, const std::string &path) {
  switch (fileKindOf(path)) {
  case FileKind::MLIR:
    return writeText(module, path, /*bytecode=*/false);
  case FileKind::Bytecode:
    return writeText(module, path, /*bytecode=*/true);
  case FileKind::Standard:
    if (Status status = referToSources(module); !status)
      return status;
    module.print(llvm::outs());
    llvm::outs() << '\n';
    return Done{};
  case FileKind::ONNX:
  case FileKind::Unknown:
    return writeModels(module, path);
  }
  return Done{};
}
