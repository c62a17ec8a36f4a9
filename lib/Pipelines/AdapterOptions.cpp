// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Parsing of --adapter, --adapter-slot and --bind.
#include "lib/Pipelines/AdapterOptions.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringMap.h"
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

static Result<AdapterRequest> parseAdapter(StringRef value) {
  auto wrong = [&](const llvm::Twine &what) {
    return Error{
        ("--adapter " + value + ": " + what + "; expected NAME=PATH[@TIME][:scale=S|:scale=@call]").str()};
  };
  auto [name, rest] = value.split('=');
  AdapterRequest request;
  request.name = name.str();
  if (!value.contains('='))
    return wrong("names no path");
  if (std::string why = whyNoName(name); !why.empty())
    return wrong(why);
  auto [path, scale] = rest.rsplit(":scale=");
  double factor = 1.0;
  if (path.size() != rest.size() && scale == "@call") {
    request.bound.push_back("scale");
    rest = path;
  } else if (path.size() != rest.size() && !scale.empty() && !scale.getAsDouble(factor)) {
    if (!std::isfinite(factor))
      return wrong("the scale is no finite number");
    request.scale = factor;
    rest = path;
  }
  auto [before, time] = rest.rsplit('@');
  if (before.size() != rest.size()) {
    if (time == "row-token") {
      request.time = BindingTime::Row;
      request.byToken = true;
      rest = before;
    } else if (time == "auto") {
      // By row until the plan knows better: the loosest time there is.
      request.time = BindingTime::Row;
      request.automatic = true;
      rest = before;
    } else if (time == "build" || time == "switch" || time == "row" || time == "call") {
      request.time = *symbolizeBindingTime(time);
      rest = before;
    } else if (time == "load") {
      return wrong(
          "what is loaded later needs room only: --adapter-slot NAME:FORM[+FORM...]@load here, and the "
          "adapter itself with adapter-run --load NAME=PATH");
    }
  }
  if (rest.empty())
    return wrong("names no path");
  request.path = rest.str();
  return request;
}

//===----------------------------------------------------------------------===//
// --adapter-slot
//===----------------------------------------------------------------------===//

// The forms of updates behind the words of a slot: dora is what it makes of the low-rank forms beside it.
static Status readForms(StringRef text, std::vector<std::string> &forms) {
  llvm::SmallVector<StringRef> words;
  text.split(words, '+');
  bool dora = llvm::is_contained(words, "dora");
  bool embedding = llvm::is_contained(words, "embedding") || llvm::is_contained(words, "lora_embedding");
  auto add = [&](StringRef form) {
    if (!llvm::is_contained(forms, form))
      forms.push_back(form.str());
  };
  for (StringRef word : words) {
    if (word == "lora" || word == "rows" || word == "add" || word == "replace" || word == "sparse")
      add(word);
    else if (word == "overwrite")
      add("sparse+overwrite");
    else if (word == "embedding" || word == "lora_embedding")
      add("lora_embedding");
    else if (word != "dora")
      return Error{("there is no form '" + word +
                    "'; the forms are lora, dora, embedding, rows, sparse, overwrite, add and replace")
                       .str()};
  }
  if (dora)
    add("lora+dora");
  if (dora && embedding)
    add("lora_embedding+dora");
  return Done{};
}

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
      return wrong("a slot's time is one of load, switch, call, row and row-token, not '" + time + "'");
    request.time = *symbolizeBindingTime(kind);
    rest = before;
  }
  llvm::SmallVector<StringRef> fields;
  rest.split(fields, ',');
  if (Status status = readForms(fields[0], request.forms); !status)
    return wrong(status.error().message);
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
    return Error{(option + " " + value + ": the name '" + name + "' is there twice").str()};
  };
  for (const std::string &value : texts.adapters) {
    Result<AdapterRequest> request = parseAdapter(value);
    if (!request)
      return request.error();
    if (Status status = take("--adapter", value, request->name); !status)
      return status.error();
    options.adapters.push_back(std::move(*request));
  }
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
