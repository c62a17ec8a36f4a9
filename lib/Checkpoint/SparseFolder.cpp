// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The sparse folder that `adapter-opt diff --as sparse` writes, for tensors of any name and shape, which PEFT has no
// type for: <module>.<parameter>.sparse_indices [rank of the tensor, n], integers, and ...sparse_values [n]; `mode` in
// the configuration says whether values are added (the default) or overwrite, and `tied` lists the modules whose tables
// an output head follows where the graph ties it to them.
#include "lib/Checkpoint/DType.h"
#include "lib/Checkpoint/PeftReader.h"
#include "lib/Checkpoint/Sparse.h"
#include <algorithm>

namespace adapter::checkpoint {

namespace {

const std::set<std::string> known = {"mode", "tied"};
const std::map<std::string, const char *> refused = {};

class SparseReader final : public PeftReader {
public:
  using PeftReader::PeftReader;

private:
  std::vector<Place> places() const override {
    return {{".sparse_values", "values"}, {".sparse_indices", "indices", /*integers=*/true}};
  }
  const std::set<std::string> &knownFields() const override { return known; }
  const std::map<std::string, const char *> &refusedFields() const override { return refused; }
  Status checkMethod() const override {
    Result<std::string> mode = config.text("mode");
    if (!mode)
      return mode.error();
    if (!mode->empty() && *mode != "add" && *mode != "overwrite")
      return config.error("mode", "is '" + *mode + "'; expected add or overwrite");
    return Done{};
  }

  Status readTuned(const std::string &path, const Module &module) override {
    const Tensor *values = module.role("values"), *indices = module.role("indices");
    if (!values || !indices)
      return wrong(values ? *values : *indices,
                   std::string("has no counterpart sparse_") + (values ? "indices" : "values"));
    size_t dot = path.rfind('.');
    if (dot == std::string::npos || dot == 0 || dot + 1 == path.size())
      return wrong(*values, "has no place: its name has no module path and parameter");
    bool overwrite = *config.text("mode") == "overwrite";
    Update &update = add(path.substr(0, dot), path.substr(dot + 1), overwrite ? "overwrite" : "sparse");
    Result<std::vector<std::string>> tied = config.names("tied");
    if (!tied)
      return tied.error();
    update.tied = std::find(tied->begin(), tied->end(), update.module) != tied->end();
    return setSparse(file, *indices, *values, update);
  }
};

} // namespace

Status readSparseFolder(const PeftConfig &config, const std::string &file, const Safetensors &tensors,
                        Adapter &adapter) {
  return SparseReader(config, file, adapter).run(tensors);
}

} // namespace adapter::checkpoint
