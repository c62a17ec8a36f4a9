// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The first pass of a program that runs twice; see FirstPass.h.
#include "lib/Attach/FirstPass.h"
#include "llvm/ADT/SetVector.h"

using namespace mlir;
using namespace adapter;
using checkpoint::Error;
using checkpoint::Result;

//===----------------------------------------------------------------------===//
// The hidden state
//===----------------------------------------------------------------------===//

static bool isHidden(Value value, int64_t width) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  return type && type.getRank() == 3 && shapesAgree(type.getShape().back(), width);
}

Result<Value> adapter::findHiddenState(const ModuleTable &table, int64_t width) {
  onnxir::ModelOp model = const_cast<ModuleTable &>(table).getModel();
  auto graph = *model.getBody().front().getOps<onnxir::GraphOp>().begin();
  auto end = cast<onnxir::ReturnOp>(graph.getBody().front().getTerminator());
  std::string outputs;
  if (ArrayAttr names = end.getOutputNamesAttr())
    for (auto [name, value] : llvm::zip(names.getAsRange<StringAttr>(), end.getOperands())) {
      if (name == "last_hidden_state" && isHidden(value, width))
        return value;
      outputs += (outputs.empty() ? "'" : ", '") + name.str() + "'";
    }
  std::vector<const ModuleParameter *> heads;
  std::string paths;
  for (const auto &[path, parameters] : table.modules()) {
    StringRef last = StringRef(path).rsplit('.').second;
    last = last.empty() ? StringRef(path) : last;
    if (!llvm::is_contained({"lm_head", "embed_out", "score", "qa_outputs"}, last))
      continue;
    for (const auto &parameter : parameters)
      if (parameter->kind == SiteKind::Linear && parameter->uses.size() == 1) {
        onnxir::NodeOp node = parameter->uses.front().node;
        if (!isHidden(node->getOperand(0), width))
          continue;
        heads.push_back(parameter.get());
        paths += (paths.empty() ? "'" : ", '") + path + "'";
      }
  }
  if (heads.size() == 1) {
    onnxir::NodeOp node = heads.front()->uses.front().node;
    return node->getOperand(0);
  }
  std::string why =
      "its classifier reads the model's last hidden state, [batch, sequence, " + std::to_string(width) +
      "]: an output 'last_hidden_state', or what the linear lm_head, embed_out, score or qa_outputs "
      "reads; ";
  return Error{why + (heads.empty() ? "the graph has outputs " + outputs + " and no such linear"
                                    : "the graph has several such linears: " + paths)};
}

//===----------------------------------------------------------------------===//
// The copy
//===----------------------------------------------------------------------===//

// The operation of `block` that holds `op`.
static Operation *inBlock(Operation *op, Block *block) {
  return op ? block->findAncestorOpInBlock(*op) : nullptr;
}

static void forEachSource(Operation *op, Block *block, llvm::function_ref<void(Operation *)> visit) {
  op->walk([&](Operation *inner) {
    for (Value operand : inner->getOperands())
      if (Operation *source = operand.getDefiningOp(); source && source->getBlock() == block)
        visit(source);
  });
}

static void addSuffix(onnxir::NodeOp node) {
  OpBuilder builder(node);
  SmallVector<Attribute> names;
  for (auto name : node.getResultNames().getAsRange<StringAttr>())
    names.push_back(name.empty() ? name : builder.getStringAttr(name.getValue() + "/first_pass"));
  node.setResultNamesAttr(builder.getArrayAttr(names));
  if (node.getNodeName())
    node.setNodeName((*node.getNodeName() + "/first_pass").str());
}

Value adapter::copyFirstPass(Value hidden, ArrayRef<MixedUse> uses, MakeFirst makeFirst) {
  Operation *last = hidden.getDefiningOp();
  if (!last)
    return hidden;
  Block *block = last->getBlock();
  // Behind the linears.
  llvm::DenseSet<Operation *> behind;
  SmallVector<Operation *> open;
  DenseMap<Operation *, MixedUse> linears;
  for (const MixedUse &use : uses) {
    Operation *node = use.parameter->parameter->uses[use.use].node;
    linears[node] = use;
    open.push_back(inBlock(node, block));
  }
  while (!open.empty()) {
    Operation *op = open.pop_back_val();
    if (!op || !behind.insert(op).second)
      continue;
    for (Operation *user : op->getUsers())
      open.push_back(inBlock(user, block));
  }
  // And in front of the hidden state.
  llvm::DenseSet<Operation *> copied;
  if (behind.contains(last))
    open.push_back(last);
  while (!open.empty()) {
    Operation *op = open.pop_back_val();
    if (!copied.insert(op).second)
      continue;
    forEachSource(op, block, [&](Operation *source) {
      if (behind.contains(source))
        open.push_back(source);
    });
  }
  OpBuilder builder(block->getTerminator());
  IRMapping mapping;
  SmallVector<std::pair<onnxir::NodeOp, MixedUse>> first;
  for (Operation &op : llvm::make_early_inc_range(*block)) {
    if (!copied.contains(&op))
      continue;
    Operation *copy = builder.clone(op, mapping);
    copy->walk([](onnxir::NodeOp node) { addSuffix(node); });
    if (auto linear = linears.find(&op); linear != linears.end())
      first.push_back({cast<onnxir::NodeOp>(copy), linear->second});
  }
  Value result = mapping.lookupOrDefault(hidden);
  for (const auto &[copy, use] : first)
    makeFirst(copy, use);
  return result;
}
