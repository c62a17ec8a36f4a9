// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// See OpenModel.h.
#include "lib/RunTool/OpenModel.h"
#include "lib/Checkpoint/DType.h"
#include "lib/Checkpoint/Hash.h"
#include "lib/Checkpoint/Json.h"
#include "lib/RunTool/InputFiles.h"
#include <algorithm>

namespace adapter::runtool {

using checkpoint::Done;

Status check(adapter_rt_status status) {
  if (status == ADAPTER_RT_OK)
    return Done{};
  return Error{adapter_rt_last_error()};
}

Result<std::unique_ptr<OpenModel>> OpenModel::open(const Options &options) {
  std::unique_ptr<OpenModel> made(new OpenModel(options));
  adapter_rt_open_options open = {sizeof open,       options.threads, options.memoryLimit,
                                  options.processes, options.noCheck, options.allowOtherBase};
  adapter_rt_model *model = nullptr;
  if (Status status = check(adapter_rt_open(options.model.c_str(), &open, &model)); !status)
    return status.error();
  made->model.reset(model);
  if (Status status = made->prepare(); !status)
    return status.error();
  if (Status status = made->agree(); !status)
    return status.error();
  return made;
}

Status OpenModel::prepare() {
  for (const Load &load : options.loads)
    if (Status status = check(adapter_rt_load_adapter(model.get(), load.name.c_str(), load.path.c_str(),
                                                      load.slot ? load.slot->c_str() : nullptr));
        !status)
      return status;
  for (const auto &[property, value] : options.settings)
    if (Status status = check(adapter_rt_set(model.get(), property.c_str(), value)); !status)
      return status;
  if (Status status = readAllInputs(); !status)
    return status;
  // Shares of several come with the call; a name alone may be one to switch in.
  if (options.adapter && options.adapter->find_first_of("*+") == std::string::npos) {
    Result<std::string> time = timeOf(*options.adapter);
    if (!time)
      return time.error();
    if (*time == "switch") {
      switched = true;
      return switchTo(options.adapter->c_str());
    }
  }
  return Done{};
}

Status OpenModel::readAllInputs() {
  std::map<std::string, size_t> counts;
  inputs.resize(1); // a model may take no inputs
  for (const auto &[given, file] : options.inputs) {
    Result<std::vector<Tensor>> tensors = readInputs(given, file);
    if (!tensors)
      return tensors.error();
    for (Tensor &tensor : *tensors) {
      size_t batch = counts[tensor.key]++;
      if (batch && !options.hasBatches)
        return Error{"input '" + tensor.key + "' is given twice, in " + fileOf[tensor.key] + " and in " +
                     file};
      fileOf[tensor.key] = file;
      inputs.resize(std::max(inputs.size(), batch + 1));
      inputs[batch].push_back(std::move(tensor));
    }
  }
  for (const auto &[name, count] : counts)
    if (count != inputs.size())
      return Error{"input '" + name + "' is given for " + std::to_string(count) + " of " +
                   std::to_string(inputs.size()) + " batches; each needs all inputs"};
  return Done{};
}

// Processes that share a model do the same on the same: were it not so, they would exchange rows that do not fit
// one another, or wait for ever.
Status OpenModel::agree() {
  const adapter_collectives_v1 *processes = options.processes;
  if (!processes)
    return Done{};
  Result<std::string> text = info();
  Result<checkpoint::Json> model = text ? checkpoint::parseJson(*text, "info") : text.error();
  if (!model)
    return model.error();
  model->erase("state");
  std::string words = model->dump();
  for (const std::vector<Tensor> &batch : inputs)
    for (const Tensor &input : batch)
      words += '\n' + input.key + ' ' + checkpoint::dtypeName(input.dtype) + ' ' +
               checkpoint::shapeText(input.shape) + ' ' + checkpoint::hashBytes(input.data, input.bytes);
  for (const auto &[property, value] : options.settings)
    words += '\n' + property + '=' + std::to_string(value);
  words += '\n' + options.entry + '\n' + options.adapter.value_or("") + '\n' + std::to_string(options.runs) +
           '\n' + std::to_string(options.tokens);
  for (const std::string &name : options.rowAdapters.value_or(std::vector<std::string>()))
    words += '\n' + name;
  std::string mine = checkpoint::hashBytes(words.data(), words.size());
  std::vector<int64_t> counts(processes->size, 1);
  std::string all(mine.size() * processes->size, ' ');
  if (processes->all_gather_v(processes->state, mine.data(), all.data(), counts.data(),
                              static_cast<int64_t>(mine.size())))
    return Error{"an exchange between processes failed"};
  for (int32_t other = 1; other < processes->size; ++other)
    if (all.compare(other * mine.size(), mine.size(), all, 0, mine.size()) != 0)
      return Error{"process " + std::to_string(other) +
                   " has another model, other inputs or other options than process 0"};
  return Done{};
}

Result<std::string> OpenModel::timeOf(const std::string &adapter) {
  char *text = nullptr;
  if (Status status = check(adapter_rt_adapters(model.get(), &text)); !status)
    return status.error();
  std::unique_ptr<char, void (*)(char *)> owner(text, adapter_rt_free);
  Result<checkpoint::Json> list = checkpoint::parseJson(text, "adapters");
  if (!list)
    return list.error();
  for (const checkpoint::Json &each : *list)
    if (each.value("name", "") == adapter)
      return each.value("time", "");
  return std::string();
}

Result<size_t> OpenModel::outputCount() {
  Result<std::string> text = info();
  Result<checkpoint::Json> model = text ? checkpoint::parseJson(*text, "info") : text.error();
  if (!model)
    return model.error();
  for (const checkpoint::Json &entry : model->value("entries", checkpoint::Json::array()))
    if (options.entry.empty() || entry.value("name", "") == options.entry)
      return entry.value("outputs", checkpoint::Json::array()).size();
  return size_t(0); // the call says that there is no such graph
}

Status OpenModel::switchTo(const char *name) { return check(adapter_rt_switch(model.get(), name)); }

Status OpenModel::confirm() {
  Status mine = options.noCheck ? Status(Done{}) : check(adapter_rt_finish_check(model.get()));
  const adapter_collectives_v1 *processes = options.processes;
  if (!processes)
    return mine;
  // An answer is made of what all processes have.
  std::vector<int64_t> counts(processes->size, 1);
  std::string all(processes->size, ' ');
  char word = mine ? '+' : '-';
  if (processes->all_gather_v(processes->state, &word, all.data(), counts.data(), 1))
    return Error{"an exchange between processes failed"};
  size_t damaged = all.find('-');
  if (!mine || damaged == std::string::npos)
    return mine;
  return Error{"process " + std::to_string(damaged) + " has a damaged model"};
}

Status OpenModel::verify() { return check(adapter_rt_verify(model.get())); }

Result<std::string> OpenModel::info() {
  char *text = nullptr;
  if (Status status = check(adapter_rt_info(model.get(), &text)); !status)
    return status.error();
  std::unique_ptr<char, void (*)(char *)> owner(text, adapter_rt_free);
  return std::string(text);
}

Result<std::vector<Tensor>> OpenModel::call(size_t batch, Routed routed, void *context) {
  std::vector<adapter_rt_tensor> views;
  for (const Tensor &input : inputs[batch])
    views.push_back({input.key.c_str(), input.data, input.shape.data(),
                     static_cast<int32_t>(input.shape.size()), static_cast<int32_t>(input.dtype)});
  adapter_rt_call_options call = {};
  call.struct_size = sizeof call;
  call.entry = options.entry.empty() ? nullptr : options.entry.c_str();
  if (options.adapter && !switched)
    call.adapter = options.adapter->c_str();
  call.routed = routed;
  call.routed_context = context;
  std::vector<const char *> rows;
  if (options.rowAdapters) {
    for (const std::string &name : *options.rowAdapters)
      rows.push_back(name.empty() ? nullptr : name.c_str());
    call.row_adapters = rows.data();
    call.row_count = rows.size();
    call.token_count = options.tokens;
  }
  adapter_rt_result *raw = nullptr;
  if (Status status = check(adapter_rt_call(model.get(), views.data(), views.size(), &call, &raw)); !status) {
    // The runtime knows inputs by name; the user knows files.
    const std::string &message = status.error().message;
    for (const auto &[name, file] : fileOf)
      if (message.rfind("input '" + name + "'", 0) == 0)
        return Error{file + ": " + message};
    return status.error();
  }
  std::shared_ptr<const adapter_rt_result> result(raw, [](const adapter_rt_result *each) {
    adapter_rt_result_free(const_cast<adapter_rt_result *>(each));
  });
  std::vector<Tensor> outputs;
  for (size_t i = 0; i < adapter_rt_result_count(raw); ++i) {
    adapter_rt_tensor view;
    if (Status status = check(adapter_rt_result_get(raw, i, &view)); !status)
      return status.error();
    Tensor tensor;
    tensor.key = view.name;
    tensor.dtype = static_cast<checkpoint::DType>(view.dtype);
    tensor.shape.assign(view.dims, view.dims + view.rank);
    tensor.data = static_cast<const std::byte *>(view.data);
    tensor.bytes = *checkpoint::tensorBytes(tensor.dtype, tensor.shape);
    tensor.owner = result;
    outputs.push_back(std::move(tensor));
  }
  return outputs;
}

} // namespace adapter::runtool
