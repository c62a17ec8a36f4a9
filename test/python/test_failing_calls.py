# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What fails in a call of compiled code names the node, the tensors and the numbers that are at fault."""

import numpy as np
import onnx
import product
import pytest
from onnx import TensorProto as T
from onnx import helper

FLOATS, INTS = np.float32, np.int64


def graph(op, inputs, constants=(), rank=1, kind=T.FLOAT, before=(), **attributes):
    """A model of one node 'it' behind the nodes `before`; inputs are name: (type, dims)."""
    values = [helper.make_tensor_value_info(name, type_, dims) for name, (type_, dims) in inputs.items()]
    initial = [onnx.numpy_helper.from_array(np.asarray(array), name) for name, array in constants]
    node = helper.make_node(op[0], op[1:], ["y"], name="it", **attributes)
    out = helper.make_tensor_value_info("y", kind, [None] * rank)
    body = helper.make_graph([*before, node], "g", values, [out], initial)
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


def floats(*shape):
    return np.ones(shape, FLOATS)


F, I = T.FLOAT, T.INT64
shape_of = helper.make_node("Shape", ["x"], ["s"], name="shape")
CASES = {
    "broadcast": (
        graph(["Add", "x", "z"], {"x": (F, ["b", "s"]), "z": (F, ["b", "t"])}, rank=2),
        {"x": floats(1, 600), "z": floats(1, 512)},
        ["Add node 'it'", "tensor 'x' has 600 along axis 1", "tensor 'z' has 512 along axis 1"],
    ),
    "broadcast of another rank, to a static size": (
        graph(["Add", "x", "w"], {"x": (F, ["b", "s"])}, [("w", floats(7))], rank=2),
        {"x": floats(2, 5)},
        ["Add node 'it'", "tensor 'x' has 5 along axis 1", "tensor 'w' has 7 along axis 0"],
    ),
    "index": (
        graph(["Gather", "w", "i"], {"i": (I, ["n"])}, [("w", floats(4, 3))], rank=2),
        {"i": np.array([1, 9], INTS)},
        ["Gather node 'it'", "index 9 is outside 4 elements"],
    ),
    "negative index": (
        graph(["GatherElements", "x", "i"], {"x": (F, ["n"]), "i": (I, ["m"])}),
        {"x": floats(3), "i": np.array([-4], INTS)},
        ["GatherElements node 'it'", "index -4 is outside 3 elements"],
    ),
    "scattered index": (
        graph(["ScatterElements", "x", "i", "u"], {"x": (F, ["n"]), "i": (I, ["m"]), "u": (F, ["m"])}),
        {"x": floats(3), "i": np.array([3], INTS), "u": floats(1)},
        ["ScatterElements node 'it'", "index 3 is outside 3 elements"],
    ),
    "reshape": (
        graph(["Reshape", "x", "s"], {"x": (F, ["n"])}, [("s", np.array([2, 6], INTS))], rank=2),
        {"x": floats(13)},
        ["Reshape node 'it'", "the number of elements changes: from 13 to 12"],
    ),
    "reshape that does not divide": (
        graph(["Reshape", "x", "s"], {"x": (F, ["n"])}, [("s", np.array([4, -1], INTS))], rank=2),
        {"x": floats(13)},
        ["Reshape node 'it'", "from 13 to 12"],
    ),
    "negative size": (
        graph(["Expand", "x", "s"], {"x": (F, [1]), "s": (I, [1])}),
        {"x": floats(1), "s": np.array([-5], INTS)},
        ["Expand node 'it'", "a size is negative: -5"],
    ),
    "product": (
        graph(["MatMul", "x", "z"], {"x": (F, ["n", "k"]), "z": (F, ["l", "m"])}, rank=2),
        {"x": floats(2, 3), "z": floats(4, 5)},
        ["MatMul node 'it'", "inner sizes differ: 3 of tensor 'x' and 4 of tensor 'z'"],
    ),
    "product with a weight": (
        graph(["MatMul", "x", "w"], {"x": (F, ["n", "k"])}, [("w", floats(8, 2))], rank=2),
        {"x": floats(2, 3)},
        ["MatMul node 'it'", "inner sizes differ: 3 of tensor 'x' and 8 of tensor 'w'"],
    ),
    "concatenation": (
        graph(["Concat", "x", "z"], {"x": (F, ["n", "k"]), "z": (F, ["m", "l"])}, rank=2, axis=0),
        {"x": floats(2, 3), "z": floats(2, 4)},
        ["Concat node 'it'", "tensor 'x' has 3 along axis 1, tensor 'z' 4"],
    ),
    "squeeze": (
        graph(["Squeeze", "x", "a"], {"x": (F, ["n", "m"])}, [("a", np.array([0], INTS))]),
        {"x": floats(3, 2)},
        ["Squeeze node 'it'", "a squeezed size is not 1: 3 and 1"],
    ),
    "division by zero in shapes": (
        graph(
            ["Reshape", "x", "r"],
            {"x": (F, ["n", "m"])},
            [("zero", np.array([0], INTS))],
            before=[shape_of, helper.make_node("Div", ["s", "s2"], ["r"], name="divide")],
            rank=2,
        ),
        {"x": floats(4, 0)},
        ["Div node 'divide'", "4 is divided by 0"],
    ),
}
# What it is divided by is the shape turned around.
CASES["division by zero in shapes"][0].graph.node.insert(
    1, helper.make_node("Gather", ["s", "order"], ["s2"], name="turn")
)
CASES["division by zero in shapes"][0].graph.initializer.append(
    onnx.numpy_helper.from_array(np.array([1, 0], INTS), "order")
)


@pytest.mark.parametrize("name", CASES)
def test_a_call_that_fails(name, tmp_path):
    model, feed, mentions = CASES[name]
    onnx.save(model, tmp_path / "m.onnx")
    product.opt(tmp_path / "m.onnx", "-o", tmp_path / "m.adapt")
    np.savez(tmp_path / "in.npz", **feed)
    product.refused("adapter-run", tmp_path / "m.adapt", "--input", tmp_path / "in.npz", mentions=mentions)


def test_one_output_as_npy(tmp_path):
    onnx.save(CASES["broadcast"][0], tmp_path / "m.onnx")
    product.opt(tmp_path / "m.onnx", "-o", tmp_path / "m.adapt")
    np.savez(tmp_path / "in.npz", x=floats(2, 3), z=floats(2, 3))
    arguments = [tmp_path / "m.adapt", "--input", tmp_path / "in.npz", "--output", tmp_path / "y.npy"]
    done = product.call("adapter-run", *arguments)
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), np.full((2, 3), 2, FLOATS))
