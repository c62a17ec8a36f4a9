// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Keys of PEFT's files; see PeftKeys.h.
#include "lib/Checkpoint/PeftKeys.h"
#include "lib/Checkpoint/Text.h"
#include <set>

namespace adapter::checkpoint {

static bool stripFront(std::string &text, const std::string &front) {
  if (text.rfind(front, 0) != 0)
    return false;
  text.erase(0, front.size());
  return true;
}

std::string withoutWrappers(const std::string &key) {
  static const std::set<std::string> wrappers = {"_orig_mod", "_fsdp_wrapped_module",
                                                 "_checkpoint_wrapped_module"};
  std::string path;
  for (size_t start = 0, dot; start <= key.size(); start = dot + 1) {
    dot = std::min(key.find('.', start), key.size());
    std::string part = key.substr(start, dot - start);
    // The last component is the parameter's.
    if (dot == key.size() || !wrappers.count(part))
      path += part + (dot == key.size() ? "" : ".");
  }
  while (stripFront(path, "module."))
    ;
  stripFront(path, "base_model.model.");
  while (stripFront(path, "module."))
    ;
  return path;
}

bool stripEnd(std::string &path, const std::string &end, std::string &name) {
  name.clear();
  if (path.size() > end.size() && endsWith(path, end)) {
    path.resize(path.size() - end.size());
    return true;
  }
  static const std::set<std::string> parameters = {".weight", ".bias", ".module_logits"};
  size_t last = end.rfind('.');
  bool isModule = last > 0 && parameters.count(end.substr(last));
  std::string head = isModule ? end.substr(0, last) : end, tail = isModule ? end.substr(last) : "";
  if (!endsWith(path, tail))
    return false;
  size_t stop = path.size() - tail.size(), dot = stop ? path.rfind('.', stop - 1) : std::string::npos;
  if (dot == std::string::npos || dot + 1 == stop || dot <= head.size() ||
      path.compare(dot - head.size(), head.size(), head))
    return false;
  name = path.substr(dot + 1, stop - dot - 1);
  path.resize(dot - head.size());
  return true;
}

} // namespace adapter::checkpoint
