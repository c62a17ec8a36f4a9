// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// See Texts.h.
#include "lib/RunTool/Texts.h"
#include "lib/RunTool/InputFiles.h"
#include <algorithm>
#include <cstdlib>
#include <map>

namespace adapter::runtool {

namespace {

std::pair<std::string, std::string> splitPair(const std::string &text, const char *option, const char *form) {
  size_t equals = text.find('=');
  if (equals == 0 || equals == std::string::npos || equals + 1 == text.size())
    throw UsageError{std::string(option) + " " + text + ": expected " + form};
  return {text.substr(0, equals), text.substr(equals + 1)};
}

// Inputs by name and file. Which ones archives hold is seen when they are read.
void readInputTexts(const std::vector<std::string> &texts, Options &options) {
  std::map<std::string, size_t> names;
  bool hasArchives = false;
  for (const std::string &text : texts) {
    if (text.find('=') == std::string::npos && isArchive(text)) {
      options.inputs.emplace_back("", text);
      hasArchives = true;
      continue;
    }
    options.inputs.push_back(splitPair(text, "--input", "NAME=FILE.npy, NAME=FILE.npz or FILE.npz"));
    if (names[options.inputs.back().first]++ && !options.hasBatches)
      throw UsageError{"--input " + options.inputs.back().first + " is given twice"};
  }
  if (hasArchives)
    return;
  for (const auto &[name, count] : names)
    if (count != names.begin()->second)
      throw UsageError{"--input " + name + " is given " + std::to_string(count) + " times and --input " +
                       names.begin()->first + " " + std::to_string(names.begin()->second) +
                       " times; each batch needs both"};
}

// The adapters of rows, and of tokens where a row names several.
void readRowAdapters(const std::string &text, Options &options) {
  options.rowAdapters.emplace(1);
  std::vector<size_t> tokens{1}; // of each row
  for (char c : text)
    if (c == ',' || c == '/') {
      options.rowAdapters->emplace_back();
      c == ',' ? tokens.push_back(1) : void(++tokens.back());
    } else {
      options.rowAdapters->back() += c;
    }
  if (text.find('/') != std::string::npos)
    options.tokens = tokens.front();
  for (size_t count : tokens)
    if (count != tokens.front())
      throw UsageError{"--row-adapters " + text + ": a row names adapters for " +
                       std::to_string(tokens.front()) + " tokens, another for " + std::to_string(count)};
  for (std::string &name : *options.rowAdapters) {
    if (name.empty())
      throw UsageError{"--row-adapters " + text + ": a name is empty; '-' stands for no adapter"};
    if (name == "-")
      name.clear();
  }
}

// "3,17,9"
std::vector<int64_t> readTokens(const std::string &text, const char *option) {
  std::vector<int64_t> tokens;
  size_t at = 0;
  while (at <= text.size()) {
    size_t comma = std::min(text.find(',', at), text.size());
    std::string word = text.substr(at, comma - at);
    bool isNumber =
        !word.empty() && word.size() < 19 && word.find_first_not_of("0123456789") == std::string::npos;
    if (!isNumber)
      throw UsageError{std::string(option) + " " + text + ": '" + word + "' is no token; expected 3,17,9"};
    tokens.push_back(std::stoll(word));
    at = comma + 1;
  }
  return tokens;
}

} // namespace

void readTexts(const Texts &texts, bool hasRows, Options &options) {
  for (const std::string &text : texts.loads) {
    auto [name, path] = splitPair(text, "--load", "NAME=PATH[,slot=SLOT]");
    Load load{name, path, std::nullopt};
    // Read from the right: a path may hold commas of its own.
    if (size_t comma = path.rfind(",slot="); comma != std::string::npos) {
      load.path = path.substr(0, comma);
      load.slot = path.substr(comma + 6);
    }
    options.loads.push_back(std::move(load));
  }
  for (const std::string &text : texts.settings) {
    auto [name, value] = splitPair(text, "--set", "NAME.scale=NUMBER or NAME.rank=NUMBER");
    char *end = nullptr;
    double number = std::strtod(value.c_str(), &end);
    if (*end)
      throw UsageError{"--set " + text + ": '" + value + "' is no number"};
    options.settings.emplace_back(name, number);
  }
  for (const std::string &text : texts.prompts)
    options.prompts.push_back(readTokens(text, "--ids"));
  if (!texts.ends.empty())
    options.ends = readTokens(texts.ends, "--end");
  readInputTexts(texts.inputs, options);
  if (hasRows)
    readRowAdapters(texts.rowAdapters, options);
}

} // namespace adapter::runtool
