// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// From words to what they mean, and what the command line alone decides about adapters.
#include "lib/Pipelines/CommandLine.h"
#include "lib/Pipelines/Compile.h"
#include "lib/Pipelines/Files.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"

using namespace adapter;
using checkpoint::Done;
using checkpoint::Error;
using checkpoint::Result;
using checkpoint::Status;
using llvm::StringRef;

bool CommandLine::isCode() const {
  StringRef file = output;
  return file.ends_with(".adapt") || file.ends_with(".ll") || file.ends_with(".s") || file.ends_with(".o") ||
         file.ends_with(".ptx") || file.ends_with(".hsaco") || file.ends_with(".spv");
}

bool CommandLine::isMerged() const {
  FileKind kind = fileKindOf(output);
  return kind == FileKind::ONNX || (kind == FileKind::Unknown && !isCode());
}

static bool isOneFile(const CommandLine &line) {
  return line.inputs.size() == 1 && !llvm::sys::fs::is_directory(line.inputs.front());
}

bool CommandLine::isText() const {
  return isOneFile(*this) && fileKindOf(inputs.front()) != FileKind::ONNX && output == "-" &&
         compileTo.empty() && !hasAdapters() && !partition.ranks;
}

// What the command line alone decides about adapters; "" where all is well.
static std::string whyWrong(const CommandLine &line) {
  if (line.report != "text" && line.report != "json" && line.report != "html")
    return "--report=" + line.report + ": the reports are text, json and html";
  bool isPlanned = line.plan && !line.partition.ranks;
  if (!line.hasAdapters() && (line.attach.checkOnly || isPlanned || !line.attach.ignoreMissing.empty()))
    return "--check, --plan and --ignore-missing are about adapters, and there is no --adapter";
  if (!line.hasAdapters() && (!line.attach.base.empty() || !line.attach.renamings.empty() ||
                              line.attach.noBase || line.attach.allowOtherBase || line.attach.requireProof))
    return "--base, --no-base, --allow-other-base, --require-proof and --map say where adapters go, and "
           "there is no --adapter";
  if (line.attach.noBase && !line.attach.base.empty())
    return "--no-base and --base contradict each other";
  if (line.attach.checkOnly && !line.compileTo.empty())
    return "--check compiles nothing; leave out --compile-to";
  if (line.partition.ranks && !line.endsWithPlan() &&
      (line.attach.checkOnly || (!line.isCode() && line.compileTo.empty()) || line.endsBefore("optimise")))
    return "--partition-experts is about compiled code; write an .adapt, or see what it does with --plan";
  if (Result<Target> target = resolveTarget(line.target);
      line.partition.ranks && target && isDevice(target->codegen.kind))
    return "--partition-experts: experts are partitioned over processors, not over devices; leave out "
           "--target";
  if (!line.isMerged() || line.endsWithPlan())
    return "";
  for (const AdapterRequest &request : line.adapters.adapters)
    if (request.time != BindingTime::Build && !request.automatic)
      return "adapter '" + request.name + "' acts at " + stringifyBindingTime(request.time).str() +
             ", but in an .onnx file adapters can only be merged; write an .adapt, or leave the time out";
  for (const SlotRequest &slot : line.adapters.slots)
    return "slot '" + slot.name + "' is room in an .adapt; an .onnx file has none";
  return "";
}

// OLD=NEW and INPUT=N.
static Status readPairs(const Words &words, CommandLine &line) {
  for (const std::string &text : words.renamings) {
    auto [from, to] = StringRef(text).split('=');
    if (from.empty() || !StringRef(text).contains('='))
      return Error{"--map " + text + ": expected OLD=NEW, two paths of modules"};
    line.attach.renamings.push_back({from.str(), to.str()});
  }
  if (words.rowAxis.empty())
    return Done{};
  auto [input, axis] = StringRef(words.rowAxis).rsplit('=');
  if (input.empty() || axis.getAsInteger(10, line.rowAxis) || line.rowAxis < 0)
    return Error{"--row-axis " + words.rowAxis + ": expected INPUT=N with N an axis, counted from 0"};
  line.rowInput = input.str();
  return Done{};
}

// "int4:group=64"
static Status readWeights(const Words &words, CommandLine &line) {
  if (!words.weights)
    return Done{};
  auto [number, rest] = StringRef(*words.weights).split(':');
  bool isInteger = number == "int8" || number == "int4";
  std::string where = "--weights " + *words.weights;
  if (!isInteger && number != "bf16" && number != "f16")
    return Error{where + ": the formats are bf16, f16, int8 and int4"};
  line.weights = number.str();
  if (rest.empty() && !StringRef(*words.weights).ends_with(":"))
    return Done{};
  if (!rest.consume_front("group=") || rest.getAsInteger(10, line.weightGroup) || line.weightGroup < 16 ||
      line.weightGroup > 256 || line.weightGroup % 16)
    return Error{where + ": expected int4:group=N with N a multiple of 16 from 16 to 256"};
  return isInteger ? Status(Done{}) : Status(Error{where + ": " + number.str() + " has no groups"});
}

static Status readActivations(const Words &words, CommandLine &line) {
  if (!words.activations)
    return Done{};
  std::string where = "--activations " + *words.activations;
  if (*words.activations != "int8" && *words.activations != "bf16" && *words.activations != "f32")
    return Error{where + ": they are int8, bf16 or f32"};
  line.bf16Activations = *words.activations == "bf16";
  if (line.bf16Activations)
    return line.weights == "bf16" ? Status(Done{})
                                  : Status(Error{where + ": is for weights of bf16; add --weights bf16"});
  line.integerActivations = *words.activations == "int8";
  // Without --weights it is about those that the model has.
  if (line.integerActivations && !line.weights.empty() && line.weights != "int8" && line.weights != "int4")
    return Error{where + ": is for weights of integers; add --weights int8 or int4"};
  if (line.integerActivations && line.weightGroup % 32)
    return Error{where + ": needs groups of 32, 64, ... rows, not of " + std::to_string(line.weightGroup)};
  return Done{};
}

static Status readExtendedOptions(const Words &words, CommandLine &line) {
  if (Status status = readWeights(words, line); !status)
    return status;
  if (Status status = readActivations(words, line); !status)
    return status;
  if (Status status = readPairs(words, line); !status)
    return status;
  line.forms = words.forms;
  Result<AdapterOptions> requests =
      parseAdapterOptions({words.adapters, words.combinations, words.slots, words.bindings});
  if (!requests)
    return requests.error();
  line.adapters = std::move(*requests);
  if (!words.partition)
    return Done{};
  Result<PartitionOptions> parsed = parsePartitionOptions(*words.partition);
  if (!parsed)
    return parsed.error();
  line.partition = std::move(*parsed);
  line.partition.plan = words.plan;
  return Done{};
}

// Of --check the output is the report.
static void readOutput(const Words &words, CommandLine &line) {
  line.output = words.check ? "-" : words.output.value_or("-");
  line.reportFile = words.output.value_or("-");
  StringRef suffix = llvm::sys::path::extension(line.reportFile);
  line.report = words.report.value_or(suffix == ".json" ? "json" : suffix == ".html" ? "html" : "text");
}

Result<CommandLine> adapter::interpret(const Words &words) {
  CommandLine line;
  line.inputs = words.inputs;
  readOutput(words, line);
  line.isOutputGiven = words.output.has_value();
  line.quiet = words.quiet;
  line.target = words.target;
  line.compileTo = words.compileTo;
  line.allowLossyMerge = line.attach.mergesIntegers = words.lossy;
  line.plan = words.plan;
  line.listForms = words.listForms;
  line.stateful = words.stateful;
  line.attach.ignoreMissing = words.ignoreMissing;
  line.attach.base = words.base;
  line.attach.noBase = words.noBase;
  line.attach.allowOtherBase = words.allowOtherBase;
  line.attach.requireProof = words.requireProof;
  line.attach.checkOnly = words.check;
  line.attach.norms = words.check && line.report != "text";
  line.attach.mergeOnly = line.isMerged();
  if (Status status = readExtendedOptions(words, line); !status)
    return status.error();
  if (words.report && !words.check)
    return Error{"--report=" + *words.report + " says how --check reports; add --check"};
  if (std::string wrong = whyWrong(line); !wrong.empty())
    return Error{wrong};
  Result<Target> resolved = resolveTarget(line.target);
  TargetKind kind = resolved ? resolved->codegen.kind : TargetKind::CPU;
  line.attach.onDevice = isDevice(kind);
  if (line.attach.onDevice && !line.weights.empty())
    return Error{"--weights " + *words.weights + ": not yet for the target " + line.target};
  if (!line.weights.empty() && line.isMerged())
    return Error{"--weights " + *words.weights + ": is for compiled models; -o model.adapt makes one"};
  std::vector<StringRef> phases = compilePhases(kind);
  if (!line.compileTo.empty() && !llvm::is_contained(phases, line.compileTo))
    return Error{"--compile-to=" + line.compileTo + ": the phases are " + llvm::join(phases, ", ")};
  if (line.inputs.empty())
    line.inputs.push_back("-");
  if (isOneFile(line) && !line.isCode() && fileKindOf(line.output) == FileKind::Unknown &&
      !llvm::sys::fs::is_directory(line.output))
    return Error{line.output + ": the output's suffix is none of .onnx, .mlir, .mlirbc, .ll, .s, .o, "
                               ".ptx, .hsaco, .spv and .adapt"};
  return line;
}
