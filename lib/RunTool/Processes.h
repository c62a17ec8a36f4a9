// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The processes that mpirun started, by way of libadapter_mpi.so.
#ifndef ADAPTER_LIB_RUNTOOL_PROCESSES_H
#define ADAPTER_LIB_RUNTOOL_PROCESSES_H

#include "adapter-rt/artifact.h"
#include "lib/Checkpoint/Result.h"
#include <memory>
#include <string>

namespace adapter::runtool {

class Processes {
public:
  // `how` is "mpi", "none" or "auto": mpi where mpirun started this process. Null where there is one process only.
  static checkpoint::Result<std::unique_ptr<Processes>> join(const std::string &how);
  ~Processes();

  const adapter_collectives_v1 *collectives() const { return table; }
  bool isFirst() const { return table->rank == 0; }
  // Ends all processes: none waits for one that failed.
  [[noreturn]] void abort(int code);

private:
  Processes() = default;
  void *library = nullptr;
  const adapter_collectives_v1 *table = nullptr;
};

} // namespace adapter::runtool

#endif // ADAPTER_LIB_RUNTOOL_PROCESSES_H
