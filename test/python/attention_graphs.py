# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Graphs of one attention as exporters write it: q [b, heads, t, width], k and v [b, kv heads, s, width]."""

import dataclasses

import numpy as np
from onnx import TensorProto, helper, numpy_helper

LOWEST = np.finfo(np.float32).min


@dataclasses.dataclass
class Attention:
    heads: int = 4
    shared: int = 2  # heads of keys and values
    width: int = 16
    value_width: int = 16
    mask: tuple = ()  # dimensions: numbers, or b, h, t, s; empty: none
    bias: bool = False  # a second mask, one number for each head and key
    hidden: float = LOWEST  # what half of the mask is
    softcap: float | None = None
    guard: bool = False  # 0 where the softmax is not a number
    where: str = "scores"  # what is scaled: scores, both operands, or keys
    turned: str = "whole"  # keys: transposed whole, from [b, s, heads, width] at once, or as matrices

    def graph(self, path):
        """Writes the graph and returns its path."""
        maker = _Maker(self)
        outputs = [helper.make_tensor_value_info("y", 1, ["b", self.heads, "t", self.value_width])]
        graph = helper.make_graph(maker.nodes, "attention", maker.inputs, outputs, maker.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        path.write_bytes(model.SerializeToString())
        return path

    def inputs(self, rows, queries, keys, seed=0):
        rng = np.random.default_rng(seed)
        sizes = {"b": rows, "h": self.heads, "t": queries, "s": keys}
        kept = (self.shared, keys) if self.turned != "apart" else (keys, self.shared)
        made = {
            "q": rng.standard_normal((rows, self.heads, queries, self.width)),
            "k": rng.standard_normal((rows, *kept, self.width)),
            "v": rng.standard_normal((rows, self.shared, keys, self.value_width)),
        }
        if self.mask:
            shape = [sizes.get(dim, dim) for dim in self.mask]
            made["mask"] = rng.standard_normal(shape)
            made["mask"][rng.random(shape) < 0.5] = self.hidden
            if self.guard:
                made["mask"][..., 0, :] = self.hidden
        if self.bias:
            made["bias"] = rng.standard_normal((1, self.heads, 1, keys))
        return {name: array.astype(np.float32) for name, array in made.items()}


class _Maker:
    def __init__(self, kind):
        self.kind, self.nodes, self.constants, self.inputs = kind, [], [], []
        self.take("q", ["b", kind.heads, "t", kind.width])
        order = ["b", kind.shared, "s"] if kind.turned != "apart" else ["b", "s", kind.shared]
        self.take("k", [*order, kind.width])
        self.take("v", ["b", kind.shared, "s", kind.value_width])
        query, keys = "q", self.keys()
        scale = kind.width**-0.5
        if kind.where == "both":
            query, keys = (self.add("Mul", each, self.real(scale**0.5)) for each in (query, keys))
        if kind.where == "keys":
            keys = self.add("Div", keys, self.real(1 / scale))
        scores = self.add("MatMul", query, keys)
        if kind.where == "scores":
            scores = self.add("Mul", scores, self.real(scale))
        if kind.softcap:
            cap = self.real(kind.softcap)
            scores = self.add("Mul", self.add("Tanh", self.add("Div", scores, cap)), cap)
        if kind.bias:
            scores = self.add("Add", scores, self.take("bias", [1, kind.heads, 1, "s"]))
        if kind.mask:
            dims = ["b" if dim == "b" else kind.heads if dim == "h" else dim for dim in kind.mask]
            scores = self.add("Add", scores, self.take("mask", dims))
        weights = self.add("Softmax", scores, axis=-1)
        if kind.guard:
            weights = self.add("Where", self.add("IsNaN", weights), self.real(0.0), weights)
        self.nodes.append(helper.make_node("MatMul", [weights, self.repeated("v", kind.value_width)], ["y"]))

    def take(self, name, dims):
        self.inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, dims))
        return name

    def add(self, operator, *operands, **attributes):
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, operands, [name], **attributes))
        return name

    def real(self, value):
        return self.constant(np.array(value, np.float32))

    def constant(self, array):
        self.constants.append(numpy_helper.from_array(array, f"c{len(self.constants)}"))
        return self.constants[-1].name

    def repeated(self, name, width):
        """Heads that several read, written out for each."""
        kind = self.kind
        if kind.shared == kind.heads:
            return name
        apart = self.add("Unsqueeze", name, self.constant(np.array([2])))
        sizes = self.constant(np.array([1, 1, kind.heads // kind.shared, 1, 1]))
        wide = self.add("Expand", apart, sizes)
        return self.add("Reshape", wide, self.constant(np.array([0, kind.heads, -1, width])))

    def keys(self):
        kind = self.kind
        if kind.turned == "apart":
            return self.add("Transpose", "k", perm=[0, 2, 3, 1])
        keys = self.repeated("k", kind.width)
        if kind.turned == "whole":
            return self.add("Transpose", keys, perm=[0, 1, 3, 2])
        size = self.add("Shape", keys)
        length = self.add("Slice", size, *(self.constant(np.array([i])) for i in (2, 3)))
        shape = [self.constant(np.array([-1])), length, self.constant(np.array([kind.width]))]
        together = self.add("Reshape", keys, self.add("Concat", *shape, axis=0))
        turned = self.add("Transpose", together, perm=[0, 2, 1])
        ends = [self.constant(np.array([i])) for i in (kind.heads, kind.width)]
        batch = self.add("Slice", size, *(self.constant(np.array([i])) for i in (0, 1)))
        return self.add("Reshape", turned, self.add("Concat", batch, *ends, length, axis=0))
