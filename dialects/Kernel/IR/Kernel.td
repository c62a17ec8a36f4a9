// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// TableGen entry point of the kernel dialect.
include "dialects/Kernel/IR/KernelDialect.td"
include "dialects/Kernel/IR/FormatAttrs.td"
include "dialects/Kernel/IR/KernelOps.td"
include "dialects/Kernel/IR/AttentionOps.td"
include "dialects/Kernel/IR/WeightOps.td"
include "dialects/Kernel/IR/CheckOps.td"
include "dialects/Kernel/IR/ExpertOps.td"
include "dialects/Kernel/IR/ExchangeOps.td"
