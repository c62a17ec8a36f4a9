// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// See Work.h.
#include "lib/Checkpoint/Work.h"

namespace adapter::checkpoint {

static thread_local Work *current = nullptr;

WorkScope::WorkScope(Work *work) : before(current) { current = work; }
WorkScope::~WorkScope() { current = before; }

Work *currentWork() { return current; }
bool isCancelled() { return current && current->isCancelled(); }
Error cancelledError() { return {"cancelled"}; }

} // namespace adapter::checkpoint
