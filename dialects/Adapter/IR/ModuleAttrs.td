// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What modules on activations compute, as attributes. The values are lib/Checkpoint's, which the runtime knows too.
#ifndef ADAPTER_DIALECTS_ADAPTER_IR_MODULEATTRS_TD
#define ADAPTER_DIALECTS_ADAPTER_IR_MODULEATTRS_TD

include "dialects/Adapter/IR/AdapterDialect.td"
include "mlir/IR/AttrTypeBase.td"

def Adapter_ActivationAttr : AttrDef<Adapter_Dialect, "Activation"> {
  let mnemonic = "activation";
  let summary = "A function of one number between two products";
  let description = [{
    One of `lib/Checkpoint/Activation.h`; the formulas stand in `lib/Support/Activations.h`.
  }];
  let parameters = (ins "::adapter::checkpoint::Activation":$value);
  let assemblyFormat = "$value";
  let returnType = "::adapter::checkpoint::Activation";
  let convertFromStorage = "$_self.getValue()";
  let constBuilderCall = "::adapter::ActivationAttr::get($_builder.getContext(), $0)";
}

def Adapter_BottleneckAttr : AttrDef<Adapter_Dialect, "Bottleneck"> {
  let mnemonic = "bottleneck";
  let summary = "What a bottleneck computes";
  let description = [{
    Its activation, then what else it has of `norm_before`, `norm_after`, `residual_first`, `gate` and `channel`
    (`lib/Checkpoint/Bottleneck.h`), and the norms' `epsilon` where that is not 1e-5.

    ```mlir
    func.func private @example() attributes {x = #adapter.bottleneck<relu, norm_before, gate, epsilon = 1.0e-6>}
    ```
  }];
  let parameters = (ins "::adapter::checkpoint::Bottleneck":$value);
  let hasCustomAssemblyFormat = 1;
  let genVerifyDecl = 1;
}

def Adapter_BottleneckArrayAttr : TypedArrayAttrBase<Adapter_BottleneckAttr, "what bottlenecks compute">;

#endif // ADAPTER_DIALECTS_ADAPTER_IR_MODULEATTRS_TD
