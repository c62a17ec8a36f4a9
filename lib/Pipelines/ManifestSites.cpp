// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Sites, forms and adapters in the manifest.
#include "adapter/Pipelines.h"
#include "dialects/ONNX/IR/ONNXOps.h"
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
  case SiteKind::Convolution:
    break;
  }
  return Error{"adapters on convolutions ('" + site.getModule().str() +
               "') can be bound at build only, as yet"};
}

Status ManifestBuilder::addSite(SiteOp op, FormFunctionBuilder &functions) {
  std::string symbol = op.getSymName().str();
  auto shares = op->getAttrOfType<FlatSymbolRefAttr>("shares");
  auto parameter = siteParameter.find(shares ? shares.getValue().str() : symbol);
  if (parameter == siteParameter.end())
    return Error{"internal error: no parameter of site " + symbol};
  Result<artifact::SiteKind> kind = kindOf(op);
  if (!kind)
    return kind.error();
  const checkpoint::Tensor &stored = parameters[parameter->second];
  std::string where = op.getModule().str() + "." + op.getParameter().str();
  if (*kind == artifact::LINEAR && stored.shape.size() != 3)
    return Error{"'" + where +
                 "' is used by more than a product with activations; bind its adapter at build"};
  siteIndex[symbol] = manifest.sites_size();
  artifact::Site &site = *manifest.add_sites();
  site.set_module(op.getModule().str());
  site.set_parameter_name(op.getParameter().str());
  site.set_kind(*kind);
  site.set_parameter(parameter->second);
  site.set_time(static_cast<artifact::Time>(op.getTime()));
  auto bank = op->getAttrOfType<IntegerAttr>("bank");
  site.set_bank(bank ? bank.getInt() : -1);
  site.set_rows(op.getRows());
  site.set_columns(op.getColumns());
  site.set_transposed(op.getStoredTransposed());
  site.set_block(*kind == artifact::LINEAR ? options.target.codegen.columnBlock() : 0);
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
    entry.set_materialise(functionIndex((*made)->materialise));
    entry.set_prepare(bank ? functionIndex((*made)->prepare) : -1);
    for (int slot : (*made)->entrySlots)
      entry.add_entry_slots(slot);
  }
  return Done{};
}

Status ManifestBuilder::addAdapter(DictionaryAttr attr) {
  std::string name = attr.getAs<StringAttr>("name").getValue().str();
  artifact::Adapter &adapter = *manifest.add_adapters();
  adapter.set_name(name);
  adapter.set_time(static_cast<artifact::Time>(attr.getAs<BindingTimeAttr>("time").getValue()));
  adapter.set_file("adapters/" + name + ".safetensors");
  if (auto hash = attr.getAs<StringAttr>("hash"))
    adapter.set_source_hash(hash.getValue().str());
  TensorFile file{adapter.file(), {}};
  ParameterStore &store = ParameterStore::get(attr.getContext());
  for (auto update : attr.getAs<ArrayAttr>("updates").getAsRange<DictionaryAttr>()) {
    artifact::AdapterUpdate &entry = *adapter.add_updates();
    auto site = siteIndex.find(update.getAs<FlatSymbolRefAttr>("site").getValue().str());
    if (site == siteIndex.end())
      return Error{"internal error: adapter '" + name + "' names no site"};
    entry.set_site(site->second);
    entry.set_form(update.getAs<StringAttr>("form").getValue().str());
    entry.set_scale(update.getAs<FloatAttr>("scale").getValueAsDouble());
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

Status ManifestBuilder::addSites(ModuleOp module) {
  FormFunctionBuilder functions(module, options.target.codegen.columnBlock());
  for (auto site : llvm::to_vector(module.getOps<SiteOp>()))
    if (Status status = addSite(site, functions); !status)
      return status;
  for (auto site : llvm::make_early_inc_range(module.getOps<SiteOp>())) {
    if (std::optional<ArrayAttr> tied = site.getTied())
      for (auto follower : tied->getAsRange<FlatSymbolRefAttr>())
        manifest.mutable_sites(siteIndex[site.getSymName().str()])
            ->add_tied(siteIndex[follower.getValue().str()]);
    site.erase();
  }
  if (auto list = module->getAttrOfType<ArrayAttr>("adapter.adapters"))
    for (auto adapter : list.getAsRange<DictionaryAttr>())
      if (Status status = addAdapter(adapter); !status)
        return status;
  module->removeAttr("adapter.adapters");
  return Done{};
}
