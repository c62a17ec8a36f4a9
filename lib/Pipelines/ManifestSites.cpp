// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Sites, forms and adapters in the manifest.
#include "adapter/Pipelines.h"
#include "dialects/ONNX/IR/ONNXOps.h"
#include "lib/Forms/FormLibrary.h"
#include "lib/Forms/FormTraits.h"
#include "lib/Pipelines/Manifest.h"
#include "lib/Support/ParameterStore.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

using namespace mlir;
using namespace adapter;
using checkpoint::Done;
using checkpoint::Error;
using checkpoint::Result;
using checkpoint::Status;

int64_t ManifestBuilder::functionIndex(const std::string &name) {
  std::string symbol = entrySymbol(name);
  auto place = std::find(symbols.begin(), symbols.end(), symbol);
  if (place == symbols.end())
    place = symbols.insert(symbols.end(), symbol);
  return place - symbols.begin();
}

static Result<artifact::SiteKind> kindOf(SiteOp site) {
  switch (site.getKind()) {
  case SiteKind::Linear:
    return artifact::LINEAR;
  case SiteKind::Embedding:
    return artifact::EMBEDDING;
  case SiteKind::Vector:
    return artifact::VECTOR;
  case SiteKind::Bottleneck:
    return artifact::BOTTLENECK;
  case SiteKind::Convolution:
    break;
  }
  return Error{"adapters on convolutions ('" + site.getModule().str() +
               "') can be bound at build only, as yet"};
}

static void addEntryShape(const EntryShape &shape, artifact::SiteForm &form) {
  int outputs = static_cast<int>(shape.positions.size());
  for (int position : shape.positions)
    form.add_entry_tensors(position);
  for (const FormStep &each : shape.steps) {
    artifact::FormStep &step = *form.add_steps();
    step.set_kernel(each.kernel);
    step.set_from(each.from);
    step.set_to(each.to);
    step.set_accumulate(each.accumulates);
    step.set_numbers(each.numbers < 0 ? 0 : 1 + outputs + each.numbers);
    step.set_indices(each.indices < 0 ? 0 : 1 + outputs + each.indices);
  }
  form.set_steps_before(shape.stepsBefore);
}

static void fill(const checkpoint::Bottleneck &from, artifact::Bottleneck &to) {
  to.set_activation(word(from.activation));
  to.set_norm_before(from.normBefore);
  to.set_norm_after(from.normAfter);
  to.set_residual_first(from.residualFirst);
  to.set_gate(from.gate);
  to.set_channel(from.channel);
  to.set_epsilon(from.epsilon);
}

// A function from a narrow weight to the packed one in f32, of any size, or of one K where that ends within a group.
std::string ManifestBuilder::decodeFunction(ModuleOp module, int64_t parameter) {
  kernel::FormatAttr format = formats.at(parameter);
  int64_t only = depths.at(parameter);
  std::string name = "decode." + format.text() + (only ? "." + std::to_string(only) : "");
  if (module.lookupSymbol(name))
    return name;
  ImplicitLocOpBuilder b(module.getLoc(), module.getContext());
  b.setInsertionPointToEnd(module.getBody());
  int64_t any = ShapedType::kDynamic, block = options.target.codegen.columnBlock();
  auto from = RankedTensorType::get({any, any, format.bytes(block)}, b.getI8Type());
  auto to = RankedTensorType::get({any, only ? only : any, block}, b.getF32Type());
  auto function = func::FuncOp::create(b, name, b.getFunctionType({from}, {to}));
  b.setInsertionPointToStart(function.addEntryBlock());
  Value source = function.getArgument(0);
  Value groups = tensor::DimOp::create(b, source, 1);
  Value depth = arith::MulIOp::create(b, groups, arith::ConstantIndexOp::create(b, format.steps()));
  SmallVector<Value> sizes{tensor::DimOp::create(b, source, 0)};
  if (!only)
    sizes.push_back(depth);
  Value init = tensor::EmptyOp::create(b, to, sizes);
  func::ReturnOp::create(b, kernel::DecodeOp::create(b, to, source, init, format).getResults());
  return name;
}

Status ManifestBuilder::addSite(SiteOp op, FormFunctionBuilder &functions) {
  std::string symbol = op.getSymName().str();
  std::string owner = op.getShares().value_or(symbol).str();
  Result<artifact::SiteKind> kind = kindOf(op);
  if (!kind)
    return kind.error();
  // Modules act on values.
  bool module = *kind == artifact::BOTTLENECK;
  auto parameter = siteParameter.find(owner);
  if (!module && parameter == siteParameter.end())
    return Error{"internal error: no parameter of site " + symbol};
  checkpoint::Tensor none;
  const checkpoint::Tensor &stored = module ? none : parameters[parameter->second];
  std::string where = op.getModule().str() + "." + op.getParameter().str();
  if (readTwice.count(owner))
    return Error{"'" + where + "' is read in two layouts; bind its adapter at build"};
  if (*kind == artifact::LINEAR && stored.shape.size() != 3)
    return Error{"'" + where +
                 "' is used by more than a product with activations; bind its adapter at build"};
  artifact::Site site;
  site.set_module(op.getModule().str());
  site.set_parameter_name(op.getParameter().str());
  site.set_graph(op.getGraph().value_or("").str());
  site.set_kind(*kind);
  site.set_parameter(module ? -1 : parameter->second);
  site.set_time(static_cast<artifact::Time>(op.getTime()));
  site.set_bank(op.getBank().value_or(-1));
  site.set_by_token(op.getByToken().has_value());
  site.set_rows(op.getRows());
  site.set_columns(op.getColumns());
  site.set_transposed(op.getStoredTransposed());
  for (int64_t tap : op.getTaps().value_or(ArrayRef<int64_t>()))
    site.add_taps(tap);
  auto format = module ? formats.end() : formats.find(parameter->second);
  if (format != formats.end()) {
    if (!op.getBank())
      return Error{"'" + where + "': an adapter that is bound at " +
                   stringifyBindingTime(op.getTime()).str() + " changes the weight, which is stored as " +
                   format->second.text() +
                   " and nothing rounds again; bind it at row, call, switch or build"};
    site.set_decode(static_cast<int32_t>(
        1 + functionIndex(decodeFunction(op->getParentOfType<ModuleOp>(), format->first))));
  }
  site.set_block(*kind == artifact::LINEAR || module ? options.target.codegen.columnBlock() : 0);
  auto add = [&](const FormFunctions &made) -> artifact::SiteForm & {
    artifact::SiteForm &entry = *site.add_forms();
    for (const std::string &role : made.roles)
      entry.add_roles(role);
    entry.set_materialize(module ? -1 : functionIndex(made.materialize));
    entry.set_prepare(op.getBank() ? functionIndex(made.prepare) : -1);
    entry.set_prepares_from_base(made.preparesFromBase);
    addEntryShape(made.entry, entry);
    return entry;
  };
  if (std::optional<ArrayAttr> bottlenecks = op.getBottlenecks())
    for (auto each : bottlenecks->getAsRange<BottleneckAttr>())
      fill(each.getValue(), *add(functions.get(each.getValue())).mutable_bottleneck());
  for (auto form : op.getForms().getAsValueRange<StringAttr>()) {
    int64_t rank = *kind == artifact::VECTOR ? stored.shape.size() : 0;
    Result<const FormFunctions *> made =
        functions.get({op.getKind(), form.str(), op.getStoredTransposed(), rank});
    if (!made)
      return Error{"'" + where + "': " + made.error().message};
    artifact::SiteForm &entry = add(**made);
    entry.set_form(form.str());
    if (FormOp definition = (*made)->definition) {
      entry.set_definition(1 + definitionRow(definition));
      entry.set_of_bias(form.ends_with(":bias"));
      entry.set_reads_weight((*made)->readsWeight);
    }
    if (!(*made)->touch.empty()) {
      entry.set_touch(1 + functionIndex((*made)->touch));
      entry.set_restore(1 + functionIndex((*made)->restore));
    }
  }
  siteIndex[symbol] = manifest.sites_size();
  siteForms[symbol] = op.getBottlenecks().value_or(op.getForms());
  if (std::optional<ArrayAttr> slots = op.getSlots())
    for (auto slot : slots->getAsRange<StringAttr>())
      slotSites[slot.getValue().str()].push_back(manifest.sites_size());
  *manifest.add_sites() = std::move(site);
  return Done{};
}

static void addAll(std::optional<ArrayAttr> texts, google::protobuf::RepeatedPtrField<std::string> *list) {
  if (texts)
    for (auto text : texts->getAsValueRange<StringAttr>())
      *list->Add() = text.str();
}

Status ManifestBuilder::addSlot(SlotOp op) {
  std::string name = op.getSlot().str();
  auto module = op->getParentOfType<ModuleOp>();
  artifact::Slot &slot = *manifest.add_slots();
  // Adapters save parameters along that they did not change, whatever the slot takes.
  for (FormOp form : FormLibrary::get(op.getContext()).all())
    if (traitsOf(form).replaces)
      definitionRow(form);
  slot.set_name(name);
  slot.set_time(static_cast<artifact::Time>(op.getTime()));
  addAll(op.getForms(), slot.mutable_forms());
  slot.set_by_token(op.getByToken());
  slot.set_max_rank(op.getRank());
  slot.set_base_digest(op.getBaseDigest().value_or("").str());
  for (int64_t site : slotSites[name])
    slot.add_sites(site);
  addAll(op.getBound(), slot.mutable_bound());
  if (!slot.sites().empty())
    return Done{};
  std::string why;
  if (auto texts = module->getAttrOfType<ArrayAttr>("adapter.left_out"); texts && !texts.empty())
    why = ": " + cast<StringAttr>(texts[0]).getValue().str();
  return Error{"slot '" + name + "': the graph can serve it nowhere" + why};
}

static ArrayRef<NamedAttribute> entriesOf(std::optional<DictionaryAttr> entries) {
  return entries ? entries->getValue() : ArrayRef<NamedAttribute>();
}

Status ManifestBuilder::addUpdate(ResidentUpdateOp op, artifact::Adapter &adapter, TensorFile &file) {
  artifact::AdapterUpdate &entry = *adapter.add_updates();
  auto site = siteIndex.find(op.getSite().str());
  if (site == siteIndex.end())
    return Error{"internal error: adapter '" + adapter.name() + "' names no site"};
  entry.set_site(site->second);
  ArrayRef<Attribute> forms = siteForms[site->first].getValue();
  entry.set_form(std::distance(forms.begin(), llvm::find(forms, op.getForm())));
  entry.set_tasks(op.getTasks().value_or(0));
  entry.set_scale(op.getScale().convertToDouble());
  for (NamedAttribute each : entriesOf(op.getScalars())) {
    artifact::FormScalar &scalar = *entry.add_scalars();
    scalar.set_name(each.getName().str());
    scalar.set_by_default(cast<FloatAttr>(each.getValue()).getValueAsDouble());
  }
  for (NamedAttribute each : entriesOf(op.getIntegers())) {
    artifact::FormInteger &integer = *entry.add_integers();
    integer.set_name(each.getName().str());
    integer.set_by_default(cast<IntegerAttr>(each.getValue()).getInt());
  }
  ParameterStore &store = ParameterStore::get(op.getContext());
  for (NamedAttribute each : op.getTensors()) {
    auto reference = cast<onnxir::TensorAttr>(each.getValue());
    const checkpoint::Tensor *tensor = store.lookup(reference.getScope(), reference.getKey());
    if (!tensor)
      return Error{"internal error: no contents of '" + reference.getKey().str() + "'"};
    file.tensors.push_back(*tensor);
    file.tensors.back().key =
        std::to_string(site->second) + "." + std::to_string(entry.form()) + "." + each.getName().str();
    artifact::AdapterTensor &named = *entry.add_tensors();
    named.set_role(each.getName().str());
    named.set_key(file.tensors.back().key);
  }
  return Done{};
}

Status ManifestBuilder::addAdapter(ResidentOp op) {
  std::string name = op.getAdapter().str();
  artifact::Adapter &adapter = *manifest.add_adapters();
  adapter.set_name(name);
  adapter.set_time(static_cast<artifact::Time>(op.getTime()));
  adapter.set_by_token(op.getByToken());
  adapter.set_file("adapters/" + name + ".safetensors");
  adapter.set_source_hash(op.getHash().str());
  addAll(op.getBound(), adapter.mutable_bound());
  TensorFile file{adapter.file(), {}};
  for (auto update : op.getBody().getOps<ResidentUpdateOp>())
    if (Status status = addUpdate(update, adapter, file); !status)
      return status;
  adapters.push_back(std::move(file));
  return Done{};
}

void ManifestBuilder::addAttachments(ModuleOp module) {
  for (auto op : llvm::make_early_inc_range(module.getOps<AttachmentOp>())) {
    artifact::Attachment &attachment = *manifest.add_attachments();
    attachment.set_adapter(op.getAdapter().str());
    attachment.set_hash(op.getHash().str());
    attachment.set_base(op.getBase().value_or("").str());
    attachment.set_base_digest(op.getBaseDigest().value_or("").str());
    attachment.set_scale(op.getScale().convertToDouble());
    attachment.set_time(static_cast<artifact::Time>(op.getTime()));
    for (auto each : op.getBody().getOps<AttachedOp>()) {
      artifact::AttachedParameter &parameter = *attachment.add_parameters();
      parameter.set_module(each.getModule().str());
      parameter.set_parameter_name(each.getParameter().str());
      parameter.set_graph(op.getGraph().value_or("").str());
      parameter.set_node(each.getNode().str());
      parameter.set_form(each.getForm().str());
      parameter.set_evidence(each.getEvidence().str());
      parameter.set_derivation(each.getDerivation().value_or("").str());
      parameter.set_retained_error(each.getRetainedError() ? each.getRetainedError()->convertToDouble() : 0);
    }
    op.erase();
  }
}

Status ManifestBuilder::addSites(ModuleOp module) {
  addAttachments(module);
  const CodegenOptions &codegen = options.target.codegen;
  FormFunctionBuilder functions(module, codegen.columnBlock(), codegen.rankBlock(), !isDevice(codegen.kind));
  // Why room was left out: it is the graph's fault only where nothing else of the slot remains.
  SmallVector<Attribute> leftOut;
  if (auto before = module->getAttrOfType<ArrayAttr>("adapter.left_out"))
    llvm::append_range(leftOut, before);
  for (auto site : llvm::to_vector(module.getOps<SiteOp>()))
    if (Status status = addSite(site, functions); !status) {
      if (!site.getSpare())
        return status;
      leftOut.push_back(StringAttr::get(module.getContext(), status.error().message));
    }
  module->setAttr("adapter.left_out", ArrayAttr::get(module.getContext(), leftOut));
  for (auto site : module.getOps<SiteOp>()) {
    auto own = siteIndex.find(site.getSymName().str());
    if (std::optional<ArrayAttr> tied = site.getTied(); tied && own != siteIndex.end())
      for (auto follower : tied->getAsRange<FlatSymbolRefAttr>())
        if (auto other = siteIndex.find(follower.getValue().str()); other != siteIndex.end())
          manifest.mutable_sites(own->second)->add_tied(other->second);
  }
  for (auto adapter : module.getOps<ResidentOp>())
    if (Status status = addAdapter(adapter); !status)
      return status;
  for (auto slot : module.getOps<SlotOp>())
    if (Status status = addSlot(slot); !status)
      return status;
  module->removeAttr("adapter.left_out");
  for (Operation &op : llvm::make_early_inc_range(*module.getBody()))
    if (isa<ResidentOp, SiteOp, SlotOp>(op))
      op.erase();
  return Done{};
}
