// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// PEFT's methods that add a difference of another shape, or put whole parameters in the place of others. See FormReader.h.
#include "lib/Checkpoint/DType.h"
#include "lib/Checkpoint/FormReader.h"
#include "lib/Checkpoint/Regex.h"
#include "lib/Checkpoint/Sparse.h"
#include "lib/Checkpoint/Text.h"
#include "lib/Checkpoint/TorchRandom.h"
#include "lib/Checkpoint/Wavelets.h"
#include <cmath>
#include <cstring>

namespace adapter::checkpoint {

// One number that is 0, for a path that a module does not have.
static Tensor zeroTensor(const std::string &key) {
  Tensor zero = allocateTensor(DType::F32, {1});
  zero.key = key + " (zero)";
  std::memset(mutableData(zero), 0, zero.bytes);
  return zero;
}

// [n, k] times [k, 1].
static Result<Tensor> columnProduct(const Tensor &a, const Tensor &b) {
  Result<Tensor> x = toF32(a), y = toF32(b);
  if (!x || !y)
    return x ? y.error() : x.error();
  if (a.shape.size() != 2 || b.shape != std::vector<int64_t>{a.shape[1], 1})
    return Error{"has shape " + shapeText(a.shape) + ", which does not fit the shape " + shapeText(b.shape) +
                 " of '" + b.key + "'"};
  Tensor product = allocateTensor(DType::F64, {a.shape[0]});
  product.key = a.key;
  for (int64_t i = 0; i < a.shape[0]; ++i) {
    double sum = 0;
    for (int64_t k = 0; k < a.shape[1]; ++k)
      sum += static_cast<double>(reinterpret_cast<const float *>(x->data)[i * a.shape[1] + k]) *
             reinterpret_cast<const float *>(y->data)[k];
    std::memcpy(mutableData(product) + i * 8, &sum, 8);
  }
  return product;
}

static const char *const effective =
    "use_effective_conv2d has a tensor of its own for the taps; train without it";

// Elements of the flattened weight, and a LoRA beside them.
static Status takeSupertuning(FormReader &reader, const FormReader::Module &module, Update &update) {
  const Tensor *values = module.role("values"), *indices = module.role("indices"), *a = module.role("A"),
               *b = module.role("B");
  if (!values || !indices)
    return reader.wrong(*module.tuned.begin()->second, std::string("has no counterpart supertuning_") +
                                                           (values ? "indices" : "values") +
                                                           "; save with save_precomputed_indices=True");
  update.tensors = {{"values", *values}, {"indices", *indices}};
  if (!a && !b)
    return Done{};
  if (!a || !b)
    return reader.wrong(a ? *a : *b, "has no counterpart");
  Result<double> r = reader.config.number("r", 0);
  Result<double> alpha = reader.config.number("lora_alpha", r ? 2 * *r : 0);
  if (!r || !alpha)
    return r ? alpha.error() : r.error();
  // Sums come before parts.
  reader.more.push_back(update);
  update.form = "lora";
  update.layer = Layer::Product;
  update.tensors = {{"A", *a}, {"B", *b}};
  update.rank = a->shape.empty() ? 0 : a->shape[0];
  update.scale = *alpha / *r;
  return std::isfinite(update.scale) ? Status(Done{})
                                     : reader.config.error("lora_alpha", "gives no finite scale");
}

// Each of a module's five paths is a product, a vector, one number, or zeros.
static Status takeGLora(FormReader &reader, Update &update) {
  using Roles = std::map<std::string, Tensor>;
  Roles given = std::move(update.tensors);
  update.tensors.clear();
  auto has = [&](const std::string &role) { return given.count(role) > 0; };
  const std::set<std::string> known = {"A.Xd", "A.Xu", "A.X", "A.zeros", "B.Xd", "B.Xu",    "B.X", "B.zeros",
                                       "C.Xd", "C.Xu", "C.X", "C.zeros", "D.X",  "D.zeros", "E.X", "E.zeros"};
  for (const auto &[role, tensor] : given) {
    bool isTwice = endsWith(role, ".X") && (has(role + "d") || has(role + "u"));
    if (!known.count(role) || isTwice)
      return reader.wrong(tensor,
                          isTwice ? "says the same as the product beside it" : "has no place in GLoRA");
    Result<Tensor> values = endsWith(role, ".zeros") ? toF32(tensor) : Result<Tensor>(Tensor());
    for (int64_t i = 0; values && i < values->elements() && values->data; ++i)
      if (reinterpret_cast<const float *>(values->data)[i] != 0)
        return reader.wrong(tensor, "is not zero");
  }
  auto take = [&](const std::string &from, const std::string &role) {
    update.tensors[role] = has(from + ".X") ? given.at(from + ".X") : zeroTensor(given.begin()->second.key);
  };
  bool isProduct = has("A.Xd");
  for (const char *path : {"A", "B"})
    if (isProduct)
      for (const char *part : {"d", "u"}) {
        if (!has(std::string(path) + ".X" + part))
          return reader.wrong(given.begin()->second,
                              "has no glora_" + std::string(path) + ".X" + part + " beside it");
        update.tensors[std::string(path) + "_" + part] = given.at(std::string(path) + ".X" + part);
      }
    else
      take(path, path);
  bool withBias = has("C.X") || has("C.Xd") || has("D.X") || has("E.X");
  if (withBias) {
    take("C", "c");
    take("D", "d");
    take("E", "e");
    if (has("C.Xd") || has("C.Xu")) {
      Result<Tensor> product = has("C.Xd") && has("C.Xu") ? columnProduct(given.at("C.Xd"), given.at("C.Xu"))
                                                          : Result<Tensor>(Error{"has no counterpart"});
      if (!product)
        return reader.wrong(given.at(has("C.Xd") ? "C.Xd" : "C.Xu"), product.error().message);
      update.tensors["c"] = std::move(*product);
    }
  }
  update.form = isProduct  ? withBias ? "glora" : "glora_weight"
                : withBias ? "glora_scaled"
                           : "glora_scaled_weight";
  return Done{};
}

// The seeds of these methods give the places of what they train, among all elements of the weight.
static Status takeDrawnPlaces(FormReader &reader, const FormReader::Module &module, Update &update) {
  Result<double> seed = reader.config.number("random_loc_seed", 777);
  if (!seed)
    return seed.error();
  if (*seed != std::floor(*seed) || std::fabs(*seed) > 9e15)
    return reader.config.error("random_loc_seed", "is not a whole number");
  const Tensor &spectrum = *module.role("spectrum");
  update.later["indices"] = [seed = static_cast<int64_t>(*seed), count = spectrum.elements(),
                             key = spectrum.key](int64_t out, int64_t columns) -> Result<Tensor> {
    if (count > out * columns)
      return Error{"'" + key + "' holds more numbers than the weight has elements"};
    std::vector<int64_t> places =
        TorchGenerator(static_cast<uint64_t>(seed)).permutation(out * columns, count);
    Tensor tensor = allocateTensor(DType::I64, {count});
    tensor.key = key + " (places)";
    std::memcpy(mutableData(tensor), places.data(), tensor.bytes);
    return tensor;
  };
  return Done{};
}

static Status takeWaveFT(FormReader &reader, const FormReader::Module &module, Update &update) {
  Result<bool> transforms =
      reader.config.fields().contains("use_idwt") ? reader.config.boolean("use_idwt") : Result<bool>(true);
  Result<std::string> name = reader.config.text("wavelet_family");
  if (!transforms || !name)
    return transforms ? name.error() : transforms.error();
  if (Status status = takeDrawnPlaces(reader, module, update); !status)
    return status;
  if (Status status = reader.takeScale("scaling", 25, update); !status)
    return status;
  if (!*transforms) {
    update.form = "sparse_flat";
    update.tensors["values"] = update.tensors.extract("spectrum").mapped();
    return Done{};
  }
  const Wavelet *wavelet = findWavelet(name->empty() ? "db1" : *name);
  if (!wavelet)
    return reader.config.error(
        "wavelet_family", "is '" + *name + "'; expected haar, db1 to db10, sym2 to sym10 or coif1 to coif4");
  Tensor low = allocateTensor(DType::F64, {static_cast<int64_t>(wavelet->low.size())});
  low.key = "wavelet_family (" + *name + ")";
  std::memcpy(mutableData(low), wavelet->low.data(), low.bytes);
  update.tensors["low"] = std::move(low);
  update.attributes["padding"] = wavelet->padding;
  return Done{};
}

static Status takePeanut(FormReader &reader, const FormReader::Module &module, Update &update) {
  const std::map<std::string, int64_t> functions = {
      {"", 0},     {"relu", 0},  {"gelu", 1}, {"gelu_python", 1}, {"gelu_new", 2}, {"gelu_pytorch_tanh", 2},
      {"silu", 3}, {"swish", 3}, {"tanh", 4}, {"sigmoid", 5},     {"linear", 6}};
  Result<std::string> name = reader.config.text("act_fn");
  if (!name)
    return name.error();
  auto found = functions.find(*name);
  if (found == functions.end())
    return reader.config.error("act_fn", "is '" + *name +
                                             "', which is not supported; relu, gelu, gelu_new, "
                                             "gelu_pytorch_tanh, silu, tanh, sigmoid and linear are");
  update.attributes["activation"] = found->second;
  for (const char *role : {"encoders", "decoders"})
    if (Status status = reader.stack(role, module, update); !status)
      return status;
  return reader.takeScale("scaling", 1, update);
}

static Method missMethod() {
  return {"miss",
          {{".miss_block", "block"}, {".bone_block", "block"}},
          {"init_weights", "mini_r", "miss_dropout", "bone_dropout", "r"},
          {},
          [](FormReader &reader, const std::string &, const FormReader::Module &module, Update &update) {
            bool isText = reader.config.fields().contains("init_weights") &&
                          reader.config.fields()["init_weights"].is_string();
            Result<std::string> how = isText ? reader.config.text("init_weights") : std::string();
            if (!how)
              return Status(how.error());
            if (!how->empty() && *how != "bat" && *how != "mini")
              return Status(reader.config.error("init_weights", "is '" + *how + "'; expected bat or mini"));
            bool isSquare = module.role("block")->shape.size() == 3;
            if (isSquare != (*how == "bat"))
              return Status(reader.wrong(*module.role("block"), "has shape " +
                                                                    shapeText(module.role("block")->shape) +
                                                                    ", which does not fit init_weights"));
            if (isSquare)
              update.form = "miss_bat";
            return Status(Done{});
          }};
}

const Methods &differenceMethods() {
  using Module = FormReader::Module;
  using Text = const std::string &;
  static const Methods table = {
      {"loha",
       {"loha",
        {{".hada_w1_a", "w1_a"},
         {".hada_w1_b", "w1_b"},
         {".hada_w2_a", "w2_a"},
         {".hada_w2_b", "w2_b"},
         {".hada_t1", "t1"},
         {".hada_t2", "t2"}},
        {"alpha", "alpha_pattern", "init_weights", "module_dropout", "r", "rank_dropout", "rank_pattern",
         "use_effective_conv2d"},
        {},
        [](FormReader &reader, const std::string &path, const FormReader::Module &module, Update &update) {
          Status status = reader.refuseRole(module, "t1", effective);
          return status ? reader.takeAlpha(path, update) : status;
        }}},
      {"lokr",
       {"lokr",
        {{".lokr_w1", "w1"},
         {".lokr_w1_a", "w1_a"},
         {".lokr_w1_b", "w1_b"},
         {".lokr_w2", "w2"},
         {".lokr_w2_a", "w2_a"},
         {".lokr_w2_b", "w2_b"},
         {".lokr_t2", "t2"}},
        {"alpha", "alpha_pattern", "decompose_both", "decompose_factor", "init_weights", "module_dropout",
         "r", "rank_dropout", "rank_dropout_scale", "rank_pattern", "use_effective_conv2d"},
        {},
        [](FormReader &reader, const std::string &path, const FormReader::Module &module, Update &update) {
          Status status = reader.refuseRole(module, "t2", effective);
          // torch.kron pads the axes of w1 in front, so that PEFT's result is not the product of w1 and w2.
          if (const Tensor *w2 = module.role("w2"); status && w2 && w2->shape.size() == 3)
            status = reader.refuseRole(module, "w2",
                                       "PEFT's product of whole factors beside a one-dimensional "
                                       "convolution is not their Kronecker product");
          return status ? reader.takeAlpha(path, update) : status;
        }}},
      {"c3a",
       {"c3a",
        {{".c3a_kernel", "kernel"}},
        {"block_size", "block_size_pattern", "init_weights"},
        {},
        nullptr}},
      {"hira",
       {"hira",
        {{".hira_A", "A"},
         {".hira_B", "B"},
         {".hira_embedding_A", "embedding_A"},
         {".hira_embedding_B", "embedding_B"}},
        {"hira_dropout", "init_weights", "r", "rank_pattern"},
        {},
        [](FormReader &, Text, const Module &, Update &update) {
          for (const char *role : {"A", "B"})
            if (auto node = update.tensors.extract(std::string("embedding_") + role); !node.empty()) {
              update.layer = Layer::Embedding;
              update.tensors[role] = std::move(node.mapped());
            }
          return Status(Done{});
        }}},
      {"fourierft",
       {"fourierft",
        {{".fourierft_spectrum", "spectrum"}},
        {"init_weights", "n_frequency", "n_frequency_pattern", "random_loc_seed", "scaling"},
        {},
        [](FormReader &reader, Text, const Module &module, Update &update) {
          Status status = takeDrawnPlaces(reader, module, update);
          return status ? reader.takeScale("scaling", 150, update) : status;
        }}},
      {"waveft",
       {"waveft",
        {{".waveft_spectrum", "spectrum"}},
        {"init_weights", "n_frequency", "n_frequency_pattern", "proportional_parameters", "random_loc_seed",
         "scaling", "use_idwt", "wavelet_family"},
        {},
        [](FormReader &reader, Text, const Module &module, Update &update) {
          return takeWaveFT(reader, module, update);
        }}},
      {"glora",
       {"glora",
        {{".glora_A.*", "A"},
         {".glora_B.*", "B"},
         {".glora_C.*", "C"},
         {".glora_D.*", "D"},
         {".glora_E.*", "E"}},
        {"config_A_B", "config_C", "config_D_E", "init_weights", "r"},
        {},
        [](FormReader &reader, Text, const Module &, Update &update) { return takeGLora(reader, update); }}},
      {"peanut",
       {"peanut",
        {{".peanut_A.weight", "A"},
         {".peanut_B.weight", "B"},
         {".peanut_encoders.*.weight", "encoders"},
         {".peanut_decoders.*.weight", "decoders"}},
        {"act_fn", "depth", "init_weights", "r", "scaling"},
        {},
        [](FormReader &reader, Text, const Module &module, Update &update) {
          return takePeanut(reader, module, update);
        }}},
      {"miss", missMethod()},
      {"bone", missMethod()},
      {"supertuning",
       {"sparse_flat",
        {{".supertuning_values", "values"},
         {".supertuning_indices", "indices", true},
         {".supertuning_lora_A.weight", "A"},
         {".supertuning_lora_B.weight", "B"}},
        {"init_weights", "lora_alpha", "lora_dropout", "r", "save_precomputed_indices", "select_top",
         "sparsity"},
        {},
        [](FormReader &reader, Text, const Module &module, Update &update) {
          return takeSupertuning(reader, module, update);
        }}},
      {"trainable_tokens",
       {"rows",
        {{".trainable_tokens_delta", "rows"}},
        {"init_weights", "token_indices"},
        {},
        [](FormReader &reader, Text path, const Module &module, Update &update) {
          const Tensor rows = *module.role("rows");
          update.tensors.clear();
          return readTokenRows(reader.config, reader.file, path, rows, update, "token_indices");
        }}},
      {"ln_tuning",
       {"",
        {{".ln_tuning_layers.weight", "weight"}, {".ln_tuning_layers.bias", "bias"}},
        {},
        {},
        [](FormReader &reader, Text, const Module &module, Update &update) {
          for (const auto &[parameter, tensor] : module.tuned) {
            reader.more.push_back(update);
            reader.more.back().parameter = parameter;
            reader.more.back().form = "replace";
            reader.more.back().tensors = {{"value", *tensor}};
          }
          return Status(Done{});
        }}},
      {"beft", {"beft", {{".beft_bias", "bias"}}, {"init_weights"}, {}, nullptr}},
  };
  return table;
}

} // namespace adapter::checkpoint
