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
using checkpoint::Temporary;

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
  Result<std::vector<std::unique_ptr<AtomicFile>>> files = writeArchives(module, path);
  if (!files)
    return files.error();
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
  // The tensors first: a module is there with all that it names.
  files->push_back(std::move(*file));
  for (size_t i = 0; status && i < files->size(); ++i)
    status = (*files)[i]->commit();
  return status;
}

// Files that belong to a model and are no weights.
static bool isSideFile(StringRef path) {
  StringRef name = llvm::sys::path::filename(path), suffix = llvm::sys::path::extension(path);
  static constexpr llvm::StringLiteral suffixes[] = {".json", ".jinja",    ".model",
                                                     ".spm",  ".tiktoken", ".txt"};
  return name.starts_with("tokenizer") || llvm::is_contained(suffixes, suffix);
}

static Status copySideFiles(const std::string &from, const std::string &to) {
  std::error_code code;
  for (llvm::sys::fs::directory_iterator it(from, code), end; it != end && !code; it.increment(code)) {
    if (!llvm::sys::fs::is_regular_file(it->path()) || !isSideFile(it->path()))
      continue;
    std::string target = to + "/" + llvm::sys::path::filename(it->path()).str();
    if (std::error_code copied = llvm::sys::fs::copy_file(it->path(), target))
      return Error{target + ": cannot be written: " + copied.message()};
  }
  return Done{};
}

// Moves what a folder holds to another one, which need not be there: all of it or nothing.
static Status moveInto(const std::string &from, const std::string &to) {
  std::error_code code = llvm::sys::fs::create_directories(to);
  std::vector<std::pair<std::string, std::string>> files;
  for (llvm::sys::fs::directory_iterator it(from, code), end; it != end && !code; it.increment(code)) {
    files.push_back({it->path(), to + "/" + llvm::sys::path::filename(it->path()).str()});
    if (llvm::sys::fs::is_directory(files.back().second))
      return Error{to + ": cannot be written: " + files.back().second + " is a folder"};
  }
  for (size_t i = 0; i < files.size() && !code; ++i)
    if ((code = llvm::sys::fs::rename(files[i].first, files[i].second)))
      for (size_t done = 0; done < i; ++done)
        llvm::sys::fs::remove(files[done].second);
  return code ? Status(Error{to + ": cannot be written: " + code.message()}) : Status(Done{});
}

static Status writeModels(ModuleOp module, const std::string &path, const std::vector<std::string> &inputs) {
  std::vector<onnxir::ModelOp> models;
  llvm::append_range(models, module.getOps<onnxir::ModelOp>());
  if (models.empty())
    return Error{path + ": cannot be written: the module holds no onnx.model"};
  if (models.size() == 1 && fileKindOf(path) == FileKind::ONNX)
    return exportONNXFile(models.front(), path);
  // All files or none: they are made beside the folder and moved there.
  StringRef folder = StringRef(path).rtrim('/');
  if (StringRef parent = llvm::sys::path::parent_path(folder); !parent.empty())
    if (std::error_code code = llvm::sys::fs::create_directories(parent))
      return Error{path + ": cannot be written: " + code.message()};
  Result<Temporary> made = Temporary::folder(path);
  if (!made)
    return made.error();
  Status status = exportONNXFolder(models, made->path());
  for (const std::string &input : inputs)
    if (status && input != "-" && llvm::sys::fs::is_directory(input))
      status = copySideFiles(input, made->path());
  return status ? moveInto(made->path(), path) : made->atTarget(status.error());
}

Status adapter::writeOutput(ModuleOp module, const std::string &path, llvm::raw_ostream &out,
                            const std::vector<std::string> &inputs) {
  switch (fileKindOf(path)) {
  case FileKind::MLIR:
    return writeText(module, path, /*bytecode=*/false);
  case FileKind::Bytecode:
    return writeText(module, path, /*bytecode=*/true);
  case FileKind::Standard:
    if (Status status = referToSources(module); !status)
      return status;
    module.print(out);
    out << '\n';
    return Done{};
  case FileKind::ONNX:
  case FileKind::Unknown:
    return writeModels(module, path, inputs);
  }
  return Done{};
}
