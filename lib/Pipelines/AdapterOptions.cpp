// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Parsing of --adapter, --adapter-slot, --combine and --bind.
#include "lib/Pipelines/AdapterOptions.h"
#include "lib/Checkpoint/Text.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include <cmath>

using namespace adapter;
using checkpoint::Done;
using checkpoint::Error;
using checkpoint::Result;
using checkpoint::Status;
using llvm::StringRef;

// Why something cannot be the name of an adapter or slot; "" if it can.
static std::string whyNoName(StringRef name) {
  auto starts = [](char c) { return llvm::isAlpha(c) || c == '_'; };
  if (name.empty() || !starts(name.front()) ||
      !llvm::all_of(name, [&](char c) { return starts(c) || llvm::isDigit(c) || c == '.' || c == '-'; }))
    return "a name consists of letters, digits, '_', '.' and '-' and starts with a letter or '_'";
  if (name == "base" || name == "merged" || name == "staged" || name == "expanded")
    return ("the name '" + name + "' is taken by the model's own parameters").str();
  return "";
}

// A property of an adapter at one of these times can come with the call; "" or why not.
static std::string whyNotBound(StringRef name, StringRef property, BindingTime time, bool automatic) {
  if (property != "scale" && property != "rank" && property != "task")
    return ("the property '" + property + "' of '" + name +
            "' cannot come with the call yet; scale, rank and task can")
        .str();
  if (automatic)
    return ("'" + name + "' leaves its time open; what comes with the call needs @call or @row").str();
  if (time == BindingTime::Call || time == BindingTime::Row)
    return "";
  return ("'" + name + "' acts at " + stringifyBindingTime(time) +
          ", in weights that all calls share; what comes with the call needs @call or @row")
      .str();
}

//===----------------------------------------------------------------------===//
// --adapter
//===----------------------------------------------------------------------===//

static constexpr StringRef adapterTimes[] = {"build", "switch", "call", "row", "row-token", "auto"};

// " (did you mean 'x'?)" where a word is like one of these.
static std::string nearest(StringRef word, llvm::ArrayRef<StringRef> words) {
  std::string best = checkpoint::nearestName(word.str(), {words.begin(), words.end()});
  return best.empty() ? "" : " (did you mean '" + best + "'?)";
}

// Whether a word names a time; sets it then.
static bool setTime(StringRef word, AdapterRequest &request) {
  if (!llvm::is_contained(adapterTimes, word))
    return false;
  request.byToken = word == "row-token";
  request.automatic = word == "auto";
  // By row until the plan knows better: the loosest time there is.
  bool isRow = request.byToken || request.automatic;
  request.time = isRow ? BindingTime::Row : *symbolizeBindingTime(word);
  return true;
}

// Whether a text is what may stand behind :scale=; sets it then.
static bool setScale(StringRef text, AdapterRequest &request) {
  if (text == "@call") {
    request.bound.push_back("scale");
    return true;
  }
  return !text.empty() && !text.getAsDouble(request.scale) && std::isfinite(request.scale);
}

// Takes @TIME and :scale=S off the end of a path, or of what is none, in either order. A path may have such characters
// itself: what exists as it stands is a path.
static Status takeSuffixes(StringRef &rest, AdapterRequest &request, bool isPath = true) {
  static constexpr StringRef scaleMark = ":scale=";
  bool hasTime = false, hasScale = false;
  while (true) {
    size_t scale = rest.rfind(scaleMark), time = rest.rfind('@');
    bool isScale =
        scale != StringRef::npos && (time == StringRef::npos || time < scale + scaleMark.size() + 1);
    if (!isScale && time == StringRef::npos)
      return Done{};
    StringRef before = rest.take_front(isScale ? scale : time);
    StringRef word = rest.drop_front(isScale ? scale + scaleMark.size() : time + 1);
    bool &isThere = isScale ? hasScale : hasTime;
    if (!isThere && (isScale ? setScale(word, request) : setTime(word, request))) {
      isThere = true;
      rest = before;
      continue;
    }
    if (isPath && (word.contains('/') || llvm::sys::fs::exists(rest)))
      return Done{};
    if (isThere)
      return Error{isScale ? "has two scales" : "has two times"};
    if (isScale)
      return Error{("the scale '" + word + "' is not a finite number, nor @call").str()};
    if (!isPath)
      return Error{("'" + word + "' is not a time").str() + nearest(word, adapterTimes)};
    if (word == "load")
      return Error{
          "what is loaded later needs room only: --adapter-slot NAME:FORM[+FORM...]@load here, and the "
          "adapter itself with adapter-run --load NAME=PATH"};
    return Error{("'" + rest + "' does not exist, and '" + word + "' is not a time").str() +
                 nearest(word, adapterTimes)};
  }
}

// A name made of a path: the folder's, or the file's where it has one of its own.
static std::string nameOfPath(StringRef path) {
  namespace paths = llvm::sys::path;
  path = path.rtrim('/');
  StringRef stem = paths::stem(path), suffix = paths::extension(path);
  bool isFile = suffix == ".safetensors" || suffix == ".gguf" || suffix == ".onnx_adapter";
  bool isUsual = stem == "adapter_model" || stem == "adapter" || stem == "adapters";
  llvm::SmallString<128> folder(isFile && isUsual ? paths::parent_path(path) : path);
  if (!isFile || isUsual)
    llvm::sys::fs::make_absolute(folder);
  paths::remove_dots(folder, /*remove_dot_dot=*/true);
  std::string name = (isFile && !isUsual ? stem : paths::filename(folder)).str();
  for (char &c : name)
    if (!llvm::isAlnum(c) && c != '_' && c != '.' && c != '-')
      c = '_';
  bool starts = !name.empty() && (llvm::isAlpha(name.front()) || name.front() == '_');
  return starts ? name : "_" + name;
}

static Result<AdapterRequest> parseAdapter(StringRef value) {
  auto wrong = [&](const llvm::Twine &what) {
    return Error{
        ("--adapter " + value + ": " + what + "; expected [NAME=]PATH[@TIME][:scale=S|:scale=@call]").str()};
  };
  auto [name, rest] = value.split('=');
  // What stands before the first '=' is a name, unless it cannot be anything but a part of the path.
  bool isNamed = value.contains('=') && name.find_first_of("/:@") == StringRef::npos;
  if (!isNamed)
    rest = value;
  AdapterRequest request;
  if (Status status = takeSuffixes(rest, request); !status)
    return wrong(status.error().message);
  if (rest.empty())
    return wrong("names no path");
  request.path = rest.str();
  request.name = isNamed ? name.str() : nameOfPath(rest);
  if (std::string why = whyNoName(request.name); !why.empty())
    return wrong(why);
  return request;
}

//===----------------------------------------------------------------------===//
// --combine
//===----------------------------------------------------------------------===//

// NAME=METHOD:ADAPTER[=WEIGHT],..: words that are adapters' names are parts, others the method's settings.
static Result<AdapterRequest> parseCombination(StringRef value, AdapterOptions &options) {
  auto wrong = [&](const llvm::Twine &what) {
    return Error{("--combine " + value + ": " + what +
                  "; expected NAME=METHOD:ADAPTER[=WEIGHT],ADAPTER[=WEIGHT]...[,SETTING=VALUE...][@TIME]")
                     .str()};
  };
  AdapterRequest request;
  auto [name, rest] = value.split('=');
  if (std::string why = whyNoName(name); !why.empty())
    return wrong(why);
  if (Status status = takeSuffixes(rest, request, /*isPath=*/false); !status)
    return wrong(status.error().message);
  request.name = name.str();
  request.path = rest.str();
  CombinationRequest combination{request.name, {}, {}, {}};
  auto [method, list] = rest.split(':');
  std::string settings = method.str(), known;
  for (const AdapterRequest &each : options.adapters)
    known += (known.empty() ? "" : ", ") + each.name;
  llvm::SmallVector<StringRef> words;
  list.split(words, ',', /*MaxSplit=*/-1, /*KeepEmpty=*/false);
  for (StringRef word : words) {
    auto [key, weight] = word.split('=');
    auto isKey = [name = key](const AdapterRequest &each) { return each.name == name; };
    auto part = llvm::find_if(options.adapters, isKey);
    if (part == options.adapters.end()) {
      settings += ("," + word).str();
      continue;
    }
    if (diff::hasSetting(method.str(), key.str()))
      return wrong("'" + key + "' is an adapter and a setting; call the adapter otherwise");
    double number = 1;
    if (word.contains('=') && (weight.getAsDouble(number) || !std::isfinite(number)))
      return wrong("the weight '" + weight + "' of '" + key + "' is not a finite number");
    combination.parts.push_back({part->path, number * part->scale});
    combination.names.push_back(part->name);
  }
  Result<diff::Combination> how = diff::parseCombination(settings);
  if (!how)
    return Error{("--combine " + value + ": " + how.error().message +
                  "; adapters are: " + (known.empty() ? "none" : known))
                     .str()};
  combination.how = *how;
  if (combination.parts.empty())
    return wrong("names no adapter; there are: " + (known.empty() ? "none" : known));
  options.combinations.push_back(std::move(combination));
  return request;
}

// What others are made of does not act by itself, so that nothing about its acting can be asked for.
static Status removeParts(AdapterOptions &options) {
  std::vector<AdapterRequest> rest;
  for (AdapterRequest &each : options.adapters) {
    auto isPart = [&](const CombinationRequest &made) { return llvm::is_contained(made.names, each.name); };
    auto made = llvm::find_if(options.combinations, isPart);
    if (made == options.combinations.end()) {
      rest.push_back(std::move(each));
      continue;
    }
    if (each.time != BindingTime::Build || each.automatic || !each.bound.empty() || each.task)
      return Error{"--adapter " + each.name + " is a part of '" + made->name +
                   "' and does not act by itself: its time, and what is bound to it, are those of --combine"};
  }
  options.adapters = std::move(rest);
  return Done{};
}

//===----------------------------------------------------------------------===//
// --adapter-slot
//===----------------------------------------------------------------------===//

static Result<SlotRequest> parseSlot(StringRef value) {
  auto wrong = [&](const llvm::Twine &what) {
    return Error{("--adapter-slot " + value + ": " + what +
                  "; expected NAME:FORM[+FORM...][,rank=R][,modules=GLOB[,GLOB...]][@TIME]")
                     .str()};
  };
  SlotRequest request;
  auto [name, rest] = value.split(':');
  request.name = name.str();
  if (!value.contains(':'))
    return wrong("names no form");
  if (std::string why = whyNoName(name); !why.empty())
    return wrong(why);
  auto [before, time] = rest.rsplit('@');
  if (before.size() != rest.size()) {
    if (time == "auto")
      return wrong("the time '" + time + "' is not there yet");
    StringRef kind = time;
    request.byToken = time == "row-token";
    if (request.byToken)
      kind = "row";
    if (kind != "load" && kind != "switch" && kind != "call" && kind != "row")
      return wrong("a slot's time is one of load, switch, call, row and row-token, not '" + time + "'" +
                   nearest(time, {"load", "switch", "call", "row", "row-token"}));
    request.time = *symbolizeBindingTime(kind);
    rest = before;
  }
  llvm::SmallVector<StringRef> fields;
  rest.split(fields, ',');
  llvm::SmallVector<StringRef> words;
  fields[0].split(words, '+');
  for (StringRef word : words)
    request.words.push_back(word.str());
  bool modules = false, rank = false;
  for (StringRef field : llvm::ArrayRef(fields).drop_front()) {
    if (field.consume_front("rank=")) {
      if (std::exchange(rank, true) || field.getAsInteger(10, request.rank) || request.rank < 1)
        return wrong("rank= takes one whole number from 1 on");
      modules = false;
      continue;
    }
    modules |= field.consume_front("modules=");
    if (!modules || field.empty())
      return wrong("'" + field + "' is neither rank=R nor modules=GLOB");
    request.modules.push_back(field.str());
  }
  return request;
}

//===----------------------------------------------------------------------===//
// --bind, and all of them
//===----------------------------------------------------------------------===//

// NAME.task=N: of an adapter of several tasks, the one that is meant.
static Status chooseTask(StringRef value, AdapterOptions &options) {
  auto [property, number] = value.split('=');
  auto [name, what] = property.rsplit('.');
  for (AdapterRequest &request : options.adapters) {
    int64_t task = 0;
    if (request.name != name || what != "task")
      continue;
    if (number.getAsInteger(10, task) || task < 0)
      return Error{("--bind " + value + ": '" + number + "' is no task; tasks are counted from 0").str()};
    if (request.task)
      return Error{("--bind " + value + ": the task of '" + name + "' is there twice").str()};
    request.task = task;
    return Done{};
  }
  return Error{("--bind " + value + ": " +
                (what == "task" ? "there is no adapter '" + name + "'"
                                : "of an adapter's properties, its task alone can have a value here; a scale "
                                  "is written --adapter NAME=PATH:scale=S"))
                   .str()};
}

static Status bindProperty(StringRef value, AdapterOptions &options) {
  auto wrong = [&](const llvm::Twine &what) {
    return Error{("--bind " + value + ": " + what + "; expected NAME.PROPERTY@call or NAME.task=N").str()};
  };
  if (value.contains('='))
    return chooseTask(value, options);
  StringRef whole = value.rsplit('@').first, time = value.rsplit('@').second;
  StringRef name = whole.rsplit('.').first, property = whole.rsplit('.').second;
  if (whole.size() == value.size() || property.empty() || name.empty())
    return wrong("names no property or no time");
  if (time != "call")
    return wrong("a property can be bound at call, not at '" + time + "'");
  std::string known;
  auto add = [&](auto &requests) {
    for (auto &request : requests) {
      known += (known.empty() ? "" : ", ") + request.name;
      if (request.name == name && !llvm::is_contained(request.bound, property))
        request.bound.push_back(property.str());
    }
    return llvm::any_of(requests, [&](const auto &request) { return request.name == name; });
  };
  if (!add(options.adapters) && !add(options.slots))
    return wrong("there is no adapter or slot '" + name +
                 "'; there are: " + (known.empty() ? "none" : known));
  return Done{};
}

Result<AdapterOptions> adapter::parseAdapterOptions(const AdapterTexts &texts) {
  AdapterOptions options;
  llvm::StringMap<char> names;
  auto take = [&](StringRef option, StringRef value, StringRef name) -> Status {
    if (names.try_emplace(name).second)
      return Done{};
    return Error{(option + " " + value + ": the name '" + name +
                  "' is there twice; NAME= in front of the path "
                  "gives it another")
                     .str()};
  };
  for (const std::string &value : texts.adapters) {
    Result<AdapterRequest> request = parseAdapter(value);
    if (!request)
      return request.error();
    if (Status status = take("--adapter", value, request->name); !status)
      return status.error();
    options.adapters.push_back(std::move(*request));
  }
  // Made of adapters alone, not of one another.
  std::vector<AdapterRequest> made;
  for (const std::string &value : texts.combinations) {
    Result<AdapterRequest> request = parseCombination(value, options);
    if (!request)
      return request.error();
    if (Status status = take("--combine", value, request->name); !status)
      return status.error();
    made.push_back(std::move(*request));
  }
  llvm::append_range(options.adapters, made);
  for (const std::string &value : texts.slots) {
    Result<SlotRequest> request = parseSlot(value);
    if (!request)
      return request.error();
    if (Status status = take("--adapter-slot", value, request->name); !status)
      return status.error();
    options.slots.push_back(std::move(*request));
  }
  for (const std::string &value : texts.bindings)
    if (Status status = bindProperty(value, options); !status)
      return status.error();
  if (Status status = removeParts(options); !status)
    return status.error();
  auto check = [](const auto &request, bool automatic) -> Status {
    for (const std::string &property : request.bound)
      if (std::string why = whyNotBound(request.name, property, request.time, automatic); !why.empty())
        return Error{why};
    return Done{};
  };
  for (const AdapterRequest &request : options.adapters)
    if (Status status = check(request, request.automatic); !status)
      return status.error();
  for (const SlotRequest &request : options.slots)
    if (Status status = check(request, false); !status)
      return status.error();
  return options;
}
