# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A graph of linears for forms of users, with tensors for them and the outputs that NumPy makes of these."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from own_forms import FORMS, real

# A linear for each layout of Gemm's weight; `one` is [out, in] in the graph, `other` [in, out].
MODULES = ("one", "other")


class Linears:
    """Two linears that read one input, of random weights."""

    def __init__(self, path, inputs, outputs, seed, forms=FORMS):
        rng = np.random.default_rng(seed)
        self.forms = forms
        self.path, self.rng = path, rng
        self.weights = {name: real(rng, count, inputs) for name, count in zip(MODULES, outputs, strict=True)}
        self.biases = {name: real(rng, count) for name, count in zip(MODULES, outputs, strict=True)}
        self.x = real(rng, 6, inputs)
        nodes, constants, made = [], [], []
        for name in MODULES:
            straight = name == "one"
            weight = self.weights[name] if straight else np.ascontiguousarray(self.weights[name].T)
            constants.append(numpy_helper.from_array(weight, f"{name}.weight"))
            constants.append(numpy_helper.from_array(self.biases[name], f"{name}.bias"))
            node = helper.make_node(
                "Gemm",
                ["x", f"{name}.weight", f"{name}.bias"],
                [f"y_{name}"],
                name=f"/{name}/Gemm",
                transB=int(straight),
            )
            nodes.append(node)
            sizes = ["rows", len(self.biases[name])]
            made.append(helper.make_tensor_value_info(f"y_{name}", TensorProto.FLOAT, sizes))
        read = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", inputs])]
        graph = helper.make_graph(nodes, "linears", read, made, constants)
        versions = [helper.make_opsetid("", 17)]
        onnx.save(helper.make_model(graph, opset_imports=versions, ir_version=8), path)

    def draw(self, form):
        """Tensors of a form for each module."""
        return {name: self.forms[form].draw(self.rng, *self.weights[name].shape) for name in MODULES}

    def updated(self, form, tensors):
        """(weight, bias) of each module, in f64."""
        made = {}
        for name in MODULES:
            W, b = self.weights[name].astype(np.float64), self.biases[name].astype(np.float64)
            made[name] = (
                self.forms[form].weight(W, b, tensors[name]),
                self.forms[form].bias(W, b, tensors[name]),
            )
        return made

    def outputs(self, form=None, tensors=None):
        """Of both modules for the input, in f32."""
        made = {name: (self.weights[name], self.biases[name]) for name in MODULES}
        if form:
            made = self.updated(form, tensors)
        x = self.x.astype(np.float64)
        return {f"y_{name}": (x @ W.T + b).astype(np.float32) for name, (W, b) in made.items()}
