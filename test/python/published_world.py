# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A graph with a layer of each kind, beside each other, and what NumPy makes of it with any parameters."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from own_forms import real

# For torch's names; the kernel of `conv` is 3 x 3.
SIZES = {
    "one": (10, 16),
    "other": (14, 16),
    "conv": (8, 4, 3, 3),
    "norm": (16,),
    "table": (11, 6),
    "head": (5, 16),
}
ROWS = 6


class World:
    """`params` by torch's names, a `feed` of ROWS rows, and the graph in `path`."""

    def __init__(self, folder, seed=4, stored=lambda name, array: array):
        """`stored` makes of random parameters what they are."""
        rng = self.rng = np.random.default_rng(seed)
        self.folder, self.path = folder, folder / "world.onnx"
        self.params = {f"{name}.weight": real(rng, *size) for name, size in SIZES.items()}
        for name in ("one", "other", "conv", "norm", "head"):
            self.params[f"{name}.bias"] = real(rng, SIZES[name][0])
        self.params = {name: stored(name, array) for name, array in self.params.items()}
        self.feed = {
            "x": real(rng, ROWS, 16),
            "image": real(rng, ROWS, 4, 6, 5),
            "ids": rng.integers(0, SIZES["table"][0], (ROWS, 3)),
        }
        self._save()
        self.plain = self.forward(self.params)

    def _save(self):
        def linear(name):
            inputs = ["x", f"{name}.weight", f"{name}.bias"]
            return helper.make_node("Gemm", inputs, [f"y_{name}"], name=f"/{name}/Gemm", transB=1)

        norm = ["x", "norm.weight", "norm.bias"]
        nodes = [
            *(linear(name) for name in ("one", "other", "head")),
            helper.make_node("Conv", ["image", "conv.weight", "conv.bias"], ["y_conv"], name="/conv/Conv"),
            helper.make_node("LayerNormalization", norm, ["y_norm"], name="/norm/LayerNormalization"),
            helper.make_node("Gather", ["table.weight", "ids"], ["y_table"], name="/table/Gather"),
        ]
        value = helper.make_tensor_value_info
        types = {"ids": TensorProto.INT64}
        inputs = [
            value(name, types.get(name, TensorProto.FLOAT), ["rows", *array.shape[1:]])
            for name, array in self.feed.items()
        ]
        outputs = [
            value(name, TensorProto.FLOAT, ["rows", *array.shape[1:]])
            for name, array in self.forward(self.params).items()
        ]
        constants = [numpy_helper.from_array(each, name) for name, each in self.params.items()]
        graph = helper.make_graph(nodes, "world", inputs, outputs, constants)
        versions = [helper.make_opsetid("", 17)]
        onnx.save(helper.make_model(graph, opset_imports=versions, ir_version=8), self.path)

    def forward(self, params):
        """Outputs by name, in f32 from f64."""
        p = {name: np.asarray(each, np.float64) for name, each in params.items()}
        x = self.feed["x"].astype(np.float64)
        made = {
            f"y_{name}": x @ p[f"{name}.weight"].T + p[f"{name}.bias"] for name in ("one", "other", "head")
        }
        windows = np.lib.stride_tricks.sliding_window_view(
            self.feed["image"].astype(np.float64), (3, 3), (2, 3)
        )
        made["y_conv"] = np.einsum("ncijkl,ockl->noij", windows, p["conv.weight"])
        made["y_conv"] += p["conv.bias"][:, None, None]
        centred = x - x.mean(1, keepdims=True)
        unit = centred / np.sqrt((centred**2).mean(1, keepdims=True) + 1e-5)
        made["y_norm"] = unit * p["norm.weight"] + p["norm.bias"]
        made["y_table"] = p["table.weight"][self.feed["ids"]]
        return {name: each.astype(np.float32) for name, each in made.items()}

    def outputs(self, changed):
        """Outputs with some parameters replaced."""
        assert changed.keys() <= self.params.keys()
        return self.forward(self.params | changed)

    def weight(self, name):
        return self.params[f"{name}.weight"].astype(np.float64)
