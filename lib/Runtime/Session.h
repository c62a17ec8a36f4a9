// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Sessions: rows of text that grow call by call. The graph sees a batch whose caches are padded on the left to the
// longest row's; the mask and the positions that go with it are made here.
#ifndef ADAPTER_LIB_RUNTIME_SESSION_H
#define ADAPTER_LIB_RUNTIME_SESSION_H

#include "lib/Runtime/Model.h"
#include "lib/Runtime/SessionCache.h"
#include <set>

namespace adapter::runtime {

struct SessionOptions {
  std::string entry; // empty: the first
  int64_t rows = 1, maxLength = 0;
};

struct SessionRequest {
  std::vector<int64_t> rows;
  std::vector<int64_t> lengths; // new tokens of each; empty: as many as the inputs have
  CallRequest call;             // its inputs are aligned to the right
};

// A tensor that a session makes for a call.
struct CallTensor {
  Tensor tensor;
  std::shared_ptr<void> owner;
};

class Session {
public:
  static Result<std::unique_ptr<Session>> open(Model &model, const SessionOptions &options);

  Result<CallResult> call(SessionRequest request);
  Result<int64_t> length(int64_t row);
  Status reset(int64_t row);
  Status rewind(int64_t row, int64_t tokens);
  Status fork(int64_t row, int64_t into);

private:
  struct Row {
    int64_t length = 0;
    Mix adapters; // that act on it, once it holds tokens
    std::vector<std::pair<std::string, double>> settings;
    std::string acting; // Model::actingOn
  };
  // Rows that the graph can take at once: of as many new tokens and, where no mask and positions tell them apart, as
  // many earlier ones.
  struct Group {
    int64_t count = 0;            // new tokens
    std::vector<size_t> members;  // places in the request
    std::vector<int64_t> rows;    // of the session
    std::vector<int64_t> lengths; // earlier tokens
    int64_t longest = 0;
    CallResult result;
  };

  Session(Model &model, const artifact::Entry &entry, SessionCache cache, const SessionOptions &options);
  Status checkRow(int64_t row) const;
  Result<int64_t> readLengths(SessionRequest &request) const;
  Status checkActing(const Model::View &view, const SessionRequest &request,
                     std::vector<std::string> &acting) const;
  Status keepAdapters(SessionRequest &request) const;
  std::vector<Group> divide(const SessionRequest &request) const;
  Status addInputs(const SessionRequest &request, int64_t tokens, const Group &group, CallRequest &call,
                   std::vector<CallTensor> &made);
  void addOwnInputs(const Group &group, CallRequest &call, std::vector<CallTensor> &made);
  Status run(const Model::View &view, const SessionRequest &request, int64_t tokens, Group &group);
  Result<CallResult> join(std::vector<Group> &groups, size_t count, int64_t tokens);

  Model &model;
  const artifact::Entry &entry;
  SessionCache cache;
  int64_t maxLength;
  std::set<std::string> ownInputs; // that the session makes, and calls may not give
  std::string rowName, tokenName;  // of the input of tokens: its dimensions; empty where they have no name
  std::mutex mutex;                // of all below, and of the cache
  std::vector<Row> rows;
};

} // namespace adapter::runtime

#endif // ADAPTER_LIB_RUNTIME_SESSION_H
