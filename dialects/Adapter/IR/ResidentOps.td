// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Adapters that come with an artifact or have room in it: what its manifest will say of them.
#ifndef ADAPTER_DIALECTS_ADAPTER_IR_RESIDENTOPS_TD
#define ADAPTER_DIALECTS_ADAPTER_IR_RESIDENTOPS_TD

include "dialects/Adapter/IR/SiteOps.td"

def Adapter_ResidentOp : Adapter_Op<"resident", [NoTerminator, SingleBlock, NoRegionArguments]> {
  let summary = "An adapter of the build that acts later than that";
  let description = [{
    When it acts, the hash of its files, and which properties come with the call (`bound`: scale, rank). With `by_token` it may act
    on some tokens of a row alone. The body lists its updates.

    Example:
    ```mlir
    module {
      adapter.site @site_0 {module = "q", parameter = "weight", kind = #adapter.kind<linear>, time = #adapter.time<row>,
                            rows = 32 : i64, columns = 64 : i64, forms = ["lora"]}
      adapter.resident "sql" at <row> attributes {hash = "0123"} {
        adapter.resident_update @site_0 "lora" rank 8 scale 2.0 {tensors = {}}
      }
    }
    ```
  }];
  let arguments = (ins StrAttr:$adapter, Adapter_BindingTimeAttr:$time, StrAttr:$hash, UnitAttr:$by_token,
                       OptionalAttr<StrArrayAttr>:$bound);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "$adapter `at` $time attr-dict-with-keyword $body";
  let hasVerifier = 1;
}

def Adapter_ResidentUpdateOp : Adapter_Op<"resident_update", [HasParent<"ResidentOp">,
                                                              DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "What a resident adapter brings to one site";
  let description = [{
    `form` is one of the site's forms, or of its bottlenecks. `tensors` names the tensors of an archive by role; where there are
    `tasks`, what they are mixed of. `scalars` and `integers` are a form's numbers beside the scale.
  }];
  let arguments = (ins FlatSymbolRefAttr:$site, AnyAttrOf<[StrAttr, Adapter_BottleneckAttr]>:$form,
                       ConfinedAttr<I64Attr, [IntNonNegative]>:$rank, F64Attr:$scale, DictionaryAttr:$tensors,
                       OptionalAttr<DictionaryAttr>:$scalars, OptionalAttr<DictionaryAttr>:$integers,
                       OptionalAttr<ConfinedAttr<I64Attr, [IntPositive]>>:$tasks);
  let assemblyFormat = "$site $form `rank` $rank `scale` $scale attr-dict";
}

def Adapter_SlotOp : Adapter_Op<"slot"> {
  let summary = "Room for adapters that come after the build";
  let description = [{
    Which forms it takes, up to which rank (0: any), and which properties come with the call. With `by_token` its adapters may act
    on some tokens of a row alone. `base_digest` is of the checkpoint with which the graphs were compared. Sites name the slots
    that have room there.

    Example:
    ```mlir
    module {
      adapter.slot "tenant" at <row> forms ["lora"] rank 64 {bound = ["scale"]}
    }
    ```
  }];
  let arguments = (ins StrAttr:$slot, Adapter_BindingTimeAttr:$time, StrArrayAttr:$forms,
                       ConfinedAttr<I64Attr, [IntNonNegative]>:$rank, UnitAttr:$by_token,
                       OptionalAttr<StrArrayAttr>:$bound, OptionalAttr<StrAttr>:$base_digest);
  let assemblyFormat = "$slot `at` $time `forms` $forms `rank` $rank attr-dict";
  let hasVerifier = 1;
}

#endif // ADAPTER_DIALECTS_ADAPTER_IR_RESIDENTOPS_TD
