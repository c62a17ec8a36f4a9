// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What lowerings of ONNX operators share: values with symbolic shapes, index arithmetic, broadcasting.
#ifndef ADAPTER_LIB_CONVERSION_ONNXTOLINALG_LOWERING_H
#define ADAPTER_LIB_CONVERSION_ONNXTOLINALG_LOWERING_H

#include "dialects/Adapter/IR/AdapterOps.h"
#include "dialects/ONNX/IR/ONNXOps.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/StringMap.h"
#include <map>
#include <memory>

namespace adapter {

/// Where a value carries the rows of the call, which may have adapters of their own. Traced rows lie in one
/// dimension, `axis`, of size outer * rows * inner: position i of it belongs to row (i / inner) mod rows. A
/// batch in front has outer 1; windows of images, heads and flattened sequences add an inner, a sequence in
/// front of the batch an outer.
struct Rows {
  enum Kind {
    None,   ///< the value does not depend on them
    Traced, ///< as above; inner follows from the size
    Lost    ///< it depends on them in a way that cannot be traced
  };
  Kind kind = None;
  int64_t axis = 0;
  mlir::OpFoldResult outer;         ///< null: 1
  mlir::Operation *where = nullptr; ///< what lost them
  const char *why = "";             ///< and what that does

  static Rows at(int64_t axis, mlir::OpFoldResult outer = {}) {
    return {Traced, axis, outer && mlir::isConstantIntValue(outer, 1) ? mlir::OpFoldResult() : outer};
  }
  static Rows lost(mlir::Operation *where, const char *why) { return {Lost, 0, {}, where, why}; }
  bool isTraced() const { return kind == Traced; }
  bool operator==(const Rows &other) const {
    return kind == other.kind && (!isTraced() || (axis == other.axis && outer == other.outer));
  }
};

/// What of the call the positions of a value belong to. Rows stay traced as long as nothing that is computed for one
/// depends on another. Tokens of a row read each other, in attention if nowhere else: of them it is traced where they
/// lie, whatever a position has read.
struct Provenance {
  Rows rows;
  Rows tokens;
  /// Of integers that are indices. Traced: every element, divided by the stride, is the number of the row that its
  /// position belongs to.
  Rows numbers;
  mlir::OpFoldResult stride; ///< null: 1
  mlir::OpFoldResult below;  ///< every element is in [0, below); null: not known
};

/// A value of the graph on its way to linalg. Sizes are attributes or values of type index; two sizes that
/// are the same value are equal in every run. Of small tensors (shapes, mostly) the elements may be known
/// one by one as scalars, integers of more than one bit as values of type index; then `tensor` may be null
/// until somebody needs it.
struct Lowered : Provenance {
  mlir::Value tensor;
  llvm::SmallVector<mlir::OpFoldResult> shape;
  mlir::Type elementType; // signless
  std::optional<llvm::SmallVector<mlir::Value>> elements;
  bool isUnsigned = false;
  bool isParameter = false;            // known at build time: a parameter or computed from parameters alone
  bool isLifted = false;               // its first dimension, of the rows, is not the graph's
  llvm::SmallVector<int64_t, 2> banks; // of a parameter: with the updates of it that a call chooses

  int64_t rank() const { return shape.size(); }
  void setProvenance(const Provenance &other) { static_cast<Provenance &>(*this) = other; }
  /// The size of a dimension if it is static, else ShapedType::kDynamic.
  int64_t staticSize(int64_t dim) const;
  bool hasStaticShape() const;
};

/// Rows or tokens: what is followed of both alike.
using RowFact = Rows Provenance::*;

class GraphLowering;

/// Lowers one node: reads its inputs from and sets its results in `graph`. Reports its own errors.
using LowerNode = llvm::function_ref<llvm::LogicalResult(onnxir::NodeOp, GraphLowering &)>;
using LowerNodeFunction = llvm::LogicalResult (*)(onnxir::NodeOp, GraphLowering &);

/// Lowerings by operator; the newest `since` version up to the model's opset is taken.
class LoweringTable {
public:
  void add(llvm::StringRef operatorName, LowerNodeFunction function, int64_t since = 1,
           llvm::StringRef domain = "");
  LowerNodeFunction lookup(llvm::StringRef domain, llvm::StringRef operatorName, int64_t version) const;

  /// The table with every lowering of this library.
  static const LoweringTable &get();

private:
  llvm::StringMap<llvm::SmallVector<std::pair<int64_t, LowerNodeFunction>>> rows;
};

// One function per file of lowerings.
void addElementwiseLowerings(LoweringTable &table);
void addUnaryLowerings(LoweringTable &table);
void addShapeLowerings(LoweringTable &table);
void addLayoutLowerings(LoweringTable &table);
void addReductionLowerings(LoweringTable &table);
void addNormalizationLowerings(LoweringTable &table);
void addProductLowerings(LoweringTable &table);
void addGatherLowerings(LoweringTable &table);
void addConvolutionLowerings(LoweringTable &table);
void addPoolingLowerings(LoweringTable &table);
void addResizeLowerings(LoweringTable &table);
void addScatterLowerings(LoweringTable &table);
void addTopKLowerings(LoweringTable &table);

/// Builds the linalg form of one graph.
class GraphLowering {
public:
  GraphLowering(mlir::ImplicitLocOpBuilder &builder) : b(builder) {}

  mlir::ImplicitLocOpBuilder &b;
  /// Columns of a block of a packed weight: two vector registers of f32 on the target.
  int64_t columnBlock = 32;
  /// Set by what cannot report errors itself; the node that is being lowered is at fault.
  std::string fault;
  /// The node that is being lowered; null for what is no node.
  onnxir::NodeOp node;

  //===--- values ---------------------------------------------------------===//

  /// The lowered form of a graph's value. It stays where it is, whatever else is set.
  Lowered &get(mlir::Value value) { return *values.find(value)->second; }
  bool has(mlir::Value value) const { return values.count(value); }
  void set(mlir::Value value, Lowered lowered) {
    std::unique_ptr<Lowered> &place = values[value];
    if (!place)
      place = std::make_unique<Lowered>();
    *place = std::move(lowered);
  }
  /// The number of rows: the size of the axis of an input that carries them; null where there is none.
  mlir::OpFoldResult rowCount;
  /// The number of tokens of a row, where adapters act token by token: the size of the axis beside it.
  mlir::OpFoldResult tokenCount;
  /// Some adapters act token by token, so tokens are followed beside rows.
  bool tracesTokens = false;
  /// Rows or tokens, lost at what is being lowered.
  Rows lost(const char *why) { return Rows::lost(node, why); }
  /// Those of what is combined position by position, broadcast.
  Rows mergeRows(RowFact fact, llvm::ArrayRef<mlir::OpFoldResult> shape, llvm::ArrayRef<Lowered *> inputs);
  /// Those of the same elements in another shape.
  Rows reshapeRows(RowFact fact, const Lowered &source, llvm::ArrayRef<mlir::OpFoldResult> shape);
  /// Sets those of a value, by a function of the fact.
  void follow(Lowered &value, llvm::function_ref<Rows(RowFact)> rowsOf) {
    value.rows = rowsOf(&Provenance::rows);
    if (tracesTokens)
      value.tokens = rowsOf(&Provenance::tokens);
  }
  /// Whether what is done to x, which does not depend on the rows, differs by row from here on.
  bool startsRows(const Lowered &x, llvm::ArrayRef<int64_t> banks);
  /// x once for each row, in a first dimension that the graph knows nothing of; see Lifted.cpp.
  Lowered lift(Lowered &x);
  /// A row-bound vector beside `data`: one vector for each position of data's dimension of rows.
  Lowered rowVectors(Lowered &vector, llvm::ArrayRef<Lowered *> inputs);
  /// x [..., k] times a packed weight of `columns` columns with each row's update of it, plus the bias.
  Lowered multiplyByRow(Lowered &x, mlir::Value packed, Lowered *bias, mlir::OpFoldResult columns,
                        int64_t bank);
  /// The updates of a product of x [..., k] and a packed weight that has banks, each row's added to it in place.
  Lowered addRowUpdates(Lowered &x, mlir::Value packed, Lowered product, llvm::ArrayRef<int64_t> banks);
  /// A vector that one adapter of the call may change: the same operand for every row.
  Lowered callVector(Lowered &vector, int64_t bank);
  /// What each row's module makes of `base`; `residual` is null where it is the base.
  Lowered actByRow(Lowered &base, Lowered &input, Lowered *residual, int64_t bank,
                   mlir::ArrayAttr bottlenecks);
  /// Whether the rows of `x` can be traced, outside of its `last` dimensions, where the bank needs that; refuses
  /// the bank otherwise. The same of tokens decides whether the bank may differ by them.
  bool requireRows(const Lowered &x, int64_t bank, int64_t last = 0);
  /// x as [positions, product of its last dimensions], each row's positions together, the first row's first; as
  /// it lies where no rows are traced.
  Lowered rowsFirst(Lowered &x, int64_t last);
  /// Undoes rowsFirst for a value whose shape in the graph is `shape`, with the rows of `like`.
  Lowered rowsBack(Lowered &flat, llvm::ArrayRef<mlir::OpFoldResult> shape, const Lowered &like,
                   int64_t last);

  /// What the entries of a bank act on.
  struct Bank {
    bool perRow = true;                                 ///< each row of a call may have another entry
    bool spare = false;                                 ///< nothing but room: it may be left out
    bool byToken = false;                               ///< and each token of a row
    std::string refusal;                                ///< why it is left out
    std::string tokenRefusal;                           ///< why it cannot differ by token
    llvm::SmallVector<mlir::Operation *> tokenChecks{}; ///< of the call, needed only if it does
  };
  std::map<int64_t, Bank> banks; ///< by number
  /// The graph cannot serve a bank: a spare one is left out, for others the node is at fault.
  void refuse(int64_t bank, const std::string &why);
  void refuseTokens(int64_t bank, const std::string &why);

  /// A node's input; null where it is left out.
  Lowered *input(onnxir::NodeOp node, unsigned index);
  /// How messages name what stands there: "tensor 'x'" for an input of the node, else "an operand".
  std::string describeOperand(const Lowered &operand);
  /// A Lowered for `tensor`, whose sizes are `shape`.
  Lowered wrap(mlir::Value tensor, llvm::ArrayRef<mlir::OpFoldResult> shape);
  /// A Lowered known element by element.
  Lowered wrapElements(llvm::ArrayRef<mlir::Value> elements, llvm::ArrayRef<int64_t> shape, mlir::Type type);
  /// The tensor of a value, made from its elements where it has none yet.
  mlir::Value tensor(Lowered &value);
  /// The constant integers of a value known at compile time.
  std::optional<llvm::SmallVector<int64_t>> constantIntegers(const Lowered &value);
  /// The elements of an integer tensor as sizes or indices; fails where they are not known one by one.
  std::optional<llvm::SmallVector<mlir::OpFoldResult>> elementsAsIndex(const Lowered &value);
  /// Elements read from memory, for a static small integer tensor computed in the graph.
  void loadElements(Lowered &value);

  //===--- parameters -----------------------------------------------------===//

  /// Scope and key of each row of the function's parameter table, and the site that may switch it.
  llvm::SmallVector<mlir::Attribute> parameters;
  /// The tensor scope::key; `value` is its contents where the IR has them. Errors name the key.
  llvm::FailureOr<Lowered> parameter(mlir::Operation *op, llvm::StringRef scope, llvm::StringRef key,
                                     mlir::Type onnxType, mlir::Attribute value, llvm::StringRef site = "");
  /// A parameter of the graph, be it one that stands for integers.
  llvm::FailureOr<Lowered> parameter(ParameterOp parameter, llvm::StringRef site = "");
  /// Contents of a tensor from its archive, null where there are none.
  mlir::DenseElementsAttr contents(llvm::StringRef scope, llvm::StringRef key, mlir::RankedTensorType type);

  //===--- index arithmetic: equal expressions are one value --------------===//

  mlir::OpFoldResult constant(int64_t value) { return b.getIndexAttr(value); }
  mlir::Value value(mlir::OpFoldResult size);
  mlir::OpFoldResult add(mlir::OpFoldResult x, mlir::OpFoldResult y);
  mlir::OpFoldResult sub(mlir::OpFoldResult x, mlir::OpFoldResult y);
  mlir::OpFoldResult mul(mlir::OpFoldResult x, mlir::OpFoldResult y);
  mlir::OpFoldResult divide(mlir::OpFoldResult x, mlir::OpFoldResult y);
  mlir::OpFoldResult max(mlir::OpFoldResult x, mlir::OpFoldResult y);
  mlir::OpFoldResult min(mlir::OpFoldResult x, mlir::OpFoldResult y);
  mlir::OpFoldResult product(llvm::ArrayRef<mlir::OpFoldResult> factors);
  /// numerator / denominator of products, common factors cancelled.
  mlir::OpFoldResult quotient(llvm::ArrayRef<mlir::OpFoldResult> numerator,
                              llvm::ArrayRef<mlir::OpFoldResult> denominator);
  /// numerator / denominator where the denominator's factors are all among the numerator's.
  std::optional<mlir::OpFoldResult> exactQuotient(llvm::ArrayRef<mlir::OpFoldResult> numerator,
                                                  llvm::ArrayRef<mlir::OpFoldResult> denominator);
  /// Equal in every run, as far as is known.
  static bool same(mlir::OpFoldResult x, mlir::OpFoldResult y) { return x == y; }
  /// Whether a size may be negative: it comes from data, not from sizes of inputs alone.
  static bool mayBeNegative(mlir::OpFoldResult size);
  /// Stops the call, or compilation, where what is to be a size cannot be one; the message ends with it.
  void requireSize(mlir::OpFoldResult size, const llvm::Twine &message);
  /// Uses the value computed earlier for an equal scalar operation, else `computed`.
  mlir::Value unique(mlir::Value computed);
  /// Stops the call with `message` when the condition does not hold; "{0}" to "{2}" in it stand for the values.
  /// Returns what does so, null where nothing needs to.
  mlir::Operation *require(mlir::Value condition, const llvm::Twine &message,
                           llvm::ArrayRef<mlir::OpFoldResult> values = {});
  /// Stops the call, or compilation, where two sizes differ. The message ends with them, or says with "{0}" and "{1}"
  /// where they stand.
  void requireEqual(mlir::OpFoldResult x, mlir::OpFoldResult y, const llvm::Twine &message);

  //===--- tensors --------------------------------------------------------===//

  mlir::Value empty(llvm::ArrayRef<mlir::OpFoldResult> shape, mlir::Type type);
  mlir::RankedTensorType typeOf(llvm::ArrayRef<mlir::OpFoldResult> shape, mlir::Type type);
  mlir::Value scalarConstant(mlir::Type type, double value);
  /// The same elements in another shape, without a copy.
  Lowered reshape(Lowered &source, llvm::ArrayRef<mlir::OpFoldResult> shape);
  /// The shape that numpy's broadcasting gives.
  llvm::SmallVector<mlir::OpFoldResult> broadcastShapes(llvm::ArrayRef<Lowered *> inputs);

  using Body = llvm::function_ref<mlir::Value(mlir::ImplicitLocOpBuilder &, llvm::ArrayRef<mlir::Value>)>;
  /// body over numpy-broadcast inputs; scalar by scalar where all elements are known.
  Lowered elementwise(llvm::ArrayRef<Lowered *> inputs, mlir::Type resultType, Body body);

  /// The input written out in a shape that it broadcasts to.
  Lowered broadcastTo(Lowered &input, llvm::ArrayRef<mlir::OpFoldResult> shape);

  using IndexedBody =
      llvm::function_ref<mlir::Value(mlir::ImplicitLocOpBuilder &, llvm::ArrayRef<mlir::Value> indices)>;
  /// A tensor whose element at `indices` is what body returns; body may read tensors by tensor.extract.
  Lowered generate(llvm::ArrayRef<mlir::OpFoldResult> shape, mlir::Type type, IndexedBody body);

  using Reducer = llvm::function_ref<mlir::Value(mlir::ImplicitLocOpBuilder &, mlir::Value element,
                                                 mlir::Value accumulator)>;
  /// Folds `axes` of the input into `initial`, keeping them with size 1 where keepDims.
  Lowered reduce(Lowered &input, llvm::ArrayRef<int64_t> axes, bool keepDims, mlir::Value initial,
                 Reducer reducer);
  using Pick = llvm::function_ref<void(llvm::ArrayRef<int64_t> at, llvm::SmallVectorImpl<int64_t> &from)>;
  /// The elements of `source` that pick chooses for each position of `shape`, where all are known one by one.
  std::optional<Lowered> pickElements(const Lowered &source, llvm::ArrayRef<mlir::OpFoldResult> shape,
                                      Pick pick);
  /// Dimensions in another order.
  Lowered transpose(Lowered &input, llvm::ArrayRef<int64_t> permutation);

private:
  llvm::DenseMap<mlir::Value, std::unique_ptr<Lowered>> values;
  llvm::SmallVector<mlir::Operation *> scalarOps;
};

/// Lowers the nodes of a graph whose inputs and parameters have been set. Reports its own errors.
llvm::LogicalResult lowerNodes(mlir::Block &block, GraphLowering &graph);

/// Lowers a node with lifted inputs, by its own lowering where it serves; an error where nothing does.
llvm::LogicalResult lowerLifted(onnxir::NodeOp node, GraphLowering &graph, LowerNodeFunction lower);

/// The type without names of dims and signs; an error where it is no ranked tensor of numbers.
llvm::FailureOr<mlir::RankedTensorType> plainType(mlir::Operation *op, mlir::Type type, llvm::StringRef name);

/// The integer attribute of a node, or the default.
int64_t intAttr(onnxir::NodeOp node, llvm::StringRef name, int64_t fallback);
double floatAttr(onnxir::NodeOp node, llvm::StringRef name, double fallback);
llvm::StringRef stringAttr(onnxir::NodeOp node, llvm::StringRef name, llvm::StringRef fallback);
std::optional<llvm::SmallVector<int64_t>> intsAttr(onnxir::NodeOp node, llvm::StringRef name);
/// A possibly negative axis as one in [0, rank).
llvm::FailureOr<int64_t> normalizeAxis(onnxir::NodeOp node, int64_t axis, int64_t rank);
/// The node as messages name it: its name, or its first result, with its operator.
std::string describe(onnxir::NodeOp node);
/// The name that a value has in the graph; empty where it has none.
llvm::StringRef nameOf(mlir::Value value);
/// A node's input as messages name it: "tensor 'x'".
std::string describeInput(onnxir::NodeOp node, unsigned index);

} // namespace adapter

#endif // ADAPTER_LIB_CONVERSION_ONNXTOLINALG_LOWERING_H
