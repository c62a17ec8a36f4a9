// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// PEFT's SHiRA (Sparse High Rank Adapters, U30 of the list of methods): W' = W + COO(indices, weight), on linear
// layers. Follows peft/tuners/shira of PEFT 0.21.
#include "lib/Checkpoint/DType.h"
#include "lib/Checkpoint/PeftReader.h"
#include "lib/Checkpoint/Sparse.h"

namespace adapter::checkpoint {

namespace {

// The mask's kind and seed decide where training begins; the indices in the file are what counts.
const std::set<std::string> known = {"r", "mask_type", "random_seed", "init_weights"};
const std::map<std::string, const char *> refused = {};

class ShiraReader final : public PeftReader {
public:
  using PeftReader::PeftReader;

private:
  std::vector<Place> places() const override {
    return {{".shira_weight", "values"}, {".shira_indices", "indices", /*integers=*/true}};
  }
  const std::set<std::string> &knownFields() const override { return known; }
  const std::map<std::string, const char *> &refusedFields() const override { return refused; }

  Status readTuned(const std::string &path, const Module &module) override {
    const Tensor *values = module.role("values"), *indices = module.role("indices");
    if (!values || !indices)
      return wrong(values ? *values : *indices,
                   std::string("has no counterpart shira_") + (values ? "indices" : "weight"));
    Result<std::string> reason = whyNotTarget(path, module);
    Result<double> r = config.number("r", 32);
    if (!reason)
      return reason.error();
    if (!r)
      return r.error();
    if (!reason->empty())
      return wrong(*values, "does not fit its configuration: " + *reason);
    if (*r < 1 || *r != static_cast<int64_t>(*r))
      return config.error("r", "is no positive integer");
    Update &update = add(path, "weight", "sparse");
    update.density = static_cast<int64_t>(*r);
    return setSparse(file, *indices, *values, update);
  }
};

} // namespace

Status readPeftShira(const PeftConfig &config, const std::string &file, const Safetensors &tensors,
                     Adapter &adapter) {
  return ShiraReader(config, file, adapter).run(tensors);
}

} // namespace adapter::checkpoint
