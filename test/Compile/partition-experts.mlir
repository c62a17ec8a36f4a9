// RUN: adapter-opt %s --adapter-partition-experts=ranks=2 | FileCheck %s
// RUN: adapter-opt %s --adapter-partition-experts=ranks=1 | FileCheck %s --check-prefix=ONE
// RUN: not adapter-opt %s --adapter-partition-experts=ranks=0 2>&1 | FileCheck %s --check-prefix=NONE
// RUN: not adapter-opt %s --adapter-partition-experts=ranks=3 2>&1 | FileCheck %s --check-prefix=UNEVEN
// RUN: not adapter-opt %s --adapter-partition-experts=ranks=8 2>&1 | FileCheck %s --check-prefix=MANY
// RUN: echo '{"format": "adapter-profile 1", "layers": []}' > %t.json
// RUN: not adapter-opt %s --adapter-partition-experts="ranks=2 profile=%t.json" 2>&1 | FileCheck %s --check-prefix=NAMELESS
// RUN: echo 'func.func @f() { return }' | not adapter-opt --adapter-partition-experts=ranks=2 2>&1 | FileCheck %s --check-prefix=NOTHING
// NONE: error: --partition-experts: ranks=0: there must be one at least
// UNEVEN: error: --partition-experts: 3 ranks do not divide 4 experts
// MANY: error: --partition-experts: there are 8 ranks for 4 experts
// NAMELESS: error: has weights that are no parameters; no profile can be of them
// NOTHING: error: --partition-experts: the model has no experts

// In order without a profile. What is placed already stays.
// CHECK-LABEL: func.func @experts
// CHECK: adapter.experts relu {{.*}} ranks 2 placement [0, 0, 1, 1] :
// CHECK: adapter.experts relu {{.*}} ranks 4 placement [3, 2, 1, 0] :
// ONE: ranks 1 placement [0, 0, 0, 0]
func.func @experts(%x: tensor<?x4xf32>, %i: tensor<?x2xi64>, %w: tensor<?x2xf32>, %u: tensor<4x6x4xf32>, %d: tensor<4x4x6xf32>) -> tensor<?x4xf32> {
  %0 = adapter.experts relu %x, %i, %w, %u, %d : tensor<?x4xf32>, tensor<?x2xi64>, tensor<?x2xf32>, tensor<4x6x4xf32>, tensor<4x4x6xf32> -> tensor<?x4xf32>
  %1 = adapter.experts relu %0, %i, %w, %u, %d ranks 4 placement [3, 2, 1, 0] : tensor<?x4xf32>, tensor<?x2xi64>, tensor<?x2xf32>, tensor<4x6x4xf32>, tensor<4x4x6xf32> -> tensor<?x4xf32>
  return %1 : tensor<?x4xf32>
}
