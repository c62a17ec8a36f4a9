# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Biases, shapes and orientations that are easy to get wrong: applied right or refused."""

import numpy as np
import onnx
import product
import pytest
import tiny
from claim_cases import (
    NEW,
    B,
    V,
    W,
    X,
    base_of,
    biased,
    loaded,
    lora_of,
    normal,
    right_or_refused,
    right_or_refused_compiled,
    saved,
    with_runtime_domain,
)
from onnx import TensorProto, helper, numpy_helper

# ---------------------------------------------------------------------------------------------------- biases


@pytest.mark.parametrize("name", ["", "Add_7", "/Add"])
@pytest.mark.parametrize("way", ["merged", "base", "loaded"])
def test_a_bias_that_no_name_says_is_the_modules(tmp_path, name, way):
    """The trained bias replaces the one that is there; it does not join it."""
    nodes = [tiny.matmul("/fc/MatMul", "w", y="h"), tiny.node("Add", ["h", "b"], "y", name)]
    graph = tiny.graph(tmp_path / "m.onnx", nodes, {"w": W, "b": B})
    folder, delta = biased(tmp_path, replaces=True)
    want = X @ (W + delta) + NEW
    if way == "loaded":
        loaded(tmp_path, graph, "lora+replace", folder, want)
    else:
        arguments = base_of(tmp_path, fc__weight=W.T, fc__bias=B) if way == "base" else []
        right_or_refused(tmp_path, graph, folder, *arguments, want=want)


@pytest.mark.parametrize("based", [False, True])
def test_a_bias_that_is_subtracted(tmp_path, based):
    nodes = [tiny.matmul("/fc/MatMul", "w", y="h"), tiny.node("Sub", ["h", "b"], "y", "/fc/Sub")]
    graph = tiny.graph(tmp_path / "m.onnx", nodes, {"w": W, "b": B})
    folder, delta = biased(tmp_path, replaces=True)
    arguments = base_of(tmp_path, fc__weight=W.T, fc__bias=-B) if based else []
    right_or_refused(tmp_path, graph, folder, *arguments, want=X @ (W + delta) + NEW)


def test_a_bias_inside_a_fused_norm(tmp_path):
    """ONNX Runtime moves the bias of the linear before into SkipLayerNormalization's fifth operand."""
    operands = ["h", "x", "gamma", "beta", "b"]
    norm = tiny.node("SkipLayerNormalization", operands, "y", "SkipLayerNorm_AddBias_1", epsilon=1e-5)
    norm.domain = "com.microsoft"
    weights = {"w": W, "gamma": V[0], "beta": V[1], "b": B}
    graph = tiny.graph(
        tmp_path / "m.onnx", [tiny.matmul("/fc/MatMul", "w", y="h"), norm], weights, (("x", ["n", 1, 4]),)
    )
    folder, delta = biased(tmp_path, replaces=True)
    x = X[:, None]
    want = normal(x @ (W + delta) + NEW + x) * V[0] + V[1]
    right_or_refused(tmp_path, with_runtime_domain(graph), folder, want=want, feed={"x": x})


@pytest.mark.parametrize("beta", [0.0, 0.5])
def test_a_new_bias_of_a_product_that_scales_it(tmp_path, beta):
    graph = tiny.graph(
        tmp_path / "m.onnx", [tiny.node("Gemm", ["x", "w"], "y", "/fc/Gemm", beta=beta)], {"w": W}
    )
    folder, delta = biased(tmp_path)
    right_or_refused(tmp_path, graph, folder, want=X @ (W + delta) + NEW)


def test_a_bias_that_is_scaled(tmp_path):
    node = tiny.node("Gemm", ["x", "w", "b"], "y", "/fc/Gemm", beta=0.5)
    graph = tiny.graph(tmp_path / "m.onnx", [node], {"w": W, "b": B})
    folder, delta = biased(tmp_path, replaces=True)
    right_or_refused(tmp_path, graph, folder, want=X @ (W + delta) + NEW)


def test_a_product_that_is_scaled(tmp_path):
    """0.5 x W: the factor may be the weight's or stand behind the module."""
    graph = tiny.graph(
        tmp_path / "m.onnx", [tiny.node("Gemm", ["x", "w"], "y", "/fc/Gemm", alpha=0.5)], {"w": W}
    )
    folder, _ = lora_of(tmp_path, "fc")
    right_or_refused(tmp_path, graph, folder, want=None)


@pytest.mark.parametrize("operator", ["MatMul", "Gemm", "Conv"])
def test_a_constant_along_another_axis_is_not_a_bias(tmp_path, operator):
    """As long as the outputs are many, but added along positions, rows or the image's width."""
    other = B[:, None]
    if operator == "MatMul":
        nodes = [tiny.matmul("/fc/MatMul", "w", y="h"), tiny.node("Add", ["h", "b"], "y", "/fc/Add")]
        x, weights = tiny.numbers(3, 4, 4), {"w": W, "b": other}
        want = x @ W + other + NEW
    elif operator == "Gemm":
        nodes = [tiny.node("Gemm", ["x", "w", "b"], "y", "/fc/Gemm")]
        x, weights = tiny.numbers(4, 4, seed=9), {"w": W, "b": other}
        want = x @ W + other + NEW
    else:
        nodes = [tiny.node("Conv", ["x", "w"], "h", "/fc/Conv"), tiny.node("Add", ["h", "b"], "y", "/fc/Add")]
        x, weights = tiny.numbers(2, 4, 4, 4), {"w": W[:, :, None, None], "b": B}
        want = np.einsum("nihw,oi->nohw", x, W) + B + NEW[:, None, None]
    graph = tiny.graph(tmp_path / "m.onnx", nodes, weights, inputs=(("x", list(x.shape)),))
    taps = [1, 1] if operator == "Conv" else []
    tensors = {
        "fc.lora_A.weight": np.zeros([1, 4, *taps], "f4"),
        "fc.lora_B.weight": np.zeros([4, 1, *taps], "f4"),
        "fc.lora_B.bias": NEW,
    }
    folder = tiny.adapter(tmp_path / "lora", tensors, target_modules=["fc"], lora_bias=True)
    right_or_refused(tmp_path, graph, folder, want=want, feed={"x": x})


@pytest.mark.parametrize("time", [None, "build"])
def test_a_new_bias_behind_a_weight_of_another_type(tmp_path, time):
    narrow = W.astype(np.float16)
    nodes = [tiny.node("Cast", ["w"], "f", "/fc/Cast", to=TensorProto.FLOAT), tiny.matmul("/fc/MatMul", "f")]
    graph = tiny.graph(tmp_path / "m.onnx", nodes, {"w": narrow})
    folder, delta = biased(tmp_path)
    want = X @ (narrow + delta).astype(np.float16).astype("f4") + NEW
    if time is None:
        right_or_refused(tmp_path, graph, folder, want=want)
    else:
        right_or_refused_compiled(tmp_path, graph, ["--adapter", f"x={folder}"], [], want)


def test_a_new_bias_of_a_norm_over_two_axes(tmp_path):
    x, w, b = (tiny.numbers(*shape, seed=6) for shape in ((3, 2, 4), (2, 4), (2, 4)))
    nodes = [tiny.node("LayerNormalization", ["x", "norm.weight"], "y", "/norm/LN", axis=-2)]
    graph = tiny.graph(tmp_path / "m.onnx", nodes, {"norm.weight": w}, inputs=(("x", ["n", 2, 4]),))
    want = normal(x.reshape(3, 8)).reshape(3, 2, 4) * w + b
    right_or_refused(tmp_path, graph, saved(tmp_path, norm__bias=b), want=want, feed={"x": x})


def test_a_new_bias_of_a_weight_that_another_node_reads(tmp_path):
    nodes = [
        tiny.node("MatMul", ["x", "fc.weight"], "h"),
        tiny.node("ReduceSum", ["fc.weight"], "s", keepdims=0),
        tiny.node("Div", ["h", "s"], "y"),
    ]
    graph = tiny.graph(tmp_path / "m.onnx", nodes, {"fc.weight": W})
    right_or_refused(tmp_path, graph, saved(tmp_path, fc__bias=NEW), want=(X @ W + NEW) / W.sum())


# ---------------------------------------------------------------------------------------- shape, orientation


@pytest.mark.parametrize("reader", ["Einsum", "Mul", "Gather", "Add", "NhwcConv"])
def test_a_saved_tensor_is_not_reshaped(tmp_path, reader):
    """As many numbers in another shape are another tensor, also where the operator has no known role."""
    value, key = tiny.numbers(3, 4, seed=4), "fc.weight"
    held, inputs, want, kinds = value.T, (("x", ["n", 4]),), X @ value.T, {}
    if reader == "Einsum":
        nodes = [tiny.node("Einsum", ["x", key], "y", "/fc/Einsum", equation="ni,io->no")]
    elif reader == "Mul":
        nodes = [tiny.node("Mul", [key, "two"], "w", "/fc/Mul"), tiny.matmul("/fc/MatMul", "w")]
        want = 2 * want
    elif reader == "Gather":
        nodes = [tiny.node("Gather", [key, "i"], "y", "/fc/Gather", axis=1)]
        inputs, kinds, want = (("i", ["n"]),), {"i": TensorProto.INT64}, value.T[:, :3]
    elif reader == "Add":
        nodes = [tiny.node("Add", ["x", key], "y", "/fc/Add")]
        inputs, want = (("x", [4, 3]),), None
    else:
        value, held, want = tiny.numbers(4, 2, 3, 3), tiny.numbers(4, 3, 3, 2), None
        nodes, inputs = [tiny.node("NhwcConv", ["x", key], "y", "/fc/Conv")], (("x", ["n", 3, 3, 2]),)
        nodes[0].domain = "com.microsoft"
    weights = {key: np.zeros_like(held), "two": np.float32(2)}
    graph = with_runtime_domain(tiny.graph(tmp_path / "m.onnx", nodes, weights, inputs, kinds=kinds))
    feed = {"i": np.arange(3)} if reader == "Gather" else None
    right_or_refused(tmp_path, graph, saved(tmp_path, fc__weight=value), want=want, feed=feed)


@pytest.mark.parametrize("based", [False, True])
def test_a_square_weight_of_an_operator_without_a_role(tmp_path, based):
    nodes = [tiny.node("Einsum", ["x", "fc.weight"], "y", "/fc/Einsum", equation="ni,io->no")]
    graph = tiny.graph(tmp_path / "m.onnx", nodes, {"fc.weight": W})
    arguments = base_of(tmp_path, fc__weight=W.T) if based else []
    right_or_refused(
        tmp_path, graph, saved(tmp_path, fc__weight=V), *arguments, want=X @ V.T if based else None
    )


def test_a_matrix_of_one_row_reshaped_to_one_column(tmp_path):
    """[1, 4] as [4, 1] is a transposition: the module has one output."""
    nodes = [tiny.node("Reshape", ["w", "s"], "c", "/fc/Reshape"), tiny.matmul("/fc/MatMul", "c")]
    model = onnx.load(tiny.graph(tmp_path / "m.onnx", nodes, {"w": W[:1]}))
    model.graph.initializer.append(numpy_helper.from_array(np.array([4, 1]), "s"))
    model.graph.value_info.append(helper.make_tensor_value_info("c", TensorProto.FLOAT, [4, 1]))
    onnx.save(model, tmp_path / "m.onnx")
    tensors, _ = tiny.lora("fc", 4, 1)
    folder = tiny.adapter(tmp_path / "wrong", tensors, target_modules=["fc"])
    right_or_refused(tmp_path, tmp_path / "m.onnx", folder, want=None)
    tensors, delta = tiny.lora("fc", 1, 4)
    folder = tiny.adapter(tmp_path / "right", tensors, target_modules=["fc"])
    product.opt(tmp_path / "m.onnx", "--adapter", f"x={folder}", "-o", tmp_path / "merged.onnx")
    tiny.close(tiny.answer(tmp_path / "merged.onnx", {"x": X}), X @ (W[:1] + delta).T)
