// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Reading and writing of the tensors beside textual IR. Element types that safetensors lacks are stored as
// bytes; the file's metadata then says the type and shape.
#include "lib/Pipelines/Archives.h"
#include "dialects/Adapter/IR/AdapterOps.h"
#include "dialects/ONNX/IR/ONNXOps.h"
#include "lib/Checkpoint/DType.h"
#include "lib/Checkpoint/Hash.h"
#include "lib/Checkpoint/Safetensors.h"
#include "lib/Import/ONNX/Import.h"
#include "lib/Support/ONNX/Residue.h"
#include "lib/Support/ParameterStore.h"
#include "mlir/IR/AttrTypeSubElements.h"
#include "mlir/IR/Builders.h"
#include "llvm/Support/Path.h"
#include <set>

using namespace mlir;
using namespace adapter;
using checkpoint::AtomicFile;
using checkpoint::Done;
using checkpoint::DType;
using checkpoint::Error;
using checkpoint::Result;
using checkpoint::Status;
using checkpoint::Tensor;

static constexpr const char *typePrefix = "adapter.type:";

// Keys by scope that the module refers to, in ops, attributes and kept text.
static std::map<std::string, std::set<std::string>> referredTensors(ModuleOp module) {
  std::map<std::string, std::set<std::string>> keys;
  AttrTypeWalker walker;
  walker.addWalk(
      [&](onnxir::TensorAttr tensor) { keys[tensor.getScope().str()].insert(tensor.getKey().str()); });
  walker.addWalk([&](StringAttr text) {
    for (auto &[scope, key] : onnxproto::tensorsInText(text.getValue()))
      keys[scope].insert(key);
  });
  module.walk([&](Operation *op) {
    if (auto parameter = dyn_cast<ParameterOp>(op))
      keys[parameter.getScope().str()].insert(parameter.getKey().str());
    walker.walk(op->getAttrDictionary());
  });
  return keys;
}

static void setArchives(ModuleOp module, const NamedAttrList &archives) {
  if (archives.empty())
    module->removeAttr(archivesAttribute);
  else
    module->setAttr(archivesAttribute, archives.getDictionary(module.getContext()));
}

static Attribute describeArchive(Builder builder, StringRef file, StringRef hash) {
  return builder.getDictionaryAttr({builder.getNamedAttr("file", builder.getStringAttr(file)),
                                    builder.getNamedAttr("hash", builder.getStringAttr(hash))});
}

Result<std::vector<std::unique_ptr<AtomicFile>>> adapter::writeArchives(ModuleOp module,
                                                                        const std::string &path) {
  std::vector<std::unique_ptr<AtomicFile>> files;
  ParameterStore &store = ParameterStore::get(module.getContext());
  NamedAttrList archives;
  for (auto &[scope, keys] : referredTensors(module)) {
    std::vector<Tensor> tensors;
    std::map<std::string, std::string> metadata;
    for (const std::string &key : keys) {
      const Tensor *found = store.lookup(scope, key);
      if (!found || found->dtype == DType::String)
        continue;
      Tensor tensor = *found;
      tensor.key = key;
      if (checkpoint::dtypeToSafetensors(tensor.dtype).empty()) {
        std::string &type = metadata[typePrefix + key];
        type = std::to_string(static_cast<int>(tensor.dtype));
        for (int64_t dim : tensor.shape)
          type += "," + std::to_string(dim);
        tensor.dtype = DType::U8;
        tensor.shape = {static_cast<int64_t>(tensor.bytes)};
      }
      tensors.push_back(std::move(tensor));
    }
    if (tensors.empty())
      continue;
    llvm::SmallString<256> file(path);
    llvm::sys::path::replace_extension(file, (scope == "base" ? "" : scope + ".") + "safetensors");
    auto written = checkpoint::prepareSafetensors(file.str().str(), tensors, metadata);
    if (!written)
      return written.error();
    Result<std::string> hash = checkpoint::hashFile((*written)->temporaryPath());
    if (!hash)
      return hash.error();
    archives.set(scope,
                 describeArchive(Builder(module.getContext()), llvm::sys::path::filename(file), *hash));
    files.push_back(std::move(*written));
  }
  setArchives(module, archives);
  return files;
}

Status adapter::referToSources(ModuleOp module) {
  ParameterStore &store = ParameterStore::get(module.getContext());
  NamedAttrList archives;
  for (auto &[scope, keys] : referredTensors(module)) {
    std::string file = store.getFile(scope).str();
    if (file.empty())
      continue;
    Result<std::string> hash = checkpoint::hashFile(file);
    if (!hash)
      return hash.error();
    archives.set(scope, describeArchive(Builder(module.getContext()), file, *hash));
  }
  setArchives(module, archives);
  return Done{};
}

static Status bindSafetensors(ParameterStore &store, StringRef scope, const std::string &path) {
  Result<checkpoint::Safetensors> file = checkpoint::readSafetensors(path);
  if (!file)
    return file.error();
  for (Tensor &tensor : file->tensors) {
    auto type = file->metadata.find(typePrefix + tensor.key);
    if (type != file->metadata.end()) {
      SmallVector<StringRef> parts;
      StringRef(type->second).split(parts, ',');
      SmallVector<int64_t> numbers(parts.size());
      for (size_t i = 0; i < parts.size(); ++i)
        if (parts[i].getAsInteger(10, numbers[i]))
          return Error{path + ": tensor '" + tensor.key + "' has a broken type in the file's metadata"};
      tensor.dtype = static_cast<DType>(numbers[0]);
      tensor.shape.assign(numbers.begin() + 1, numbers.end());
      std::optional<size_t> bytes = onnxproto::packedBytes(tensor.dtype, tensor.shape);
      if (!bytes || *bytes != tensor.bytes)
        return Error{path + ": tensor '" + tensor.key + "' has a broken type in the file's metadata"};
    }
    std::string key = tensor.key;
    store.set(scope, key, std::move(tensor));
  }
  store.setFile(scope, path);
  return Done{};
}

Status adapter::bindArchives(ModuleOp module, const std::string &folder) {
  Attribute attribute = module->getAttr(archivesAttribute);
  if (!attribute)
    return Done{};
  auto archives = dyn_cast<DictionaryAttr>(attribute);
  if (!archives)
    return Error{"adapter.archives is no dictionary of scopes"};
  ParameterStore &store = ParameterStore::get(module.getContext());
  for (NamedAttribute each : archives) {
    StringRef scope = each.getName();
    auto entry = dyn_cast<DictionaryAttr>(each.getValue());
    auto file = entry ? entry.getAs<StringAttr>("file") : StringAttr();
    auto hash = entry ? entry.getAs<StringAttr>("hash") : StringAttr();
    if (!file)
      return Error{"adapter.archives: '" + scope.str() + "' names no file"};
    llvm::SmallString<256> path(file.getValue());
    if (!llvm::sys::path::is_absolute(path)) {
      path = folder;
      llvm::sys::path::append(path, file.getValue());
    }
    Result<std::string> found = checkpoint::hashFile(path.str().str());
    if (!found)
      return Error{found.error().message + " (it holds the tensors of scope '" + scope.str() + "')"};
    // IR written by hand may leave the hash out.
    if (hash && *found != hash.getValue())
      return Error{path.str().str() +
                   ": it has changed since the IR that names it was written (its hash is " + *found +
                   ", not " + hash.str() + "); write the IR again"};
    if (path.ends_with(".onnx")) {
      ImportOptions options;
      options.scope = scope.str();
      auto model = importONNXFile(module.getContext(), path.str().str(), options);
      if (!model)
        return model.error();
    } else if (Status status = bindSafetensors(store, scope, path.str().str()); !status) {
      return status;
    }
  }
  return Done{};
}
