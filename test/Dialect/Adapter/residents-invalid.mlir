// RUN: adapter-opt %s --split-input-file --verify-diagnostics

// expected-error @below {{is for adapters that act after the build, or beside weights}}
adapter.resident "x" at <build> attributes {hash = "0"} {
}

// -----

adapter.resident "x" at <row> attributes {hash = "0"} {
  // expected-error @below {{refers to @a, which is no adapter.site}}
  adapter.resident_update @a "lora" rank 1 scale 1.0 {tensors = {}}
}

// -----

adapter.site @a {module = "q", parameter = "weight", kind = #adapter.kind<linear>, time = #adapter.time<row>, rows = 4 : i64,
                 columns = 4 : i64, forms = ["lora"]}
adapter.resident "x" at <call> attributes {hash = "0"} {
  // expected-error @below {{is of another time than its site @a}}
  adapter.resident_update @a "lora" rank 1 scale 1.0 {tensors = {}}
}

// -----

adapter.site @a {module = "q", parameter = "weight", kind = #adapter.kind<linear>, time = #adapter.time<row>, rows = 4 : i64,
                 columns = 4 : i64, forms = ["lora"]}
adapter.resident "x" at <row> attributes {hash = "0"} {
  // expected-error @below {{is of the form "add", for which @a has no room}}
  adapter.resident_update @a "add" rank 1 scale 1.0 {tensors = {}}
}

// -----

// expected-error @below {{is for adapters that come after the build}}
adapter.slot "s" at <build> forms ["lora"] rank 0

// -----

// expected-error @below {{takes no form}}
adapter.slot "s" at <row> forms [] rank 0

// -----

// expected-error @below {{has a bank, but its adapters act on all rows of all calls}}
adapter.site @a {module = "q", parameter = "weight", kind = #adapter.kind<linear>, time = #adapter.time<load>, rows = 4 : i64,
                 columns = 4 : i64, forms = ["lora"], bank = 0 : i64}

// -----

// expected-error @below {{differs by token, but is not of the time row}}
adapter.site @a {module = "q", parameter = "weight", kind = #adapter.kind<linear>, time = #adapter.time<call>, rows = 4 : i64,
                 columns = 4 : i64, forms = ["lora"], by_token = #adapter.by_token<room>}

// -----

// expected-error @below {{has 'bottlenecks' if it is of kind bottleneck, and only then}}
adapter.site @a {module = "q", parameter = "weight", kind = #adapter.kind<linear>, time = #adapter.time<row>, rows = 4 : i64,
                 columns = 4 : i64, forms = ["lora"], bottlenecks = [#adapter.bottleneck<relu>]}

// -----

// expected-error @below {{'swash' is no activation}}
func.func private @f() attributes {x = #adapter.bottleneck<swash>}

// -----

// expected-error @below {{'norm' is nothing that a bottleneck has}}
func.func private @f() attributes {x = #adapter.bottleneck<relu, norm>}

// -----

// expected-error @below {{a norm's epsilon is above 0}}
func.func private @f() attributes {x = #adapter.bottleneck<relu, epsilon = 0.0>}

// -----

// expected-error @below {{'epsilon' is of norms, which it has not}}
func.func private @f() attributes {x = #adapter.bottleneck<relu, epsilon = 1.0e-6>}

// -----

// expected-error @below {{'residual_first' is about the norm behind the module, which it has not}}
func.func private @f() attributes {x = #adapter.bottleneck<relu, residual_first>}

// -----

// expected-error @below {{'adapter.parameters' is no array of #adapter.row}}
func.func private @f() attributes {adapter.parameters = [["base", "w"]]}
