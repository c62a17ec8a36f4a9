// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The command line of adapter-run; see RunTool.h.
#include "lib/RunTool/RunTool.h"
#include "adapter-rt/artifact.h"
#include "adapter/Version.h"
#include "lib/Checkpoint/DType.h"
#include "lib/Checkpoint/File.h"
#include "lib/Checkpoint/Temporary.h"
#include "lib/Checkpoint/Text.h"
#include "lib/RunTool/GenerateCommand.h"
#include "lib/RunTool/InputFiles.h"
#include "lib/RunTool/OpenModel.h"
#include "lib/RunTool/Processes.h"
#include "lib/RunTool/ProfileCommand.h"
#include "lib/RunTool/Texts.h"
#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <set>

namespace adapter::runtool {

namespace {

constexpr int inputFault = 1, wrongUsage = 2;

int report(const Error &error) {
  std::fprintf(stderr, "adapter-run: error: %s\n", checkpoint::printable(error.message).c_str());
  return inputFault;
}

void summarise(const std::vector<Tensor> &outputs) {
  for (const Tensor &output : outputs) {
    std::printf("%s: %s %s", output.key.c_str(), checkpoint::dtypeName(output.dtype).c_str(),
                checkpoint::shapeText(output.shape).c_str());
    Result<Tensor> values = checkpoint::toF32(output);
    int64_t count = output.elements();
    if (values && count) {
      const float *data = reinterpret_cast<const float *>(values->data);
      double sum = 0;
      for (int64_t i = 0; i < count; ++i)
        sum += data[i];
      std::printf(", min %g, max %g, mean %g", *std::min_element(data, data + count),
                  *std::max_element(data, data + count), sum / static_cast<double>(count));
    }
    std::printf("\n");
  }
}

double milliseconds(std::chrono::steady_clock::time_point since) {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - since).count();
}

void printTimes(const char *what, std::vector<double> times) {
  std::sort(times.begin(), times.end());
  std::printf("%s: median %.3f ms, min %.3f ms, max %.3f ms, %zu runs\n", what, times[times.size() / 2],
              times.front(), times.back(), times.size());
}

// Of processes that run one model, the first speaks for all.
bool isSilent(const Options &options) { return options.processes && options.processes->rank != 0; }

int runCommand(OpenModel &model, const Options &options) {
  // Before the work is done.
  if (!options.output.empty()) {
    Result<size_t> count = model.outputCount();
    if (!count)
      return report(count.error());
    if (std::string complaint = complaintOfOutput(options.output, *count); !complaint.empty())
      return report(Error{complaint});
  }
  Result<std::vector<Tensor>> outputs = model.call();
  if (!outputs)
    return report(outputs.error());
  if (Status status = model.confirm(); !status)
    return report(status.error());
  if (isSilent(options))
    return 0;
  if (options.output.empty()) {
    summarise(*outputs);
    return 0;
  }
  Status written = writeOutputs(options.output, *outputs);
  return written ? 0 : report(written.error());
}

int benchCommand(OpenModel &model, const Options &options) {
  // Before anything is timed, so that the check takes no part in it.
  if (Status status = model.confirm(); !status)
    return report(status.error());
  std::vector<double> times;
  // Some calls first: caches fill and the model's memory is obtained.
  for (int i = -3; i < options.runs; ++i) {
    auto start = std::chrono::steady_clock::now();
    Result<std::vector<Tensor>> outputs = model.call();
    if (!outputs)
      return report(outputs.error());
    if (i >= 0)
      times.push_back(milliseconds(start));
  }
  if (!isSilent(options))
    printTimes("call", std::move(times));
  return 0;
}

int switchCommand(OpenModel &model, const Options &options) {
  if (Status status = model.confirm(); !status)
    return report(status.error());
  std::vector<double> in, out;
  for (int i = -1; i < options.runs; ++i) {
    auto start = std::chrono::steady_clock::now();
    Status status = model.switchTo(options.adapter->c_str());
    double there = milliseconds(start);
    start = std::chrono::steady_clock::now();
    if (status)
      status = model.switchTo(nullptr);
    if (!status)
      return report(status.error());
    if (i >= 0) {
      in.push_back(there);
      out.push_back(milliseconds(start));
    }
  }
  printTimes(("switch to " + *options.adapter).c_str(), std::move(in));
  printTimes("switch back", std::move(out));
  return 0;
}

int infoCommand(OpenModel &model) {
  Result<std::string> info = model.info();
  if (!info)
    return report(info.error());
  if (Status status = model.confirm(); !status)
    return report(status.error());
  std::printf("%s\n", info->c_str());
  return 0;
}

int verifyCommand(OpenModel &model, const Options &options) {
  if (Status status = model.verify(); !status)
    return report(status.error());
  std::printf("%s: every file is as it was compiled\n", options.model.c_str());
  return 0;
}

int profileCommand(OpenModel &model, const Options &options) {
  Status done = profileRouting(model, options.output);
  return done ? 0 : report(done.error());
}

int generateCommand(OpenModel &model, const Options &options) {
  Status done = generate(model, options);
  return done ? 0 : report(done.error());
}

struct CommandLine {
  CLI::App app{"Runs models that adapter-opt compiled."};
  Options options;
  Texts texts;
  std::string adapter;
  CLI::App *run, *info, *bench, *verify, *switching, *profile, *generating;

  CommandLine() {
    app.name("adapter-run");
    app.footer("The word `run` may be left out:\n"
               "  adapter-run model.adapt --input ids=ids.npy --row-adapters sql,-,fr --output out.npz\n\n"
               "Exit codes: 0 done, 1 the model, an adapter or an input is at fault, 2 wrong usage.");
    app.set_version_flag("--version", "adapter-run " ADAPTER_VERSION "\nartifact ABI " +
                                          std::to_string(ADAPTER_ABI_VERSION));
    app.require_subcommand(1);
    run = command("run", "Run the model once");
    bench = command("bench", "Time calls of the model");
    switching = command("switch", "Time switching an adapter into the weights and out again");
    profile = command("profile", "Write which experts the model's routers choose, for --partition-experts");
    generating = command("generate", "Continue texts, token by token, with a model compiled with --stateful");
    info = command("info", "Print what the model is made of, as JSON");
    verify = command("verify", "Compare every file of the model with its hash");
    for (CLI::App *each : {run, bench, switching, info, profile, generating})
      each->add_option("--load", texts.loads, "Load a PEFT folder first: NAME=PATH[,slot=SLOT]; repeatable")
          ->allow_extra_args(false);
    for (CLI::App *each : {run, bench, switching, info, profile, generating})
      each->add_flag("--no-check", options.noCheck,
                     "Answer without having compared all files with their hashes; damage may go unseen");
    for (CLI::App *each : {run, bench, switching, info, profile, generating})
      each->add_flag("--allow-other-base", options.allowOtherBase,
                     "Load adapters also where they say that they were made of another base");
    for (CLI::App *each : {run, bench})
      each->add_option("--collectives", options.collectives,
                       "How processes that share the experts talk; default: mpi under mpirun")
          ->check(CLI::IsMember({"auto", "mpi", "none"}));
    for (CLI::App *each : {run, bench, profile, generating}) {
      CLI::Option *one =
          each->add_option("--adapter", adapter,
                           "What acts on all rows, an adapter or shares: 0.7*a+0.3*b; or one to switch in");
      each->add_option("--row-adapters", texts.rowAdapters,
                       "The same for each row, - for none: a,b,-,0.7*a+0.3*b; or for each token: a/a/-,b/-/-")
          ->excludes(one);
      each->add_option("--set", texts.settings, "Set a property: NAME.scale=0.7 or NAME.rank=4; repeatable")
          ->allow_extra_args(false);
      each->add_option("--entry", options.entry,
                       "Which graph, where the model has several; default: the first");
      if (each == generating)
        continue;
      each->add_option(
              "--input", texts.inputs,
              std::string("Inputs from files of NumPy: NAME=FILE.npy, FILE.npz with all its arrays under "
                          "their names, or NAME=FILE.npz, its array of that name or its only one; ") +
                  (each == profile ? "repeatable, once for each batch" : "repeatable"))
          ->allow_extra_args(false);
    }
    generating
        ->add_option(
            "--ids", texts.prompts,
            "The tokens of a text, as in 3,17,9; repeatable, once for each row. Prints the tokens that "
            "follow, the best one each time, a line for each row")
        ->required()
        ->allow_extra_args(false);
    generating->add_option("--end", texts.ends, "Tokens that end a text, as in 2,5");
    generating->add_option("--max-new-tokens", options.newTokens, "Of each text; default: 128")
        ->check(CLI::Range(1, 1 << 30));
    run->add_option(
        "--output", options.output,
        "Write the outputs to an .npz file, or a single one to an .npy file; default: print a summary");
    profile->add_option("-o,--output", options.output, "The profile")->required();
    switching->add_option("--adapter", adapter, "The adapter to switch in")->required();
    for (CLI::App *each : {bench, switching})
      each->add_option("--runs", options.runs, "How many runs are timed; default: 20")
          ->check(CLI::Range(1, 1000000));
  }

  CLI::App *command(const char *name, const char *what) {
    CLI::App *sub = app.add_subcommand(name, what);
    sub->add_option("model", options.model, "The model: a folder, x.adapt")->required();
    sub->add_option("--threads", options.threads,
                    "Threads of a call; default: as many as there are processors")
        ->check(CLI::Range(1, 1024));
    sub->add_option("--memory-limit", options.memoryLimit, "Bytes that calls may use beside the weights")
        ->check(CLI::NonNegativeNumber);
    return sub;
  }

  CLI::App *parse(int argc, char **argv) {
    std::vector<std::string> words(argv + 1, argv + argc);
    const std::set<std::string> first = {"run",     "info",     "bench", "verify", "switch",
                                         "profile", "generate", "-h",    "--help", "--version"};
    if (!words.empty() && !first.count(words[0]))
      words.insert(words.begin(), "run");
    std::reverse(words.begin(), words.end()); // as CLI11 takes them
    app.parse(words);
    CLI::App *chosen = app.get_subcommands().front();
    CLI::Option *rows = chosen->get_option_no_throw("--row-adapters");
    options.hasBatches = chosen == profile;
    readTexts(texts, rows && rows->count(), options);
    if (chosen == run && !options.output.empty())
      if (std::string complaint = complaintOfOutput(options.output, 0); !complaint.empty())
        throw UsageError{"--output " + complaint};
    CLI::Option *one = chosen->get_option_no_throw("--adapter");
    if (one && one->count() && chosen != switching)
      options.adapter = adapter;
    if (options.runs == 0)
      options.runs = 20;
    return chosen;
  }
};

int execute(CommandLine &line, CLI::App *chosen) {
  try {
    Result<std::unique_ptr<OpenModel>> model = OpenModel::open(line.options);
    if (!model)
      return report(model.error());
    if (chosen == line.switching) {
      line.options.adapter = line.adapter;
      return switchCommand(**model, line.options);
    }
    if (chosen == line.bench)
      return benchCommand(**model, line.options);
    if (chosen == line.info)
      return infoCommand(**model);
    if (chosen == line.verify)
      return verifyCommand(**model, line.options);
    if (chosen == line.generating)
      return generateCommand(**model, line.options);
    if (chosen == line.profile)
      return profileCommand(**model, line.options);
    return runCommand(**model, line.options);
  } catch (const std::exception &exception) {
    return report(Error{exception.what()});
  }
}

} // namespace

int adapterRunMain(int argc, char **argv) {
  CommandLine line;
  CLI::App *chosen = nullptr;
  try {
    chosen = line.parse(argc, argv);
  } catch (const CLI::ParseError &error) {
    if (error.get_exit_code() == 0)
      return line.app.exit(error);
    std::fprintf(stderr, "adapter-run: error: %s; try adapter-run --help\n", error.what());
    return wrongUsage;
  } catch (const UsageError &error) {
    std::fprintf(stderr, "adapter-run: error: %s; try adapter-run --help\n", error.message.c_str());
    return wrongUsage;
  }
  checkpoint::removeTemporariesOnSignal();
  std::unique_ptr<Processes> processes;
  bool joins = chosen == line.run || chosen == line.bench;
  if (Result<std::unique_ptr<Processes>> joined = Processes::join(joins ? line.options.collectives : "none"))
    processes = std::move(*joined);
  else
    return report(joined.error());
  line.options.processes = processes ? processes->collectives() : nullptr;
  int code = execute(line, chosen);
  if (Status status = checkpoint::flushStandardOutput(); !code && !status)
    code = report(status.error());
  // Others may wait for this process and would do so for ever.
  if (code && processes)
    processes->abort(code);
  return code;
}

} // namespace adapter::runtool
