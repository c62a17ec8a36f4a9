// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// GraphLowering: where values carry the rows of a call, and updates that differ by row. A row's elements lie
// together as long as the batch stays the first dimension, alone or flattened with what follows it.
#include "dialects/Kernel/IR/KernelOps.h"
#include "lib/Conversion/ONNXToLinalg/Lowering.h"

using namespace mlir;
using namespace adapter;

void GraphLowering::inheritRows(Lowered &result, ArrayRef<Lowered *> inputs) {
  bool outermost = false;
  for (Lowered *input : inputs) {
    if (!input || input->rows == Rows::None)
      continue;
    bool aligned = input->rows == Rows::Outermost && result.rank() > 0 && input->rank() > 0 &&
                   same(input->shape[0], result.shape[0]);
    if (!aligned) {
      result.rows = Rows::Elsewhere;
      return;
    }
    outermost = true;
  }
  result.rows = outermost ? Rows::Outermost : Rows::None;
}

void GraphLowering::mergeRows(Lowered &result, ArrayRef<Lowered *> inputs) {
  result.rows = Rows::None;
  for (Lowered *input : inputs) {
    if (input->rows == Rows::Outermost && input->rank() == result.rank()) {
      result.rows = Rows::Outermost;
      return;
    }
    if (input->rows != Rows::None)
      result.rows = Rows::Elsewhere;
  }
}

void GraphLowering::refuse(int64_t bank, const std::string &why) {
  std::string &place = banks[bank].spare ? banks[bank].refusal : fault;
  if (place.empty())
    place = why;
}

bool GraphLowering::requireRows(const Lowered &x, int64_t bank) {
  if (x.rows == Rows::Outermost || !banks[bank].perRow)
    return true;
  refuse(bank, x.rows == Rows::None
                   ? "its input does not depend on the rows of the call, so an adapter of one row cannot act "
                     "here; bind the adapter at build, switch or call"
                   : "the rows of the call cannot be traced to its input; bind the adapter at build, switch "
                     "or call");
  return false;
}

Lowered GraphLowering::callVector(Lowered &vector, int64_t bank) {
  OpFoldResult width = product(vector.shape);
  SmallVector<OpFoldResult> shape(vector.shape);
  Lowered flat = reshape(vector, {width});
  Value init = empty({constant(1), width}, vector.elementType);
  Value table =
      kernel::RowVectorsOp::create(b, init.getType(), tensor(flat), init, bank).getResults().front();
  Lowered result = wrap(table, {constant(1), width});
  return reshape(result, shape);
}

Lowered GraphLowering::rowVectors(Lowered &vector, ArrayRef<Lowered *> inputs) {
  Lowered *data = nullptr;
  int64_t rank = vector.rank();
  for (Lowered *input : inputs)
    if (input != &vector && input->rows == Rows::Outermost && input->rank() > rank &&
        (!data || input->rank() > data->rank()))
      data = input;
  Lowered plain = vector;
  plain.banks.clear();
  if (!data) {
    Lowered none;
    for (Lowered *input : inputs)
      if (input->rows == Rows::Elsewhere)
        none.rows = Rows::Elsewhere;
    requireRows(none, vector.banks.front());
    return plain;
  }
  // [n] per position of the first dimension, then 1s up to the data's rank.
  OpFoldResult width = product(vector.shape);
  Lowered flat = reshape(plain, {width});
  Value init = empty({data->shape[0], width}, vector.elementType);
  Value table = kernel::RowVectorsOp::create(b, init.getType(), tensor(flat), init, vector.banks.front())
                    .getResults()
                    .front();
  Lowered result = wrap(table, {data->shape[0], width});
  SmallVector<OpFoldResult> shape{data->shape[0]};
  for (int64_t dim = 1; dim < data->rank() - rank; ++dim)
    shape.push_back(constant(1));
  llvm::append_range(shape, vector.shape);
  result = reshape(result, shape);
  result.rows = Rows::Outermost;
  return result;
}

Lowered GraphLowering::addRowUpdates(Lowered &x, Lowered result, ArrayRef<int64_t> numbers) {
  for (int64_t bank : numbers) {
    if (!requireRows(x, bank))
      continue;
    ArrayRef<OpFoldResult> shape = x.shape;
    OpFoldResult rows = product(shape.drop_back()), columns = result.shape.back();
    SmallVector<OpFoldResult> whole(result.shape);
    Lowered input = reshape(x, {rows, shape.back()});
    Lowered output = reshape(result, {rows, columns});
    Value updated =
        kernel::RowLinearOp::create(b, tensor(output).getType(), tensor(input), tensor(output), bank,
                                    /*accumulate=*/true)
            .getResults()
            .front();
    Lowered flat = wrap(updated, {rows, columns});
    flat.rows = result.rows;
    result = reshape(flat, whole);
  }
  return result;
}

Lowered GraphLowering::actByRow(Lowered &base, Lowered &x, Lowered *residual, int64_t bank, ArrayAttr forms) {
  for (Lowered *value : {&x, residual})
    if (value && !requireRows(*value, bank))
      return base;
  SmallVector<OpFoldResult> whole(base.shape);
  auto flat = [&](Lowered &value) {
    Lowered matrix = reshape(value, {product(ArrayRef(value.shape).drop_back()), value.shape.back()});
    return tensor(matrix);
  };
  Value output = flat(base);
  auto op =
      kernel::RowBottleneckOp::create(b, output.getType(), flat(x), residual ? flat(*residual) : Value(),
                                      output, bank, forms, /*accumulate=*/true);
  Lowered result = wrap(op.getResults().front(), {product(ArrayRef(whole).drop_back()), whole.back()});
  result.rows = x.rows;
  result = reshape(result, whole);
  return result;
}
