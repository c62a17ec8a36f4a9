// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The adapter-opt command; its code is in lib/Pipelines.
#include "lib/Pipelines/Main.h"

int main(int argc, char **argv) { return adapter::adapterOptMain(argc, argv); }
