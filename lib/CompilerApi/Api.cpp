// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The C interface of the compiler; see include/adapter-opt/compiler.h.
#include "adapter-opt/compiler.h"
#include "adapter/Version.h"
#include "lib/CompilerApi/Job.h"
#include "lib/Pipelines/Main.h"
#include "llvm/Config/llvm-config.h"

using adapter::Job;

struct adapter_opt_job {
  std::shared_ptr<Job> job;
};

adapter_opt_status adapter_opt_start(const char *const *arguments, size_t argument_count, const char *folder,
                                     adapter_opt_job **job) {
  try {
    std::vector<std::string> words(arguments, arguments + argument_count);
    auto started = std::make_unique<adapter_opt_job>();
    started->job = std::make_shared<Job>(std::move(words), folder ? folder : "");
    if (!Job::start(started->job))
      return ADAPTER_OPT_OUT_OF_MEMORY;
    *job = started.release();
    return ADAPTER_OPT_OK;
  } catch (const std::bad_alloc &) {
    return ADAPTER_OPT_OUT_OF_MEMORY;
  }
}

int adapter_opt_wait(adapter_opt_job *job, uint32_t milliseconds) { return job->job->wait(milliseconds); }
void adapter_opt_cancel(adapter_opt_job *job) { job->job->cancel(); }
adapter_opt_status adapter_opt_result(adapter_opt_job *job) { return job->job->status; }
const char *adapter_opt_message(adapter_opt_job *job) { return job->job->message.c_str(); }
const char *adapter_opt_output(adapter_opt_job *job) { return job->job->output.c_str(); }
const char *adapter_opt_warnings(adapter_opt_job *job) { return job->job->warnings.c_str(); }

void adapter_opt_free(adapter_opt_job *job) {
  if (job)
    job->job->cancel();
  delete job;
}

void adapter_opt_finish(void) { Job::finishAll(); }
int adapter_opt_main(int argc, char **argv) { return adapter::adapterOptMain(argc, argv); }
const char *adapter_opt_version(void) { return ADAPTER_VERSION; }
const char *adapter_opt_llvm_version(void) { return LLVM_VERSION_STRING; }
