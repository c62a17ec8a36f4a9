// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The command line of adapter-opt diff.
#include "lib/Checkpoint/File.h"
#include "lib/Checkpoint/Text.h"
#include "lib/Diff/Diff.h"
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <exception>

namespace adapter::diff {

namespace {

constexpr int inputFault = 1, wrongUsage = 2;

int fail(int code, const std::string &message) {
  std::fprintf(stderr, "adapter-opt: error: %s\n", checkpoint::printable(message).c_str());
  return code;
}

// sparse[,density=D][,mode=add|overwrite] or lora[,rank=R]; the reason why not, or "".
std::string parseForm(const std::string &text, Options &options) {
  std::vector<std::string> parts = CLI::detail::split(text, ',');
  if (parts.empty() || (parts[0] != "sparse" && parts[0] != "lora"))
    return "expected sparse[,density=D][,mode=add|overwrite] or lora[,rank=R]";
  options.form = parts[0] == "sparse" ? Form::Sparse : Form::LowRank;
  for (size_t i = 1; i < parts.size(); ++i) {
    size_t equals = parts[i].find('=');
    std::string name = parts[i].substr(0, equals),
                value = equals == std::string::npos ? "" : parts[i].substr(equals + 1);
    bool sparse = options.form == Form::Sparse;
    if (sparse && name == "mode" && (value == "add" || value == "overwrite"))
      options.overwrite = value == "overwrite";
    else if (sparse && name == "density" && CLI::detail::lexical_cast(value, options.density) &&
             options.density > 0 && options.density <= 1)
      continue;
    else if (!sparse && name == "rank" && CLI::detail::lexical_cast(value, options.rank) && options.rank > 0)
      continue;
    else
      return "'" + parts[i] + "' is none of " +
             (sparse ? "density=D (above 0, up to 1) and mode=add|overwrite" : "rank=R");
  }
  return "";
}

void print(const Report &report, const std::string &folder) {
  size_t width = 6;
  for (const Change &change : report.changes)
    width = std::max(width, change.key.size());
  std::printf("%-*s  %-14s %10s  %s\n", static_cast<int>(width), "tensor", "form", "size", "kept");
  for (const Change &change : report.changes)
    std::printf("%-*s  %-14s %10lld  %.4f%s\n", static_cast<int>(width), change.key.c_str(),
                change.form.c_str(), static_cast<long long>(change.size), change.kept,
                change.tied ? "  a tied output head follows it" : "");
  std::printf("%zu tensors changed, %lld did not; %s holds %.4f of the change (of its sum of squares)\n",
              report.changes.size(), static_cast<long long>(report.unchanged), folder.c_str(), report.kept());
}

} // namespace

int command(int argc, char **argv) {
  CLI::App app{
      "Extracts an adapter from a checkpoint and a changed one.\n\n"
      "A size is a number of elements or a rank; kept is the share of the change's sum of squares that the\n"
      "adapter holds. Changed tensors that have no low-rank form (biases, norms) are kept whole.",
      "adapter-opt diff"};
  std::string base, tuned, form, folder;
  app.add_option("base", base,
                 "The checkpoint before: x.safetensors, or a folder of one file or several shards")
      ->required();
  app.add_option("tuned", tuned,
                 "The checkpoint after, in files of its own: the two may be divided otherwise")
      ->required();
  app.add_option("--as", form, "sparse[,density=D][,mode=add|overwrite] or lora[,rank=R] (rank 16)")
      ->required();
  app.add_option("-o", folder, "The adapter's folder, which must not exist or be empty")->required();
  Options options;
  try {
    app.parse(argc - 1, argv + 1);
  } catch (const CLI::ParseError &error) {
    return error.get_exit_code() == 0
               ? app.exit(error)
               : fail(wrongUsage, std::string(error.what()) + "; try adapter-opt diff --help");
  }
  if (std::string wrong = parseForm(form, options); !wrong.empty())
    return fail(wrongUsage, "--as " + form + ": " + wrong);
  try {
    checkpoint::Result<Report> report = extract(base, tuned, folder, options);
    if (!report)
      return fail(inputFault, report.error().message);
    print(*report, folder);
    checkpoint::Status flushed = checkpoint::flushStandardOutput();
    return flushed ? 0 : fail(inputFault, flushed.error().message);
  } catch (const std::exception &exception) {
    return fail(inputFault, exception.what());
  }
}

} // namespace adapter::diff
