// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Kernel ops for experts: choosing them, bringing each one's positions together, their products.
#ifndef ADAPTER_DIALECTS_KERNEL_IR_EXPERTOPS_TD
#define ADAPTER_DIALECTS_KERNEL_IR_EXPERTOPS_TD

include "dialects/Kernel/IR/KernelOps.td"

def Kernel_TopKOp : Kernel_DestinationOp<"top_k"> {
  let summary = "The largest elements of each row, in order";
  let description = [{
    values[m, j] = input[m, positions[m, j]], for j in falling order of values, or in rising order with
    `smallest`. Of equal elements the one with the lower position comes first; NaN is above infinity. There must
    be no more columns of results than of input.

    Example:
    ```mlir
    func.func @example(%x: tensor<?x8xf32>, %v: tensor<?x2xf32>, %p: tensor<?x2xi64>) -> (tensor<?x2xf32>, tensor<?x2xi64>) {
      %y:2 = kernel.top_k ins(%x : tensor<?x8xf32>) outs(%v, %p : tensor<?x2xf32>, tensor<?x2xi64>) -> tensor<?x2xf32>, tensor<?x2xi64>
      return %y#0, %y#1 : tensor<?x2xf32>, tensor<?x2xi64>
    }
    ```
  }];
  let arguments = (ins AnyShaped:$input, AnyShaped:$values, AnyShaped:$positions, UnitAttr:$smallest,
                       UnitAttr:$is_unsigned);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let assemblyFormat = [{
    `ins` `(` $input `:` type($input) `)` `outs` `(` $values `,` $positions `:` type($values) `,` type($positions) `)`
    attr-dict (`->` type($results)^)?
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    ::mlir::MutableOperandRange getDpsInitsMutable() { return ::mlir::MutableOperandRange(*this, 1, 2); }
  }];
}

def Kernel_DispatchOp : Kernel_DestinationOp<"dispatch"> {
  let summary = "An order in which each expert's positions lie together";
  let description = [{
    Token m goes to the experts ids[m, :]. The pairs (m, j), stably sorted by expert, are the rows of what
    follows: places[m, j] is where pair (m, j) comes in that order, tokens[p] the token of the pair at p, and the
    pairs of expert e are those from offsets[e] to offsets[e + 1]. A negative id counts from the end; one
    out of range fails the call, with a message that begins with `name`.

    `layer` names the experts and `identity` says which weights they have; where an artifact is made, `number` is
    given, their row in its table of expert layers, and the host is told what was chosen (kernel.routed).

    Example:
    ```mlir
    func.func @example(%ids: tensor<?x2xi64>, %a: tensor<?x2xi64>, %b: tensor<?xi64>, %c: tensor<9xi64>) -> (tensor<?x2xi64>, tensor<?xi64>, tensor<9xi64>) {
      %y:3 = kernel.dispatch "mlp" ins(%ids : tensor<?x2xi64>) outs(%a, %b, %c : tensor<?x2xi64>, tensor<?xi64>, tensor<9xi64>) -> tensor<?x2xi64>, tensor<?xi64>, tensor<9xi64>
      return %y#0, %y#1, %y#2 : tensor<?x2xi64>, tensor<?xi64>, tensor<9xi64>
    }
    ```
  }];
  let arguments = (ins AnyShaped:$ids, AnyShaped:$places, AnyShaped:$tokens, AnyShaped:$offsets, StrAttr:$name,
                       OptionalAttr<StrAttr>:$layer, OptionalAttr<StrAttr>:$identity, OptionalAttr<I64Attr>:$number);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let assemblyFormat = [{
    $name `ins` `(` $ids `:` type($ids) `)` `outs` `(` $places `,` $tokens `,` $offsets `:` type($places) `,`
    type($tokens) `,` type($offsets) `)` attr-dict (`->` type($results)^)?
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    ::mlir::MutableOperandRange getDpsInitsMutable() { return ::mlir::MutableOperandRange(*this, 1, 3); }
  }];
}

def Kernel_GatherRowsOp : Kernel_DestinationOp<"gather_rows"> {
  let summary = "Rows of a matrix, by their numbers";
  let description = [{
    output[p, :] = input[rows[p], :]. The numbers are not checked.

    Example:
    ```mlir
    func.func @example(%x: tensor<?x64xf32>, %rows: tensor<?xi64>, %init: tensor<?x64xf32>) -> tensor<?x64xf32> {
      %y = kernel.gather_rows ins(%x, %rows : tensor<?x64xf32>, tensor<?xi64>) outs(%init : tensor<?x64xf32>) -> tensor<?x64xf32>
      return %y : tensor<?x64xf32>
    }
    ```
  }];
  let arguments = (ins AnyShaped:$input, AnyShaped:$rows, AnyShaped:$output);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let assemblyFormat = [{
    `ins` `(` $input `,` $rows `:` type($input) `,` type($rows) `)` `outs` `(` $output `:` type($output) `)` attr-dict
    (`->` type($results)^)?
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{ ::mlir::MutableOperandRange getDpsInitsMutable() { return getOutputMutable(); } }];
}

def Kernel_GroupedLinearOp : Kernel_DestinationOp<"grouped_linear"> {
  let summary = "Products of groups of rows, each with a packed weight of its own";
  let description = [{
    output[m, n] = sum_k input[m, k] * weight[e, n / block, k, n mod block] for the rows m from offsets[e] to
    offsets[e + 1]. `weight` is [groups, ceil(N / block), K, block], padded with zeros. A group without rows takes
    no time. With a bias [groups, N], sums begin with bias[e, n].

    Example:
    ```mlir
    func.func @example(%x: tensor<?x64xf32>, %w: tensor<8x3x64x32xf32>, %o: tensor<9xi64>, %init: tensor<?x96xf32>) -> tensor<?x96xf32> {
      %y = kernel.grouped_linear ins(%x, %w, %o : tensor<?x64xf32>, tensor<8x3x64x32xf32>, tensor<9xi64>) outs(%init : tensor<?x96xf32>) -> tensor<?x96xf32>
      return %y : tensor<?x96xf32>
    }
    ```
  }];
  let arguments = (ins AnyShaped:$input, AnyShaped:$weight, AnyShaped:$offsets, Optional<AnyShaped>:$bias,
                       AnyShaped:$output);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let assemblyFormat = [{
    `ins` `(` $input `,` $weight `,` $offsets `:` type($input) `,` type($weight) `,` type($offsets) `)`
    (`bias` `(` $bias^ `:` type($bias) `)`)? `outs` `(` $output `:` type($output) `)` attr-dict (`->` type($results)^)?
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{ ::mlir::MutableOperandRange getDpsInitsMutable() { return getOutputMutable(); } }];
}

def Kernel_CombineOp : Kernel_DestinationOp<"combine"> {
  let summary = "Weighted sums of the rows that were dispatched";
  let description = [{
    output[m, n] = sum_j weights[m, j] * input[places[m, j], n], summed in the order of j.

    Example:
    ```mlir
    func.func @example(%y: tensor<?x64xf32>, %p: tensor<?x2xi64>, %w: tensor<?x2xf32>, %init: tensor<?x64xf32>) -> tensor<?x64xf32> {
      %z = kernel.combine ins(%y, %p, %w : tensor<?x64xf32>, tensor<?x2xi64>, tensor<?x2xf32>) outs(%init : tensor<?x64xf32>) -> tensor<?x64xf32>
      return %z : tensor<?x64xf32>
    }
    ```
  }];
  let arguments = (ins AnyShaped:$input, AnyShaped:$places, AnyShaped:$weights, AnyShaped:$output);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let assemblyFormat = [{
    `ins` `(` $input `,` $places `,` $weights `:` type($input) `,` type($places) `,` type($weights) `)`
    `outs` `(` $output `:` type($output) `)` attr-dict (`->` type($results)^)?
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{ ::mlir::MutableOperandRange getDpsInitsMutable() { return getOutputMutable(); } }];
}

#endif // ADAPTER_DIALECTS_KERNEL_IR_EXPERTOPS_TD
