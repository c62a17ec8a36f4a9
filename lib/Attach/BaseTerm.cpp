// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// See BaseTerm.h. In double precision, by Eigen.
#include "lib/Attach/BaseTerm.h"
#include "lib/Attach/Derivations.h"
#include "lib/Checkpoint/DType.h"
#include <Eigen/QR>
#include <Eigen/SVD>
#include <cstring>

using namespace adapter;
using checkpoint::BaseTerm;
using checkpoint::Done;
using checkpoint::Error;
using checkpoint::Result;
using checkpoint::Status;
using checkpoint::Tensor;
using checkpoint::Update;

using Matrix = Eigen::MatrixXd;
using RowMajor = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

// Outputs `offset` and on of a linear's weight [out, in].
static std::optional<Matrix> weightOf(const ModuleParameter &parameter, int64_t offset, int64_t size) {
  std::optional<Tensor> contents = floatContents(parameter);
  if (!contents || parameter.kind != SiteKind::Linear || parameter.shape.size() != 2)
    return std::nullopt;
  int64_t out = parameter.shape[0], in = parameter.shape[1];
  if (contents->elements() != out * in)
    return std::nullopt;
  const auto *values = reinterpret_cast<const float *>(contents->data);
  Matrix weight = parameter.transposed
                      ? Matrix(Eigen::Map<const RowMajor>(values, in, out).transpose().cast<double>())
                      : Matrix(Eigen::Map<const RowMajor>(values, out, in).cast<double>());
  return Matrix(weight.middleRows(offset, size));
}

// What is taken away, up [out, count] times down [count, in].
static Result<std::pair<Matrix, Matrix>> factorsOf(const BaseTerm &term, const Matrix &weight, double scale) {
  int64_t least = std::min(weight.rows(), weight.cols()), count = term.count;
  if (count < 1 || count > least)
    return Error{"it takes away " + std::to_string(count) + " directions of a weight that has " +
                 std::to_string(least)};
  if (term.kind == BaseTerm::Leading) {
    Eigen::HouseholderQR<Matrix> parts(weight.leftCols(count));
    Matrix q = parts.householderQ() * Matrix::Identity(weight.rows(), count);
    return std::pair<Matrix, Matrix>(scale * q, q.transpose() * weight);
  }
  Eigen::BDCSVD<Matrix> parts(weight, Eigen::ComputeThinU | Eigen::ComputeThinV);
  if (parts.info() != Eigen::Success)
    return Error{"the weight has no singular value decomposition"};
  const auto &values = parts.singularValues();
  int64_t begin = term.kind == BaseTerm::Largest ? 0 : least - count;
  int64_t cut = term.kind == BaseTerm::Largest ? count : begin;
  // Training decomposed the weight in float32, so that values which differ by its rounding may have changed places.
  if (cut > 0 && cut < least && values[cut - 1] - values[cut] < 1e-6 * values[0])
    return Error{"the weight's singular values " + std::to_string(cut) + " and " + std::to_string(cut + 1) +
                 " are so close that it is not certain which of them training took away; save the adapter "
                 "with path_initial_model_for_weight_conversion"};
  Matrix up = parts.matrixU().middleCols(begin, count) * values.segment(begin, count).asDiagonal();
  return std::pair<Matrix, Matrix>(std::move(up), parts.matrixV().middleCols(begin, count).transpose());
}

static Tensor tensorOf(const Matrix &matrix, const std::string &key) {
  Tensor tensor = checkpoint::allocateTensor(checkpoint::DType::F32, {matrix.rows(), matrix.cols()});
  tensor.key = key;
  Eigen::Map<RowMajor>(reinterpret_cast<float *>(checkpoint::mutableData(tensor)), matrix.rows(),
                       matrix.cols()) = matrix.cast<float>();
  return tensor;
}

Status adapter::takeFromBase(Update &update, const ModuleParameter &parameter, int64_t offset, int64_t size) {
  std::optional<Matrix> weight = weightOf(parameter, offset, size);
  if (!weight)
    return Error{"it takes a part of the weight away, whose numbers the graph does not hold as a linear's (" +
                 parameter.nodeName() + "); save the adapter with path_initial_model_for_weight_conversion"};
  Result<Tensor> a = checkpoint::toF32(update.tensors.at("A")), b = checkpoint::toF32(update.tensors.at("B"));
  if (!a || !b)
    return a ? b.error() : a.error();
  if (a->shape.size() != 2 || b->shape.size() != 2 || a->shape[1] != weight->cols() ||
      b->shape[0] != weight->rows() || a->shape[0] != b->shape[1])
    return Error{"'" + a->key + "' and '" + b->key + "' have shapes " + checkpoint::shapeText(a->shape) +
                 " and " + checkpoint::shapeText(b->shape) + ", which do not fit the weight [" +
                 std::to_string(weight->rows()) + ", " + std::to_string(weight->cols()) + "]"};
  Result<std::pair<Matrix, Matrix>> taken = factorsOf(*update.taken, *weight, update.scale);
  if (!taken)
    return taken.error();
  int64_t rank = a->shape[0], count = update.taken->count;
  Matrix down(rank + count, weight->cols()), up(weight->rows(), rank + count);
  down << Eigen::Map<const RowMajor>(reinterpret_cast<const float *>(a->data), rank, weight->cols())
              .cast<double>(),
      taken->second;
  // The scale multiplies both products.
  up << Eigen::Map<const RowMajor>(reinterpret_cast<const float *>(b->data), weight->rows(), rank)
            .cast<double>(),
      taken->first * (-1.0 / update.scale);
  update.tensors["A"] = tensorOf(down, a->key);
  update.tensors["B"] = tensorOf(up, b->key);
  update.rank = rank + count;
  update.taken.reset();
  return Done{};
}
