// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Load and switch functions. Both say what an update computes by the same update ops that build-time merging
// evaluates; `materialise` applies them to the whole parameter, `prepare` brings factors into the layout that
// the row kernels read. A packed weight is always [in, out] by column blocks, whatever the exporter's layout.
#include "lib/Compile/FormFunctions.h"
#include "dialects/Kernel/IR/KernelOps.h"
#include "lib/Compile/DefinedForm.h"
#include "lib/Compile/Generate.h"
#include "lib/Compile/ModuleForm.h"
#include "lib/Compile/SparseForm.h"
#include "lib/Forms/FormLibrary.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

using namespace mlir;
using namespace adapter;
using checkpoint::Error;
using checkpoint::Result;

static constexpr int64_t kAny = ShapedType::kDynamic;

namespace {
class FormWriter {
public:
  FormWriter(ModuleOp module, const FormKey &key, int64_t block, int64_t rankBlock,
             std::vector<std::string> roles)
      : b(module.getLoc(), module.getContext()), module(module), key(key), block(block), rankBlock(rankBlock),
        roles(std::move(roles)) {}

  // Starts a function over (base, roles..., scale).
  void begin(const std::string &name) {
    b.setInsertionPointToEnd(module.getBody());
    SmallVector<Type> types{baseType()};
    for (const std::string &role : roles)
      types.push_back(roleType(role));
    types.push_back(RankedTensorType::get({}, b.getF64Type()));
    function = func::FuncOp::create(b, name, b.getFunctionType(types, {}));
    b.setInsertionPointToStart(function.addEntryBlock());
    base = function.getArgument(0);
    for (auto [i, role] : llvm::enumerate(roles))
      tensors[role] = function.getArgument(i + 1);
    scale = tensor::ExtractOp::create(b, function.getArguments().back(), ValueRange());
  }

  void end(ValueRange results) {
    func::ReturnOp::create(b, results);
    function.setFunctionType(b.getFunctionType(function.getArgumentTypes(), results.getTypes()));
  }

  Value materialise() {
    if (key.kind == SiteKind::Linear)
      return pack(updated(), false, block);
    return MaterializeOp::create(b, base.getType(), base, update(cast<RankedTensorType>(base.getType())));
  }

  // The outputs of prepare and their places.
  SmallVector<Value> prepare(std::vector<int> &slots) {
    if (key.kind == SiteKind::Bottleneck)
      return emitModuleEntries(b, *checkpoint::BottleneckForm::parse(key.form), block, tensors, scale, slots);
    bool factors = tensors.count("A") && !(key.kind == SiteKind::Embedding && tensors.count("magnitude"));
    if (factors && key.kind == SiteKind::Linear) {
      slots = {0, 1};
      Value a = tensors["A"];
      Value rank = roundUp(tensor::DimOp::create(b, a, 0));
      SmallVector<Value> results{pack(a, true, rankBlock), pack(scaledUp(rank), true, block)};
      if (tensors.count("magnitude")) {
        slots.push_back(2);
        results.push_back(columnScale());
      }
      return results;
    }
    if (factors) {
      slots = {0, 1};
      Value b0 = tensors["B"];
      return {transposed(tensors["A"], false), transposed(b0, true)};
    }
    if (key.kind == SiteKind::Embedding && key.form == "rows") {
      slots = {2, 3};
      return {tensors["indices"], tensors["rows"]};
    }
    if (key.kind == SiteKind::Linear && isSparseForm(key.form)) {
      slots = {5, 6};
      auto [places, added] =
          emitSparseEntries(b, key, block, base, tensors["indices"], tensors["values"], scale);
      return {places, added};
    }
    slots = {4};
    return {materialise()};
  }

private:
  RankedTensorType f32(ArrayRef<int64_t> shape) { return RankedTensorType::get(shape, b.getF32Type()); }

  RankedTensorType baseType() {
    if (key.kind == SiteKind::Bottleneck)
      return f32({});
    if (key.kind == SiteKind::Linear)
      return f32({kAny, kAny, block});
    if (key.kind == SiteKind::Embedding)
      return f32({kAny, kAny});
    return f32(SmallVector<int64_t>(key.rank, kAny));
  }

  RankedTensorType roleType(StringRef role) {
    if (key.kind == SiteKind::Bottleneck)
      return f32(SmallVector<int64_t>(role == "down" || role == "up" || role == "gate" ? 2 : 1, kAny));
    if (role == "indices" && isSparseForm(key.form))
      return RankedTensorType::get({key.kind == SiteKind::Vector ? 1 : 2, kAny}, b.getI64Type());
    if (role == "indices")
      return RankedTensorType::get({kAny}, b.getI64Type());
    if (role == "values")
      return f32({kAny});
    if (role == "magnitude")
      return f32({kAny});
    if (role == "value" && key.kind == SiteKind::Vector)
      return f32(SmallVector<int64_t>(key.rank, kAny));
    return f32({kAny, kAny});
  }

  UpdateType updateType(RankedTensorType type) { return UpdateType::get(b.getContext(), type); }

  // The update on a parameter of type `target`, which is [in, out] for a linear.
  Value update(RankedTensorType target) {
    if (key.form == "add")
      return ScaleOp::create(b, updateType(target), DenseOp::create(b, updateType(target), tensors["value"]),
                             scale);
    if (key.form == "replace") {
      Value whole = ReplaceOp::create(b, updateType(target), tensors["value"]);
      return key.kind == SiteKind::Linear && !key.storedTransposed ? exchange(whole, target) : whole;
    }
    if (isSparseForm(key.form))
      return makeSparseUpdate(b, key, target, tensors["indices"], tensors["values"], scale);
    if (key.form == "rows") {
      Value rows = SparseOp::create(b, updateType(target), SparseMode::Overwrite, SparseSupport::Rows,
                                    tensors["indices"], tensors["rows"]);
      return key.kind == SiteKind::Linear ? exchange(rows, target) : rows;
    }
    Value result = LowRankOp::create(b, updateType(target), tensors["A"], tensors["B"], Value());
    result = ScaleOp::create(b, updateType(target), result, scale);
    if (tensors.count("magnitude"))
      result = MagnitudeOp::create(b, updateType(target), result, tensors["magnitude"], 0);
    return exchange(result, target);
  }

  Value exchange(Value source, RankedTensorType target) {
    return TransposeOp::create(b, updateType(target), source, ArrayRef<int64_t>{1, 0});
  }

  // The linear's weight [in, out] with the update. Columns that pad the last block are kept: what replaces
  // rows does not say how many there are.
  Value updated() {
    Value depth = tensor::DimOp::create(b, base, 1);
    Value columns;
    if (tensors.count("B"))
      columns = tensor::DimOp::create(b, tensors["B"], 0);
    else if (tensors.count("value"))
      columns = tensor::DimOp::create(b, tensors["value"], key.storedTransposed ? 1 : 0);
    else
      columns = arith::MulIOp::create(b, tensor::DimOp::create(b, base, 0),
                                      arith::ConstantIndexOp::create(b, block));
    RankedTensorType type = f32({kAny, kAny});
    Value init = tensor::EmptyOp::create(b, type, ValueRange{depth, columns});
    Value weight = kernel::UnpackOp::create(b, type, base, init).getResults().front();
    return MaterializeOp::create(b, type, weight, update(type));
  }

  // By blocks of `width` columns.
  Value pack(Value source, bool isTransposed, int64_t width) {
    Value depth = tensor::DimOp::create(b, source, isTransposed ? 1 : 0);
    Value columns = tensor::DimOp::create(b, source, isTransposed ? 0 : 1);
    Value blocks = arith::CeilDivSIOp::create(b, columns, arith::ConstantIndexOp::create(b, width));
    RankedTensorType type = f32({kAny, kAny, width});
    Value init = tensor::EmptyOp::create(b, type, ValueRange{blocks, depth});
    return kernel::PackOp::create(b, type, source, init, isTransposed).getResults().front();
  }

  Value roundUp(Value rank) {
    Value width = arith::ConstantIndexOp::create(b, rankBlock);
    return arith::MulIOp::create(b, arith::CeilDivSIOp::create(b, rank, width), width);
  }

  Value generate(ValueRange sizes, ElementBody body) {
    return generateTensor(b, sizes, b.getF32Type(), body);
  }

  Value timesScale(ImplicitLocOpBuilder &inner, Value element) {
    Value wide = arith::ExtFOp::create(inner, inner.getF64Type(), element);
    return arith::TruncFOp::create(inner, inner.getF32Type(), arith::MulFOp::create(inner, wide, scale));
  }

  // scale * B [out, r], zero up to the padded rank.
  Value scaledUp(Value paddedRank) {
    Value up = tensors["B"], rank = tensor::DimOp::create(b, up, 1);
    return generate({Value(tensor::DimOp::create(b, up, 0)), paddedRank},
                    [&](ImplicitLocOpBuilder &inner, ValueRange at) -> Value {
                      Value inside = arith::CmpIOp::create(inner, arith::CmpIPredicate::slt, at[1], rank);
                      auto choose = scf::IfOp::create(inner, TypeRange{inner.getF32Type()}, inside, true);
                      OpBuilder::InsertionGuard guard(inner);
                      inner.setInsertionPointToStart(choose.thenBlock());
                      Value element = tensor::ExtractOp::create(inner, up, at);
                      scf::YieldOp::create(inner, timesScale(inner, element));
                      inner.setInsertionPointToStart(choose.elseBlock());
                      Value zero = arith::ConstantOp::create(inner, inner.getF32FloatAttr(0));
                      scf::YieldOp::create(inner, zero);
                      return choose.getResult(0);
                    });
  }

  Value transposed(Value source, bool withScale) {
    Value rows = tensor::DimOp::create(b, source, 0), columns = tensor::DimOp::create(b, source, 1);
    return generate({columns, rows}, [&](ImplicitLocOpBuilder &inner, ValueRange at) -> Value {
      Value element = tensor::ExtractOp::create(inner, source, ValueRange{at[1], at[0]});
      return withScale ? timesScale(inner, element) : element;
    });
  }

  // magnitude / |column| of the weight with the low-rank update alone.
  Value columnScale() {
    Value magnitude = tensors["magnitude"];
    tensors.erase("magnitude");
    Value weight = updated();
    tensors["magnitude"] = magnitude;
    Value depth = tensor::DimOp::create(b, weight, 0), columns = tensor::DimOp::create(b, weight, 1);
    return generate({columns}, [&](ImplicitLocOpBuilder &inner, ValueRange at) -> Value {
      Value zero = arith::ConstantIndexOp::create(inner, 0), one = arith::ConstantIndexOp::create(inner, 1);
      Value start = arith::ConstantOp::create(inner, inner.getF64FloatAttr(0));
      auto loop = scf::ForOp::create(inner, zero, depth, one, start);
      OpBuilder::InsertionGuard guard(inner);
      inner.setInsertionPointToStart(loop.getBody());
      Value element = tensor::ExtractOp::create(inner, weight, ValueRange{loop.getInductionVar(), at[0]});
      Value wide = arith::ExtFOp::create(inner, inner.getF64Type(), element);
      Value square = arith::MulFOp::create(inner, wide, wide);
      scf::YieldOp::create(inner,
                           ValueRange{arith::AddFOp::create(inner, loop.getRegionIterArgs()[0], square)});
      inner.setInsertionPointAfter(loop);
      Value norm = math::SqrtOp::create(inner, loop.getResult(0));
      Value target = tensor::ExtractOp::create(inner, magnitude, at);
      Value ratio =
          arith::DivFOp::create(inner, arith::ExtFOp::create(inner, inner.getF64Type(), target), norm);
      return arith::TruncFOp::create(inner, inner.getF32Type(), ratio);
    });
  }

  ImplicitLocOpBuilder b;
  ModuleOp module;
  const FormKey &key;
  int64_t block, rankBlock;
  std::vector<std::string> roles;
  func::FuncOp function;
  Value base, scale;
  std::map<std::string, Value> tensors;
};
} // namespace

// The roles of each form, see lib/Checkpoint/Adapter.h.
static Result<std::vector<std::string>> rolesOf(const FormKey &key) {
  const std::string &form = key.form;
  if (key.kind == SiteKind::Bottleneck)
    if (std::optional<checkpoint::BottleneckForm> module = checkpoint::BottleneckForm::parse(form);
        module && !module->modules)
      return module->roles();
  bool matrix = key.kind == SiteKind::Linear || key.kind == SiteKind::Embedding;
  if (isSparseForm(form) && (matrix || (key.kind == SiteKind::Vector && key.rank == 1)))
    return std::vector<std::string>{"indices", "values"};
  if (form == "add" || form == "replace") {
    if (matrix && form == "add")
      return Error{"the form 'add' of a matrix"};
    if (matrix || key.kind == SiteKind::Vector)
      return std::vector<std::string>{"value"};
  }
  if (matrix && form == "rows")
    return std::vector<std::string>{"indices", "rows"};
  std::string lora = key.kind == SiteKind::Embedding ? "lora_embedding" : "lora";
  if (matrix && form == lora)
    return std::vector<std::string>{"A", "B"};
  if (matrix && form == lora + "+dora")
    return std::vector<std::string>{"A", "B", "magnitude"};
  return Error{"the form '" + form + "' of a " + stringifySiteKind(key.kind).str()};
}

// "lokr(w1,w2)" is a form with its tensors, "ia3:bias" what a form makes of the bias.
static std::optional<DefinedForm> definitionOf(const FormKey &key, MLIRContext *context) {
  StringRef label = key.form;
  DefinedForm use;
  use.ofBias = label.consume_back(":bias");
  std::set<std::string> given;
  auto [head, rest] = label.split('(');
  SmallVector<StringRef> parts, variants;
  rest.drop_back(rest.empty() ? 0 : 1).split(parts, ',', -1, /*KeepEmpty=*/false);
  head.split(variants, '+');
  use.form =
      FormLibrary::get(context).find(variants.front(), use.ofBias ? "linear" : stringifySiteKind(key.kind));
  if (!use.form || variants.front() == "lora" || variants.front() == "sparse")
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
  functions.prepare = name + ".prepare";
  functions.materialise = name + ".materialise";
  Packing packing{block, rankBlock, takesSteps};
  addMaterialize(module, use, packing, functions.materialise);
  addPrepare(module, use, packing, functions.prepare, functions.entry);
  if (!changesFew(use))
    return;
  functions.touch = name + ".touch";
  functions.restore = name + ".restore";
  addTouch(module, use, packing, functions.touch, /*restores=*/false);
  addTouch(module, use, packing, functions.restore, /*restores=*/true);
}

Result<const FormFunctions *> FormFunctionBuilder::get(const FormKey &key) {
  auto [place, isNew] = made.try_emplace(key);
  FormFunctions &functions = place->second;
  if (!isNew)
    return &functions;
  if (std::optional<DefinedForm> use = definitionOf(key, module.getContext())) {
    define(key, *use, functions);
    return &functions;
  }
  Result<std::vector<std::string>> roles = rolesOf(key);
  if (!roles)
    return Error{roles.error().message +
                 " can be bound at build only, as yet; use --adapter NAME=PATH@build"};
  functions.roles = *roles;
  std::string name = "form." + stringifySiteKind(key.kind).str() + "." + key.form;
  if (key.storedTransposed)
    name += ".transposed";
  if (key.kind == SiteKind::Vector)
    name += "." + std::to_string(key.rank);
  functions.prepare = name + ".prepare";
  if (key.kind != SiteKind::Bottleneck) {
    functions.materialise = name + ".materialise";
    FormWriter materialise(module, place->first, block, rankBlock, *roles);
    materialise.begin(functions.materialise);
    materialise.end({materialise.materialise()});
  }
  FormWriter prepare(module, place->first, block, rankBlock, *roles);
  prepare.begin(functions.prepare);
  prepare.end(prepare.prepare(functions.entry.slots));
  if (isSparseForm(key.form)) {
    functions.touch = name + ".touch";
    functions.restore = name + ".restore";
    addTouchFunctions(module, key, block, functions.touch, functions.restore);
  }
  return &functions;
}
