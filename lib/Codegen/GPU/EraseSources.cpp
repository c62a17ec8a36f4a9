// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// kernel-erase-sources: conversion to SPIR-V writes a module beside the one that it reads.
#include "lib/Codegen/GPU/Passes.h"
#include "mlir/IR/BuiltinOps.h"

namespace adapter {
#define GEN_PASS_DEF_ERASESOURCESPASS
#include "lib/Codegen/GPU/Passes.h.inc"
} // namespace adapter

using namespace mlir;

namespace {
struct EraseSourcesPass final : adapter::impl::EraseSourcesPassBase<EraseSourcesPass> {
  using Base::Base;
  void runOnOperation() override {
    for (auto module : llvm::make_early_inc_range(getOperation().getOps<gpu::GPUModuleOp>()))
      module.erase();
  }
};
} // namespace
