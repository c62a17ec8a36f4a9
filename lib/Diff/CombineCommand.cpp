// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The command line of adapter-opt combine.
#include "lib/Checkpoint/File.h"
#include "lib/Checkpoint/Text.h"
#include "lib/Diff/Combine.h"
#include <CLI/CLI.hpp>
#include <cmath>
#include <cstdio>
#include <exception>

namespace adapter::diff {

using checkpoint::Error;
using checkpoint::Result;

static constexpr int inputFault = 1, wrongUsage = 2;

static int fail(int code, const std::string &message) {
  std::fprintf(stderr, "adapter-opt: error: %s\n", checkpoint::printable(message).c_str());
  return code;
}

// PATH or PATH:WEIGHT.
static Result<Part> parsePart(const std::string &text) {
  Part part{text, 1.0};
  size_t colon = text.rfind(':');
  if (colon == std::string::npos)
    return part;
  if (!CLI::detail::lexical_cast(text.substr(colon + 1), part.weight) || !std::isfinite(part.weight))
    return Error{text + ": '" + text.substr(colon + 1) + "' is not a weight; expected PATH or PATH:WEIGHT"};
  part.path = text.substr(0, colon);
  return part;
}

int combineCommand(int argc, char **argv, const OpenChanges &open) {
  CLI::App app{"Makes one LoRA of several adapters, at the same modules or at others.\n\n" + methodsText(),
               "adapter-opt combine"};
  std::string method, folder, rank;
  std::vector<std::string> texts;
  ModelPaths paths;
  app.add_option("method", method, "METHOD[,SETTING=VALUE...]")->required();
  app.add_option("adapters", texts, "PATH or PATH:WEIGHT each (weight 1)")->required();
  app.add_option("-o", folder, "The adapter's folder, which must not exist or be empty")->required();
  app.add_option("--rank", rank, "The same as the setting rank");
  app.add_option("--model", paths.model,
                 "The model, .onnx or a folder of them: for adapters that are no plain LoRAs");
  app.add_option("--base", paths.base, "Its checkpoint, which proves where they go");
  app.add_option("--forms", paths.forms, "Definitions of methods of your own (docs/own-method.md)")
      ->allow_extra_args(false);
  try {
    app.parse(argc - 1, argv + 1);
  } catch (const CLI::ParseError &error) {
    return error.get_exit_code() == 0
               ? app.exit(error)
               : fail(wrongUsage, std::string(error.what()) + "; try adapter-opt combine --help");
  }
  Result<Combination> how = parseCombination(method + (rank.empty() ? "" : ",rank=" + rank));
  if (!how)
    return fail(wrongUsage, method + ": " + how.error().message);
  std::vector<Part> parts;
  for (const std::string &text : texts) {
    Result<Part> part = parsePart(text);
    if (!part)
      return fail(wrongUsage, part.error().message);
    parts.push_back(*part);
  }
  try {
    Result<Combined> made = combine(*how, parts, open(paths).get());
    if (!made)
      return fail(inputFault, made.error().message);
    if (checkpoint::Status written = made->write(folder); !written)
      return fail(inputFault, written.error().message);
    std::printf("%s: of %zu adapters %s\n", folder.c_str(), parts.size(), made->text().c_str());
    checkpoint::Status flushed = checkpoint::flushStandardOutput();
    return flushed ? 0 : fail(inputFault, flushed.error().message);
  } catch (const std::exception &exception) {
    return fail(inputFault, exception.what());
  }
}

} // namespace adapter::diff
