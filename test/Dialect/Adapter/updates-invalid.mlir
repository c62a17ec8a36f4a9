// RUN: adapter-opt %s --split-input-file --verify-diagnostics

// Ranks of the factors agree.
func.func @ranks(%a: tensor<8x64xf32>, %b: tensor<32x4xf32>) {
  // expected-error @below {{'adapter.low_rank' op has factors of ranks 8 and 4}}
  %0 = adapter.low_rank %a, %b : tensor<8x64xf32>, tensor<32x4xf32> -> !adapter.update<tensor<32x64xf32>>
  return
}

// -----

// The product has the weight's shape; [in, out] is no [out, in].
func.func @orientation(%a: tensor<8x64xf32>, %b: tensor<32x8xf32>) {
  // expected-error @below {{'adapter.low_rank' op makes an update of 32, 64, not of 64, 32}}
  %0 = adapter.low_rank %a, %b : tensor<8x64xf32>, tensor<32x8xf32> -> !adapter.update<tensor<64x32xf32>>
  return
}

// -----

func.func @integers(%v: tensor<32xi32>) {
  // expected-error @below {{'adapter.dense' op needs tensors of floats; got 'tensor<32xi32>'}}
  %0 = adapter.dense %v : tensor<32xi32> -> !adapter.update<tensor<32xf32>>
  return
}

// -----

func.func @whole(%v: tensor<16xf32>) {
  // expected-error @below {{'adapter.replace' op has a value of 16 for a weight of 32}}
  %0 = adapter.replace %v : tensor<16xf32> -> !adapter.update<tensor<32xf32>>
  return
}

// -----

func.func @support(%i: tensor<3xi64>, %v: tensor<3x64xf32>) {
  // expected-error @below {{'adapter.sparse' op needs i64 indices of [2, 3]; got 'tensor<3xi64>'}}
  %0 = adapter.sparse add coordinates %i, %v : tensor<3xi64>, tensor<3x64xf32> -> !adapter.update<tensor<32x64xf32>>
  return
}

// -----

func.func @indices(%i: tensor<4xi64>, %v: tensor<3x64xf32>) {
  // expected-error @below {{'adapter.sparse' op needs i64 indices of [3]; got 'tensor<4xi64>'}}
  %0 = adapter.sparse add rows %i, %v : tensor<4xi64>, tensor<3x64xf32> -> !adapter.update<tensor<32x64xf32>>
  return
}

// -----

// Replacing does not commute.
func.func @sum(%v: tensor<32xf32>) {
  %0 = adapter.replace %v : tensor<32xf32> -> !adapter.update<tensor<32xf32>>
  // expected-error @below {{'adapter.sum' op adds an update that is not additive, by 'adapter.replace'; adapter.compose takes any}}
  %1 = adapter.sum %0, %0 : !adapter.update<tensor<32xf32>>
  return
}

// -----

func.func @magnitudes(%u: !adapter.update<tensor<32x64xf32>>, %m: tensor<32xf32>) {
  // expected-error @below {{'adapter.magnitude' op needs 64 magnitudes; got 'tensor<32xf32>'}}
  %0 = adapter.magnitude %u, %m axis 1 : !adapter.update<tensor<32x64xf32>>, tensor<32xf32>
  return
}

// -----

func.func @permutation(%u: !adapter.update<tensor<32x64xf32>>) {
  // expected-error @below {{'adapter.transpose' op needs a permutation of 2 dimensions}}
  %0 = adapter.transpose %u [0, 0] : !adapter.update<tensor<32x64xf32>> -> !adapter.update<tensor<64x32xf32>>
  return
}

// -----

func.func @place(%u: !adapter.update<tensor<32x64xf32>>) {
  // expected-error @below {{'adapter.place' op cannot place 32, 64 into 48, 64 at 32 along axis 0}}
  %0 = adapter.place %u at 32 axis 0 : !adapter.update<tensor<32x64xf32>> -> !adapter.update<tensor<48x64xf32>>
  return
}

// -----

func.func @no_site() {
  // expected-error @below {{'adapter.select' op refers to @nowhere, which is no adapter.site}}
  %0 = adapter.select @nowhere : !adapter.update<tensor<8xf32>>
  return
}

// -----

adapter.site @s {module = "m", parameter = "weight", kind = #adapter.kind<linear>, time = #adapter.time<row>, rows = 32 : i64, columns = 64 : i64, forms = []}
func.func @site_of_another_size() {
  // expected-error @below {{'adapter.select' op is of a weight of 64, 32, its site of 32, 64}}
  %0 = adapter.select @s : !adapter.update<tensor<64x32xf32>>
  return
}

// -----

// What is known at build needs no site.
// expected-error @below {{'adapter.site' op is for updates that come after the build}}
adapter.site @s {module = "m", parameter = "bias", kind = #adapter.kind<vector>, time = #adapter.time<build>, rows = 32 : i64, columns = 0 : i64, forms = []}

// -----

func.func @linear(%x: tensor<4x32xf32>, %w: tensor<64x32xf32>, %u: !adapter.update<tensor<64x32xf32>>) {
  // expected-error @below {{'adapter.linear' op has an input of width 32 for a weight that takes 64}}
  %0 = adapter.linear %x, %w update %u : tensor<4x32xf32>, tensor<64x32xf32>, !adapter.update<tensor<64x32xf32>> -> tensor<4x32xf32>
  return
}

// -----

// expected-error @below {{names a weight of floats; got 'tensor<4xi8>'}}
func.func private @type(!adapter.update<tensor<4xi8>>)

// -----

func.func @sparse_values(%i: tensor<2x3xi64>, %v: tensor<3x64xf32>) {
  // expected-error @below {{'adapter.sparse' op needs values of [3]; got 'tensor<3x64xf32>'}}
  %0 = adapter.sparse add coordinates %i, %v : tensor<2x3xi64>, tensor<3x64xf32> -> !adapter.update<tensor<32x64xf32>>
  return
}

// -----

func.func @sparse_blocks(%i: tensor<2x3xi64>, %v: tensor<3x5x16xf32>) {
  // expected-error @below {{'adapter.sparse' op needs blocks of a fixed size that divides 'tensor<32x64xf32>'}}
  %0 = adapter.sparse add blocks %i, %v : tensor<2x3xi64>, tensor<3x5x16xf32> -> !adapter.update<tensor<32x64xf32>>
  return
}

// -----

func.func @sparse_bitmask(%i: tensor<255xi8>, %v: tensor<3xf32>) {
  // expected-error @below {{'adapter.sparse' op needs i8 indices of [256]; got 'tensor<255xi8>'}}
  %0 = adapter.sparse add bitmask %i, %v : tensor<255xi8>, tensor<3xf32> -> !adapter.update<tensor<32x64xf32>>
  return
}

// -----

func.func @sparse_columns(%i: tensor<3xi64>, %v: tensor<64x3xf32>) {
  // expected-error @below {{'adapter.sparse' op with columns is no update of 'tensor<64xf32>'}}
  %0 = adapter.sparse add columns %i, %v : tensor<3xi64>, tensor<64x3xf32> -> !adapter.update<tensor<64xf32>>
  return
}
