// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Access to the call's frame and the host table from compiled code, in the LLVM dialect.
#ifndef ADAPTER_LIB_CODEGEN_FRAME_H
#define ADAPTER_LIB_CODEGEN_FRAME_H

#include "adapter-rt/artifact.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include <cstddef>

namespace adapter {

/// The frame that an entry point makes for its call.
struct FrameOffsets {
  static constexpr int64_t kCall = 0;
  static constexpr int64_t kStatus = 8;
  static constexpr int64_t kSize = 16;
};

struct CallOffsets {
  static constexpr int64_t kHost = offsetof(adapter_call_v1, host);
  static constexpr int64_t kInputs = offsetof(adapter_call_v1, inputs);
  static constexpr int64_t kParameters = offsetof(adapter_call_v1, parameters);
  static constexpr int64_t kBanks = offsetof(adapter_call_v1, banks);
  static constexpr int64_t kSegments = offsetof(adapter_call_v1, segments);
  static constexpr int64_t kSegmentCount = offsetof(adapter_call_v1, segment_count);
  static constexpr int64_t kAssignments = offsetof(adapter_call_v1, assignments);
  static constexpr int64_t kRowEntries = offsetof(adapter_call_v1, row_entries);
  static constexpr int64_t kRows = offsetof(adapter_call_v1, rows);
  static constexpr int64_t kScalars = offsetof(adapter_call_v1, scalars);
  static constexpr int64_t kSession = offsetof(adapter_call_v1, session);
};

/// The address `offset` bytes behind a pointer.
mlir::Value pointerAt(mlir::ImplicitLocOpBuilder &b, mlir::Value base, int64_t offset);
/// The pointer that stands `offset` bytes behind `base`.
mlir::Value loadPointer(mlir::ImplicitLocOpBuilder &b, mlir::Value base, int64_t offset);
/// The i64 that stands `offset` bytes behind `base`.
mlir::Value loadI64(mlir::ImplicitLocOpBuilder &b, mlir::Value base, int64_t offset);
mlir::Value constantI64(mlir::ImplicitLocOpBuilder &b, int64_t value);

/// Calls function `offset` of the host table with its state and `arguments`.
mlir::LLVM::CallOp callHost(mlir::ImplicitLocOpBuilder &b, mlir::Value frame, int64_t offset,
                            mlir::Type result, mlir::ValueRange arguments);

/// Where the host wants result `index` of those sizes (i64); null if it has no memory for it.
mlir::Value askForOutput(mlir::ImplicitLocOpBuilder &b, mlir::Value frame, int64_t index,
                         mlir::ValueRange sizes);

/// `kernel.fail(frame, message, count, values...)`: marks the call as failed and tells the host why.
mlir::LLVM::LLVMFuncOp getOrMakeFail(mlir::ModuleOp module);
/// Calls it; the values, three at most, are i64. Nothing is stored by the caller: what fails costs the rest no memory.
void callFail(mlir::ImplicitLocOpBuilder &b, mlir::LLVM::LLVMFuncOp fail, mlir::Value frame,
              mlir::Value message, mlir::ValueRange values = {});

} // namespace adapter

#endif // ADAPTER_LIB_CODEGEN_FRAME_H
