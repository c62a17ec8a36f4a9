// RUN: adapter-opt %s | FileCheck %s
// RUN: adapter-opt %s | adapter-opt | FileCheck %s

// CHECK: adapter.slot "tenant" at <call> forms ["lora", "lora+dora"] rank 64 {base_digest = "12", bound = ["scale"], by_token}
adapter.slot "tenant" at <call> forms ["lora", "lora+dora"] rank 64 {base_digest = "12", bound = ["scale"], by_token}
// CHECK: adapter.site @a {bank = 3 : i64, by_token = #adapter.by_token<room>, columns = 4 : i64
adapter.site @a {module = "q", parameter = "weight", kind = #adapter.kind<linear>, time = #adapter.time<row>, rows = 4 : i64,
                 columns = 4 : i64, forms = ["lora", "add"], bank = 3 : i64, by_token = #adapter.by_token<room>}
// CHECK: adapter.site @b {bottlenecks = [#adapter.bottleneck<gelu_tanh, norm_before, norm_after, residual_first, gate, channel, epsilon = {{.*}}>, #adapter.bottleneck<identity>]
adapter.site @b {module = "o", parameter = "sublayer_onto_sublayer", kind = #adapter.kind<bottleneck>, time = #adapter.time<row>, rows = 4 : i64,
                 columns = 4 : i64, bottlenecks = [#adapter.bottleneck<gelu_tanh, channel, norm_before, norm_after, residual_first, gate, epsilon = 1.0e-6>,
                                                   #adapter.bottleneck<identity>]}
// CHECK: adapter.resident "x" at <row> attributes {by_token, hash = "0"}
adapter.resident "x" at <row> attributes {hash = "0", by_token} {
  // CHECK-NEXT: adapter.resident_update @a "add" rank 0 scale 2.000000e+00 {scalars = {eps = 1.000000e+00 : f64}, tensors = {}}
  adapter.resident_update @a "add" rank 0 scale 2.0 {tensors = {}, scalars = {eps = 1.0 : f64}}
  // CHECK-NEXT: adapter.resident_update @b #adapter.bottleneck<identity> rank 8 scale 1.000000e+00 {tasks = 2 : i64, tensors = {}}
  adapter.resident_update @b #adapter.bottleneck<identity> rank 8 scale 1.0 {tensors = {}, tasks = 2 : i64}
}
// CHECK: adapter.parameters = [#adapter.row<"base", "w">, #adapter.row<"base", "v", @a>]
func.func private @f() attributes {adapter.parameters = [#adapter.row<"base", "w">, #adapter.row<"base", "v", @a>]}
