// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Sites, forms and adapters in the manifest.
#include "adapter/Pipelines.h"
#include "dialects/ONNX/IR/ONNXOps.h"
#include "lib/Forms/FormLibrary.h"
#include "lib/Forms/FormTraits.h"
#include "lib/Pipelines/Manifest.h"
#include "lib/Support/ParameterStore.h"

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
  int outputs = static_cast<int>(shape.slots.size());
  for (int slot : shape.slots)
    form.add_entry_slots(slot);
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

Status ManifestBuilder::addSite(SiteOp op, FormFunctionBuilder &functions) {
  std::string symbol = op.getSymName().str();
  auto shares = op->getAttrOfType<FlatSymbolRefAttr>("shares");
  std::string owner = shares ? shares.getValue().str() : symbol;
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
  auto bank = op->getAttrOfType<IntegerAttr>("bank");
  site.set_bank(bank ? bank.getInt() : -1);
  site.set_by_token(op->hasAttr(byTokenAttribute));
  site.set_rows(op.getRows());
  site.set_columns(op.getColumns());
  site.set_transposed(op.getStoredTransposed());
  for (int64_t tap : op.getTaps().value_or(ArrayRef<int64_t>()))
    site.add_taps(tap);
  site.set_block(*kind == artifact::LINEAR || module ? options.target.codegen.columnBlock() : 0);
  for (Attribute attr : op.getForms()) {
    std::string form = cast<StringAttr>(attr).getValue().str();
    int64_t rank = *kind == artifact::VECTOR ? stored.shape.size() : 0;
    Result<const FormFunctions *> made = functions.get({op.getKind(), form, op.getStoredTransposed(), rank});
    if (!made)
      return Error{"'" + where + "': " + made.error().message};
    artifact::SiteForm &entry = *site.add_forms();
    entry.set_form(form);
    for (const std::string &role : (*made)->roles)
      entry.add_roles(role);
    entry.set_variant(site.forms_size() - 1);
    entry.set_materialize(module ? -1 : functionIndex((*made)->materialize));
    entry.set_prepare(bank ? functionIndex((*made)->prepare) : -1);
    addEntryShape((*made)->entry, entry);
    if (FormOp definition = (*made)->definition) {
      entry.set_definition(1 + definitionRow(definition));
      entry.set_of_bias(StringRef(form).ends_with(":bias"));
      entry.set_reads_weight((*made)->readsWeight);
    }
    if (!(*made)->touch.empty()) {
      entry.set_touch(1 + functionIndex((*made)->touch));
      entry.set_restore(1 + functionIndex((*made)->restore));
    }
  }
  siteIndex[symbol] = manifest.sites_size();
  if (std::optional<ArrayAttr> slots = op.getSlots())
    for (auto slot : slots->getAsRange<StringAttr>())
      slotSites[slot.getValue().str()].push_back(manifest.sites_size());
  *manifest.add_sites() = std::move(site);
  return Done{};
}

Status ManifestBuilder::addSlot(ModuleOp module, DictionaryAttr attr) {
  std::string name = attr.getAs<StringAttr>("name").getValue().str();
  artifact::Slot &slot = *manifest.add_slots();
  // Adapters save parameters along that they did not change, whatever the slot takes.
  for (FormOp form : FormLibrary::get(module.getContext()).all())
    if (traitsOf(form).replaces)
      definitionRow(form);
  slot.set_name(name);
  slot.set_time(static_cast<artifact::Time>(attr.getAs<BindingTimeAttr>("time").getValue()));
  for (auto form : attr.getAs<ArrayAttr>("forms").getAsRange<StringAttr>())
    slot.add_forms(form.getValue().str());
  slot.set_by_token(attr.contains("by_token"));
  slot.set_max_rank(attr.getAs<IntegerAttr>("rank").getInt());
  if (auto digest = attr.getAs<StringAttr>("base_digest"))
    slot.set_base_digest(digest.getValue().str());
  for (int64_t site : slotSites[name])
    slot.add_sites(site);
  for (auto property : attr.getAs<ArrayAttr>("bound").getAsRange<StringAttr>())
    slot.add_bound(property.getValue().str());
  if (!slot.sites().empty())
    return Done{};
  std::string why;
  if (auto texts = module->getAttrOfType<ArrayAttr>("adapter.left_out"); texts && !texts.empty())
    why = ": " + cast<StringAttr>(texts[0]).getValue().str();
  return Error{"slot '" + name + "': the graph can serve it nowhere" + why};
}

static ArrayRef<NamedAttribute> entriesOf(DictionaryAttr update, StringRef name) {
  auto entries = update.getAs<DictionaryAttr>(name);
  return entries ? entries.getValue() : ArrayRef<NamedAttribute>();
}

Status ManifestBuilder::addAdapter(DictionaryAttr attr) {
  std::string name = attr.getAs<StringAttr>("name").getValue().str();
  artifact::Adapter &adapter = *manifest.add_adapters();
  adapter.set_name(name);
  adapter.set_time(static_cast<artifact::Time>(attr.getAs<BindingTimeAttr>("time").getValue()));
  adapter.set_by_token(attr.contains("by_token"));
  adapter.set_file("adapters/" + name + ".safetensors");
  if (auto hash = attr.getAs<StringAttr>("hash"))
    adapter.set_source_hash(hash.getValue().str());
  if (auto bound = attr.getAs<ArrayAttr>("bound"))
    for (auto property : bound.getAsRange<StringAttr>())
      adapter.add_bound(property.getValue().str());
  TensorFile file{adapter.file(), {}};
  ParameterStore &store = ParameterStore::get(attr.getContext());
  for (auto update : attr.getAs<ArrayAttr>("updates").getAsRange<DictionaryAttr>()) {
    artifact::AdapterUpdate &entry = *adapter.add_updates();
    auto site = siteIndex.find(update.getAs<FlatSymbolRefAttr>("site").getValue().str());
    if (site == siteIndex.end())
      return Error{"internal error: adapter '" + name + "' names no site"};
    entry.set_site(site->second);
    entry.set_form(update.getAs<StringAttr>("form").getValue().str());
    if (auto tasks = update.getAs<IntegerAttr>("tasks"))
      entry.set_tasks(tasks.getInt());
    entry.set_scale(update.getAs<FloatAttr>("scale").getValueAsDouble());
    for (NamedAttribute each : entriesOf(update, "scalars")) {
      artifact::FormScalar &scalar = *entry.add_scalars();
      scalar.set_name(each.getName().str());
      scalar.set_by_default(cast<FloatAttr>(each.getValue()).getValueAsDouble());
    }
    for (NamedAttribute each : entriesOf(update, "integers")) {
      artifact::FormInteger &integer = *entry.add_integers();
      integer.set_name(each.getName().str());
      integer.set_by_default(cast<IntegerAttr>(each.getValue()).getInt());
    }
    for (NamedAttribute each : update.getAs<DictionaryAttr>("tensors")) {
      auto reference = cast<onnxir::TensorAttr>(each.getValue());
      const checkpoint::Tensor *tensor = store.lookup(reference.getScope(), reference.getKey());
      if (!tensor)
        return Error{"internal error: no contents of '" + reference.getKey().str() + "'"};
      file.tensors.push_back(*tensor);
      file.tensors.back().key =
          std::to_string(site->second) + "." + entry.form() + "." + each.getName().str();
      artifact::AdapterTensor &named = *entry.add_tensors();
      named.set_role(each.getName().str());
      named.set_key(file.tensors.back().key);
    }
  }
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
  for (auto site : llvm::make_early_inc_range(module.getOps<SiteOp>())) {
    auto own = siteIndex.find(site.getSymName().str());
    if (std::optional<ArrayAttr> tied = site.getTied(); tied && own != siteIndex.end())
      for (auto follower : tied->getAsRange<FlatSymbolRefAttr>())
        if (auto other = siteIndex.find(follower.getValue().str()); other != siteIndex.end())
          manifest.mutable_sites(own->second)->add_tied(other->second);
    site.erase();
  }
  if (auto list = module->getAttrOfType<ArrayAttr>("adapter.adapters"))
    for (auto adapter : list.getAsRange<DictionaryAttr>())
      if (Status status = addAdapter(adapter); !status)
        return status;
  if (auto list = module->getAttrOfType<ArrayAttr>("adapter.slots"))
    for (auto slot : list.getAsRange<DictionaryAttr>())
      if (Status status = addSlot(module, slot); !status)
        return status;
  for (StringRef name : {"adapter.adapters", "adapter.slots", "adapter.left_out"})
    module->removeAttr(name);
  return Done{};
}
