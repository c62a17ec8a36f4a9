// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Products with packed weights, for lowerings that need them.
#ifndef ADAPTER_LIB_CONVERSION_ONNXTOLINALG_PRODUCT_H
#define ADAPTER_LIB_CONVERSION_ONNXTOLINALG_PRODUCT_H

#include "lib/Conversion/ONNXToLinalg/Lowering.h"

namespace adapter {

/// The weight [k, n] (or [n, k]) packed as [ceil(n / block), k, block].
mlir::Value packWeight(GraphLowering &graph, Lowered &weight, bool transposed);

/// x [..., k] times a packed weight of `columns` columns with the updates of its banks, plus the bias [columns] if
/// there is one.
Lowered multiplyByWeight(GraphLowering &graph, Lowered &x, mlir::Value packed, mlir::OpFoldResult columns,
                         Lowered *bias, llvm::ArrayRef<int64_t> banks = {});

} // namespace adapter

#endif // ADAPTER_LIB_CONVERSION_ONNXTOLINALG_PRODUCT_H
