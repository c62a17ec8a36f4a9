// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// adapter-run: runs compiled models. Its code is in lib/RunTool.
#include "lib/RunTool/RunTool.h"

int main(int argc, char **argv) { return adapter::runtool::adapterRunMain(argc, argv); }
