// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Running the driver so that nothing it meets ends the process. LLVM has no exceptions: where it cannot go on it calls
// a handler that must not return. Ours throws, past frames that then release nothing. What they hold of memory is
// lost; files are not, which the job's Work knows.
#include "lib/CompilerApi/Job.h"
#include "adapter/InitAll.h"
#include "lib/Checkpoint/Temporary.h"
#include "lib/Checkpoint/Text.h"
#include "lib/Pipelines/Driver.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"
#include "llvm/Support/ErrorHandling.h"
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <new>
#include <pthread.h>
#include <set>

using namespace adapter;
using checkpoint::Result;

namespace {

/// What LLVM cannot go on from.
struct FatalError {
  std::string reason;
};

/// The jobs that run.
struct Registry {
  std::mutex mutex;
  std::condition_variable isEmpty;
  std::set<std::shared_ptr<Job>> jobs;
};

Registry &registry() {
  static Registry &all = *new Registry; // outlives threads that are still there at exit
  return all;
}

// Other threads of the process are none of ours: there LLVM does as it always does.
void onFatalError(void *, const char *reason, bool) {
  if (checkpoint::currentWork())
    throw FatalError{reason};
}
void onOutOfMemory(void *, const char *reason, bool) { throw std::bad_alloc(); }

void installHandlers() {
  static std::once_flag once;
  std::call_once(once, [] {
    llvm::install_fatal_error_handler(onFatalError);
    llvm::install_bad_alloc_error_handler(onOutOfMemory);
  });
}

void addLine(std::string &text, const std::string &line) {
  text += (text.empty() ? "" : "\n") + checkpoint::printable(line);
}

// Where the system refused memory for a file, say, the error is in words only.
bool saysOutOfMemory(const std::string &message) {
  return message.find(std::strerror(ENOMEM)) != std::string::npos ||
         message.find("out of memory") != std::string::npos;
}

} // namespace

void Job::compile() {
  llvm::raw_string_ostream stream(output);
  Console console{stream, [this](const std::string &error) { addLine(message, error); },
                  [this](const std::string &warning) { addLine(warnings, warning); }};
  Result<Words> words = parseWords(arguments);
  Result<CommandLine> line = words ? interpret(*words) : Result<CommandLine>(words.error());
  if (!line) {
    addLine(message, line.error().message);
    status = ADAPTER_OPT_INVALID;
    return;
  }
  mlir::DialectRegistry dialects;
  registerAllDialects(dialects);
  if (runOnModels(*line, dialects, mlir::MlirOptMainConfig(), console) != done)
    status = saysOutOfMemory(message) ? ADAPTER_OPT_OUT_OF_MEMORY : ADAPTER_OPT_INVALID;
}

void Job::run() {
  checkpoint::WorkScope scope(&work);
  try {
    compile();
  } catch (const std::bad_alloc &) {
    status = ADAPTER_OPT_OUT_OF_MEMORY;
    message = "out of memory";
  } catch (const FatalError &error) {
    status = ADAPTER_OPT_INTERNAL;
    message = "the compiler cannot go on: " + error.reason;
  } catch (const std::exception &error) {
    status = ADAPTER_OPT_INTERNAL;
    message = std::string("the compiler cannot go on: ") + error.what();
  }
  conclude();
}

// Whoever called the job off does not look any more: from the moment it is over nothing of it may be left.
void Job::conclude() {
  std::unique_lock<std::mutex> lock(mutex);
  if (work.isCancelled())
    status = ADAPTER_OPT_CANCELLED;
  checkpoint::removeTemporariesOf(work);
  std::error_code ignored;
  if (status != ADAPTER_OPT_OK && !folder.empty())
    std::filesystem::remove_all(folder, ignored);
  over = true;
  isOver.notify_all();
}

bool Job::start(const std::shared_ptr<Job> &job) {
  installHandlers();
  {
    std::lock_guard<std::mutex> lock(registry().mutex);
    registry().jobs.insert(job);
  }
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, 8 << 20); // as a process has
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  auto own = std::make_unique<std::shared_ptr<Job>>(job);
  pthread_t thread;
  bool started = pthread_create(&thread, &attributes, enter, own.get()) == 0;
  pthread_attr_destroy(&attributes);
  if (started) {
    own.release();
    return true;
  }
  job->status = ADAPTER_OPT_OUT_OF_MEMORY;
  job->conclude();
  leave(job);
  return false;
}

void *Job::enter(void *job) {
  std::unique_ptr<std::shared_ptr<Job>> own(static_cast<std::shared_ptr<Job> *>(job));
  (*own)->run();
  leave(*own);
  return nullptr;
}

void Job::leave(const std::shared_ptr<Job> &job) {
  std::lock_guard<std::mutex> lock(registry().mutex);
  registry().jobs.erase(job);
  registry().isEmpty.notify_all();
}

bool Job::wait(uint32_t milliseconds) {
  std::unique_lock<std::mutex> lock(mutex);
  return isOver.wait_for(lock, std::chrono::milliseconds(milliseconds), [this] { return over; });
}

void Job::cancel() {
  std::lock_guard<std::mutex> lock(mutex);
  if (!over)
    work.cancel();
}

void Job::finishAll() {
  std::unique_lock<std::mutex> lock(registry().mutex);
  for (const std::shared_ptr<Job> &job : registry().jobs)
    job->cancel();
  registry().isEmpty.wait(lock, [] { return registry().jobs.empty(); });
}
