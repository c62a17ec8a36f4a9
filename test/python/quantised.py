# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Graphs with weights that are stored as integers, and what these stand for, in NumPy from the operators'
definitions."""

import ast
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

MICROSOFT = helper.make_opsetid("com.microsoft", 1)


def packed(codes, bits):
    """Codes along the last axis in bytes, the first in the lowest bits."""
    if bits == 8:
        return codes.astype(np.uint8)
    if codes.shape[-1] % 2:
        codes = np.concatenate([codes, np.zeros_like(codes[..., :1])], -1)
    return (codes[..., 0::2] | codes[..., 1::2] << 4).astype(np.uint8)


@dataclass
class Blocks:
    """A weight [in, out] as MatMulNBits has it; `values` is what it stands for, f32."""

    depth: int
    columns: int
    bits: int = 4
    block: int = 32
    zeros: str | None = None  # "packed", "floats"
    scales: str = "wide"  # "wide": f32 that f16 does not have; "exact": f32 that f16 has; "f16"
    seed: int = 0
    tensors: dict = field(default_factory=dict)
    values: np.ndarray = None

    def __post_init__(self):
        generator = np.random.default_rng(self.seed + self.depth * 7 + self.columns)
        blocks = -(-self.depth // self.block)
        most = 1 << self.bits
        codes = generator.integers(0, most, (self.columns, blocks * self.block)).astype(np.int64)
        scales = generator.uniform(0.001, 0.03, (self.columns, blocks)).astype(np.float32)
        if self.scales != "wide":
            scales = scales.astype(np.float16)
        kind = np.float16 if self.scales == "f16" else np.float32
        zeros = np.full((self.columns, blocks), most / 2, np.float32)
        self.tensors = {
            "codes": packed(codes, self.bits).reshape(self.columns, blocks, -1),
            "scales": scales.astype(kind),
        }
        if self.zeros == "packed":
            whole = generator.integers(0, most, zeros.shape).astype(np.int64)
            zeros = whole.astype(np.float32)
            self.tensors["zeros"] = packed(whole, self.bits)
        elif self.zeros == "floats":
            zeros = generator.uniform(0, most - 1, zeros.shape).astype(kind).astype(np.float32)
            self.tensors["zeros"] = zeros.astype(kind)
        spread = lambda each: np.repeat(each.astype(np.float32), self.block, axis=1)  # noqa: E731
        numbers = (codes.astype(np.float32) - spread(zeros)) * spread(scales)
        self.values = np.ascontiguousarray(numbers[:, : self.depth].T)

    def takes_integers(self):
        """Whether products round their rows to integers: groups are of 32 numbers."""
        return self.block % 32 == 0 or self.block >= self.depth

    def node(self, x, y, name, weight, bias=None, **attributes):
        """The node, and its initialisers, named as onnxruntime's quantiser names them."""
        names = {
            "codes": f"{weight}_Q{self.bits}",
            "scales": f"{weight}_scales",
            "zeros": f"{weight}_zero_points",
        }
        zeros = names["zeros"] if "zeros" in self.tensors else ""
        inputs = [x, names["codes"], names["scales"], zeros, "", bias or ""]
        while not inputs[-1]:
            inputs.pop()
        made = {"K": self.depth, "N": self.columns, "bits": self.bits, "block_size": self.block} | attributes
        node = helper.make_node("MatMulNBits", inputs, [y], name=name, domain="com.microsoft", **made)
        return node, [numpy_helper.from_array(value, names[role]) for role, value in self.tensors.items()]


def save(path, nodes, initializers, depth, columns, kind=TensorProto.FLOAT, inputs=None, opset=21):
    """A graph from x [n, depth] to y [n, columns]."""
    graph = helper.make_graph(
        nodes,
        "g",
        inputs or [helper.make_tensor_value_info("x", kind, ["n", depth])],
        [helper.make_tensor_value_info("y", kind, ["n", columns])],
        initializers,
    )
    opsets = [helper.make_opsetid("", opset), MICROSOFT]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)


def products(path, weights, biases=None):
    """Each weight's product with the input x<depth>, as output y<number>."""
    nodes, initializers, inputs, outputs = [], [], {}, []
    for number, weight in enumerate(weights):
        name = f"x{weight.depth}"
        inputs[name] = helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", weight.depth])
        outputs.append(helper.make_tensor_value_info(f"y{number}", TensorProto.FLOAT, ["n", weight.columns]))
        bias = f"b{number}" if biases else None
        node, tensors = weight.node(name, f"y{number}", f"/m{number}/MatMul_Q4", f"m{number}.weight", bias)
        nodes.append(node)
        initializers += tensors
        if biases:
            initializers.append(numpy_helper.from_array(biases[number], bias))
    graph = helper.make_graph(nodes, "g", list(inputs.values()), outputs, initializers)
    opsets = [helper.make_opsetid("", 21), MICROSOFT]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)


def product(path, weight, bias=None, kind=TensorProto.FLOAT):
    """x times one weight, plus a bias."""
    node, initializers = weight.node(
        "x", "y", "/up/MatMul_Q4", "up.weight", "b" if bias is not None else None
    )
    if bias is not None:
        initializers.append(numpy_helper.from_array(bias, "b"))
    save(path, [node], initializers, weight.depth, weight.columns, kind)


def rounded_rows(x):
    """Rows as integers of 8 bits with a scale for each 32 numbers, the last perhaps of fewer, in f32."""
    depth = x.shape[-1]
    x = np.pad(np.asarray(x, np.float32), [(0, 0)] * (x.ndim - 1) + [(0, -depth % 32)])
    parts = x.reshape(*x.shape[:-1], -1, 32)
    most = np.abs(parts).max(-1, keepdims=True)
    inverse = np.divide(np.float32(127), most, out=np.zeros_like(most), where=most != 0)
    return (
        (np.rint(parts * inverse) * (most / np.float32(127))).astype(np.float32).reshape(x.shape)[..., :depth]
    )


def rounded(weight, bits=4, block=32):
    """A weight [in, out] as tools round it, with zero points: Blocks of these numbers."""
    depth, columns = weight.shape
    made = Blocks(depth, columns, bits, block, "packed")
    blocks, most = -(-depth // block), (1 << bits) - 1
    parts = np.pad(weight.T.astype(np.float32), [(0, 0), (0, blocks * block - depth)]).reshape(
        columns, blocks, block
    )
    least = np.minimum(parts.min(-1), 0)
    scales = np.maximum((np.maximum(parts.max(-1), 0) - least) / most, 1e-9).astype(np.float32)
    zeros = np.clip(np.rint(-least / scales), 0, most)
    codes = np.clip(np.rint(parts / scales[..., None]) + zeros[..., None], 0, most).astype(np.int64)
    made.tensors = {
        "codes": packed(codes, bits),
        "scales": scales,
        "zeros": packed(zeros.astype(np.int64), bits),
    }
    numbers = (codes - zeros[..., None]).astype(np.float32) * scales[..., None]
    made.values = np.ascontiguousarray(numbers.reshape(columns, -1)[:, :depth].T)
    return made


def round_products(source, target, bits=4, block=32):
    """Every linear of an export as GenAI's builder writes it. Returns what each weight
    [in, out] became, by module."""
    model = onnx.load(source)
    graph = model.graph
    known = {each.name: each for each in graph.initializer}
    values, nodes, made = {}, [], []
    for node in graph.node:
        scopes = [each.value for each in node.metadata_props if each.key == "pkg.torch.onnx.name_scopes"]
        is_linear = node.op_type == "MatMul" and node.input[1] in known and scopes
        if not is_linear:
            nodes.append(node)
            continue
        module = ast.literal_eval(scopes[0])[-2].removeprefix("model.")
        path = module.replace("self_attn", "attn")
        weight = rounded(numpy_helper.to_array(known[node.input[1]]), bits, block)
        name = "/" + path.replace(".", "/").replace("layers/", "layers.")
        one, tensors = weight.node(
            node.input[0], node.output[0], f"{name}/MatMul_Q{bits}", f"{path}.MatMul.weight"
        )
        nodes.append(one)
        made += tensors
        values[module] = weight.values
    del graph.node[:]
    graph.node.extend(nodes)
    used = {name for node in nodes for name in node.input}
    kept = [each for each in graph.initializer if each.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept + made)
    model.opset_import.append(MICROSOFT)
    onnx.save(model, target)
    return values
