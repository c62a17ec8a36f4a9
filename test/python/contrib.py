# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Graphs of a few nodes, compiled once and called with several sizes, held against ONNX Runtime."""

import numpy as np
import onnx
import onnxruntime
import product
from onnx import TensorProto, helper, numpy_helper

RUNTIME = "com.microsoft"
TYPES = {
    np.float32: TensorProto.FLOAT,
    np.int32: TensorProto.INT32,
    np.int64: TensorProto.INT64,
    bool: TensorProto.BOOL,
}


class Graph:
    """Inputs have dims that are sizes or names; what names are comes with each call."""

    def __init__(self, opset=22, seed=0):
        self.opset, self.random = opset, np.random.default_rng(seed)
        self.inputs, self.constants, self.nodes, self.outputs, self.parts = {}, {}, [], {}, {}

    def normal(self, *sizes):
        return self.random.standard_normal(sizes).astype(np.float32)

    def input(self, *dims, make=None, dtype=np.float32):
        """An input of normal numbers, or of make(sizes by name); returns its name."""
        name = f"x{len(self.inputs)}"
        self.inputs[name] = (dims, make, dtype)
        return name

    def constant(self, array):
        name = f"w{len(self.constants)}"
        self.constants[name] = np.asarray(array)
        return name

    def node(self, operator, inputs, results=1, domain=RUNTIME, keep=None, **attributes):
        """Adds a node; its results are the graph's. `results`: how many, or a list with types, None for one
        left out. keep(array, feed, sizes) is what is compared of them."""
        types = [np.float32] * results if isinstance(results, int) else results
        number = len(self.nodes)
        names = [f"y{number}_{i}" if t else "" for i, t in enumerate(types)]
        self.outputs.update({n: t for n, t in zip(names, types, strict=True) if n})
        self.parts.update({n: keep for n in names if keep})
        label = f"node{number}"
        made = helper.make_node(
            operator, [i or "" for i in inputs], names, label, domain=domain, **attributes
        )
        self.nodes.append(made)
        return names[0]

    def model(self):
        graph = helper.make_graph(
            self.nodes,
            "contrib",
            [helper.make_tensor_value_info(n, TYPES[t], d) for n, (d, _, t) in self.inputs.items()],
            [helper.make_tensor_value_info(n, TYPES[t], None) for n, t in self.outputs.items()],
            [numpy_helper.from_array(a, n) for n, a in self.constants.items()],
        )
        sets = [helper.make_opsetid("", self.opset), helper.make_opsetid(RUNTIME, 1)]
        return helper.make_model(graph, opset_imports=sets, ir_version=10)

    def feed(self, sizes):
        made = {}
        for name, (dims, make, dtype) in self.inputs.items():
            shape = [sizes.get(d, d) for d in dims]
            array = make(sizes) if make else self.normal(*shape)
            made[name] = np.asarray(array, dtype).reshape(shape)
        return made

    def check(self, folder, *calls, options=(), tolerance=2e-5):
        path = folder / "model.onnx"
        onnx.save(self.model(), path)
        settings = onnxruntime.SessionOptions()
        settings.log_severity_level = 4
        # Nodes as they are.
        settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        theirs = onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
        product.opt(path, "-o", folder / "model.adapt", *options)
        ours = product.package().load(str(folder / "model.adapt"), threads=2)
        for sizes in calls:
            feed = self.feed(sizes)
            want = dict(zip(self.outputs, theirs.run(list(self.outputs), feed), strict=True))
            got = ours(feed)
            for name, expected in want.items():
                assert got[name].shape == expected.shape, (sizes, name, got[name].shape, expected.shape)
                assert got[name].dtype == expected.dtype, (sizes, name, got[name].dtype, expected.dtype)
                keep = self.parts.get(name) or (lambda x, feed, sizes: x)
                a, b = (np.asarray(keep(x, feed, sizes), np.float64) for x in (got[name], expected))
                assert np.isfinite(b).all(), (sizes, name)
                worst = np.abs(a - b).max(initial=0) / max(1, np.abs(b).max(initial=0))
                assert worst < tolerance, (sizes, self.nodes[int(name[1:].split("_")[0])], name, worst)


def refused(graph, folder, *mentions):
    """The graph must be refused in one line that names `mentions`."""
    onnx.save(graph.model(), folder / "model.onnx")
    product.refused("adapter-opt", folder / "model.onnx", "-o", folder / "model.adapt", mentions=mentions)
