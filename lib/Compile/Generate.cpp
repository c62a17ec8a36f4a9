// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// See Generate.h.
#include "lib/Compile/Generate.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;

Value adapter::generateTensor(ImplicitLocOpBuilder &b, ValueRange sizes, Type element, ElementBody body) {
  SmallVector<int64_t> shape(sizes.size(), ShapedType::kDynamic);
  Value init = tensor::EmptyOp::create(b, shape, element, sizes);
  SmallVector<AffineMap> maps{b.getMultiDimIdentityMap(sizes.size())};
  SmallVector<utils::IteratorType> iterators(sizes.size(), utils::IteratorType::parallel);
  auto generic = linalg::GenericOp::create(b, init.getType(), ValueRange(), init, maps, iterators,
                                           [&](OpBuilder &nested, Location loc, ValueRange) {
                                             ImplicitLocOpBuilder inner(loc, nested);
                                             SmallVector<Value> indices;
                                             for (size_t dim = 0; dim < sizes.size(); ++dim)
                                               indices.push_back(linalg::IndexOp::create(inner, dim));
                                             linalg::YieldOp::create(inner, body(inner, indices));
                                           });
  return generic.getResult(0);
}
