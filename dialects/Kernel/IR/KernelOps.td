// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Ops of the kernel dialect.
#ifndef ADAPTER_DIALECTS_KERNEL_IR_KERNELOPS_TD
#define ADAPTER_DIALECTS_KERNEL_IR_KERNELOPS_TD

include "dialects/Adapter/IR/ModuleAttrs.td"
include "dialects/Kernel/IR/FormatAttrs.td"
include "dialects/Kernel/IR/KernelDialect.td"
include "mlir/IR/OpBase.td"
include "mlir/Interfaces/DestinationStyleOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

class Kernel_Op<string mnemonic, list<Trait> traits = []> : Op<Kernel_Dialect, mnemonic, traits>;

def Kernel_ParameterOp : Kernel_Op<"parameter", [Pure]> {
  let summary = "A parameter of the artifact, by its row in the parameter table";
  let description = [{
    Static shape; read-only.

    Example:
    ```mlir
    %w = kernel.parameter 3 : tensor<24x768x32xf32>
    ```
  }];
  let arguments = (ins I64Attr:$index);
  let results = (outs AnyTypeOf<[AnyStaticShapeTensor, AnyStaticShapeMemRef]>:$result);
  let assemblyFormat = "$index attr-dict `:` type($result)";
}

def Kernel_OutputOp : Kernel_Op<"output", [MemoryEffects<[MemAlloc]>]> {
  let summary = "The buffer where a result of the call goes";
  let description = [{
    The memory that the host wants result `index` in, for a result of that shape. `sizes` are the dynamic ones.
    Each result is asked for once. A host that has no such memory fails the call.

    Example:
    ```mlir
    func.func @example(%n: index) -> memref<?x768xf32> {
      %y = kernel.output 0 [%n] : memref<?x768xf32>
      return %y : memref<?x768xf32>
    }
    ```
  }];
  let arguments = (ins ConfinedAttr<I64Attr, [IntNonNegative]>:$index, Variadic<Index>:$sizes);
  let results = (outs AnyMemRef:$result);
  let assemblyFormat = "$index `[` $sizes `]` attr-dict `:` type($result)";
  let hasVerifier = 1;
}

def Kernel_ReshapeOp : Kernel_Op<"reshape", [Pure]> {
  let summary = "The same elements in another shape";
  let description = [{
    `sizes` are the dynamic sizes of the result, in order; the number of elements must agree. No copy.

    Example:
    ```mlir
    func.func @example(%x: tensor<?x8xf32>, %n: index) -> tensor<?x2x4xf32> {
      %y = kernel.reshape %x [%n] : tensor<?x8xf32> to tensor<?x2x4xf32>
      return %y : tensor<?x2x4xf32>
    }
    ```
  }];
  let arguments = (ins AnyTypeOf<[AnyRankedTensor, AnyMemRef]>:$source, Variadic<Index>:$sizes);
  let results = (outs AnyTypeOf<[AnyRankedTensor, AnyMemRef]>:$result);
  let assemblyFormat = "$source `[` $sizes `]` attr-dict `:` type($source) `to` type($result)";
  let hasVerifier = 1;
  let hasFolder = 1;
}

class Kernel_DestinationOp<string mnemonic, list<Trait> traits = []>
    : Kernel_Op<mnemonic, !listconcat([DestinationStyleOpInterface,
                                       DeclareOpInterfaceMethods<MemoryEffectsOpInterface>], traits)>;

def Kernel_LinearOp : Kernel_DestinationOp<"linear"> {
  let summary = "A product with a packed weight";
  let description = [{
    output[m, n] = sum_k input[m, k] * weight[n / block, k, n mod block] + bias[n]. `weight` is
    [ceil(N / block), K, block], padded with zeros; input is [M, K], output [M, N]. What output held before
    is overwritten. With a `format` the weight is what kernel.encode makes of that one; sums are of f32 in order of k.

    Example:
    ```mlir
    func.func @example(%x: tensor<?x768xf32>, %w: tensor<24x768x32xf32>, %b: tensor<768xf32>, %init: tensor<?x768xf32>) -> tensor<?x768xf32> {
      %y = kernel.linear ins(%x, %w, %b : tensor<?x768xf32>, tensor<24x768x32xf32>, tensor<768xf32>) outs(%init : tensor<?x768xf32>) -> tensor<?x768xf32>
      return %y : tensor<?x768xf32>
    }
    ```
  }];
  let arguments = (ins AnyShaped:$input, AnyShaped:$weight, Optional<AnyShaped>:$bias, AnyShaped:$output,
                       OptionalAttr<Kernel_FormatAttr>:$format);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let assemblyFormat = [{
    `ins` `(` $input `,` $weight (`,` $bias^)? `:` type($input) `,` type($weight) (`,` type($bias)^)? `)`
    `outs` `(` $output `:` type($output) `)` attr-dict (`->` type($results)^)?
  }];
  let builders = [OpBuilder<(ins "::mlir::TypeRange":$results, "::mlir::Value":$input, "::mlir::Value":$weight,
                                 "::mlir::Value":$bias, "::mlir::Value":$output),
                            [{ build($_builder, $_state, results, input, weight, bias, output, FormatAttr()); }]>];
  let hasVerifier = 1;
  let extraClassDeclaration = [{ ::mlir::MutableOperandRange getDpsInitsMutable() { return getOutputMutable(); } }];
}

def Kernel_BatchMatmulOp : Kernel_DestinationOp<"batch_matmul"> {
  let summary = "Products of a batch of matrices";
  let description = [{
    output[b, m, n] = sum_k lhs[b, m, k] * rhs[b, k, n]; with `transpose_rhs` rhs is [b, n, k]. What output
    held before is overwritten. Batches are equal.

    Example:
    ```mlir
    func.func @example(%q: tensor<?x?x64xf32>, %k: tensor<?x?x64xf32>, %init: tensor<?x?x?xf32>) -> tensor<?x?x?xf32> {
      %s = kernel.batch_matmul ins(%q, %k : tensor<?x?x64xf32>, tensor<?x?x64xf32>) outs(%init : tensor<?x?x?xf32>) {transpose_rhs} -> tensor<?x?x?xf32>
      return %s : tensor<?x?x?xf32>
    }
    ```
  }];
  let arguments = (ins AnyShaped:$lhs, AnyShaped:$rhs, AnyShaped:$output, UnitAttr:$transpose_rhs);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let assemblyFormat = [{
    `ins` `(` $lhs `,` $rhs `:` type($lhs) `,` type($rhs) `)`
    `outs` `(` $output `:` type($output) `)` attr-dict (`->` type($results)^)?
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{ ::mlir::MutableOperandRange getDpsInitsMutable() { return getOutputMutable(); } }];
}

def Kernel_PackOp : Kernel_DestinationOp<"pack"> {
  let summary = "Pack a weight into column blocks";
  let description = [{
    output[n / block, k, n mod block] = source[k, n], zero beyond the last column; with `transposed` the
    source is [n, k]. The block is the last size of the output. A further first dimension of both counts
    matrices that are packed each on its own.

    Example:
    ```mlir
    func.func @example(%w: tensor<768x100xf32>, %init: tensor<4x768x32xf32>) -> tensor<4x768x32xf32> {
      %p = kernel.pack ins(%w : tensor<768x100xf32>) outs(%init : tensor<4x768x32xf32>) -> tensor<4x768x32xf32>
      return %p : tensor<4x768x32xf32>
    }
    ```
  }];
  let arguments = (ins AnyShaped:$source, AnyShaped:$output, UnitAttr:$transposed);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let assemblyFormat = [{
    `ins` `(` $source `:` type($source) `)` `outs` `(` $output `:` type($output) `)` attr-dict
    (`->` type($results)^)?
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{ ::mlir::MutableOperandRange getDpsInitsMutable() { return getOutputMutable(); } }];
}

def Kernel_UnpackOp : Kernel_DestinationOp<"unpack"> {
  let summary = "The matrix that kernel.pack packed";
  let description = [{
    output[k, n] = source[n / block, k, n mod block].

    Example:
    ```mlir
    func.func @example(%p: tensor<4x768x32xf32>, %init: tensor<768x100xf32>) -> tensor<768x100xf32> {
      %w = kernel.unpack ins(%p : tensor<4x768x32xf32>) outs(%init : tensor<768x100xf32>) -> tensor<768x100xf32>
      return %w : tensor<768x100xf32>
    }
    ```
  }];
  let arguments = (ins AnyShaped:$source, AnyShaped:$output);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let assemblyFormat = [{
    `ins` `(` $source `:` type($source) `)` `outs` `(` $output `:` type($output) `)` attr-dict
    (`->` type($results)^)?
  }];
  let extraClassDeclaration = [{ ::mlir::MutableOperandRange getDpsInitsMutable() { return getOutputMutable(); } }];
}

//===----------------------------------------------------------------------===//
// Updates that differ by row. Rows of a call lie one after the other in the first dimension; each names an
// adapter, whose entry in the site's bank (adapter_entry_v1) says what it brings.
//===----------------------------------------------------------------------===//

def Kernel_RowLinearOp : Kernel_DestinationOp<"row_linear", [AttrSizedOperandSegments]> {
  let summary = "A product with a packed weight and each row's update of it";
  let description = [{
    output = input weight + bias as kernel.linear makes it, and for the positions of each row with an adapter
    output = after(scale * (before(input) weight + (input A) B)) + bias, where a weight that the entry holds whole stands
    in place of `weight`, and before and after are the entry's steps. Rows that no adapter acts on get what kernel.linear
    gives, and so do all where the call has none. With `accumulate` output holds input times the base's weight before, and
    there is no bias; the weight, if it is given, is for entries with steps before it, of which there are none without;
    rows without an adapter stay. With a `format` the weight is stored as kernel.linear has it; one that an entry holds
    whole is of f32.

    Example:
    ```mlir
    func.func @example(%x: tensor<?x64xf32>, %w: tensor<2x64x16xf32>, %b: tensor<32xf32>, %init: tensor<?x32xf32>) -> tensor<?x32xf32> {
      %y = kernel.row_linear ins(%x : tensor<?x64xf32>) weight(%w : tensor<2x64x16xf32>) bias(%b : tensor<32xf32>) outs(%init : tensor<?x32xf32>) {bank = 0 : i64} -> tensor<?x32xf32>
      %z = kernel.row_linear ins(%x : tensor<?x64xf32>) outs(%y : tensor<?x32xf32>) {bank = 1 : i64, accumulate} -> tensor<?x32xf32>
      return %z : tensor<?x32xf32>
    }
    ```
  }];
  let arguments = (ins AnyShaped:$input, Optional<AnyShaped>:$weight, Optional<AnyShaped>:$bias,
                       AnyShaped:$output, I64Attr:$bank, UnitAttr:$accumulate,
                       OptionalAttr<Kernel_FormatAttr>:$format);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let assemblyFormat = [{
    `ins` `(` $input `:` type($input) `)` (`weight` `(` $weight^ `:` type($weight) `)`)?
    (`bias` `(` $bias^ `:` type($bias) `)`)? `outs` `(` $output `:` type($output) `)` attr-dict
    (`->` type($results)^)?
  }];
  let builders = [OpBuilder<(ins "::mlir::TypeRange":$results, "::mlir::Value":$input, "::mlir::Value":$weight,
                                 "::mlir::Value":$bias, "::mlir::Value":$output, "int64_t":$bank, "bool":$accumulate),
                            [{ build($_builder, $_state, results, input, weight, bias, output, bank, accumulate,
                                     FormatAttr()); }]>];
  let hasVerifier = 1;
  let extraClassDeclaration = [{ ::mlir::MutableOperandRange getDpsInitsMutable() { return getOutputMutable(); } }];
}

def Kernel_RowEmbeddingOp : Kernel_DestinationOp<"row_embedding"> {
  let summary = "Apply each row's update of a table to what was read from it";
  let description = [{
    `ids` are checked positions in the table, output[m] is the base's row ids[m] before. For the positions of
    each row with an adapter: the whole table's row where the entry holds one; else the low-rank update is
    added, and rows that the entry replaces are taken from it.

    Example:
    ```mlir
    func.func @example(%ids: tensor<?xi64>, %y: tensor<?x32xf32>) -> tensor<?x32xf32> {
      %z = kernel.row_embedding ins(%ids : tensor<?xi64>) outs(%y : tensor<?x32xf32>) {bank = 0 : i64, accumulate} -> tensor<?x32xf32>
      return %z : tensor<?x32xf32>
    }
    ```
  }];
  let arguments = (ins AnyShaped:$ids, AnyShaped:$output, I64Attr:$bank, UnitAttr:$accumulate);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let assemblyFormat = [{
    `ins` `(` $ids `:` type($ids) `)` `outs` `(` $output `:` type($output) `)` attr-dict (`->` type($results)^)?
  }];
  let extraClassDeclaration = [{ ::mlir::MutableOperandRange getDpsInitsMutable() { return getOutputMutable(); } }];
}

def Kernel_RowVectorsOp : Kernel_DestinationOp<"row_vectors"> {
  let summary = "Each position's vector: the base's, or its row's own";
  let description = [{
    output[m, n] = the whole vector in the entry of m's row, or base[n].

    Example:
    ```mlir
    func.func @example(%b: tensor<32xf32>, %init: tensor<?x32xf32>) -> tensor<?x32xf32> {
      %v = kernel.row_vectors ins(%b : tensor<32xf32>) outs(%init : tensor<?x32xf32>) {bank = 0 : i64} -> tensor<?x32xf32>
      return %v : tensor<?x32xf32>
    }
    ```
  }];
  let arguments = (ins AnyShaped:$base, AnyShaped:$output, I64Attr:$bank);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let assemblyFormat = [{
    `ins` `(` $base `:` type($base) `)` `outs` `(` $output `:` type($output) `)` attr-dict (`->` type($results)^)?
  }];
  let extraClassDeclaration = [{ ::mlir::MutableOperandRange getDpsInitsMutable() { return getOutputMutable(); } }];
}

def Kernel_RowBottleneckOp : Kernel_DestinationOp<"row_bottleneck"> {
  let summary = "Put each row's module on a value";
  let description = [{
    For the positions of each row with an adapter: output = residual + module(input), which is one of
    `bottlenecks`, by the entry's number; without a residual, of what output holds. Rows without an adapter stay.

    Example:
    ```mlir
    func.func @example(%x: tensor<?x64xf32>, %y: tensor<?x64xf32>) -> tensor<?x64xf32> {
      %z = kernel.row_bottleneck ins(%x : tensor<?x64xf32>) outs(%y : tensor<?x64xf32>) {bank = 0 : i64, bottlenecks = [#adapter.bottleneck<relu>], accumulate} -> tensor<?x64xf32>
      return %z : tensor<?x64xf32>
    }
    ```
  }];
  let arguments = (ins AnyShaped:$input, Optional<AnyShaped>:$residual, AnyShaped:$output, I64Attr:$bank,
                       Adapter_BottleneckArrayAttr:$bottlenecks, UnitAttr:$accumulate);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let assemblyFormat = [{
    `ins` `(` $input (`,` $residual^)? `:` type($input) (`,` type($residual)^)? `)`
    `outs` `(` $output `:` type($output) `)` attr-dict (`->` type($results)^)?
  }];
  let extraClassDeclaration = [{ ::mlir::MutableOperandRange getDpsInitsMutable() { return getOutputMutable(); } }];
}

def Kernel_RowCountOp : Kernel_Op<"row_count", [Pure]> {
  let summary = "Rows of the call that may carry adapters; 0 where none does";
  let results = (outs Index:$result);
  let assemblyFormat = "attr-dict";
}

def Kernel_SegmentCountOp : Kernel_Op<"segment_count", [Pure]> {
  let summary = "Segments of the call: rows that follow each other and carry the same adapters";
  let results = (outs Index:$result);
  let assemblyFormat = "attr-dict";
}

def Kernel_SegmentOp : Kernel_Op<"segment", [Pure]> {
  let summary = "The rows [begin, end) of a segment, and its assignments [first, first + count)";
  let arguments = (ins Index:$number);
  let results = (outs Index:$begin, Index:$end, Index:$first, Index:$count);
  let assemblyFormat = "$number attr-dict";
}

def Kernel_AssignmentOp : Kernel_Op<"assignment", [Pure]> {
  let summary = "The number of an assignment's entry in the banks, and the share of its changes that comes to be";
  let arguments = (ins Index:$number);
  let results = (outs Index:$entry, F32:$weight);
  let assemblyFormat = "$number attr-dict";
}

def Kernel_RowEntryOp : Kernel_Op<"row_entry", [Pure]> {
  let summary = "For devices: the number of a row's entry in the banks, negative for none";
  let arguments = (ins Index:$row);
  let results = (outs Index:$result);
  let assemblyFormat = "$row attr-dict";
}

def Kernel_BankOp : Kernel_Op<"bank", [Pure]> {
  let summary = "The number of a bank";
  let description = [{
    A value and no constant, so that loops over the entries of different banks are one function that gets it.

    Example:
    ```mlir
    func.func @example() -> index {
      %b = kernel.bank 3
      return %b : index
    }
    ```
  }];
  let arguments = (ins I64Attr:$number);
  let results = (outs Index:$result);
  let assemblyFormat = "$number attr-dict";
}

def Kernel_EntryExtentOp : Kernel_Op<"entry_extent", [Pure]> {
  let summary = "An extent of an entry in a bank";
  let arguments = (ins Index:$entry, Index:$bank, I64Attr:$position);
  let results = (outs Index:$result);
  let assemblyFormat = "$entry `of` $bank `[` $position `]` attr-dict";
}

def Kernel_EntryHasOp : Kernel_Op<"entry_has", [Pure]> {
  let summary = "Whether an entry in a bank has a tensor";
  let arguments = (ins Index:$entry, Index:$bank, I64Attr:$position);
  let results = (outs I1:$result);
  let assemblyFormat = "$entry `of` $bank `[` $position `]` attr-dict";
}

def Kernel_EntryTensorOp : Kernel_Op<"entry_tensor", [Pure]> {
  let summary = "A tensor of an entry in a bank";
  let description = [{ `sizes` are the dynamic sizes of the buffer, in order. }];
  let arguments = (ins Index:$entry, Index:$bank, I64Attr:$position, Variadic<Index>:$sizes);
  let results = (outs AnyMemRef:$result);
  let assemblyFormat = "$entry `of` $bank `[` $position `]` `(` $sizes `)` attr-dict `:` type($result)";
}

//===----------------------------------------------------------------------===//
// The same on a device, which follows no pointers: a bank is two buffers there, see adapter_device_v1.
//===----------------------------------------------------------------------===//

def Kernel_BankNumbersOp : Kernel_Op<"bank_numbers", [Pure]> {
  let summary = "The tensors of f32 of a bank's entries, one after the other";
  let arguments = (ins I64Attr:$bank);
  let results = (outs MemRefRankOf<[F32], [1]>:$result);
  let assemblyFormat = "$bank attr-dict `:` type($result)";
}

def Kernel_BankTableOp : Kernel_Op<"bank_table", [Pure]> {
  let summary = "Where the tensors of a bank's entries begin, and their extents";
  let description = [{
    Twelve numbers for each entry: the first element of each of its tensors in the bank's numbers (of
    integers: in this table), -1 for none, then the entry's extents.
  }];
  let arguments = (ins I64Attr:$bank);
  let results = (outs MemRefRankOf<[I32], [1]>:$result);
  let assemblyFormat = "$bank attr-dict `:` type($result)";
}

def Kernel_RowEntriesOp : Kernel_Op<"row_entries", [Pure]> {
  let summary = "The number of each row's entry in the banks, negative for none";
  let results = (outs MemRefRankOf<[I32], [1]>:$result);
  let assemblyFormat = "attr-dict `:` type($result)";
}

//===----------------------------------------------------------------------===//
// Loops and the call
//===----------------------------------------------------------------------===//

def Kernel_YieldOp : Kernel_Op<"yield", [Pure, Terminator, HasParent<"ParallelOp">]> {
  let summary = "The end of a parallel loop's body";
  let assemblyFormat = "attr-dict";
}

def Kernel_ParallelOp : Kernel_Op<"parallel", [RecursiveMemoryEffects,
                                               SingleBlockImplicitTerminator<"YieldOp">]> {
  let summary = "A loop whose iterations may run in parallel";
  let description = [{
    Runs the body for each index in [0, count), at least `grain` iterations at a time in one thread. Becomes
    a call of the host's parallel_for, or a plain loop inside another parallel loop.

    Example:
    ```mlir
    func.func @example(%x: memref<?xf32>, %count: index, %grain: index, %v: f32) {
      kernel.parallel %count grain %grain {
      ^bb0(%i: index):
        memref.store %v, %x[%i] : memref<?xf32>
      }
      return
    }
    ```
  }];
  let arguments = (ins Index:$count, Index:$grain);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "$count `grain` $grain $body attr-dict";
  let hasVerifier = 1;
}

#endif // ADAPTER_DIALECTS_KERNEL_IR_KERNELOPS_TD
