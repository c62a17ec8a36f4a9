// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The adapter-opt command.
#ifndef ADAPTER_LIB_PIPELINES_MAIN_H
#define ADAPTER_LIB_PIPELINES_MAIN_H

namespace adapter {

/// Runs the command; returns its exit code: 0 done, 1 an input is at fault, 2 wrong usage.
int adapterOptMain(int argc, char **argv);

} // namespace adapter

#endif // ADAPTER_LIB_PIPELINES_MAIN_H
