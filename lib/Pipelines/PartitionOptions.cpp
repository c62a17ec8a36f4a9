// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// See PartitionOptions.h.
#include "lib/Pipelines/PartitionOptions.h"
#include "llvm/ADT/StringRef.h"

using namespace adapter;
using checkpoint::Error;
using llvm::StringRef;

checkpoint::Result<PartitionOptions> adapter::parsePartitionOptions(const std::string &text) {
  static constexpr int64_t most = 4096;
  auto wrong = [&](const std::string &why) { return Error{"--partition-experts " + text + ": " + why}; };
  PartitionOptions options;
  StringRef rest = text;
  if (!rest.consume_front("ranks="))
    return wrong("expected ranks=N[,profile=FILE]");
  // Of a path everything belongs to it, commas included.
  auto [number, profile] = rest.split(",");
  if (number.getAsInteger(10, options.ranks) || options.ranks < 1 || options.ranks > most)
    return wrong("ranks=" + number.str() + " is no number from 1 to " + std::to_string(most));
  if (number.size() == rest.size())
    return options;
  if (!profile.consume_front("profile=") || profile.empty())
    return wrong("expected ranks=N[,profile=FILE]");
  options.profile = profile.str();
  return options;
}
