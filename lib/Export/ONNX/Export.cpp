// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Files: where contents go, and how nothing half-written remains.
#include "lib/Export/ONNX/Export.h"
#include "lib/Checkpoint/File.h"
#include "lib/Checkpoint/Hash.h"
#include "lib/Export/ONNX/GraphExporter.h"
#include "lib/Support/ONNX/Tensors.h"
#include "llvm/Support/Path.h"
#include <google/protobuf/io/zero_copy_stream_impl.h>
#include <map>
#include <set>

using namespace mlir;
using namespace adapter;
using namespace adapter::onnxproto;
using checkpoint::AtomicFile;
using checkpoint::Done;
using checkpoint::DType;
using checkpoint::Error;
using checkpoint::Result;
using checkpoint::Status;
using checkpoint::Tensor;

// A message ends at 2 GiB; what else a model holds is small.
static constexpr size_t maxInside = 1900u << 20;
// Below, a tensor costs more outside than inside.
static constexpr size_t minOutside = 1024;
// External tensors start at multiples of this, as ONNX recommends for mapping.
static constexpr size_t pageSize = 4096;

namespace {
// Lets protobuf write to a file of ours.
class Sink final : public google::protobuf::io::CopyingOutputStream {
public:
  explicit Sink(AtomicFile &file) : file(file) {}
  bool Write(const void *buffer, int size) override {
    status = file.write(buffer, static_cast<size_t>(size));
    return static_cast<bool>(status);
  }
  Status status = Done{};

private:
  AtomicFile &file;
};
} // namespace

static Status writeMessage(const ::onnx::ModelProto &proto, AtomicFile &file) {
  Sink sink(file);
  google::protobuf::io::CopyingOutputStreamAdaptor stream(&sink, /*block_size=*/1 << 20);
  bool written = proto.SerializePartialToZeroCopyStream(&stream) && stream.Flush();
  if (!sink.status)
    return sink.status;
  if (!written)
    return Error{"the model cannot be serialised"};
  return Done{};
}

// Writes tensors to a file beside models and refers to them; equal ones once.
namespace {
class DataFile {
public:
  DataFile(AtomicFile &file, std::string location) : file(file), location(std::move(location)) {}

  Status add(::onnx::TensorProto &proto, const Tensor &tensor, const std::string &name = "") {
    static constexpr char zeros[pageSize] = {};
    auto [place, isNew] = offsets.try_emplace(name, 0);
    if (isNew || name.empty()) {
      uint64_t pad = (pageSize - end % pageSize) % pageSize;
      if (Status status = file.write(zeros, pad); !status)
        return status;
      place->second = end + pad;
      if (Status status = file.write(tensor.data, tensor.bytes); !status)
        return status;
      end = place->second + tensor.bytes;
    }
    proto.clear_raw_data();
    proto.set_data_location(::onnx::TensorProto::EXTERNAL);
    for (auto [key, value] : {std::pair<const char *, std::string>("location", location),
                              {"offset", std::to_string(place->second)},
                              {"length", std::to_string(tensor.bytes)}}) {
      auto *entry = proto.add_external_data();
      entry->set_key(key);
      entry->set_value(value);
    }
    return Done{};
  }

private:
  AtomicFile &file;
  std::string location;
  uint64_t end = 0;
  std::map<std::string, uint64_t> offsets; // by name of contents
};
} // namespace

static Status writeOutside(GraphExporter &exporter, const std::string &location, AtomicFile &file) {
  DataFile data(file, location);
  for (auto &[proto, tensor] : exporter.initializers) {
    if (proto->data_location() == ::onnx::TensorProto::EXTERNAL)
      continue;
    if (tensor.bytes >= minOutside) {
      if (Status status = data.add(*proto, tensor); !status)
        return status;
    } else if (tensor.dtype != DType::String) {
      proto->set_raw_data(tensor.data, tensor.bytes);
    }
  }
  return Done{};
}

static void fillInside(GraphExporter &exporter) {
  for (auto &[proto, tensor] : exporter.initializers)
    if (tensor.dtype != DType::String && proto->data_location() != ::onnx::TensorProto::EXTERNAL)
      proto->set_raw_data(tensor.data, tensor.bytes);
}

// Writes a model whose tensors are still to be placed, but for those that are outside already.
static Status writeModel(onnxir::ModelOp model, GraphExporter &exporter, ::onnx::ModelProto &proto,
                         const std::string &path) {
  size_t contents = proto.ByteSizeLong();
  for (auto &[message, tensor] : exporter.initializers)
    if (message->data_location() != ::onnx::TensorProto::EXTERNAL)
      contents += tensor.bytes;
  bool outside = model.getExternalData() || contents > maxInside;
  Result<std::unique_ptr<AtomicFile>> file = AtomicFile::create(path);
  if (!file)
    return file.error();
  if (!outside) {
    fillInside(exporter);
    Status status = writeMessage(proto, **file);
    return status ? (*file)->commit() : status;
  }
  std::string dataPath = path + ".data";
  Result<std::unique_ptr<AtomicFile>> data = AtomicFile::create(dataPath);
  if (!data)
    return data.error();
  Status status = writeOutside(exporter, llvm::sys::path::filename(dataPath).str(), **data);
  if (status && proto.ByteSizeLong() > maxInside)
    status = Error{path + ": cannot be written: the model has over 1.9 GB beside its initialisers"};
  if (status)
    status = writeMessage(proto, **file);
  if (status)
    status = (*data)->commit();
  return status ? (*file)->commit() : status;
}

Status adapter::exportONNXFile(onnxir::ModelOp model, const std::string &path) {
  ::onnx::ModelProto proto;
  GraphExporter exporter(model);
  if (Status status = exporter.exportModel(proto); !status)
    return Error{path + ": cannot be written: " + status.error().message};
  return writeModel(model, exporter, proto, path);
}

Status adapter::exportONNXFolder(const std::vector<onnxir::ModelOp> &models, const std::string &folder) {
  struct Export {
    ::onnx::ModelProto proto;
    std::unique_ptr<GraphExporter> exporter;
    std::vector<std::string> names; // of the initialisers' contents
    std::string path;
  };
  std::vector<std::unique_ptr<Export>> exports;
  std::map<std::string, std::set<Export *>> holders;
  for (onnxir::ModelOp model : models) {
    auto &each = *exports.emplace_back(std::make_unique<Export>());
    each.path = folder + "/" + model.getSymName().str() + ".onnx";
    each.exporter = std::make_unique<GraphExporter>(model);
    if (Status status = each.exporter->exportModel(each.proto); !status)
      return Error{each.path + ": cannot be written: " + status.error().message};
    for (auto &[proto, tensor] : each.exporter->initializers) {
      bool big = tensor.bytes >= minOutside && tensor.dtype != DType::String;
      each.names.push_back(big ? checkpoint::hashBytes(tensor.data, tensor.bytes) : std::string());
      if (big)
        holders[each.names.back()].insert(&each);
    }
  }
  bool shares =
      std::any_of(holders.begin(), holders.end(), [](auto &each) { return each.second.size() > 1; });
  std::unique_ptr<AtomicFile> file;
  if (shares) {
    Result<std::unique_ptr<AtomicFile>> made = AtomicFile::create(folder + "/shared.data");
    if (!made)
      return made.error();
    file = std::move(*made);
    DataFile data(*file, "shared.data");
    for (auto &each : exports)
      for (size_t i = 0; i < each->names.size(); ++i) {
        auto &[proto, tensor] = each->exporter->initializers[i];
        if (!each->names[i].empty() && holders[each->names[i]].size() > 1)
          if (Status status = data.add(*proto, tensor, each->names[i]); !status)
            return status;
      }
    if (Status status = file->commit(); !status)
      return status;
  }
  for (size_t i = 0; i < models.size(); ++i)
    if (Status status = writeModel(models[i], *exports[i]->exporter, exports[i]->proto, exports[i]->path);
        !status)
      return status;
  return Done{};
}

Result<std::string> adapter::exportONNXBytes(onnxir::ModelOp model) {
  ::onnx::ModelProto proto;
  GraphExporter exporter(model);
  if (Status status = exporter.exportModel(proto); !status)
    return status.error();
  fillInside(exporter);
  if (proto.ByteSizeLong() > maxInside)
    return Error{"the model exceeds the 2 GiB of one message; write it to a file"};
  return proto.SerializePartialAsString();
}
