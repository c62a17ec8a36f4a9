// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// An open model: the artifact, the adapters of the moment, and calls.
#ifndef ADAPTER_LIB_RUNTIME_MODEL_H
#define ADAPTER_LIB_RUNTIME_MODEL_H

#include "lib/Checkpoint/Json.h"
#include "lib/Runtime/DeviceCall.h"
#include "lib/Runtime/Realise.h"
#include "lib/Runtime/Rows.h"
#include <optional>

namespace adapter::runtime {

struct KeptRows;

// A row- or call-bound adapter under one setting of its properties.
struct Variant {
  Properties properties;
  int entry = -1; // its number in the banks
  std::shared_ptr<const Prepared> prepared;
};

// An adapter as one generation of calls sees it.
struct LiveAdapter {
  std::shared_ptr<const Source> source;
  Properties properties; // unless a call sets others
  // By entry of the banks: the one of `properties` first, then those that calls asked for, the latest last.
  std::vector<Variant> variants;

  const Variant *find(const Properties &wanted) const;
};

// Everything that a call reads and a change replaces. A change publishes a new snapshot; calls under way
// finish on the one they hold.
struct Snapshot {
  std::map<std::string, LiveAdapter> adapters;
  std::string switched;            // empty: the base
  std::vector<std::string> loaded; // load-bound adapters, in the order in which they act
  Materialized loadedWeights;      // with these
  Materialized weights;            // and with the one that is switched in
  std::vector<const void *> parameters;
  std::vector<std::vector<adapter_entry_v1>> entries; // [bank][entry]
  std::vector<std::vector<EntrySizes>> sizes;         // of the same
  std::shared_ptr<DeviceTensors> device;              // what this generation alone has there
  std::vector<adapter_bank_v1> banks;
  std::vector<double> scalars;
};

struct CallRequest {
  std::vector<std::pair<std::string, Tensor>> inputs; // views
  std::string entry;                                  // empty: the first
  std::optional<Mix> adapter;                         // for all rows
  std::optional<std::vector<Mix>> rowAdapters;        // or for each
  int64_t tokens = 0; // of a row, each of which has adapters of its own in rowAdapters; 0: rows have
  std::vector<std::pair<std::string, double>> settings; // "<adapter>.<property>", for this call
  Listener listener;

  std::vector<Share> shares() const; // of all rows
};

struct CallResult {
  std::vector<std::string> names;
  std::vector<Output> outputs;
};

class Model {
public:
  static Result<std::unique_ptr<Model>> open(const std::string &folder, int threads, int64_t memoryLimit,
                                             bool checks = true,
                                             const adapter_collectives_v1 *collectives = nullptr);

  // Properties by adapter and the task that a row names, where a call brings them.
  using Settings = std::map<std::pair<std::string, int64_t>, Properties>;
  // What a call sees: a generation of the model, and the properties that it brings.
  struct View {
    std::shared_ptr<const Snapshot> state;
    Settings settings;
  };

  Result<CallResult> call(const CallRequest &request);
  // The same in two steps, for calls that must see one generation.
  Result<View> view(const CallRequest &request);
  // `kept` are rows of a session, which graphs need whose code keeps caches in place.
  Result<CallResult> call(const View &view, const CallRequest &request, const KeptRows *kept = nullptr);
  // What acts on a row of such adapters: equal texts, equal numbers.
  Result<std::string> actingOn(const View &view, const Mix &row) const;
  const artifact::Manifest &manifest() const { return artifact->manifest; }
  Resources &shared() { return resources; }
  Result<const artifact::Entry *> findEntry(const std::string &name) const; // empty: the first
  Status switchTo(const std::string &name);                                 // empty: the base
  // Whether adapters that say they are of another base may be loaded. Not to be called while others use the model.
  void allowOtherBase(bool allowed) { allowsOtherBase = allowed; }
  Status loadAdapter(const std::string &name, const std::string &path, const char *slot);
  Status unloadAdapter(const std::string &name);
  Status set(const std::string &property, double value);
  // The comparison of the artifact's files with their hashes.
  FileCheck &fileCheck() const { return *artifact->check; }
  checkpoint::Json info() const;
  checkpoint::Json adapters() const;

private:
  Model(std::shared_ptr<const Artifact> artifact, int threads, int64_t memoryLimit)
      : artifact(artifact), resources(threads, memoryLimit),
        copies(std::make_shared<TouchedCopies>(artifact, resources)) {}
  std::shared_ptr<const Snapshot> current() const;
  void publish(std::shared_ptr<Snapshot> next);
  std::shared_ptr<Snapshot> copy() const { return std::make_shared<Snapshot>(*current()); }

  Status add(Snapshot &snapshot, std::shared_ptr<const Source> source);
  void remove(Snapshot &snapshot, const std::string &name) const;
  Status prepareVariant(Snapshot &snapshot, const Source &source, Variant &variant);
  Status reload(Snapshot &snapshot);
  Status putIn(Snapshot &snapshot);
  Status changeProperties(const Snapshot &snapshot, const std::string &text, double value, std::string &name,
                          Properties &properties) const;
  Result<Settings> readSettings(const Snapshot &snapshot, const CallRequest &request) const;
  Result<std::shared_ptr<const Snapshot>> withVariants(const CallRequest &request, Settings &settings);
  Result<RowPlan> planRows(const Snapshot &snapshot, const artifact::Entry &entry, const CallRequest &request,
                           const Settings &settings, const std::vector<const Tensor *> &inputs) const;
  // Advice.cpp: what there is instead, and what to compile to have it.
  Error unknownAdapter(const Snapshot &snapshot, const std::string &name,
                       const std::string &property = "") const;
  Error unknownProperty(const Snapshot &snapshot, const std::string &text) const;
  static Error notBound(const Source &source, const std::string &property);
  static std::vector<adapter_assignment_v1> actingAlways(const Snapshot &state);
  void addRows(RowPlan &plan, const std::vector<std::vector<adapter_assignment_v1>> &rows, bool apart) const;
  Result<std::shared_ptr<Device>> useDevice();
  Result<std::vector<Output>> invokeOn(const Snapshot &state, adapter_function_v1 function,
                                       const adapter_call_v1 &call, const RowPlan &rows,
                                       const std::vector<int32_t> &dtypes, const Listener &listener);
  Status checkProcesses() const;

  Status checkBase(const Source &source) const;

  std::shared_ptr<const Artifact> artifact;
  bool allowsOtherBase = false;
  Resources resources;
  std::mutex opening; // of `device`, which the first call does
  std::shared_ptr<Device> device;
  DeviceTensors deviceTensors; // of the artifact's own parameters
  std::shared_ptr<TouchedCopies> copies;
  const adapter_collectives_v1 *collectives = nullptr;
  std::mutex exchanging;         // one call at a time talks to the other processes
  std::mutex writing;            // changes come one after the other
  mutable std::mutex publishing; // of `snapshot`, held for a moment only
  std::shared_ptr<const Snapshot> snapshot;
};

// Checks the inputs of a call against a graph and puts them in its order.
Result<std::vector<const Tensor *>> orderInputs(const artifact::Entry &entry, const CallRequest &request);

} // namespace adapter::runtime

#endif // ADAPTER_LIB_RUNTIME_MODEL_H
