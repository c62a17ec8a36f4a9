// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What must hold in a call.
#ifndef ADAPTER_DIALECTS_KERNEL_IR_CHECKOPS_TD
#define ADAPTER_DIALECTS_KERNEL_IR_CHECKOPS_TD

include "dialects/Kernel/IR/KernelOps.td"

def Kernel_RequireOp : Kernel_Op<"require", [DeclareOpInterfaceMethods<MemoryEffectsOpInterface>]> {
  let summary = "A condition without which the call fails, and why";
  let description = [{
    As cf.assert, with numbers that only the call knows: `{0}` to `{2}` in the message stand for the values. The host
    puts them in, and only where the condition does not hold.

    Example:
    ```mlir
    func.func @example(%n: index, %m: index) {
      %equal = arith.cmpi eq, %n, %m : index
      kernel.require %equal, "MatMul node 'y': inner sizes differ: {0} and {1}" (%n, %m)
      return
    }
    ```
  }];
  let arguments = (ins I1:$condition, StrAttr:$message, Variadic<Index>:$values);
  let assemblyFormat = "$condition `,` $message (`(` $values^ `)`)? attr-dict";
  let hasVerifier = 1;
  let hasCanonicalizeMethod = 1;
}

#endif // ADAPTER_DIALECTS_KERNEL_IR_CHECKOPS_TD
