// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What operators over integers read, as one kind of matrix. A part of adapter-raise-quantised.
#ifndef ADAPTER_LIB_CONVERSION_ONNXTOADAPTER_QUANTISEDSOURCES_H
#define ADAPTER_LIB_CONVERSION_ONNXTOADAPTER_QUANTISEDSOURCES_H

#include "dialects/Adapter/IR/AdapterOps.h"
#include "dialects/Kernel/IR/KernelOps.h"
#include "lib/Conversion/ONNXToAdapter/GraphMatch.h"
#include "lib/Support/Quantised.h"

namespace adapter {

/// A node and the tensors behind its inputs.
class NodeSource {
public:
  explicit NodeSource(onnxir::NodeOp node) : node(node) {}

  onnxir::NodeOp node;

  std::string describe();
  /// The parameter behind an input, perhaps in another shape; null where it is none.
  ParameterOp parameter(unsigned index);
  /// Its contents, or a message that names it.
  checkpoint::Result<checkpoint::Tensor> tensor(unsigned index);
  /// The shape in which an input arrives; nothing where that is not known.
  std::optional<llvm::SmallVector<int64_t>> shape(unsigned index);
  bool has(unsigned index) { return static_cast<bool>(node.getInputOrNull(index)); }
  std::string nameOf(unsigned index);
  int64_t integer(llvm::StringRef name, int64_t otherwise) { return attributeOf(node, name, otherwise); }
  /// An attribute that is an axis of so many dimensions, or -1.
  int64_t axis(llvm::StringRef name, int64_t otherwise, int64_t rank);
};

/// What DequantizeLinear makes of constants: a matrix, or, where no product takes it as it is, floats.
struct DequantizeLinear {
  std::optional<Quantised> matrix;
  bool transposed = false; ///< the matrix is the tensor's transpose
  checkpoint::Tensor floats;
};

checkpoint::Result<Quantised> readMatMulNBits(NodeSource &source);
checkpoint::Result<Quantised> readGatherBlockQuantized(NodeSource &source);
/// `outputsSecond`: where scales leave it open, the matrix's rows are the tensor's second dimension.
checkpoint::Result<DequantizeLinear> readDequantizeLinear(NodeSource &source, bool outputsSecond);

} // namespace adapter

#endif // ADAPTER_LIB_CONVERSION_ONNXTOADAPTER_QUANTISEDSOURCES_H
