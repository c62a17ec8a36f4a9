// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// See Temporary.h. A signal handler may not walk folders, so a thread waits for the signals. Whether the process that
// made a temporary lives is asked by a lock on it: numbers of processes mean nothing to other containers.
#include "lib/Checkpoint/Temporary.h"
#include "lib/Checkpoint/Work.h"
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <fcntl.h>
#include <filesystem>
#include <map>
#include <mutex>
#include <semaphore.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <thread>
#include <unistd.h>

namespace adapter::checkpoint {

namespace fs = std::filesystem;

namespace {
struct Registry {
  std::mutex mutex;
  std::map<std::string, const Work *> paths; // with the work that they are of, if it is of one
};
} // namespace

// Lives on while other threads end with the process.
static Registry &registry() {
  static auto *all = new Registry;
  return *all;
}

static constexpr const char *mark = ".tmp-";

static bool isDead(const std::string &path) {
  int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
  if (descriptor < 0)
    return false;
  bool dead = ::flock(descriptor, LOCK_EX | LOCK_NB) == 0;
  ::close(descriptor);
  return dead;
}

// Whether a name is one that `newName` makes: digits, a dash, digits.
static bool isOwnName(const std::string &name, const std::string &prefix, pid_t &process) {
  if (name.compare(0, prefix.size(), prefix) != 0)
    return false;
  int end = 0;
  bool isOne = std::sscanf(name.c_str() + prefix.size(), "%d-%*u%n", &process, &end) == 1 && end > 0;
  return isOne && prefix.size() + static_cast<size_t>(end) == name.size();
}

// What processes left that were killed while they wrote the same target.
static void removeStale(const fs::path &target) {
  std::error_code code;
  fs::path folder = target.parent_path().empty() ? fs::path(".") : target.parent_path();
  std::string prefix = target.filename().string() + mark;
  for (fs::directory_iterator it(folder, code), end; !code && it != end; it.increment(code)) {
    pid_t process = 0;
    if (!isOwnName(it->path().filename().string(), prefix, process) ||
        (::kill(process, 0) == 0 || errno != ESRCH) || !isDead(it->path().string()))
      continue;
    std::error_code ignored;
    fs::remove_all(it->path(), ignored);
  }
}

static std::string newName(const std::string &target) {
  static std::atomic<unsigned> counter{0};
  return target + mark + std::to_string(::getpid()) + "-" + std::to_string(counter++);
}

static std::string withoutSlash(std::string path) {
  while (path.size() > 1 && path.back() == '/')
    path.pop_back();
  return path;
}

// Calls `make` with new names, until one is not taken. The registry is held meanwhile, so that no signal comes between.
template <typename Make>
static Result<std::pair<std::string, int>> create(const std::string &target, Make make) {
  removeStale(target);
  for (int attempt = 0; attempt < 100; ++attempt) {
    std::string name = newName(target);
    std::lock_guard<std::mutex> guard(registry().mutex);
    int descriptor = make(name.c_str());
    if (descriptor >= 0) {
      ::flock(descriptor, LOCK_EX | LOCK_NB); // where a file system knows no locks, nothing is removed later
      registry().paths[name] = currentWork();
      return std::pair(name, descriptor);
    }
    if (errno != EEXIST)
      break;
  }
  std::error_code code(errno, std::generic_category());
  return Error{target + ": cannot write: " + code.message()};
}

Temporary::Temporary(std::string target, std::string where, int open)
    : target(std::move(target)), where(std::move(where)), open(open) {}

Temporary::Temporary(Temporary &&other) noexcept
    : target(std::move(other.target)), where(std::move(other.where)), open(other.open) {
  other.where.clear();
  other.open = -1;
}

Result<Temporary> Temporary::file(const std::string &target) {
  // Not mkstemp: it leaves mode 0600, and reading the umask to widen it is a race between threads.
  auto made = create(
      target, [](const char *name) { return ::open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666); });
  if (!made)
    return made.error();
  return Temporary(target, made->first, made->second);
}

Result<Temporary> Temporary::folder(const std::string &path) {
  std::string target = withoutSlash(path);
  auto made = create(target, [](const char *name) {
    return ::mkdir(name, 0777) ? -1 : ::open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  });
  if (!made)
    return made.error();
  return Temporary(target, made->first, made->second);
}

Temporary::~Temporary() {
  if (!where.empty()) {
    std::lock_guard<std::mutex> guard(registry().mutex);
    registry().paths.erase(where);
    std::error_code ignored;
    fs::remove_all(where, ignored);
  }
  if (open >= 0)
    ::close(open);
}

Error Temporary::atTarget(Error error) const {
  for (size_t at; !where.empty() && (at = error.message.find(where)) != std::string::npos;)
    error.message.replace(at, where.size(), target);
  return error;
}

bool Temporary::close() {
  int descriptor = open;
  open = -1;
  return descriptor < 0 || ::close(descriptor) == 0;
}

bool Temporary::moveToTarget() {
  std::lock_guard<std::mutex> guard(registry().mutex);
  if (::rename(where.c_str(), target.c_str()))
    return false;
  registry().paths.erase(where);
  where.clear();
  return true;
}

bool Temporary::exchangeWithTarget() {
  return ::renameat2(AT_FDCWD, where.c_str(), AT_FDCWD, target.c_str(), RENAME_EXCHANGE) == 0;
}

void removeTemporariesOf(const Work &work) {
  std::lock_guard<std::mutex> guard(registry().mutex);
  std::error_code ignored;
  for (auto it = registry().paths.begin(); it != registry().paths.end();) {
    bool isIts = it->second == &work;
    if (isIts)
      fs::remove_all(it->first, ignored);
    it = isIts ? registry().paths.erase(it) : std::next(it);
  }
}

//===----------------------------------------------------------------------===//
// Signals
//===----------------------------------------------------------------------===//

// What the handler may touch. Blocking the signals and waiting for them would not do: libraries start threads before
// main, which do not inherit what is blocked there.
static sem_t arrived;
static std::atomic<int> which{0};

static void note(int signal) {
  which = signal;
  sem_post(&arrived);
}

static void endBySignal() {
  while (sem_wait(&arrived) != 0) {
  }
  // Kept until the process ends: nothing new begins, and nothing that is half removed is moved to its target.
  registry().mutex.lock();
  std::error_code ignored;
  for (const auto &[path, work] : registry().paths)
    fs::remove_all(path, ignored);
  struct sigaction standard = {};
  standard.sa_handler = SIG_DFL;
  sigaction(which, &standard, nullptr);
  raise(which);
}

void removeTemporariesOnSignal() {
  ::signal(SIGXFSZ, SIG_IGN);
  sem_init(&arrived, 0, 0);
  std::thread(endBySignal).detach();
  for (int signal : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction before, handler = {};
    handler.sa_handler = note;
    handler.sa_flags = SA_RESTART;
    if (sigaction(signal, nullptr, &before) == 0 && before.sa_handler != SIG_IGN)
      sigaction(signal, &handler, nullptr);
  }
}

} // namespace adapter::checkpoint
