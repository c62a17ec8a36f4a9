// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// How graphs call modules that checkpoints call otherwise.
#ifndef ADAPTER_LIB_ATTACH_GRAPHNAMES_H
#define ADAPTER_LIB_ATTACH_GRAPHNAMES_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include <optional>
#include <string>
#include <vector>

namespace adapter {

/// A graph's path as a checkpoint could have it, the likeliest first: without the repetition that the TorchScript
/// exporter makes of a called list ("layer/layer.0"); as it is; with "self_attn" for a graph builder's "attn".
std::vector<std::string> spellingsOf(const std::string &path);

inline constexpr size_t maxSpellings = 4;

/// Where a module's outputs lie in a fused one of the same parent.
struct FusedName {
  std::string whole; ///< "qkv_proj"
  int64_t place = 0; ///< of the part among the parts
  int64_t count = 0; ///< parts; all but the first have the same size
};
/// What graph builders fuse a module of that name into: "k_proj" is the second of three in "qkv_proj".
std::optional<FusedName> fusedNameOf(llvm::StringRef name);
/// The fused module's name alone; "" where there is none.
llvm::StringRef wholeNameOf(llvm::StringRef name);
/// The modules that a fused one consists of, in the order of their outputs; none for another name.
llvm::ArrayRef<const char *> partNamesOf(llvm::StringRef whole);

} // namespace adapter

#endif // ADAPTER_LIB_ATTACH_GRAPHNAMES_H
