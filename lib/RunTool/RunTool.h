// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The command line of adapter-run.
#ifndef ADAPTER_LIB_RUNTOOL_RUNTOOL_H
#define ADAPTER_LIB_RUNTOOL_RUNTOOL_H

namespace adapter::runtool {

// Returns the exit code: 0 done, 1 the input is at fault, 2 wrong usage.
int adapterRunMain(int argc, char **argv);

} // namespace adapter::runtool

#endif // ADAPTER_LIB_RUNTOOL_RUNTOOL_H
