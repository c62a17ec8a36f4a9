// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What one node is written as: other nodes of ONNX's own operators, all of one operator set whatever the model imports,
// with types as far as those of their inputs say.
#ifndef ADAPTER_LIB_CONVERSION_ONNXTOONNX_EXPANSION_H
#define ADAPTER_LIB_CONVERSION_ONNXTOONNX_EXPANSION_H

#include "lib/Conversion/ONNXToLinalg/Lowering.h"
#include "lib/Support/ONNX/NodeBuilder.h"

namespace adapter {

bool isOnnxDomain(llvm::StringRef domain);

/// The values that take the place of a node's results. Null: the node has none there that anybody reads.
using Expanded = llvm::FailureOr<llvm::SmallVector<mlir::Value>>;

class Expansion {
public:
  /// Of the nodes that are made.
  static constexpr int64_t version = 25;

  /// Nodes are made in front of `node`.
  explicit Expansion(onnxir::NodeOp node);

  onnxir::NodeOp node;
  bool sessions = false; ///< caches are those of sessions

  //===--- the node -------------------------------------------------------===//

  /// Null where the node leaves it out.
  mlir::Value in(unsigned index) { return node.getInputOrNull(index); }
  bool isUsed(unsigned result) {
    return result < node->getNumResults() && !node.getResult(result).use_empty();
  }
  int64_t integer(llvm::StringRef name, int64_t fallback) { return intAttr(node, name, fallback); }
  double real(llvm::StringRef name, double fallback) { return floatAttr(node, name, fallback); }
  /// An error that begins with the node.
  mlir::InFlightDiagnostic error();
  /// An error where an attribute has another value than `only`, an input is there, a result is used.
  llvm::LogicalResult requireAttribute(llvm::StringRef name, int64_t only);
  llvm::LogicalResult refuseInput(unsigned index, llvm::StringRef name);
  llvm::LogicalResult refuseResult(unsigned index, llvm::StringRef name);
  /// An error where a required input is left out.
  llvm::LogicalResult requireInputs(llvm::ArrayRef<unsigned> indices);

  //===--- types ----------------------------------------------------------===//

  static std::optional<int64_t> rankOf(mlir::Value value);
  /// Size of a dimension, from the back where negative; dynamic where it is not known.
  static int64_t sizeOf(mlir::Value value, int64_t dim);
  /// Whether two dimensions are one size, as far as sizes and names say.
  static bool isSameSize(mlir::Value x, int64_t xDim, mlir::Value y, int64_t yDim);

  //===--- constants and sizes --------------------------------------------===//

  mlir::Value number(double value, mlir::Value like) { return nodes.constant(value, like); }
  mlir::Value whole(int64_t value) { return nodes.integer(value); }
  mlir::Value wholes(llvm::ArrayRef<int64_t> values) { return nodes.integers(values); }
  /// The size of a dimension, i64 without dimensions.
  mlir::Value size(mlir::Value x, int64_t dim);
  /// 0, 1, ... below a number of integers.
  mlir::Value counted(mlir::Value limit);

  //===--- nodes ----------------------------------------------------------===//

  mlir::Value make(llvm::StringRef type, mlir::ValueRange inputs, mlir::Type result,
                   llvm::ArrayRef<mlir::NamedAttribute> attributes = {});
  mlir::NamedAttribute attribute(llvm::StringRef name, int64_t value);
  mlir::NamedAttribute attribute(llvm::StringRef name, double value);
  mlir::NamedAttribute attribute(llvm::StringRef name, llvm::StringRef value);
  mlir::NamedAttribute attribute(llvm::StringRef name, llvm::ArrayRef<int64_t> value);

  /// x (operator) y, broadcast; a comparison's result is i1.
  mlir::Value binary(llvm::StringRef type, mlir::Value x, mlir::Value y);
  mlir::Value compare(llvm::StringRef type, mlir::Value x, mlir::Value y);
  mlir::Value where(mlir::Value condition, mlir::Value x, mlir::Value y);
  mlir::Value unary(llvm::StringRef type, mlir::Value x,
                    llvm::ArrayRef<mlir::NamedAttribute> attributes = {});
  /// x, or the sum of both where there is a y.
  mlir::Value plus(mlir::Value x, mlir::Value y) { return y ? binary("Add", x, y) : x; }
  mlir::Value times(mlir::Value x, double factor) {
    return factor == 1.0 ? x : binary("Mul", x, number(factor, x));
  }
  mlir::Value matMul(mlir::Value x, mlir::Value y);
  mlir::Value transpose(mlir::Value x, llvm::ArrayRef<int64_t> order);
  /// Sizes as Reshape has them: 0 is the input's, -1 what is left.
  mlir::Value reshape(mlir::Value x, llvm::ArrayRef<int64_t> sizes);
  /// [batch, tokens, heads * size] as [batch, heads, tokens, size], and back.
  mlir::Value splitHeads(mlir::Value x, int64_t heads);
  mlir::Value mergeHeads(mlir::Value x);
  mlir::Value unsqueeze(mlir::Value x, llvm::ArrayRef<int64_t> axes);
  mlir::Value concat(llvm::ArrayRef<mlir::Value> parts, int64_t axis);
  /// Positions [begin, end) of an axis; `end` may be beyond it.
  mlir::Value slice(mlir::Value x, int64_t axis, int64_t begin, int64_t end, int64_t step = 1);
  mlir::Value slice(mlir::Value x, int64_t axis, mlir::Value begin, mlir::Value end);
  llvm::SmallVector<mlir::Value> split(mlir::Value x, int64_t axis, llvm::ArrayRef<int64_t> sizes);
  /// Along the first axis.
  mlir::Value gather(mlir::Value table, mlir::Value indices);
  mlir::Value cast(mlir::Value x, mlir::Type element);
  /// Over one axis.
  mlir::Value reduce(llvm::StringRef type, mlir::Value x, int64_t axis, bool keepDims);

  mlir::OpBuilder builder;
  NodeBuilder nodes;
};

//===--- families ---------------------------------------------------------===//

using ExpandNode = Expanded (*)(Expansion &);
using ExpansionTable = llvm::StringMap<ExpandNode>; // by "domain::Operator"; the domain of ONNX is empty

void addActivationExpansions(ExpansionTable &table);
void addNormExpansions(ExpansionTable &table);
void addProductExpansions(ExpansionTable &table);
void addRotaryExpansions(ExpansionTable &table);
void addMultiHeadExpansions(ExpansionTable &table);
void addGroupQueryExpansions(ExpansionTable &table);

/// x [batch, tokens, heads, size] turned by the angles of cosines and sines, which broadcast to [batch, tokens, 1, half];
/// what is behind twice `half` stays. Where `headAxis` is 1, of [batch, heads, tokens, size].
mlir::Value rotate(Expansion &e, mlir::Value x, mlir::Value cosines, mlir::Value sines, bool interleaved,
                   int64_t headAxis);

/// Attention as ONNX has it, of which only what the node says is there.
struct Attention {
  mlir::Value query, key, value;      ///< all of three dimensions or all of four
  mlir::Value mask;                   ///< booleans, or numbers that are added
  mlir::Value pastKey, pastValue;     ///< the first positions of keys and values
  mlir::Value lengths;                ///< i64 [batch]: keys that are there
  int64_t heads = 0, sharedHeads = 0; ///< where there are three dimensions
  std::optional<double> scale;
  double softcap = 0;
  bool isCausal = false;
  int64_t leftWindow = -1, rightWindow = -1;
  int64_t productMode = 0;
};
struct AttentionResults {
  mlir::Value result, presentKey, presentValue, product;
};
/// What a node of ONNX's own operator says. Reports what it says of none of these.
llvm::FailureOr<Attention> readAttention(Expansion &e);
/// A mask that has a column for each key: those beyond its last one are hidden.
llvm::FailureOr<mlir::Value> wholeMask(Expansion &e, mlir::Value mask, mlir::Value key);
/// The definition of a node of ONNX's own operator.
Expanded expandAttentionNode(Expansion &e);
/// Such a node. `present`, `product`: whether it has these results.
AttentionResults makeAttention(Expansion &e, const Attention &attention, bool present, bool product);
/// The nodes of its definition. `sinks`, one number for each head, take part in the softmax, and have no value.
llvm::FailureOr<AttentionResults> expandAttention(Expansion &e, const Attention &attention,
                                                  mlir::Value sinks = {});

} // namespace adapter

#endif // ADAPTER_LIB_CONVERSION_ONNXTOONNX_EXPANSION_H
