// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What entries of kernel.row_linear say in steps: rows that the base's product reads in another shape than they came in,
// and results that are changed behind it. All of it is made of pieces of rows, since steps mix columns.
#include "adapter-rt/artifact.h"
#include "lib/Codegen/LowerProducts.h"
#include "lib/Codegen/RowLinear.h"
#include "lib/Codegen/RowSteps.h"
#include "lib/Codegen/SharedFunction.h"

using namespace mlir;
using namespace adapter;
using namespace adapter::rows;

Value RowLinearLowering::hasStepsBefore(Value entry) {
  return arith::CmpIOp::create(b, arith::CmpIPredicate::ugt, emit.extent(entry, kStepsBefore), index(b, 0));
}

void RowLinearLowering::runSteps(Value entry, Value first, Value last, Value result, const Span &span) {
  int64_t words = ADAPTER_STEP_WORDS;
  RowSteps steps;
  steps.table = emit.tensor(entry, kStepTable, {any, words}, {emit.extent(entry, kSteps)}, b.getI64Type());
  // How much there is to read, steps know themselves.
  steps.numbers = emit.tensor(entry, kStepNumbers, {any}, {index(b, 0)});
  steps.indices = emit.tensor(entry, kStepIndices, {any}, {index(b, 0)}, b.getI64Type());
  steps.input = input;
  steps.result = result;
  steps.temporaries = temporaries;
  steps.width = emit.extent(entry, kTemporaryWidth);
  callRowSteps(b, tiles, steps, first, last, span.begin, span.end);
}

void RowLinearLowering::copyRows(Value from, Value to, Value begin, Value end) {
  int64_t lanes = tiles.getLanes();
  emit.loop(begin, end, [&](Value row) {
    emit.loop(index(b, 0), arith::CeilDivUIOp::create(b, depth, index(b, lanes)), [&](Value part) {
      Value column = arith::MulIOp::create(b, part, index(b, lanes));
      Value left = arith::SubIOp::create(b, depth, column);
      Value mask = vector::CreateMaskOp::create(b, VectorType::get(lanes, b.getI1Type()), ValueRange{left});
      store(load(from, {row, column}, mask), to, {row, column}, mask);
    });
  });
}

// Rows as the base's product reads them: those of a segment whose one adapter has steps before it as these make them,
// all others as they are.
void RowLinearLowering::rotateRows() {
  Value height = index(b, tiles.getRows());
  Value pieces = arith::CeilDivUIOp::create(b, positions, height);
  loops.parallel(pieces, 1, [&](Value piece) {
    Value begin = arith::MulIOp::create(b, piece, height);
    Value end = arith::MinUIOp::create(b, loops.add(begin, height), positions);
    auto rotate = [&](Value segment, ValueRange state) -> SmallVector<Value> {
      Span span = within(segment, begin, end);
      Value entry = kernel::AssignmentOp::create(b, b.getIndexType(), b.getF32Type(), span.first).getEntry();
      Value own = arith::AndIOp::create(b, emit.isPlain(span.first, span.count), isSome(span));
      own = arith::AndIOp::create(b, own, hasStepsBefore(entry));
      emit.when(own, [&] {
        copyRows(input, rotated, state[0], span.begin);
        runSteps(entry, index(b, 0), emit.extent(entry, kStepsBefore), rotated, span);
      });
      return {arith::SelectOp::create(b, own, span.end, state[0])};
    };
    Value rest = loops.fold(survey.segments, {begin}, rotate)[0];
    copyRows(input, rotated, rest, end);
  });
}

void RowLinearLowering::forBlocks(llvm::function_ref<void(Value)> body) {
  emit.loop(index(b, 0), blocks, body);
}

// Adds `sign` times the bias.
void RowLinearLowering::shiftByBias(Value of, const Span &span, bool isTakenAway) {
  forBlocks([&](Value block) {
    forVectors(block, span, [&](ValueRange at, Value mask) {
      Value value = load(of, at, mask), constant = load(bias, at[1], mask);
      Value shifted = isTakenAway ? arith::SubFOp::create(b, value, constant).getResult()
                                  : arith::AddFOp::create(b, value, constant).getResult();
      store(shifted, of, at, mask);
    });
  });
}

// The steps behind the product. The bias is not theirs.
void RowLinearLowering::finish(Value entry, Value of, const Span &span) {
  Value first = emit.extent(entry, kStepsBefore), last = emit.extent(entry, kSteps);
  emit.when(arith::CmpIOp::create(b, arith::CmpIPredicate::ult, first, last), [&] {
    Value reads =
        arith::CmpIOp::create(b, arith::CmpIPredicate::ne, emit.extent(entry, kReadsResult), index(b, 0));
    if (bias)
      emit.when(reads, [&] { shiftByBias(of, span, /*isTakenAway=*/true); });
    runSteps(entry, first, last, of, span);
    if (bias)
      emit.when(reads, [&] { shiftByBias(of, span, /*isTakenAway=*/false); });
  });
}

// y + share (y' - y) with a y' that has steps: all of it is made once more beside the output. Rows are rotated in place
// of the copy that the base's product has read.
void RowLinearLowering::addBeside(const Span &span, Value number, Value firstColumn) {
  auto assignment = kernel::AssignmentOp::create(b, b.getIndexType(), b.getF32Type(), number);
  Value entry = assignment.getEntry(), turns = hasStepsBefore(entry);
  emit.when(turns, [&] {
    runSteps(entry, index(b, 0), emit.extent(entry, kStepsBefore), rotated, span);
    if (rounded)
      fillRows(b, tiles, format, rotated, rounded, span.begin, span.end, mayEnd);
  });
  forBlocks([&](Value block) {
    auto copy = [&] {
      forVectors(block, span, [&](ValueRange at, Value mask) { store(load(base, at, mask), own, at, mask); });
    };
    auto multiplyAgain = [&] {
      multiplyPristine(bias ? TileStart::Bias : TileStart::Zero, rotated, own, block, span);
    };
    if (pristine)
      emit.when(turns, multiplyAgain, copy);
    else
      copy();
    addFactors(entry, firstColumn, own, block, span);
    scaleColumns(entry, own, block, span);
  });
  finish(entry, own, span);
  forBlocks([&](Value block) { addShare(assignment.getWeight(), block, span); });
}

void RowLinearLowering::finishRows() {
  loops.parallel(survey.pieces, 1, [&](Value piece) {
    Span span = spanAt(loops.add(survey.segments, piece));
    auto entryOf = [&](Value number) {
      return kernel::AssignmentOp::create(b, b.getIndexType(), b.getF32Type(), number).getEntry();
    };
    auto beside = [&] {
      loops.fold(span.count, {index(b, 0)}, [&](Value i, ValueRange state) -> SmallVector<Value> {
        Value number = loops.add(span.first, i), entry = entryOf(number);
        emit.when(emit.has(entry, kStepTable), [&] { addBeside(span, number, state[0]); });
        return {loops.add(state[0], emit.extent(entry, kRank))};
      });
    };
    emit.when(
        emit.isPlain(span.first, span.count), [&] { finish(entryOf(span.first), output, span); }, beside);
  });
}

//===----------------------------------------------------------------------===//
// Functions
//===----------------------------------------------------------------------===//

// All that parts read.
SmallVector<Value *> RowLinearLowering::state() {
  return {&input,         &pristine,      &bias,          &output,      &positions,
          &depth,         &columns,       &blocks,        &table,       &inner,
          &base,          &own,           &rotated,       &temporaries, &survey.segments,
          &survey.pieces, &rounded.words, &rounded.scales};
}

// Calls a function of which there is one for all sites: a graph is one long function that many loops would make slow to
// compile.
void RowLinearLowering::callPart(StringRef part, void (RowLinearLowering::*write)()) {
  SmallVector<Value> operands{emit.getBank()};
  for (Value *value : state())
    if (*value)
      operands.push_back(*value);
  std::string name = part.str() + (bias ? "_bias" : "") + (pristine ? "" : "_accumulate");
  if (format)
    name += "_" + format.text() + (mayEnd ? "_end" : "");
  ModuleOp module = tiles.getModule();
  auto function = module.lookupSymbol<func::FuncOp>(name);
  if (!function) {
    ImplicitLocOpBuilder inside(module.getLoc(), module.getContext());
    inside.setInsertionPointToEnd(module.getBody());
    function = startSharedFunction(inside, name, ValueRange(operands).getTypes());
    Block *entry = inside.getInsertionBlock();
    RowLinearLowering lowering(inside, entry->getArgument(0), tiles);
    lowering.format = format;
    lowering.mayEnd = mayEnd;
    auto argument = std::next(entry->args_begin());
    for (auto [own, given] : llvm::zip(lowering.state(), state()))
      *own = *given ? Value(*argument++) : Value();
    (lowering.*write)();
    func::ReturnOp::create(lowering.b);
  }
  func::CallOp::create(b, function, operands);
}
