/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * Runs artifacts (`model.adapt/`). Every function may be called from any thread, calls of one model at the
 * same time included. Nothing here prints, aborts or throws: what can fail returns a status, and
 * adapter_rt_last_error() says why in words for the calling thread.
 */
#ifndef ADAPTER_RT_RUNTIME_H
#define ADAPTER_RT_RUNTIME_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define ADAPTER_RT_API __attribute__((visibility("default")))
#else
#define ADAPTER_RT_API
#endif

typedef enum adapter_rt_status {
  ADAPTER_RT_OK = 0,
  ADAPTER_RT_INVALID = 1,       /* the artifact, an adapter or an argument is at fault */
  ADAPTER_RT_OUT_OF_MEMORY = 2, /* also: the memory limit is reached */
  ADAPTER_RT_INTERNAL = 3
} adapter_rt_status;

typedef struct adapter_rt_model adapter_rt_model;
typedef struct adapter_rt_result adapter_rt_result;
typedef struct adapter_rt_session adapter_rt_session;

struct adapter_collectives_v1; /* adapter-rt/artifact.h */

/* A named view of a contiguous, row-major tensor; dtype is an ONNX TensorProto.DataType code. */
typedef struct adapter_rt_tensor {
  const char *name;
  const void *data;
  const int64_t *dims; /* rank entries */
  int32_t rank;
  int32_t dtype;
} adapter_rt_tensor;

typedef struct adapter_rt_open_options {
  uint32_t struct_size; /* sizeof(adapter_rt_open_options); fields beyond it are 0 */
  int32_t threads;      /* that work on one call, the caller's included; 0: as many as the process may use */
  int64_t memory_limit; /* bytes for calls, outputs and switched weights; 0: no limit */
  /* The processes that run the model together, each the same calls in the same order; NULL: this one alone. A model
   * whose experts are partitioned runs with as many as it was compiled for. Must outlive the model. */
  const struct adapter_collectives_v1 *collectives;
  /* Not 0: the files are not compared with their hashes in the background. What is read at opening is. */
  int32_t no_check;
  /* Not 0: adapters are loaded also where they say that they were made of another base than the model was compiled
   * with. */
  int32_t allow_other_base;
} adapter_rt_open_options;

/* How far the comparison of an artifact's files with their hashes is. */
typedef enum adapter_rt_check {
  ADAPTER_RT_CHECK_OFF = 0,
  ADAPTER_RT_CHECK_RUNNING = 1,
  ADAPTER_RT_CHECK_PASSED = 2,
  ADAPTER_RT_CHECK_FAILED = 3 /* calls are refused from then on */
} adapter_rt_check;

/* A property of an adapter for one call, "<adapter>.scale" or "<adapter>.rank". */
typedef struct adapter_rt_setting {
  const char *property;
  double value;
} adapter_rt_setting;

/* An adapter is named alone, "sql", or with others and the share of each one's changes that comes to be,
 * "0.7*fr+0.3*sql": the shares are added to what the base makes, at every place that they change. */
typedef struct adapter_rt_call_options {
  uint32_t struct_size;            /* sizeof(adapter_rt_call_options); fields beyond it are 0 */
  const char *entry;               /* which graph; NULL: the first */
  const char *adapter;             /* one adapter for all rows; NULL: none */
  const char *const *row_adapters; /* or one for each row, NULL entries for none */
  size_t row_count;
  const adapter_rt_setting *settings; /* of properties that were compiled to come with the call */
  size_t setting_count;
  size_t
      token_count; /* 0, or of a row: row_adapters then names the adapters of its tokens, row after row, and
                    * row_count is the number of all tokens */
  /* Told, while the call runs, which experts each token chose: `top` for each of `tokens`, by layer as they stand
   * under expert_layers in adapter_rt_info. NULL: nobody listens, and nothing is spent. */
  void (*routed)(void *context, int32_t layer, int64_t tokens, int64_t top, const int64_t *experts);
  void *routed_context;
} adapter_rt_call_options;

/* Why the calling thread's last function failed; valid until its next call. */
ADAPTER_RT_API const char *adapter_rt_last_error(void);

/* Opens an artifact. It is native code: open only what comes from a trusted source. options may be NULL. A thread of
 * low priority then compares its files with their hashes, while calls run; once it finds a byte that is wrong, every
 * call is an error that names it. Results until then may be wrong: adapter_rt_finish_check says whether they are. */
ADAPTER_RT_API adapter_rt_status adapter_rt_open(const char *path, const adapter_rt_open_options *options,
                                                 adapter_rt_model **model);
/* Results outlive their model. No call may be under way. */
ADAPTER_RT_API void adapter_rt_close(adapter_rt_model *model);

/* The manifest and the present state (adapters, what is switched in) as JSON; free with adapter_rt_free. */
ADAPTER_RT_API adapter_rt_status adapter_rt_info(adapter_rt_model *model, char **json);
/* The names of the adapters as a JSON list of {"name", "time", "origin"}; free with adapter_rt_free. */
ADAPTER_RT_API adapter_rt_status adapter_rt_adapters(adapter_rt_model *model, char **json);
ADAPTER_RT_API void adapter_rt_free(char *text);

/* Runs a graph. Inputs in any order; they are not written and need not outlive the call. options may be
 * NULL: no adapter. */
ADAPTER_RT_API adapter_rt_status adapter_rt_call(adapter_rt_model *model, const adapter_rt_tensor *inputs,
                                                 size_t input_count, const adapter_rt_call_options *options,
                                                 adapter_rt_result **result);
/* The outputs in the graph's order; views into the result, 64-byte aligned. */
ADAPTER_RT_API size_t adapter_rt_result_count(const adapter_rt_result *result);
ADAPTER_RT_API adapter_rt_status adapter_rt_result_get(const adapter_rt_result *result, size_t index,
                                                       adapter_rt_tensor *tensor);
ADAPTER_RT_API void adapter_rt_result_free(adapter_rt_result *result);

typedef struct adapter_rt_session_options {
  uint32_t struct_size; /* sizeof(adapter_rt_session_options); fields beyond it are 0 */
  const char *entry;    /* which graph; NULL: the first */
  int64_t rows;         /* how many there are, 1 and more */
  int64_t max_length;   /* tokens that a row may hold, 1 and more */
} adapter_rt_session_options;

/* Rows of text, each with a cache of keys and values of its own, of a graph that was compiled with --stateful. Rows begin,
 * grow and end independently. The model must outlive its sessions. Calls of one session come one after the other. */
ADAPTER_RT_API adapter_rt_status adapter_rt_session_open(adapter_rt_model *model,
                                                         const adapter_rt_session_options *options,
                                                         adapter_rt_session **session);
ADAPTER_RT_API void adapter_rt_session_close(adapter_rt_session *session);
/* Puts tokens behind those that the rows hold, all at once or, where anything fails, none. Inputs are those of the graph
 * but for its caches, `attention_mask` and `position_ids`, which the session makes. Their first axis is that of the
 * `row_count` rows, numbers of the session's; lengths says how many tokens of each row are new, the last ones along the
 * inputs' axis of tokens, or is NULL where all are. Results have the same order and alignment: what stands for tokens
 * that a row does not have is 0. Caches are no result.
 *
 * A row keeps what acts on it: adapters by content, scale and rank, what is switched in included. If options name no
 * adapter, those of before act on; a call that would have others act on a row that holds tokens is an error. */
ADAPTER_RT_API adapter_rt_status adapter_rt_session_call(adapter_rt_session *session, const int64_t *rows,
                                                         const int64_t *lengths, size_t row_count,
                                                         const adapter_rt_tensor *inputs, size_t input_count,
                                                         const adapter_rt_call_options *options,
                                                         adapter_rt_result **result);
/* How many tokens a row holds. */
ADAPTER_RT_API adapter_rt_status adapter_rt_session_length(adapter_rt_session *session, int64_t row,
                                                           int64_t *length);
/* Forgets a row's tokens, and what acts on it. */
ADAPTER_RT_API adapter_rt_status adapter_rt_session_reset(adapter_rt_session *session, int64_t row);
/* Forgets the last tokens of a row. */
ADAPTER_RT_API adapter_rt_status adapter_rt_session_rewind(adapter_rt_session *session, int64_t row,
                                                           int64_t tokens);
/* Makes row `into` a copy of another, with what acts on it; what it held is forgotten. */
ADAPTER_RT_API adapter_rt_status adapter_rt_session_fork(adapter_rt_session *session, int64_t row,
                                                         int64_t into);

/* Switches an adapter into the weights, or with NULL back to the base. Calls under way finish on the
 * weights they started with. */
ADAPTER_RT_API adapter_rt_status adapter_rt_switch(adapter_rt_model *model, const char *adapter);
/* Loads a PEFT folder under a new name. slot may be NULL where the artifact has one place only. */
ADAPTER_RT_API adapter_rt_status adapter_rt_load_adapter(adapter_rt_model *model, const char *name,
                                                         const char *path, const char *slot);
/* A load-bound adapter acts from its loading to its unloading. Calls under way keep it. An adapter that is switched in cannot be unloaded. */
ADAPTER_RT_API adapter_rt_status adapter_rt_unload_adapter(adapter_rt_model *model, const char *name);
/* Sets a property for all calls to come: "<adapter>.scale", a factor on the adapter's own scale, 1 at first, or
 * "<adapter>.rank", how many leading directions of its low-rank updates act, all at first. */
ADAPTER_RT_API adapter_rt_status adapter_rt_set(adapter_rt_model *model, const char *property, double value);

ADAPTER_RT_API adapter_rt_status adapter_rt_check_progress(adapter_rt_model *model,
                                                           adapter_rt_check *progress);
/* Returns once every file has been compared with its hashes, and does itself what is left of that. ADAPTER_RT_OK: what
 * the model answered so far is made of files as they were compiled. */
ADAPTER_RT_API adapter_rt_status adapter_rt_finish_check(adapter_rt_model *model);
/* The same, with every file of the artifact read anew. */
ADAPTER_RT_API adapter_rt_status adapter_rt_verify(adapter_rt_model *model);

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif /* ADAPTER_RT_RUNTIME_H */
