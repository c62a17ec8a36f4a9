// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The phases of compilation, as data, and the pipeline of each.
#ifndef ADAPTER_PIPELINES_H
#define ADAPTER_PIPELINES_H

#include "mlir/Pass/PassManager.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include <string>

namespace adapter {

/// What graphs are compiled for. Code that runs when an adapter is loaded is the host's on all of them.
enum class TargetKind { CPU, NVIDIA, AMD, Vulkan, OpenCL };

inline bool isDevice(TargetKind kind) { return kind != TargetKind::CPU; }

/// How work is cut for the threads of a device.
struct DeviceStrategy {
  int64_t threads = 256;         ///< of a group, where each thread has elements of its own
  int64_t reductionThreads = 64; ///< of a group that reduces together; a power of two
  int64_t tileRows = 64;         ///< of a product, by one group in shared memory
  int64_t tileColumns = 64;      ///< also the column block of packed weights
  int64_t tileDepth = 16;
  int64_t threadRows = 4; ///< of a product, by one thread in registers
  int64_t threadColumns = 4;
  int64_t maxGroups = 65535; ///< of a launch; more work is looped over
};

/// What code is compiled for.
struct CodegenOptions {
  int64_t lanes = 16;             ///< f32 lanes of a vector register
  int64_t rows = 12;              ///< rows of the register tile
  int64_t vectors = 2;            ///< vectors in a row of the register tile
  bool vnni = false;              ///< products of integers of 8 bits, four at a time
  bool integerActivations = true; ///< what weights of integers are multiplied with is rounded to integers
  bool bf16 = false;              ///< products of bf16, two at a time
  bool bf16Activations = false;   ///< what weights of bf16 are multiplied with is rounded to bf16
  TargetKind kind = TargetKind::CPU;
  std::string chip; ///< of a device, as its vendor names it: sm_90, gfx942
  DeviceStrategy device;
  std::string rowInput;    ///< the input that carries the rows of a call; empty: the first
  int64_t rowAxis = 0;     ///< its axis of rows
  std::string weights;     ///< how they are stored, a word of #kernel.format; empty: as they are
  int64_t weightGroup = 0; ///< rows of a weight that share a scale; 0: 32
  int64_t columnBlock() const { return isDevice(kind) ? device.tileColumns : vectors * lanes; }
  /// What ranks of an adapter's factors are padded to: a vector, or a step in depth of a device's tile.
  int64_t rankBlock() const { return isDevice(kind) ? device.tileDepth : lanes; }
};

/// A phase of compilation behind attach: `--compile-to=<name>` prints the module there.
struct Phase {
  llvm::StringRef name;
  llvm::StringRef summary;
  void (*build)(mlir::OpPassManager &manager, const CodegenOptions &options);
};

/// All phases from `linalg` to `llvm`, in order.
llvm::ArrayRef<Phase> codegenPhases(TargetKind kind);

/// Symbol of the entry point that is made for a public function.
inline std::string entrySymbol(llvm::StringRef function) { return ("entry." + function).str(); }

} // namespace adapter

#endif // ADAPTER_PIPELINES_H
