// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Kernel ops of experts that several processes share: what goes to whom, and the exchanges, which the host does.
// All processes run the same calls in the same order.
#ifndef ADAPTER_DIALECTS_KERNEL_IR_EXCHANGEOPS_TD
#define ADAPTER_DIALECTS_KERNEL_IR_EXCHANGEOPS_TD

include "dialects/Kernel/IR/KernelOps.td"

def Kernel_ProcessOp : Kernel_Op<"process", [Pure]> {
  let summary = "The number of this process among those that run the call";
  let description = [{
    Example:
    ```mlir
    func.func @example() -> index {
      %r = kernel.process
      return %r : index
    }
    ```
  }];
  let results = (outs Index:$result);
  let assemblyFormat = "attr-dict";
}

def Kernel_RoutedOp : Kernel_Op<"routed", [DeclareOpInterfaceMethods<MemoryEffectsOpInterface>]> {
  let summary = "Tell the host which experts were chosen";
  let description = [{
    Calls the host's `routed` with the row of the manifest's table of expert layers and a buffer [tokens, top] of
    experts; nothing where the host does not listen.

    Example:
    ```mlir
    func.func @example(%ids: memref<?x2xi64>) {
      kernel.routed 3 %ids : memref<?x2xi64>
      return
    }
    ```
  }];
  let arguments = (ins I64Attr:$layer, AnyMemRef:$ids);
  let assemblyFormat = "$layer $ids attr-dict `:` type($ids)";
  let hasVerifier = 1;
}

def Kernel_UniqueRowsOp : Kernel_DestinationOp<"unique_rows"> {
  let summary = "The rows that each process needs, each once";
  let description = [{
    `tokens` and `offsets` are a dispatch's: the pairs of expert e, from offsets[e] to offsets[e + 1]. Process r has
    the r-th share of the experts, all as large. rows[bounds[r]] to rows[bounds[r + 1]] are the tokens of its
    pairs, each once, in the order in which its pairs name them first; index[p] is where pair p's token stands in
    them. `rows` has room for as many as there are pairs; `seen`, one number for each token, is scratch.

    Example:
    ```mlir
    func.func @example(%t: tensor<?xi64>, %o: tensor<9xi64>, %r: tensor<?xi64>, %i: tensor<?xi64>, %b: tensor<3xi64>, %s: tensor<?xi64>) -> (tensor<?xi64>, tensor<?xi64>, tensor<3xi64>, tensor<?xi64>) {
      %y:4 = kernel.unique_rows ins(%t, %o : tensor<?xi64>, tensor<9xi64>) outs(%r, %i, %b, %s : tensor<?xi64>, tensor<?xi64>, tensor<3xi64>, tensor<?xi64>) -> tensor<?xi64>, tensor<?xi64>, tensor<3xi64>, tensor<?xi64>
      return %y#0, %y#1, %y#2, %y#3 : tensor<?xi64>, tensor<?xi64>, tensor<3xi64>, tensor<?xi64>
    }
    ```
  }];
  let arguments = (ins AnyShaped:$tokens, AnyShaped:$offsets, AnyShaped:$rows, AnyShaped:$index, AnyShaped:$bounds,
                       AnyShaped:$seen);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let assemblyFormat = [{
    `ins` `(` $tokens `,` $offsets `:` type($tokens) `,` type($offsets) `)` `outs` `(` $rows `,` $index `,` $bounds `,`
    $seen `:` type($rows) `,` type($index) `,` type($bounds) `,` type($seen) `)` attr-dict (`->` type($results)^)?
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    ::mlir::MutableOperandRange getDpsInitsMutable() { return ::mlir::MutableOperandRange(*this, 2, 4); }
  }];
}

def Kernel_ArrangeRowsOp : Kernel_DestinationOp<"arrange_rows"> {
  let summary = "An order in which what came from several processes lies together by expert";
  let description = [{
    Pairs came process by process, those of one process expert by expert: counts[s, g] from process s for the g-th
    expert of this one, and counts[s, last] rows that they name: pair q of process s has row index[q], counted from
    the first one of s. rows[p] is the row, of all that came, of the pair that comes p-th when pairs are sorted by
    expert, then by process; places[q] where the q-th pair that came stands in that order. offsets are
    as a dispatch's for all experts, of which others' have no pairs.

    Example:
    ```mlir
    func.func @example(%i: tensor<?xi64>, %c: tensor<2x5xi64>, %me: index, %r: tensor<?xi64>, %p: tensor<?xi64>, %o: tensor<9xi64>) -> (tensor<?xi64>, tensor<?xi64>, tensor<9xi64>) {
      %y:3 = kernel.arrange_rows %me ins(%i, %c : tensor<?xi64>, tensor<2x5xi64>) outs(%r, %p, %o : tensor<?xi64>, tensor<?xi64>, tensor<9xi64>) -> tensor<?xi64>, tensor<?xi64>, tensor<9xi64>
      return %y#0, %y#1, %y#2 : tensor<?xi64>, tensor<?xi64>, tensor<9xi64>
    }
    ```
  }];
  let arguments = (ins Index:$process, AnyShaped:$index, AnyShaped:$counts, AnyShaped:$rows, AnyShaped:$places,
                       AnyShaped:$offsets);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let assemblyFormat = [{
    $process `ins` `(` $index `,` $counts `:` type($index) `,` type($counts) `)` `outs` `(` $rows `,` $places `,`
    $offsets `:` type($rows) `,` type($places) `,` type($offsets) `)` attr-dict (`->` type($results)^)?
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    ::mlir::MutableOperandRange getDpsInitsMutable() { return ::mlir::MutableOperandRange(*this, 3, 3); }
  }];
}

def Kernel_AllToAllOp : Kernel_DestinationOp<"all_to_all"> {
  let summary = "Each process gets a row from each";
  let description = [{
    Row r of `input` goes to process r and is there the row of `output` with this process's number. A failure
    of the exchange fails the call.

    Example:
    ```mlir
    func.func @example(%x: tensor<2x5xi64>, %init: tensor<2x5xi64>) -> tensor<2x5xi64> {
      %y = kernel.all_to_all ins(%x : tensor<2x5xi64>) outs(%init : tensor<2x5xi64>) -> tensor<2x5xi64>
      return %y : tensor<2x5xi64>
    }
    ```
  }];
  let arguments = (ins AnyShaped:$input, AnyShaped:$output);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let assemblyFormat = [{
    `ins` `(` $input `:` type($input) `)` `outs` `(` $output `:` type($output) `)` attr-dict (`->` type($results)^)?
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{ ::mlir::MutableOperandRange getDpsInitsMutable() { return getOutputMutable(); } }];
}

def Kernel_AllToAllRowsOp : Kernel_DestinationOp<"all_to_all_rows"> {
  let summary = "Each process gets rows from each, as many as there are";
  let description = [{
    The first send[0] rows of `input` go to process 0, the next send[1] to process 1; the rows of `output` come from
    the processes in order, receive[s] from process s. A failure of the exchange fails the call.

    Example:
    ```mlir
    func.func @example(%x: tensor<?x64xf32>, %s: tensor<2xi64>, %r: tensor<2xi64>, %init: tensor<?x64xf32>) -> tensor<?x64xf32> {
      %y = kernel.all_to_all_rows ins(%x, %s, %r : tensor<?x64xf32>, tensor<2xi64>, tensor<2xi64>) outs(%init : tensor<?x64xf32>) -> tensor<?x64xf32>
      return %y : tensor<?x64xf32>
    }
    ```
  }];
  let arguments = (ins AnyShaped:$input, AnyShaped:$send, AnyShaped:$receive, AnyShaped:$output);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let assemblyFormat = [{
    `ins` `(` $input `,` $send `,` $receive `:` type($input) `,` type($send) `,` type($receive) `)` `outs` `(` $output
    `:` type($output) `)` attr-dict (`->` type($results)^)?
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{ ::mlir::MutableOperandRange getDpsInitsMutable() { return getOutputMutable(); } }];
}

def Kernel_AllGatherRowsOp : Kernel_DestinationOp<"all_gather_rows"> {
  let summary = "The rows of all processes, one process after the other";
  let description = [{
    Every process gets counts[s] rows of each process s, its own included. A failure of the exchange fails the call.

    Example:
    ```mlir
    func.func @example(%x: tensor<?x64xf32>, %c: tensor<2xi64>, %init: tensor<?x64xf32>) -> tensor<?x64xf32> {
      %y = kernel.all_gather_rows ins(%x, %c : tensor<?x64xf32>, tensor<2xi64>) outs(%init : tensor<?x64xf32>) -> tensor<?x64xf32>
      return %y : tensor<?x64xf32>
    }
    ```
  }];
  let arguments = (ins AnyShaped:$input, AnyShaped:$counts, AnyShaped:$output);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let assemblyFormat = [{
    `ins` `(` $input `,` $counts `:` type($input) `,` type($counts) `)` `outs` `(` $output `:` type($output) `)`
    attr-dict (`->` type($results)^)?
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{ ::mlir::MutableOperandRange getDpsInitsMutable() { return getOutputMutable(); } }];
}

#endif // ADAPTER_DIALECTS_KERNEL_IR_EXCHANGEOPS_TD
