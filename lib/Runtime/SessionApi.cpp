// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The C API of sessions.
#include "lib/Runtime/ApiGuard.h"
#include "lib/Runtime/Session.h"

using namespace adapter::runtime;

struct adapter_rt_session {
  std::unique_ptr<Session> session;
};

static adapter_rt_status withSession(adapter_rt_session *session,
                                     Status (*function)(Session &, int64_t, int64_t), int64_t row,
                                     int64_t argument) {
  return guard([&]() -> Status {
    if (!session)
      return Error{"session is NULL"};
    return function(*session->session, row, argument);
  });
}

extern "C" {

adapter_rt_status adapter_rt_session_open(adapter_rt_model *model, const adapter_rt_session_options *options,
                                          adapter_rt_session **session) {
  return guard([&]() -> Status {
    if (!model || !options || !session)
      return Error{"model, options or session is NULL"};
    *session = nullptr;
    if (options->struct_size < sizeof(adapter_rt_session_options))
      return Error{"options->struct_size is too small"};
    SessionOptions asked{options->entry ? options->entry : "", options->rows, options->max_length};
    Result<std::unique_ptr<Session>> opened = Session::open(*model->model, asked);
    if (!opened)
      return opened.error();
    *session = new adapter_rt_session{std::move(*opened)};
    return Done{};
  });
}

void adapter_rt_session_close(adapter_rt_session *session) { delete session; }

adapter_rt_status adapter_rt_session_call(adapter_rt_session *session, const int64_t *rows,
                                          const int64_t *lengths, size_t row_count,
                                          const adapter_rt_tensor *inputs, size_t input_count,
                                          const adapter_rt_call_options *options,
                                          adapter_rt_result **result) {
  return guard([&]() -> Status {
    if (!session || !result || (row_count && !rows))
      return Error{"session, rows or result is NULL"};
    *result = nullptr;
    if (options && options->entry)
      return Error{"a session has a graph already; leave options->entry out"};
    SessionRequest request;
    request.rows.assign(rows, rows + row_count);
    if (lengths)
      request.lengths.assign(lengths, lengths + row_count);
    if (Status status = readRequest(inputs, input_count, options, request.call); !status)
      return status;
    Result<CallResult> called = session->session->call(std::move(request));
    if (!called)
      return called.error();
    *result = new adapter_rt_result{std::move(*called)};
    return Done{};
  });
}

adapter_rt_status adapter_rt_session_length(adapter_rt_session *session, int64_t row, int64_t *length) {
  return guard([&]() -> Status {
    if (!session || !length)
      return Error{"session or length is NULL"};
    Result<int64_t> found = session->session->length(row);
    if (!found)
      return found.error();
    *length = *found;
    return Done{};
  });
}

adapter_rt_status adapter_rt_session_reset(adapter_rt_session *session, int64_t row) {
  return withSession(session, [](Session &its, int64_t row, int64_t) { return its.reset(row); }, row, 0);
}

adapter_rt_status adapter_rt_session_rewind(adapter_rt_session *session, int64_t row, int64_t tokens) {
  return withSession(
      session, [](Session &its, int64_t row, int64_t tokens) { return its.rewind(row, tokens); }, row,
      tokens);
}

adapter_rt_status adapter_rt_session_fork(adapter_rt_session *session, int64_t row, int64_t into) {
  return withSession(
      session, [](Session &its, int64_t row, int64_t into) { return its.fork(row, into); }, row, into);
}

} // extern "C"
