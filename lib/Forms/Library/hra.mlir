// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// HRA (arXiv 2405.17484): W' = W times the reflections I - 2 u u' / |u|^2 of the columns of U in their order; with
// `apply_GS` of their orthogonal columns, I - 2 Q Q'. PEFT: hra.
adapter.form @hra for [linear, convolution]
    roles(%U "U" : "(cols), r")
    attributes(%gs "apply_GS" = 0)
    requires("groups == 1") {
  %c0 = arith.constant 0 : index
  %orthogonal = arith.cmpi ne, %gs, %c0 : index
  %V = scf.if %orthogonal -> tensor<?x?xf64> {
    %q = func.call @gram_schmidt(%U) : (tensor<?x?xf64>) -> tensor<?x?xf64>
    scf.yield %q : tensor<?x?xf64>
  } else {
    %v = func.call @unit_columns(%U) : (tensor<?x?xf64>) -> tensor<?x?xf64>
    scf.yield %v : tensor<?x?xf64>
  }
  %Vt = func.call @transposed(%V) : (tensor<?x?xf64>) -> tensor<?x?xf64>
  %G = func.call @matmul(%Vt, %V) : (tensor<?x?xf64>, tensor<?x?xf64>) -> tensor<?x?xf64>
  %T = func.call @reflections(%G) : (tensor<?x?xf64>) -> tensor<?x?xf64>
  %VT = func.call @matmul(%V, %T) : (tensor<?x?xf64>, tensor<?x?xf64>) -> tensor<?x?xf64>
  %less = arith.negf %VT : tensor<?x?xf64>
  %up = adapter.matrix %less : tensor<?x?xf64>
  %down = adapter.matrix %Vt : tensor<?x?xf64>
  %change = adapter.chain %up, %down
  %same = adapter.identity
  %m = adapter.plus %same, %change
  %u = adapter.right %m
  adapter.yield %u : !adapter.update<tensor<?x?xf64>>
}
