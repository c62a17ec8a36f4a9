// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// See Attachments.h.
#include "lib/Support/ONNX/Attachments.h"
#include "dialects/Adapter/IR/AdapterOps.h"
#include "mlir/IR/Builders.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir;
using namespace adapter;
using llvm::json::Array;
using llvm::json::Object;
using Json = llvm::json::Value;

static Object parameterJson(AttachedOp op) {
  Object entry{{"module", op.getModule()},
               {"parameter", op.getParameter()},
               {"form", op.getForm()},
               {"node", op.getNode()},
               {"evidence", op.getEvidence()}};
  if (op.getDerivation())
    entry["derivation"] = *op.getDerivation();
  if (op.getRetainedError())
    entry["retained_error"] = op.getRetainedError()->convertToDouble();
  return entry;
}

std::string onnxproto::attachmentsText(onnxir::ModelOp model) {
  Array all;
  for (auto op : model.getBody().front().getOps<AttachmentOp>()) {
    Array parameters;
    for (auto each : op.getBody().getOps<AttachedOp>())
      parameters.push_back(parameterJson(each));
    Object entry{{"adapter", op.getAdapter()},
                 {"time", stringifyBindingTime(op.getTime())},
                 {"hash", op.getHash()},
                 {"scale", op.getScale().convertToDouble()},
                 {"parameters", std::move(parameters)}};
    if (op.getBase())
      entry["base"] = *op.getBase();
    if (op.getBaseDigest())
      entry["base_digest"] = *op.getBaseDigest();
    all.push_back(std::move(entry));
  }
  std::string text;
  if (!all.empty())
    llvm::raw_string_ostream(text) << Json(std::move(all));
  return text;
}

// Names in JSON may be anything but text that is no UTF-8, which no file of ours holds.
static StringAttr textOf(Builder &b, const Object &object, StringRef field) {
  std::optional<StringRef> text = object.getString(field);
  return text ? b.getStringAttr(*text) : StringAttr();
}

static bool readParameter(OpBuilder &b, Location loc, const Json &value) {
  const Object *object = value.getAsObject();
  if (!object)
    return false;
  StringAttr module = textOf(b, *object, "module"), parameter = textOf(b, *object, "parameter"),
             form = textOf(b, *object, "form"), node = textOf(b, *object, "node"),
             evidence = textOf(b, *object, "evidence");
  if (!module || !parameter || !form || !node || !evidence)
    return false;
  std::optional<double> error = object->getNumber("retained_error");
  AttachedOp::create(b, loc, module, parameter, form, node, evidence, textOf(b, *object, "derivation"),
                     StringAttr(), error ? b.getF64FloatAttr(*error) : FloatAttr());
  return true;
}

static bool readAttachment(OpBuilder &b, Location loc, const Json &value) {
  const Object *object = value.getAsObject();
  if (!object)
    return false;
  StringAttr name = textOf(b, *object, "adapter"), hash = textOf(b, *object, "hash");
  std::optional<StringRef> timeText = object->getString("time");
  std::optional<BindingTime> time = timeText ? symbolizeBindingTime(*timeText) : std::nullopt;
  std::optional<double> scale = object->getNumber("scale");
  const Array *parameters = object->getArray("parameters");
  if (!name || !hash || !time || !scale || !parameters)
    return false;
  auto record = AttachmentOp::create(b, loc, name, BindingTimeAttr::get(b.getContext(), *time), hash,
                                     b.getF64FloatAttr(*scale), textOf(b, *object, "base"),
                                     textOf(b, *object, "base_digest"), StringAttr());
  OpBuilder inside = OpBuilder::atBlockEnd(&record.getBody().emplaceBlock());
  return llvm::all_of(*parameters, [&](const Json &each) { return readParameter(inside, loc, each); });
}

bool onnxproto::readAttachments(StringRef text, onnxir::ModelOp model) {
  llvm::Expected<Json> parsed = llvm::json::parse(text);
  if (!parsed) {
    llvm::consumeError(parsed.takeError());
    return false;
  }
  const Array *all = parsed->getAsArray();
  if (!all)
    return false;
  OpBuilder b = OpBuilder::atBlockEnd(&model.getBody().front());
  if (llvm::all_of(*all, [&](const Json &each) { return readAttachment(b, model.getLoc(), each); }))
    return true;
  for (auto op : llvm::make_early_inc_range(model.getBody().front().getOps<AttachmentOp>()))
    op.erase();
  return false;
}
