// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Passes over the adapter dialect.
#ifndef ADAPTER_DIALECTS_ADAPTER_TRANSFORMS_PASSES_TD
#define ADAPTER_DIALECTS_ADAPTER_TRANSFORMS_PASSES_TD

include "mlir/Pass/PassBase.td"

def InferTimesPass : Pass<"adapter-infer-times"> {
  let summary = "Infer when values become known, and check what is declared";
  let description = [{
    Parameters and constants are known at build, what a site selects at the site's time, inputs of graphs and
    functions at the call; any other value when the latest of its operands is. The result stands on each op as
    `adapter.inferred`. An op may declare a time, `adapter.time`: one that is earlier than the inferred one is an
    error, a later one is kept as the op's time.

    ```
    // before
    %w = adapter.parameter "base"::"w" : tensor<4x4xf32>
    %u = adapter.select @site_0 : !adapter.update<tensor<4x4xf32>>
    %v = adapter.materialize %w, %u : tensor<4x4xf32>
    // after, where the site is bound at switch
    %w = adapter.parameter "base"::"w" {adapter.inferred = #adapter.time<build>} : tensor<4x4xf32>
    %u = adapter.select @site_0 {adapter.inferred = #adapter.time<switch>} : !adapter.update<tensor<4x4xf32>>
    %v = adapter.materialize %w, %u {adapter.inferred = #adapter.time<switch>} : tensor<4x4xf32>
    ```
  }];
  let dependentDialects = ["::adapter::AdapterDialect"];
}

#endif // ADAPTER_DIALECTS_ADAPTER_TRANSFORMS_PASSES_TD
