// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What something is that is not an adapter in a format that can be read, for messages: as much as its beginning or its
// names tell, and what to do.
#include "lib/Checkpoint/Formats.h"
#include "lib/Checkpoint/Text.h"
#include <algorithm>

namespace adapter::checkpoint {

static const char *const readable =
    "expected a folder that PEFT's save_pretrained wrote, or another adapter of "
    "those in docs/checkpoints.md";

Error describePickle(const std::string &file, const std::string &target) {
  return Error{file +
               ": a pickle, which can run any code and is never read; convert it where it is trusted: "
               "safetensors.torch.save_file({k: v.clone() for k, v in torch.load('" +
               file.substr(file.rfind('/') + 1) + "', weights_only=True).items()}, '" + target + "')"};
}

// Protocol buffers begin with the number and kind of a field: ir_version of an ONNX model, then its producer or graph.
static bool looksLikeOnnx(const std::string &path, std::string_view bytes) {
  return endsWith(path, ".onnx") || (startsWith(bytes, "\x08") && bytes.size() > 2 && bytes[2] == 0x12);
}

Error describeFile(const std::string &path, std::string_view bytes) {
  std::string_view start = bytes.substr(0, 1 << 16);
  auto is = [&](const char *what) { return Error{path + ": " + what}; };
  if (startsWith(bytes, "PK\x03\x04")) {
    if (start.find("data.pkl") != std::string_view::npos)
      return describePickle(path, "adapter_model.safetensors");
    return is(
        start.find(".npy") != std::string_view::npos
            ? "an .npz archive, whose tensors tell no adapter's format; save them as safetensors with an "
              "adapter_config.json (PEFT's) beside them"
            : "a zip archive; unpack it and give the folder of the adapter in it");
  }
  if (startsWith(bytes, "\x80") && bytes.size() > 1 && bytes[1] >= 2 && bytes[1] <= 5)
    return describePickle(path, "adapter_model.safetensors");
  if (path.substr(path.rfind('/') + 1) == "adapter_config.json")
    return is("the configuration of an adapter; give its folder");
  // The header's length, then the header.
  if (bytes.size() > 8 && bytes[8] == '{' && bytes[7] == 0)
    return is("seems to be a safetensors file; its name must end in .safetensors");
  if (looksLikeOnnx(path, bytes))
    return is(
        "an ONNX graph, not an adapter; adapter-opt takes it as its input. Merged weights are separated "
        "by adapter-opt diff BASE TUNED, from the two checkpoints");
  if (startsWith(bytes, "version https://git-lfs"))
    return is("a pointer of Git LFS instead of the file; fetch it (git lfs pull)");
  return Error{path +
               (bytes.empty() ? ": is empty; " : ": is not an adapter in a format that is known here; ") +
               readable};
}

Error describeTensors(const std::string &file, const Safetensors &tensors) {
  static constexpr const char *marks[] = {".lora_", ".hada_", ".lokr_", ".ia3_",
                                          ".oft_",  ".boft_", ".vera_", ".shira_"};
  for (const Tensor &tensor : tensors.tensors)
    if (std::any_of(std::begin(marks), std::end(marks),
                    [&](const char *mark) { return tensor.key.find(mark) != std::string::npos; }))
      return Error{
          file + ": has tensors of an adapter ('" + tensor.key +
          "'), but there is no adapter_config.json beside it, which says method and scale; copy it from "
          "where the adapter was saved"};
  return Error{
      file + ": holds whole parameters ('" + tensors.tensors.front().key +
      "'), not an adapter; adapter-opt diff BASE TUNED makes an adapter of a checkpoint that was tuned as "
      "a whole"};
}

Error describeFolder(const std::string &folder, const std::vector<std::string> &names) {
  auto has = [&](const char *end, const char *start = "") {
    return std::any_of(names.begin(), names.end(), [&](const std::string &name) {
      return endsWith(name, end) && startsWith(name, start);
    });
  };
  std::string problem = folder + ": no adapter_config.json there";
  if (has("config.json") && (has(".safetensors", "model") || has(".bin", "pytorch_model")))
    return Error{problem +
                 ", but a whole model, not an adapter; adapter-opt diff BASE TUNED makes an adapter of a "
                 "checkpoint that was tuned as a whole"};
  std::vector<std::string> candidates;
  for (const std::string &name : names)
    if (endsWith(name, ".safetensors") || endsWith(name, ".gguf") || endsWith(name, ".onnx_adapter"))
      candidates.push_back(name);
  if (candidates.size() > 1)
    return Error{problem + ", but " + candidates[0] + " and " + candidates[1] +
                 "; give the file that is meant"};
  for (const std::string &name : names)
    if (endsWith(name, ".bin") || endsWith(name, ".pt") || endsWith(name, ".pth") || endsWith(name, ".ckpt"))
      return describePickle(folder + "/" + name, "adapter_model.safetensors");
  return Error{problem + "; " + readable};
}

} // namespace adapter::checkpoint
