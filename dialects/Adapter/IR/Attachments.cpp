// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Verification and printing of the record of attachments.
#include "dialects/Adapter/IR/AdapterOps.h"

using namespace mlir;
using namespace adapter;

LogicalResult AttachmentOp::verify() {
  for (Operation &op : getBody().front())
    if (!isa<AttachedOp>(op))
      return emitOpError("holds something else than adapter.attached: ") << op.getName();
  return success();
}
