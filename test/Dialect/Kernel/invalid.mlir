// RUN: adapter-opt %s --split-input-file --verify-diagnostics

// A weight that is not packed.
func.func @linear_rank(%x: memref<2x4xf32>, %w: memref<4x8xf32>, %y: memref<2x8xf32>) {
  // expected-error @below {{'kernel.linear' op needs an input and an output of rank 2 and a packed weight of rank 3}}
  kernel.linear ins(%x, %w : memref<2x4xf32>, memref<4x8xf32>) outs(%y : memref<2x8xf32>)
  return
}

// -----

// K differs.
func.func @linear_depth(%x: memref<2x4xf32>, %w: memref<1x5x32xf32>, %y: memref<2x8xf32>) {
  // expected-error @below {{'kernel.linear' op has 4 columns of input for 5 rows of weight}}
  kernel.linear ins(%x, %w : memref<2x4xf32>, memref<1x5x32xf32>) outs(%y : memref<2x8xf32>)
  return
}

// -----

// M differs.
func.func @linear_rows(%x: memref<2x4xf32>, %w: memref<1x4x32xf32>, %y: memref<3x8xf32>) {
  // expected-error @below {{'kernel.linear' op has 2 rows of input for 3 rows of output}}
  kernel.linear ins(%x, %w : memref<2x4xf32>, memref<1x4x32xf32>) outs(%y : memref<3x8xf32>)
  return
}

// -----

// Neither a weight nor something to add to.
func.func @row_linear_alone(%x: memref<2x4xf32>, %y: memref<2x8xf32>) {
  // expected-error @below {{'kernel.row_linear' op needs a weight or `accumulate`}}
  kernel.row_linear ins(%x : memref<2x4xf32>) outs(%y : memref<2x8xf32>) {bank = 0 : i64}
  return
}

// -----

// A bias of no product.
func.func @row_linear_bias(%x: memref<2x4xf32>, %b: memref<8xf32>, %y: memref<2x8xf32>) {
  // expected-error @below {{'kernel.row_linear' op has a bias that output holds before}}
  kernel.row_linear ins(%x : memref<2x4xf32>) bias(%b : memref<8xf32>) outs(%y : memref<2x8xf32>) {accumulate, bank = 0 : i64}
  return
}

// -----

// K differs.
func.func @row_linear_depth(%x: memref<2x4xf32>, %w: memref<1x5x32xf32>, %y: memref<2x8xf32>) {
  // expected-error @below {{'kernel.row_linear' op has 4 columns of input for 5 rows of weight}}
  kernel.row_linear ins(%x : memref<2x4xf32>) weight(%w : memref<1x5x32xf32>) outs(%y : memref<2x8xf32>) {bank = 0 : i64}
  return
}

// -----

// Matrices without a batch.
func.func @batch_matmul(%x: memref<4x4xf32>) {
  // expected-error @below {{'kernel.batch_matmul' op needs operands of rank 3}}
  kernel.batch_matmul ins(%x, %x : memref<4x4xf32>, memref<4x4xf32>) outs(%x : memref<4x4xf32>)
  return
}

// -----

// An output that has no blocks.
func.func @pack(%x: memref<4x4xf32>, %y: memref<4x4xf32>) {
  // expected-error @below {{'kernel.pack' op needs a source of rank 2 and an output of rank 3}}
  kernel.pack ins(%x : memref<4x4xf32>) outs(%y : memref<4x4xf32>)
  return
}

// -----

// A body without the iteration.
func.func @parallel(%n: index) {
  // expected-error @below {{'kernel.parallel' op needs a body with one argument of type index}}
  kernel.parallel %n grain %n {
  }
  return
}

// -----

// Another number of elements.
func.func @reshape_count(%x: tensor<2x3xf32>) -> tensor<5xf32> {
  // expected-error @below {{'kernel.reshape' op must keep the number of elements}}
  %y = kernel.reshape %x [] : tensor<2x3xf32> to tensor<5xf32>
  return %y : tensor<5xf32>
}

// -----

// A size is missing.
func.func @reshape_sizes(%x: tensor<?xf32>) -> tensor<?x?xf32> {
  // expected-error @below {{'kernel.reshape' op}}
  %y = kernel.reshape %x [] : tensor<?xf32> to tensor<?x?xf32>
  return %y : tensor<?x?xf32>
}

// -----

// Another element type.
func.func @reshape_type(%x: tensor<2xf32>) -> tensor<2xi32> {
  // expected-error @below {{'kernel.reshape' op must not change the element type}}
  %y = kernel.reshape %x [] : tensor<2xf32> to tensor<2xi32>
  return %y : tensor<2xi32>
}

// -----

// One size for each dimension that varies.
func.func @output_sizes() -> memref<?xf32> {
  // expected-error @below {{'kernel.output' op has 0 sizes for 1 dynamic dims}}
  %y = kernel.output 0 [] : memref<?xf32>
  return %y : memref<?xf32>
}

// -----

// Results are numbered from 0 on.
func.func @output_number() -> memref<2xf32> {
  // expected-error @below {{'kernel.output' op attribute 'index' failed to satisfy constraint}}
  %y = kernel.output -1 [] : memref<2xf32>
  return %y : memref<2xf32>
}

// -----

// The host gives contiguous memory.
func.func @output_layout() -> memref<2xf32, strided<[2]>> {
  // expected-error @below {{'kernel.output' op must be contiguous}}
  %y = kernel.output 0 [] : memref<2xf32, strided<[2]>>
  return %y : memref<2xf32, strided<[2]>>
}

// -----

func.func @require_values(%c: i1, %n: index) {
  // expected-error @below {{'kernel.require' op has more than three values}}
  kernel.require %c, "too many" (%n, %n, %n, %n)
  return
}

// -----

// Strided rows have no other shape without a copy.
func.func @reshape_rows_apart(%x: memref<2x4xf32, strided<[8, 1]>>) -> memref<8xf32> {
  // expected-error @below {{'kernel.reshape' op takes and gives contiguous buffers, not 'memref<2x4xf32, strided<[8, 1]>>'}}
  %y = kernel.reshape %x [] : memref<2x4xf32, strided<[8, 1]>> to memref<8xf32>
  return %y : memref<8xf32>
}
