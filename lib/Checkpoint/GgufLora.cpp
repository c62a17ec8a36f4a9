// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// LoRAs of llama.cpp (convert_lora_to_gguf.py): a GGUF file whose general.type is "adapter" and whose adapter.type is
// "lora", with adapter.lora.alpha and
//
//   <tensor>.lora_a   [r, in]    <tensor>.lora_b [out, r]     scale = alpha / r; alpha 0: 1
//   token_embd.weight.lora_a [vocabulary, r], .lora_b [dim, r]
//
// Tensors have llama.cpp's names, from which those of Hugging Face's modules follow by architecture. For some
// architectures llama.cpp reorders the rows of the query and key projections, since it rotates pairs of neighbours
// where Transformers rotates halves. That is undone here, for which the number of heads must be known: from the file,
// or from the base model's config.json beside it.
#include "lib/Checkpoint/AdapterTensors.h"
#include "lib/Checkpoint/DType.h"
#include "lib/Checkpoint/Formats.h"
#include "lib/Checkpoint/Gguf.h"
#include "lib/Checkpoint/LowRank.h"
#include "lib/Checkpoint/PeftConfig.h"
#include "lib/Checkpoint/Text.h"
#include <cmath>
#include <cstring>

namespace adapter::checkpoint {

namespace {

using Names = std::map<std::string, const char *>;

struct Architecture {
  const char *block;  // in front of a block's number
  bool permutes;      // the rows of queries and keys
  const Names &names; // of modules of a block
  const char *embedding;
};

const Names llamaNames = {{"attn_q", "self_attn.q_proj"}, {"attn_k", "self_attn.k_proj"},
                          {"attn_v", "self_attn.v_proj"}, {"attn_output", "self_attn.o_proj"},
                          {"ffn_gate", "mlp.gate_proj"},  {"ffn_up", "mlp.up_proj"},
                          {"ffn_down", "mlp.down_proj"}};
const Names phiNames = {{"attn_qkv", "self_attn.qkv_proj"},
                        {"attn_output", "self_attn.o_proj"},
                        {"ffn_up", "mlp.gate_up_proj"},
                        {"ffn_down", "mlp.down_proj"}};
const Names starcoderNames = {{"attn_q", "self_attn.q_proj"}, {"attn_k", "self_attn.k_proj"},
                              {"attn_v", "self_attn.v_proj"}, {"attn_output", "self_attn.o_proj"},
                              {"ffn_up", "mlp.c_fc"},         {"ffn_down", "mlp.c_proj"}};
const Names gpt2Names = {{"attn_qkv", "attn.c_attn"},
                         {"attn_output", "attn.c_proj"},
                         {"ffn_up", "mlp.c_fc"},
                         {"ffn_down", "mlp.c_proj"}};

const std::map<std::string, Architecture> architectures = {
    {"llama", {"model.layers.", true, llamaNames, "model.embed_tokens"}},
    {"granite", {"model.layers.", true, llamaNames, "model.embed_tokens"}},
    {"qwen2", {"model.layers.", false, llamaNames, "model.embed_tokens"}},
    {"qwen3", {"model.layers.", false, llamaNames, "model.embed_tokens"}},
    {"gemma", {"model.layers.", false, llamaNames, "model.embed_tokens"}},
    {"gemma2", {"model.layers.", false, llamaNames, "model.embed_tokens"}},
    {"gemma3", {"model.layers.", false, llamaNames, "model.embed_tokens"}},
    {"phi3", {"model.layers.", false, phiNames, "model.embed_tokens"}},
    {"starcoder2", {"model.layers.", false, starcoderNames, "model.embed_tokens"}},
    {"gpt2", {"transformer.h.", false, gpt2Names, "transformer.wte"}}};

class GgufLoraReader {
public:
  GgufLoraReader(const std::string &file, const Gguf &gguf, Adapter &adapter)
      : file(file), gguf(gguf), adapter(adapter) {}
  Status run(std::vector<Tensor> tensors);
  const std::string &headsFile() const { return usedFile; }

private:
  Error fieldError(const std::string &field, const std::string &problem) const {
    return Error{file + ": field '" + field + "' " + problem};
  }
  Status checkFields();
  Result<std::string> moduleOf(const Tensor &tensor, const std::string &name) const;
  Result<int64_t> heads(const std::string &name);
  Status restoreRows(const std::string &name, Tensor &b);
  Status addUpdate(const std::string &name, const LowRank &parts);

  const std::string &file;
  const Gguf &gguf;
  Adapter &adapter;
  const Architecture *architecture = nullptr;
  std::string architectureName, usedFile;
  double alpha = 0;
};

} // namespace

Status GgufLoraReader::checkFields() {
  for (auto [field, expected] : {std::pair("general.type", "adapter"), {"adapter.type", "lora"}}) {
    const std::string *text = gguf.text(field);
    if (!text || *text != expected)
      return fieldError(
          field, (text ? "is '" + *text + "'" : std::string("is missing")) + "; expected '" + expected + "'" +
                     (field[0] == 'g' ? ": a whole model, not an adapter, goes by its ONNX export" : ""));
  }
  const std::string *name = gguf.text("general.architecture");
  auto known = name ? architectures.find(*name) : architectures.end();
  if (known == architectures.end())
    return fieldError(
        "general.architecture",
        (name ? "is '" + *name + "', whose tensors' names are not known here" : std::string("is missing")) +
            "; use the PEFT folder that the file was made from");
  architecture = &known->second;
  architectureName = *name;
  const double *value = gguf.number("adapter.lora.alpha");
  if (!value || !std::isfinite(*value))
    return fieldError("adapter.lora.alpha", "is missing or not a finite number");
  alpha = *value;
  for (const auto &[field, each] : gguf.fields)
    if (startsWith(field, "adapter.") && field != "adapter.type" && field != "adapter.lora.alpha" &&
        field != "adapter.lora.task_name")
      return fieldError(field, field == "adapter.alora.invocation_tokens"
                                   ? "is set: an activated LoRA acts on a part of the tokens only, which is "
                                     "not supported"
                                   : "is unknown and may change the result");
  return Done{};
}

// "blk.3.attn_q" is "model.layers.3.self_attn.q_proj".
Result<std::string> GgufLoraReader::moduleOf(const Tensor &tensor, const std::string &name) const {
  if (name == "output")
    return std::string("lm_head");
  if (name == "token_embd")
    return std::string(architecture->embedding);
  size_t start = 4, dot = startsWith(name, "blk.") ? name.find('.', start) : std::string::npos;
  std::string number = dot == std::string::npos ? "" : name.substr(start, dot - start);
  auto known =
      dot == std::string::npos ? architecture->names.end() : architecture->names.find(name.substr(dot + 1));
  if (number.empty() || number.find_first_not_of("0123456789") != std::string::npos ||
      known == architecture->names.end())
    return Error{file + ": tensor '" + tensor.key + "' has no place: of the architecture '" +
                 architectureName + "' no such module is known here"};
  return architecture->block + number + "." + known->second;
}

// How many heads the rows of a projection belong to.
Result<int64_t> GgufLoraReader::heads(const std::string &name) {
  bool keys = endsWith(name, "attn_k");
  const std::string field = architectureName + ".attention.head_count";
  const double *own = gguf.number(field), *ofKeys = gguf.number(field + "_kv");
  double count = 0;
  if (own && (!keys || ofKeys)) {
    count = keys ? *ofKeys : *own;
  } else {
    size_t slash = file.rfind('/');
    std::string path = (slash == std::string::npos ? "" : file.substr(0, slash + 1)) + "config.json";
    if (!exists(path))
      return Error{file + ": the rows of '" + name +
                   "' are in llama.cpp's order, which depends on the number of "
                   "heads, and the file has no field '" +
                   field + (keys ? "_kv" : "") +
                   "': put the base model's config.json beside it, or use the PEFT folder that the file was "
                   "made from"};
    Result<PeftConfig> config = PeftConfig::read(path);
    if (!config)
      return config.error();
    Result<double> all = config->number("num_attention_heads", 0);
    Result<double> some = all ? config->number("num_key_value_heads", *all) : all;
    if (!some)
      return some.error();
    usedFile = path;
    count = keys ? *some : *all;
    if (count == 0)
      return config->error("num_attention_heads", "is missing");
  }
  if (!(count >= 1 && count <= 1e6) || count != std::floor(count))
    return Error{file + ": the number of heads of '" + name + "' is not a whole number from 1 on"};
  return static_cast<int64_t>(count);
}

// llama.cpp's row of a head 2 i + half is Transformers' half * (rows / 2) + i.
Status GgufLoraReader::restoreRows(const std::string &name, Tensor &b) {
  Result<int64_t> count = heads(name);
  if (!count)
    return count.error();
  int64_t out = b.shape[0], rows = out / *count, half = rows / 2;
  if (out % *count || rows % 2)
    return Error{file + ": tensor '" + b.key + "' has " + std::to_string(out) + " rows, which do not fit " +
                 std::to_string(*count) + " heads of an even size each"};
  Tensor sorted = allocateTensor(b.dtype, b.shape);
  sorted.key = b.key;
  size_t rowBytes = b.bytes / static_cast<size_t>(out);
  for (int64_t row = 0; row < out; ++row) {
    int64_t head = row / rows, within = row % rows, to = head * rows + within % 2 * half + within / 2;
    std::memcpy(mutableData(sorted) + to * rowBytes, b.data + row * rowBytes, rowBytes);
  }
  b = std::move(sorted);
  return Done{};
}

Status GgufLoraReader::addUpdate(const std::string &name, const LowRank &parts) {
  Result<std::string> module = moduleOf(parts.any(), name);
  if (!module)
    return module.error();
  LowRank factors = parts;
  Tensor flipped;
  bool embedding = name == "token_embd";
  if (embedding && parts.down && parts.down->shape.size() == 2) {
    flipped = transposedMatrix(*parts.down);
    factors.down = &flipped;
  }
  Result<Update> update = lowRankUpdate(file, *module, factors);
  if (!update)
    return update.error();
  if (update->tensors.at("A").shape.size() > 2)
    return Error{file + ": tensor '" + parts.down->key + "' has shape " + shapeText(parts.down->shape) +
                 "; expected a matrix"};
  if (embedding)
    update->layer = Layer::Embedding;
  if (alpha != 0)
    update->scale = alpha / static_cast<double>(update->rank);
  if (architecture->permutes && (endsWith(name, ".attn_q") || endsWith(name, ".attn_k")))
    if (Status status = restoreRows(name, update->tensors.at("B")); !status)
      return status;
  adapter.updates.push_back(std::move(*update));
  return Done{};
}

Status GgufLoraReader::run(std::vector<Tensor> tensors) {
  if (Status status = checkFields(); !status)
    return status;
  if (Status status = checkTensors(file, tensors); !status)
    return status;
  std::map<std::string, LowRank> modules;
  for (const Tensor &tensor : tensors) {
    const std::string down = ".weight.lora_a", up = ".weight.lora_b";
    bool isDown = endsWith(tensor.key, down);
    if (!isDown && !endsWith(tensor.key, up))
      return Error{file + ": tensor '" + tensor.key + "' has no place in a LoRA: its name ends neither in " +
                   down + " nor in " + up};
    LowRank &parts = modules[tensor.key.substr(0, tensor.key.size() - down.size())];
    (isDown ? parts.down : parts.up) = &tensor;
  }
  for (const auto &[name, parts] : modules)
    if (Status status = addUpdate(name, parts); !status)
      return status;
  return Done{};
}

Status readGgufLora(const std::string &file, Adapter &adapter, std::vector<std::string> &files) {
  Result<Gguf> gguf = readGguf(file);
  if (!gguf)
    return gguf.error();
  GgufLoraReader reader(file, *gguf, adapter);
  if (Status status = reader.run(std::move(gguf->tensors)); !status)
    return status;
  if (!reader.headsFile().empty())
    files.push_back(reader.headsFile());
  return Done{};
}

} // namespace adapter::checkpoint
