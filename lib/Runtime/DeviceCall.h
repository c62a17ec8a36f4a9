// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What a model has on its device, and the device's side of one call of compiled code.
#ifndef ADAPTER_LIB_RUNTIME_DEVICECALL_H
#define ADAPTER_LIB_RUNTIME_DEVICECALL_H

#include "adapter-rt/artifact.h"
#include "lib/Runtime/Device.h"
#include "lib/Runtime/Realise.h"
#include <map>
#include <set>

namespace adapter::runtime {

// Device copies of one generation's weights and banks, made when a call first asks for them. Used under the
// device's mutex alone.
struct DeviceTensors {
  std::map<int64_t, DeviceBuffer> parameters;                // by row of the table
  std::map<std::pair<int64_t, int32_t>, DeviceBuffer> banks; // by bank and part
};

// The entries of one bank by number, and what their tensors hold.
struct BankView {
  const std::vector<adapter_entry_v1> *entries;
  const std::vector<EntrySizes> *sizes;
};

// The numbers and the table of a bank, as kernels find them; see adapter_device_v1.
struct PackedBank {
  std::vector<float> numbers;
  std::vector<int32_t> table;
};
Result<PackedBank> packBank(const BankView &bank);

// One call; holds the device until it ends.
class DeviceCall {
public:
  struct Inputs {
    const Artifact *artifact;
    const std::vector<const void *> *parameters; // of this generation
    std::vector<BankView> banks;
    const std::vector<int32_t> *rowEntries;
    DeviceTensors *pristine; // of the artifact's own parameters
    DeviceTensors *changed;  // of what differs in this generation
  };

  DeviceCall(std::shared_ptr<Device> device, Inputs inputs);
  ~DeviceCall();
  const adapter_device_v1 *table() const { return &functions; }
  // The first failure, "" for none.
  const std::string &failure() const { return message; }

private:
  static void *allocate(void *state, int64_t elements, int64_t elementBytes);
  static void release(void *state, void *buffer);
  static void write(void *state, void *buffer, int64_t offset, const void *data, int64_t bytes);
  static int32_t read(void *state, void *buffer, int64_t offset, void *data, int64_t bytes);
  static void *parameter(void *state, int64_t index);
  static void *rows(void *state);
  static void *bank(void *state, int64_t bank, int32_t part);
  static void launch(void *state, int64_t kernel, int64_t groups, void *const *buffers,
                     const int32_t *scalars);

  // Runs a step unless one failed before; keeps the first failure.
  template <typename Step>
  void attempt(Step step);
  void *uploaded(DeviceBuffer &place, const void *data, int64_t bytes);

  std::shared_ptr<Device> device;
  std::unique_lock<std::recursive_mutex> lock;
  Inputs inputs;
  adapter_device_v1 functions;
  std::set<void *> buffers; // of this call
  DeviceBuffer rowBuffer;
  std::string message;
};

} // namespace adapter::runtime

#endif // ADAPTER_LIB_RUNTIME_DEVICECALL_H
