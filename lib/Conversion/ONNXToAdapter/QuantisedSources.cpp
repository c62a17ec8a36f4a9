// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// See QuantisedSources.h. The operators' definitions are in ONNX Runtime's docs/ContribOperators.md and ONNX's
// docs/Operators.md; every size is checked here, so that nobody reads beyond a tensor.
#include "lib/Conversion/ONNXToAdapter/QuantisedSources.h"
#include "lib/Attach/ModuleTable.h"
#include "lib/Checkpoint/DType.h"
#include "lib/Support/ONNX/Tensors.h"
#include "lib/Support/ParameterStore.h"
#include "llvm/ADT/APFloat.h"
#include <cstring>

using namespace mlir;
using namespace adapter;
using checkpoint::Done;
using checkpoint::DType;
using checkpoint::Error;
using checkpoint::Result;
using checkpoint::Status;
using checkpoint::Tensor;

std::string NodeSource::describe() { return node.getOpType().str() + " node '" + nodeNameOf(node) + "'"; }

ParameterOp NodeSource::parameter(unsigned index) {
  Value value = node.getInputOrNull(index);
  while (value) {
    auto before = value.getDefiningOp<onnxir::NodeOp>();
    if (!before || !before.getDomain().empty() ||
        (before.getOpType() != "Identity" && before.getOpType() != "Reshape"))
      break;
    value = before.getInputs().front();
  }
  return value ? value.getDefiningOp<ParameterOp>() : ParameterOp();
}

std::string NodeSource::nameOf(unsigned index) {
  ParameterOp behind = parameter(index);
  return behind ? "tensor '" + behind.getKey().str() + "'" : "input " + std::to_string(index);
}

Result<Tensor> NodeSource::tensor(unsigned index) {
  ParameterOp behind = parameter(index);
  if (!behind)
    return Error{"input " + std::to_string(index) +
                 " is computed in the graph; compiled code takes constants alone"};
  const Tensor *found = ParameterStore::get(behind.getContext()).lookup(behind.getScope(), behind.getKey());
  if (found)
    return *found;
  std::optional<Tensor> inlined =
      behind.getValue() ? onnxproto::tensorOf(*behind.getValue()) : std::optional<Tensor>();
  if (!inlined)
    return Error{nameOf(index) + " has no contents"};
  return *inlined;
}

std::optional<SmallVector<int64_t>> NodeSource::shape(unsigned index) {
  Value value = node.getInputOrNull(index);
  if (auto type = value ? dyn_cast<RankedTensorType>(value.getType()) : RankedTensorType();
      type && type.hasStaticShape())
    return llvm::to_vector(type.getShape());
  if (!value)
    return std::nullopt;
  // Shapes of the graph may not have been inferred yet.
  auto reshape = madeBy(value, "Reshape");
  std::optional<SmallVector<int64_t>> sizes = reshape ? constantsOf(reshape.getInputs()[1]) : std::nullopt;
  ParameterOp behind = parameter(index);
  auto whole = behind ? dyn_cast<RankedTensorType>(behind.getType()) : RankedTensorType();
  if (!sizes || !whole || !whole.hasStaticShape())
    return std::nullopt;
  int64_t known = 1, open = -1;
  for (auto [dim, size] : llvm::enumerate(*sizes)) {
    if (size > 0)
      known *= size;
    else if (size == -1 && open < 0)
      open = dim;
    else
      return std::nullopt;
  }
  if (open >= 0)
    (*sizes)[open] = whole.getNumElements() / known;
  else if (known != whole.getNumElements())
    return std::nullopt;
  return open < 0 || whole.getNumElements() % known == 0 ? sizes : std::nullopt;
}

int64_t NodeSource::axis(StringRef name, int64_t otherwise, int64_t rank) {
  int64_t axis = integer(name, otherwise);
  axis += axis < 0 ? rank : 0;
  return axis >= 0 && axis < rank ? axis : -1;
}

// Whether a tensor has so many elements.
static Status requireElements(NodeSource &source, unsigned index, const Tensor &tensor, int64_t wanted,
                              const std::string &what) {
  if (tensor.elements() == wanted)
    return Done{};
  return Error{source.nameOf(index) + " is " + checkpoint::shapeText(tensor.shape) + ", but " + what +
               " takes " + std::to_string(wanted) + " elements"};
}

// Scales, or zero points in their type, as f32.
static Result<Tensor> readFloats(NodeSource &source, unsigned index, std::vector<int64_t> shape,
                                 const std::string &what) {
  Result<Tensor> tensor = source.tensor(index);
  if (!tensor)
    return tensor;
  if (tensor->dtype != DType::F32 && tensor->dtype != DType::F16 && tensor->dtype != DType::BF16)
    return Error{source.nameOf(index) + " is of " + checkpoint::dtypeName(tensor->dtype) +
                 ", not of float32, float16 or bfloat16"};
  Tensor wanted;
  wanted.shape = shape;
  if (Status status = requireElements(source, index, *tensor, wanted.elements(), what); !status)
    return status.error();
  Result<Tensor> wide = checkpoint::toF32(*tensor);
  if (wide)
    wide->shape = std::move(shape);
  return wide;
}

//===----------------------------------------------------------------------===//
// com.microsoft's operators
//===----------------------------------------------------------------------===//

static bool isPowerOfTwo(int64_t value) { return value > 0 && (value & (value - 1)) == 0; }

Result<Quantised> adapter::readMatMulNBits(NodeSource &source) {
  Quantised matrix;
  matrix.bits = source.integer("bits", 4);
  matrix.block = source.integer("block_size", 0);
  matrix.columns = source.integer("K", 0), matrix.rows = source.integer("N", 0);
  static constexpr int64_t most = int64_t(1) << 31;
  if (matrix.bits != 4 && matrix.bits != 8)
    return Error{"weights of " + std::to_string(matrix.bits) + " bits; compiled code takes 4 and 8"};
  if (!isPowerOfTwo(matrix.block) || matrix.block < 16 || matrix.block > most)
    return Error{"block_size=" + std::to_string(matrix.block) + " is not a power of 2 from 16 on"};
  if (matrix.columns < 1 || matrix.rows < 1 || matrix.columns > most || matrix.rows > most)
    return Error{"K=" + std::to_string(matrix.columns) + ", N=" + std::to_string(matrix.rows) +
                 " cannot be sizes of a weight"};
  if (source.has(4))
    return Error{
        "g_idx (columns in another order) is not supported in compiled code; export the model without "
        "act-order, or with its columns sorted"};
  if (source.integer("weight_prepacked", 0))
    return Error{"weight_prepacked says that the weight is laid out for a GPU; export it without"};
  int64_t blocks = llvm::divideCeil(matrix.columns, matrix.block);
  std::string what = "N=" + std::to_string(matrix.rows) + ", K=" + std::to_string(matrix.columns) +
                     ", bits=" + std::to_string(matrix.bits) + ", block_size=" + std::to_string(matrix.block);
  Result<Tensor> codes = source.tensor(1);
  if (!codes)
    return codes.error();
  if (codes->dtype != DType::U8)
    return Error{source.nameOf(1) + " is of " + checkpoint::dtypeName(codes->dtype) + ", not of uint8"};
  int64_t rowBytes = blocks * (matrix.block * matrix.bits / 8);
  if (Status status = requireElements(source, 1, *codes, matrix.rows * rowBytes, what); !status)
    return status.error();
  matrix.codes = std::move(*codes);
  matrix.codes.shape = {matrix.rows, rowBytes};
  matrix.codes.dtype = DType::I8; // as IR has bytes
  Result<Tensor> scales = readFloats(source, 2, {matrix.rows, blocks}, what);
  if (!scales)
    return scales.error();
  matrix.scales = std::move(*scales);
  if (source.has(3)) {
    Result<Tensor> zeros = source.tensor(3);
    if (!zeros)
      return zeros.error();
    if (zeros->dtype == DType::U8) {
      int64_t bytes = matrix.rows * llvm::divideCeil(blocks * matrix.bits, 8);
      if (Status status = requireElements(source, 3, *zeros, bytes, what); !status)
        return status.error();
      matrix.zeros = unpackedBits(*zeros, matrix.rows, blocks, matrix.bits);
    } else if (zeros = readFloats(source, 3, {matrix.rows, blocks}, what); zeros) {
      matrix.zeros = std::move(*zeros);
    } else {
      return zeros.error();
    }
  }
  if (source.has(5)) {
    auto bias = dyn_cast<RankedTensorType>(source.node.getInputs()[5].getType());
    if (bias && bias.hasStaticShape() && bias.getNumElements() != matrix.rows)
      return Error{source.nameOf(5) + " has " + std::to_string(bias.getNumElements()) +
                   " elements for N=" + std::to_string(matrix.rows)};
  }
  settle(matrix);
  return matrix;
}

//===----------------------------------------------------------------------===//
// Integers of any layout
//===----------------------------------------------------------------------===//

namespace {
// Integers [d0, d1] and what belongs to each, in the order of the file.
struct Grid {
  Tensor integers;
  Tensor scales;                     // f32
  std::optional<Tensor> zeros;       // integers of the same shape as scales
  int64_t axis = 0, block = 1;       // `block` elements along the axis have one scale
  int64_t sizes[2] = {1, 1};         // of the integers
  int64_t scaleStrides[2] = {0, 0};  // where a scale is, by the place of its block
  int64_t defaultZero = 0, bits = 8; // of a code
  bool isSigned = false;

  int64_t scaleAt(int64_t i, int64_t j) const {
    return (axis == 0 ? i / block : i) * scaleStrides[0] + (axis == 1 ? j / block : j) * scaleStrides[1];
  }
  float zeroAt(int64_t place) const {
    return static_cast<float>(zeros ? IntegerView(*zeros)[place] : defaultZero);
  }
};
} // namespace

// As a matrix whose rows are the dimension beside the grid's axis.
static Quantised matrixOf(const Grid &grid) {
  Quantised matrix;
  int64_t other = 1 - grid.axis, offset = grid.isSigned ? int64_t(1) << (grid.bits - 1) : 0;
  matrix.rows = grid.sizes[other], matrix.columns = grid.sizes[grid.axis];
  matrix.bits = grid.bits, matrix.block = grid.block;
  int64_t blocks = llvm::divideCeil(matrix.columns, grid.block);
  int64_t rowBytes = llvm::divideCeil(matrix.columns * grid.bits, 8);
  matrix.codes = checkpoint::allocateTensor(DType::I8, {matrix.rows, rowBytes});
  matrix.scales = checkpoint::allocateTensor(DType::F32, {matrix.rows, blocks});
  matrix.zeros = checkpoint::allocateTensor(DType::F32, {matrix.rows, blocks});
  auto *codes = reinterpret_cast<uint8_t *>(checkpoint::mutableData(matrix.codes));
  auto *scales = reinterpret_cast<float *>(checkpoint::mutableData(matrix.scales));
  auto *zeros = reinterpret_cast<float *>(checkpoint::mutableData(matrix.zeros));
  const auto *given = reinterpret_cast<const float *>(grid.scales.data);
  IntegerView integers(grid.integers);
  for (int64_t r = 0; r < matrix.rows; ++r) {
    auto at = [&](int64_t c) { return grid.axis == 0 ? std::pair(c, r) : std::pair(r, c); };
    for (int64_t c = 0; c < matrix.columns; ++c) {
      auto [i, j] = at(c);
      auto code = static_cast<uint8_t>(integers[i * grid.sizes[1] + j] + offset);
      codes[r * rowBytes + c * grid.bits / 8] |= grid.bits == 4 && c % 2 ? code << 4 : code;
    }
    for (int64_t block = 0; block < blocks; ++block) {
      auto [i, j] = at(block * grid.block);
      int64_t place = grid.scaleAt(i, j);
      scales[r * blocks + block] = given[place];
      zeros[r * blocks + block] = grid.zeroAt(place) + static_cast<float>(offset);
    }
  }
  settle(matrix);
  return matrix;
}

Result<Quantised> adapter::readGatherBlockQuantized(NodeSource &source) {
  Result<Tensor> data = source.tensor(0);
  if (!data)
    return data.error();
  Grid grid;
  bool isPacked = data->dtype == DType::U8, isHalf = data->dtype == DType::U4 || data->dtype == DType::I4;
  grid.bits = isHalf ? 4 : source.integer("bits", 4);
  grid.block = source.integer("block_size", 128);
  if (!isPacked && !isHalf)
    return Error{source.nameOf(0) + " is of " + checkpoint::dtypeName(data->dtype) +
                 "; compiled code takes uint8, int4 and uint4"};
  if (grid.bits != 4 && grid.bits != 8)
    return Error{"tables of " + std::to_string(grid.bits) + " bits; compiled code takes 4 and 8"};
  if (!isPowerOfTwo(grid.block) || grid.block < 16)
    return Error{"block_size=" + std::to_string(grid.block) + " is not a power of 2 from 16 on"};
  std::optional<SmallVector<int64_t>> seen = source.shape(0);
  if (!seen || seen->size() != 2)
    return Error{"only tables of two dimensions are supported in compiled code"};
  grid.axis = source.axis("quantize_axis", 1, 2);
  int64_t gathered = source.axis("gather_axis", 0, 2);
  if (grid.axis < 0 || gathered < 0)
    return Error{"quantize_axis and gather_axis must be dimensions of the table"};
  if (isPacked && (gathered != 0 || grid.axis != 1))
    return Error{"a table of uint8 has gather_axis 0 and quantize_axis 1"};
  grid.sizes[0] = (*seen)[0];
  grid.sizes[1] = (*seen)[1] * (isPacked && grid.bits == 4 ? 2 : 1);
  grid.integers = std::move(*data);
  if (isPacked && grid.bits == 4)
    grid.integers.dtype = DType::U4; // halves of bytes lie alike, rows are whole bytes
  grid.isSigned = grid.integers.dtype == DType::I4;
  grid.defaultZero = isPacked ? int64_t(1) << (grid.bits - 1) : 0;
  int64_t blocks = llvm::divideCeil(grid.sizes[grid.axis], grid.block);
  int64_t shape[2] = {grid.sizes[0], grid.sizes[1]};
  shape[grid.axis] = blocks;
  std::string what = "a table of " + std::to_string(grid.sizes[0]) + " x " + std::to_string(grid.sizes[1]) +
                     " with block_size=" + std::to_string(grid.block);
  Result<Tensor> scales = readFloats(source, 2, {shape[0], shape[1]}, what);
  if (!scales)
    return scales.error();
  grid.scales = std::move(*scales);
  grid.scaleStrides[0] = shape[1], grid.scaleStrides[1] = 1;
  if (source.has(3)) {
    Result<Tensor> zeros = source.tensor(3);
    if (!zeros)
      return zeros.error();
    if (zeros->dtype != (isPacked ? DType::U8 : grid.integers.dtype))
      return Error{source.nameOf(3) + " is of " + checkpoint::dtypeName(zeros->dtype) +
                   ", not of the table's type"};
    int64_t perByte = isPacked && grid.bits == 4 ? 2 : 1;
    int64_t wanted = shape[0] * llvm::divideCeil(shape[1], perByte);
    if (Status status = requireElements(source, 3, *zeros, wanted, what); !status)
      return status.error();
    if (isPacked) {
      // Rows of them are whole bytes.
      Tensor wide = unpackedBits(*zeros, shape[0], shape[1], grid.bits);
      Tensor whole = checkpoint::allocateTensor(DType::I32, {shape[0], shape[1]});
      const auto *from = reinterpret_cast<const float *>(wide.data);
      std::copy(from, from + wide.elements(), reinterpret_cast<int32_t *>(checkpoint::mutableData(whole)));
      grid.zeros = std::move(whole);
    } else {
      grid.zeros = std::move(*zeros);
    }
  }
  return matrixOf(grid);
}

//===----------------------------------------------------------------------===//
// ONNX's DequantizeLinear
//===----------------------------------------------------------------------===//

// (x - zero) * scale of a tensor of any rank, in the scale's type.
static Tensor floatsOf(const Tensor &x, const Tensor &scales, const Tensor *zeros, DType type, int64_t axis,
                       int64_t block, bool perTensor) {
  int64_t inner = 1, size = perTensor ? 1 : x.shape[axis];
  for (size_t dim = axis + 1; dim < x.shape.size(); ++dim)
    inner *= x.shape[dim];
  int64_t blocks = llvm::divideCeil(size, block);
  // Per axis there is one scale for all elements beside it; of blocks each element beside has its own.
  bool isBlocked = scales.shape.size() == x.shape.size() && !perTensor && x.shape.size() > 1;
  Tensor single = checkpoint::allocateTensor(DType::F32, x.shape);
  auto *to = reinterpret_cast<float *>(checkpoint::mutableData(single));
  const auto *given = reinterpret_cast<const float *>(scales.data);
  IntegerView integers(x);
  for (int64_t i = 0; i < x.elements(); ++i) {
    int64_t along = i / inner % size, place = perTensor ? 0 : along / block;
    if (isBlocked)
      place = (i / (inner * size) * blocks + along / block) * inner + i % inner;
    int32_t zero = zeros ? IntegerView(*zeros)[place] : 0;
    to[i] = static_cast<float>(integers[i] - zero) * given[place];
  }
  if (type == DType::F32)
    return single;
  Tensor narrow = checkpoint::allocateTensor(type, x.shape);
  auto *halves = reinterpret_cast<uint16_t *>(checkpoint::mutableData(narrow));
  for (int64_t i = 0; i < x.elements(); ++i) {
    llvm::APFloat value(to[i]);
    bool lost;
    value.convert(type == DType::F16 ? llvm::APFloat::IEEEhalf() : llvm::APFloat::BFloat(),
                  llvm::APFloat::rmNearestTiesToEven, &lost);
    halves[i] = static_cast<uint16_t>(value.bitcastToAPInt().getZExtValue());
  }
  return narrow;
}

Result<DequantizeLinear> adapter::readDequantizeLinear(NodeSource &source, bool outputsSecond) {
  Result<Tensor> x = source.tensor(0), given = source.tensor(1);
  if (!x || !given)
    return x ? given.error() : x.error();
  if (!IntegerView::isKnown(x->dtype))
    return Error{source.nameOf(0) + " is of " + checkpoint::dtypeName(x->dtype) +
                 "; compiled code takes integers of 4, 8, 16 and 32 bits"};
  std::optional<SmallVector<int64_t>> seen = source.shape(0);
  if (!seen)
    return Error{source.nameOf(0) + " has no known shape"};
  x->shape.assign(seen->begin(), seen->end());
  auto rank = static_cast<int64_t>(x->shape.size());
  int64_t block = source.integer("block_size", 0);
  bool perTensor = given->elements() == 1 && block == 0;
  int64_t axis = perTensor ? 0 : source.axis("axis", 1, rank);
  if (axis < 0 || block < 0)
    return Error{"axis=" + std::to_string(source.integer("axis", 1)) +
                 ", block_size=" + std::to_string(block) + " are none of " + source.nameOf(0) + ", " +
                 checkpoint::shapeText(x->shape)};
  std::vector<int64_t> shape = block ? x->shape : std::vector<int64_t>{perTensor ? 1 : x->shape[axis]};
  if (block)
    shape[axis] = llvm::divideCeil(x->shape[axis], block);
  std::string what = "a tensor " + checkpoint::shapeText(x->shape) +
                     (block ? " with block_size=" + std::to_string(block) : std::string()) +
                     (perTensor ? "" : " along axis " + std::to_string(axis));
  DType type = given->dtype;
  Result<Tensor> scales = readFloats(source, 1, shape, what);
  if (!scales)
    return scales.error();
  int64_t asked = source.integer("output_dtype", 0);
  if (asked && asked != static_cast<int64_t>(type))
    return Error{"output_dtype=" + std::to_string(asked) +
                 " is not the scale's type, which compiled code takes"};
  std::optional<Tensor> zeros;
  if (source.has(2)) {
    Result<Tensor> read = source.tensor(2);
    if (!read)
      return read.error();
    if (read->dtype != x->dtype)
      return Error{source.nameOf(2) + " is of " + checkpoint::dtypeName(read->dtype) + ", " +
                   source.nameOf(0) + " of " + checkpoint::dtypeName(x->dtype)};
    if (Status status = requireElements(source, 2, *read, scales->elements(), what); !status)
      return status.error();
    zeros = std::move(*read);
  }
  DequantizeLinear result;
  bool isHalf = x->dtype == DType::U4 || x->dtype == DType::I4;
  bool isByte = x->dtype == DType::U8 || x->dtype == DType::I8;
  if (rank == 2 && type == DType::F32 && (isHalf || isByte) && x->elements()) {
    Grid grid;
    grid.bits = isHalf ? 4 : 8;
    grid.isSigned = x->dtype == DType::I4 || x->dtype == DType::I8;
    grid.sizes[0] = x->shape[0], grid.sizes[1] = x->shape[1];
    // Without blocks the scales' axis is that of the rows.
    grid.axis = block ? axis : perTensor ? (outputsSecond ? 0 : 1) : 1 - axis;
    grid.block = block ? block : grid.sizes[grid.axis];
    if (block)
      grid.scaleStrides[0] = shape[1], grid.scaleStrides[1] = 1;
    else if (!perTensor)
      grid.scaleStrides[axis] = 1;
    grid.integers = *x, grid.scales = *scales, grid.zeros = zeros;
    result.matrix = matrixOf(grid);
    result.transposed = grid.axis == 0;
    if (result.matrix->group)
      return result;
    result.matrix.reset();
  }
  result.floats = floatsOf(*x, *scales, zeros ? &*zeros : nullptr, type, axis, block ? block : 1, perTensor);
  return result;
}
