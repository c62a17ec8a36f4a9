// RUN: adapter-opt %s --split-input-file --verify-diagnostics

func.func @apply(%t: tensor<7x12xf32>) {
  // expected-error @below {{'adapter.apply' op refers to @nothing, which is not an adapter.form}}
  %u = adapter.apply @nothing at <linear> (%t) ["A"] [] symbols [] = [] : (tensor<7x12xf32>) -> !adapter.update<tensor<7x12xf32>>
  return
}

// -----

adapter.form @f for [linear] roles(%A "A" : "out, cols", %B "B" : "out, cols") {
  %m = adapter.matrix %A : tensor<?x?xf64>
  %u = adapter.add %m
  adapter.yield %u : !adapter.update<tensor<?x?xf64>>
}
func.func @lacks(%t: tensor<7x12xf32>) {
  // expected-error @below {{'adapter.apply' op lacks 'B', which @f asks for}}
  %u = adapter.apply @f at <linear> (%t) ["A"] [] symbols [] = [] : (tensor<7x12xf32>) -> !adapter.update<tensor<7x12xf32>>
  return
}

// -----

adapter.form @f for [linear] roles(%A "A" : "out, cols", %B "B" : "out, cols") {
  %m = adapter.matrix %A : tensor<?x?xf64>
  %u = adapter.add %m
  adapter.yield %u : !adapter.update<tensor<?x?xf64>>
}
func.func @gives(%t: tensor<7x12xf32>) {
  // expected-error @below {{'adapter.apply' op gives 'C', which @f does not ask for}}
  %u = adapter.apply @f at <linear> (%t, %t, %t) ["A", "B", "C"] [] symbols [] = [] : (tensor<7x12xf32>, tensor<7x12xf32>, tensor<7x12xf32>) -> !adapter.update<tensor<7x12xf32>>
  return
}

// -----

adapter.form @f for [linear] roles(%A "A" : "out, cols", %B "B" : "out, cols") {
  %m = adapter.matrix %A : tensor<?x?xf64>
  %u = adapter.add %m
  adapter.yield %u : !adapter.update<tensor<?x?xf64>>
}
func.func @names(%t: tensor<7x12xf32>) {
  // expected-error @below {{'adapter.apply' op needs a name for each tensor, scalar and symbol}}
  %u = adapter.apply @f at <linear> (%t, %t) ["A"] [] symbols [] = [] : (tensor<7x12xf32>, tensor<7x12xf32>) -> !adapter.update<tensor<7x12xf32>>
  return
}

// -----

adapter.form @f for [linear] roles(%A "A" : "out, cols", %B "B" : "out, cols") {
  %m = adapter.matrix %A : tensor<?x?xf64>
  %u = adapter.add %m
  adapter.yield %u : !adapter.update<tensor<?x?xf64>>
}
func.func @asks(%t: tensor<7x12xf32>) {
  // expected-error @below {{'adapter.apply' op asks for a bias, but @f makes none}}
  %u = adapter.apply @f at <linear> (%t, %t) ["A", "B"] [] symbols [] = [] bias : (tensor<7x12xf32>, tensor<7x12xf32>) -> !adapter.update<tensor<7xf32>>
  return
}

// -----

adapter.form @f for [linear] roles(%A "A" : "out, cols", %B "B" : "out, cols") {
  %m = adapter.matrix %A : tensor<?x?xf64>
  %u = adapter.add %m
  adapter.yield %u : !adapter.update<tensor<?x?xf64>>
}
func.func @view(%t: tensor<7x12xf32>) {
  // expected-error @below {{'adapter.apply' op makes an update of 'tensor<7x3x4xf32>'; forms see weights as [out, cols]}}
  %u = adapter.apply @f at <linear> (%t, %t) ["A", "B"] [] symbols [] = [] : (tensor<7x12xf32>, tensor<7x12xf32>) -> !adapter.update<tensor<7x3x4xf32>>
  return
}
