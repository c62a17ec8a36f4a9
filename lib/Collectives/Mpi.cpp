// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// See adapter-rt/mpi.h. Counts are in rows: a row is a type of its own, so that MPI's int counts suffice for more
// than two gigabytes.
#include "adapter-rt/mpi.h"
#include <climits>
#include <cstdlib>
#include <mpi.h>
#include <vector>

namespace {

MPI_Comm world = MPI_COMM_NULL;
bool startedHere = false;
adapter_collectives_v1 table;

// A row of that many bytes as a type of MPI's.
class RowType {
public:
  explicit RowType(int64_t bytes) {
    if (bytes < 0 || bytes > INT_MAX)
      return;
    if (MPI_Type_contiguous(static_cast<int>(bytes), MPI_BYTE, &type) == MPI_SUCCESS &&
        MPI_Type_commit(&type) != MPI_SUCCESS)
      MPI_Type_free(&type);
  }
  ~RowType() {
    if (type != MPI_DATATYPE_NULL)
      MPI_Type_free(&type);
  }
  RowType(const RowType &) = delete;
  bool isValid() const { return type != MPI_DATATYPE_NULL; }
  MPI_Datatype get() const { return type; }

private:
  MPI_Datatype type = MPI_DATATYPE_NULL;
};

// Counts as MPI takes them, with where each process's rows begin.
struct Layout {
  std::vector<int> counts, starts;
  bool isValid = true;

  explicit Layout(const int64_t *from) {
    int64_t start = 0;
    for (int process = 0; process < table.size; ++process) {
      isValid &= from[process] >= 0 && start <= INT_MAX - from[process];
      counts.push_back(static_cast<int>(from[process]));
      starts.push_back(static_cast<int>(start));
      start += from[process];
    }
  }
};

// No exception may leave: what calls is compiled code.
template <typename Function>
int32_t guard(Function function) {
  try {
    return function() == MPI_SUCCESS ? 0 : 1;
  } catch (...) {
    return 1;
  }
}

int32_t allToAll(void *, const void *send, void *receive, int64_t bytes) {
  return guard([&] {
    RowType block(bytes);
    return block.isValid() ? MPI_Alltoall(send, 1, block.get(), receive, 1, block.get(), world)
                           : MPI_ERR_TYPE;
  });
}

int32_t allToAllV(void *, const void *send, const int64_t *sendCounts, void *receive,
                  const int64_t *receiveCounts, int64_t rowBytes) {
  return guard([&] {
    RowType row(rowBytes);
    Layout out(sendCounts), in(receiveCounts);
    if (!row.isValid() || !out.isValid || !in.isValid)
      return MPI_ERR_COUNT;
    return MPI_Alltoallv(send, out.counts.data(), out.starts.data(), row.get(), receive, in.counts.data(),
                         in.starts.data(), row.get(), world);
  });
}

int32_t allGatherV(void *, const void *send, void *receive, const int64_t *counts, int64_t rowBytes) {
  return guard([&] {
    RowType row(rowBytes);
    Layout in(counts);
    if (!row.isValid() || !in.isValid)
      return MPI_ERR_COUNT;
    return MPI_Allgatherv(send, in.counts[table.rank], row.get(), receive, in.counts.data(), in.starts.data(),
                          row.get(), world);
  });
}

} // namespace

extern "C" {

__attribute__((visibility("default"))) const adapter_collectives_v1 *adapter_mpi_open(void) {
  int initialised = 0;
  if (MPI_Initialized(&initialised) != MPI_SUCCESS)
    return nullptr;
  if (!initialised) {
    int provided = 0;
    // The thread that calls is the one that communicates; others compute.
    if (MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided) != MPI_SUCCESS)
      return nullptr;
    startedHere = true;
  }
  // A communicator of its own: messages of the embedder's cannot be taken for these.
  if (world == MPI_COMM_NULL && MPI_Comm_dup(MPI_COMM_WORLD, &world) != MPI_SUCCESS)
    return nullptr;
  MPI_Comm_set_errhandler(world, MPI_ERRORS_RETURN);
  int rank = 0, size = 0;
  MPI_Comm_rank(world, &rank);
  MPI_Comm_size(world, &size);
  table = {sizeof table, ADAPTER_ABI_VERSION, nullptr, rank, size, allToAll, allToAllV, allGatherV};
  return &table;
}

__attribute__((visibility("default"))) void adapter_mpi_close(void) {
  if (world != MPI_COMM_NULL)
    MPI_Comm_free(&world);
  if (startedHere)
    MPI_Finalize();
  startedHere = false;
}

__attribute__((visibility("default"))) void adapter_mpi_abort(int code) {
  MPI_Abort(MPI_COMM_WORLD, code);
  std::_Exit(code);
}

} // extern "C"
