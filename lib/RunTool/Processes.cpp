// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// See Processes.h.
#include "lib/RunTool/Processes.h"
#include "adapter-rt/mpi.h"
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <dlfcn.h>
#include <unistd.h>

namespace adapter::runtool {

using checkpoint::Error;
using checkpoint::Result;

namespace {

constexpr const char *libraryName = "libadapter_mpi.so";

// What the launchers of Open MPI, MPICH and those with PMIx or Slurm leave for the processes they start.
bool isLaunched() {
  for (const char *name : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMIX_RANK"})
    if (std::getenv(name))
      return true;
  return false;
}

// Beside this program as it is built and installed, else where the system looks.
void *load(std::string &why) {
  char self[PATH_MAX];
  ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
  std::string path(self, length > 0 ? static_cast<size_t>(length) : 0);
  std::string folder = path.substr(0, path.rfind('/'));
  for (const std::string &candidate :
       {folder + "/../lib/" + libraryName, folder + "/" + libraryName, std::string(libraryName)}) {
    if (candidate.find('/') != std::string::npos && access(candidate.c_str(), R_OK))
      continue;
    if (void *library = dlopen(candidate.c_str(), RTLD_NOW | RTLD_GLOBAL))
      return library;
    const char *text = dlerror();
    why = text ? text : "unknown reason";
  }
  return nullptr;
}

template <typename Function>
Function find(void *library, const char *name) {
  return reinterpret_cast<Function>(dlsym(library, name));
}

} // namespace

Result<std::unique_ptr<Processes>> Processes::join(const std::string &how) {
  if (how == "none" || (how == "auto" && !isLaunched()))
    return std::unique_ptr<Processes>();
  std::unique_ptr<Processes> processes(new Processes);
  std::string why;
  processes->library = load(why);
  if (!processes->library)
    return Error{std::string(libraryName) + " cannot be loaded: " + why +
                 "; --collectives none runs this process alone"};
  auto open = find<decltype(&adapter_mpi_open)>(processes->library, "adapter_mpi_open");
  if (!open || !find<decltype(&adapter_mpi_close)>(processes->library, "adapter_mpi_close") ||
      !find<decltype(&adapter_mpi_abort)>(processes->library, "adapter_mpi_abort"))
    return Error{std::string(libraryName) + ": lacks what adapter-run asks of it"};
  processes->table = open();
  if (!processes->table || processes->table->abi_version != ADAPTER_ABI_VERSION)
    return Error{processes->table ? std::string(libraryName) + " has another interface version"
                                  : std::string("MPI did not start")};
  return processes;
}

Processes::~Processes() {
  // The library stays loaded: MPI leaves handlers behind.
  if (table)
    find<decltype(&adapter_mpi_close)>(library, "adapter_mpi_close")();
}

void Processes::abort(int code) {
  std::fflush(nullptr);
  find<decltype(&adapter_mpi_abort)>(library, "adapter_mpi_abort")(code);
  std::_Exit(code);
}

} // namespace adapter::runtool
