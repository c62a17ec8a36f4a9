# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Graphs x [batch, length, WIDTH] -> some operators -> a linear, to see which operators keep rows apart.
Those of KEPT do, those of MIXED do not."""

import collections

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

WIDTH, OUTPUTS, LENGTH = 6, 5, 4
# What the operators end in: its last dimension, and where a row of several lies in the linear's output.
End = collections.namedtuple("End", "name width axis", defaults=(WIDTH, 0))


class Graph:
    """Collects nodes and constants; what builds it returns an End."""

    def __init__(self):
        self.nodes, self.constants = [], []
        self.rng = np.random.default_rng(5)

    def __call__(self, operator, *inputs, outputs=1, **attributes):
        """A node; its result, or its results."""
        names = [f"t{len(self.nodes)}_{i}" for i in range(outputs)]
        name = f"/{operator}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, names, name=name, **attributes))
        return names[0] if outputs == 1 else names

    def ints(self, *values):
        """A vector of integers, or one integer by itself."""
        return self.constant(np.array(values, np.int64))

    def integer(self, value):
        return self.constant(np.array(value, np.int64))

    def constant(self, array):
        self.constants.append(numpy_helper.from_array(array, f"c{len(self.constants)}"))
        return self.constants[-1].name

    def zeros(self, *shape):
        return self.constant(np.zeros(shape, np.int64))

    def real(self, *shape):
        return self.constant(self.rng.standard_normal(shape).astype(np.float32))

    def batch(self):
        """The number of rows, a vector of one."""
        return self("Shape", "x", start=0, end=1)

    def length(self):
        return self("Shape", "x", start=1, end=2)

    def numbers(self):
        """0, 1, ... for all rows."""
        size = self("Squeeze", self.batch(), self.ints(0))
        return self("Range", self.integer(0), size, self.integer(1))

    def last(self):
        """For each row a position that depends on it."""
        sums = self("ReduceSum", "x", self.ints(1, 2), keepdims=0)
        return self("Cast", self("Greater", sums, self.constant(np.float32(0))), to=TensorProto.INT64)

    def save(self, build, path, weight, batch="batch"):
        end = build(self)
        node = helper.make_node("MatMul", [end.name, "proj.weight"], ["y"], name="/proj/MatMul")
        sizes = [batch, "length", WIDTH]
        graph = helper.make_graph(
            [*self.nodes, node],
            "rows",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, sizes)],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
            [*self.constants, numpy_helper.from_array(weight(end.width), "proj.weight")],
        )
        versions = [helper.make_opsetid("", 18)]
        onnx.save(helper.make_model(graph, opset_imports=versions, ir_version=8), path)
        return end


def turned(g, name):
    """The last two dimensions in each other's place."""
    return g("Transpose", name, perm=[0, 2, 1])


def normal(g, name):
    """[., WIDTH, .], every channel normalised along the last dimension."""
    return g("InstanceNormalization", name, g.real(WIDTH), g.real(WIDTH))


def swapped(g, name="x"):
    """[length, batch, WIDTH]."""
    return g("Transpose", name, perm=[1, 0, 2])


def filled(g):
    """Zeros as x is."""
    return g("ConstantOfShape", g("Shape", "x"))


def places(g):
    """(row, chosen position) for each row, [batch, 2]."""
    pair = [g("Unsqueeze", each, g.ints(1)) for each in (g.numbers(), g.last())]
    return g("Concat", *pair, axis=1)


def flat_places(g, stride):
    """stride * row + chosen position, for each row."""
    best = g("Gather", g("ArgMax", "x", axis=1, keepdims=0), g.integer(0), axis=1)
    return g("Add", g("Mul", g.numbers(), stride), best)


def means(g):
    """[batch, WIDTH]."""
    return g("ReduceMean", "x", g.ints(1), keepdims=0)


def scores(g):
    """[batch, length, length]."""
    return g("MatMul", "x", g("Transpose", "x", perm=[0, 2, 1]))


def flat(g):
    """[batch * length, WIDTH]."""
    return g("Reshape", "x", g.ints(-1, WIDTH))


KEPT = {
    "elementwise": lambda g: End(g("Tanh", g("Add", "x", g.real(WIDTH)))),
    "broadcast": lambda g: End(g("Mul", "x", g("ReduceMax", "x", g.ints(1), keepdims=1))),
    "where": lambda g: End(g("Where", g("Greater", "x", g.real(1, WIDTH)), "x", g.real(WIDTH))),
    "expand": lambda g: End(
        g("Expand", g("ReduceMean", "x", g.ints(1), keepdims=1), g.ints(1, 3, 1)),
    ),
    "transpose": lambda g: End(swapped(g), axis=1),
    "flattened": lambda g: End(flat(g)),
    "flattened behind": lambda g: End(g("Reshape", swapped(g), g.ints(-1, WIDTH)), axis=None),
    "heads": lambda g: End(g("Transpose", g("Reshape", "x", g.ints(0, 0, 2, 3)), perm=[0, 2, 1, 3]), 3),
    "squeeze": lambda g: End(g("Squeeze", g("Unsqueeze", "x", g.ints(0)), g.ints(0))),
    "slice": lambda g: End(g("Slice", "x", g.ints(1), g.ints(9), g.ints(1))),
    "slice backwards": lambda g: End(g("Slice", "x", g.ints(-1), g.ints(-99), g.ints(1), g.ints(-1))),
    "split": lambda g: End(g("Add", *g("Split", "x", axis=2, outputs=2, num_outputs=2)), 3),
    "concat": lambda g: End(g("Concat", "x", g("Neg", "x"), axis=1)),
    "pad": lambda g: End(g("Pad", "x", g.ints(0, 1, 0, 0, 2, 0))),
    "tile": lambda g: End(g("Tile", "x", g.ints(1, 2, 1))),
    "tile of rows": lambda g: End(g("Tile", means(g), g.ints(2, 1)), axis=None),
    "gather": lambda g: End(g("Gather", "x", g.ints(2, 0), axis=1)),
    "gather first": lambda g: End(g("Gather", "x", g.integer(0), axis=1)),
    "gather by flat index": lambda g: End(g("Gather", flat(g), flat_places(g, g.length()))),
    "embedding": lambda g: End(g("Gather", g.real(2, WIDTH), g.last())),
    "gather rows in order": lambda g: End(g("Gather", "x", g.numbers(), axis=0)),
    "gather elements": lambda g: End(
        g("GatherElements", "x", g("Cast", g("Greater", "x", g.real(1, WIDTH)), to=TensorProto.INT64), axis=1)
    ),
    "gather of each row": lambda g: End(g("GatherND", "x", places(g))),
    "gather by batch": lambda g: End(
        g("GatherND", "x", g("Unsqueeze", g.last(), g.ints(1)), batch_dims=1),
    ),
    "scatter of each row": lambda g: End(g("ScatterND", "x", places(g), means(g))),
    "scatter into nothing": lambda g: End(g("ScatterND", filled(g), places(g), means(g))),
    "scatter behind": lambda g: End(
        g("ScatterND", swapped(g), g.ints([2], [0]), g("Gather", swapped(g), g.ints(1, 3))), axis=1
    ),
    "scatter elements": lambda g: End(
        g("ScatterElements", "x", g("ArgMax", "x", axis=1), g("ReduceMean", "x", g.ints(1)), axis=1)
    ),
    "reduce": lambda g: End(means(g)),
    "reduce in front": lambda g: End(g("ReduceSum", swapped(g), g.ints(0), keepdims=0)),
    "argmax": lambda g: End(g("Cast", g("ArgMax", "x", axis=1, keepdims=0), to=TensorProto.FLOAT)),
    "topk": lambda g: End(g("TopK", "x", g.ints(2), axis=1, outputs=2)[0]),
    "cumsum": lambda g: End(g("CumSum", "x", g.integer(1))),
    "trilu": lambda g: End(g("Trilu", "x")),
    "softmax": lambda g: End(g("Softmax", "x", axis=1)),
    "old softmax": lambda g: End(g("LogSoftmax", "x", axis=-1)),
    "layer norm": lambda g: End(g("LayerNormalization", "x", g.real(WIDTH), g.real(WIDTH))),
    "instance norm": lambda g: End(turned(g, normal(g, turned(g, "x")))),
    "batch norm": lambda g: End(
        g(
            "BatchNormalization",
            "x",
            *(g.constant(np.linspace(1, 2, LENGTH, dtype=np.float32)) for _ in range(4)),
        )
    ),
    "attention": lambda g: End(g("MatMul", g("Softmax", scores(g), axis=-1), "x")),
    "product beside": lambda g: End(g("MatMul", g.real(3, LENGTH), "x")),
    "gemm": lambda g: End(g("Gemm", means(g), g.real(7, WIDTH), transB=1), 7),
    "convolution": lambda g: End(g("Conv", "x", g.real(3, LENGTH, 2)), 5),
    "pool": lambda g: End(g("MaxPool", "x", kernel_shape=[2]), 5),
    "global pool": lambda g: End(g("GlobalAveragePool", g("Transpose", "x", perm=[0, 2, 1])), 1),
    "resize": lambda g: End(
        g("Resize", "x", "", g.constant(np.array([1, 1, 2], np.float32)), mode="nearest"), 2 * WIDTH
    ),
    "one hot": lambda g: End(
        g("OneHot", g.last(), g.integer(2), g.constant(np.array([0, 1], np.float32))),
        2,
    ),
}

ALONG, PICKS, TOGETHER = (
    "works along their axis",
    "picks among them",
    "brings them together from different axes",
)


def mask(g):
    """A sum over the batch, which looks like any other mask."""
    return g("ReduceSum", "x", g.ints(0))


def pairs(g):
    """[batch, batch, WIDTH]."""
    return g("Add", g("Unsqueeze", means(g), g.ints(0)), g("Unsqueeze", means(g), g.ints(1)))


def norm(g):
    """Of every feature over the batch."""
    return g("Transpose", g("LayerNormalization", g("Transpose", "x"), g.real(1)))


# The operator that messages name, what they say of it, and the graph.
MIXED = {
    "cumsum": ("CumSum", ALONG, lambda g: End(g("CumSum", "x", g.integer(0)))),
    "cumsum from behind": ("CumSum", ALONG, lambda g: End(g("CumSum", "x", g.integer(-3)))),
    "reduce": ("ReduceSum", ALONG, lambda g: End(g("ReduceSum", "x", g.ints(0), keepdims=0))),
    "reduce all": ("ReduceMean", ALONG, lambda g: End(g("Mul", "x", g("ReduceMean", "x")))),
    "a sum beside": ("ReduceSum", ALONG, lambda g: End(g("Add", "x", mask(g)))),
    "softmax": ("Softmax", ALONG, lambda g: End(g("Softmax", "x", axis=0))),
    "log softmax": ("LogSoftmax", ALONG, lambda g: End(g("LogSoftmax", swapped(g), axis=1))),
    "flattened softmax": ("Softmax", ALONG, lambda g: End(g("Softmax", flat(g), axis=0))),
    "norm": ("LayerNormalization", ALONG, lambda g: End(norm(g))),
    "instance norm": (
        "InstanceNormalization",
        ALONG,
        lambda g: End(turned(g, normal(g, g("Transpose", "x", perm=[1, 2, 0])))),
    ),
    "argmax": ("ArgMax", ALONG, lambda g: End(g("Cast", g("ArgMax", "x", axis=0), to=TensorProto.FLOAT))),
    "topk": ("TopK", ALONG, lambda g: End(g("TopK", "x", g.ints(1), axis=0, outputs=2)[0])),
    "trilu": ("Trilu", ALONG, lambda g: End(g("Trilu", g("Transpose", "x", perm=[1, 0, 2])))),
    "concat": ("Concat", ALONG, lambda g: End(g("Concat", "x", "x", axis=0))),
    "slice": ("Slice", ALONG, lambda g: End(g("Slice", "x", g.ints(0), g.ints(1), g.ints(0)))),
    "turned round": (
        "Slice",
        ALONG,
        lambda g: End(g("Slice", "x", g.ints(-1), g.ints(-(2**40)), g.ints(0), g.ints(-1))),
    ),
    "split": ("Split", ALONG, lambda g: End(g("Split", "x", g.ints(1, 2), axis=0, outputs=2)[1])),
    "pad": ("Pad", ALONG, lambda g: End(g("Pad", "x", g.ints(1, 0, 0, 0, 0, 0)))),
    "moved on": ("Pad", ALONG, lambda g: End(g("Pad", "x", g.ints(1, 0, 0, -1, 0, 0)))),
    "gather": ("Gather", PICKS, lambda g: End(g("Gather", "x", g.ints(1, 0), axis=0))),
    "gather by rows": ("Gather", TOGETHER, lambda g: End(g("Gather", "x", g.last(), axis=1))),
    "gather by another flat index": (
        "Gather",
        PICKS,
        lambda g: End(g("Gather", flat(g), flat_places(g, g.ints(1)))),
    ),
    "gather elements": (
        "GatherElements",
        PICKS,
        lambda g: End(g("GatherElements", "x", g.zeros(1, LENGTH, WIDTH), axis=0)),
    ),
    "gather nd": ("GatherND", PICKS, lambda g: End(g("GatherND", "x", g.ints([1], [0])))),
    "gather of chosen rows": (
        "GatherND",
        PICKS,
        lambda g: End(g("GatherND", "x", g("Unsqueeze", g.last(), g.ints(1)))),
    ),
    "scatter": (
        "ScatterND",
        PICKS,
        lambda g: End(g("ScatterND", "x", g.ints([1]), g.real(1, LENGTH, WIDTH))),
    ),
    "scatter elements": (
        "ScatterElements",
        PICKS,
        lambda g: End(g("ScatterElements", "x", g.zeros(1, LENGTH, WIDTH), g.real(1, LENGTH, WIDTH), axis=0)),
    ),
    "product over rows": (
        "MatMul",
        ALONG,
        lambda g: End(g("MatMul", g("Transpose", "x", perm=[1, 2, 0]), swapped(g))),
    ),
    "products of all rows": (
        "MatMul",
        TOGETHER,
        lambda g: End(g("MatMul", g("MatMul", swapped(g), g("Transpose", "x", perm=[1, 2, 0])), swapped(g))),
    ),
    "all pairs of rows": ("Add", TOGETHER, lambda g: End(pairs(g))),
    "convolution over rows": (
        "Conv",
        ALONG,
        lambda g: End(g("Conv", g("Transpose", "x", perm=[2, 1, 0]), g.real(1, LENGTH, 1)), 3),
    ),
}
