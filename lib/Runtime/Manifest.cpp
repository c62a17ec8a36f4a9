// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The manifest; see Manifest.h.
#include "lib/Runtime/Manifest.h"
#include "adapter-rt/artifact.h"
#include "lib/Checkpoint/DType.h"
#include "lib/Checkpoint/Hash.h"
#include "lib/Runtime/Definitions.h"
#include "lib/Runtime/Steps.h"
#include <google/protobuf/stubs/logging.h>
#include <set>

namespace adapter::runtime {

using namespace artifact;
using checkpoint::Done;
using checkpoint::DType;
using checkpoint::Error;
using checkpoint::Result;
using checkpoint::Status;

namespace {

bool within(int64_t index, int64_t size) { return index >= 0 && index < size; }

// A path inside of the artifact, which cannot leave it.
bool isPlainPath(const std::string &path) {
  return !path.empty() && path[0] != '/' && path.find("..") == std::string::npos &&
         path.find('\0') == std::string::npos;
}

class Checker {
public:
  Checker(const Manifest &manifest, uint64_t functions)
      : manifest(manifest), functions(static_cast<int64_t>(functions)) {}

  // What is wrong, or an empty text.
  std::string run() const {
    for (auto check : {&Checker::checkEntries, &Checker::checkParameters, &Checker::checkSites,
                       &Checker::checkAdapters, &Checker::checkForms, &Checker::checkSlots,
                       &Checker::checkFiles, &Checker::checkDevice, &Checker::checkExperts})
      if (std::string problem = (this->*check)(); !problem.empty())
        return problem;
    return "";
  }

private:
  static std::string checkTensor(const Tensor &tensor) {
    if (tensor.name().empty() || tensor.dims_size() > ADAPTER_MAX_RANK ||
        tensor.dim_names_size() != tensor.dims_size() ||
        !checkpoint::dtypeSize(static_cast<DType>(tensor.dtype())))
      return "tensor '" + tensor.name() + "' has no name, no usable type or more than 8 dims";
    for (int i = 0; i < tensor.dims_size(); ++i)
      if (tensor.dims(i) < -1)
        return "tensor '" + tensor.name() + "' has a negative dim";
    return "";
  }

  std::string checkEntries() const {
    std::set<std::string> names;
    if (manifest.entries().empty())
      return "no entries";
    for (const Entry &entry : manifest.entries()) {
      if (!names.insert(entry.name()).second || !within(entry.function(), functions))
        return "entry '" + entry.name() + "' is there twice or has no function";
      for (const auto *list : {&entry.inputs(), &entry.outputs()}) {
        std::set<std::string> tensors;
        for (const Tensor &tensor : *list) {
          if (std::string problem = checkTensor(tensor); !problem.empty())
            return problem;
          if (!tensors.insert(tensor.name()).second)
            return "tensor '" + tensor.name() + "' is there twice";
        }
      }
      if (entry.row_input().empty())
        continue;
      const Tensor *rows = nullptr;
      for (const Tensor &tensor : entry.inputs())
        if (tensor.name() == entry.row_input())
          rows = &tensor;
      if (!rows || !within(entry.row_axis(), rows->dims_size()) ||
          !within(entry.token_axis(), rows->dims_size()))
        return "the row axis of entry '" + entry.name() + "' does not exist";
    }
    return "";
  }

  std::string checkParameters() const {
    for (const Parameter &parameter : manifest.parameters()) {
      std::vector<int64_t> dims(parameter.dims().begin(), parameter.dims().end());
      if (dims.size() > ADAPTER_MAX_RANK ||
          !checkpoint::tensorBytes(static_cast<DType>(parameter.dtype()), dims))
        return "parameter '" + parameter.name() + "' has an impossible shape";
    }
    return "";
  }

  std::string checkSites() const {
    for (const Site &site : manifest.sites()) {
      std::string name = "site '" + siteName(site) + "' ";
      if (site.parameter() != -1 && !within(site.parameter(), manifest.parameters_size()))
        return name + "has a parameter that does not exist";
      if (site.bank() < -1 || site.bank() > manifest.sites_size())
        return name + "has an impossible bank";
      if (site.rows() < 0 || site.columns() < 0 || site.block() < 0 || site.max_rank() < 0)
        return name + "has a negative size";
      for (int32_t tied : site.tied())
        if (!within(tied, manifest.sites_size()))
          return name + "is tied to a site that does not exist";
      for (const SiteForm &form : site.forms()) {
        if ((form.materialize() != -1 && !within(form.materialize(), functions)) ||
            (form.prepare() != -1 && !within(form.prepare(), functions)) || form.touch() < 0 ||
            form.touch() > functions || form.restore() < 0 || form.restore() > functions ||
            (form.touch() == 0) != (form.restore() == 0))
          return name + "has a function that does not exist";
        if (form.definition() < 0 || form.definition() > manifest.forms_size())
          return name + "has a form that does not exist";
        if (form.has_bottleneck() != (site.kind() == BOTTLENECK) ||
            (form.has_bottleneck() &&
             !checkpoint::named<checkpoint::Activation>(form.bottleneck().activation())))
          return name + "has a bottleneck that this runtime does not know, or none";
        for (int32_t position : form.entry_tensors())
          if (!within(position, ADAPTER_ENTRY_TENSORS))
            return name + "writes an entry's tensor that does not exist";
        if (std::string problem = checkSteps(form); !problem.empty())
          return name + problem;
      }
    }
    return "";
  }

  std::string checkAdapters() const {
    std::set<std::string> names;
    for (const Adapter &adapter : manifest.adapters()) {
      std::string name = "adapter '" + adapter.name() + "' ";
      if (adapter.name().empty() || adapter.name() == "-" || !names.insert(adapter.name()).second)
        return name + "has no name of its own";
      if (!isPlainPath(adapter.file()))
        return name + "lies outside of the artifact";
      for (const AdapterUpdate &update : adapter.updates())
        if (!within(update.site(), manifest.sites_size()) ||
            !within(update.form(), manifest.sites(update.site()).forms_size()))
          return name + "has an update without a site or form";
    }
    return "";
  }

  std::string checkForms() const {
    for (const FormDefinition &form : manifest.forms())
      if (Result<forms::Signature> signature = signatureOf(form); !signature)
        return signature.error().message;
    return "";
  }

  std::string checkSlots() const {
    for (const Slot &slot : manifest.slots())
      for (int32_t site : slot.sites())
        if (!within(site, manifest.sites_size()))
          return "slot '" + slot.name() + "' has a site that does not exist";
    return "";
  }

  std::string checkFiles() const {
    std::set<std::string> names;
    for (const FileHash &file : manifest.files()) {
      std::string name = "file '" + file.file() + "' ";
      if (!isPlainPath(file.file()))
        return name + "lies outside of the artifact";
      if (!names.insert(file.file()).second)
        return name + "is there twice";
      uint64_t left = file.size();
      for (uint64_t length : file.lengths()) {
        if (length == 0 || length > left)
          return name + "has chunks that do not fill it";
        left -= length;
      }
      if (left)
        return name + "has chunks that do not fill it";
      if (file.hashes().size() != static_cast<size_t>(file.lengths_size()) * checkpoint::Hasher::bytes)
        return name + "has another number of hashes than of chunks";
    }
    if (!manifest.parameters().empty() && !names.count(parameterFile))
      return std::string("file '") + parameterFile + "' has no hashes";
    for (const Adapter &adapter : manifest.adapters())
      if ((adapter.time() != BUILD || !adapter.updates().empty()) && !names.count(adapter.file()))
        return "file '" + adapter.file() + "' has no hashes";
    return "";
  }

  std::string checkDevice() const {
    for (const Kernel &kernel : manifest.device().kernels())
      if (kernel.name().empty() || kernel.threads() <= 0 || kernel.buffers() < 0 || kernel.scalars() < 0)
        return "kernel '" + kernel.name() + "' has an impossible shape";
    return "";
  }

  std::string checkExperts() const {
    for (const ExpertLayer &layer : manifest.expert_layers())
      if (layer.experts() < 1)
        return "expert layer '" + layer.name() + "' has no experts";
    return manifest.ranks() < 0 ? "a negative number of ranks" : "";
  }

  const Manifest &manifest;
  int64_t functions;
};

} // namespace

Result<Manifest> parseManifest(const void *data, size_t size, uint64_t functions, const std::string &where) {
  Manifest manifest;
  google::protobuf::LogSilencer silencer; // a broken manifest is reported below, not on stderr
  if (size > INT32_MAX || !manifest.ParseFromArray(data, static_cast<int>(size)))
    return Error{where + ": no manifest"};
  if (manifest.abi_version() != ADAPTER_ABI_VERSION)
    return Error{where + ": has interface version " + std::to_string(manifest.abi_version()) +
                 "; this runtime knows " + std::to_string(ADAPTER_ABI_VERSION) +
                 ". Compile the model again with a matching adapter-opt"};
  if (std::string problem = Checker(manifest, functions).run(); !problem.empty())
    return Error{where + ": the manifest contradicts itself: " + problem};
  return manifest;
}

const char *timeName(Time time) {
  switch (time) {
  case BUILD:
    return "build";
  case LOAD:
    return "load";
  case SWITCH:
    return "switch";
  case CALL:
    return "call";
  case ROW:
    return "row";
  default:
    return "unknown";
  }
}

std::string siteName(const Site &site) { return site.module() + "." + site.parameter_name(); }

int findForm(const Site &site, const std::string &form) {
  for (int i = 0; i < site.forms_size(); ++i)
    if (!site.forms(i).has_bottleneck() && site.forms(i).form() == form)
      return i;
  return -1;
}

int findForm(const Site &site, const checkpoint::Bottleneck &bottleneck) {
  for (int i = 0; i < site.forms_size(); ++i)
    if (site.forms(i).has_bottleneck() && bottleneckOf(site.forms(i).bottleneck()) == bottleneck)
      return i;
  return -1;
}

checkpoint::Bottleneck bottleneckOf(const Bottleneck &from) {
  checkpoint::Bottleneck result;
  result.activation =
      checkpoint::named<checkpoint::Activation>(from.activation()).value_or(checkpoint::Activation());
  result.normBefore = from.norm_before();
  result.normAfter = from.norm_after();
  result.residualFirst = from.residual_first();
  result.gate = from.gate();
  result.channel = from.channel();
  result.epsilon = from.epsilon();
  return result;
}

std::string formText(const SiteForm &form) {
  return form.has_bottleneck() ? bottleneckOf(form.bottleneck()).text() : form.form();
}

} // namespace adapter::runtime
