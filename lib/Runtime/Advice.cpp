// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What is said of adapters and properties that are not there: what there is instead, and what to compile to have it.
#include "lib/Checkpoint/Text.h"
#include "lib/Runtime/Manifest.h"
#include "lib/Runtime/Model.h"
#include <algorithm>

namespace adapter::runtime {

// The options of adapter-opt that make a property of an adapter settable.
static std::string optionsFor(const std::string &adapter, const std::string &property) {
  std::string option = "--adapter " + adapter + "=PATH@row";
  if (property == "scale")
    return option + ":scale=@call";
  return property == "rank" ? option + " --bind " + adapter + ".rank@call" : option;
}

Error Model::unknownAdapter(const Snapshot &state, const std::string &name,
                            const std::string &property) const {
  const artifact::Manifest &manifest = artifact->manifest;
  std::string example = property.empty() ? "" : " and set NAME." + property;
  for (const artifact::Slot &slot : manifest.slots())
    if (slot.name() == name)
      return Error{"'" + name + "' is a slot, not an adapter; load one into it (--load NAME=PATH,slot=" +
                   name + ")" + (property.empty() ? " and name that" : example)};
  for (const artifact::Attachment &each : manifest.attachments())
    if (each.adapter() == name)
      return Error{"adapter '" + name +
                   "' was bound at build: it is part of the weights and acts in every call" +
                   (property.empty() ? "; for calls to choose it"
                                     : "; for '" + name + "." + property + "' to be settable") +
                   ", compile the model with " + optionsFor(name, property)};
  std::string known;
  std::vector<std::string> names;
  for (const auto &[each, live] : state.adapters) {
    known += (known.empty() ? "" : ", ") + each + " (" + timeName(live.source->time) + ")";
    names.push_back(each);
  }
  std::string guess = checkpoint::didYouMean(name, names);
  return Error{"there is no adapter '" + name + "'" + guess + (guess.empty() ? "; there" : " There") +
               " are: " + (known.empty() ? "none" : known)};
}

Error Model::unknownProperty(const Snapshot &state, const std::string &text) const {
  const std::vector<std::string> properties = {"scale", "rank", "task"};
  std::vector<std::string> candidates;
  for (const auto &scalar : artifact->manifest.scalars())
    candidates.push_back(scalar.name());
  // The adapter's part may hold dots of its own and is judged apart from the property: "sq1.scael" is a guess too far,
  // "sql.scael" is not.
  size_t dot = text.rfind('.');
  std::string name = text.substr(0, dot);
  auto adapter = state.adapters.find(name);
  for (const std::string &property : properties)
    for (const auto &[each, live] : state.adapters)
      if (adapter == state.adapters.end() || each == name)
        candidates.push_back(each + "." + property);
  std::string guess = checkpoint::didYouMean(text, candidates);
  if (guess.empty() && dot != std::string::npos && adapter != state.adapters.end())
    guess = checkpoint::didYouMean(text.substr(dot + 1), properties);
  std::string known;
  for (const auto &scalar : artifact->manifest.scalars())
    known += ", " + scalar.name();
  return Error{"'" + text + "' cannot be set" + guess + (guess.empty() ? "; expected" : " Expected") +
               " <adapter>.scale, <adapter>.rank or <adapter>.task" +
               (known.empty() ? "" : ", or one of" + known.substr(1))};
}

Error Model::notBound(const Source &source, const std::string &property) {
  std::string text = source.name + "." + property;
  std::string bind = source.slot.empty() ? text : source.slot + "." + property;
  std::string how = "compile the model with ";
  if (source.inWeights()) // only calls and rows have settings of their own
    how += source.slot.empty() ? optionsFor(source.name, property)
                               : "that slot at @row and --bind " + bind + "@call";
  else
    how += "--bind " + bind + "@call" +
           (source.slot.empty() && property == "scale" ? ", or " + optionsFor(source.name, property) : "");
  return Error{"'" + text + "' was not compiled to come with the call; " + how +
               ", or set it between calls, as adapter-run --set " + text + " does"};
}

} // namespace adapter::runtime
