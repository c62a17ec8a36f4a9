// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The texts of forms and placements; see Bottleneck.h.
#include "lib/Checkpoint/Bottleneck.h"
#include <algorithm>

namespace adapter::checkpoint {

static const char *const valueNames[] = {"sublayer", "residual", "sum", "norm", "nothing"};

std::string ModulePlacement::text() const {
  return std::string(valueNames[static_cast<int>(input)]) + "_onto_" + valueNames[static_cast<int>(onto)] +
         (final ? "_final" : "");
}

std::optional<ModulePlacement> ModulePlacement::parse(const std::string &text) {
  for (Value input : {Value::Sublayer, Value::Residual, Value::Sum, Value::Norm})
    for (Value onto : {Value::Sublayer, Value::Residual, Value::Sum, Value::Norm, Value::Nothing})
      for (bool final : {false, true})
        if (ModulePlacement placement{input, onto, final}; placement.text() == text)
          return placement;
  return std::nullopt;
}

// Functions of one number; transformers has several names for most of them.
const std::vector<std::string> &BottleneckForm::activations() {
  static const std::vector<std::string> names = {"linear", "relu",      "leaky_relu", "relu2",  "relu6",
                                                 "gelu",   "gelu_tanh", "gelu_10",    "silu",   "quick_gelu",
                                                 "mish",   "sigmoid",   "tanh",       "laplace"};
  return names;
}

std::string BottleneckForm::text() const {
  std::string text = "bottleneck+" + activation, end = epsilon == 1e-6 ? "_1e-6" : "";
  if (normBefore)
    text += "+norm_before" + end;
  if (normAfter)
    text += "+norm_after" + end;
  if (residualFirst)
    text += "+residual_first";
  if (gate)
    text += "+gate";
  if (channel)
    text += "+channel";
  if (modules)
    text += "+" + mode + std::to_string(modules);
  return text;
}

std::optional<MaskedMix> takeMixture(std::string &form) {
  size_t plus = form.rfind('+');
  if (plus == std::string::npos)
    return std::nullopt;
  std::string last = form.substr(plus + 1);
  for (const char *mode : {"sum", "mean", "select"}) {
    size_t size = std::string(mode).size();
    std::string digits = last.rfind(mode, 0) == 0 ? last.substr(size) : "";
    bool number = !digits.empty() && digits.size() <= 4 && digits[0] != '0' &&
                  std::all_of(digits.begin(), digits.end(), [](char c) { return c >= '0' && c <= '9'; });
    if (!number)
      continue;
    form.resize(plus);
    return MaskedMix{mode, std::stoi(digits)};
  }
  return std::nullopt;
}

std::optional<BottleneckForm> BottleneckForm::parse(const std::string &text) {
  if (!isModuleForm(text))
    return std::nullopt;
  std::string rest = text;
  BottleneckForm form;
  if (std::optional<MaskedMix> mixture = takeMixture(rest)) {
    form.mode = mixture->mode;
    form.modules = mixture->count;
  }
  std::vector<std::string> words;
  for (size_t start = 0; start <= rest.size();) {
    size_t plus = std::min(rest.find('+', start), rest.size());
    words.push_back(rest.substr(start, plus - start));
    start = plus + 1;
  }
  form.activation = words[1];
  auto has = [&](const char *word) { return std::find(words.begin(), words.end(), word) != words.end(); };
  form.epsilon = has("norm_before_1e-6") || has("norm_after_1e-6") ? 1e-6 : 1e-5;
  form.normBefore = has("norm_before") || has("norm_before_1e-6");
  form.normAfter = has("norm_after") || has("norm_after_1e-6");
  form.residualFirst = has("residual_first");
  form.gate = has("gate");
  form.channel = has("channel");
  const std::vector<std::string> &known = activations();
  if (std::find(known.begin(), known.end(), form.activation) == known.end() || form.text() != text)
    return std::nullopt;
  return form;
}

std::vector<std::string> BottleneckForm::roles() const {
  std::vector<std::string> roles = {"down", "down_bias"};
  if (modules)
    for (const char *part : {"up", "mask", "up_bias"})
      for (int i = 0; i < modules; ++i)
        roles.push_back(std::string(part) + "." + std::to_string(i));
  else
    roles.insert(roles.end(), {"up", "up_bias"});
  if (channel)
    roles.push_back("channel");
  if (normBefore)
    roles.insert(roles.end(), {"norm_before", "norm_before_bias"});
  if (normAfter)
    roles.insert(roles.end(), {"norm_after", "norm_after_bias"});
  if (gate)
    roles.insert(roles.end(), {"gate", "gate_bias"});
  return roles;
}

} // namespace adapter::checkpoint
