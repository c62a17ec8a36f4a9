// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Files: where contents go, and how nothing half-written remains.
#include "lib/Export/ONNX/Export.h"
#include "lib/Export/ONNX/GraphExporter.h"
#include "lib/Support/ONNX/Tensors.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl.h>

using namespace mlir;
using namespace adapter;
using namespace adapter::onnxproto;
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
// Takes the place of its target at commit(); otherwise nothing is left.
class NewFile {
public:
  ~NewFile() {
    if (file)
      llvm::consumeError(file->discard());
  }
  Status open(const std::string &path) {
    target = path;
    auto created = llvm::sys::fs::TempFile::create(path + ".tmp-%%%%%%", 0666 & ~umaskOf());
    if (!created)
      return Error{path + ": cannot be written: " + llvm::toString(created.takeError())};
    file.emplace(std::move(*created));
    return Done{};
  }
  Status commit() {
    std::string message;
    llvm::handleAllErrors(file->keep(target), [&](const llvm::ErrorInfoBase &error) { message = error.message(); });
    file.reset();
    if (!message.empty())
      return Error{target + ": cannot be written: " + message};
    return Done{};
  }
  int descriptor() const { return file->FD; }

private:
  static unsigned umaskOf() { return llvm::sys::fs::getUmask(); }
  std::optional<llvm::sys::fs::TempFile> file;
  std::string target;
};
} // namespace

static Status writeMessage(const ::onnx::ModelProto &proto, const std::string &path, NewFile &file) {
  if (Status status = file.open(path); !status)
    return status;
  google::protobuf::io::FileOutputStream stream(file.descriptor());
  if (!proto.SerializePartialToZeroCopyStream(&stream) || !stream.Flush())
    return Error{path + ": cannot be written: " + std::strerror(stream.GetErrno())};
  return Done{};
}

// Writes big tensors to a file beside the model and refers to them.
static Status writeOutside(GraphExporter &exporter, const std::string &path, NewFile &file) {
  if (Status status = file.open(path); !status)
    return status;
  llvm::raw_fd_ostream out(file.descriptor(), /*shouldClose=*/false);
  std::string location = llvm::sys::path::filename(path).str();
  for (auto &[proto, tensor] : exporter.initializers) {
    if (tensor.bytes < minOutside) {
      if (tensor.dtype != DType::String)
        proto->set_raw_data(tensor.data, tensor.bytes);
      continue;
    }
    if (uint64_t rest = out.tell() % pageSize)
      out.write_zeros(static_cast<unsigned>(pageSize - rest));
    uint64_t offset = out.tell();
    out.write(reinterpret_cast<const char *>(tensor.data), tensor.bytes);
    proto->clear_raw_data();
    proto->set_data_location(::onnx::TensorProto::EXTERNAL);
    for (auto [key, value] : {std::pair<const char *, std::string>("location", location),
                              {"offset", std::to_string(offset)},
                              {"length", std::to_string(tensor.bytes)}}) {
      auto *entry = proto->add_external_data();
      entry->set_key(key);
      entry->set_value(value);
    }
  }
  out.flush();
  if (out.has_error()) {
    std::string message = out.error().message();
    out.clear_error();
    return Error{path + ": cannot be written: " + message};
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
  NewFile file, data;
  Status status = Done{};
  if (outside)
    status = writeOutside(exporter, path + ".data", data);
  else
    fillInside(exporter);
  if (status && proto.ByteSizeLong() > maxInside)
    status = Error{path + ": cannot be written: the model has over 1.9 GB beside its initialisers"};
  if (status)
    status = writeMessage(proto, path, file);
  if (status && outside)
    status = data.commit();
  return status ? file.commit() : status;
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
