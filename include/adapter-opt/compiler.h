/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * The compiler as a library: what the command adapter-opt does, within a process. Every function may be called from
 * any thread, and jobs run side by side. Nothing here prints, aborts or throws; adapter_opt_main alone is for a process
 * of its own.
 */
#ifndef ADAPTER_OPT_COMPILER_H
#define ADAPTER_OPT_COMPILER_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define ADAPTER_OPT_API __attribute__((visibility("default")))
#else
#define ADAPTER_OPT_API
#endif

typedef enum adapter_opt_status {
  ADAPTER_OPT_OK = 0,
  ADAPTER_OPT_INVALID = 1, /* a model, an adapter or an argument is at fault */
  ADAPTER_OPT_OUT_OF_MEMORY = 2,
  ADAPTER_OPT_INTERNAL = 3, /* a fault of the compiler */
  ADAPTER_OPT_CANCELLED = 4
} adapter_opt_status;

/* One run of the compiler, on a thread of its own. */
typedef struct adapter_opt_job adapter_opt_job;

/* Starts a run with the arguments of the command (docs: adapter-opt --help), without the program's name and without
 * options of MLIR; standard output becomes adapter_opt_output. `folder` may be NULL, or is removed with all that is in
 * it unless the run succeeds. Fails with ADAPTER_OPT_OUT_OF_MEMORY alone, also where the system gives no thread. */
ADAPTER_OPT_API adapter_opt_status adapter_opt_start(const char *const *arguments, size_t argument_count,
                                                     const char *folder, adapter_opt_job **job);

/* Returns 1 once the run is over, or 0 after so many milliseconds. */
ADAPTER_OPT_API int adapter_opt_wait(adapter_opt_job *job, uint32_t milliseconds);

/* Calls the run off: it ends soon, with ADAPTER_OPT_CANCELLED, and leaves no files. One that is over stays as it is. */
ADAPTER_OPT_API void adapter_opt_cancel(adapter_opt_job *job);

/* Of a run that is over: how it ended, why in words (one line for each error), what it printed, and its warnings, one
 * line each. Valid until the job is freed. */
ADAPTER_OPT_API adapter_opt_status adapter_opt_result(adapter_opt_job *job);
ADAPTER_OPT_API const char *adapter_opt_message(adapter_opt_job *job);
ADAPTER_OPT_API const char *adapter_opt_output(adapter_opt_job *job);
ADAPTER_OPT_API const char *adapter_opt_warnings(adapter_opt_job *job);

/* Frees the handle. A run that is not over is called off and cleans up on its own. */
ADAPTER_OPT_API void adapter_opt_free(adapter_opt_job *job);

/* Calls off all runs and returns when they are over; for the end of the process. */
ADAPTER_OPT_API void adapter_opt_finish(void);

/* The command itself, exit code returned: parses with LLVM's options, prints, handles signals. */
ADAPTER_OPT_API int adapter_opt_main(int argc, char **argv);

/* As in "0.1.0", and LLVM's. */
ADAPTER_OPT_API const char *adapter_opt_version(void);
ADAPTER_OPT_API const char *adapter_opt_llvm_version(void);

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif /* ADAPTER_OPT_COMPILER_H */
