// RUN: adapter-opt %s --kernel-bind-host --split-input-file --verify-diagnostics | FileCheck %s

// Allocation goes through the host; the launch calls its parallel_for with the body.
// CHECK-LABEL: llvm.func internal @kernel.launch0(%{{.*}}: !llvm.ptr, %{{.*}}: i64, %{{.*}}: i64, %{{.*}}: f32)
// CHECK-NOT: kernel.launch =
// CHECK: llvm.call %{{.*}}(
llvm.func @kernel.launch0(!llvm.ptr, i64, i64, f32) attributes {kernel.launch = @kernel.body0, sym_visibility = "private"}
llvm.func @kernel.body0(%frame: !llvm.ptr, %begin: i64, %end: i64, %x: f32) attributes {sym_visibility = "private"} {
  llvm.return
}

// The entry point is what the table of the artifact names.
// CHECK-LABEL: llvm.func internal @main
// CHECK-NOT: kernel.entry
llvm.func @main(%frame: !llvm.ptr, %x: !llvm.ptr, %a: !llvm.ptr, %o: i64, %n: i64, %s: i64) attributes {kernel.entry = {symbol = "entry.main", inputs = [memref<4xf32>], outputs = [], placed = array<i64>}} {
  llvm.return
}
// CHECK: llvm.func hidden @entry.main(%{{.*}}: !llvm.ptr) -> i32
// CHECK: llvm.call @main(

// -----

// expected-error @below {{'llvm.func' op launches @nowhere, which does not exist}}
llvm.func @kernel.launch0(!llvm.ptr, i64, i64) attributes {kernel.launch = @nowhere, sym_visibility = "private"}
