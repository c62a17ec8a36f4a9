// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Files: where contents go, and how nothing half-written remains.
#include "lib/Export/ONNX/Export.h"
#include "lib/Checkpoint/File.h"
#include "lib/Export/ONNX/GraphExporter.h"
#include "lib/Support/ONNX/Tensors.h"
#include "llvm/Support/Path.h"
#include <google/protobuf/io/zero_copy_stream_impl.h>

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

// Writes big tensors to a file beside the model and refers to them.
static Status writeOutside(GraphExporter &exporter, const std::string &location, AtomicFile &file) {
  static constexpr char zeros[pageSize] = {};
  uint64_t offset = 0;
  for (auto &[proto, tensor] : exporter.initializers) {
    if (tensor.bytes < minOutside) {
      if (tensor.dtype != DType::String)
        proto->set_raw_data(tensor.data, tensor.bytes);
      continue;
    }
    uint64_t pad = (pageSize - offset % pageSize) % pageSize;
    if (Status status = file.write(zeros, pad); !status)
      return status;
    offset += pad;
    if (Status status = file.write(tensor.data, tensor.bytes); !status)
      return status;
    proto->clear_raw_data();
    proto->set_data_location(::onnx::TensorProto::EXTERNAL);
    for (auto [key, value] : {std::pair<const char *, std::string>("location", location),
                              {"offset", std::to_string(offset)},
                              {"length", std::to_string(tensor.bytes)}}) {
      auto *entry = proto->add_external_data();
      entry->set_key(key);
      entry->set_value(value);
    }
    offset += tensor.bytes;
  }
  return Done{};
}

static void fillInside(GraphExporter &exporter) {
  for (auto &[proto, tensor] : exporter.initializers)
    if (tensor.dtype != DType::String)
      proto->set_raw_data(tensor.data, tensor.bytes);
}

Status adapter::exportONNXFile(onnxir::ModelOp model, const std::string &path) {
  ::onnx::ModelProto proto;
  GraphExporter exporter(model);
  if (Status status = exporter.exportModel(proto); !status)
    return Error{path + ": cannot be written: " + status.error().message};
  size_t contents = proto.ByteSizeLong();
  for (auto &[message, tensor] : exporter.initializers)
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
