// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Kernel ops that make weights out of weights.
#ifndef ADAPTER_DIALECTS_KERNEL_IR_WEIGHTOPS_TD
#define ADAPTER_DIALECTS_KERNEL_IR_WEIGHTOPS_TD

include "dialects/Kernel/IR/KernelOps.td"

def Kernel_UpdateWeightOp : Kernel_DestinationOp<"update_weight", [AttrSizedOperandSegments]> {
  let summary = "A weight with a product of thin matrices in it, and its columns scaled";
  let description = [{
    output[k, n] = gain[n] * (weight[k, n] + sum_r down[k, r] * up[n / block, r, n mod block]). Weight and output are
    both packed as kernel.pack does it, or both matrices; up is packed, and so is gain, as a matrix of one row. Factors or
    gain may be absent, and then add and scale nothing; a matrix has no gain. With `unit` the columns of the sum are brought
    to length 1 before they are scaled, but for those whose gain is zero: they become zero, as a packed weight is padded.

    The products are summed in f32 before the weight is added, lengths in f64.

    Example:
    ```mlir
    func.func @example(%w: tensor<24x768x32xf32>, %a: tensor<768x8xf32>, %b: tensor<24x8x32xf32>, %g: tensor<24x1x32xf32>, %init: tensor<24x768x32xf32>) -> tensor<24x768x32xf32> {
      %v = kernel.update_weight ins(%w : tensor<24x768x32xf32>) factors(%a, %b : tensor<768x8xf32>, tensor<24x8x32xf32>) gain(%g : tensor<24x1x32xf32>) outs(%init : tensor<24x768x32xf32>) {unit} -> tensor<24x768x32xf32>
      return %v : tensor<24x768x32xf32>
    }
    ```
  }];
  let arguments = (ins AnyShaped:$weight, Optional<AnyShaped>:$down, Optional<AnyShaped>:$up, Optional<AnyShaped>:$gain,
                       AnyShaped:$output, UnitAttr:$unit);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let assemblyFormat = [{
    `ins` `(` $weight `:` type($weight) `)` (`factors` `(` $down^ `,` $up `:` type($down) `,` type($up) `)`)?
    (`gain` `(` $gain^ `:` type($gain) `)`)? `outs` `(` $output `:` type($output) `)` attr-dict (`->` type($results)^)?
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{ ::mlir::MutableOperandRange getDpsInitsMutable() { return getOutputMutable(); } }];
}

def Kernel_EncodeOp : Kernel_DestinationOp<"encode"> {
  let summary = "A packed weight in a narrow format";
  let description = [{
    source is what kernel.pack makes, [blocks, K, block] of f32, output the bytes of the format, which #kernel.format
    describes. K is a multiple of the format's group.

    Example:
    ```mlir
    func.func @example(%p: tensor<4x768x32xf32>, %init: tensor<4x24x576xi8>) -> tensor<4x24x576xi8> {
      %w = kernel.encode ins(%p : tensor<4x768x32xf32>) outs(%init : tensor<4x24x576xi8>) {format = #kernel.format<int4>} -> tensor<4x24x576xi8>
      return %w : tensor<4x24x576xi8>
    }
    ```
  }];
  let arguments = (ins AnyShaped:$source, AnyShaped:$output, Kernel_FormatAttr:$format);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let assemblyFormat = [{
    `ins` `(` $source `:` type($source) `)` `outs` `(` $output `:` type($output) `)` attr-dict
    (`->` type($results)^)?
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{ ::mlir::MutableOperandRange getDpsInitsMutable() { return getOutputMutable(); } }];
}

def Kernel_DecodeOp : Kernel_DestinationOp<"decode"> {
  let summary = "The packed weight that kernel.encode rounded";
  let description = [{
    output[b, k, n] is the number that stands for it in source. K may end within the last group.

    Example:
    ```mlir
    func.func @example(%w: tensor<4x384x128xi8>, %init: tensor<4x768x32xf32>) -> tensor<4x768x32xf32> {
      %p = kernel.decode ins(%w : tensor<4x384x128xi8>) outs(%init : tensor<4x768x32xf32>) {format = #kernel.format<bf16>} -> tensor<4x768x32xf32>
      return %p : tensor<4x768x32xf32>
    }
    ```
  }];
  let arguments = (ins AnyShaped:$source, AnyShaped:$output, Kernel_FormatAttr:$format);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let assemblyFormat = [{
    `ins` `(` $source `:` type($source) `)` `outs` `(` $output `:` type($output) `)` attr-dict
    (`->` type($results)^)?
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{ ::mlir::MutableOperandRange getDpsInitsMutable() { return getOutputMutable(); } }];
}

class Kernel_CodesOp<string mnemonic> : Kernel_DestinationOp<mnemonic> {
  let arguments = (ins AnyShaped:$codes, AnyShaped:$scales, Optional<AnyShaped>:$zeros, AnyShaped:$output,
                       I64Attr:$block, Kernel_FormatAttr:$format, UnitAttr:$transposed);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let assemblyFormat = [{
    `ins` `(` $codes `,` $scales `:` type($codes) `,` type($scales) `)` (`zeros` `(` $zeros^ `:` type($zeros) `)`)?
    `outs` `(` $output `:` type($output) `)` attr-dict (`->` type($results)^)?
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    ::mlir::MutableOperandRange getDpsInitsMutable() { return getOutputMutable(); }
    /// Of a code.
    int64_t bits() { return getFormat().getNumber() == NumberFormat::Int4 ? 4 : 8; }
  }];
}

def Kernel_DequantizeOp : Kernel_CodesOp<"dequantize"> {
  let summary = "A matrix that was stored as integers";
  let description = [{
    output[r, c] = scales[r, c / block] * (codes[r, c] - zeros[r, c / block]), or output[c, r] if it is `transposed`. Codes
    are bytes, or halves of bytes where the format is int4, the low half first; rows may end beyond c. Scales and zeros
    are f32; without zeros it is the format's 128 or 8. `format` is what a product would have of it.

    Example:
    ```mlir
    func.func @example(%q: tensor<40x32xi8>, %s: tensor<40x2xf32>, %init: tensor<64x40xf32>) -> tensor<64x40xf32> {
      %w = kernel.dequantize ins(%q, %s : tensor<40x32xi8>, tensor<40x2xf32>) outs(%init : tensor<64x40xf32>) {block = 32 : i64, format = #kernel.format<int4>, transposed} -> tensor<64x40xf32>
      return %w : tensor<64x40xf32>
    }
    ```
  }];
}

def Kernel_RepackOp : Kernel_CodesOp<"repack"> {
  let summary = "A packed weight of integers that were rounded before";
  let description = [{
    What kernel.encode would make of the transpose of kernel.dequantize's matrix if nothing were rounded: output is
    [blocks, groups, bytes] of the format, a row of codes a column of the weight. `transposed` says nothing here.

    Example:
    ```mlir
    func.func @example(%q: tensor<40x32xi8>, %s: tensor<40x2xf32>, %z: tensor<40x2xf32>, %init: tensor<2x2x640xi8>) -> tensor<2x2x640xi8> {
      %w = kernel.repack ins(%q, %s : tensor<40x32xi8>, tensor<40x2xf32>) zeros(%z : tensor<40x2xf32>) outs(%init : tensor<2x2x640xi8>) {block = 32 : i64, format = #kernel.format<int4, zeros>} -> tensor<2x2x640xi8>
      return %w : tensor<2x2x640xi8>
    }
    ```
  }];
}

#endif // ADAPTER_DIALECTS_KERNEL_IR_WEIGHTOPS_TD
