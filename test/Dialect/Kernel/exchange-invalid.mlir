// RUN: adapter-opt %s --split-input-file --verify-diagnostics

func.func @f(%t: memref<?xi64>, %o: memref<8xi64>, %b: memref<3xi64>) {
  // expected-error @below {{'kernel.unique_rows' op cannot share 7 experts among 2 processes evenly}}
  kernel.unique_rows ins(%t, %o : memref<?xi64>, memref<8xi64>) outs(%t, %t, %b, %t : memref<?xi64>, memref<?xi64>, memref<3xi64>, memref<?xi64>)
  return
}

// -----

func.func @f(%t: memref<?xi64>, %o: memref<?xi64>, %b: memref<3xi64>) {
  // expected-error @below {{'kernel.unique_rows' op needs numbers of experts and processes that are known}}
  kernel.unique_rows ins(%t, %o : memref<?xi64>, memref<?xi64>) outs(%t, %t, %b, %t : memref<?xi64>, memref<?xi64>, memref<3xi64>, memref<?xi64>)
  return
}

// -----

func.func @f(%t: memref<4xi64>, %o: memref<9xi64>, %b: memref<3xi64>, %r: memref<5xi64>) {
  // expected-error @below {{'kernel.unique_rows' op has room for another number of rows}}
  kernel.unique_rows ins(%t, %o : memref<4xi64>, memref<9xi64>) outs(%r, %t, %b, %t : memref<5xi64>, memref<4xi64>, memref<3xi64>, memref<4xi64>)
  return
}

// -----

func.func @f(%t: memref<?xi32>, %o: memref<9xi64>, %b: memref<3xi64>) {
  // expected-error @below {{'kernel.unique_rows' op needs operands of i64 of rank 1}}
  kernel.unique_rows ins(%t, %o : memref<?xi32>, memref<9xi64>) outs(%o, %o, %b, %o : memref<9xi64>, memref<9xi64>, memref<3xi64>, memref<9xi64>)
  return
}

// -----

func.func @f(%i: memref<?xi64>, %c: memref<2x5xi64>, %me: index, %o: memref<8xi64>) {
  // expected-error @below {{'kernel.arrange_rows' op has counts of 4 experts from 2 processes for 7 experts}}
  kernel.arrange_rows %me ins(%i, %c : memref<?xi64>, memref<2x5xi64>) outs(%i, %i, %o : memref<?xi64>, memref<?xi64>, memref<8xi64>)
  return
}

// -----

func.func @f(%i: memref<?xi64>, %c: memref<2x5xf32>, %me: index, %o: memref<9xi64>) {
  // expected-error @below {{'kernel.arrange_rows' op needs counts of i64 of rank 2}}
  kernel.arrange_rows %me ins(%i, %c : memref<?xi64>, memref<2x5xf32>) outs(%i, %i, %o : memref<?xi64>, memref<?xi64>, memref<9xi64>)
  return
}

// -----

func.func @f(%x: memref<2x5xi64>, %y: memref<3x5xi64>) {
  // expected-error @below {{'kernel.all_to_all' op needs an input and an output of one shape that is known}}
  kernel.all_to_all ins(%x : memref<2x5xi64>) outs(%y : memref<3x5xi64>)
  return
}

// -----

func.func @f(%x: memref<?x5xf32>, %y: memref<?x4xf32>, %n: memref<2xi64>) {
  // expected-error @below {{'kernel.all_to_all_rows' op has rows of another size}}
  kernel.all_to_all_rows ins(%x, %n, %n : memref<?x5xf32>, memref<2xi64>, memref<2xi64>) outs(%y : memref<?x4xf32>)
  return
}

// -----

func.func @f(%x: memref<?x4xf32>, %y: memref<?x4xf32>, %n: memref<2xi64>, %m: memref<3xi64>) {
  // expected-error @below {{'kernel.all_to_all_rows' op needs counts of i64, one for each process}}
  kernel.all_to_all_rows ins(%x, %n, %m : memref<?x4xf32>, memref<2xi64>, memref<3xi64>) outs(%y : memref<?x4xf32>)
  return
}

// -----

func.func @f(%x: memref<?x4xi1>, %y: memref<?x4xi1>, %n: memref<2xi64>) {
  // expected-error @below {{'kernel.all_gather_rows' op needs an input and an output of one rank and one element type of whole bytes}}
  kernel.all_gather_rows ins(%x, %n : memref<?x4xi1>, memref<2xi64>) outs(%y : memref<?x4xi1>)
  return
}

// -----

func.func @f(%x: memref<?x2xi32>) {
  // expected-error @below {{'kernel.routed' op needs a buffer of i64 of rank 2}}
  kernel.routed 0 %x : memref<?x2xi32>
  return
}

// -----

func.func @f(%x: memref<?x2xi64>) {
  // expected-error @below {{'kernel.routed' op has layer -1, which cannot be}}
  kernel.routed -1 %x : memref<?x2xi64>
  return
}

// -----

func.func @f(%x: memref<?x4xf32>, %w: memref<8x1x4x32xf32>, %o: memref<9xi64>, %b: memref<7x6xf32>, %y: memref<?x6xf32>) {
  // expected-error @below {{'kernel.grouped_linear' op needs a bias of groups and columns}}
  kernel.grouped_linear ins(%x, %w, %o : memref<?x4xf32>, memref<8x1x4x32xf32>, memref<9xi64>) bias(%b : memref<7x6xf32>) outs(%y : memref<?x6xf32>)
  return
}
