// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Verification, folding and effects of kernel ops.
#include "dialects/Kernel/IR/KernelOps.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/Matchers.h"
#include "mlir/IR/PatternMatch.h"

using namespace mlir;
using namespace adapter::kernel;

//===----------------------------------------------------------------------===//
// Effects: operands that are buffers are read, destinations written
//===----------------------------------------------------------------------===//

using Effects = SmallVectorImpl<SideEffects::EffectInstance<MemoryEffects::Effect>>;

static void addDestinationStyleEffects(DestinationStyleOpInterface op, Effects &effects) {
  for (OpOperand &operand : op->getOpOperands()) {
    if (!isa<MemRefType>(operand.get().getType()))
      continue;
    if (op.isDpsInit(&operand))
      effects.emplace_back(MemoryEffects::Write::get(), &operand, SideEffects::DefaultResource::get());
    else
      effects.emplace_back(MemoryEffects::Read::get(), &operand, SideEffects::DefaultResource::get());
  }
}

// A check stays where it is, before what relies on it.
void RequireOp::getEffects(Effects &effects) { effects.emplace_back(MemoryEffects::Write::get()); }

LogicalResult RequireOp::verify() {
  if (getValues().size() > 3)
    return emitOpError("has more than three values");
  return success();
}

LogicalResult RequireOp::canonicalize(RequireOp op, PatternRewriter &rewriter) {
  if (!matchPattern(op.getCondition(), m_One()))
    return failure();
  rewriter.eraseOp(op);
  return success();
}

void LinearOp::getEffects(Effects &effects) { addDestinationStyleEffects(*this, effects); }
void UnpackOp::getEffects(Effects &effects) { addDestinationStyleEffects(*this, effects); }
void RowLinearOp::getEffects(Effects &effects) { addDestinationStyleEffects(*this, effects); }
void RowEmbeddingOp::getEffects(Effects &effects) { addDestinationStyleEffects(*this, effects); }
void RowBottleneckOp::getEffects(Effects &effects) { addDestinationStyleEffects(*this, effects); }
void RowVectorsOp::getEffects(Effects &effects) { addDestinationStyleEffects(*this, effects); }
void UpdateWeightOp::getEffects(Effects &effects) { addDestinationStyleEffects(*this, effects); }
void PackOp::getEffects(Effects &effects) { addDestinationStyleEffects(*this, effects); }
void EncodeOp::getEffects(Effects &effects) { addDestinationStyleEffects(*this, effects); }
void DecodeOp::getEffects(Effects &effects) { addDestinationStyleEffects(*this, effects); }
void DequantizeOp::getEffects(Effects &effects) { addDestinationStyleEffects(*this, effects); }
void RepackOp::getEffects(Effects &effects) { addDestinationStyleEffects(*this, effects); }
void BatchMatmulOp::getEffects(Effects &effects) { addDestinationStyleEffects(*this, effects); }
void TopKOp::getEffects(Effects &effects) { addDestinationStyleEffects(*this, effects); }
void DispatchOp::getEffects(Effects &effects) { addDestinationStyleEffects(*this, effects); }
void GatherRowsOp::getEffects(Effects &effects) { addDestinationStyleEffects(*this, effects); }
void GroupedLinearOp::getEffects(Effects &effects) { addDestinationStyleEffects(*this, effects); }
void CombineOp::getEffects(Effects &effects) { addDestinationStyleEffects(*this, effects); }
void UniqueRowsOp::getEffects(Effects &effects) { addDestinationStyleEffects(*this, effects); }
void ArrangeRowsOp::getEffects(Effects &effects) { addDestinationStyleEffects(*this, effects); }
void AllToAllOp::getEffects(Effects &effects) { addDestinationStyleEffects(*this, effects); }
void AllToAllRowsOp::getEffects(Effects &effects) { addDestinationStyleEffects(*this, effects); }
void AllGatherRowsOp::getEffects(Effects &effects) { addDestinationStyleEffects(*this, effects); }
void AttentionOp::getEffects(Effects &effects) {
  addDestinationStyleEffects(*this, effects);
  if (getState()) { // the session's memory is not an operand
    effects.emplace_back(MemoryEffects::Read::get());
    effects.emplace_back(MemoryEffects::Write::get());
  }
}

//===----------------------------------------------------------------------===//
// Verification
//===----------------------------------------------------------------------===//

static bool disagree(int64_t a, int64_t b) {
  return !ShapedType::isDynamic(a) && !ShapedType::isDynamic(b) && a != b;
}

// Whether so many rows of a weight fill so many groups, the last of integers perhaps in part.
static bool inGroups(int64_t rows, int64_t groups, FormatAttr format) {
  int64_t spare = groups * format.steps() - rows;
  return spare == 0 || (format.isInteger() && spare > 0 && spare < format.steps());
}

// Whether input, packed weight and output of a product fit.
static LogicalResult verifyProduct(Operation *op, Value inputValue, Value weightValue, Value outputValue,
                                   FormatAttr format) {
  auto input = cast<ShapedType>(inputValue.getType()), weight = cast<ShapedType>(weightValue.getType());
  auto output = cast<ShapedType>(outputValue.getType());
  if (input.getRank() != 2 || weight.getRank() != 3 || output.getRank() != 2)
    return op->emitOpError("needs an input and an output of rank 2 and a packed weight of rank 3");
  int64_t depth = weight.getDimSize(1);
  if (format && !ShapedType::isDynamic(depth) && !input.isDynamicDim(1))
    depth = inGroups(input.getDimSize(1), depth, format) ? input.getDimSize(1) : depth * format.steps();
  if (format ? !weight.getElementType().isInteger(8) : weight.getElementType().isInteger())
    return op->emitOpError("has a weight of ")
           << weight.getElementType() << (format ? " with" : " without") << " a format";
  if (disagree(input.getDimSize(1), depth))
    return op->emitOpError("has ") << input.getDimSize(1) << " columns of input for " << depth
                                   << " rows of weight";
  if (disagree(input.getDimSize(0), output.getDimSize(0)))
    return op->emitOpError("has ") << input.getDimSize(0) << " rows of input for " << output.getDimSize(0)
                                   << " rows of output";
  return success();
}

LogicalResult LinearOp::verify() {
  return verifyProduct(*this, getInput(), getWeight(), getOutput(), getFormatAttr());
}

LogicalResult RowLinearOp::verify() {
  if (!getAccumulate() && !getWeight())
    return emitOpError("needs a weight or `accumulate`");
  if (getBias() && getAccumulate())
    return emitOpError("has a bias that output holds before");
  return getWeight() ? verifyProduct(*this, getInput(), getWeight(), getOutput(), getFormatAttr())
                     : success();
}

static LogicalResult verifyFormat(Operation *op, Value panelsValue, Value bytesValue, FormatAttr format) {
  auto panels = cast<ShapedType>(panelsValue.getType()), bytes = cast<ShapedType>(bytesValue.getType());
  if (panels.getRank() != 3 || bytes.getRank() != 3 || !panels.getElementType().isF32() ||
      !bytes.getElementType().isInteger(8))
    return op->emitOpError("needs a packed weight of f32 and bytes, both of rank 3");
  if (panels.isDynamicDim(2) || disagree(bytes.getDimSize(2), format.bytes(panels.getDimSize(2))))
    return op->emitOpError("has ") << bytes.getDimSize(2) << " bytes for " << panels.getDimSize(2)
                                   << " columns of " << format.text();
  int64_t depth = bytes.getDimSize(1);
  if (disagree(panels.getDimSize(0), bytes.getDimSize(0)) ||
      (!ShapedType::isDynamic(depth) && !panels.isDynamicDim(1) &&
       !inGroups(panels.getDimSize(1), depth, format)))
    return op->emitOpError("has sizes that do not fit: groups of ") << format.steps() << " steps";
  return success();
}

// Codes, scales and zeros of a matrix [rows, columns], of which a negative size is not known.
static LogicalResult verifyCodes(Operation *op, ArrayRef<Value> values, int64_t rows, int64_t columns,
                                 int64_t block, FormatAttr format) {
  if (!format.isInteger() || block < 1 || static_cast<bool>(values[2]) != format.getZeros())
    return op->emitOpError(
        "needs a format of integers, a block of at least 1, and zeros where the format has them");
  for (auto [i, value] : llvm::enumerate(values)) {
    if (!value)
      continue;
    auto type = cast<ShapedType>(value.getType());
    if (type.getRank() != 2 || !(i ? type.getElementType().isF32() : type.getElementType().isInteger(8)))
      return op->emitOpError("needs matrices of i8 codes and f32 scales and zeros");
    int64_t perByte = format.getNumber() == NumberFormat::Int4 ? 2 : 1;
    int64_t needed = columns < 0 ? 0 : llvm::divideCeil(columns, i ? block : perByte);
    if (disagree(type.getDimSize(0), rows) || (!type.isDynamicDim(1) && type.getDimSize(1) < needed))
      return op->emitOpError("has sizes that do not fit: ")
             << type << " for a matrix of " << rows << " x " << columns;
  }
  return success();
}

LogicalResult DequantizeOp::verify() {
  auto output = cast<ShapedType>(getOutput().getType());
  if (output.getRank() != 2 || !output.getElementType().isF32())
    return emitOpError("makes a matrix of f32");
  return verifyCodes(*this, {getCodes(), getScales(), getZeros()}, output.getDimSize(getTransposed()),
                     output.getDimSize(!getTransposed()), getBlock(), getFormat());
}

LogicalResult RepackOp::verify() {
  auto output = cast<ShapedType>(getOutput().getType());
  FormatAttr format = getFormat();
  if (output.getRank() != 3 || !output.getElementType().isInteger(8) || output.isDynamicDim(2) ||
      output.getDimSize(2) % format.bytes(1))
    return emitOpError("makes bytes of ") << format.text() << ", of rank 3";
  auto block = static_cast<int64_t>(getBlock());
  bool isLonger = !output.isDynamicDim(1) && block < output.getDimSize(1) * format.steps();
  if (block % format.steps() && isLonger)
    return emitOpError("has groups of ") << format.steps() << " steps across blocks of " << block;
  return verifyCodes(*this, {getCodes(), getScales(), getZeros()}, ShapedType::kDynamic, ShapedType::kDynamic,
                     block, format);
}

LogicalResult EncodeOp::verify() { return verifyFormat(*this, getSource(), getOutput(), getFormat()); }
LogicalResult DecodeOp::verify() { return verifyFormat(*this, getOutput(), getSource(), getFormat()); }

LogicalResult BatchMatmulOp::verify() {
  for (Value operand : getOperands())
    if (cast<ShapedType>(operand.getType()).getRank() != 3)
      return emitOpError("needs operands of rank 3");
  return success();
}

LogicalResult PackOp::verify() {
  int64_t source = cast<ShapedType>(getSource().getType()).getRank();
  int64_t output = cast<ShapedType>(getOutput().getType()).getRank();
  if (!(source == 2 && output == 3) && !(source == 3 && output == 4))
    return emitOpError("needs a source of rank 2 and an output of rank 3, or one more of each");
  return success();
}

// Packed or not, the last dimension runs along columns and the one before along k.
LogicalResult UpdateWeightOp::verify() {
  auto weight = cast<ShapedType>(getWeight().getType()), output = cast<ShapedType>(getOutput().getType());
  int64_t rank = weight.getRank();
  if (rank != output.getRank() || (rank != 2 && rank != 3))
    return emitOpError("needs a weight and an output that are both matrices or both packed");
  if (!getDown() != !getUp())
    return emitOpError("needs both factors or none");
  if (rank == 2 ? getGain() || !getDown() : !getGain() && !getDown())
    return emitOpError(rank == 2 ? "needs factors and no gain for a matrix" : "needs factors or a gain");
  if (getUnit() && !getGain())
    return emitOpError("needs a gain for columns of length 1");
  for (Value packed : {getUp(), getGain()})
    if (packed && cast<ShapedType>(packed.getType()).getRank() != 3)
      return emitOpError("needs packed columns of factors and gain");
  if (!getDown())
    return success();
  auto down = cast<ShapedType>(getDown().getType()), up = cast<ShapedType>(getUp().getType());
  if (down.getRank() != 2 || disagree(down.getDimSize(0), weight.getDimSize(rank - 2)))
    return emitOpError("needs as many rows of the first factor as the weight has");
  if (disagree(down.getDimSize(1), up.getDimSize(1)))
    return emitOpError("has factors of ranks ") << down.getDimSize(1) << " and " << up.getDimSize(1);
  return success();
}

LogicalResult ParallelOp::verify() {
  if (getBody().getNumArguments() != 1 || !getBody().getArgument(0).getType().isIndex())
    return emitOpError("needs a body with one argument of type index");
  return success();
}

// One size for each dynamic dimension of the result.
static LogicalResult verifySizes(Operation *op, Type result, ValueRange sizes) {
  int64_t dynamic = cast<ShapedType>(result).getNumDynamicDims();
  if (dynamic != static_cast<int64_t>(sizes.size()))
    return op->emitOpError("has ") << sizes.size() << " sizes for " << dynamic << " dynamic dims";
  return success();
}

LogicalResult OutputOp::verify() {
  if (!cast<MemRefType>(getType()).getLayout().isIdentity())
    return emitOpError("must be contiguous");
  return verifySizes(*this, getType(), getSizes());
}

LogicalResult ReshapeOp::verify() {
  if (failed(verifySizes(*this, getType(), getSizes())))
    return failure();
  auto result = cast<ShapedType>(getResult().getType());
  auto source = cast<ShapedType>(getSource().getType());
  if (source.getElementType() != result.getElementType())
    return emitOpError("must not change the element type");
  for (ShapedType type : {source, result})
    if (auto buffer = dyn_cast<MemRefType>(type); buffer && !buffer.getLayout().isIdentity())
      return emitOpError("takes and gives contiguous buffers, not ") << buffer;
  if (source.hasStaticShape() && result.hasStaticShape() &&
      source.getNumElements() != result.getNumElements())
    return emitOpError("must keep the number of elements");
  return success();
}

OpFoldResult ReshapeOp::fold(FoldAdaptor) {
  auto type = dyn_cast<RankedTensorType>(getType());
  if (type && type.hasStaticShape() && getSource().getType() == type)
    return getSource();
  return {};
}

#define GET_OP_CLASSES
#include "dialects/Kernel/IR/KernelOps.cpp.inc"
