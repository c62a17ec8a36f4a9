// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// DEFT (Decompositional Efficient Fine-Tuning): W' = (I - Q H') W + s Q R: what the outputs have of a few directions is taken away and put there
// anew; without R (`para`) it is taken away alone. H is P with its negative elements as zeros and Q is P
// (`decomposition` 0), or both are the orthogonal factor of P (1). The bias stays. PEFT: deft.
adapter.form @deft for [linear]
    roles(%P "P" : "out, r", %R "R" : "r, cols" optional)
    scalars(%s "scale" = 1.0)
    attributes(%how "decomposition" = 0) {
  %c0 = arith.constant 0 : index
  %zero = arith.constant 0.0 : f64
  %out = adapter.symbol "out"
  %r = adapter.symbol "r"
  %orthogonal = arith.cmpi ne, %how, %c0 : index
  %Q = scf.if %orthogonal -> tensor<?x?xf64> {
    %q = func.call @orthogonal_factor(%P) : (tensor<?x?xf64>) -> tensor<?x?xf64>
    scf.yield %q : tensor<?x?xf64>
  } else {
    scf.yield %P : tensor<?x?xf64>
  }
  %H = scf.if %orthogonal -> tensor<?x?xf64> {
    scf.yield %Q : tensor<?x?xf64>
  } else {
    %h = tensor.generate %out, %r {
    ^bb0(%o: index, %i: index):
      %x = tensor.extract %P[%o, %i] : tensor<?x?xf64>
      %y = arith.maximumf %x, %zero : f64
      tensor.yield %y : f64
    } : tensor<?x?xf64>
    scf.yield %h : tensor<?x?xf64>
  }
  %less = arith.negf %Q : tensor<?x?xf64>
  %Ht = func.call @transposed(%H) : (tensor<?x?xf64>) -> tensor<?x?xf64>
  %1 = adapter.matrix %less : tensor<?x?xf64>
  %2 = adapter.matrix %Ht : tensor<?x?xf64>
  %taken = adapter.chain %1, %2
  %same = adapter.identity
  %m = adapter.plus %same, %taken
  %u = adapter.left %m
  %w = adapter.if_given %R : tensor<?x?xf64> -> !adapter.update<tensor<?x?xf64>> {
    %3 = adapter.matrix %Q : tensor<?x?xf64>
    %4 = adapter.matrix %R : tensor<?x?xf64>
    %put = adapter.chain %3, %4
    %v = adapter.add %put scale %s
    %both = adapter.compose %u, %v : !adapter.update<tensor<?x?xf64>>
    adapter.yield %both : !adapter.update<tensor<?x?xf64>>
  } else {
    adapter.yield %u : !adapter.update<tensor<?x?xf64>>
  }
  adapter.yield %w : !adapter.update<tensor<?x?xf64>>
}
