// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The numbers of the tiny artifact and what it should compute.
#ifndef ADAPTER_TEST_UNIT_RUNTIME_TINY_H
#define ADAPTER_TEST_UNIT_RUNTIME_TINY_H

#include "test/unit/Tensors.h"
#include <cmath>

namespace adapter::test {

constexpr int64_t tinyIn = 3, tinyHidden = 4, tinyOut = 2;

// Numbers without a pattern that a mistake could repeat.
inline std::vector<float> sequence(int64_t count, int seed) {
  std::vector<float> result;
  for (int64_t i = 0; i < count; ++i)
    result.push_back(static_cast<float>(std::sin(seed * 7.0 + static_cast<double>(i) * 1.3)));
  return result;
}

// Row-major [rows, columns] -> [columns, rows].
inline std::vector<float> transpose(const std::vector<float> &matrix, int64_t rows, int64_t columns) {
  std::vector<float> result(matrix.size());
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < columns; ++j)
      result[j * rows + i] = matrix[i * columns + j];
  return result;
}

// Weights [out, in], as a checkpoint holds them.
inline std::vector<float> tinyW0() { return sequence(tinyHidden * tinyIn, 10); }
inline std::vector<float> tinyW1() { return sequence(tinyOut * tinyHidden, 11); }

// W += scale * B A
inline std::vector<float> addLora(std::vector<float> w, int64_t out, int64_t in, const std::vector<float> &a,
                                  const std::vector<float> &b, double scale) {
  auto rank = static_cast<int64_t>(a.size()) / in;
  for (int64_t o = 0; o < out; ++o)
    for (int64_t i = 0; i < in; ++i)
      for (int64_t r = 0; r < rank; ++r)
        w[o * in + i] += static_cast<float>(scale * b[o * rank + r] * a[r * in + i]);
  return w;
}

// One row through the two layers.
inline std::vector<float> tinyRow(const float *x, const std::vector<float> &w0,
                                  const std::vector<float> &w1) {
  std::vector<float> h(tinyHidden), y(tinyOut);
  for (int64_t o = 0; o < tinyHidden; ++o)
    for (int64_t i = 0; i < tinyIn; ++i)
      h[o] += w0[o * tinyIn + i] * x[i];
  for (int64_t o = 0; o < tinyOut; ++o)
    for (int64_t i = 0; i < tinyHidden; ++i)
      y[o] += w1[o * tinyHidden + i] * h[i];
  return y;
}

inline std::vector<float> w0WithR1(double factor = 1) {
  return addLora(tinyW0(), tinyHidden, tinyIn, sequence(6, 1), sequence(8, 2), 2 * factor);
}
inline std::vector<float> w1WithS1(double factor = 1) {
  return addLora(tinyW1(), tinyOut, tinyHidden, sequence(4, 3), sequence(2, 4), 2 * factor);
}

} // namespace adapter::test

#endif // ADAPTER_TEST_UNIT_RUNTIME_TINY_H
