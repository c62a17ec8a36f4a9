// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Functions of doubles as arithmetic, of scalars and of vectors: bodies of forms are computed in f64, and upstream has
// polynomials for f32 alone. Errors are a few units in the last place of the result, or of 1 where that is larger (sin,
// cos, erf); sin and cos of more than 2^20 in magnitude lose digits. Products are not fused with sums, which on processors
// without such an instruction is a call of libm.
#include "lib/Codegen/Passes.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/IR/PatternMatch.h"

using namespace mlir;

namespace {

// Arithmetic on values of one type, f64 or a vector of it.
class Writer {
public:
  Writer(OpBuilder &builder, Location loc, Type type) : b(loc, builder), type(type) {}

  Value number(double value) { return constant(type, b.getF64FloatAttr(value)); }
  Value whole(int64_t value) { return constant(integers(), b.getI64IntegerAttr(value)); }
  Value add(Value x, Value y) { return arith::AddFOp::create(b, x, y); }
  Value sub(Value x, Value y) { return arith::SubFOp::create(b, x, y); }
  Value mul(Value x, Value y) { return arith::MulFOp::create(b, x, y); }
  Value div(Value x, Value y) { return arith::DivFOp::create(b, x, y); }
  Value sum(Value x, Value y, Value z) { return add(mul(x, y), z); } // x y + z
  Value neg(Value x) { return arith::NegFOp::create(b, x); }
  Value abs(Value x) { return math::AbsFOp::create(b, x); }
  Value less(Value x, Value y) { return arith::CmpFOp::create(b, arith::CmpFPredicate::OLT, x, y); }
  Value select(Value c, Value x, Value y) { return arith::SelectOp::create(b, c, x, y); }
  Value bits(Value x) { return arith::BitcastOp::create(b, integers(), x); }
  Value fromBits(Value x) { return arith::BitcastOp::create(b, type, x); }
  Value toInteger(Value x) { return arith::FPToSIOp::create(b, integers(), x); }
  Value fromInteger(Value x) { return arith::SIToFPOp::create(b, type, x); }
  Value nearest(Value x) { return math::RoundEvenOp::create(b, x); }
  Value isNaN(Value x) { return arith::CmpFOp::create(b, arith::CmpFPredicate::UNO, x, x); }

  // The polynomial of x with these coefficients, the constant one first.
  Value polynomial(Value x, ArrayRef<double> coefficients) {
    Value result = number(coefficients.back());
    for (double c : llvm::reverse(coefficients.drop_back()))
      result = sum(result, x, number(c));
    return result;
  }
  // 2^k of whole numbers from -1022 to 1023.
  Value powerOfTwo(Value k) {
    return fromBits(arith::ShLIOp::create(b, arith::AddIOp::create(b, k, whole(1023)), whole(52)));
  }

  Value exp(Value x);
  Value log(Value x);
  Value tanh(Value x);
  Value erf(Value x);
  Value wave(Value x, int64_t quarter);

  ImplicitLocOpBuilder b;

private:
  Type integers() {
    auto vector = dyn_cast<VectorType>(type);
    return vector ? Type(vector.clone(b.getI64Type())) : Type(b.getI64Type());
  }
  Value constant(Type of, TypedAttr value) {
    auto vector = dyn_cast<VectorType>(of);
    return arith::ConstantOp::create(b, vector ? TypedAttr(DenseElementsAttr::get(vector, value)) : value);
  }

  Type type;
};

} // namespace

// e^x = 2^k e^r with |r| <= ln 2 / 2; 2^k in two factors, since k alone may lie beyond the exponents.
Value Writer::exp(Value x) {
  Value within = arith::MaximumFOp::create(b, arith::MinimumFOp::create(b, x, number(720.0)), number(-760.0));
  Value safe = select(isNaN(x), number(0.0), within);
  Value k = nearest(mul(safe, number(1.4426950408889634)));
  Value r = sum(k, number(-6.93147180369123816490e-01), safe); // ln 2 in two parts, the first of 33 bits
  r = sum(k, number(-1.90821492927058770002e-10), r);
  SmallVector<double> taylor{1.0};
  for (int n = 1; n <= 14; ++n)
    taylor.push_back(taylor.back() / n);
  Value whole = toInteger(k);
  Value half = arith::ShRSIOp::create(b, whole, this->whole(1));
  Value rest = arith::SubIOp::create(b, whole, half);
  Value result = mul(mul(polynomial(r, taylor), powerOfTwo(half)), powerOfTwo(rest));
  return select(isNaN(x), x, result);
}

// x = 2^e m with m from sqrt(1/2) to sqrt(2): e ln 2 + 2 atanh((m - 1) / (m + 1)).
Value Writer::log(Value x) {
  Value tiny = less(x, number(2.2250738585072014e-308));
  Value normal = select(tiny, mul(x, number(18014398509481984.0)), x); // 2^54
  Value word = bits(normal);
  Value biased = arith::ShRUIOp::create(b, word, whole(52));
  Value mantissa = arith::OrIOp::create(b, arith::AndIOp::create(b, word, whole(0xFFFFFFFFFFFFF)),
                                        whole(0x3FF0000000000000));
  Value m = fromBits(mantissa), e = sub(fromInteger(biased), number(1023.0));
  Value large = less(number(1.4142135623730951), m);
  m = select(large, mul(m, number(0.5)), m);
  e = select(large, add(e, number(1.0)), e);
  e = select(tiny, sub(e, number(54.0)), e);
  Value s = div(sub(m, number(1.0)), add(m, number(1.0))), z = mul(s, s);
  SmallVector<double> series;
  for (int n = 0; n <= 11; ++n)
    series.push_back(2.0 / (2 * n + 1));
  Value result = sum(e, number(6.93147180369123816490e-01),
                     sum(e, number(1.90821492927058770002e-10), mul(s, polynomial(z, series))));
  double infinity = std::numeric_limits<double>::infinity(), none = std::numeric_limits<double>::quiet_NaN();
  result = select(arith::CmpFOp::create(b, arith::CmpFPredicate::OEQ, x, number(infinity)), x, result);
  result =
      select(arith::CmpFOp::create(b, arith::CmpFPredicate::OEQ, x, number(0.0)), number(-infinity), result);
  return select(arith::CmpFOp::create(b, arith::CmpFPredicate::UGE, x, number(0.0)),
                select(isNaN(x), x, result), number(none));
}

// Lambert's continued fraction for small x, (1 - e^-2x) / (1 + e^-2x) beyond.
Value Writer::tanh(Value x) {
  Value z = mul(x, x), fraction = number(19.0);
  for (int n = 17; n >= 1; n -= 2)
    fraction = add(number(n), div(z, fraction));
  Value e = exp(mul(abs(x), number(-2.0)));
  Value far = math::CopySignOp::create(b, div(sub(number(1.0), e), add(number(1.0), e)), x);
  return select(less(abs(x), number(0.6)), div(x, fraction), far);
}

// 2 / sqrt(pi) x e^(-x x) sum_n (2 x x)^n / (2 n + 1)!! for |x| < 2, and Laplace's continued fraction of 1 - erf beyond.
Value Writer::erf(Value x) {
  Value a = abs(x), z = mul(x, x), decay = exp(neg(z));
  constexpr int terms = 40, depth = 60;
  Value series = number(1.0);
  for (int n = terms; n >= 1; --n)
    series = sum(mul(series, z), number(2.0 / (2 * n + 1)), number(1.0));
  Value near = mul(mul(number(1.1283791670955126), a), mul(decay, series));
  Value fraction = a;
  for (int n = depth; n >= 1; --n)
    fraction = add(a, div(number(0.5 * n), fraction));
  Value far = sub(number(1.0), mul(number(0.5641895835477563), div(decay, fraction)));
  Value result = math::CopySignOp::create(b, select(less(a, number(2.0)), near, far), x);
  result = select(less(number(6.5), a), Value(math::CopySignOp::create(b, number(1.0), x)), result);
  return select(isNaN(x), x, result);
}

// sin(x + quarter pi / 2): x = k pi / 2 + r, pi / 2 in three parts of which the first two have 33 bits.
Value Writer::wave(Value x, int64_t quarter) {
  Value k = nearest(mul(x, number(0.6366197723675814)));
  Value r = sum(k, number(-1.57079632673412561417e+00), x);
  r = sum(k, number(-6.07710050630396597660e-11), r);
  r = sum(k, number(-2.02226624879595063154e-21), r);
  Value z = mul(r, r);
  SmallVector<double> sine{1.0}, cosine{1.0};
  for (int n = 1; n <= 9; ++n) {
    sine.push_back(-sine.back() / ((2 * n) * (2 * n + 1)));
    cosine.push_back(-cosine.back() / ((2 * n - 1) * (2 * n)));
  }
  Value s = mul(r, polynomial(z, sine)), c = polynomial(z, cosine);
  // Of what has no whole number of quarters the result is NaN anyway.
  Value bounded =
      arith::MaximumFOp::create(b, arith::MinimumFOp::create(b, k, number(0x1p62)), number(-0x1p62));
  Value turns = arith::AddIOp::create(b, toInteger(select(isNaN(k), number(0.0), bounded)), whole(quarter));
  auto has = [&](int64_t bit) -> Value {
    return arith::CmpIOp::create(b, arith::CmpIPredicate::ne, arith::AndIOp::create(b, turns, whole(bit)),
                                 whole(0));
  };
  Value result = select(has(1), c, s);
  return select(has(2), neg(result), result);
}

namespace {
template <typename Op>
struct Expand final : OpRewritePattern<Op> {
  using Make = Value (*)(Writer &, Value);
  Expand(MLIRContext *context, Make make) : OpRewritePattern<Op>(context), make(make) {}
  LogicalResult matchAndRewrite(Op op, PatternRewriter &rewriter) const override {
    if (!getElementTypeOrSelf(op.getType()).isF64() || isa<TensorType>(op.getType()))
      return failure();
    Writer writer(rewriter, op.getLoc(), op.getType());
    rewriter.replaceOp(op, make(writer, op.getOperand()));
    return success();
  }
  Make make;
};
} // namespace

void adapter::populateMathF64Patterns(RewritePatternSet &patterns) {
  MLIRContext *context = patterns.getContext();
  patterns.add<Expand<math::ExpOp>>(context, [](Writer &w, Value x) { return w.exp(x); });
  patterns.add<Expand<math::LogOp>>(context, [](Writer &w, Value x) { return w.log(x); });
  patterns.add<Expand<math::TanhOp>>(context, [](Writer &w, Value x) { return w.tanh(x); });
  patterns.add<Expand<math::ErfOp>>(context, [](Writer &w, Value x) { return w.erf(x); });
  patterns.add<Expand<math::SinOp>>(context, [](Writer &w, Value x) { return w.wave(x, 0); });
  patterns.add<Expand<math::CosOp>>(context, [](Writer &w, Value x) { return w.wave(x, 1); });
}
