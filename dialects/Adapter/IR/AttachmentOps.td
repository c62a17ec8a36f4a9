// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The record of what was attached where, and what proves it. No computation depends on it.
#ifndef ADAPTER_DIALECTS_ADAPTER_IR_ATTACHMENTOPS_TD
#define ADAPTER_DIALECTS_ADAPTER_IR_ATTACHMENTOPS_TD

include "dialects/Adapter/IR/ParameterOps.td"
include "dialects/Adapter/IR/AdapterTypes.td"

def Adapter_AttachmentOp : Adapter_Op<"attachment", [NoTerminator, SingleBlock, NoRegionArguments]> {
  let summary = "The record of one adapter in one model";
  let description = [{
    Says that an adapter acts in the model, from when on and by which factor beside its own scale. `hash` is of the
    adapter's files, `base` what its configuration names, `base_digest` of the checkpoint with which the claims were
    compared, where there was one. The body lists the parameters. An ONNX file carries it as metadata, an artifact in
    its manifest.

    Example:
    ```mlir
    module {
      adapter.attachment "sql" at <build> attributes {hash = "0123", scale = 1.0 : f64} {
        adapter.attached "layers.0.q_proj" "weight" {form = "lora", node = "/layers.0/q_proj/MatMul", evidence = "metadata"}
      }
    }
    ```
  }];
  let arguments = (ins StrAttr:$adapter, Adapter_BindingTimeAttr:$time, StrAttr:$hash, F64Attr:$scale,
                       OptionalAttr<StrAttr>:$base, OptionalAttr<StrAttr>:$base_digest,
                       OptionalAttr<StrAttr>:$graph);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "$adapter `at` $time attr-dict-with-keyword $body";
  let hasVerifier = 1;
}

def Adapter_AttachedOp : Adapter_Op<"attached", [HasParent<"AttachmentOp">]> {
  let summary = "One parameter that an adapter acts on";
  let description = [{
    `module` and `parameter` are the checkpoint's names, `node` is the first of the graph's nodes that reads the
    parameter, `key` its tensor. `evidence` is "names", "metadata" or "contents"; `derivation` says what the graph
    holds where that is not the parameter itself. `retained_error` is the share of the update that was lost by
    rounding to a narrow type, once it is merged.

    Example:
    ```mlir
    module {
      adapter.attachment "x" at <row> attributes {hash = "0123", scale = 0.5 : f64} {
        adapter.attached "norm" "weight" {form = "replace", node = "/norm/Mul", evidence = "contents", derivation = "1 + norm.weight"}
      }
    }
    ```
  }];
  let arguments = (ins StrAttr:$module, StrAttr:$parameter, StrAttr:$form, StrAttr:$node, StrAttr:$evidence,
                       OptionalAttr<StrAttr>:$derivation, OptionalAttr<StrAttr>:$key,
                       OptionalAttr<F64Attr>:$retained_error);
  let assemblyFormat = "$module $parameter attr-dict";
}

#endif // ADAPTER_DIALECTS_ADAPTER_IR_ATTACHMENTOPS_TD
