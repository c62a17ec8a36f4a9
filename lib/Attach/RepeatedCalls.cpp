// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Modules that run several times. The TorchScript exporter counts the calls in the names of nodes
// (".../query/MatMul", ".../query_1/MatMul"), so one module appears under several paths. All of them take
// the module's updates: layers shared by a whole encoder, projections of positions beside those of tokens.
#include "lib/Attach/ModuleTable.h"
#include "lib/Support/ParameterStore.h"
#include "llvm/ADT/StringExtras.h"
#include <cstring>

using namespace mlir;
using namespace adapter;

// A component of a path without the number of the call; the component itself where it has none.
static StringRef withoutCall(StringRef component) {
  auto [name, number] = component.rsplit('_');
  bool isCall = !name.empty() && !number.empty() && llvm::all_of(number, llvm::isDigit) && number != "0";
  return isCall ? name : component;
}

// The paths that `path` can be a later call of.
static std::vector<std::string> firstCalls(StringRef path) {
  SmallVector<StringRef> parts;
  path.split(parts, '.');
  SmallVector<size_t> counted;
  for (size_t i = 0; i < parts.size() && counted.size() < 4; ++i)
    if (withoutCall(parts[i]) != parts[i])
      counted.push_back(i);
  std::vector<std::string> result;
  for (unsigned mask = 1; mask < 1u << counted.size(); ++mask) {
    SmallVector<StringRef> first(parts);
    for (size_t bit = 0; bit < counted.size(); ++bit)
      if (mask >> bit & 1)
        first[counted[bit]] = withoutCall(parts[counted[bit]]);
    result.push_back(llvm::join(first, "."));
  }
  return result;
}

// Whether two parameters have the same contents. The exporter folds the transposition of a weight once for each call.
static bool haveEqualContents(ParameterOp first, ParameterOp later) {
  if (first.getType() != later.getType())
    return false;
  const ParameterStore &store = ParameterStore::get(first.getContext());
  const checkpoint::Tensor *x = store.lookup(first.getScope(), first.getKey()),
                           *y = store.lookup(later.getScope(), later.getKey());
  return x && y && x->bytes == y->bytes && std::memcmp(x->data, y->data, x->bytes) == 0;
}

static Value operandOf(const ParameterUse &use) {
  return const_cast<onnxir::NodeOp &>(use.node)->getOperand(use.operand);
}

// Whether two entries are one parameter of one module. Equal matrices are; equal vectors may be two that an
// exporter merged, which it does by way of an Identity for each, whereas a module that runs again reads its own.
static bool isSame(const ModuleParameter &first, const ModuleParameter &later) {
  if (first.parameter != later.parameter || first.kind != later.kind || first.transposed != later.transposed)
    return false;
  if (later.kind != SiteKind::Vector)
    return first.value == later.value ||
           (first.value && later.value && haveEqualContents(first.value, later.value));
  auto readsOwn = [&](const ParameterUse &use) {
    return use.chain.empty() || llvm::any_of(first.uses, [&](const ParameterUse &own) {
             return operandOf(own) == operandOf(use);
           });
  };
  return first.value == later.value && llvm::all_of(later.uses, readsOwn);
}

void ModuleTable::joinRepeatedCalls() {
  for (auto it = table.begin(); it != table.end();) {
    Parameters &later = it->second;
    auto first = table.end();
    for (const std::string &path : firstCalls(it->first)) {
      auto candidate = table.find(path);
      // A path in metadata is the module's own, and so is one under which a tensor has its name.
      bool isCall = llvm::none_of(later, [](const auto &parameter) {
        return parameter->evidence == Evidence::Metadata || parameter->naming == Naming::Own;
      });
      bool all =
          isCall && candidate != table.end() && llvm::all_of(later, [&](const auto &parameter) {
            return llvm::any_of(candidate->second, [&](const auto &own) { return isSame(*own, *parameter); });
          });
      if (all)
        first = candidate;
    }
    if (first == table.end()) {
      ++it;
      continue;
    }
    for (auto &parameter : later)
      for (auto &own : first->second)
        if (isSame(*own, *parameter))
          llvm::append_range(own->uses, parameter->uses);
    it = table.erase(it);
  }
}
