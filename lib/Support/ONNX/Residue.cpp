// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Messages as text. Big tensors within (of training graphs, sparse tensors, lists of tensors) are replaced by
// a reference: an external_data entry `adapter.parameter` with scope::key.
#include "lib/Support/ONNX/Residue.h"
#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/message.h>
#include <google/protobuf/text_format.h>
#include <onnx/onnx_pb.h>

using namespace adapter;
using namespace adapter::onnxproto;
using checkpoint::Done;
using checkpoint::DType;
using checkpoint::Error;
using checkpoint::Result;
using checkpoint::Status;
using checkpoint::Tensor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

static constexpr const char *referenceKey = "adapter.parameter";
static constexpr const char *binaryPrefix = "binary:";

// Calls `visit` on each TensorProto and AttributeProto within, innermost last. A TensorProto that is itself
// what is kept has no contents left.
template <typename Function>
static Status walk(Message &message, const Function &visit, bool top = true) {
  if (auto *tensor = dynamic_cast<::onnx::TensorProto *>(&message))
    return top ? Status(Done{}) : visit(tensor, nullptr);
  if (auto *attribute = dynamic_cast<::onnx::AttributeProto *>(&message))
    if (Status status = visit(nullptr, attribute); !status)
      return status;
  const auto *reflection = message.GetReflection();
  std::vector<const FieldDescriptor *> fields;
  reflection->ListFields(message, &fields);
  for (const FieldDescriptor *field : fields) {
    if (field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE)
      continue;
    int count = field->is_repeated() ? reflection->FieldSize(message, field) : 1;
    for (int i = 0; i < count; ++i) {
      Message *child = field->is_repeated() ? reflection->MutableRepeatedMessage(&message, field, i)
                                            : reflection->MutableMessage(&message, field);
      if (Status status = walk(*child, visit, /*top=*/false); !status)
        return status;
    }
  }
  return Done{};
}

// Moves a tensor's contents to the store and leaves a reference; small integers stay, as raw_data.
static Status offload(::onnx::TensorProto &proto, TensorReader &tensors) {
  Result<Tensor> tensor = tensors.read(proto);
  if (!tensor)
    return Error{"tensor '" + proto.name() + "': " + tensor.error().message};
  if (tensor->dtype == DType::String)
    return Done{};
  // The message may be a copy that goes away: contents that it owns are copied once more.
  auto copy = std::make_shared<std::string>(reinterpret_cast<const char *>(tensor->data), tensor->bytes);
  tensor->data = reinterpret_cast<const std::byte *>(copy->data());
  tensor->owner = std::shared_ptr<const void>(copy, copy->data());
  google::protobuf::FieldDescriptor const *field = nullptr;
  for (int number : tensorFields(proto)) {
    field = proto.GetDescriptor()->FindFieldByNumber(number);
    proto.GetReflection()->ClearField(&proto, field);
  }
  writeTensor(*tensor, proto);
  bool integer = tensor->dtype != DType::F32 && tensor->elements() <= maxInlineElements &&
                 tensor->bytes <= 8 * maxInlineElements;
  switch (tensor->dtype) {
  case DType::I64:
  case DType::I32:
  case DType::I16:
  case DType::I8:
  case DType::U64:
  case DType::U32:
  case DType::U16:
  case DType::U8:
  case DType::Bool:
    break;
  default:
    integer = false;
  }
  if (integer || tensor->elements() == 0)
    return Done{};
  std::string key = tensors.claimKey("tensor");
  tensors.store.set(tensors.scope, key, *tensor);
  proto.clear_raw_data();
  proto.set_data_location(::onnx::TensorProto::EXTERNAL);
  auto *entry = proto.add_external_data();
  entry->set_key(referenceKey);
  entry->set_value(tensors.scope + "::" + key);
  return Done{};
}

// A long list of floats becomes a tensor, which FLOATS attributes do not have otherwise.
static void listToTensor(::onnx::AttributeProto &attribute) {
  if (attribute.floats_size() <= maxInlineElements || attribute.has_t())
    return;
  attribute.mutable_t()->set_data_type(::onnx::TensorProto::FLOAT);
  attribute.mutable_t()->add_dims(attribute.floats_size());
  attribute.mutable_t()->mutable_float_data()->Swap(attribute.mutable_floats());
}

static void tensorToList(::onnx::AttributeProto &attribute) {
  if (attribute.type() != ::onnx::AttributeProto::FLOATS || !attribute.has_t())
    return;
  const std::string &raw = attribute.t().raw_data();
  attribute.mutable_floats()->Resize(static_cast<int>(raw.size() / 4), 0);
  memcpy(attribute.mutable_floats()->mutable_data(), raw.data(), raw.size() / 4 * 4);
  attribute.clear_t();
}

Result<std::string> onnxproto::toText(Message &message, TensorReader &tensors) {
  Status moved = walk(message, [&](::onnx::TensorProto *tensor, ::onnx::AttributeProto *attribute) -> Status {
    if (attribute)
      return listToTensor(*attribute), Done{};
    return offload(*tensor, tensors);
  });
  if (!moved)
    return moved.error();
  google::protobuf::TextFormat::Printer printer;
  printer.SetSingleLineMode(true);
  std::string text, binary = message.SerializePartialAsString();
  if (binary.empty())
    return text;
  printer.PrintToString(message, &text);
  if (!text.empty() && text.back() == ' ')
    text.pop_back();
  // Text loses fields of newer ONNX versions and payloads of NaNs; then the message stays binary.
  std::unique_ptr<Message> again(message.New());
  google::protobuf::TextFormat::Parser parser;
  parser.AllowPartialMessage(true);
  struct Silent : google::protobuf::io::ErrorCollector {
    void AddError(int, int, const std::string &) override {}
  } silent;
  parser.RecordErrorsTo(&silent);
  if (!parser.ParseFromString(text, again.get()) || again->SerializePartialAsString() != binary)
    return binaryPrefix + binary;
  return text;
}

Result<std::string> onnxproto::residueOf(Message &message, llvm::ArrayRef<int> covered,
                                         TensorReader &tensors) {
  // Covered fields, which may be most of the model, are swapped out rather than copied and cleared.
  std::vector<const FieldDescriptor *> fields;
  for (int number : covered)
    fields.push_back(message.GetDescriptor()->FindFieldByNumber(number));
  std::unique_ptr<Message> aside(message.New()), rest(message.New());
  const auto *reflection = message.GetReflection();
  reflection->SwapFields(&message, aside.get(), fields);
  rest->CopyFrom(message);
  reflection->SwapFields(&message, aside.get(), fields);
  return toText(*rest, tensors);
}

bool onnxproto::fromText(llvm::StringRef text, Message &message, const ParameterStore &store) {
  if (text.consume_front(binaryPrefix)) {
    if (!message.ParsePartialFromArray(text.data(), static_cast<int>(text.size())))
      return false;
  } else {
    google::protobuf::TextFormat::Parser parser;
    struct Silent : google::protobuf::io::ErrorCollector {
      void AddError(int, int, const std::string &) override {}
    } silent;
    parser.RecordErrorsTo(&silent);
    parser.AllowPartialMessage(true);
    parser.SetRecursionLimit(200);
    if (!parser.ParseFromString(text.str(), &message))
      return false;
  }
  Status restored =
      walk(message, [&](::onnx::TensorProto *tensor, ::onnx::AttributeProto *attribute) -> Status {
        if (attribute) {
          // Lists come back after their tensor has.
          if (attribute->type() == ::onnx::AttributeProto::FLOATS && attribute->has_t() &&
              attribute->t().external_data_size() == 1) {
            llvm::StringRef reference = attribute->t().external_data(0).value();
            auto [scope, key] = reference.split("::");
            if (const Tensor *found = store.lookup(scope, key)) {
              writeTensor(*found, *attribute->mutable_t());
              tensorToList(*attribute);
            }
          }
          return Done{};
        }
        if (tensor->external_data_size() != 1 || tensor->external_data(0).key() != referenceKey)
          return Done{};
        auto [scope, key] = llvm::StringRef(tensor->external_data(0).value()).split("::");
        const Tensor *found = store.lookup(scope, key);
        if (!found)
          return Error{"no tensor " + tensor->external_data(0).value()};
        writeTensor(*found, *tensor);
        tensor->clear_external_data();
        tensor->clear_data_location();
        return Done{};
      });
  return static_cast<bool>(restored);
}

std::vector<std::pair<std::string, std::string>> onnxproto::tensorsInText(llvm::StringRef text) {
  std::vector<std::pair<std::string, std::string>> result;
  std::string needle = std::string("key: \"") + referenceKey + "\" value: \"";
  for (size_t at = text.find(needle); at != llvm::StringRef::npos; at = text.find(needle, at + 1)) {
    llvm::StringRef value = text.substr(at + needle.size()).take_until([](char c) { return c == '"'; });
    auto [scope, key] = value.split("::");
    result.push_back({scope.str(), key.str()});
  }
  return result;
}
