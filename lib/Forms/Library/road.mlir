// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// RoAd (arXiv 2409.00119): W' = R W and b' = R b, of which R turns pairs of outputs, half a group apart, and scales them:
// (R y)_i = c_i y_i - t_i y_(i + half) in a group's first half, c_i y_i + t_i y_(i - half) in its second, with
// c = alpha cos(theta) and t = alpha sin(theta). Variants 1, 2 and 4 have a pair of numbers for two outputs, for each, and
// two pairs for each. PEFT: road.
adapter.form @road for [linear]
    roles(%theta "theta" : "n", %alpha "alpha" : "n")
    attributes(%variant "variant" = 1, %group "group_size" = 64)
    where("half = group_size div 2")
    requires("variant == 1 or variant == 2 or variant == 4", "group_size == 2 * half", "half >= 1",
             "out mod group_size == 0", "2 * n == variant * out") {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c4 = arith.constant 4 : index
  %n = adapter.symbol "n"
  %out = adapter.symbol "out"
  %half = adapter.symbol "half"
  %isOne = arith.cmpi eq, %variant, %c1 : index
  %isFour = arith.cmpi eq, %variant, %c4 : index
  // Where an output's first pair stands, and how far behind it the second, for each of the variants.
  %twice = arith.addi %group, %group : index
  %again = arith.select %isFour, %group, %c0 : index
  %first = tensor.generate %out {
  ^bb0(%i: index):
    %g = arith.divui %i, %group : index
    %at = arith.remui %i, %group : index
    %pair = arith.remui %at, %half : index
    %g1 = arith.muli %g, %half : index
    %one = arith.addi %g1, %pair : index
    %g4 = arith.muli %g, %twice : index
    %four = arith.addi %g4, %at : index
    %x = arith.select %isFour, %four, %i : index
    %y = arith.select %isOne, %one, %x : index
    %z = arith.index_cast %y : index to i64
    tensor.yield %z : i64
  } : tensor<?xi64>
  %cosines = tensor.generate %out {
  ^bb0(%i: index):
    %p = tensor.extract %first[%i] : tensor<?xi64>
    %at = arith.index_cast %p : i64 to index
    %angle = tensor.extract %theta[%at] : tensor<?xf64>
    %length = tensor.extract %alpha[%at] : tensor<?xf64>
    %c = math.cos %angle : f64
    %x = arith.mulf %length, %c : f64
    tensor.yield %x : f64
  } : tensor<?xf64>
  %sines = tensor.generate %out {
  ^bb0(%i: index):
    %p = tensor.extract %first[%i] : tensor<?xi64>
    %before = arith.index_cast %p : i64 to index
    %at = arith.addi %before, %again : index
    %angle = tensor.extract %theta[%at] : tensor<?xf64>
    %length = tensor.extract %alpha[%at] : tensor<?xf64>
    %c = math.sin %angle : f64
    %x = arith.mulf %length, %c : f64
    %less = arith.negf %x : f64
    %in = arith.remui %i, %group : index
    %isFirst = arith.cmpi ult, %in, %half : index
    %y = arith.select %isFirst, %less, %x : f64
    tensor.yield %y : f64
  } : tensor<?xf64>
  %partner = tensor.generate %out {
  ^bb0(%i: index):
    %in = arith.remui %i, %group : index
    %isFirst = arith.cmpi ult, %in, %half : index
    %on = arith.addi %i, %half : index
    %back = arith.subi %i, %half : index
    %x = arith.select %isFirst, %on, %back : index
    %y = arith.index_cast %x : index to i64
    tensor.yield %y : i64
  } : tensor<?xi64>
  %c = adapter.diagonal %cosines : tensor<?xf64>
  %t = adapter.diagonal %sines : tensor<?xf64>
  %swap = adapter.permute %partner : tensor<?xi64>
  %turned = adapter.chain %t, %swap
  %m = adapter.plus %c, %turned
  %u = adapter.left %m
  %b = adapter.bias : tensor<?xf64>
  %swapped = tensor.generate %out {
  ^bb0(%i: index):
    %p = tensor.extract %partner[%i] : tensor<?xi64>
    %at = arith.index_cast %p : i64 to index
    %x = tensor.extract %b[%at] : tensor<?xf64>
    tensor.yield %x : f64
  } : tensor<?xf64>
  %cb = arith.mulf %cosines, %b : tensor<?xf64>
  %tb = arith.mulf %sines, %swapped : tensor<?xf64>
  %new = arith.addf %cb, %tb : tensor<?xf64>
  adapter.yield %u, %new : !adapter.update<tensor<?x?xf64>>, tensor<?xf64>
}
