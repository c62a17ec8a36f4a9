// RUN: adapter-opt %s --kernel-lower-products="lanes=16 rows=14 vectors=2" | FileCheck %s

!q = memref<?x4x?x8xf32>
!kv = memref<?x2x?x8xf32>

// New keys and values are put behind those that the row has, then blocks of queries are computed.
// CHECK-LABEL: func.func @session
// CHECK: kernel.parallel
// CHECK: %[[N:.*]] = kernel.row_length
// CHECK: %[[CK:.*]] = kernel.row_capacity
// CHECK: kernel.row_memory
// CHECK: call @kernel.keep_keys_8(%{{.*}}, %{{.*}}, %[[N]])
// CHECK: call @kernel.keep_values_8(%{{.*}}, %{{.*}}, %[[N]])
// CHECK: kernel.parallel
// CHECK: call @kernel.attention_8_8_
func.func @session(%q: !q, %k: !kv, %v: !kv, %y: !q) {
  kernel.attention ins(%q, %k, %v : !q, !kv, !kv) outs(%y : !q) {causal, scale = 1.0 : f32, state = array<i64: 0, 1>}
  return
}

// Without a session room for them is made, and the function for a mask is another.
// CHECK-LABEL: func.func @plain
// CHECK: memref.alloc
// CHECK: memref.alloc
// CHECK-NOT: kernel.row_memory
// CHECK: call @kernel.attention_8_8_{{.*}}_mask_zero(
// CHECK: memref.dealloc
// CHECK: memref.dealloc
func.func @plain(%q: !q, %k: !kv, %v: !kv, %m: memref<?x1x?x?xf32>, %y: !q) {
  kernel.attention ins(%q, %k, %v, %m : !q, !kv, !kv, memref<?x1x?x?xf32>) outs(%y : !q) {scale = 1.0 : f32, zero_masked}
  return
}

// CHECK: func.func private @kernel.keep_keys_8
// CHECK: func.func private @kernel.attention_8_8_{{[0-9]+}}_causal
// CHECK: call @kernel.tile_slice
// CHECK: math.exp
// CHECK: call @kernel.tile_accumulate_slice
