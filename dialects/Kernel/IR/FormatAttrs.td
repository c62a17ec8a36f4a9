// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// How weights are stored that are narrower than f32.
#ifndef ADAPTER_DIALECTS_KERNEL_IR_FORMATATTRS_TD
#define ADAPTER_DIALECTS_KERNEL_IR_FORMATATTRS_TD

include "dialects/Kernel/IR/KernelDialect.td"
include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/EnumAttr.td"

def Kernel_NumberFormat : I32EnumAttr<"NumberFormat", "how a number of a weight is stored", [
  I32EnumAttrCase<"BF16", 0, "bf16">, I32EnumAttrCase<"F16", 1, "f16">, I32EnumAttrCase<"Int8", 2, "int8">,
  I32EnumAttrCase<"Int4", 3, "int4">]> {
  let cppNamespace = "::adapter::kernel";
  let genSpecializedAttr = 0;
}

def Kernel_FormatAttr : AttrDef<Kernel_Dialect, "Format"> {
  let mnemonic = "format";
  let summary = "How a packed weight is stored as bytes";
  let description = [{
    A packed weight [blocks, K, block] of f32 becomes [blocks, K / group, bytes]: for each column block and each group of
    K the group's bytes, all that a product reads one after the other. These are first, for integers, a scale for
    each column, and with `zeros` a zero point for each, both of f16 or, with `scales = f32`, of f32; then words of 32
    bits, [words][columns], each with as many steps of K of its column as fit:

    | format | steps in a word | value |
    |---|---|---|
    | bf16 | 2, the first in the low half | the number |
    | f16 | 2, the first in the low half | the number |
    | int8 | 4, the first in the lowest byte | scale * (byte - 128) |
    | int4 | 8, of byte i step i in the low and step 4 + i in the high half | scale * (half - 8) |

    Integers, -127 to 127 and -8 to 7, are rounded to nearest, halves to even. The scale of int8 is the largest magnitude over 127, that of int4 the
    number of largest magnitude over -8, both rounded to f16 first. `group` is a multiple of 8 for integers and 2 for
    others.

    With `zeros` a zero point takes the place of 128 or 8, and bytes are 0 to 255, halves 0 to 15: what other tools
    rounded comes so (kernel.repack). Its K may end within the last group.

    ```mlir
    func.func private @example() attributes {x = #kernel.format<int4, group = 64>, y = #kernel.format<bf16>,
                                             z = #kernel.format<int8, group = 128, scales = f32, zeros>}
    ```
  }];
  let parameters = (ins EnumParameter<Kernel_NumberFormat>:$number, DefaultValuedParameter<"int64_t", "0">:$group,
                        DefaultValuedParameter<"bool", "false">:$wideScales,
                        DefaultValuedParameter<"bool", "false">:$zeros);
  let hasCustomAssemblyFormat = 1;
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    bool isInteger() const { return getNumber() == NumberFormat::Int8 || getNumber() == NumberFormat::Int4; }
    /// Steps of K that have one scale, or that one word holds.
    int64_t steps() const { return isInteger() ? (getGroup() ? getGroup() : 32) : 2; }
    int64_t stepsInWord() const {
      return getNumber() == NumberFormat::Int4 ? 8 : getNumber() == NumberFormat::Int8 ? 4 : 2;
    }
    int64_t words() const { return steps() / stepsInWord(); }
    /// What is added to an integer so that it is not negative.
    int64_t offset() const { return getNumber() == NumberFormat::Int4 ? 8 : 128; }
    /// Of a scale or zero point.
    int64_t scaleSize() const { return getWideScales() ? 4 : 2; }
    /// Of a group of one column block: those of scales and zero points in front, and all.
    int64_t scaleBytes(int64_t columns) const {
      return isInteger() ? (getZeros() ? 2 : 1) * scaleSize() * columns : 0;
    }
    int64_t bytes(int64_t columns) const { return scaleBytes(columns) + 4 * words() * columns; }
    /// "int4", "int8:group=64", "int4:scales=f32:zeros"
    std::string text() const;
  }];
}

#endif // ADAPTER_DIALECTS_KERNEL_IR_FORMATATTRS_TD
