# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A graph of two residual blocks with a head, named as timm names a vision transformer's, and what NumPy
makes of it with any parameters and modules in it."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from own_forms import real

WIDTH, BLOCKS, CLASSES, ROWS, TOKENS = 8, 2, 5, 4, 3


class Blocks:
    def __init__(self, folder, seed=6):
        rng = self.rng = np.random.default_rng(seed)
        self.folder, self.path = folder, folder / "blocks.onnx"
        self.params = {"head.weight": real(rng, CLASSES, WIDTH), "head.bias": real(rng, CLASSES)}
        for i in range(BLOCKS):
            for name, out, size in (
                ("attn.qkv", 24, 8),
                ("attn.proj", 8, 8),
                ("mlp.fc1", 12, 8),
                ("mlp.fc2", 8, 12),
            ):
                self.params[f"blocks.{i}.{name}.weight"] = 0.4 * real(rng, out, size)
                self.params[f"blocks.{i}.{name}.bias"] = real(rng, out)
        self.feed = {"x": real(rng, ROWS, TOKENS, WIDTH)}
        self._save()
        self.plain = self.forward()

    def _save(self):
        self.nodes, self.constants = [], []
        x = "x"
        for i in range(BLOCKS):
            path = f"blocks.{i}"
            qkv = self._linear(f"{path}.attn.qkv", x)
            parts = [f"{path}.{each}" for each in "qkv"]
            self._constant(f"{path}.sizes", np.array([WIDTH] * 3, np.int64))
            self._node("Split", [qkv, f"{path}.sizes"], parts, f"/{path}/attn/Split", axis=-1)
            gate = self._node("Sigmoid", parts[1:2], [f"{path}.gate"], f"/{path}/attn/Sigmoid")
            mixed = self._node("Mul", [parts[0], gate], [f"{path}.mixed"], f"/{path}/attn/Mul")
            mixed = self._node("Add", [mixed, parts[2]], [f"{path}.attended"], f"/{path}/attn/Add")
            h = self._linear(f"{path}.attn.proj", mixed)
            x = self._node("Add", [x, h], [f"{path}.first"], f"/{path}/Add")
            h = self._linear(f"{path}.mlp.fc1", x)
            h = self._node("Relu", [h], [f"{path}.relu"], f"/{path}/mlp/act/Relu")
            h = self._linear(f"{path}.mlp.fc2", h)
            x = self._node("Add", [x, h], [f"{path}.second"], f"/{path}/Add_1")
        self._linear("head", x, "y")
        value = helper.make_tensor_value_info
        graph = helper.make_graph(
            self.nodes,
            "blocks",
            [value("x", TensorProto.FLOAT, ["rows", TOKENS, WIDTH])],
            [value("y", TensorProto.FLOAT, ["rows", TOKENS, CLASSES])],
            self.constants,
        )
        versions = [helper.make_opsetid("", 17)]
        onnx.save(helper.make_model(graph, opset_imports=versions, ir_version=8), self.path)

    def _node(self, type, inputs, outputs, name, **attributes):
        self.nodes.append(helper.make_node(type, inputs, outputs, name=name, **attributes))
        return outputs[0]

    def _constant(self, name, array):
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))

    def _linear(self, path, x, output=None):
        node = "/" + path.replace(".", "/").replace("blocks/", "blocks.")
        self._constant(f"{path}.t", self.params[f"{path}.weight"].T)
        self._constant(f"{path}.bias", self.params[f"{path}.bias"])
        y = self._node("MatMul", [x, f"{path}.t"], [f"{path}.y"], f"{node}/MatMul")
        return self._node("Add", [f"{path}.bias", y], [output or f"{path}.z"], f"{node}/Add")

    def forward(self, changed=(), module=lambda block, t, h: h):
        """Outputs with some parameters replaced.

        `module` makes of a block's residual stream t and its last sub-layer's output h what is added to t.
        """
        p = {name: np.asarray(each, np.float64) for name, each in (self.params | dict(changed)).items()}

        def linear(path, x):
            return x @ p[f"{path}.weight"].T + p[f"{path}.bias"]

        x = self.feed["x"].astype(np.float64)
        for i in range(BLOCKS):
            q, k, v = np.split(linear(f"blocks.{i}.attn.qkv", x), 3, axis=-1)
            x = x + linear(f"blocks.{i}.attn.proj", q / (1 + np.exp(-k)) + v)
            h = linear(f"blocks.{i}.mlp.fc2", np.maximum(linear(f"blocks.{i}.mlp.fc1", x), 0))
            x = x + module(i, x, h)
        return {"y": linear("head", x).astype(np.float32)}
