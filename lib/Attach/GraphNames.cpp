// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// See GraphNames.h. The names are those of the GenAI model builder and of transformers' fused layers.
#include "lib/Attach/GraphNames.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringExtras.h"

using namespace llvm;

// The TorchScript exporter names the items of a module that is called as a whole twice: "layer/layer.0".
static std::string withoutRepeats(const std::string &path) {
  SmallVector<StringRef> parts, kept;
  StringRef(path).split(parts, '.');
  for (size_t i = 0; i < parts.size(); ++i) {
    bool item = i + 2 < parts.size() && all_of(parts[i + 2], isDigit);
    if (!item || parts[i] != parts[i + 1])
      kept.push_back(parts[i]);
  }
  return join(kept, ".");
}

std::vector<std::string> adapter::spellingsOf(const std::string &path) {
  // A builder's name, and what checkpoints say.
  static constexpr std::pair<const char *, const char *> renamed[] = {{"attn", "self_attn"},
                                                                      {"attn", "self_attention"}};
  std::vector<std::string> result;
  if (std::string shortened = withoutRepeats(path); shortened != path)
    result.push_back(shortened);
  result.push_back(path);
  SmallVector<StringRef> parts;
  StringRef(path).split(parts, '.');
  for (auto [builder, theirs] : renamed)
    for (StringRef &part : parts)
      if (part == builder) {
        SmallVector<StringRef> other(parts);
        other[&part - parts.begin()] = theirs;
        result.push_back(join(other, "."));
      }
  return result;
}

namespace {
struct Fusion {
  const char *whole;
  const char *parts[3];
  int64_t count;
};
} // namespace

static constexpr Fusion fusions[] = {{"qkv_proj", {"q_proj", "k_proj", "v_proj"}, 3},
                                     {"gate_up_proj", {"gate_proj", "up_proj", nullptr}, 2}};

std::optional<adapter::FusedName> adapter::fusedNameOf(StringRef name) {
  for (const Fusion &fusion : fusions)
    for (int64_t place = 0; place < fusion.count; ++place)
      if (name == fusion.parts[place])
        return FusedName{fusion.whole, place, fusion.count};
  return std::nullopt;
}

StringRef adapter::wholeNameOf(StringRef name) {
  for (const Fusion &fusion : fusions)
    for (int64_t place = 0; place < fusion.count; ++place)
      if (name == fusion.parts[place])
        return fusion.whole;
  return "";
}

ArrayRef<const char *> adapter::partNamesOf(StringRef whole) {
  for (const Fusion &fusion : fusions)
    if (whole == fusion.whole)
      return ArrayRef(fusion.parts, fusion.count);
  return {};
}
