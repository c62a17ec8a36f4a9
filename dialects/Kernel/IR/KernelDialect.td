// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The kernel dialect: what linalg lacks and adapters need.
#ifndef ADAPTER_DIALECTS_KERNEL_IR_KERNELDIALECT_TD
#define ADAPTER_DIALECTS_KERNEL_IR_KERNELDIALECT_TD

include "mlir/IR/DialectBase.td"

def Kernel_Dialect : Dialect {
  let name = "kernel";
  let summary = "Products over packed weights, segmented updates, and what connects them to a call";
  let description = [{
    Destination-style ops on tensors and buffers below linalg: products with packed weights, batched
    products, low-rank updates segmented by row; and the ops that read a call's parameters and banks.
    All tensors are contiguous and row-major.
  }];
  let cppNamespace = "::adapter::kernel";
  // #adapter.bottleneck
  let dependentDialects = ["::adapter::AdapterDialect"];
  let useDefaultAttributePrinterParser = 1;
}

#endif // ADAPTER_DIALECTS_KERNEL_IR_KERNELDIALECT_TD
