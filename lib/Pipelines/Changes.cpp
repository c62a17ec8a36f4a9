// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// See Changes.h. Weights are widened to f64 before an adapter is merged into them, so that the difference is as exact as the
// adapter itself.
#include "lib/Pipelines/Changes.h"
#include "adapter/InitAll.h"
#include "lib/Attach/FormUse.h"
#include "lib/Attach/Forms.h"
#include "lib/Attach/Plan.h"
#include "lib/Checkpoint/DType.h"
#include "lib/Compile/Passes.h"
#include "lib/Compile/Rounding.h"
#include "lib/Forms/FormLibrary.h"
#include "lib/Pipelines/Files.h"
#include "lib/Support/ParameterStore.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/Pass/PassManager.h"
#include <cstring>

using namespace mlir;
using namespace adapter;
using checkpoint::Done;
using checkpoint::Error;
using checkpoint::Result;
using checkpoint::Status;
using checkpoint::Tensor;
using diff::WeightChange;

// Weights that are evaluated at once: equal forms are compiled once for all of them, and all are held in f64.
static constexpr int64_t elementsAtOnce = int64_t(1) << 26;

static constexpr const char *wideScope = "widened";

namespace {
// The first error that a context reports meanwhile.
class FirstError {
public:
  explicit FirstError(MLIRContext *context)
      : handler(context, [this](Diagnostic &diagnostic) {
          if (diagnostic.getSeverity() != DiagnosticSeverity::Error)
            return failure(); // for those who listen as well
          if (text.empty())
            text = diagnostic.str();
          return success();
        }) {}
  Error error(const std::string &message) const { return Error{message.empty() ? text : message}; }

private:
  std::string text;
  ScopedDiagnosticHandler handler;
};

// Evaluates updates of some weights and biases.
class Evaluation {
public:
  explicit Evaluation(MLIRContext *context)
      : context(context), module(ModuleOp::create(UnknownLoc::get(context))),
        builder(UnknownLoc::get(context), context) {
    builder.setInsertionPointToStart(module->getBody());
    function = func::FuncOp::create(builder, "changes", builder.getFunctionType({}, {}));
    builder.setInsertionPointToStart(function.addEntryBlock());
  }
  Status add(const PlannedParameter &planned, StringRef scope);
  Result<std::vector<WeightChange>> run();
  int64_t elements() const { return size; }

private:
  struct Weight {
    ModuleParameter parameter; // in f64
    const checkpoint::Update *update;
    Tensor contents; // as the graph has it
    Value result;
    bool isNew; // a bias that the graph lacks
  };
  Result<Tensor> widenTo(ModuleParameter &parameter);
  WeightChange changeOf(const Weight &weight, const Tensor &merged) const;

  MLIRContext *context;
  OwningOpRef<ModuleOp> module;
  ImplicitLocOpBuilder builder;
  func::FuncOp function;
  std::vector<Weight> weights;
  std::vector<std::string> keys; // of what was widened
  int64_t size = 0;
};
} // namespace

// The parameter, of which the contents are in f64; of a bias that the model lacks they are zeros.
Result<Tensor> Evaluation::widenTo(ModuleParameter &parameter) {
  ParameterStore &store = ParameterStore::get(context);
  std::vector<int64_t> shape(parameter.shape.begin(), parameter.shape.end());
  Result<Tensor> wide = checkpoint::allocateTensor(checkpoint::DType::F64, shape);
  if (parameter.value) {
    const Tensor *contents = store.lookup(parameter.value.getScope(), parameter.value.getKey());
    if (!contents)
      return Error{"the model's '" + parameter.module + "." + parameter.parameter + "' has no contents"};
    wide = widen(*contents);
    if (!wide)
      return wide;
    ArrayRef<int64_t> stored = cast<RankedTensorType>(parameter.value.getType()).getShape();
    wide->shape.assign(stored.begin(), stored.end());
  }
  std::string key = store.addNew(wideScope, "weight", *wide);
  keys.push_back(key);
  size += wide->elements();
  parameter.value = ParameterOp::create(builder, RankedTensorType::get(wide->shape, builder.getF64Type()),
                                        builder.getStringAttr(wideScope), builder.getStringAttr(key),
                                        ElementsAttr(), StringAttr());
  return wide;
}

Status Evaluation::add(const PlannedParameter &planned, StringRef scope) {
  Weight weight{planned.parameter ? *planned.parameter : missingBias(*planned.biasless),
                planned.updates.front().update,
                {},
                {},
                planned.parameter == nullptr};
  Result<Tensor> wide = widenTo(weight.parameter);
  if (!wide)
    return wide.error();
  weight.contents = std::move(*wide);
  SmallVector<Value> updates;
  for (const PlannedUpdate &each : planned.updates) {
    std::optional<ModuleParameter> beside;
    if (each.weight) {
      beside = *each.weight;
      if (Result<Tensor> other = widenTo(*beside); !other)
        return other.error();
    }
    updates.push_back(
        buildUpdate(builder, *each.update, weight.parameter, scope, 1.0, beside ? &*beside : nullptr));
  }
  Value update = updates.front(), value = weight.parameter.value;
  if (updates.size() > 1)
    update = ComposeOp::create(builder, update.getType(), updates);
  weight.result = MaterializeOp::create(builder, value.getType(), value, update);
  weights.push_back(std::move(weight));
  return Done{};
}

// The difference as forms see it, [out, columns].
WeightChange Evaluation::changeOf(const Weight &weight, const Tensor &merged) const {
  const ModuleParameter &parameter = weight.parameter;
  bool isTable = parameter.kind == SiteKind::Embedding, isBias = parameter.kind == SiteKind::Vector;
  WeightChange change;
  change.module =
      weight.update->flattened || !weight.update->part.empty() ? parameter.module : weight.update->module;
  change.layer = isTable ? checkpoint::Layer::Embedding : checkpoint::Layer::Product;
  change.shape.assign(parameter.shape.begin(), parameter.shape.end());
  if (isBias && !weight.isNew)
    change.before = weight.contents;
  int64_t all = merged.elements(), out = isTable ? change.shape[1] : change.shape[0], columns = all / out;
  change.values = checkpoint::allocateTensor(checkpoint::DType::F64, {out, columns});
  auto *to = reinterpret_cast<double *>(checkpoint::mutableData(change.values));
  const auto *after = reinterpret_cast<const double *>(merged.data),
             *before = reinterpret_cast<const double *>(weight.contents.data);
  bool isTurned = !isBias && parameter.transposed != isTable;
  for (int64_t o = 0; o < out; ++o)
    for (int64_t c = 0; c < columns; ++c) {
      int64_t at = isTurned ? c * out + o : o * columns + c;
      to[o * columns + c] = after[at] - before[at];
    }
  return change;
}

Result<std::vector<WeightChange>> Evaluation::run() {
  SmallVector<Value> results;
  for (const Weight &weight : weights)
    results.push_back(weight.result);
  func::ReturnOp::create(builder, results);
  function.setType(builder.getFunctionType({}, TypeRange(ValueRange(results))));
  PassManager manager(context, ModuleOp::getOperationName());
  manager.addPass(createMergePass());
  if (failed(manager.run(*module)))
    return Error{""};
  ParameterStore &store = ParameterStore::get(context);
  std::vector<WeightChange> changes;
  Operation *end = function.front().getTerminator();
  for (auto [weight, value] : llvm::zip(weights, end->getOperands())) {
    auto merged = value.getDefiningOp<ParameterOp>();
    const Tensor *contents = merged ? store.lookup(merged.getScope(), merged.getKey()) : nullptr;
    if (!contents)
      return Error{"what the adapter makes of '" + weight.parameter.module + "' is not known before it runs"};
    changes.push_back(changeOf(weight, *contents));
    store.set(merged.getScope(), merged.getKey(), {});
  }
  for (const std::string &key : keys)
    store.set(wideScope, key, {});
  return changes;
}

// Why what an adapter changes is not the weight of one module; "" where it is.
static std::string whyNoChange(const AttachPlan &plan, const AttachReport &report) {
  if (std::string why = complaint(report); !why.empty())
    return why;
  if (!plan.modules.empty())
    return "it acts on activations, not on weights";
  for (const Placement &row : report.placements) {
    std::string name = "'" + row.module + "." + row.parameter + "'";
    if (row.kind == SiteKind::Vector && row.parameter != "bias")
      return name + " is no matrix, of which there would be factors";
    if (row.note != "" && row.note != "by contents" && row.note != "unchanged" && row.note != "new bias")
      return "the model has " + name + " not as one tensor of its own (" + row.note + ")";
    if (!row.derivation.empty())
      return "the model holds " + row.derivation + " in the place of " + name;
  }
  for (const auto &planned : plan.parameters)
    for (const PlannedUpdate &each : planned->updates) {
      if (each.update->mixture)
        return "it is a mixture, which is no update of a weight";
      if (planned->parameter && planned->parameter->kind == SiteKind::Convolution &&
          planned->parameter->grouped())
        return "'" + each.update->module +
               "' is a convolution in groups, whose weight no LoRA's factors are of";
    }
  return "";
}

// Graphs of one model, an encoder and a decoder say, may hold the same weight.
static bool isThere(const std::vector<WeightChange> &all, const WeightChange &change) {
  return llvm::any_of(all, [&](const WeightChange &each) {
    return each.module == change.module && each.shape == change.shape &&
           std::memcmp(each.values.data, change.values.data, change.values.bytes) == 0;
  });
}

Status ModelChanges::place(checkpoint::Adapter &adapter) {
  return placeOwnForm(adapter, module.getContext());
}

Result<std::vector<WeightChange>> ModelChanges::of(const std::string &path) {
  if (!options.renamings.empty())
    return Error{path +
                 ": what it changes is found by its modules' names; leave out --map, or name the modules as "
                 "the model does"};
  MLIRContext *context = module.getContext();
  FirstError said(context);
  AdapterRequest request;
  request.name = request.path = path;
  AttachPlan plan;
  AttachReport report;
  if (Status status = planAttach(module, {request}, {}, options, plan, report); !status)
    return said.error(status.error().message);
  if (std::string why = whyNoChange(plan, report); !why.empty())
    return Error{path + ": " + why};
  std::vector<WeightChange> all;
  std::string scope = "part " + path;
  std::unique_ptr<Evaluation> evaluation;
  for (size_t i = 0; i < plan.parameters.size(); ++i) {
    const PlannedParameter &planned = *plan.parameters[i];
    if (!evaluation)
      evaluation = std::make_unique<Evaluation>(context);
    if (!planned.updates.empty())
      if (Status status = evaluation->add(planned, scope); !status)
        return Error{path + ": " + status.error().message};
    if (evaluation->elements() < elementsAtOnce && i + 1 < plan.parameters.size())
      continue;
    Result<std::vector<WeightChange>> some = evaluation->run();
    if (!some)
      return Error{path + ": " + said.error(some.error().message).message};
    for (WeightChange &change : *some)
      if (!isThere(all, change))
        all.push_back(std::move(change));
    evaluation.reset();
  }
  return all;
}

//===----------------------------------------------------------------------===//
// From files
//===----------------------------------------------------------------------===//

namespace {
class FileChanges final : public diff::Changes {
public:
  explicit FileChanges(diff::ModelPaths paths) : paths(std::move(paths)) {}
  Status place(checkpoint::Adapter &adapter) override {
    Status status = open();
    return status ? placeOwnForm(adapter, context.get()) : status;
  }
  Result<std::vector<WeightChange>> of(const std::string &path) override {
    if (Status status = open(); !status)
      return status.error();
    AttachOptions options;
    options.base = paths.base;
    return ModelChanges(*module, options).of(path);
  }
  bool hasModel() const override { return !paths.model.empty(); }

private:
  Status open();

  diff::ModelPaths paths;
  std::unique_ptr<MLIRContext> context;
  OwningOpRef<ModuleOp> module;
};
} // namespace

Status FileChanges::open() {
  if (context)
    return Done{};
  DialectRegistry registry;
  registerAllDialects(registry);
  context = std::make_unique<MLIRContext>(registry);
  FirstError said(context.get());
  for (const std::string &file : paths.forms)
    if (failed(FormLibrary::get(context.get()).addFile(file)))
      return Error{file + ": " + said.error("").message};
  if (!hasModel())
    return Done{};
  Result<std::vector<std::string>> inputs = expandInputs({paths.model});
  if (!inputs)
    return inputs.error();
  Result<OwningOpRef<ModuleOp>> read = readInputs(context.get(), *inputs);
  if (!read)
    return said.error(read.error().message);
  module = std::move(*read);
  return Done{};
}

std::unique_ptr<diff::Changes> adapter::openChanges(const diff::ModelPaths &paths) {
  return std::make_unique<FileChanges>(paths);
}
