// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The record of attachments, as ops at the end of each model.
#include "lib/Attach/Plan.h"

using namespace mlir;
using namespace adapter;

static StringAttr optionalText(Builder &b, const std::string &text) {
  return text.empty() ? StringAttr() : b.getStringAttr(text);
}

static AttachmentOp makeRecord(OpBuilder &b, onnxir::ModelOp model, const LoadedAdapter &adapter,
                               const AttachReport &report) {
  const std::string &name = adapter.request->name;
  std::string digest;
  for (const ComparedBase &base : report.bases)
    if (base.adapter == name)
      digest = base.digest;
  auto record = AttachmentOp::create(
      b, model.getLoc(), b.getStringAttr(name), BindingTimeAttr::get(b.getContext(), adapter.time),
      b.getStringAttr(adapter.contents.hash), b.getF64FloatAttr(adapter.request->scale),
      optionalText(b, adapter.contents.baseModel), optionalText(b, digest), StringAttr());
  record.getBody().emplaceBlock();
  return record;
}

void adapter::recordPlacements(const AttachPlan &plan, const AttachReport &report) {
  for (const auto &table : plan.tables)
    for (const auto &adapter : plan.adapters) {
      onnxir::ModelOp model = table->getModel();
      OpBuilder b = OpBuilder::atBlockEnd(&model.getBody().front());
      AttachmentOp record;
      for (const Placement &row : report.placements) {
        if (row.adapter != adapter->request->name || row.model != model.getSymName())
          continue;
        if (!record) {
          record = makeRecord(b, model, *adapter, report);
          b.setInsertionPointToEnd(&record.getBody().front());
        }
        AttachedOp::create(b, model.getLoc(), b.getStringAttr(row.module), b.getStringAttr(row.parameter),
                           b.getStringAttr(row.form), b.getStringAttr(row.node),
                           b.getStringAttr(evidenceName(row.evidence)), optionalText(b, row.derivation),
                           optionalText(b, row.key), FloatAttr());
      }
    }
}
