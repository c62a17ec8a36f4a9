// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Which nodes of a graph read which parameters of which modules of the framework's model.
#ifndef ADAPTER_LIB_ATTACH_MODULETABLE_H
#define ADAPTER_LIB_ATTACH_MODULETABLE_H

#include "dialects/Adapter/IR/AdapterOps.h"
#include "dialects/ONNX/IR/ONNXOps.h"
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace adapter {

/// An operand of a node that is a parameter, perhaps by way of nodes that only rearrange it.
struct ParameterUse {
  onnxir::NodeOp node;
  unsigned operand = 0;
  /// Nodes between parameter and operand, the parameter's reader first.
  llvm::SmallVector<onnxir::NodeOp, 2> chain;
};

/// What the name of a tensor says about it. Exporters keep a parameter's name as long as they do not compute with it.
enum class Naming {
  Own,    ///< it bears the parameter's name
  Shared, ///< it bears that of another parameter of the same kind: exporters merge equal tensors
  Made    ///< a name that a tool made up, for what may be the parameter or computed from it
};

/// What says that a tensor of a graph is a parameter of a module, the weakest first.
enum class Evidence {
  Names,    ///< the names of nodes or initialisers, and the operator
  Metadata, ///< what the exporter wrote beside a node, and the operator
  Contents  ///< the numbers are those of the base checkpoint
};

/// One tensor of a graph as a parameter of one module. A tensor that exporters share between modules is one
/// of these for each.
struct ModuleParameter {
  std::string module;    ///< the path in the graph: "model.layers.0.self_attn.q_proj"
  std::string parameter; ///< "weight", "bias", ...
  std::string alias;     ///< "weight" of a module whose only product reads a tensor of another name
  Naming naming = Naming::Made;
  Evidence evidence = Evidence::Names;
  /// Whether the operator alone says what the tensor is: a product's operand, a bias behind a product. Elsewhere a
  /// constant may be the parameter or something computed from it.
  bool isStructural = false;
  SiteKind kind = SiteKind::Vector;
  ParameterOp value; ///< null for a bias that the graph lacks
  std::vector<ParameterUse> uses;
  /// As the module's mathematics has it: [out, in, ...], [vocabulary, width], or [size].
  llvm::SmallVector<int64_t> shape;
  bool transposed = false;       ///< the graph's tensor is [in, out]
  bool storedTransposed = false; ///< the framework's tensor is [in, out]
  bool orientationKnown = true;  ///< whether the graph says how the framework stores the tensor
  bool isNamedByTensor = false;  ///< no node says of which module it is, the tensor's name alone does
  bool isScaled = false;         ///< its operator multiplies by a number beside it (Gemm's alpha)
  bool readByParent = false;     ///< the module above it uses it; the module itself does not run
  bool folded = false;           ///< not the module's own tensor, but one that an exporter computed from it

  onnxir::ModelOp model() const;
  /// Whether a convolution's channels are in groups, so that it is no product with patches.
  bool grouped() const { return groups() != 1; }
  /// Of a convolution's channels; 0 where its uses differ.
  int64_t groups() const;
  /// Whether `reader` is one of its uses.
  bool isReadBy(const ParameterUse &reader) const;
  /// Name of the first node that reads it.
  std::string nodeName() const;
};

/// The parameters of one model, by module. Paths come from what exporters leave: name scopes in metadata,
/// names of nodes, names of initialisers.
class ModuleTable {
public:
  explicit ModuleTable(onnxir::ModelOp model);

  onnxir::ModelOp getModel() const { return model; }

  using Parameters = std::vector<std::unique_ptr<ModuleParameter>>;
  /// Modules by path; in each its parameters, several of one name where the graph has several tensors for it.
  const std::map<std::string, Parameters> &modules() const { return table; }
  /// Calls `visit` for every entry, those of no module included.
  void forEach(llvm::function_ref<void(ModuleParameter &)> visit) const;
  /// A module's tensors of that name or alias.
  std::vector<ModuleParameter *> find(const std::string &module, llvm::StringRef parameter) const;
  /// Nodes that read a tensor, perhaps by way of nodes that only rearrange, but for those that look at its shape alone.
  static std::vector<ParameterUse> readersOf(ParameterOp parameter);
  /// A node that reads a matrix, may be of its module, and is not known as one of its uses; "" where there is none.
  std::string unknownReader(const ModuleParameter &parameter) const;
  /// The weight to which a missing bias can be added, or null.
  ModuleParameter *findBiasless(const std::string &module) const;
  /// Adds a bias of zeros that the graph lacks to the readers of `weight`.
  ModuleParameter *addBias(ModuleParameter &weight);

private:
  void readNode(onnxir::NodeOp node);
  void readOperand(onnxir::NodeOp node, unsigned operand, std::string path);
  void joinRepeatedCalls();
  void settleNaming();
  void nameOnlyProducts();
  void add(ModuleParameter entry, const ParameterUse &use);

  onnxir::ModelOp model;
  std::map<std::string, Parameters> table;
  Parameters unnamed; ///< of nodes that no name says anything about
};

/// The module that a node belongs to, as the exporter wrote it down; "" where it did not.
std::string modulePathOf(onnxir::NodeOp node);
/// Whether that stands in the node's metadata rather than in its name.
bool hasModuleMetadata(onnxir::NodeOp node);

/// Makes parameters of the weights that a graph holds as nodes (Constant), so that updates can act on them.
void raiseConstants(onnxir::ModelOp model);

/// A node's name, or that of its first result.
std::string nodeNameOf(onnxir::NodeOp node);

/// Whether a node hands its first operand on, in another layout or type at most.
bool onlyRearranges(onnxir::NodeOp node);

/// Follows a value to the parameter that it is, through nodes that only rearrange. Fills `use.chain`;
/// `transposed` flips with each transposition of a matrix. Null where it is none.
ParameterOp parameterBehind(mlir::Value value, ParameterUse &use, bool &transposed);

} // namespace adapter

#endif // ADAPTER_LIB_ATTACH_MODULETABLE_H
