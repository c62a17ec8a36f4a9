// RUN: adapter-opt %s --split-input-file --verify-diagnostics

// expected-error @+1 {{holds something else than adapter.attached}}
adapter.attachment "sql" at <build> attributes {hash = "0123", scale = 1.0 : f64} {
  %w = adapter.parameter "base"::"w" : tensor<4xf32>
}

// -----

// expected-error @+1 {{'adapter.attached' op expects parent op 'adapter.attachment'}}
adapter.attached "q" "weight" {form = "lora", node = "n", evidence = "names"}

// -----

// expected-error @+1 {{requires attribute 'hash'}}
adapter.attachment "sql" at <build> attributes {scale = 1.0 : f64} {
}
