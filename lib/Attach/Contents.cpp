// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Matrices are compared output by output, in either orientation, so that a fused weight is found as the matrices that it
// consists of. A bias is the vector beside a matrix that was found; other vectors must be the only ones with their
// contents. Equal contents of several parameters prove nothing by themselves, see find.
#include "lib/Attach/Contents.h"
#include "lib/Attach/Derivations.h"
#include "lib/Attach/OperandRoles.h"
#include "lib/Checkpoint/DType.h"
#include "lib/Checkpoint/Hash.h"
#include <algorithm>
#include <cstring>

using namespace mlir;
using namespace adapter;
using checkpoint::BaseModel;
using checkpoint::Result;
using checkpoint::Tensor;

// Element (row, column) of a matrix in the orientation [out, in].
static float at(const Tensor &matrix, bool transposed, int64_t row, int64_t column) {
  int64_t width = matrix.shape[1];
  return reinterpret_cast<const float *>(
      matrix.data)[transposed ? column * width + row : row * width + column];
}

static std::string hashRow(const Tensor &matrix, bool transposed, int64_t row) {
  std::vector<float> values(matrix.shape[transposed ? 0 : 1]);
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = at(matrix, transposed, row, i);
  return checkpoint::hashBytes(values.data(), values.size() * sizeof(float));
}

ContentIndex::ContentIndex(const BaseModel &base, const ModuleTable &table) {
  for (const Tensor *tensor : base.tensors()) {
    if (!checkpoint::isFloat(tensor->dtype) || tensor->elements() == 0)
      continue;
    Result<Tensor> read = checkpoint::toF32(*tensor);
    if (!read)
      continue;
    if (read->shape.size() == 2)
      for (bool transposed : {false, true})
        rows[hashRow(*read, transposed, 0)].push_back({tensor->key, transposed});
    std::string hash = checkpoint::shapeText(read->shape) + checkpoint::hashBytes(read->data, read->bytes);
    byContents[hash].push_back(tensor->key);
    hashes[tensor->key] = hash;
    wide.emplace(tensor->key, std::move(*read));
  }
  table.forEach([&](ModuleParameter &parameter) {
    if (parameter.kind == SiteKind::Linear || parameter.kind == SiteKind::Embedding)
      readMatrix(parameter);
    else if (std::optional<Tensor> contents = floatContents(parameter))
      vectors.push_back({&parameter, std::move(*contents)});
  });
}

void ContentIndex::readMatrix(ModuleParameter &parameter) {
  std::optional<Tensor> contents = floatContents(parameter);
  if (!contents || contents->shape.size() != 2)
    return;
  int64_t outputs = parameter.shape[0], inputs = parameter.shape[1];
  for (int64_t begin = 0; begin < outputs;) {
    int64_t size = 0;
    auto candidates = rows.find(hashRow(*contents, parameter.transposed, begin));
    if (candidates != rows.end())
      for (const auto &[key, transposed] : candidates->second) {
        const Tensor &matrix = wide.at(key);
        int64_t own = matrix.shape[transposed ? 1 : 0];
        bool equal = begin + own <= outputs && matrix.shape[transposed ? 0 : 1] == inputs;
        for (int64_t row = 1; equal && row < own; ++row)
          for (int64_t column = 0; equal && column < inputs; ++column)
            equal = at(*contents, parameter.transposed, begin + row, column) ==
                    at(matrix, transposed, row, column);
        if (!equal)
          continue;
        // A matrix that is its own transpose is found twice.
        std::vector<FusedPart> &parts = matrices[key];
        if (parts.empty() || parts.back().parameter != &parameter || parts.back().offset != begin)
          parts.push_back({&parameter, begin, own});
        size = own;
      }
    if (size == 0)
      return; // what follows may be anything
    begin += size;
  }
}

std::vector<std::string> ContentIndex::twins(const std::string &key) const {
  auto hash = hashes.find(key);
  return hash == hashes.end() ? std::vector<std::string>{key} : byContents.at(hash->second);
}

//===----------------------------------------------------------------------===//
// Equal contents
//===----------------------------------------------------------------------===//

// A key with each of its numbers written '#', and the numbers.
static std::pair<std::string, std::vector<int64_t>> patternOf(StringRef key) {
  std::pair<std::string, std::vector<int64_t>> result;
  while (!key.empty()) {
    StringRef digits = key.take_while(llvm::isDigit);
    int64_t number = 0;
    if (digits.empty() || digits.getAsInteger(10, number)) {
      result.first += key.front();
      key = key.drop_front();
      continue;
    }
    result.first += '#';
    result.second.push_back(number);
    key = key.drop_front(digits.size());
  }
  return result;
}

static Operation *readerOf(const FusedPart &part) {
  return onnxir::NodeOp(part.parameter->uses.front().node);
}

// Numbers that are all equal may stand in a graph for anything.
static bool isConstant(const Tensor &tensor) {
  const float *values = reinterpret_cast<const float *>(tensor.data);
  return std::all_of(values, values + tensor.elements(), [&](float value) { return value == values[0]; });
}

static bool haveSeveralTensors(const std::vector<FusedPart> &parts) {
  return llvm::any_of(
      parts, [&](const FusedPart &part) { return part.parameter->value != parts[0].parameter->value; });
}

static constexpr const char *sameEverywhere =
    "the graph has several tensors of these numbers, which are all equal, and no name tells them apart";

// Whether a node's result depends on another's.
static bool runsBehind(Operation *later, Operation *earlier) {
  DenseSet<Operation *> seen;
  SmallVector<Operation *> work{later};
  while (!work.empty()) {
    Operation *op = work.pop_back_val();
    if (op == earlier)
      return true;
    for (Value operand : op->getOperands())
      if (Operation *source = operand.getDefiningOp(); source && source->getBlock() == earlier->getBlock() &&
                                                       !source->isBeforeInBlock(earlier) &&
                                                       seen.insert(source).second)
        work.push_back(source);
  }
  return false;
}

// Whether all nodes are in one block, whose order is then the order in which they run.
static bool sortAsRun(std::vector<FusedPart> &parts) {
  for (const FusedPart &part : parts)
    if (readerOf(part)->getBlock() != readerOf(parts.front())->getBlock() || part.parameter->uses.size() != 1)
      return false;
  std::stable_sort(parts.begin(), parts.end(), [](const FusedPart &a, const FusedPart &b) {
    Operation *x = readerOf(a), *y = readerOf(b);
    return x == y ? a.offset < b.offset : x->isBeforeInBlock(y);
  });
  // Layers follow one another; what runs side by side has no order.
  for (size_t i = 1; i < parts.size(); ++i)
    if (!runsBehind(readerOf(parts[i]), readerOf(parts[i - 1])))
      return false;
  return true;
}

static std::string listOf(const std::vector<std::string> &names) {
  std::string list;
  for (size_t i = 0; i < names.size() && i < 4; ++i)
    list += (i ? ", '" : "'") + names[i] + "'";
  return list + (names.size() > 4 ? ", ..." : "");
}

static StringRef moduleOfKey(StringRef key) { return key.rsplit('.').first; }

// The parts whose module the graph names as the key does.
static std::vector<FusedPart> partsNamed(const std::vector<FusedPart> &parts, const std::string &key) {
  std::vector<FusedPart> result;
  for (const FusedPart &part : parts)
    if (!part.parameter->module.empty() &&
        checkpoint::pathsMatch(part.parameter->module, moduleOfKey(key).str()))
      result.push_back(part);
  return result;
}

ContentIndex::Place ContentIndex::findMatrix(const std::string &key, const Tensor &tensor,
                                             std::optional<SiteKind> kind) const {
  Place place;
  auto found = matrices.find(key);
  if (found == matrices.end())
    return place;
  for (const FusedPart &part : found->second)
    if (!kind || part.parameter->kind == *kind)
      place.parts.push_back(part);
  std::vector<std::string> equal = twins(key);
  if (equal.size() == 1) {
    bool mixed = llvm::any_of(place.parts, [&](const FusedPart &part) {
      return part.parameter->kind != place.parts.front().parameter->kind;
    });
    if (isConstant(tensor) && haveSeveralTensors(place.parts))
      return {{}, sameEverywhere};
    if (mixed)
      place = {{},
               "the graph looks it up as a table and multiplies by it as a weight (" +
                   found->second.front().parameter->nodeName() + ", " +
                   found->second.back().parameter->nodeName() +
                   "), and nothing says which of the two is meant"};
    return place;
  }
  if (std::vector<FusedPart> named = partsNamed(place.parts, key); !named.empty()) {
    place.parts = std::move(named);
    return place;
  }
  // Layers of one pattern run in the order of their numbers.
  auto [pattern, numbers] = patternOf(key);
  std::vector<std::pair<std::vector<int64_t>, std::string>> siblings;
  for (const std::string &other : equal)
    if (auto [otherPattern, otherNumbers] = patternOf(other); otherPattern == pattern)
      siblings.push_back({otherNumbers, other});
  std::sort(siblings.begin(), siblings.end());
  if (siblings.size() == equal.size() && place.parts.size() == equal.size() && sortAsRun(place.parts))
    for (size_t i = 0; i < siblings.size(); ++i)
      if (siblings[i].second == key)
        return {{place.parts[i]}, ""};
  return {{},
          "the base holds the same numbers as " + listOf(equal) + ", and the graph has them in " +
              std::to_string(place.parts.size()) + " places that no name tells apart"};
}

//===----------------------------------------------------------------------===//
// Vectors
//===----------------------------------------------------------------------===//

// Whether a vector is read by a product of the matrix, or by what reads such a product's result and is not another
// product, whose own bias it would be.
static bool isBeside(const ModuleParameter &vector, const ModuleParameter &weight) {
  return llvm::any_of(vector.uses, [&](const ParameterUse &use) {
    onnxir::NodeOp reader = use.node;
    return llvm::any_of(weight.uses, [&](const ParameterUse &own) {
      onnxir::NodeOp product = own.node;
      return product == reader ||
             (!isProduct(reader) && llvm::is_contained(product->getUsers(), reader.getOperation()));
    });
  });
}

static bool holds(const Tensor &vector, int64_t offset, const Tensor &values) {
  return offset + values.elements() <= vector.elements() &&
         std::memcmp(vector.data + offset * sizeof(float), values.data, values.bytes) == 0;
}

// The bias of a module is in an operand beside its weight, at the same outputs.
ContentIndex::Parts ContentIndex::findBias(const std::string &key, const Tensor &tensor) const {
  Parts result;
  std::string weightKey = moduleOfKey(key).str() + ".weight";
  auto weight = wide.find(weightKey);
  if (weight == wide.end() || weight->second.shape.size() != 2)
    return result;
  for (const FusedPart &part : findMatrix(weightKey, weight->second, SiteKind::Linear).parts)
    for (const auto &[vector, contents] : vectors)
      if (vector->kind == SiteKind::Vector && vector->shape[0] == part.parameter->shape[0] &&
          part.size == tensor.elements() && isBeside(*vector, *part.parameter) &&
          holds(contents, part.offset, tensor))
        result.push_back({vector, part.offset, part.size});
  return result;
}

ContentIndex::Place ContentIndex::findVector(const std::string &key, const Tensor &tensor) const {
  Place place;
  if (StringRef(key).ends_with(".bias"))
    place.parts = findBias(key, tensor);
  if (!place.parts.empty())
    return place;
  for (const auto &[vector, contents] : vectors)
    if (contents.bytes == tensor.bytes && holds(contents, 0, tensor))
      place.parts.push_back({vector, 0, vector->shape[0]});
  std::vector<std::string> equal = twins(key);
  if (equal.size() == 1 && !place.parts.empty() && isConstant(tensor) && haveSeveralTensors(place.parts))
    return {{}, sameEverywhere};
  if (place.parts.empty() || equal.size() == 1)
    return place;
  if (std::vector<FusedPart> named = partsNamed(place.parts, key); !named.empty())
    return {named, ""};
  // A fresh norm looks like every other.
  return {{},
          "the base holds the same numbers as " + listOf(equal) +
              ", and no name in the graph tells them apart"};
}

ContentIndex::Place ContentIndex::find(const std::string &key, std::optional<SiteKind> kind) const {
  auto tensor = wide.find(key);
  if (tensor == wide.end())
    return {};
  return tensor->second.shape.size() == 2 ? findMatrix(key, tensor->second, kind)
                                          : findVector(key, tensor->second);
}
