// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Experts of several processes. Each process has a share of the tokens and a share of the experts. It sends the rows
// of its tokens to the processes of the experts that these chose, a row once to each, multiplies the rows that it gets,
// sends the products back, sums those of its own tokens in the order of the choices, and shares the sums with all.
#include "dialects/Kernel/IR/KernelOps.h"
#include "lib/Conversion/ONNXToLinalg/Experts.h"
#include "lib/Conversion/ONNXToLinalg/Scalars.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace adapter;
using B = ImplicitLocOpBuilder;

SmallVector<int64_t> adapter::expertOrder(ExpertsOp op) {
  SmallVector<int64_t> order;
  ArrayRef<int64_t> placement = op.getPlacement().value_or(ArrayRef<int64_t>());
  for (int64_t rank = 0; rank < static_cast<int64_t>(op.getRanks().value_or(0)); ++rank)
    for (auto [expert, at] : llvm::enumerate(placement))
      if (at == rank)
        order.push_back(expert);
  return order;
}

namespace {
class Partition {
public:
  Partition(GraphLowering &graph, ExpertsOp op)
      : graph(graph), b(graph.b), op(op), ranks(*op.getRanks()), experts(op.getPlacement()->size()),
        share(experts / ranks), process(kernel::ProcessOp::create(b, b.getIndexType())) {}

  Value lower(RunExperts run);

private:
  Type i64() { return b.getI64Type(); }
  OpFoldResult number(int64_t value) { return graph.constant(value); }
  // Where the tokens of a process begin.
  OpFoldResult boundary(OpFoldResult process) {
    return graph.divide(graph.mul(process, graph.get(op.getInput()).shape[0]), number(ranks));
  }
  Value indexAt(B &b, Value numbers, ValueRange at) {
    Value element = tensor::ExtractOp::create(b, numbers, at);
    return arith::IndexCastOp::create(b, b.getIndexType(), element);
  }
  Value toI64(B &b, Value index) { return arith::IndexCastOp::create(b, b.getI64Type(), index); }
  Value shareOf(Lowered &rows, OpFoldResult columns);
  Value numbersOfExperts(Value ids);
  // A number for each process.
  Value perProcess(llvm::function_ref<Value(B &, Value)> body) {
    Lowered numbers = graph.generate({number(ranks)}, i64(),
                                     [&](B &b, ArrayRef<Value> at) -> Value { return body(b, at[0]); });
    return graph.tensor(numbers);
  }
  Value sumOf(Value numbers);
  Value exchange(Value rows, Value send, Value receive, ArrayRef<OpFoldResult> shape, Type type) {
    Value init = graph.empty(shape, type);
    return kernel::AllToAllRowsOp::create(b, init.getType(), rows, send, receive, init).getResult(0);
  }
  Value gather(Value rows, Value numbers, OpFoldResult count, OpFoldResult width, Type type) {
    Value init = graph.empty({count, width}, type);
    return kernel::GatherRowsOp::create(b, init.getType(), rows, numbers, init).getResult(0);
  }

  GraphLowering &graph;
  B &b;
  ExpertsOp op;
  int64_t ranks, experts, share;
  Value process;
  OpFoldResult first, mine; // this process's tokens
};
} // namespace

// The rows of this process's tokens.
Value Partition::shareOf(Lowered &rows, OpFoldResult columns) {
  Value source = graph.tensor(rows), from = graph.value(first);
  Lowered part = graph.generate({mine, columns}, rows.elementType, [&](B &b, ArrayRef<Value> at) -> Value {
    Value token = arith::AddIOp::create(b, at[0], from);
    return tensor::ExtractOp::create(b, source, ValueRange{token, at[1]});
  });
  return graph.tensor(part);
}

// Experts by their place in the order in which processes have them; what is no expert's number stays none.
Value Partition::numbersOfExperts(Value ids) {
  SmallVector<int64_t> order = expertOrder(op), places(experts);
  for (auto [place, expert] : llvm::enumerate(order))
    places[expert] = place;
  if (llvm::is_sorted(order))
    return ids;
  auto type = RankedTensorType::get({experts}, i64());
  Value table = arith::ConstantOp::create(b, DenseElementsAttr::get(type, ArrayRef(places)));
  auto shape = cast<RankedTensorType>(ids.getType());
  SmallVector<OpFoldResult> sizes{mine, shape.isDynamicDim(1) ? graph.get(op.getIds()).shape[1]
                                                              : number(shape.getDimSize(1))};
  Lowered numbers = graph.generate(sizes, i64(), [&](B &b, ArrayRef<Value> at) -> Value {
    Value id = indexAt(b, ids, at), zero = arith::ConstantIndexOp::create(b, 0);
    Value count = arith::ConstantIndexOp::create(b, experts);
    Value isNegative = arith::CmpIOp::create(b, arith::CmpIPredicate::slt, id, zero);
    Value expert = arith::SelectOp::create(b, isNegative, arith::AddIOp::create(b, id, count), id);
    Value isInside = arith::CmpIOp::create(b, arith::CmpIPredicate::ult, expert, count);
    Value safe = arith::SelectOp::create(b, isInside, expert, zero);
    Value place = tensor::ExtractOp::create(b, table, safe);
    return arith::SelectOp::create(b, isInside, place, toI64(b, count));
  });
  return graph.tensor(numbers);
}

// The sum of one number for each process, as a size.
Value Partition::sumOf(Value numbers) {
  Value sum;
  for (int64_t rank = 0; rank < ranks; ++rank) {
    Value each = indexAt(b, numbers, Value(arith::ConstantIndexOp::create(b, rank)));
    sum = sum ? Value(arith::AddIOp::create(b, sum, each)) : each;
  }
  return sum;
}

Value Partition::lower(RunExperts run) {
  Lowered &x = graph.get(op.getInput()), &ids = graph.get(op.getIds()), &weights = graph.get(op.getWeights());
  Lowered &up = graph.get(op.getUp()), &down = graph.get(op.getDown());
  OpFoldResult inWidth = up.shape[op.getTransposed() ? 1 : 2], top = ids.shape[1];
  OpFoldResult outWidth = down.shape[op.getTransposed() ? 2 : 1], tokens = x.shape[0];
  Type type = x.elementType;
  first = boundary(process);
  mine = graph.sub(boundary(graph.add(process, number(1))), first);
  Value rows = shareOf(x, inWidth), chosen = numbersOfExperts(shareOf(ids, top));

  // This process's pairs by expert, so that those of one process lie together.
  OpFoldResult pairs = graph.mul(mine, top);
  Value places = graph.empty({mine, top}, i64()), pairTokens = graph.empty({pairs}, i64());
  Value offsets = graph.empty({number(experts + 1)}, i64());
  auto dispatch = kernel::DispatchOp::create(
      b, TypeRange{places.getType(), pairTokens.getType(), offsets.getType()}, chosen, places, pairTokens,
      offsets, "experts", StringAttr(), StringAttr(), IntegerAttr());
  places = dispatch.getResult(0), pairTokens = dispatch.getResult(1), offsets = dispatch.getResult(2);
  Value list = graph.empty({pairs}, i64()), index = graph.empty({pairs}, i64());
  Value bounds = graph.empty({number(ranks + 1)}, i64()), seen = graph.empty({mine}, i64());
  auto unique = kernel::UniqueRowsOp::create(
      b, TypeRange{list.getType(), index.getType(), bounds.getType(), seen.getType()}, pairTokens, offsets,
      list, index, bounds, seen);
  list = unique.getResult(0), index = unique.getResult(1), bounds = unique.getResult(2);

  // What everybody is going to get: pairs of each expert, and rows.
  Lowered sent =
      graph.generate({number(ranks), number(share + 1)}, i64(), [&](B &b, ArrayRef<Value> at) -> Value {
        Value last = arith::ConstantIndexOp::create(b, share), one = arith::ConstantIndexOp::create(b, 1);
        Value isRows = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, at[1], last);
        Value expert = arith::AddIOp::create(b, arith::MulIOp::create(b, at[0], last), at[1]);
        // In the last column there may be no such expert.
        Value safe = arith::SelectOp::create(b, isRows, at[0], expert);
        auto difference = [&](Value numbers, Value at) -> Value {
          Value next = tensor::ExtractOp::create(b, numbers, Value(arith::AddIOp::create(b, at, one)));
          return arith::SubIOp::create(b, next, tensor::ExtractOp::create(b, numbers, at));
        };
        return arith::SelectOp::create(b, isRows, difference(bounds, at[0]), difference(offsets, safe));
      });
  Value init = graph.empty({number(ranks), number(share + 1)}, i64());
  Value counts = kernel::AllToAllOp::create(b, init.getType(), graph.tensor(sent), init).getResult(0);
  auto between = [&](Value numbers, int64_t step) {
    return perProcess([&, numbers, step](B &b, Value process) -> Value {
      Value width = arith::ConstantIndexOp::create(b, step);
      Value from = arith::MulIOp::create(b, process, width), to = arith::AddIOp::create(b, from, width);
      Value last = tensor::ExtractOp::create(b, numbers, to);
      return arith::SubIOp::create(b, last, tensor::ExtractOp::create(b, numbers, from));
    });
  };
  Value sentPairs = between(offsets, share), sentRows = between(bounds, 1);
  Value receivedRows = perProcess([&](B &b, Value process) -> Value {
    Value last = arith::ConstantIndexOp::create(b, share);
    return tensor::ExtractOp::create(b, counts, ValueRange{process, last});
  });
  Value receivedPairs = perProcess([&](B &b, Value process) -> Value {
    Value sum;
    for (int64_t expert = 0; expert < share; ++expert) {
      Value at = arith::ConstantIndexOp::create(b, expert);
      Value each = tensor::ExtractOp::create(b, counts, ValueRange{process, at});
      sum = sum ? Value(arith::AddIOp::create(b, sum, each)) : each;
    }
    return sum;
  });
  OpFoldResult rowCount = sumOf(receivedRows), pairCount = sumOf(receivedPairs), sending = sumOf(sentRows);

  Value toSend = gather(rows, list, sending, inWidth, type);
  Value came = exchange(toSend, sentRows, receivedRows, {rowCount, inWidth}, type);
  Value cameIndex = exchange(index, sentPairs, receivedPairs, {pairCount}, i64());
  Value order = graph.empty({pairCount}, i64()), back = graph.empty({pairCount}, i64());
  Value groups = graph.empty({number(experts + 1)}, i64());
  auto arranged =
      kernel::ArrangeRowsOp::create(b, TypeRange{order.getType(), back.getType(), groups.getType()}, process,
                                    cameIndex, counts, order, back, groups);
  Value products =
      run(gather(came, arranged.getResult(0), pairCount, inWidth, type), pairCount, arranged.getResult(2));
  Value answer = gather(products, arranged.getResult(1), pairCount, outWidth, type);
  Value answers = exchange(answer, receivedPairs, sentPairs, {pairs, outWidth}, type);
  init = graph.empty({mine, outWidth}, type);
  Value sums =
      kernel::CombineOp::create(b, init.getType(), answers, places, shareOf(weights, top), init).getResult(0);
  Value all = graph.value(tokens);
  Value tokenCounts = perProcess([&](B &b, Value process) -> Value {
    Value count = arith::ConstantIndexOp::create(b, ranks), one = arith::ConstantIndexOp::create(b, 1);
    auto boundary = [&](Value of) -> Value {
      return arith::DivUIOp::create(b, arith::MulIOp::create(b, of, all), count);
    };
    Value next = boundary(arith::AddIOp::create(b, process, one));
    return toI64(b, arith::SubIOp::create(b, next, boundary(process)));
  });
  init = graph.empty({tokens, outWidth}, type);
  return kernel::AllGatherRowsOp::create(b, init.getType(), sums, tokenCounts, init).getResult(0);
}

Value adapter::lowerPartitionedExperts(ExpertsOp op, GraphLowering &graph, RunExperts run) {
  return Partition(graph, op).lower(run);
}
