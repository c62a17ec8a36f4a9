// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Weights in narrow formats, made and read back; a part of kernel-lower-products.
#ifndef ADAPTER_LIB_CODEGEN_LOWERFORMATS_H
#define ADAPTER_LIB_CODEGEN_LOWERFORMATS_H

#include "dialects/Kernel/IR/KernelOps.h"

namespace adapter {

/// Lower the ops to loops over column blocks, by vectors of `lanes` f32.
void lowerEncode(kernel::EncodeOp op, int64_t lanes);
void lowerDecode(kernel::DecodeOp op, int64_t lanes);
/// By elements (LowerCodes.cpp).
void lowerRepack(kernel::RepackOp op);
void lowerDequantize(kernel::DequantizeOp op);

} // namespace adapter

#endif // ADAPTER_LIB_CODEGEN_LOWERFORMATS_H
