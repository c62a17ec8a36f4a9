// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Letting other Python threads run, in extensions that may be at work in daemon threads when the interpreter ends. A
// thread that asks for the interpreter then is ended by Python in the middle of our frames, which aborts the process; so
// it does not ask any more.
#ifndef ADAPTER_PYTHON_RELEASED_H
#define ADAPTER_PYTHON_RELEASED_H

#include <Python.h>
#include <condition_variable>
#include <mutex>
#include <sys/syscall.h>
#include <unistd.h>

namespace adapter::python {

/// Whether this is the thread in which Python runs handlers of signals, and which ends the interpreter.
inline bool isMainThread() { return syscall(SYS_gettid) == getpid(); }

/// Without the interpreter's lock, from here to the end of the scope.
class Released {
public:
  Released() : state(PyEval_SaveThread()) {}
  Released(const Released &) = delete;
  ~Released() {
    if (!isMainThread())
      enter();
    PyEval_RestoreThread(state);
    if (!isMainThread())
      leave();
  }

  /// For an exit handler of Python: from now on threads other than the main one stay where they are.
  static void end() {
    Exit &exit = Released::exit();
    {
      std::lock_guard<std::mutex> lock(exit.mutex);
      exit.isNear = true;
    }
    // Those that asked for the lock before get it.
    PyThreadState *state = PyEval_SaveThread();
    {
      std::unique_lock<std::mutex> lock(exit.mutex);
      exit.changed.wait(lock, [&] { return exit.asking == 0; });
    }
    PyEval_RestoreThread(state);
  }

private:
  struct Exit {
    std::mutex mutex;
    std::condition_variable changed;
    bool isNear = false;
    int asking = 0; // threads that asked for the lock and have not got it yet
  };
  static Exit &exit() {
    static Exit &one = *new Exit; // outlives threads that are there at the end
    return one;
  }
  static void enter() {
    Exit &exit = Released::exit();
    std::unique_lock<std::mutex> lock(exit.mutex);
    if (exit.isNear) {
      lock.unlock();
      while (true)
        pause();
    }
    ++exit.asking;
  }
  static void leave() {
    Exit &exit = Released::exit();
    std::lock_guard<std::mutex> lock(exit.mutex);
    --exit.asking;
    exit.changed.notify_all();
  }

  PyThreadState *state;
};

} // namespace adapter::python

#endif // ADAPTER_PYTHON_RELEASED_H
