// RUN: adapter-opt %s --split-input-file --verify-diagnostics

// expected-error @below {{custom op 'adapter.form' expected linear, embedding, convolution or vector}}
adapter.form @kind for [attention] {
}

// -----

// expected-error @below {{custom op 'adapter.form' of the sizes 'r, (cols', '(cols' has '' where ')' is expected}}
adapter.form @sizes for [linear] roles(%A "A" : "r, (cols") {
}

// -----

// expected-error @below {{the sizes '1.., r, c..' have two that take any number of axes}}
adapter.form @many for [linear] roles(%A "A" : "1.., r, c..") {
}

// -----

// expected-error @below {{the sizes 'a | 1, b | 1' have two sizes with a choice ('|')}}
adapter.form @choices for [linear] roles(%A "A" : "a | 1, b | 1") {
}

// -----

// expected-error @below {{'adapter.form' op acts on no kind of parameter}}
adapter.form @none for [] {
  %m = adapter.identity
  %u = adapter.left %m
  adapter.yield %u : !adapter.update<tensor<?x?xf64>>
}

// -----

// expected-error @below {{'adapter.form' op says the role 'A' twice}}
adapter.form @twice for [linear] roles(%A "A" : "out, cols", %B "A" : "out, cols") {
  %m = adapter.matrix %A : tensor<?x?xf64>
  %u = adapter.add %m
  adapter.yield %u : !adapter.update<tensor<?x?xf64>>
}

// -----

// expected-error @below {{says the scalar 'A' twice, or as a role too}}
adapter.form @scalar for [linear] roles(%A "A" : "out, cols") scalars(%s "A") {
  %m = adapter.matrix %A : tensor<?x?xf64>
  %u = adapter.add %m
  adapter.yield %u : !adapter.update<tensor<?x?xf64>>
}

// -----

// A symbol that stands in an expression only is never found out.
// expected-error @below {{the role 'A' reads 'k', which nothing binds: a size of a tensor that is 'k' alone, an attribute or a definition must}}
adapter.form @unbound for [linear] roles(%A "A" : "out, 2 * k") {
  %m = adapter.matrix %A : tensor<?x?xf64>
  %u = adapter.add %m
  adapter.yield %u : !adapter.update<tensor<?x?xf64>>
}

// -----

// expected-error @below {{the attribute 'out' has the name of another symbol}}
adapter.form @attribute for [linear] roles(%A "A" : "out, cols") attributes(%n "out") {
  %m = adapter.matrix %A : tensor<?x?xf64>
  %u = adapter.add %m
  adapter.yield %u : !adapter.update<tensor<?x?xf64>>
}

// -----

// expected-error @below {{'b cols' is not a definition, like "b = cols / blocks"}}
adapter.form @definition for [linear] roles(%A "A" : "out, cols") where("b cols") {
  %m = adapter.matrix %A : tensor<?x?xf64>
  %u = adapter.add %m
  adapter.yield %u : !adapter.update<tensor<?x?xf64>>
}

// -----

// expected-error @below {{the requirement 'k > 1' reads 'k', which nothing binds}}
adapter.form @requirement for [linear] roles(%A "A" : "out, cols") requires("k > 1") {
  %m = adapter.matrix %A : tensor<?x?xf64>
  %u = adapter.add %m
  adapter.yield %u : !adapter.update<tensor<?x?xf64>>
}

// -----

// expected-error @below {{has a choice of 'A', which is not an optional tensor of it}}
adapter.form @choice for [linear] roles(%A "A" : "out, cols", %B "B" : "out, cols" optional) choice("A | B") {
  %m = adapter.matrix %A : tensor<?x?xf64>
  %u = adapter.add %m
  adapter.yield %u : !adapter.update<tensor<?x?xf64>>
}

// -----

// expected-error @below {{'A' leaves no choice, like "w | w_a, w_b" does}}
adapter.form @no_choice for [linear] roles(%A "A" : "out, cols" optional) choice("A") {
  %m = adapter.identity
  %u = adapter.left %m
  adapter.yield %u : !adapter.update<tensor<?x?xf64>>
}

// -----

adapter.form @symbol for [linear] roles(%A "A" : "out, cols") {
  // expected-error @below {{'adapter.symbol' op reads 'rank', which the form does not bind}}
  %r = adapter.symbol "rank"
  %m = adapter.matrix %A : tensor<?x?xf64>
  %u = adapter.add %m
  adapter.yield %u : !adapter.update<tensor<?x?xf64>>
}

// -----

adapter.form @optional for [linear] roles(%A "A" : "out, cols" optional) {
  // expected-error @below {{'adapter.matrix' op uses the optional tensor 'A' outside of an adapter.if_given of it}}
  %m = adapter.matrix %A : tensor<?x?xf64>
  %u = adapter.add %m
  adapter.yield %u : !adapter.update<tensor<?x?xf64>>
}

// -----

// Without a choice, nothing says that B is there where A is not.
adapter.form @other for [linear] roles(%A "A" : "out, cols" optional, %B "B" : "out, cols" optional) {
  %x = adapter.if_given %A : tensor<?x?xf64> -> tensor<?x?xf64> {
    adapter.yield %A : tensor<?x?xf64>
  } else {
    // expected-error @below {{'adapter.yield' op uses the optional tensor 'B' outside of an adapter.if_given of it}}
    adapter.yield %B : tensor<?x?xf64>
  }
  %m = adapter.matrix %x : tensor<?x?xf64>
  %u = adapter.add %m
  adapter.yield %u : !adapter.update<tensor<?x?xf64>>
}

// -----

adapter.form @asked for [linear] roles(%A "A" : "out, cols") {
  // expected-error @below {{'adapter.if_given' op asks for what is not an optional tensor of the form}}
  %x = adapter.if_given %A : tensor<?x?xf64> -> tensor<?x?xf64> {
    adapter.yield %A : tensor<?x?xf64>
  } else {
    adapter.yield %A : tensor<?x?xf64>
  }
  %m = adapter.matrix %x : tensor<?x?xf64>
  %u = adapter.add %m
  adapter.yield %u : !adapter.update<tensor<?x?xf64>>
}

// -----

// expected-error @below {{needs a body that ends in adapter.yield of an '!adapter.update<tensor<?x?xf64>>' and, where it makes one, a bias}}
adapter.form @yield for [linear] roles(%A "A" : "out, cols") {
  adapter.yield %A : tensor<?x?xf64>
}

// -----

adapter.form @bias for [linear] roles(%A "A" : "out, cols") {
  %m = adapter.matrix %A : tensor<?x?xf64>
  %u = adapter.add %m
  // expected-error @below {{'adapter.yield' op yields a bias of type 'tensor<?x?xf64>'; expected tensor<?xf64>}}
  adapter.yield %u, %A : !adapter.update<tensor<?x?xf64>>, tensor<?x?xf64>
}

// -----

func.func @outside() {
  // expected-error @below {{'adapter.symbol' op stands in the body of an adapter.form alone}}
  %r = adapter.symbol "out"
  return
}

// -----

func.func @outside() -> tensor<?x?xf64> {
  // expected-error @below {{'adapter.weight' op stands in the body of an adapter.form alone}}
  %w = adapter.weight : tensor<?x?xf64>
  return %w : tensor<?x?xf64>
}

// -----

func.func @shuffle(%a: index) {
  // expected-error @below {{'adapter.shuffle' op needs a permutation of its 2 dimensions}}
  %m = adapter.shuffle %a, %a by [0, 0]
  return
}

// -----

func.func @chain() {
  // expected-error @below {{'adapter.chain' op needs maps; adapter.identity is the one without}}
  %m = adapter.chain
  return
}

// -----

func.func @plus() {
  // expected-error @below {{'adapter.plus' op needs maps to add up}}
  %m = adapter.plus
  return
}
