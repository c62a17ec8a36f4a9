// RUN: adapter-opt %s --split-input-file --verify-diagnostics

func.func @f(%l: memref<?x8xf32>, %v: memref<?x9xf32>, %i: memref<?x9xi64>) {
  // expected-error @below {{'kernel.top_k' op chooses 9 of 8 elements}}
  kernel.top_k ins(%l : memref<?x8xf32>) outs(%v, %i : memref<?x9xf32>, memref<?x9xi64>)
  return
}

// -----

func.func @f(%l: memref<?x8xf32>, %v: memref<?x2xf32>, %i: memref<?x3xi64>) {
  // expected-error @below {{'kernel.top_k' op has results of other sizes}}
  kernel.top_k ins(%l : memref<?x8xf32>) outs(%v, %i : memref<?x2xf32>, memref<?x3xi64>)
  return
}

// -----

func.func @f(%i: memref<?x2xi64>, %p: memref<?x2xi32>, %t: memref<?xi64>, %o: memref<9xi64>) {
  // expected-error @below {{'kernel.dispatch' op needs results of i64}}
  kernel.dispatch "x" ins(%i : memref<?x2xi64>) outs(%p, %t, %o : memref<?x2xi32>, memref<?xi64>, memref<9xi64>)
  return
}

// -----

func.func @f(%i: memref<?x2xi64>, %p: memref<?x3xi64>, %t: memref<?xi64>, %o: memref<9xi64>) {
  // expected-error @below {{'kernel.dispatch' op has a place for each id}}
  kernel.dispatch "x" ins(%i : memref<?x2xi64>) outs(%p, %t, %o : memref<?x3xi64>, memref<?xi64>, memref<9xi64>)
  return
}

// -----

func.func @f(%x: memref<?x4xf32>, %r: memref<?xi64>, %y: memref<?x5xf32>) {
  // expected-error @below {{'kernel.gather_rows' op has an output that does not fit}}
  kernel.gather_rows ins(%x, %r : memref<?x4xf32>, memref<?xi64>) outs(%y : memref<?x5xf32>)
  return
}

// -----

func.func @f(%x: memref<?x5xf32>, %w: memref<8x1x4x32xf32>, %o: memref<9xi64>, %y: memref<?x6xf32>) {
  // expected-error @below {{'kernel.grouped_linear' op has 5 columns of input for 4 rows of weight}}
  kernel.grouped_linear ins(%x, %w, %o : memref<?x5xf32>, memref<8x1x4x32xf32>, memref<9xi64>) outs(%y : memref<?x6xf32>)
  return
}

// -----

func.func @f(%x: memref<?x4xf32>, %w: memref<8x1x4x32xf32>, %o: memref<8xi64>, %y: memref<?x6xf32>) {
  // expected-error @below {{'kernel.grouped_linear' op needs 9 offsets for 8 groups}}
  kernel.grouped_linear ins(%x, %w, %o : memref<?x4xf32>, memref<8x1x4x32xf32>, memref<8xi64>) outs(%y : memref<?x6xf32>)
  return
}

// -----

func.func @f(%x: memref<?x4xf32>, %p: memref<?x2xi64>, %w: memref<?x3xf32>, %y: memref<?x4xf32>) {
  // expected-error @below {{'kernel.combine' op has places, weights and an output that do not fit one another}}
  kernel.combine ins(%x, %p, %w : memref<?x4xf32>, memref<?x2xi64>, memref<?x3xf32>) outs(%y : memref<?x4xf32>)
  return
}
