// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Load and switch functions: of weights by the definitions of their forms, of modules by what they are made of.
#include "lib/Compile/FormFunctions.h"
#include "dialects/Kernel/IR/KernelOps.h"
#include "lib/Compile/DefinedForm.h"
#include "lib/Compile/ModuleForm.h"
#include "lib/Forms/FormLibrary.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

using namespace mlir;
using namespace adapter;
using checkpoint::Bottleneck;
using checkpoint::Error;
using checkpoint::Result;

static constexpr int64_t kAny = ShapedType::kDynamic;

namespace {
// Prepares modules: over (an empty tensor, tensors.., scale).
class ModuleWriter {
public:
  ModuleWriter(ModuleOp module, const Bottleneck &form, int64_t block)
      : b(module.getLoc(), module.getContext()), module(module), form(form), block(block) {}

  void write(StringRef name, const std::vector<std::string> &roles, std::vector<int> &positions) {
    b.setInsertionPointToEnd(module.getBody());
    SmallVector<Type> types{f32({})};
    for (const std::string &role : roles)
      types.push_back(
          f32(SmallVector<int64_t>(role == "down" || role == "up" || role == "gate" ? 2 : 1, kAny)));
    types.push_back(RankedTensorType::get({}, b.getF64Type()));
    auto function = func::FuncOp::create(b, name, b.getFunctionType(types, {}));
    b.setInsertionPointToStart(function.addEntryBlock());
    std::map<std::string, Value> tensors;
    for (auto [i, role] : llvm::enumerate(roles))
      tensors[role] = function.getArgument(i + 1);
    Value scale = tensor::ExtractOp::create(b, function.getArguments().back(), ValueRange());
    SmallVector<Value> results = emitModuleEntries(b, form, block, tensors, scale, positions);
    func::ReturnOp::create(b, results);
    function.setFunctionType(b.getFunctionType(types, ValueRange(results).getTypes()));
  }

private:
  RankedTensorType f32(ArrayRef<int64_t> shape) { return RankedTensorType::get(shape, b.getF32Type()); }

  ImplicitLocOpBuilder b;
  ModuleOp module;
  const Bottleneck &form;
  int64_t block;
};
} // namespace

// "lokr(w1,w2)" is a form with its tensors, "ia3:bias" what a form makes of the bias.
static std::optional<DefinedForm> definitionOf(const FormKey &key, MLIRContext *context) {
  StringRef label = key.form;
  DefinedForm use;
  use.ofBias = label.consume_back(":bias");
  auto [head, rest] = label.split('(');
  SmallVector<StringRef> parts, variants;
  rest.drop_back(rest.empty() ? 0 : 1).split(parts, ',', -1, /*KeepEmpty=*/false);
  head.split(variants, '+');
  use.form =
      FormLibrary::get(context).find(variants.front(), use.ofBias ? "linear" : stringifySiteKind(key.kind));
  if (!use.form)
    return std::nullopt;
  for (const forms::Role &role : use.form.getSignature().roles)
    if (!role.isOptional || llvm::is_contained(parts, role.name) ||
        llvm::is_contained(ArrayRef(variants).drop_front(), role.variant))
      use.roles.insert(role.name);
  use.kind = key.kind;
  use.storedTransposed = key.storedTransposed;
  use.rank = key.rank;
  return use;
}

void FormFunctionBuilder::define(const FormKey &key, const DefinedForm &use, FormFunctions &functions) {
  std::string name = "form." + stringifySiteKind(key.kind).str() + "." + key.form;
  if (key.storedTransposed)
    name += ".transposed";
  if (key.kind == SiteKind::Vector)
    name += "." + std::to_string(key.rank);
  functions.roles = roleOrder(use);
  functions.definition = use.form;
  functions.readsWeight = readsWeightBeside(use);
  functions.prepare = name + ".prepare";
  functions.materialize = name + ".materialize";
  Packing packing{block, rankBlock, takesSteps};
  addMaterialize(module, use, packing, functions.materialize);
  addPrepare(module, use, packing, functions.prepare, functions.entry);
  Value parameter = module.lookupSymbol<func::FuncOp>(functions.prepare).getArgument(0);
  functions.preparesFromBase = !llvm::all_of(parameter.getUsers(), llvm::IsaPred<tensor::DimOp>);
  if (!changesFew(use))
    return;
  functions.touch = name + ".touch";
  functions.restore = name + ".restore";
  addTouch(module, use, packing, functions.touch, /*restores=*/false);
  addTouch(module, use, packing, functions.restore, /*restores=*/true);
}

const FormFunctions &FormFunctionBuilder::get(const Bottleneck &bottleneck) {
  auto [place, isNew] = modules.try_emplace(bottleneck);
  FormFunctions &functions = place->second;
  if (!isNew)
    return functions;
  functions.roles = bottleneck.roles();
  functions.prepare = "form." + bottleneck.text() + ".prepare";
  ModuleWriter(module, bottleneck, block)
      .write(functions.prepare, functions.roles, functions.entry.positions);
  return functions;
}

Result<const FormFunctions *> FormFunctionBuilder::get(const FormKey &key) {
  auto [place, isNew] = made.try_emplace(key);
  FormFunctions &functions = place->second;
  if (!isNew)
    return &functions;
  if (std::optional<DefinedForm> use = definitionOf(key, module.getContext())) {
    if (key.kind != SiteKind::Vector && !use->form.getSignature().actsOn(stringifySiteKind(key.kind).str()) &&
        !use->form.getSignature().actsOn("convolution"))
      return Error{"the form '" + key.form + "' does not act on a " + stringifySiteKind(key.kind).str()};
    define(key, *use, functions);
    return &functions;
  }
  return Error{"the form '" + key.form + "' of a " + stringifySiteKind(key.kind).str() +
               " can be bound at build only, as yet; use --adapter NAME=PATH@build"};
}
