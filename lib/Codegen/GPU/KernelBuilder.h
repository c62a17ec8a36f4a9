// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Kernels as gpu.launch: groups in one dimension, buffers of one dimension. All targets can express that, and
// sizes beyond a target's limits are loops.
#ifndef ADAPTER_LIB_CODEGEN_GPU_KERNELBUILDER_H
#define ADAPTER_LIB_CODEGEN_GPU_KERNELBUILDER_H

#include "adapter/Pipelines.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "llvm/ADT/MapVector.h"

namespace adapter {

/// `memref` in the device's memory.
mlir::MemRefType onDevice(mlir::MemRefType type);
bool isOnDevice(mlir::Type type);

/// A memref as a kernel sees it: a buffer of one dimension, and where an element lies in it.
struct FlatBuffer {
  mlir::Value buffer;
  mlir::OpFoldResult offset;
  llvm::SmallVector<mlir::OpFoldResult> strides;
};

/// Builds one kernel. Host code comes first (flatten, sizes), then begin(), then the body, then finish().
class KernelBuilder {
public:
  /// `name` says in listings of kernels what this one does.
  KernelBuilder(mlir::ImplicitLocOpBuilder &b, const DeviceStrategy &strategy, llvm::StringRef name)
      : b(b), strategy(strategy), name(name) {}

  mlir::ImplicitLocOpBuilder &b;
  const DeviceStrategy &strategy;

  //===--- On the host -----------------------------------------------------------------------------===//

  /// Views of one allocation share its buffer.
  FlatBuffer flatten(mlir::Value memref);
  mlir::Value product(llvm::ArrayRef<mlir::Value> sizes);
  /// Starts the kernel: the insertion point moves into it.
  void begin(mlir::Value groups, int64_t threads, llvm::ArrayRef<int64_t> sharedSizes = {});
  /// A launch with one thread for each of `count` elements.
  void beginElements(mlir::Value count);
  /// Ends the kernel; the insertion point is behind it.
  void finish();

  //===--- In the kernel ---------------------------------------------------------------------------===//

  mlir::Value thread() { return launch.getThreadIds().x; }
  mlir::Value group() { return launch.getBlockIds().x; }
  /// How many groups run; passed in, since not every target knows it without a library.
  mlir::Value groups() { return groupCount; }
  mlir::Value shared(unsigned index) { return launch.getWorkgroupAttributions()[index]; }

  mlir::Value load(const FlatBuffer &from, llvm::ArrayRef<mlir::Value> indices);
  void store(mlir::Value value, const FlatBuffer &to, llvm::ArrayRef<mlir::Value> indices);
  /// The elements [0, count) of this thread, of all threads of all groups.
  void forElements(mlir::Value count, llvm::function_ref<void(mlir::Value)> body);
  /// The pieces of work [0, count) of this group.
  void forGroups(mlir::Value count, llvm::function_ref<void(mlir::Value)> body);
  void loop(mlir::Value from, mlir::Value to, mlir::Value step, llvm::function_ref<void(mlir::Value)> body);
  void when(mlir::Value condition, llvm::function_ref<void()> then,
            llvm::function_ref<void()> otherwise = {});
  /// `value()` where the condition holds, else zero; `value` is not evaluated then.
  mlir::Value valueIf(mlir::Value condition, mlir::Type type, llvm::function_ref<mlir::Value()> value);
  /// The position in a space of `sizes` that is number `linear`, the last dimension fastest.
  llvm::SmallVector<mlir::Value> delinearise(mlir::Value linear, llvm::ArrayRef<mlir::Value> sizes);

  mlir::Value index(int64_t value);
  mlir::Value add(mlir::Value x, mlir::Value y);
  mlir::Value mul(mlir::Value x, mlir::Value y);
  mlir::Value ceilDiv(mlir::Value x, mlir::Value y);
  mlir::Value div(mlir::Value x, mlir::Value y);
  mlir::Value rem(mlir::Value x, mlir::Value y);
  mlir::Value less(mlir::Value x, mlir::Value y);
  mlir::Value both(mlir::Value x, mlir::Value y);

private:
  mlir::Value position(const FlatBuffer &buffer, llvm::ArrayRef<mlir::Value> indices);

  llvm::StringRef name;
  mlir::Value groupCount;
  mlir::gpu::LaunchOp launch;
  llvm::DenseMap<mlir::Value, mlir::Value> buffers; // by allocation
};

/// What a failed check of a kernel says, by the number that the kernel leaves in the status buffer.
class KernelChecks {
public:
  /// The number of a message, from 1.
  int64_t number(llvm::StringRef message);
  /// `status` of the function that `op` stands in, made when it is first asked for.
  mlir::Value status(mlir::Operation *op);
  /// Emits the host's checks at the end of each function that has a status.
  void finish();

private:
  llvm::SmallVector<std::string> messages;
  llvm::MapVector<mlir::Operation *, mlir::Value> statuses; // by function
};

/// Each replaces one op on device buffers by kernels. Failure: the op was reported as having no such form.
mlir::LogicalResult lowerGenericToKernel(mlir::Operation *op, const DeviceStrategy &strategy,
                                         KernelChecks &checks);
mlir::LogicalResult lowerProductToKernel(mlir::Operation *op, const DeviceStrategy &strategy);
mlir::LogicalResult lowerRowUpdateToKernels(mlir::Operation *op, const DeviceStrategy &strategy);

} // namespace adapter

#endif // ADAPTER_LIB_CODEGEN_GPU_KERNELBUILDER_H
