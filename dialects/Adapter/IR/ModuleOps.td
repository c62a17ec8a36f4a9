// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Adapters that act on activations: modules on an edge between two nodes, and what their factors are mixed of.
#ifndef ADAPTER_DIALECTS_ADAPTER_IR_MODULEOPS_TD
#define ADAPTER_DIALECTS_ADAPTER_IR_MODULEOPS_TD

include "dialects/Adapter/IR/SiteOps.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

def Adapter_YieldOp : Adapter_Op<"yield", [Pure, Terminator,
                                           ParentOneOf<["BottleneckOp", "FormOp", "IfGivenOp"]>]> {
  let summary = "The value of a module's inner function; the update, and the bias, that a form makes";
  let arguments = (ins Variadic<AnyType>:$values);
  let assemblyFormat = "$values attr-dict `:` type($values)";
}

def Adapter_BottleneckOp : Adapter_Op<"bottleneck", [RecursiveMemoryEffects, AttrSizedOperandSegments,
                                                     SingleBlock]> {
  let summary = "Down, an inner function on the narrow value, and up again";
  let description = [{
    y = factor * scale * (up inner(down x + down_bias) + up_bias) + residual, over the last dimension of x.
    `down` is [narrow, in] and `up` [out, narrow], as checkpoints have them; `scale` holds one element or one for
    each output. The region is the inner function, an activation mostly: its argument is the narrow value, and
    `adapter.yield` ends it. It may hold any node, also such that mix tokens. `node_name` is how nodes made of the
    op are named.

    Where the module stands is said by its edges alone: series and parallel modules differ in what `x` is, and
    norms around it are nodes of the graph. `adapter-expand-modules` writes it as such nodes too.

    Example:
    ```mlir
    func.func @series(%x: tensor<?x7x32xf32>, %d: tensor<8x32xf32>, %c: tensor<8xf32>, %u: tensor<32x8xf32>, %b: tensor<32xf32>) -> tensor<?x7x32xf32> {
      %y = adapter.bottleneck %x down %d bias %c up %u bias %b residual %x {
      ^bb0(%narrow: tensor<?x7x8xf32>):
        %a = onnx.node "Relu"(%narrow) {result_names = ["a"]} : (tensor<?x7x8xf32>) -> tensor<?x7x8xf32>
        adapter.yield %a : tensor<?x7x8xf32>
      } : (tensor<?x7x32xf32>, tensor<8x32xf32>, tensor<8xf32>, tensor<32x8xf32>, tensor<32xf32>, tensor<?x7x32xf32>) -> tensor<?x7x32xf32>
      return %y : tensor<?x7x32xf32>
    }
    ```
  }];
  let arguments = (ins AnyType:$input, AnyRankedTensor:$down, Optional<AnyRankedTensor>:$down_bias,
                       AnyRankedTensor:$up, Optional<AnyRankedTensor>:$up_bias,
                       Optional<AnyRankedTensor>:$scale, Optional<AnyType>:$residual,
                       DefaultValuedAttr<F64Attr, "1.0">:$factor, OptionalAttr<StrAttr>:$node_name);
  let results = (outs AnyType:$result);
  let regions = (region SizedRegion<1>:$inner);
  let assemblyFormat = [{
    $input `down` $down (`bias` $down_bias^)? `up` $up (`bias` $up_bias^)? (`scale` $scale^)?
    (`residual` $residual^)? $inner attr-dict `:` functional-type(operands, results)
  }];
  let hasVerifier = 1;
  let hasRegionVerifier = 1;
  let extraClassDeclaration = [{
    /// What the inner function returns.
    ::mlir::Value getYielded() { return getInner().front().getTerminator()->getOperand(0); }
  }];
}

def Adapter_ActOp : Adapter_Op<"act", [Pure, DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "A value that the module which a site holds acts on";
  let description = [{
    Where an adapter acts at the site, for the whole call or for its rows: `residual` + module(`input`), where
    `residual` is `base` if it is left out. Elsewhere `base`, bit by bit.

    Example:
    ```mlir
    module {
      adapter.site @site_0 {module = "layer.0.output", parameter = "after", kind = #adapter.kind<bottleneck>,
                            time = #adapter.time<row>, rows = 32 : i64, columns = 32 : i64, bottlenecks = [#adapter.bottleneck<relu>]}
      func.func @example(%h: tensor<?x7x32xf32>) -> tensor<?x7x32xf32> {
        %y = adapter.act @site_0 on %h of %h : (tensor<?x7x32xf32>, tensor<?x7x32xf32>) -> tensor<?x7x32xf32>
        return %y : tensor<?x7x32xf32>
      }
    }
    ```
  }];
  let arguments = (ins FlatSymbolRefAttr:$site, AnyType:$base, AnyType:$input, Optional<AnyType>:$residual);
  let results = (outs AnyType:$result);
  let assemblyFormat = [{
    $site `on` $base `of` $input (`residual` $residual^)? attr-dict `:` functional-type(operands, results)
  }];
}

def Adapter_MaskMixOp : Adapter_Op<"mask_mix", [Pure, AttrSizedOperandSegments]> {
  let summary = "One tensor of several, each behind a mask";
  let description = [{
    | mode | element |
    |---|---|
    | sum | sum_i mask_i * factor_i |
    | mean | sum_i mask_i * factor_i / count |
    | select | factor_i where mask_i is set, 0 where none is |

    Masks hold zeros and ones, of any integer type. With `disjoint`, and for `select`, no element may be set in two
    of them, which `adapter-merge-modules` verifies. MoSA (A06) trains the modules of a mixture so and deploys one.

    Example:
    ```mlir
    func.func @example(%w: tensor<32x8xf32>, %v: tensor<32x8xf32>, %m: tensor<32x8xi8>, %n: tensor<32x8xi8>) -> tensor<32x8xf32> {
      %u = adapter.mask_mix mean %w, %v masks %m, %n {disjoint} : tensor<32x8xf32>, tensor<32x8xf32> masks tensor<32x8xi8>, tensor<32x8xi8> -> tensor<32x8xf32>
      return %u : tensor<32x8xf32>
    }
    ```
  }];
  let arguments = (ins Adapter_MaskMixMode:$mode, Variadic<AnyRankedTensor>:$factors,
                       Variadic<AnyRankedTensor>:$masks, UnitAttr:$disjoint);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = [{
    $mode $factors `masks` $masks attr-dict `:` type($factors) `masks` type($masks) `->` type($result)
  }];
  let hasVerifier = 1;
}

#endif // ADAPTER_DIALECTS_ADAPTER_IR_MODULEOPS_TD
