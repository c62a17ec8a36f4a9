// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Writes the tiny artifact around TinyCode.cpp: `MakeTiny FOLDER` all but the code, `MakeTiny FOLDER hash`
// the hash of the code, once it stands there.
#include "adapter-rt/artifact.h"
#include "lib/Artifact/Chunks.h"
#include "lib/Checkpoint/File.h"
#include "lib/Checkpoint/Hash.h"
#include "lib/Checkpoint/Safetensors.h"
#include "test/unit/Runtime/Tiny.h"
#include <cstdio>
#include <filesystem>

using namespace adapter;
using namespace adapter::test;

static bool write(const std::string &path, const std::string &bytes) {
  auto file = checkpoint::AtomicFile::create(path);
  return file && (*file)->write(bytes.data(), bytes.size()) && (*file)->commit();
}

static void addForm(artifact::Site &site, const char *form, std::vector<std::string> roles, int materialize,
                    int prepare, std::vector<int> positions) {
  artifact::SiteForm &made = *site.add_forms();
  made.set_form(form);
  for (const std::string &role : roles)
    made.add_roles(role);
  made.set_definition(std::string(form) == "lora" ? 1 : 2);
  made.set_materialize(materialize);
  made.set_prepare(prepare);
  for (int position : positions)
    made.add_entry_tensors(position);
}

static artifact::Site &addSite(artifact::Manifest &manifest, const char *module, artifact::Time time,
                               int bank, int64_t rows, int64_t columns) {
  artifact::Site &site = *manifest.add_sites();
  site.set_module(module);
  site.set_parameter_name("weight");
  site.set_kind(artifact::LINEAR);
  site.set_parameter(manifest.sites_size() - 1);
  site.set_time(time);
  site.set_bank(bank);
  site.set_rows(rows);
  site.set_columns(columns);
  site.set_block(rows);
  site.set_max_rank(4);
  artifact::Parameter &parameter = *manifest.add_parameters();
  parameter.set_name(site.module());
  parameter.set_dtype(1);
  for (int64_t dim : {int64_t(1), columns, rows})
    parameter.add_dims(dim);
  return site;
}

static void addTensor(artifact::Tensor &tensor, const char *name, std::vector<int64_t> dims) {
  tensor.set_name(name);
  tensor.set_dtype(1);
  for (int64_t dim : dims) {
    tensor.add_dims(dim);
    tensor.add_dim_names(dim < 0 ? "batch" : "");
  }
}

static void addSlot(artifact::Manifest &manifest, const char *name, artifact::Time time, int site) {
  artifact::Slot &slot = *manifest.add_slots();
  slot.set_name(name);
  slot.set_time(time);
  slot.set_max_rank(4);
  slot.add_sites(site);
}

static void addAdapter(artifact::Manifest &manifest, const char *name, artifact::Time time, int site) {
  artifact::Adapter &adapter = *manifest.add_adapters();
  adapter.set_name(name);
  adapter.set_time(time);
  adapter.set_file(std::string("adapters/") + name + ".safetensors");
  artifact::AdapterUpdate &update = *adapter.add_updates();
  update.set_site(site);
  update.set_form(0);
  update.set_scale(2);
  for (const char *role : {"A", "B"}) {
    artifact::AdapterTensor &tensor = *update.add_tensors();
    tensor.set_role(role);
    tensor.set_key(std::string("0.") + role);
  }
}

static artifact::FormDefinition &addDefinition(artifact::Manifest &manifest, const char *name,
                                               std::vector<std::pair<const char *, const char *>> roles) {
  artifact::FormDefinition &form = *manifest.add_forms();
  form.set_name(name);
  form.add_kinds("linear");
  for (auto [role, dims] : roles) {
    artifact::FormRole &made = *form.add_roles();
    made.set_name(role);
    made.set_dims(dims);
  }
  return form;
}

static void addDefinitions(artifact::Manifest &manifest) {
  artifact::FormDefinition &lora = addDefinition(manifest, "lora", {{"A", "r, cols"}, {"B", "out, r"}});
  lora.add_scalars()->set_name("scale");
  lora.add_sliceable("r");
  addDefinition(manifest, "replace", {{"value", "weight"}});
}

static artifact::Manifest makeManifest() {
  artifact::Manifest manifest;
  addDefinitions(manifest);
  manifest.set_abi_version(ADAPTER_ABI_VERSION);
  manifest.set_producer("a test");
  artifact::Entry &entry = *manifest.add_entries();
  entry.set_name("main");
  entry.set_row_input("x");
  addTensor(*entry.add_inputs(), "x", {-1, tinyIn});
  addTensor(*entry.add_outputs(), "y", {-1, tinyOut});
  addTensor(*entry.add_outputs(), "a sum", {-1});
  artifact::Site &first = addSite(manifest, "model.layers.0.up", artifact::ROW, 0, tinyHidden, tinyIn);
  addForm(first, "lora", {"A", "B"}, -1, 1, {0, 1});
  addForm(first, "replace", {"value"}, -1, 2, {4});
  artifact::Site &second =
      addSite(manifest, "model.layers.0.down", artifact::SWITCH, -1, tinyOut, tinyHidden);
  addForm(second, "lora", {"A", "B"}, 3, -1, {});
  addForm(second, "replace", {"value"}, 2, -1, {});
  // Another time at the same parameter.
  artifact::Site third = second;
  third.set_time(artifact::LOAD);
  *manifest.add_sites() = std::move(third);
  addSlot(manifest, "tenant", artifact::ROW, 0);
  addSlot(manifest, "swap", artifact::SWITCH, 1);
  addSlot(manifest, "under", artifact::LOAD, 2);
  manifest.mutable_slots(0)->add_bound("scale");
  addAdapter(manifest, "r1", artifact::ROW, 0);
  for (const char *property : {"scale", "rank"})
    manifest.mutable_adapters(0)->add_bound(property);
  addAdapter(manifest, "s1", artifact::SWITCH, 1);
  artifact::Scalar &scalar = *manifest.add_scalars();
  scalar.set_name("gain");
  scalar.set_default_value(1);
  return manifest;
}

int main(int argc, char **argv) {
  if (argc < 2)
    return 2;
  std::string folder = argv[1];
  if (argc > 2) {
    auto hash = checkpoint::hashFile(folder + "/code.so");
    return hash && write(folder + "/code.hash", *hash + "\n") ? 0 : 1;
  }
  std::filesystem::create_directories(folder + "/adapters");
  artifact::Manifest manifest = makeManifest();
  std::vector<std::pair<std::string, std::vector<checkpoint::Tensor>>> files = {
      {"parameters.safetensors",
       {floats("model.layers.0.up", {1, tinyIn, tinyHidden}, transpose(tinyW0(), tinyHidden, tinyIn)),
        floats("model.layers.0.down", {1, tinyHidden, tinyOut}, transpose(tinyW1(), tinyOut, tinyHidden))}},
      {"adapters/r1.safetensors",
       {floats("0.A", {2, tinyIn}, sequence(2 * tinyIn, 1)), floats("0.B", {tinyHidden, 2}, sequence(8, 2))}},
      {"adapters/s1.safetensors",
       {floats("0.A", {1, tinyHidden}, sequence(4, 3)), floats("0.B", {tinyOut, 1}, sequence(2, 4))}}};
  for (const auto &[name, tensors] : files) {
    std::string path = folder + "/" + name;
    if (!checkpoint::writeSafetensors(path, tensors))
      return 1;
    auto hashes = artifact::hashTensorFile(path, name);
    if (!hashes)
      return 1;
    *manifest.add_files() = std::move(*hashes);
  }
  return write(folder + "/manifest.pb", manifest.SerializeAsString()) ? 0 : 1;
}
