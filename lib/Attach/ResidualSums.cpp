// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A residual sum is an Add of two computed values of the adapter's width, one of which is computed from the other.
// Exporters name the module whose forward holds it: the sub-layer's own (BERT), or the block's (GPT-2, Llama).
#include "lib/Attach/ResidualSums.h"
#include "lib/Attach/ModuleTable.h"
#include "lib/Checkpoint/Adapter.h"
#include "llvm/ADT/STLExtras.h"
#include <algorithm>
#include <set>

using namespace mlir;
using namespace adapter;
using checkpoint::Error;
using checkpoint::Result;

onnxir::ModelOp ResidualSum::model() const {
  return const_cast<onnxir::NodeOp &>(sum)->getParentOfType<onnxir::ModelOp>();
}

std::string ResidualSum::nodeName() const {
  onnxir::NodeOp node = sum;
  if (node.getNodeName() && !node.getNodeName()->empty())
    return node.getNodeName()->str();
  return cast<StringAttr>(node.getResultNames()[0]).str();
}

ResidualSums::ResidualSums(onnxir::ModelOp model) : model(model) {
  std::set<std::string> paths;
  model->walk([&](onnxir::NodeOp node) {
    std::string path = modulePathOf(node);
    if (path.empty())
      return;
    if (node.getOpType() == "Add" && node.getDomain().empty())
      additions[path].push_back(node);
    for (size_t end = path.size(); end != std::string::npos && paths.insert(path.substr(0, end)).second;)
      end = path.rfind('.', end - 1);
  });
  modules.assign(paths.begin(), paths.end());
}

static bool isParameter(Value value) {
  ParameterUse use;
  bool transposed = false;
  return static_cast<bool>(parameterBehind(value, use, transposed));
}

// The size of the last dimension; where the model does not say, what weights on the way to it say.
static int64_t tracedWidth(Value value, int depth = 0) {
  if (auto type = dyn_cast<RankedTensorType>(value.getType()); type && type.getRank())
    return type.getShape().back();
  auto node = value.getDefiningOp<onnxir::NodeOp>();
  if (!node || depth > 8)
    return ShapedType::kDynamic;
  StringRef operation = node.getOpType();
  if (operation == "MatMul" || operation == "LayerNormalization")
    return tracedWidth(node.getInputs()[1], depth + 1);
  if (operation == "Add") {
    int64_t width = tracedWidth(node.getInputs()[0], depth + 1);
    return ShapedType::isDynamic(width) ? tracedWidth(node.getInputs()[1], depth + 1) : width;
  }
  if (onlyRearranges(node) && operation != "Cast" && operation != "Identity")
    return ShapedType::kDynamic;
  return node.getInputs().empty() ? ShapedType::kDynamic : tracedWidth(node.getInputs()[0], depth + 1);
}

// Whether `value` is computed from `source`.
static bool dependsOn(Value value, Value source) {
  Operation *start = source.getDefiningOp();
  DenseSet<Operation *> seen;
  SmallVector<Value> work{value};
  while (!work.empty()) {
    Value each = work.pop_back_val();
    if (each == source)
      return true;
    Operation *op = each.getDefiningOp();
    // Nothing before the source is computed from it.
    if (!op || (start && (op->getBlock() != start->getBlock() || op->isBeforeInBlock(start))) ||
        !seen.insert(op).second)
      continue;
    llvm::append_range(work, op->getOperands());
  }
  return false;
}

// The operand that is the sub-layer's output, or nothing where the node is no residual sum.
static std::optional<unsigned> sublayerOperandOf(onnxir::NodeOp node, int64_t width) {
  if (node.getInputs().size() != 2)
    return std::nullopt;
  Value x = node.getInputs()[0], y = node.getInputs()[1];
  if (x == y || isParameter(x) || isParameter(y) || tracedWidth(x) != width || tracedWidth(y) != width)
    return std::nullopt;
  if (dependsOn(x, y))
    return 0;
  if (dependsOn(y, x))
    return 1;
  return std::nullopt;
}

std::vector<onnxir::NodeOp> ResidualSums::sumsIn(const std::string &module, int64_t width) const {
  std::vector<onnxir::NodeOp> sums;
  for (const auto &[path, nodes] : additions) {
    // In the module itself or one of its parts; BERT's attention holds its output within. What lies deeper belongs to
    // the inner workings of those.
    StringRef rest = path;
    bool inside = rest.consume_front(module) && (rest.empty() || rest.consume_front("."));
    inside = inside && (!rest.contains('.') || rest == "attention.output");
    if (inside)
      llvm::copy_if(nodes, std::back_inserter(sums),
                    [&](onnxir::NodeOp node) { return sublayerOperandOf(node, width).has_value(); });
  }
  llvm::sort(sums, [](onnxir::NodeOp a, onnxir::NodeOp b) { return a->isBeforeInBlock(b); });
  return sums;
}

// In post-norm models a norm of the same module is all that reads the sum.
void ResidualSums::findNorm(ResidualSum &sum, const std::string &module) const {
  sum.result = sum.sum->getResult(0);
  std::set<std::string> readers;
  for (Operation *user : sum.result.getUsers()) {
    auto node = dyn_cast<onnxir::NodeOp>(user);
    readers.insert(node ? modulePathOf(node) : "");
  }
  if (readers.size() != 1 || readers.begin()->rfind(module + ".", 0) != 0)
    return;
  auto norm = cast<onnxir::NodeOp>(*sum.result.getUsers().begin());
  if (!sum.result.hasOneUse() || norm.getOpType() != "LayerNormalization") {
    sum.normUnknown = true;
    return;
  }
  sum.norm = norm;
  sum.result = norm->getResult(0);
}

Result<ResidualSum *> ResidualSums::find(const std::string &location, int64_t width) {
  std::string module = location;
  enum { Only, First, Last } which = Only;
  for (auto [end, place] : {std::pair(".attention_adapters", First), {".output_adapters", Last}})
    if (StringRef(module).ends_with(end)) {
      module.resize(module.size() - StringRef(end).size());
      which = place;
    }
  // As modules with parameters are matched: equal, then behind a prefix in the graph, then in the checkpoint.
  std::vector<std::string> wrapped, parts;
  for (const std::string &path : modules)
    if (path == module)
      wrapped = {path};
    else if (checkpoint::pathsMatch(path, module))
      (path.size() > module.size() ? wrapped : parts).push_back(path);
  if (llvm::is_contained(modules, module))
    wrapped = {module};
  if (wrapped.empty() && !parts.empty())
    wrapped = {*std::max_element(parts.begin(), parts.end(),
                                 [](const auto &a, const auto &b) { return a.size() < b.size(); })};
  if (wrapped.empty())
    return nullptr;
  if (wrapped.size() > 1)
    return Error{"several modules of the graph could be meant: '" + llvm::join(wrapped, "', '") + "'"};
  std::vector<onnxir::NodeOp> sums = sumsIn(wrapped.front(), width);
  if (sums.empty() || (which == Only && sums.size() > 1))
    return Error{"the graph's module '" + wrapped.front() + "' has " + std::to_string(sums.size()) +
                 " sums of a sub-layer's output of width " + std::to_string(width) +
                 " with the residual stream, where one is needed"};
  onnxir::NodeOp node = which == Last ? sums.back() : sums.front();
  std::unique_ptr<ResidualSum> &entry = found[node];
  if (!entry) {
    entry = std::make_unique<ResidualSum>();
    entry->sum = node;
    entry->sublayerOperand = *sublayerOperandOf(node, width);
    entry->module = modulePathOf(node);
    entry->width = width;
    findNorm(*entry, wrapped.front());
  }
  return entry.get();
}
