// RUN: adapter-opt %s --kernel-place-on-device | FileCheck %s

// Inputs and results stay the host's and are copied.
// CHECK-LABEL: func.func @graph(
// CHECK-SAME:    %[[X:.*]]: memref<?x8xf32>) -> memref<?x8xf32>
// CHECK:         %[[ON:.*]] = memref.alloc(%{{.*}}) : memref<?x8xf32, #gpu.address_space<global>>
// CHECK:         gpu.memcpy %[[ON]], %[[X]]
// CHECK:         memref.get_global @c : memref<4xi64>
// CHECK:         gpu.memcpy %{{.*}}, %{{.*}} : memref<4xi64, #gpu.address_space<global>>, memref<4xi64>
// CHECK:         %[[Y:.*]] = memref.alloc(%{{.*}}) : memref<?x8xf32, #gpu.address_space<global>>
// CHECK:         %[[BACK:.*]] = memref.alloc(%{{.*}}) : memref<?x8xf32>
// CHECK:         gpu.memcpy %[[BACK]], %[[Y]]
// CHECK:         return %[[BACK]]
memref.global "private" constant @c : memref<4xi64> = dense<[1, 2, 3, 4]>
func.func @graph(%x: memref<?x8xf32>) -> memref<?x8xf32> attributes {adapter.parameters = []} {
  %c0 = arith.constant 0 : index
  %n = memref.dim %x, %c0 : memref<?x8xf32>
  %c = memref.get_global @c : memref<4xi64>
  %v = memref.load %c[%c0] : memref<4xi64>
  %y = memref.alloc(%n) : memref<?x8xf32>
  return %y : memref<?x8xf32>
}

// Functions that no graph is stay on the host.
// CHECK-LABEL: func.func @host
// CHECK-NOT:     address_space
func.func @host(%x: memref<?x8xf32>) -> memref<?x8xf32> {
  return %x : memref<?x8xf32>
}
