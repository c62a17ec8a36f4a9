// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// WaveFT (arXiv 2505.12532): W' = W + s idwt2(F), one level of an orthogonal wavelet over few coefficients at places that
// a seed gives. F is [out, in] with `padding` rows and columns more, in its middle, each made even; its quarters are the
// approximation, and what is high along rows, along columns and along both. `low` is the low-pass filter of
// reconstruction; the high-pass one is its alternating reverse. PEFT: waveft with use_idwt.
adapter.form @waveft for [linear]
    roles(%c "spectrum" : "n", %i "indices" : "n" index, %low "low" : "l")
    scalars(%s "scale" = 1.0)
    attributes(%padding "padding" = 0)
    where("tall = (out + padding + 1) div 2", "wide = (cols + padding + 1) div 2")
    requires("l >= 2", "l mod 2 == 0", "padding == l - 2") {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c2 = arith.constant 2 : index
  %zero = arith.constant 0.0 : f64
  %n = adapter.symbol "n"
  %l = adapter.symbol "l"
  %out = adapter.symbol "out"
  %cols = adapter.symbol "cols"
  %tall = adapter.symbol "tall"
  %wide = adapter.symbol "wide"
  %last = arith.subi %l, %c1 : index
  %high = tensor.generate %l {
  ^bb0(%k: index):
    %at = arith.subi %last, %k : index
    %x = tensor.extract %low[%at] : tensor<?xf64>
    %less = arith.negf %x : f64
    %parity = arith.remui %k, %c2 : index
    %isEven = arith.cmpi eq, %parity, %c0 : index
    %y = arith.select %isEven, %x, %less : f64
    tensor.yield %y : f64
  } : tensor<?xf64>
  // Before the coefficients, and before the reconstruction's own part of what it makes.
  %rows = arith.addi %tall, %tall : index
  %columns = arith.addi %wide, %wide : index
  %moreRows = arith.subi %rows, %out : index
  %moreColumns = arith.subi %columns, %cols : index
  %top = arith.divui %moreRows, %c2 : index
  %left = arith.divui %moreColumns, %c2 : index
  %cut = arith.subi %l, %c2 : index
  %empty = tensor.splat %zero[%out, %cols] : tensor<?x?xf64>
  %d = scf.for %k = %c0 to %n step %c1 iter_args(%t = %empty) -> tensor<?x?xf64> {
    %flat64 = tensor.extract %i[%k] : tensor<?xi64>
    %flat = arith.index_cast %flat64 : i64 to index
    %u = arith.divsi %flat, %cols : index
    %v = arith.remsi %flat, %cols : index
    %row = arith.addi %u, %top : index
    %column = arith.addi %v, %left : index
    %isLow = arith.cmpi uge, %row, %tall : index
    %isRight = arith.cmpi uge, %column, %wide : index
    %row1 = arith.subi %row, %tall : index
    %column1 = arith.subi %column, %wide : index
    %p = arith.select %isLow, %row1, %row : index
    %q = arith.select %isRight, %column1, %column : index
    %p2 = arith.addi %p, %p : index
    %q2 = arith.addi %q, %q : index
    %x = tensor.extract %c[%k] : tensor<?xf64>
    %t1 = scf.for %a = %c0 to %l step %c1 iter_args(%y = %t) -> tensor<?x?xf64> {
      %lowRow = tensor.extract %low[%a] : tensor<?xf64>
      %highRow = tensor.extract %high[%a] : tensor<?xf64>
      %f = arith.select %isRight, %highRow, %lowRow : f64
      %xf = arith.mulf %x, %f : f64
      %o0 = arith.addi %p2, %a : index
      %o = arith.subi %o0, %cut : index
      %y1 = scf.for %b = %c0 to %l step %c1 iter_args(%z = %y) -> tensor<?x?xf64> {
        %lowColumn = tensor.extract %low[%b] : tensor<?xf64>
        %highColumn = tensor.extract %high[%b] : tensor<?xf64>
        %g = arith.select %isLow, %highColumn, %lowColumn : f64
        %xfg = arith.mulf %xf, %g : f64
        %i0 = arith.addi %q2, %b : index
        %in = arith.subi %i0, %cut : index
        // What lies outside is negative, and so very large, or beyond.
        %inRow = arith.cmpi ult, %o, %out : index
        %inColumn = arith.cmpi ult, %in, %cols : index
        %inside = arith.andi %inRow, %inColumn : i1
        %safeO = arith.select %inside, %o, %c0 : index
        %safeI = arith.select %inside, %in, %c0 : index
        %e = arith.select %inside, %xfg, %zero : f64
        %before = tensor.extract %z[%safeO, %safeI] : tensor<?x?xf64>
        %sum = arith.addf %before, %e : f64
        %z1 = tensor.insert %sum into %z[%safeO, %safeI] : tensor<?x?xf64>
        scf.yield %z1 : tensor<?x?xf64>
      }
      scf.yield %y1 : tensor<?x?xf64>
    }
    scf.yield %t1 : tensor<?x?xf64>
  }
  %m = adapter.matrix %d : tensor<?x?xf64>
  %update = adapter.add %m scale %s
  adapter.yield %update : !adapter.update<tensor<?x?xf64>>
}
