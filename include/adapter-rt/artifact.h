/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * What the code of an artifact (`code.so`) exports and what it asks of its host.
 *
 * The compiler writes these structures into code, the runtime reads them; both include this file and
 * assert the sizes below. The code exports one symbol, `adapter_artifact_query`. It needs no library:
 * threads, memory and output buffers come through the host table of each call. All tensors are
 * contiguous, row-major and 64-byte aligned where the host allocates them.
 */
#ifndef ADAPTER_RT_ARTIFACT_H
#define ADAPTER_RT_ARTIFACT_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define ADAPTER_ABI_VERSION 7u
#define ADAPTER_MAX_RANK 8
#define ADAPTER_ENTRY_TENSORS 10
#define ADAPTER_ENTRY_EXTENTS 9
#define ADAPTER_STEP_EXTENTS 6
#define ADAPTER_STEP_WORDS (6 + ADAPTER_STEP_EXTENTS)

/* A view of a tensor; dtype is an ONNX TensorProto.DataType code (1 = f32, 7 = i64, 9 = bool, ...). */
typedef struct adapter_tensor_v1 {
  void *data;
  const int64_t *dims; /* rank entries */
  int32_t rank;
  int32_t dtype;
} adapter_tensor_v1;

/* Runs iterations [begin, end) of a parallel loop. */
typedef void (*adapter_loop_body_v1)(void *context, int64_t begin, int64_t end);

/* A device that runs the kernels of the artifact. Buffers are opaque; work happens in the order of the calls.
 * What fails once makes all that follows do nothing: code need look at the result of `read` alone. */
typedef struct adapter_device_v1 {
  uint32_t struct_size;
  uint32_t abi_version;
  void *state; /* first argument of every function below */
  /* Room for elements of that size, until `release` or the end of the call. */
  void *(*allocate)(void *state, int64_t elements, int64_t element_bytes);
  void (*release)(void *state, void *buffer);
  /* Copies between the host and the bytes of a buffer from `offset` on. read returns 0 once data is there, or
   * non-zero, and zeros in data, if this or something before it failed. */
  void (*write)(void *state, void *buffer, int64_t offset, const void *data, int64_t bytes);
  int32_t (*read)(void *state, void *buffer, int64_t offset, void *data, int64_t bytes);
  /* What the device has: a row of the parameter table; the number of each row's entry as int32; a bank's numbers
   * (part 0, f32) and its table (part 1, int32). The table has for each entry ADAPTER_ENTRY_TENSORS positions, in
   * numbers or, of integers, in the table itself, -1 for none, then its extents. */
  void *(*parameter)(void *state, int64_t index);
  void *(*rows)(void *state);
  void *(*bank)(void *state, int64_t bank, int32_t part);
  /* Runs a kernel of the manifest's table with its buffers and its scalars, each of 32 bits. */
  void (*launch)(void *state, int64_t kernel, int64_t groups, void *const *buffers, const int32_t *scalars);
} adapter_device_v1;

/* Processes that run one artifact together, each the same calls in the same order. Whoever embeds the runtime
 * brings this table; lib/Collectives has one over MPI. Functions return 0, or non-zero where the exchange failed; each
 * is called by the call's own thread, by all processes, and returns when the caller's buffers are free. Counts are in
 * rows of `row_bytes` bytes, one count for each process; rows lie one after the other in the order of processes. */
typedef struct adapter_collectives_v1 {
  uint32_t struct_size;
  uint32_t abi_version;
  void *state;  /* first argument of every function below */
  int32_t rank; /* this process, of [0, size) */
  int32_t size;
  /* Block i of `send` goes to process i, whose block `rank` of `receive` it becomes. */
  int32_t (*all_to_all)(void *state, const void *send, void *receive, int64_t block_bytes);
  /* The same with as many rows for each process as it has in send_counts. */
  int32_t (*all_to_all_v)(void *state, const void *send, const int64_t *send_counts, void *receive,
                          const int64_t *receive_counts, int64_t row_bytes);
  /* counts[rank] rows of each process, in `receive` of every one. */
  int32_t (*all_gather_v)(void *state, const void *send, void *receive, const int64_t *counts,
                          int64_t row_bytes);
} adapter_collectives_v1;

/* What compiled code may ask for. Functions may be called from any thread that parallel_for uses. */
typedef struct adapter_host_v1 {
  uint32_t struct_size;
  uint32_t abi_version;
  void *state; /* first argument of every function below */
  /* Calls body over disjoint ranges that cover [0, count), each of at least `grain` iterations where
   * count allows; returns when all are done. */
  void (*parallel_for)(void *state, adapter_loop_body_v1 body, void *context, int64_t count, int64_t grain);
  /* 64-byte aligned memory that lives until `release` or the end of the call; NULL: out of memory. */
  void *(*allocate)(void *state, int64_t bytes);
  void (*release)(void *state, void *memory);
  /* Where the call's output `index` of that shape goes; NULL makes the call fail. */
  void *(*output)(void *state, int32_t index, int32_t rank, const int64_t *dims);
  /* Records why the call fails; the first message is kept. "{0}" to "{count - 1}" in it stand for the values. The code
   * then returns non-zero. */
  void (*fail)(void *state, const char *message, const int64_t *values, int32_t count);
  /* NULL unless the manifest names a device. Only the call's own thread may use it. */
  const adapter_device_v1 *device;
  /* NULL unless the manifest says that experts are partitioned. */
  const adapter_collectives_v1 *collectives;
  /* Told which experts each of `tokens` tokens chose, `top` for each, in a row of the manifest's table of expert
   * layers; NULL: nobody listens. */
  void (*routed)(void *state, int32_t layer, int64_t tokens, int64_t top, const int64_t *ids);
} adapter_host_v1;

/* What one adapter brings to one row-bound site. Which tensor stands where depends on the site's kind:
 *
 *   linear     tensor[0] A packed as [rank_padded / lanes][in][lanes], tensor[1] B packed as
 *              [out_padded / block][rank_padded][block] with the scale folded in, tensor[2] column scale [out]
 *              or NULL (1), tensor[3] bias [out] that replaces the base's or NULL, tensor[4] a whole
 *              weight packed like the base's, or NULL, tensor[5] int64 [2][count] inputs and outputs of
 *              elements that change and tensor[6] [count] what is added to them, or NULL, tensor[7] int64
 *              [steps][ADAPTER_STEP_WORDS] steps, tensor[8] f32 and tensor[9] int64 what they read, or NULL;
 *              extent[0] = rank_padded (0: no low-rank part), extent[1] = padded columns of the whole weight,
 *              extent[2] = its columns, extent[3] = count, extent[4] = steps, extent[5] = how many of them come
 *              before the product, extent[6] = temporaries, extent[7] = the width of each, extent[8] = whether
 *              a step behind the product reads the result.
 *   embedding  tensor[0] A transposed [vocabulary][rank], tensor[1] B [rank][dim] with the scale folded
 *              in, tensor[2] sorted int64 indices of rows that are replaced, tensor[3] those rows
 *              [count][dim], tensor[4] a whole table [vocabulary][dim] or NULL;
 *              extent[0] = rank, extent[1] = count of replaced rows, extent[2] = rows of the whole table.
 *   vector     tensor[4] the whole vector (a bias, a norm's weight) or NULL.
 *   bottleneck tensor[0] down packed as [rank_padded / block][in][block], tensor[1] up packed as
 *              [out_padded / block][rank_padded][block], tensor[2] down's bias [rank_padded], tensor[3] up's bias
 *              [out], scales folded into the latter two; tensor[4] weight and bias of the norm behind it [2][out],
 *              tensor[5] weights and bias of its gate [in + 1], each where the form has it. What a norm before it
 *              multiplies and adds is folded into down and its bias. extent[0] = rank_padded, extent[1] = the
 *              form's number at the site.
 *
 * `block` is the column block of the site's packed weight, named in the manifest; `lanes` are as many elements as a
 * vector of the target has, or the depth of a device's tile: few enough that a low rank is padded little.
 * A zeroed entry is "no update here". */
typedef struct adapter_entry_v1 {
  const void *tensor[ADAPTER_ENTRY_TENSORS];
  int64_t extent[ADAPTER_ENTRY_EXTENTS];
} adapter_entry_v1;

/* Steps say what an entry of a linear does to a row beyond factors and scale. Those before the product make what the
 * base's product reads, in ADAPTER_STEP_RESULT, of the row; those behind it change what product, factors and column
 * scale made, without the bias, in the same buffer, and may read the row again. A step is kernel, from, to, accumulate
 * (what it makes is added to what `to` holds), where its numbers begin in tensor[8], where its indices begin in
 * tensor[9] (elements, multiples of 64 bytes), then extents. From and to are buffers: the row, the result, or a
 * temporary of the row. extent[0] is the width of z, which a step makes, and extent[1] that of x, which it reads:
 *
 *   copy      z = x
 *   diagonal  z[i] = numbers[i] x[i]
 *   blocks    z[b p + i] = sum_j numbers[b][j][i] x[b q + j] for `count` blocks b, or all with numbers[0];
 *             extent[2] = p, extent[3] = q, extent[4] = count, extent[5] = 1 or count
 *   permute   z[i] = x[indices[i]]
 *   gather    z[indices[0][j]] += numbers[j] x[indices[1][j]] for `count` j, from zero; extent[2] = count
 *
 * A step other than copy and diagonal never writes what it reads. */
enum adapter_step_kernel {
  ADAPTER_STEP_COPY = 0,
  ADAPTER_STEP_DIAGONAL = 1,
  ADAPTER_STEP_BLOCKS = 2,
  ADAPTER_STEP_PERMUTE = 3,
  ADAPTER_STEP_GATHER = 4
};
enum adapter_step_buffer { ADAPTER_STEP_INPUT = 0, ADAPTER_STEP_RESULT = 1, ADAPTER_STEP_TEMPORARY = 2 };

/* The entries of one site, one for each adapter. */
typedef struct adapter_bank_v1 {
  const adapter_entry_v1 *entries;
  int64_t count;
} adapter_bank_v1;

/* An adapter that acts on a segment, and how much of what it changes at each site comes to be: y + weight (y' - y)
 * where it would make y' of y. */
typedef struct adapter_assignment_v1 {
  int32_t entry; /* its number in the banks, never negative */
  float weight;
} adapter_assignment_v1;

/* Rows [begin, end) of a call, which share the assignments [first, first + count). Where there are several, each
 * acts on what the base makes, and the changes are added up. */
typedef struct adapter_segment_v1 {
  int64_t begin, end;
  int64_t first, count;
} adapter_segment_v1;

/* The rows of a call that belong to a session, in the call's order. Row i holds lengths[i] tokens and has room for
 * capacities[i], of which the code writes those behind its length. State number s of row i is kept at
 * memory[s * rows + i]; its layout is the code's own, and its size is what the manifest says for the capacity. */
typedef struct adapter_session_v1 {
  int64_t rows;
  const int64_t *lengths;
  const int64_t *capacities;
  void *const *memory;
} adapter_session_v1;

/* The one argument of every function of an artifact. */
typedef struct adapter_call_v1 {
  const adapter_host_v1 *host;
  const adapter_tensor_v1 *inputs;
  int64_t input_count;
  const void *const *parameters;      /* by row of the manifest's parameter table */
  const adapter_bank_v1 *banks;       /* by bank of the manifest's site table */
  const adapter_segment_v1 *segments; /* of the rows that carry adapters, in order, without overlap */
  int64_t segment_count;
  const adapter_assignment_v1 *assignments;
  int64_t rows;               /* 0: no row carries an adapter. Row i has the positions from i * n / rows up to
                               * (i + 1) * n / rows of a tensor's n; with one adapter for the whole call `rows` may
                               * be any number */
  const int32_t *row_entries; /* for devices: each row's entry, -1 for none; NULL when rows is 0 */
  const double *scalars;      /* by row of the manifest's scalar table */
  /* Rows of a session whose keys and values the code keeps itself; NULL in other calls. */
  const struct adapter_session_v1 *session;
} adapter_call_v1;

/* Returns 0, or non-zero after `host->fail`. */
typedef int32_t (*adapter_function_v1)(const adapter_call_v1 *call);

/* The artifact's table. `manifest` is the serialised adapter.artifact.Manifest (lib/Artifact), equal to
 * the file manifest.pb; it names entry points, parameters, sites and forms and refers to `functions`
 * by index. */
typedef struct adapter_artifact_v1 {
  uint32_t struct_size;
  uint32_t abi_version;
  const uint8_t *manifest;
  uint64_t manifest_size;
  const adapter_function_v1 *functions;
  uint64_t function_count;
  /* The kernels, in the format that the manifest names; NULL for a CPU. */
  const uint8_t *device_code;
  uint64_t device_code_size;
} adapter_artifact_v1;

/* The one exported symbol: the table of the newest version up to max_version, or NULL. */
typedef const adapter_artifact_v1 *(*adapter_artifact_query_v1)(uint32_t max_version);
#define ADAPTER_ARTIFACT_QUERY "adapter_artifact_query"

#ifdef __cplusplus
} /* extern "C" */

static_assert(sizeof(adapter_tensor_v1) == 24, "ABI");
static_assert(sizeof(adapter_device_v1) == 80, "ABI");
static_assert(sizeof(adapter_collectives_v1) == 48, "ABI");
static_assert(sizeof(adapter_host_v1) == 80, "ABI");
static_assert(sizeof(adapter_entry_v1) == 152, "ABI");
static_assert(sizeof(adapter_bank_v1) == 16, "ABI");
static_assert(sizeof(adapter_assignment_v1) == 8, "ABI");
static_assert(sizeof(adapter_segment_v1) == 32, "ABI");
static_assert(sizeof(adapter_session_v1) == 32, "ABI");
static_assert(sizeof(adapter_call_v1) == 96, "ABI");
static_assert(sizeof(adapter_artifact_v1) == 56, "ABI");
#endif

#endif /* ADAPTER_RT_ARTIFACT_H */
