// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Result<T>: a value, or the message of what went wrong. Everything that reads user input returns one;
// nothing in lib/Checkpoint and lib/Runtime throws.
#ifndef ADAPTER_LIB_CHECKPOINT_RESULT_H
#define ADAPTER_LIB_CHECKPOINT_RESULT_H

#include <string>
#include <utility>
#include <variant>

namespace adapter::checkpoint {

// What is wrong with an input: one message that says which file, what, where and what to do.
struct Error {
  std::string message;
};

template <typename T>
class [[nodiscard]] Result {
public:
  Result(T value) : storage(std::in_place_index<0>, std::move(value)) {}
  Result(Error error) : storage(std::in_place_index<1>, std::move(error)) {}

  explicit operator bool() const { return storage.index() == 0; }
  T &operator*() { return std::get<0>(storage); }
  const T &operator*() const { return std::get<0>(storage); }
  T *operator->() { return &std::get<0>(storage); }
  const T *operator->() const { return &std::get<0>(storage); }
  const Error &error() const { return std::get<1>(storage); }

private:
  std::variant<T, Error> storage;
};

// A Result without a value.
struct Done {};
using Status = Result<Done>;

} // namespace adapter::checkpoint

#endif // ADAPTER_LIB_CHECKPOINT_RESULT_H
