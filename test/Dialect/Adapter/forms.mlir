// RUN: adapter-opt %s | adapter-opt | FileCheck %s

// Every clause and modifier.
// CHECK-LABEL: adapter.form @clauses for [linear, convolution, embedding, vector]
// CHECK-NEXT: roles(%[[A:.*]] "A" : "r, cols; r, (cols)", %[[B:.*]] "B" : "out, r, 1.." shared,
// CHECK-SAME: %[[W:.*]] "w" : "weight" optional, %[[X:.*]] "w_a" : "blocks | 1, c.." optional "two",
// CHECK-SAME: %[[P:.*]] "places" : "coordinates", %[[O:.*]] "order" : "out" index of "out", %[[F:.*]] "free" : "n" index)
// CHECK-NEXT: scalars(%[[S:.*]] "scale" = 1.000000e+00, %[[E:.*]] "eps")
// CHECK-NEXT: attributes(%[[T:.*]] "terms" = -5, %[[Q:.*]] "power")
// CHECK-SAME: choice("w | w_a") where("b = max(cols ceildiv 2, 1)", "blocks = cols div b") requires("b >= 2", "r != 0 or terms == 5") sliceable("r") attributes {note = 1 : i64} {
// CHECK: adapter.symbol "b"
// CHECK: adapter.if_given %[[W]] : tensor<?x?xf64> -> tensor<?x?xf64> {
// CHECK: } else {
// CHECK: tensor.cast %[[X]]
adapter.form @clauses for [linear, convolution, embedding, vector]
    roles(%A "A" : "r, cols; r, (cols)", %B "B" : "out, r, 1.." shared,
          %w "w" : "weight" optional, %wa "w_a" : "blocks | 1, c.." optional "two",
          %p "places" : "coordinates", %o "order" : "out" index of "out", %f "free" : "n" index)
    scalars(%s "scale" = 1.0, %e "eps")
    attributes(%t "terms" = -5, %q "power")
    choice("w | w_a") where("b = max(cols ceildiv 2, 1)", "blocks = cols div b")
    requires("b >= 2", "r != 0 or terms == 5") sliceable("r") attributes {note = 1 : i64} {
  %b = adapter.symbol "b"
  %x = adapter.if_given %w : tensor<?x?xf64> -> tensor<?x?xf64> {
    adapter.yield %w : tensor<?x?xf64>
  } else {
    %c = tensor.cast %wa : tensor<?x?xf64> to tensor<?x?xf64>
    adapter.yield %c : tensor<?x?xf64>
  }
  %m = adapter.matrix %x : tensor<?x?xf64>
  %u = adapter.add %m scale %s
  adapter.yield %u : !adapter.update<tensor<?x?xf64>>
}

// Every map, and updates of them.
// CHECK-LABEL: adapter.form @maps for [linear]
adapter.form @maps for [linear]
    roles(%A "A" : "out, cols", %v "v" : "out", %K "K" : "1, q, q", %o "o" : "cols" index, %i "i" : "2, n" index,
          %e "e" : "n") {
  %q = adapter.symbol "q"
  %out = adapter.symbol "out"
  %cols = adapter.symbol "cols"
  // CHECK: %[[A:.*]] = adapter.matrix %{{.*}} : tensor<?x?xf64>
  %a = adapter.matrix %A : tensor<?x?xf64>
  // CHECK: %[[D:.*]] = adapter.diagonal %{{.*}} : tensor<?xf64>
  %d = adapter.diagonal %v : tensor<?xf64>
  // CHECK: %[[K:.*]] = adapter.blocks %{{.*}} of %{{.*}} : tensor<?x?x?xf64>
  %k = adapter.blocks %K of %q : tensor<?x?x?xf64>
  // CHECK: %[[S:.*]] = adapter.shuffle %{{.*}}, %{{.*}}, %{{.*}} by [2, 0, 1]
  %s = adapter.shuffle %q, %out, %cols by [2, 0, 1]
  // CHECK: %[[P:.*]] = adapter.permute %{{.*}} : tensor<?xi64>
  %p = adapter.permute %o : tensor<?xi64>
  // CHECK: %[[G:.*]] = adapter.gather %{{.*}}, %{{.*}} of %{{.*}}, %{{.*}} : tensor<?x?xi64>, tensor<?xf64>
  %g = adapter.gather %i, %e of %out, %cols : tensor<?x?xi64>, tensor<?xf64>
  // CHECK: %[[I:.*]] = adapter.identity
  %one = adapter.identity
  // CHECK: %[[T:.*]] = adapter.adjoint %[[P]]
  %t = adapter.adjoint %p
  // CHECK: %[[C:.*]] = adapter.chain %[[D]], %[[A]], %[[K]], %[[S]], %[[T]]
  %c = adapter.chain %d, %a, %k, %s, %t
  // CHECK: %[[SUM:.*]] = adapter.plus %[[C]], %[[G]]
  %sum = adapter.plus %c, %g
  // CHECK: adapter.add %[[SUM]]{{$}}
  %u = adapter.add %sum
  // CHECK: adapter.left %[[D]]
  %l = adapter.left %d
  // CHECK: adapter.right %[[I]]
  %r = adapter.right %one
  %all = adapter.compose %u, %l, %r : !adapter.update<tensor<?x?xf64>>
  adapter.yield %all : !adapter.update<tensor<?x?xf64>>
}

// CHECK-LABEL: adapter.form @biased for [linear]
adapter.form @biased for [linear] roles(%l "l" : "out") {
  // CHECK: adapter.weight : tensor<?x?xf64>
  %w = adapter.weight : tensor<?x?xf64>
  // CHECK: %[[B:.*]] = adapter.bias : tensor<?xf64>
  %b = adapter.bias : tensor<?xf64>
  %m = adapter.matrix %w : tensor<?x?xf64>
  %u = adapter.add %m
  // CHECK: adapter.yield %{{.*}}, %{{.*}} : !adapter.update<tensor<?x?xf64>>, tensor<?xf64>
  %n = arith.mulf %b, %l : tensor<?xf64>
  adapter.yield %u, %n : !adapter.update<tensor<?x?xf64>>, tensor<?xf64>
}

// CHECK-LABEL: func.func @applied
func.func @applied(%l: tensor<7xf32>, %w: tensor<7x12xf32>, %v: tensor<4xi64>) -> !adapter.update<tensor<7x12xf32>> {
  // CHECK: adapter.apply @biased at <linear>(%arg0) ["l"] [] symbols ["cols", "out"] = [12, 7] :
  %u = adapter.apply @biased at <linear> (%l) ["l"] [] symbols ["cols", "out"] = [12, 7]
      : (tensor<7xf32>) -> !adapter.update<tensor<7x12xf32>>
  // CHECK: adapter.apply @biased at <linear> transposed(%arg0) ["l"] [] symbols ["cols", "out"] = [12, 7] bias weight(%arg1 : tensor<7x12xf32>) {{.*}}: (tensor<7xf32>) -> !adapter.update<tensor<7xf32>>
  %b = adapter.apply @biased at <linear> transposed (%l) ["l"] [] symbols ["cols", "out"] = [12, 7]
      bias weight(%w : tensor<7x12xf32>) {weight_transposed} : (tensor<7xf32>) -> !adapter.update<tensor<7xf32>>
  return %u : !adapter.update<tensor<7x12xf32>>
}
