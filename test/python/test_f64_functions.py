# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Functions of doubles in bodies of forms (kernel-expand-math) against NumPy: a form puts in the weight's
place the difference from a reference in two float32 parts, times 1e12, so that it shows errors of 1e-19."""

import math

import numpy as np
import onnx
import own_forms
import product
import pytest
from own_linears import Linears

FORM = """adapter.form @errors for [linear]
    roles(%x "x" : "out, cols", %hi "hi" : "out, cols", %lo "lo" : "out, cols") {{
  %huge = arith.constant 1.0e12 : f64
  %y = math.{function} %x : tensor<?x?xf64>
  %d = arith.subf %y, %hi : tensor<?x?xf64>
  %e = arith.subf %d, %lo : tensor<?x?xf64>
  %s = func.call @scaled(%e, %huge) : (tensor<?x?xf64>, f64) -> tensor<?x?xf64>
  %u = adapter.replace %s : tensor<?x?xf64> -> !adapter.update<tensor<?x?xf64>>
  adapter.yield %u : !adapter.update<tensor<?x?xf64>>
}}
"""
# The function, where it is looked at, and the error that is let pass, as a part of 1 or of the result.
CASES = {
    "sin": (np.sin, (-300, 300), 1.0),
    "cos": (np.cos, (-300, 300), 1.0),
    "exp": (np.exp, (-80, 80), 0.0),
    "log": (lambda x: np.log(np.abs(x)), (1e-30, 1e30), 1.0),
    "tanh": (np.tanh, (-25, 25), 0.0),
    "erf": (np.vectorize(math.erf), (-7, 7), 1.0),
}


@pytest.mark.parametrize("function", CASES)
def test_agrees_with_numpy(tmp_path, function):
    reference, (low, high), one = CASES[function]
    model = Linears(tmp_path / "model.onnx", 40, (50, 30), seed=1)
    tensors, points = {}, {}
    for i, (name, W) in enumerate(model.weights.items()):
        rng = np.random.default_rng(i)
        logarithmic = function == "log" or i == 1
        bound = math.log10(high)
        x = 10.0 ** rng.uniform(-12 if function != "log" else -30, bound, W.shape) if logarithmic else None
        x = np.float32(x if logarithmic else rng.uniform(low, high, W.shape))
        x[0, :3] = [1.0, 0.5, 2.0]
        y = reference(x.astype(np.float64))
        hi = y.astype(np.float32)
        tensors[name] = {"x": x, "hi": hi, "lo": (y - hi).astype(np.float32)}
        points[name] = y
    folder = own_forms.save(tmp_path / "x", "errors", tensors)
    (tmp_path / "errors.mlir").write_text(FORM.format(function=function))
    merged = tmp_path / "merged.onnx"
    product.opt(model.path, "--forms", tmp_path / "errors.mlir", "--adapter", f"x={folder}", "-o", merged)
    weights = {w.name: onnx.numpy_helper.to_array(w) for w in onnx.load(merged).graph.initializer}
    for name, y in points.items():
        got = weights[f"{name}.weight"] if name == "one" else weights[f"{name}.weight"].T
        # What two float32 parts leave of the reference is 2^-48 of it, or the least that a float32 holds.
        errors = np.abs(got.astype(float)) * 1e-12
        assert (errors <= 1e-15 * (one + np.abs(y)) + np.abs(y) * 2.0**-47 + 1e-44).all(), errors.max()
