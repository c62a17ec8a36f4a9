// RUN: adapter-opt %s --split-input-file --verify-diagnostics

// Packed and not.
func.func @layouts(%w: memref<1x4x32xf32>, %g: memref<1x1x32xf32>, %v: memref<4x32xf32>) {
  // expected-error @below {{'kernel.update_weight' op needs a weight and an output that are both matrices or both packed}}
  kernel.update_weight ins(%w : memref<1x4x32xf32>) gain(%g : memref<1x1x32xf32>) outs(%v : memref<4x32xf32>)
  return
}

// -----

// Nothing to do.
func.func @nothing(%w: memref<1x4x32xf32>) {
  // expected-error @below {{'kernel.update_weight' op needs factors or a gain}}
  kernel.update_weight ins(%w : memref<1x4x32xf32>) outs(%w : memref<1x4x32xf32>)
  return
}

// -----

// A matrix with a gain.
func.func @matrix(%w: memref<4x32xf32>, %g: memref<1x1x32xf32>) {
  // expected-error @below {{'kernel.update_weight' op needs factors and no gain for a matrix}}
  kernel.update_weight ins(%w : memref<4x32xf32>) gain(%g : memref<1x1x32xf32>) outs(%w : memref<4x32xf32>)
  return
}

// -----

// Lengths to nothing.
func.func @unit(%w: memref<1x4x32xf32>, %a: memref<4x2xf32>, %b: memref<1x2x32xf32>) {
  // expected-error @below {{'kernel.update_weight' op needs a gain for columns of length 1}}
  kernel.update_weight ins(%w : memref<1x4x32xf32>) factors(%a, %b : memref<4x2xf32>, memref<1x2x32xf32>) outs(%w : memref<1x4x32xf32>) {unit}
  return
}

// -----

// A factor that is not packed.
func.func @up(%w: memref<4x32xf32>, %a: memref<4x2xf32>, %b: memref<2x32xf32>) {
  // expected-error @below {{'kernel.update_weight' op needs packed columns of factors and gain}}
  kernel.update_weight ins(%w : memref<4x32xf32>) factors(%a, %b : memref<4x2xf32>, memref<2x32xf32>) outs(%w : memref<4x32xf32>)
  return
}

// -----

// K differs.
func.func @rows(%w: memref<1x4x32xf32>, %a: memref<5x2xf32>, %b: memref<1x2x32xf32>) {
  // expected-error @below {{'kernel.update_weight' op needs as many rows of the first factor as the weight has}}
  kernel.update_weight ins(%w : memref<1x4x32xf32>) factors(%a, %b : memref<5x2xf32>, memref<1x2x32xf32>) outs(%w : memref<1x4x32xf32>)
  return
}

// -----

// Ranks differ.
func.func @ranks(%w: memref<1x4x32xf32>, %a: memref<4x2xf32>, %b: memref<1x3x32xf32>) {
  // expected-error @below {{'kernel.update_weight' op has factors of ranks 2 and 3}}
  kernel.update_weight ins(%w : memref<1x4x32xf32>) factors(%a, %b : memref<4x2xf32>, memref<1x3x32xf32>) outs(%w : memref<1x4x32xf32>)
  return
}
