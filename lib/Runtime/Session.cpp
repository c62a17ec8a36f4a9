// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// See Session.h.
#include "lib/Runtime/Session.h"
#include "lib/Checkpoint/DType.h"
#include <algorithm>
#include <cstring>
#include <set>

namespace adapter::runtime {

namespace {
std::string plural(int64_t count, const char *what) {
  return std::to_string(count) + " " + what + (count == 1 ? "" : "s");
}

// The name of a dimension that varies; empty where it has none.
std::string dimName(const artifact::Tensor &tensor, int axis) {
  return axis < tensor.dims_size() && tensor.dims(axis) < 0 ? tensor.dim_names(axis) : "";
}

CallTensor make(Resources &resources, checkpoint::DType dtype, std::vector<int64_t> shape) {
  size_t bytes = checkpoint::tensorBytes(dtype, shape).value_or(0);
  CallTensor made;
  made.owner = mustTakeShared(resources.cache, static_cast<int64_t>(bytes));
  std::memset(made.owner.get(), 0, bytes);
  made.tensor.dtype = dtype;
  made.tensor.shape = std::move(shape);
  made.tensor.data = static_cast<const std::byte *>(made.owner.get());
  made.tensor.bytes = bytes;
  return made;
}

void setInteger(CallTensor &made, int64_t place, int64_t value) {
  if (made.tensor.dtype == checkpoint::DType::I32)
    static_cast<int32_t *>(made.owner.get())[place] = static_cast<int32_t>(value);
  else
    static_cast<int64_t *>(made.owner.get())[place] = value;
}
} // namespace

Result<std::unique_ptr<Session>> Session::open(Model &model, const SessionOptions &options) {
  Result<const artifact::Entry *> found = model.findEntry(options.entry);
  if (!found)
    return found.error();
  const artifact::Entry &entry = **found;
  if (!entry.has_session())
    return Error{"the graph '" + entry.name() + "' keeps no state; compile it with --stateful"};
  if (options.rows < 1 || options.rows > 1 << 20)
    return Error{"a session has 1 to 1048576 rows, not " + std::to_string(options.rows)};
  if (options.maxLength < 1 || options.maxLength > int64_t(1) << 40)
    return Error{"a row's longest length is a number from 1 on, not " + std::to_string(options.maxLength)};
  if (entry.row_axis() != 0 || entry.token_axis() != 1)
    return Error{"the graph '" + entry.name() + "' has rows on axis " + std::to_string(entry.row_axis()) +
                 " of '" + entry.row_input() + "'; sessions need them on axis 0, and tokens on axis 1"};
  Result<SessionCache> cache = SessionCache::make(entry, options.rows, options.maxLength);
  if (!cache)
    return cache.error();
  return std::unique_ptr<Session>(new Session(model, entry, std::move(*cache), options));
}

Session::Session(Model &model, const artifact::Entry &entry, SessionCache cache,
                 const SessionOptions &options)
    : model(model), entry(entry), cache(std::move(cache)), maxLength(options.maxLength),
      rows(static_cast<size_t>(options.rows)) {
  for (const CachedState &state : this->cache.states())
    ownInputs.insert(state.name);
  for (int number : {entry.session().mask(), entry.session().positions()})
    if (number)
      ownInputs.insert(entry.inputs(number - 1).name());
  for (const artifact::Tensor &input : entry.inputs())
    if (input.name() == entry.row_input()) {
      rowName = dimName(input, 0);
      tokenName = dimName(input, 1);
    }
}

Status Session::checkRow(int64_t row) const {
  if (row >= 0 && row < static_cast<int64_t>(rows.size()))
    return Done{};
  return Error{"there is no row " + std::to_string(row) + "; the session has " +
               plural(static_cast<int64_t>(rows.size()), "row")};
}

Result<int64_t> Session::length(int64_t row) {
  std::lock_guard<std::mutex> lock(mutex);
  if (Status status = checkRow(row); !status)
    return status.error();
  return rows[row].length;
}

Status Session::reset(int64_t row) {
  std::lock_guard<std::mutex> lock(mutex);
  if (Status status = checkRow(row); !status)
    return status;
  rows[row] = Row();
  return Done{};
}

Status Session::rewind(int64_t row, int64_t tokens) {
  std::lock_guard<std::mutex> lock(mutex);
  if (Status status = checkRow(row); !status)
    return status;
  if (tokens < 0 || tokens > rows[row].length)
    return Error{"row " + std::to_string(row) + " holds " + plural(rows[row].length, "token") + "; " +
                 std::to_string(tokens) + " cannot be taken back"};
  rows[row].length -= tokens;
  if (!rows[row].length)
    rows[row] = Row();
  return Done{};
}

Status Session::fork(int64_t row, int64_t into) {
  std::lock_guard<std::mutex> lock(mutex);
  for (int64_t each : {row, into})
    if (Status status = checkRow(each); !status)
      return status;
  if (row == into)
    return Error{"a row is no copy of itself"};
  rows[into] = Row();
  if (!rows[row].length)
    return Done{};
  cache.reserve(model.shared(), into);
  cache.copy(row, into, rows[row].length);
  rows[into] = rows[row];
  return Done{};
}

// Checks the rows and the lengths, and gives the new tokens that the inputs have room for.
Result<int64_t> Session::readLengths(SessionRequest &request) const {
  const Tensor *tokens = nullptr;
  for (const auto &[name, tensor] : request.call.inputs)
    tokens = name == entry.row_input() ? &tensor : tokens;
  if (!tokens)
    return Error{"input '" + entry.row_input() + "' is missing"};
  if (tokens->shape.size() < 2)
    return Error{"input '" + entry.row_input() + "' must have axes for rows and tokens"};
  auto count = static_cast<int64_t>(request.rows.size());
  int64_t room = tokens->shape[1];
  if (!count || tokens->shape[0] != count)
    return Error{"input '" + entry.row_input() + "' has " + plural(tokens->shape[0], "row") + ", and " +
                 plural(count, "row") + " of the session " + (count == 1 ? "is" : "are") + " named"};
  if (request.lengths.empty())
    request.lengths.assign(request.rows.size(), room);
  std::set<int64_t> seen;
  for (size_t i = 0; i < request.rows.size(); ++i) {
    int64_t row = request.rows[i], added = request.lengths[i];
    if (Status status = checkRow(row); !status)
      return status.error();
    std::string its = "row " + std::to_string(row);
    if (!seen.insert(row).second)
      return Error{its + " is named twice"};
    if (added < 1 || added > room)
      return Error{its + ": " + plural(added, "new token") + ", and the inputs have 1 to " +
                   std::to_string(room)};
    if (added > maxLength - rows[row].length)
      return Error{its + " holds " + std::to_string(rows[row].length) + " of " + plural(maxLength, "token") +
                   "; " + std::to_string(added) + " more do not fit"};
  }
  return room;
}

// Lets rows go on under the adapters that they have, if the call names none.
Status Session::keepAdapters(SessionRequest &request) const {
  CallRequest &call = request.call;
  if (call.tokens)
    return Error{"a session takes one adapter for each row, not for each token"};
  if (call.adapter) {
    call.rowAdapters.emplace(request.rows.size(), *call.adapter);
    call.adapter.reset();
  }
  if (call.rowAdapters) {
    if (call.rowAdapters->size() != request.rows.size())
      return Error{plural(static_cast<int64_t>(call.rowAdapters->size()), "adapter") + " for " +
                   plural(static_cast<int64_t>(request.rows.size()), "row")};
    return Done{};
  }
  bool any = false, settles = call.settings.empty();
  std::vector<Mix> kept;
  for (int64_t row : request.rows) {
    kept.push_back(rows[row].adapters);
    any |= !kept.back().empty();
    if (!settles)
      continue;
    for (const auto &setting : rows[row].settings) {
      auto same = std::find_if(call.settings.begin(), call.settings.end(),
                               [&](const auto &each) { return each.first == setting.first; });
      if (same == call.settings.end())
        call.settings.push_back(setting);
      else if (same->second != setting.second)
        return Error{"row " + std::to_string(row) + " has another " + setting.first +
                     " than a row beside it; call them apart"};
    }
  }
  if (any)
    call.rowAdapters = std::move(kept);
  return Done{};
}

// A cache belongs to the weights that made it.
Status Session::checkActing(const Model::View &view, const SessionRequest &request,
                            std::vector<std::string> &acting) const {
  for (size_t i = 0; i < request.rows.size(); ++i) {
    const Row &row = rows[request.rows[i]];
    const Mix none, &mix = request.call.rowAdapters ? (*request.call.rowAdapters)[i] : none;
    Result<std::string> now = model.actingOn(view, mix);
    if (!now)
      return now.error();
    if (row.length && *now != row.acting) {
      auto orBase = [](const std::string &text) { return text.empty() ? "the base alone" : text; };
      return Error{"row " + std::to_string(request.rows[i]) + " was begun with other weights (" +
                   orBase(row.acting) + ") than act on it now (" + orBase(*now) + "); reset it first"};
    }
    acting.push_back(std::move(*now));
  }
  return Done{};
}

std::vector<Session::Group> Session::divide(const SessionRequest &request) const {
  bool tellsApart = entry.session().mask() && entry.session().positions();
  std::vector<Group> groups;
  for (size_t i = 0; i < request.rows.size(); ++i) {
    int64_t earlier = rows[request.rows[i]].length;
    auto group = std::find_if(groups.begin(), groups.end(), [&](const Group &each) {
      return each.count == request.lengths[i] && (tellsApart || each.longest == earlier);
    });
    if (group == groups.end())
      group = groups.insert(groups.end(), Group());
    group->count = request.lengths[i];
    group->members.push_back(i);
    group->rows.push_back(request.rows[i]);
    group->lengths.push_back(earlier);
    group->longest = std::max(group->longest, earlier);
  }
  return groups;
}

// The rows and the last tokens of an input that a group has.
static CallTensor slice(Resources &resources, const Tensor &from, const std::vector<size_t> &members,
                        bool hasTokens, int64_t count) {
  std::vector<int64_t> shape = from.shape;
  shape[0] = static_cast<int64_t>(members.size());
  if (hasTokens)
    shape[1] = count;
  CallTensor made = make(resources, from.dtype, shape);
  size_t rowBytes = from.bytes / static_cast<size_t>(std::max<int64_t>(from.shape[0], 1));
  size_t kept = members.empty() ? 0 : made.tensor.bytes / members.size();
  for (size_t i = 0; i < members.size(); ++i)
    if (kept)
      std::memcpy(static_cast<char *>(made.owner.get()) + i * kept,
                  from.data + members[i] * rowBytes + (rowBytes - kept), kept);
  return made;
}

// The rows and tokens of the call's inputs that a group has; `made` keeps those that are copies.
Status Session::addInputs(const SessionRequest &request, int64_t tokens, const Group &group,
                          CallRequest &call, std::vector<CallTensor> &made) {
  bool isAll = group.members.size() == request.rows.size() && group.count == tokens;
  for (const auto &[name, tensor] : request.call.inputs) {
    auto declared =
        std::find_if(entry.inputs().begin(), entry.inputs().end(),
                     [&, key = name](const artifact::Tensor &each) { return each.name() == key; });
    bool isTokens = name == entry.row_input();
    bool hasRows = declared != entry.inputs().end() && !tensor.shape.empty() &&
                   (isTokens || (!rowName.empty() && dimName(*declared, 0) == rowName));
    if (isAll || !hasRows) {
      call.inputs.emplace_back(name, tensor);
      continue;
    }
    bool hasTokens =
        tensor.shape.size() > 1 && (isTokens || (!tokenName.empty() && dimName(*declared, 1) == tokenName));
    if (tensor.shape[0] != static_cast<int64_t>(request.rows.size()) ||
        (hasTokens && tensor.shape[1] != tokens))
      return Error{"input '" + name + "' has shape " + checkpoint::shapeText(tensor.shape) +
                   ", and there are " + plural(static_cast<int64_t>(request.rows.size()), "row") + " of " +
                   plural(tokens, "token")};
    made.push_back(slice(model.shared(), tensor, group.members, hasTokens, group.count));
    call.inputs.emplace_back(name, made.back().tensor);
  }
  return Done{};
}

// What the session makes itself: the mask, the positions and the caches.
void Session::addOwnInputs(const Group &group, CallRequest &call, std::vector<CallTensor> &made) {
  Resources &resources = model.shared();
  auto count = static_cast<int64_t>(group.rows.size());
  auto integers = [&](int number, int64_t width, const std::function<int64_t(int64_t, int64_t)> &value) {
    if (!number)
      return;
    const artifact::Tensor &input = entry.inputs(number - 1);
    CallTensor filled = make(resources, static_cast<checkpoint::DType>(input.dtype()), {count, width});
    for (int64_t row = 0; row < count; ++row)
      for (int64_t i = 0; i < width; ++i)
        setInteger(filled, row * width + i, value(row, i));
    call.inputs.emplace_back(input.name(), filled.tensor);
    made.push_back(std::move(filled));
  };
  integers(entry.session().mask(), group.longest + group.count, [&](int64_t row, int64_t i) {
    return static_cast<int64_t>(i >= group.longest - group.lengths[row]);
  });
  integers(entry.session().positions(), group.count,
           [&](int64_t row, int64_t i) { return group.lengths[row] + i; });
  for (size_t state = 0; state < cache.states().size(); ++state) {
    CallTensor past;
    past.tensor = cache.gather(resources, state, group.rows, group.lengths, group.longest, past.owner);
    call.inputs.emplace_back(cache.states()[state].name, past.tensor);
    made.push_back(std::move(past));
  }
}

// Runs the graph on a group and puts what it adds to the caches behind the rows' lengths, where nobody looks until
// these are moved.
Status Session::run(const Model::View &view, const SessionRequest &request, int64_t tokens, Group &group) {
  std::vector<CallTensor> made; // lives until the call is over
  CallRequest call;
  call.entry = entry.name();
  call.listener = request.call.listener;
  if (request.call.rowAdapters) {
    call.rowAdapters.emplace();
    for (size_t member : group.members)
      call.rowAdapters->push_back((*request.call.rowAdapters)[member]);
  }
  if (Status status = addInputs(request, tokens, group, call, made); !status)
    return status;
  addOwnInputs(group, call, made);
  KeptRows kept = cache.keptRows(group.rows, group.lengths);
  Result<CallResult> result = model.call(view, call, &kept);
  if (!result)
    return result.error();
  std::set<int> presents;
  for (size_t state = 0; state < cache.states().size(); ++state) {
    int present = cache.states()[state].present;
    if (cache.states()[state].isKept())
      continue;
    presents.insert(present);
    if (Status status = cache.append(model.shared(), state, result->outputs[present], group.rows,
                                     group.lengths, group.count);
        !status)
      return status;
  }
  for (size_t i = 0; i < result->outputs.size(); ++i)
    if (!presents.count(static_cast<int>(i))) {
      group.result.names.push_back(result->names[i]);
      group.result.outputs.push_back(std::move(result->outputs[i]));
    }
  return Done{};
}

// What the groups gave, in the order of the request and aligned to the right.
Result<CallResult> Session::join(std::vector<Group> &groups, size_t count, int64_t tokens) {
  if (groups.size() == 1 && groups[0].count == tokens)
    return std::move(groups[0].result);
  CallResult joined;
  joined.names = groups[0].result.names;
  for (size_t i = 0; i < joined.names.size(); ++i) {
    Output whole;
    const Output &first = groups[0].result.outputs[i];
    whole.dtype = first.dtype;
    whole.dims = first.dims;
    bool fits = !first.dims.empty(), hasTokens = first.dims.size() > 1, varies = false;
    for (const Group &group : groups) {
      const Output &output = group.result.outputs[i];
      fits &= output.dims.size() == first.dims.size() &&
              output.dims[0] == static_cast<int64_t>(group.rows.size());
      for (size_t axis = 2; fits && axis < first.dims.size(); ++axis)
        fits &= output.dims[axis] == first.dims[axis];
      hasTokens &= fits && output.dims[1] == group.count;
      varies |= fits && first.dims.size() > 1 && output.dims[1] != first.dims[1];
    }
    // One position for each row is no axis of tokens, unless it is one for all rows.
    hasTokens &= varies || groups[0].count == tokens || groups.size() == 1;
    if (!fits || (varies && !hasTokens))
      return Error{"output '" + joined.names[i] +
                   "' of rows of different lengths cannot be one tensor; call them apart"};
    whole.dims[0] = static_cast<int64_t>(count);
    if (hasTokens)
      whole.dims[1] = tokens;
    std::optional<size_t> bytes =
        checkpoint::tensorBytes(static_cast<checkpoint::DType>(whole.dtype), whole.dims);
    if (!bytes)
      throw std::bad_alloc();
    whole.data = mustTakeShared(model.shared().cache, static_cast<int64_t>(*bytes));
    auto *to = static_cast<char *>(whole.data.get());
    std::memset(to, 0, *bytes);
    size_t rowBytes = *bytes / count;
    for (const Group &group : groups) {
      const Output &output = group.result.outputs[i];
      size_t part = *checkpoint::tensorBytes(static_cast<checkpoint::DType>(output.dtype), output.dims) /
                    group.rows.size();
      for (size_t row = 0; row < group.rows.size(); ++row)
        if (part)
          std::memcpy(to + group.members[row] * rowBytes + (rowBytes - part),
                      static_cast<const char *>(output.data.get()) + row * part, part);
    }
    joined.outputs.push_back(std::move(whole));
  }
  return joined;
}

Result<CallResult> Session::call(SessionRequest request) {
  std::lock_guard<std::mutex> lock(mutex);
  for (const auto &[name, tensor] : request.call.inputs)
    if (ownInputs.count(name))
      return Error{"input '" + name + "' is the session's own; leave it out"};
  Result<int64_t> tokens = readLengths(request);
  if (!tokens)
    return tokens.error();
  if (Status status = keepAdapters(request); !status)
    return status.error();
  Result<Model::View> view = model.view(request.call);
  if (!view)
    return view.error();
  std::vector<std::string> acting;
  if (Status status = checkActing(*view, request, acting); !status)
    return status.error();
  for (int64_t row : request.rows)
    cache.reserve(model.shared(), row);
  std::vector<Group> groups = divide(request);
  for (Group &group : groups)
    if (Status status = run(*view, request, *tokens, group); !status)
      return status.error();
  Result<CallResult> result = join(groups, request.rows.size(), *tokens);
  if (!result)
    return result;
  // Nothing can fail any more.
  for (size_t i = 0; i < request.rows.size(); ++i) {
    Row &row = rows[request.rows[i]];
    row.length += request.lengths[i];
    row.adapters = request.call.rowAdapters ? (*request.call.rowAdapters)[i] : Mix();
    row.settings = request.call.settings;
    row.acting = std::move(acting[i]);
  }
  return result;
}

} // namespace adapter::runtime
