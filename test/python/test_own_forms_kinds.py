# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Forms of users on what is not a linear: weights of convolutions, tables of embeddings and vectors, seen as
[out, cols]."""

import numpy as np
import onnx
import own_forms
import product
import pytest
from onnx import TensorProto, helper, numpy_helper
from own_forms import END, real
from tolerance import assert_agrees

ao = product.package()
TABLE, TAPS, LENGTH = (11, 6), (7, 4, 3, 2), 6
FORM = f"""
adapter.form @everywhere for [linear, convolution, embedding, vector]
    roles(%l "l" : "out", %r "r" : "(cols)", %A "A" : "out, cols", %V "V" : "weight",
          %i "at" : "coordinates", %e "e" : "n") {{
  %left = adapter.diagonal %l : tensor<?xf64>
  %right = adapter.diagonal %r : tensor<?xf64>
  %a = adapter.matrix %A : tensor<?x?xf64>
  %v = adapter.matrix %V : tensor<?x?xf64>
  %m = adapter.chain %left, %a, %right
  %out = adapter.symbol "out"
  %cols = adapter.symbol "cols"
  %few = adapter.gather %i, %e of %out, %cols : tensor<?x?xi64>, tensor<?xf64>
  %both = adapter.plus %m, %v, %few
  %u = adapter.add %both
  {END}
}}"""


def places(rng, shape):
    """Of four elements, ascending."""
    at = np.sort(rng.choice(int(np.prod(shape)), 4, replace=False))
    return np.stack(np.unravel_index(at, shape)).astype(np.int64)


class Kinds:
    def __init__(self, folder):
        rng = np.random.default_rng(5)
        self.folder, self.graph = folder, folder / "kinds.onnx"
        self.weights = {"table": real(rng, *TABLE), "conv": real(rng, *TAPS), "norm": real(rng, LENGTH)}
        self.feed = {"ids": rng.integers(0, TABLE[0], (4, 3)), "image": real(rng, 4, 4, 5, 5)}
        nodes = [
            helper.make_node("Gather", ["table.weight", "ids"], ["e"], name="/table/Gather"),
            helper.make_node("LayerNormalization", ["e", "norm.weight"], ["y"], name="/norm/LayerNorm"),
            helper.make_node("Conv", ["image", "conv.weight"], ["z"], name="/conv/Conv"),
        ]
        value = helper.make_tensor_value_info
        graph = helper.make_graph(
            nodes,
            "kinds",
            [
                value("ids", TensorProto.INT64, ["rows", 3]),
                value("image", TensorProto.FLOAT, ["rows", 4, 5, 5]),
            ],
            [
                value("y", TensorProto.FLOAT, ["rows", 3, 6]),
                value("z", TensorProto.FLOAT, ["rows", 7, 3, 4]),
            ],
            [numpy_helper.from_array(each, f"{name}.weight") for name, each in self.weights.items()],
        )
        versions = [helper.make_opsetid("", 17)]
        onnx.save(helper.make_model(graph, opset_imports=versions, ir_version=8), self.graph)
        self.forms = folder / "forms.mlir"
        self.forms.write_text(FORM)
        # (out, cols) and the axes of "cols" in a checkpoint; A has those of its own.
        sizes = {"table": (6, (11,)), "conv": (7, (4, 3, 2)), "norm": (6, (1,))}
        self.tensors = {
            name: {
                "l": real(rng, out),
                "r": real(rng, int(np.prod(cols))),
                "A": real(rng, out, *cols),
                "V": real(rng, *self.weights[name].shape),
                "at": places(rng, self.weights[name].shape),
                "e": real(rng, 4),
            }
            for name, (out, cols) in sizes.items()
        }
        self.adapter = own_forms.save(folder / "x", "everywhere", self.tensors)

    def wanted(self, name):
        W, t = self.weights[name].astype(np.float64), self.tensors[name]
        change = t["l"][:, None] * t["A"].reshape(len(t["l"]), -1) * t["r"]
        seen = change.T if name == "table" else change.reshape(W.shape)
        few = np.zeros_like(W)
        few[tuple(t["at"])] = t["e"]
        return (W + t["V"] + seen + few).astype(np.float32)


@pytest.fixture(scope="module")
def kinds(tmp_path_factory):
    return Kinds(tmp_path_factory.mktemp("kinds"))


@pytest.fixture(scope="module")
def merged(kinds):
    path = kinds.folder / "merged.onnx"
    product.opt(kinds.graph, "--forms", kinds.forms, "--adapter", f"x={kinds.adapter}", "-o", path)
    return path


@pytest.mark.parametrize("name", ["table", "conv", "norm"])
def test_merged_weights_are_the_formula(kinds, merged, name):
    made = {each.name: numpy_helper.to_array(each) for each in onnx.load(merged).graph.initializer}
    assert_agrees(made[f"{name}.weight"], kinds.wanted(name), kinds.weights[name], tolerance=1e-6)


@pytest.mark.parametrize("time", ["build", "switch", "call", "row"])
def test_acts_alike_at_every_time(kinds, merged, time):
    import onnxruntime

    wanted = onnxruntime.InferenceSession(merged).run(None, kinds.feed)
    plain = onnxruntime.InferenceSession(kinds.graph).run(None, kinds.feed)
    path = kinds.folder / f"{time}.adapt"
    product.opt(kinds.graph, "--forms", kinds.forms, "--adapter", f"x={kinds.adapter}@{time}", "-o", path)
    with ao.Model(path) as model:
        if time == "switch":
            model.switch("x")
        got = model(kinds.feed, adapters={"row": ["x", None] * 2, "call": "x"}.get(time))
    for key, changed, base in zip(("y", "z"), wanted, plain, strict=True):
        rows = slice(0, None, 2) if time == "row" else slice(None)
        assert_agrees(got[key][rows], changed[rows], base[rows])
        if time == "row":
            assert_agrees(got[key][1::2], base[1::2])
