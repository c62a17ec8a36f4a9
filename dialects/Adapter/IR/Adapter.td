// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// TableGen entry point of the adapter dialect.
include "dialects/Adapter/IR/AdapterDialect.td"
include "dialects/Adapter/IR/ParameterOps.td"
