// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Shared libraries from objects, by LLD within the process.
#include "lib/Checkpoint/Work.h"
#include "lib/Target/Linking.h"
#include "lib/Target/Target.h"
#include "lld/Common/CommonLinkerContext.h"
#include "lld/Common/Driver.h"
#include "llvm/Support/raw_ostream.h"
#include <mutex>
#include <shared_mutex>

LLD_HAS_DRIVER(elf)

using namespace adapter;

static std::shared_mutex &process() {
  static std::shared_mutex mutex;
  return mutex;
}

CodegenLock::CodegenLock() { process().lock_shared(); }
CodegenLock::~CodegenLock() { process().unlock_shared(); }

checkpoint::Status adapter::linkSharedLibrary(llvm::StringRef object, llvm::StringRef output) {
  std::string in = object.str(), out = output.str(), messages;
  llvm::raw_string_ostream stream(messages);
  // No library: memcpy and memset, which LLVM makes of loops, are found in the process. One thread: there is one object
  // to link, and threads of LLD stay, and end the process where the system has none to give.
  const char *arguments[] = {"ld.lld", "-shared",   "--threads=1", "--build-id=none", "-z",
                             "relro",  "-z",        "noexecstack", "--gc-sections",   "--strip-all",
                             "-o",     out.c_str(), in.c_str()};
  std::unique_lock<std::shared_mutex> lock(process());
  if (checkpoint::isCancelled())
    return checkpoint::cancelledError();
  bool linked = lld::elf::link(arguments, stream, stream, /*exitEarly=*/false, /*disableOutput=*/false);
  lld::CommonLinkerContext::destroy();
  if (!linked)
    return checkpoint::Error{"the linker failed: " + messages};
  return checkpoint::Done{};
}
