// RUN: not adapter-opt %s --adapter-narrow-weights=number=int3 2>&1 | FileCheck %s --check-prefix=NUMBER
// RUN: not adapter-opt %s --adapter-narrow-weights=number=int4\ group=12 2>&1 | FileCheck %s --check-prefix=GROUP
// RUN: not adapter-opt %s --adapter-narrow-weights=number=bf16\ group=32 2>&1 | FileCheck %s --check-prefix=NONE
// NUMBER: error: there is no format 'int3' of weights
// GROUP: error: a group is a multiple of 8 up to 1024, not 12
// NONE: error: numbers of bf16 have no groups
func.func @f() {
  return
}
