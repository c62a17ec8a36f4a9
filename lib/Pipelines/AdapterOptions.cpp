// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Parsing of --adapter.
#include "lib/Pipelines/AdapterOptions.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSet.h"
#include <cmath>

using namespace adapter;
using checkpoint::Error;
using checkpoint::Result;
using llvm::StringRef;

static bool isName(StringRef name) {
  auto starts = [](char c) { return llvm::isAlpha(c) || c == '_'; };
  return !name.empty() && starts(name.front()) &&
         llvm::all_of(name, [&](char c) { return starts(c) || llvm::isDigit(c) || c == '.' || c == '-'; });
}

static Result<AdapterRequest> parseAdapter(StringRef value) {
  auto wrong = [&](const llvm::Twine &what) {
    return Error{("--adapter " + value + ": " + what + "; expected NAME=PATH[@TIME][:scale=S]").str()};
  };
  auto [name, rest] = value.split('=');
  AdapterRequest request;
  request.name = name.str();
  if (!value.contains('='))
    return wrong("names no path");
  if (!isName(name))
    return wrong("a name consists of letters, digits, '_', '.' and '-' and starts with a letter or '_'");
  if (name == "base" || name == "merged" || name == "staged" || name == "expanded")
    return wrong("the name '" + name + "' is taken by the model's own parameters");
  auto [path, scale] = rest.rsplit(":scale=");
  if (scale == "@call")
    return wrong("scales that come with the call are not there yet");
  double factor = 1.0;
  if (path.size() != rest.size() && !scale.empty() && !scale.getAsDouble(factor)) {
    if (!std::isfinite(factor))
      return wrong("the scale is no finite number");
    request.scale = factor;
    rest = path;
  }
  auto [before, time] = rest.rsplit('@');
  if (before.size() != rest.size()) {
    if (time == "row-token" || time == "auto" || time == "call")
      return wrong("the time '" + time + "' is not there yet");
    if (time == "build" || time == "switch" || time == "row") {
      request.time = *symbolizeBindingTime(time);
      rest = before;
    }
  }
  if (rest.empty())
    return wrong("names no path");
  request.path = rest.str();
  return request;
}

Result<std::vector<AdapterRequest>> adapter::parseAdapters(const std::vector<std::string> &values) {
  std::vector<AdapterRequest> requests;
  llvm::StringSet<> names;
  for (const std::string &value : values) {
    Result<AdapterRequest> request = parseAdapter(value);
    if (!request)
      return request.error();
    if (!names.insert(request->name).second)
      return Error{"--adapter " + value + ": the name '" + request->name + "' is there twice"};
    requests.push_back(std::move(*request));
  }
  return requests;
}
