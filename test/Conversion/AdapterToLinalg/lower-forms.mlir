// RUN: adapter-opt %s --adapter-lower-materialize | FileCheck %s

// Each map as what it does to a weight, in f64 between two conversions.
// CHECK-DAG: #[[$ID:.*]] = affine_map<(d0, d1) -> (d0, d1)>
// CHECK-DAG: #[[$ROW:.*]] = affine_map<(d0, d1) -> (d0)>
// CHECK-DAG: #[[$COLUMN:.*]] = affine_map<(d0, d1) -> (d1)>

adapter.form @product for [linear] roles(%A "A" : "r, cols", %B "B" : "out, r") scalars(%s "scale" = 2.0) {
  %b = adapter.matrix %B : tensor<?x?xf64>
  %a = adapter.matrix %A : tensor<?x?xf64>
  %m = adapter.chain %b, %a
  %u = adapter.add %m scale %s
  adapter.yield %u : !adapter.update<tensor<?x?xf64>>
}
adapter.form @whole for [linear, convolution, vector] roles(%V "V" : "weight") {
  %m = adapter.matrix %V : tensor<?x?xf64>
  %u = adapter.add %m
  adapter.yield %u : !adapter.update<tensor<?x?xf64>>
}
adapter.form @factors for [linear] roles(%l "l" : "out", %r "r" : "(cols)") {
  %d = adapter.diagonal %l : tensor<?xf64>
  %e = adapter.diagonal %r : tensor<?xf64>
  %x = adapter.left %d
  %y = adapter.right %e
  %u = adapter.compose %x, %y : !adapter.update<tensor<?x?xf64>>
  adapter.yield %u : !adapter.update<tensor<?x?xf64>>
}
adapter.form @blocked for [linear] roles(%K "K" : "1, q, q") where("n = cols / q") {
  %n = adapter.symbol "n"
  %q = adapter.symbol "q"
  %k = adapter.blocks %K of %n : tensor<?x?x?xf64>
  %s = adapter.shuffle %n, %q by [1, 0]
  %t = adapter.adjoint %s
  %m = adapter.chain %s, %k, %t
  %u = adapter.right %m
  adapter.yield %u : !adapter.update<tensor<?x?xf64>>
}
adapter.form @ordered for [linear] roles(%p "p" : "out" index) {
  %m = adapter.permute %p : tensor<?xi64>
  %t = adapter.adjoint %m
  %u = adapter.left %t
  adapter.yield %u : !adapter.update<tensor<?x?xf64>>
}
adapter.form @few for [linear] roles(%i "i" : "coordinates", %v "v" : "n") {
  %out = adapter.symbol "out"
  %cols = adapter.symbol "cols"
  %g = adapter.gather %i, %v of %out, %cols : tensor<?x?xi64>, tensor<?xf64>
  %u = adapter.add %g
  adapter.yield %u : !adapter.update<tensor<?x?xf64>>
}
adapter.form @reflected for [linear] roles(%U "U" : "r, cols") {
  %a = adapter.matrix %U : tensor<?x?xf64>
  %t = adapter.adjoint %a
  %c = adapter.chain %t, %a
  %same = adapter.identity
  %m = adapter.plus %same, %c
  %u = adapter.right %m
  adapter.yield %u : !adapter.update<tensor<?x?xf64>>
}

// Factors stay thin: the loop over r stands before the weight's last dimension. The default of the scalar is used.
// CHECK-LABEL: func.func @added
func.func @added(%w: tensor<7x12xf32>, %a: tensor<3x12xf32>, %b: tensor<7x3xf16>) -> tensor<7x12xf32> {
  // CHECK: %[[TWO:.*]] = arith.constant 2.000000e+00 : f64
  // CHECK: iterator_types = ["parallel", "reduction", "parallel"]
  // CHECK: arith.mulf %{{.*}}, %[[TWO]] : f64
  // CHECK: arith.addf
  // CHECK: arith.truncf
  // CHECK-NOT: adapter.
  %u = adapter.apply @product at <linear> (%a, %b) ["A", "B"] [] symbols ["cols", "out", "r"] = [12, 7, 3]
      : (tensor<3x12xf32>, tensor<7x3xf16>) -> !adapter.update<tensor<7x12xf32>>
  %n = adapter.materialize %w, %u : tensor<7x12xf32>
  return %n : tensor<7x12xf32>
}

// The graph's weight is [in, out]: columns are the first dimension of the loops.
// CHECK-LABEL: func.func @turned
func.func @turned(%w: tensor<12x7xf32>, %l: tensor<7xf32>, %r: tensor<12xf32>) -> tensor<12x7xf32> {
  // CHECK: linalg.generic {indexing_maps = [#[[$COLUMN]], #[[$ID]], #[[$ID]]]
  // CHECK: linalg.generic {indexing_maps = [#[[$ROW]], #[[$ID]], #[[$ID]]]
  %u = adapter.apply @factors at <linear> (%l, %r) ["l", "r"] [] symbols ["cols", "out"] = [12, 7]
      : (tensor<7xf32>, tensor<12xf32>) -> !adapter.update<tensor<7x12xf32>>
  %t = adapter.transpose %u [1, 0] : !adapter.update<tensor<7x12xf32>> -> !adapter.update<tensor<12x7xf32>>
  %n = adapter.materialize %w, %t : tensor<12x7xf32>
  return %n : tensor<12x7xf32>
}

// CHECK-LABEL: func.func @blocks
func.func @blocks(%w: tensor<7x12xf32>, %k: tensor<1x3x3xf32>) -> tensor<7x12xf32> {
  // CHECK: tensor.expand_shape
  // CHECK: linalg.transpose
  // CHECK: tensor.collapse_shape
  // CHECK: arith.remui
  // CHECK: iterator_types = ["parallel", "parallel", "reduction", "parallel"]
  // CHECK: linalg.transpose
  // CHECK-NOT: adapter.
  %u = adapter.apply @blocked at <linear> (%k) ["K"] [] symbols ["cols", "n", "out", "q"] = [12, 4, 7, 3]
      : (tensor<1x3x3xf32>) -> !adapter.update<tensor<7x12xf32>>
  %n = adapter.materialize %w, %u : tensor<7x12xf32>
  return %n : tensor<7x12xf32>
}

// The inverse order writes where the order itself reads.
// CHECK-LABEL: func.func @permuted
func.func @permuted(%w: tensor<7x12xf32>, %p: tensor<7xi64>) -> tensor<7x12xf32> {
  // CHECK: scf.for %[[I:[a-z0-9]+]] =
  // CHECK: scf.for %[[J:[a-z0-9]+]] =
  // CHECK: %[[AT:.*]] = arith.index_cast
  // CHECK: %[[E:.*]] = tensor.extract %{{.*}}[%[[I]], %[[J]]]
  // CHECK: tensor.insert %[[E]] into %{{.*}}[%[[AT]], %[[J]]]
  %u = adapter.apply @ordered at <linear> (%p) ["p"] [] symbols ["cols", "out"] = [12, 7]
      : (tensor<7xi64>) -> !adapter.update<tensor<7x12xf32>>
  %n = adapter.materialize %w, %u : tensor<7x12xf32>
  return %n : tensor<7x12xf32>
}

// One gather touches its elements alone.
// CHECK-LABEL: func.func @gathered
func.func @gathered(%w: tensor<7x12xf32>, %i: tensor<2x5xi64>, %v: tensor<5xf32>) -> tensor<7x12xf32> {
  // CHECK: scf.for
  // CHECK-NOT: scf.for
  // CHECK: tensor.insert
  // CHECK: return
  %u = adapter.apply @few at <linear> (%i, %v) ["i", "v"] [] symbols ["cols", "n", "out"] = [12, 5, 7]
      : (tensor<2x5xi64>, tensor<5xf32>) -> !adapter.update<tensor<7x12xf32>>
  %n = adapter.materialize %w, %u : tensor<7x12xf32>
  return %n : tensor<7x12xf32>
}

// W + (W U') U: the identity is the weight itself.
// CHECK-LABEL: func.func @plus
func.func @plus(%w: tensor<7x12xf32>, %t: tensor<2x12xf32>) -> tensor<7x12xf32> {
  // CHECK: "reduction"
  // CHECK: "reduction"
  // CHECK: arith.addf %{{.*}}, %{{.*}} : tensor<?x?xf64>
  %u = adapter.apply @reflected at <linear> (%t) ["U"] [] symbols ["cols", "out", "r"] = [12, 7, 2]
      : (tensor<2x12xf32>) -> !adapter.update<tensor<7x12xf32>>
  %n = adapter.materialize %w, %u : tensor<7x12xf32>
  return %n : tensor<7x12xf32>
}

// A convolution's weight and a vector are seen as matrices.
// CHECK-LABEL: func.func @convolution
func.func @convolution(%w: tensor<7x4x3x1xf32>, %v: tensor<7x4x3x1xf32>) -> tensor<7x4x3x1xf32> {
  // CHECK: tensor.collapse_shape
  // CHECK: tensor.expand_shape
  // CHECK: return %{{.*}} : tensor<7x4x3x1xf32>
  %u = adapter.apply @whole at <convolution> (%v) ["V"] [] symbols ["cols", "out"] = [12, 7]
      : (tensor<7x4x3x1xf32>) -> !adapter.update<tensor<7x12xf32>>
  %r = adapter.reshape %u : !adapter.update<tensor<7x12xf32>> -> !adapter.update<tensor<7x4x3x1xf32>>
  %n = adapter.materialize %w, %r : tensor<7x4x3x1xf32>
  return %n : tensor<7x4x3x1xf32>
}

// CHECK-LABEL: func.func @vector
func.func @vector(%w: tensor<7xf32>, %v: tensor<7xf32>) -> tensor<7xf32> {
  // CHECK: tensor.expand_shape
  // CHECK: tensor.collapse_shape
  // CHECK: return %{{.*}} : tensor<7xf32>
  %u = adapter.apply @whole at <vector> (%v) ["V"] [] symbols ["cols", "out"] = [1, 7]
      : (tensor<7xf32>) -> !adapter.update<tensor<7x1xf32>>
  %r = adapter.reshape %u vector : !adapter.update<tensor<7x1xf32>> -> !adapter.update<tensor<7xf32>>
  %n = adapter.materialize %w, %r : tensor<7xf32>
  return %n : tensor<7xf32>
}
