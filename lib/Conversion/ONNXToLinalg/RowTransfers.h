// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Transfer functions of rows and tokens that fill a file of their own: those of operators that move elements.
#ifndef ADAPTER_LIB_CONVERSION_ONNXTOLINALG_ROWTRANSFERS_H
#define ADAPTER_LIB_CONVERSION_ONNXTOLINALG_ROWTRANSFERS_H

#include "lib/Conversion/ONNXToLinalg/Provenance.h"

namespace adapter::transfers {

/// One result of a node that has been lowered, for rows or for tokens. Operands are traced or do not depend on them:
/// what is lost has been dealt with before.
struct Flow {
  mutable onnxir::NodeOp node;
  GraphLowering &graph;
  RowFact fact;
  const Lowered &out;
  unsigned result;

  Lowered *in(unsigned index) const { return graph.input(node, index); }
  Rows of(unsigned index) const {
    Lowered *operand = in(index);
    return operand && (operand->*fact).isTraced() ? operand->*fact : Rows();
  }
  bool isTokens() const { return fact == &Provenance::tokens; }
  mlir::OpFoldResult size(unsigned index, int64_t axis) const { return in(index)->shape[axis]; }
  int64_t axis(int64_t fallback, int64_t rank) const {
    int64_t axis = intAttr(node, "axis", fallback);
    return axis < 0 ? axis + rank : axis;
  }
  /// The constant integers of an attribute, or of an operand of later opsets.
  std::optional<llvm::SmallVector<int64_t>> integers(llvm::StringRef attribute, unsigned operand) const {
    if (std::optional<llvm::SmallVector<int64_t>> given = intsAttr(node, attribute))
      return given;
    return in(operand) ? graph.constantIntegers(*in(operand)) : std::nullopt;
  }
  Rows lost(const char *why) const { return graph.lost(why); }
  Rows merged() const {
    llvm::SmallVector<Lowered *> operands;
    for (unsigned i = 0; i < node.getInputs().size(); ++i)
      if (of(i).isTraced())
        operands.push_back(in(i));
    return graph.mergeRows(fact, out.shape, operands);
  }
};

Rows reshape(const Flow &flow);
Rows transpose(const Flow &flow);
Rows concat(const Flow &flow);
Rows unlessResized(const Flow &flow);
Rows split(const Flow &flow);
Rows slice(const Flow &flow);
Rows pad(const Flow &flow);
Rows tile(const Flow &flow);
Rows oneHot(const Flow &flow);
Rows gather(const Flow &flow);
Rows gatherElements(const Flow &flow);
Rows gatherND(const Flow &flow);
Rows scatterND(const Flow &flow);
Rows scatterElements(const Flow &flow);
Rows tensorScatter(const Flow &flow);

} // namespace adapter::transfers

#endif // ADAPTER_LIB_CONVERSION_ONNXTOLINALG_ROWTRANSFERS_H
