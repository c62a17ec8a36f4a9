// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Calls: checks of inputs and adapters, then the compiled function; see Model.h.
#include "lib/Checkpoint/DType.h"
#include "lib/Checkpoint/Text.h"
#include "lib/Runtime/Manifest.h"
#include "lib/Runtime/Model.h"
#include "lib/Runtime/SessionCache.h"
#include <algorithm>
#include <sstream>

namespace adapter::runtime {

namespace {

// "float32 [batch, 4]"
std::string expectation(const artifact::Tensor &tensor) {
  std::string text = checkpoint::dtypeName(static_cast<checkpoint::DType>(tensor.dtype())) + " [";
  for (int i = 0; i < tensor.dims_size(); ++i)
    text += (i ? ", " : "") + (tensor.dims(i) >= 0           ? std::to_string(tensor.dims(i))
                               : tensor.dim_names(i).empty() ? "?"
                                                             : tensor.dim_names(i));
  return text + "]";
}

std::string inputList(const artifact::Entry &entry) {
  std::string text;
  for (const artifact::Tensor &input : entry.inputs())
    text += (text.empty() ? "" : ", ") + input.name() + ": " + expectation(input);
  return text.empty() ? "none" : text;
}

Status checkInputName(const artifact::Entry &entry, const std::string &name) {
  std::vector<std::string> names;
  for (const artifact::Tensor &input : entry.inputs())
    names.push_back(input.name());
  if (std::find(names.begin(), names.end(), name) != names.end())
    return Done{};
  std::string guess = checkpoint::didYouMean(name, names);
  return Error{"there is no input '" + name + "'" + guess + (guess.empty() ? "; the" : " The") +
               " inputs are: " + inputList(entry)};
}

} // namespace

Result<std::vector<const Tensor *>> orderInputs(const artifact::Entry &entry, const CallRequest &request) {
  std::map<std::string, const Tensor *> given;
  for (const auto &[name, tensor] : request.inputs)
    if (!given.emplace(name, &tensor).second)
      return Error{"input '" + name + "' is given twice"};
  // What is unknown first: it may be what is missing, misspelt.
  for (const auto &[name, tensor] : given)
    if (Status status = checkInputName(entry, name); !status)
      return status.error();
  std::vector<const Tensor *> ordered;
  std::map<std::string, std::pair<int64_t, std::string>> named; // size and the input that set it
  for (const artifact::Tensor &expected : entry.inputs()) {
    auto it = given.find(expected.name());
    if (it == given.end())
      return Error{"input '" + expected.name() + "' is missing; the inputs are: " + inputList(entry)};
    const Tensor &tensor = *it->second;
    std::string got = checkpoint::dtypeName(tensor.dtype) + " " + checkpoint::shapeText(tensor.shape);
    std::string message =
        "input '" + expected.name() + "': expected " + expectation(expected) + ", got " + got;
    if (static_cast<int32_t>(tensor.dtype) != expected.dtype())
      return Error{message + ": its elements are of another type"};
    if (static_cast<int>(tensor.shape.size()) != expected.dims_size())
      return Error{message + ": it has " + std::to_string(tensor.shape.size()) + " dimensions, not " +
                   std::to_string(expected.dims_size())};
    if (!checkpoint::tensorBytes(tensor.dtype, tensor.shape))
      return Error{message};
    for (int i = 0; i < expected.dims_size(); ++i) {
      if (expected.dims(i) >= 0 ? tensor.shape[i] != expected.dims(i) : tensor.shape[i] < 0)
        return Error{message};
      if (expected.dims(i) >= 0 || expected.dim_names(i).empty())
        continue;
      auto [size, isNew] = named.emplace(expected.dim_names(i), std::pair(tensor.shape[i], expected.name()));
      if (!isNew && size->second.first != tensor.shape[i])
        return Error{message + "; '" + expected.dim_names(i) + "' is " + std::to_string(size->second.first) +
                     " in input '" + size->second.second + "'"};
    }
    ordered.push_back(&tensor);
  }
  return ordered;
}

std::vector<Share> CallRequest::shares() const {
  std::vector<Share> all = adapter.value_or(Mix());
  for (const Mix &mix : rowAdapters.value_or(std::vector<Mix>()))
    all.insert(all.end(), mix.begin(), mix.end());
  return all;
}

// What acts beside weights without being named: adapters of the build, and the one that is switched in.
std::vector<adapter_assignment_v1> Model::actingAlways(const Snapshot &state) {
  std::vector<adapter_assignment_v1> all;
  for (const auto &[name, live] : state.adapters)
    if (live.source->time == artifact::BUILD || name == state.switched)
      for (const Variant &variant : live.variants)
        if (variant.entry >= 0)
          all.push_back({variant.entry, 1.0f});
  return all;
}

// What has the same adapters side by side is one piece of work, but every thread gets some.
void Model::addRows(RowPlan &plan, const std::vector<std::vector<adapter_assignment_v1>> &rows,
                    bool apart) const {
  auto threads = static_cast<int64_t>(resources.pool.threads());
  int64_t most = (static_cast<int64_t>(rows.size()) + threads - 1) / threads;
  for (const std::vector<adapter_assignment_v1> &row : rows)
    plan.addRow(row, apart ? 1 : most);
}

// Which adapters act on which rows.
Result<RowPlan> Model::planRows(const Snapshot &state, const artifact::Entry &entry,
                                const CallRequest &request, const Settings &settings,
                                const std::vector<const Tensor *> &inputs) const {
  RowPlan plan;
  if (request.adapter && request.rowAdapters)
    return Error{"give one adapter for all rows or one for each row, not both"};
  const std::vector<adapter_assignment_v1> always = actingAlways(state);
  auto threads = static_cast<size_t>(resources.pool.threads());
  if (!request.adapter && !request.rowAdapters) {
    // Shares of the positions, one for each thread.
    if (!always.empty())
      addRows(plan, std::vector<std::vector<adapter_assignment_v1>>(threads, always), artifact->looksAtRows);
    return plan;
  }
  const std::vector<Mix> &mixes =
      request.rowAdapters ? *request.rowAdapters : std::vector<Mix>{*request.adapter};
  bool any = false, uniform = false;
  std::vector<std::vector<adapter_assignment_v1>> rowsOf;
  for (const Mix &mix : mixes) {
    rowsOf.push_back(always);
    for (const Share &share : mix) {
      any = true;
      auto it = state.adapters.find(share.name);
      if (it == state.adapters.end())
        return unknownAdapter(state, share.name);
      const LiveAdapter &live = it->second;
      artifact::Time time = live.source->time;
      if (time == artifact::SWITCH)
        return Error{"adapter '" + share.name +
                     "' is bound at switch; switch it in instead of naming it in a call"};
      if (time == artifact::BUILD)
        return Error{"adapter '" + share.name + "' is bound at build: it acts in every call"};
      if (time == artifact::LOAD)
        return Error{"adapter '" + share.name +
                     "' is bound at load: it acts in every call until it is unloaded"};
      if (time == artifact::CALL)
        for (const Mix &other : mixes)
          if (!(other == mix))
            return Error{"adapter '" + share.name + "' is bound at call: it acts on all rows or on none"};
      uniform |= time == artifact::CALL;
      if (request.tokens && !live.source->byToken)
        return Error{"adapter '" + share.name + "' is bound at " + timeName(time) +
                     ", and so cannot differ by token; compile it with @row-token"};
      auto set = settings.find({share.name, share.task});
      const Variant *variant = live.find(set == settings.end() ? live.properties : set->second);
      if (!variant || variant->entry < 0)
        return Error{"adapter '" + share.name + "' has " + std::to_string(live.source->tasks()) +
                     " tasks; name one, as in " + share.name + ":0, or set " + share.name + ".task"};
      rowsOf.back().push_back({variant->entry, static_cast<float>(share.weight)});
    }
  }
  // A call-bound adapter needs no axis of rows.
  int64_t rows = 0, tokens = 0;
  for (int i = 0; i < entry.inputs_size(); ++i)
    if (entry.inputs(i).name() == entry.row_input()) {
      rows = inputs[i]->shape[entry.row_axis()];
      tokens = entry.token_axis() == entry.row_axis() ? 1 : inputs[i]->shape[entry.token_axis()];
    }
  if (entry.row_input().empty() && (request.rowAdapters || !uniform))
    return Error{"the graph '" + entry.name() +
                 "' takes no adapters: it was compiled without an axis of rows"};
  std::string axis = " (axis " + std::to_string(entry.row_axis()) + " of input '" + entry.row_input() + "')";
  if (request.tokens && request.tokens != tokens)
    return Error{std::to_string(request.tokens) + " adapters are named for the " + std::to_string(tokens) +
                 " tokens of a row (axis " + std::to_string(entry.token_axis()) + " of input '" +
                 entry.row_input() + "')"};
  int64_t count = static_cast<int64_t>(mixes.size()) / std::max<int64_t>(request.tokens, 1);
  if (request.rowAdapters && count != rows)
    return Error{std::to_string(count) + " adapters are named for " + std::to_string(rows) + " rows" + axis};
  if (any && !state.switched.empty())
    return Error{"rows cannot carry adapters while '" + state.switched +
                 "' is switched in; switch to none first"};
  if (uniform) // shares of the positions, one for each thread
    rowsOf.assign(threads, rowsOf[0]);
  else if (request.adapter)
    rowsOf.assign(static_cast<size_t>(rows), rowsOf[0]);
  addRows(plan, rowsOf, !request.tokens && artifact->looksAtRows);
  if (!plan.isPlain && artifact->manifest.has_device())
    return Error{
        "several adapters on one row, or one with a weight, act on the CPU only, as yet; compile with "
        "--target cpu"};
  return plan;
}

Result<std::shared_ptr<Device>> Model::useDevice() {
  std::lock_guard<std::mutex> lock(opening);
  if (!device) {
    const adapter_artifact_v1 &table = *artifact->code.table;
    Result<std::shared_ptr<Device>> opened =
        openDevice(artifact->manifest.device(), {table.device_code, table.device_code_size});
    if (!opened)
      return opened.error();
    device = std::move(*opened);
  }
  return device;
}

Result<std::vector<Output>> Model::invokeOn(const Snapshot &state, adapter_function_v1 function,
                                            const adapter_call_v1 &call, const RowPlan &rows,
                                            const std::vector<int32_t> &dtypes, const Listener &listener) {
  if (artifact->manifest.ranks() > 1) {
    std::lock_guard<std::mutex> lock(exchanging);
    return invoke(resources, function, call, dtypes, {nullptr, collectives, listener});
  }
  if (!artifact->manifest.has_device())
    return invoke(resources, function, call, dtypes, {nullptr, nullptr, listener});
  Result<std::shared_ptr<Device>> used = useDevice();
  if (!used)
    return used.error();
  DeviceCall::Inputs inputs{artifact.get(), &state.parameters, {},
                            &rows.entries,  &deviceTensors,    state.device.get()};
  for (size_t bank = 0; bank < state.entries.size(); ++bank)
    inputs.banks.push_back({&state.entries[bank], &state.sizes[bank]});
  DeviceCall onDevice(*used, std::move(inputs));
  Result<std::vector<Output>> outputs =
      invoke(resources, function, call, dtypes, {onDevice.table(), nullptr, listener});
  // What follows a failure of the device is not its reason.
  if (!onDevice.failure().empty())
    return Error{onDevice.failure()};
  return outputs;
}

// Whether as many processes are here as the code was compiled for.
Status Model::checkProcesses() const {
  int32_t wanted = std::max(1, artifact->manifest.ranks()), present = collectives ? collectives->size : 1;
  if (wanted == present)
    return Done{};
  std::string count = std::to_string(wanted);
  if (wanted == 1)
    return Error{artifact->folder + ": compiled for one process, and there are " + std::to_string(present) +
                 "; compile it with --partition-experts ranks=" + std::to_string(present)};
  return Error{artifact->folder + ": its experts are partitioned over " + count + " processes, and there " +
               (present == 1 ? "is 1" : "are " + std::to_string(present)) + "; run it with mpirun -n " +
               count + " adapter-run"};
}

Result<const artifact::Entry *> Model::findEntry(const std::string &name) const {
  std::string names;
  for (const artifact::Entry &each : artifact->manifest.entries()) {
    if (name.empty() || each.name() == name)
      return &each;
    names += (names.empty() ? "" : ", ") + each.name();
  }
  return Error{"there is no graph '" + name + "'; there are: " + names};
}

Result<Model::View> Model::view(const CallRequest &request) {
  if (Status status = fileCheck().status(); !status)
    return status.error();
  if (Status status = checkProcesses(); !status)
    return status.error();
  View view;
  Result<std::shared_ptr<const Snapshot>> state = withVariants(request, view.settings);
  if (!state)
    return state.error();
  view.state = *state;
  return view;
}

// One adapter under its properties.
static std::string describe(const LiveAdapter &live, const Properties &properties) {
  std::ostringstream text;
  text.precision(17);
  text << live.source->name << " " << live.source->hash << " scale " << properties.scale << " rank "
       << properties.rank << " task " << properties.task;
  return text.str();
}

Result<std::string> Model::actingOn(const View &view, const Mix &row) const {
  std::ostringstream text;
  text.precision(17);
  const Snapshot &state = *view.state;
  auto add = [&](const std::string &name) {
    const LiveAdapter &live = state.adapters.at(name);
    text << "in the weights: " << describe(live, live.properties) << "; ";
  };
  for (const std::string &name : state.loaded)
    add(name);
  if (!state.switched.empty())
    add(state.switched);
  for (const Share &share : row) {
    auto live = state.adapters.find(share.name);
    if (live == state.adapters.end())
      return unknownAdapter(state, share.name);
    auto set = view.settings.find({share.name, share.task});
    const Properties &properties = set == view.settings.end() ? live->second.properties : set->second;
    text << share.weight << " of " << describe(live->second, properties) << "; ";
  }
  return text.str();
}

Result<CallResult> Model::call(const CallRequest &request) {
  FileCheck::CallUnderWay underWay;
  Result<View> seen = view(request);
  if (!seen)
    return seen.error();
  return call(*seen, request);
}

// Whether the code keeps caches in place, and so must be told where.
static bool needsSession(const artifact::Entry &entry) {
  const auto &states = entry.session().states();
  return std::any_of(states.begin(), states.end(),
                     [](const artifact::State &state) { return state.has_kept(); });
}

Result<CallResult> Model::call(const View &view, const CallRequest &request, const KeptRows *kept) {
  FileCheck::CallUnderWay underWay;
  const std::shared_ptr<const Snapshot> &state = view.state;
  Result<const artifact::Entry *> found = findEntry(request.entry);
  if (!found)
    return found.error();
  const artifact::Entry *entry = *found;
  if (!kept && needsSession(*entry))
    return Error{"the graph '" + entry->name() +
                 "' was compiled with --stateful, and keeps keys and values in a session: open one for it"};
  Result<std::vector<const Tensor *>> ordered = orderInputs(*entry, request);
  if (!ordered)
    return ordered.error();
  Result<RowPlan> rows = planRows(*state, *entry, request, view.settings, *ordered);
  if (!rows)
    return rows.error();

  // Code may assume aligned inputs; a copy is cheap next to a call.
  std::vector<adapter_tensor_v1> inputs;
  std::vector<std::shared_ptr<void>> copies;
  for (const Tensor *tensor : *ordered) {
    void *data = const_cast<std::byte *>(tensor->data);
    if (reinterpret_cast<uintptr_t>(data) % 64 || !data) {
      size_t bytes = *checkpoint::tensorBytes(tensor->dtype, tensor->shape);
      std::shared_ptr<void> copy = takeShared(resources.cache, static_cast<int64_t>(bytes));
      if (!copy)
        throw std::bad_alloc();
      if (data)
        std::copy_n(static_cast<const char *>(data), bytes, static_cast<char *>(copy.get()));
      data = copy.get();
      copies.push_back(std::move(copy));
    }
    inputs.push_back({data, tensor->shape.data(), static_cast<int32_t>(tensor->shape.size()),
                      static_cast<int32_t>(tensor->dtype)});
  }
  adapter_call_v1 call = {};
  call.inputs = inputs.data();
  call.input_count = static_cast<int64_t>(inputs.size());
  call.parameters = state->parameters.data();
  call.banks = state->banks.data();
  rows->describe(call);
  call.scalars = state->scalars.data();
  adapter_session_v1 session = {};
  if (kept) {
    session = kept->describe();
    call.session = &session;
  }
  std::vector<int32_t> dtypes;
  for (const artifact::Tensor &output : entry->outputs())
    dtypes.push_back(output.dtype());
  Result<std::vector<Output>> outputs = invokeOn(*state, artifact->code.table->functions[entry->function()],
                                                 call, *rows, dtypes, request.listener);
  if (!outputs)
    return outputs.error();
  // Damage may have been found while the call read it.
  if (Status status = fileCheck().status(); !status)
    return status.error();
  CallResult result;
  for (const artifact::Tensor &output : entry->outputs())
    result.names.push_back(output.name());
  result.outputs = std::move(*outputs);
  return result;
}

} // namespace adapter::runtime
