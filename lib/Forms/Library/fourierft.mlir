// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// FourierFT (arXiv 2405.03003): W' = W + s Re(ifft2(F)) with few coefficients in F, at places that a seed gives. Of each
// column of F that holds any, the real part is a product of a column and a row for its cosines and for its sines. PEFT:
// fourierft.
adapter.form @fourierft for [linear]
    roles(%c "spectrum" : "n", %i "indices" : "n" index)
    scalars(%s "scale" = 1.0) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %zero = arith.constant 0.0 : f64
  %free = arith.constant -1 : i64
  %n = adapter.symbol "n"
  %out = adapter.symbol "out"
  %cols = adapter.symbol "cols"
  // The columns that hold coefficients, numbered in the order in which they come.
  %none = tensor.splat %free[%cols] : tensor<?xi64>
  %numbers:2 = scf.for %k = %c0 to %n step %c1 iter_args(%t = %none, %count = %c0) -> (tensor<?xi64>, index) {
    %flat64 = tensor.extract %i[%k] : tensor<?xi64>
    %flat = arith.index_cast %flat64 : i64 to index
    %v = arith.remsi %flat, %cols : index
    %before = tensor.extract %t[%v] : tensor<?xi64>
    %isNew = arith.cmpi eq, %before, %free : i64
    %next64 = arith.index_cast %count : index to i64
    %number = arith.select %isNew, %next64, %before : i64
    %t1 = tensor.insert %number into %t[%v] : tensor<?xi64>
    %more = arith.addi %count, %c1 : index
    %count1 = arith.select %isNew, %more, %count : index
    scf.yield %t1, %count1 : tensor<?xi64>, index
  }
  %r = arith.addi %numbers#1, %numbers#1 : index
  %cosOut = func.call @cosines(%out) : (index) -> tensor<?xf64>
  %sinOut = func.call @sines(%out) : (index) -> tensor<?xf64>
  %cosIn = func.call @cosines(%cols) : (index) -> tensor<?xf64>
  %sinIn = func.call @sines(%cols) : (index) -> tensor<?xf64>
  %empty = tensor.splat %zero[%r, %out] : tensor<?x?xf64>
  %upT = scf.for %k = %c0 to %n step %c1 iter_args(%t = %empty) -> tensor<?x?xf64> {
    %flat64 = tensor.extract %i[%k] : tensor<?xi64>
    %flat = arith.index_cast %flat64 : i64 to index
    %u = arith.divsi %flat, %cols : index
    %v = arith.remsi %flat, %cols : index
    %number64 = tensor.extract %numbers#0[%v] : tensor<?xi64>
    %number = arith.index_cast %number64 : i64 to index
    %even = arith.addi %number, %number : index
    %odd = arith.addi %even, %c1 : index
    %x = tensor.extract %c[%k] : tensor<?xf64>
    %t1 = scf.for %o = %c0 to %out step %c1 iter_args(%a = %t) -> tensor<?x?xf64> {
      %turns = arith.muli %u, %o : index
      %at = arith.remui %turns, %out : index
      %cos = tensor.extract %cosOut[%at] : tensor<?xf64>
      %sin = tensor.extract %sinOut[%at] : tensor<?xf64>
      %p = arith.mulf %x, %cos : f64
      %q = arith.mulf %x, %sin : f64
      %y = tensor.extract %a[%even, %o] : tensor<?x?xf64>
      %z = tensor.extract %a[%odd, %o] : tensor<?x?xf64>
      %yp = arith.addf %y, %p : f64
      %zq = arith.subf %z, %q : f64
      %a1 = tensor.insert %yp into %a[%even, %o] : tensor<?x?xf64>
      %a2 = tensor.insert %zq into %a1[%odd, %o] : tensor<?x?xf64>
      scf.yield %a2 : tensor<?x?xf64>
    }
    scf.yield %t1 : tensor<?x?xf64>
  }
  %up = func.call @transposed(%upT) : (tensor<?x?xf64>) -> tensor<?x?xf64>
  %elements = arith.muli %out, %cols : index
  %elements64 = arith.index_cast %elements : index to i64
  %size = arith.sitofp %elements64 : i64 to f64
  %blank = tensor.splat %zero[%r, %cols] : tensor<?x?xf64>
  %down = scf.for %v = %c0 to %cols step %c1 iter_args(%t = %blank) -> tensor<?x?xf64> {
    %number64 = tensor.extract %numbers#0[%v] : tensor<?xi64>
    %isThere = arith.cmpi ne, %number64, %free : i64
    %number = arith.index_cast %number64 : i64 to index
    %even = arith.addi %number, %number : index
    %odd = arith.addi %even, %c1 : index
    %end = arith.select %isThere, %cols, %c0 : index
    %t1 = scf.for %o = %c0 to %end step %c1 iter_args(%a = %t) -> tensor<?x?xf64> {
      %turns = arith.muli %v, %o : index
      %at = arith.remui %turns, %cols : index
      %cos = tensor.extract %cosIn[%at] : tensor<?xf64>
      %sin = tensor.extract %sinIn[%at] : tensor<?xf64>
      %p = arith.divf %cos, %size : f64
      %q = arith.divf %sin, %size : f64
      %a1 = tensor.insert %p into %a[%even, %o] : tensor<?x?xf64>
      %a2 = tensor.insert %q into %a1[%odd, %o] : tensor<?x?xf64>
      scf.yield %a2 : tensor<?x?xf64>
    }
    scf.yield %t1 : tensor<?x?xf64>
  }
  %b = adapter.matrix %up : tensor<?x?xf64>
  %a = adapter.matrix %down : tensor<?x?xf64>
  %m = adapter.chain %b, %a
  %update = adapter.add %m scale %s
  adapter.yield %update : !adapter.update<tensor<?x?xf64>>
}
