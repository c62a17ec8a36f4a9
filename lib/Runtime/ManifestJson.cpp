// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The manifest as JSON, for `adapter-run info`. protobuf-lite has no reflection that could do it.
#include "lib/Checkpoint/DType.h"
#include "lib/Checkpoint/Hash.h"
#include "lib/Runtime/Manifest.h"

namespace adapter::runtime {

using namespace artifact;
using checkpoint::Json;

namespace {

template <typename List, typename Function>
Json each(const List &list, Function function) {
  Json result = Json::array();
  for (const auto &item : list)
    result.push_back(function(item));
  return result;
}

template <typename List>
Json plain(const List &list) {
  return each(list, [](const auto &item) { return Json(item); });
}

std::string dtype(int32_t code) { return checkpoint::dtypeName(static_cast<checkpoint::DType>(code)); }

const char *kindName(SiteKind kind) {
  return kind == LINEAR       ? "linear"
         : kind == EMBEDDING  ? "embedding"
         : kind == VECTOR     ? "vector"
         : kind == BOTTLENECK ? "bottleneck"
                              : "unknown";
}

Json tensorJson(const Tensor &tensor) {
  Json dims = Json::array();
  for (int i = 0; i < tensor.dims_size(); ++i)
    dims.push_back(tensor.dims(i) < 0 ? Json(tensor.dim_names(i)) : Json(tensor.dims(i)));
  return {{"name", tensor.name()}, {"dtype", dtype(tensor.dtype())}, {"dims", dims}};
}

// The inputs and outputs that are a session's own, by name.
Json sessionJson(const Entry &entry) {
  Json result = {{"states", Json::array()}};
  for (const State &state : entry.session().states()) {
    Json described = {{"past", entry.inputs(state.past()).name()}, {"axis", state.axis()}};
    if (state.has_kept())
      described["kept"] = state.kept().number();
    else
      described["present"] = entry.outputs(state.present()).name();
    result["states"].push_back(std::move(described));
  }
  if (entry.session().mask())
    result["mask"] = entry.inputs(entry.session().mask() - 1).name();
  if (entry.session().positions())
    result["positions"] = entry.inputs(entry.session().positions() - 1).name();
  return result;
}

Json entryJson(const Entry &entry) {
  Json result = {{"name", entry.name()},
                 {"function", entry.function()},
                 {"inputs", each(entry.inputs(), tensorJson)},
                 {"outputs", each(entry.outputs(), tensorJson)}};
  if (!entry.row_input().empty()) {
    result["row_input"] = entry.row_input();
    result["row_axis"] = entry.row_axis();
  }
  if (entry.has_session())
    result["session"] = sessionJson(entry);
  return result;
}

Json parameterJson(const Parameter &parameter) {
  Json result = {
      {"name", parameter.name()}, {"dtype", dtype(parameter.dtype())}, {"dims", plain(parameter.dims())}};
  if (!parameter.format().empty())
    result["format"] = parameter.format();
  return result;
}

Json attachedJson(const AttachedParameter &parameter) {
  Json result = {{"module", parameter.module()},
                 {"parameter", parameter.parameter_name()},
                 {"form", parameter.form()},
                 {"node", parameter.node()},
                 {"evidence", parameter.evidence()}};
  if (!parameter.graph().empty())
    result["graph"] = parameter.graph();
  if (!parameter.derivation().empty())
    result["derivation"] = parameter.derivation();
  if (parameter.retained_error() > 0)
    result["retained_error"] = parameter.retained_error();
  return result;
}

Json attachmentJson(const Attachment &attachment) {
  Json result = {{"adapter", attachment.adapter()},
                 {"time", timeName(attachment.time())},
                 {"hash", attachment.hash()},
                 {"scale", attachment.scale()},
                 {"parameters", each(attachment.parameters(), attachedJson)}};
  if (!attachment.base().empty())
    result["base"] = attachment.base();
  if (!attachment.base_digest().empty())
    result["base_digest"] = attachment.base_digest();
  return result;
}

Json bottleneckJson(const Bottleneck &bottleneck) {
  return {{"activation", bottleneck.activation()},
          {"norm_before", bottleneck.norm_before()},
          {"norm_after", bottleneck.norm_after()},
          {"residual_first", bottleneck.residual_first()},
          {"gate", bottleneck.gate()},
          {"channel", bottleneck.channel()},
          {"epsilon", bottleneck.epsilon()}};
}

Json formJson(const SiteForm &form) {
  Json result = {{"roles", plain(form.roles())},
                 {"materialize", form.materialize()},
                 {"prepare", form.prepare()},
                 {"entry_tensors", plain(form.entry_tensors())}};
  if (form.has_bottleneck())
    result["bottleneck"] = bottleneckJson(form.bottleneck());
  else
    result["form"] = form.form();
  return result;
}

Json siteJson(const Site &site) {
  return {{"module", site.module()},
          {"parameter_name", site.parameter_name()},
          {"kind", kindName(site.kind())},
          {"parameter", site.parameter()},
          {"time", timeName(site.time())},
          {"bank", site.bank()},
          {"rows", site.rows()},
          {"columns", site.columns()},
          {"transposed", site.transposed()},
          {"block", site.block()},
          {"max_rank", site.max_rank()},
          {"forms", each(site.forms(), formJson)},
          {"tied", plain(site.tied())}};
}

Json updateJson(const AdapterUpdate &update) {
  Json tensors = Json::object();
  for (const AdapterTensor &tensor : update.tensors())
    tensors[tensor.role()] = tensor.key();
  return {{"site", update.site()}, {"form", update.form()}, {"scale", update.scale()}, {"tensors", tensors}};
}

Json adapterJson(const Adapter &adapter) {
  return {{"name", adapter.name()},          {"time", timeName(adapter.time())},
          {"file", adapter.file()},          {"source_hash", adapter.source_hash()},
          {"bound", plain(adapter.bound())}, {"updates", each(adapter.updates(), updateJson)}};
}

Json slotJson(const Slot &slot) {
  return {{"name", slot.name()},         {"time", timeName(slot.time())}, {"forms", plain(slot.forms())},
          {"max_rank", slot.max_rank()}, {"sites", plain(slot.sites())},  {"bound", plain(slot.bound())}};
}

Json deviceJson(const artifact::Device &device) {
  return {{"target", device.target()},
          {"format", device.format()},
          {"kernels", each(device.kernels(), [](const Kernel &kernel) {
             return Json{{"name", kernel.name()},
                         {"threads", kernel.threads()},
                         {"buffers", kernel.buffers()},
                         {"scalars", kernel.scalars()}};
           })}};
}

} // namespace

Json manifestToJson(const Manifest &manifest) {
  Json result = {{"abi_version", manifest.abi_version()},
                 {"producer", manifest.producer()},
                 {"target_triple", manifest.target_triple()},
                 {"cpu", manifest.cpu()},
                 {"cpu_features", plain(manifest.cpu_features())},
                 {"entries", each(manifest.entries(), entryJson)},
                 {"adapters", each(manifest.adapters(), adapterJson)},
                 {"slots", each(manifest.slots(), slotJson)},
                 {"scalars", each(manifest.scalars(),
                                  [](const Scalar &scalar) {
                                    return Json{{"name", scalar.name()}, {"default", scalar.default_value()}};
                                  })},
                 {"sites", each(manifest.sites(), siteJson)},
                 {"parameters", each(manifest.parameters(), parameterJson)},
                 {"files", each(manifest.files(), [](const FileHash &file) {
                    // One that stands for those of all chunks.
                    std::string hash = checkpoint::hashBytes(file.hashes().data(), file.hashes().size());
                    return Json{{"file", file.file()}, {"hash", hash}, {"size", file.size()}};
                  })}};
  if (!manifest.expert_layers().empty())
    result["expert_layers"] = each(manifest.expert_layers(), [](const ExpertLayer &layer) {
      return Json{{"name", layer.name()}, {"identity", layer.identity()}, {"experts", layer.experts()}};
    });
  if (!manifest.attachments().empty())
    result["attachments"] = each(manifest.attachments(), attachmentJson);
  if (manifest.ranks())
    result["ranks"] = manifest.ranks();
  if (manifest.has_device())
    result["device"] = deviceJson(manifest.device());
  return result;
}

} // namespace adapter::runtime
