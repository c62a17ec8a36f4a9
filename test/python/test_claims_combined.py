# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Fused weights, several updates of one tensor, contents of a base, differences: right or refused."""

import numpy as np
import product
import pytest
import tiny
from claim_cases import (
    IDS,
    MODES,
    NEW,
    TABLE,
    W2,
    B,
    V,
    W,
    X,
    base_of,
    biased,
    by_ids,
    chain,
    lora_of,
    right_or_refused,
    right_or_refused_compiled,
    said_once,
    saved,
)
from onnx import TensorProto
from safetensors.numpy import save_file

QKV = tiny.numbers(12, 4)

# --------------------------------------------------------------------------------------------- fused weights


def fused(tmp_path, bias=None):
    nodes = [tiny.matmul("/qkv_proj/MatMul", "w", y="y" if bias is None else "h")]
    weights = {"w": QKV.T}
    if bias is not None:
        nodes.append(tiny.node("Add", ["h", "b"], "y", "/qkv_proj/Add"))
        weights["b"] = bias
    return tiny.graph(tmp_path / "m.onnx", nodes, weights)


@pytest.mark.parametrize("outputs", [{"q": 6, "k": 4, "v": 4}, {"k": 4, "v": 2}])
def test_parts_of_a_fused_weight_that_overlap(tmp_path, outputs):
    """An adapter of another model: its sizes do not add up to the graph's twelve outputs."""
    tensors = {}
    for name, size in outputs.items():
        tensors |= tiny.lora(f"{name}_proj", size, 4)[0]
    folder = tiny.adapter(tmp_path / "lora", tensors, target_modules=[f"{name}_proj" for name in outputs])
    right_or_refused(tmp_path, fused(tmp_path), folder, want=None)


@pytest.mark.parametrize("tuned, whole", [("q", "v"), ("v", "q")])
@pytest.mark.parametrize("time", [None, "switch", "call", "row"])
def test_a_lora_and_a_saved_part_of_one_tensor(tmp_path, tuned, whole, time):
    rows = {"q": slice(0, 4), "v": slice(8, 12)}
    tensors, delta = tiny.lora(f"{tuned}_proj", 4, 4)
    folder = tiny.adapter(
        tmp_path / "lora",
        tensors | {f"{whole}_proj.weight": V},
        target_modules=[f"{tuned}_proj"],
        modules_to_save=[f"{whole}_proj"],
    )
    changed = QKV.copy()
    changed[rows[tuned]] += delta
    changed[rows[whole]] = V
    if time is None:
        right_or_refused(tmp_path, fused(tmp_path), folder, want=X @ changed.T)
        return
    options = ["--adapter", f"x={folder}@{time}"]
    right_or_refused_compiled(tmp_path, fused(tmp_path), options, MODES[time], X @ changed.T)


@pytest.mark.parametrize("first", ["lora", "saved"])
def test_two_adapters_of_parts_of_one_tensor(tmp_path, first):
    tensors, delta = tiny.lora("q_proj", 4, 4)
    folders = [tiny.adapter(tmp_path / "lora", tensors, target_modules=["q_proj"])]
    folders.insert(0 if first == "saved" else 1, saved(tmp_path, v_proj__weight=V))
    changed = QKV.copy()
    changed[:4] += delta
    changed[8:] = V
    right_or_refused(tmp_path, fused(tmp_path), folders, want=X @ changed.T)


def test_an_added_and_a_saved_part_of_one_bias(tmp_path):
    bias = tiny.numbers(12, seed=8)
    tensors, delta = tiny.lora("q_proj", 4, 4)
    folder = tiny.adapter(
        tmp_path / "lora",
        tensors | {"q_proj.lora_B.bias": NEW, "v_proj.bias": B, "v_proj.weight": QKV[8:]},
        target_modules=["q_proj"],
        lora_bias=True,
        modules_to_save=["v_proj"],
    )
    changed, added = QKV.copy(), bias.copy()
    changed[:4] += delta
    added[:4] += NEW
    added[8:] = B
    right_or_refused(tmp_path, fused(tmp_path, bias), folder, want=X @ changed.T + added)


def test_a_saved_part_whose_checkpoint_is_transposed(tmp_path):
    """Found by contents; the framework stores it as [in, out], as GPT-2's Conv1D does."""
    graph = tiny.graph(tmp_path / "m.onnx", [tiny.matmul("n", "w")], {"w": np.concatenate([W, W2], 1)})
    arguments = base_of(tmp_path, h__a__weight=W, h__b__weight=W2)
    want = X @ np.concatenate([V, W2], 1)
    right_or_refused(tmp_path, graph, saved(tmp_path, h__a__weight=V), *arguments, want=want)


# ----------------------------------------------------------------------------- several updates of one tensor


@pytest.mark.parametrize("first", ["lora", "saved"])
def test_a_lora_is_not_replaced_in_silence(tmp_path, first):
    graph = tiny.graph(tmp_path / "m.onnx", [tiny.matmul("/fc/MatMul", "val_1")], {"val_1": W})
    folder, delta = lora_of(tmp_path, "fc")
    folders = [folder]
    folders.insert(0 if first == "saved" else 1, saved(tmp_path, fc__weight=V))
    right_or_refused(tmp_path, graph, folders, want=X @ (V.T + delta))


def test_two_adapters_that_replace_one_row(tmp_path):
    nodes = [tiny.node("Gather", ["embed.weight", "i"], "y", "/embed/Gather")]
    graph = by_ids(tmp_path / "m.onnx", nodes, {"embed.weight": TABLE})
    folders = [
        tiny.adapter(
            tmp_path / f"rows{i}",
            {"embed.token_adapter.trainable_tokens_delta": tiny.numbers(1, 4, seed=i)},
            trainable_token_indices=[2],
        )
        for i in range(2)
    ]
    right_or_refused(tmp_path, graph, folders, want=None, feed={"i": IDS})


# -------------------------------------------------------------------------------------------------- contents


@pytest.mark.parametrize("what", ["ones", "zeros"])
def test_a_constant_with_a_parameters_contents(tmp_path, what):
    """Two places of the graph hold what the base has once: one of them is not the parameter."""
    one = what == "ones"
    operator, held = ("Mul", np.ones(4, "f4")) if one else ("Add", np.zeros(4, "f4"))
    nodes = [
        tiny.node(operator, ["x", "c0"], "h", "a"),
        tiny.node("Relu", ["h"], "r", "b"),
        tiny.node(operator, ["r", "c1"], "y", "c"),
    ]
    graph = tiny.graph(tmp_path / "m.onnx", nodes, {"c0": held, "c1": held})
    name = "weight" if one else "bias"
    arguments = base_of(tmp_path, **{f"norm__{name}": held})
    right_or_refused(tmp_path, graph, saved(tmp_path, **{f"norm__{name}": NEW}), *arguments, want=None)


def test_two_products_with_zeros(tmp_path):
    zeros = np.zeros((4, 4), "f4")
    graph = chain(tmp_path, "a", "b", values=(zeros, zeros))
    folder, _ = lora_of(tmp_path, "fc")
    right_or_refused(tmp_path, graph, folder, *base_of(tmp_path, fc__weight=zeros), want=None)


@pytest.mark.parametrize("axis", [0, 1])
def test_a_scale_that_zeros_do_not_tell(tmp_path, axis):
    """A norm is folded into the weight; by what it scales a row of zeros is not to be seen."""
    w, s = W.copy(), np.abs(tiny.numbers(4, seed=2)) + 1
    w[(2, slice(None)) if axis == 0 else (slice(None), 2)] = 0
    s = s[:, None] if axis == 0 else s[None]
    graph = tiny.graph(tmp_path / "m.onnx", [tiny.matmul("/fc/MatMul", "val_1")], {"val_1": (s * w).T})
    folder, delta = lora_of(tmp_path, "fc")
    want = X @ (s * (w + delta.T)).T
    right_or_refused(tmp_path, graph, folder, *base_of(tmp_path, fc__weight=w), want=want)


@pytest.mark.parametrize("scale", ["number", "rows"])
@pytest.mark.parametrize("held", ["no bias", "zeros"])
@pytest.mark.parametrize("trained", ["added", "saved"])
def test_a_bias_beside_a_scaled_weight(tmp_path, scale, held, trained):
    """What scales the module's weight scales its bias, also where that is zero or left out."""
    s = np.float32(0.125) if scale == "number" else np.abs(tiny.numbers(4, seed=2)) + 1
    weights = {"val_1": W.T * s} | ({"val_2": np.zeros(4, "f4")} if held == "zeros" else {})
    node = tiny.node("Gemm", ["x", *weights], "y", "/fc/Gemm")
    graph = tiny.graph(tmp_path / "m.onnx", [node], weights)
    folder, delta = biased(tmp_path, replaces=trained == "saved")
    base = {"fc__weight": W} | ({"fc__bias": np.zeros(4, "f4")} if held == "zeros" else {})
    want = s * (X @ (W.T + delta) + NEW)
    right_or_refused(tmp_path, graph, folder, *base_of(tmp_path, **base), want=want)


def test_a_constant_vector_that_is_derived_in_two_ways(tmp_path):
    """2 is 1 + 1 and 2 * 1."""
    nodes = [tiny.node("Mul", ["x", "norm.weight"], "y", "/norm/Mul")]
    graph = tiny.graph(tmp_path / "m.onnx", nodes, {"norm.weight": np.full(4, 2, "f4")})
    arguments = base_of(tmp_path, norm__weight=np.ones(4, "f4"))
    right_or_refused(tmp_path, graph, saved(tmp_path, norm__weight=NEW), *arguments, want=None)


@pytest.mark.parametrize(
    "held", [{"fc__weight": tiny.numbers(8, 8)}, {"fc__weight": np.ones((4, 4), np.int8)}, {"g__weight": W}]
)
def test_a_base_that_cannot_be_the_graphs(tmp_path, held):
    """Of another shape or type, or without the module: nothing was compared with what --base names."""
    graph = tiny.graph(tmp_path / "m.onnx", [tiny.matmul("/fc/MatMul", "val_1")], {"val_1": W})
    folder, _ = lora_of(tmp_path, "fc")
    right_or_refused(tmp_path, graph, folder, *base_of(tmp_path, **held), want=None)


# ----------------------------------------------------------------------------------------------- differences


def differ(tmp_path, base, tuned):
    """The folder of a difference of rank 1, or nothing where that is refused."""
    save_file(base, tmp_path / "a.safetensors")
    save_file(tuned, tmp_path / "b.safetensors")
    files = [tmp_path / "a.safetensors", tmp_path / "b.safetensors"]
    done = product.call("adapter-opt", "diff", *files, "--as", "lora,rank=1", "-o", tmp_path / "delta")
    if done.returncode:
        return said_once(done)
    return tmp_path / "delta"


CHANGE = np.outer(tiny.numbers(4, seed=11), tiny.numbers(4, seed=12)).astype("f4")


@pytest.mark.parametrize("based", [False, True])
def test_a_square_linear_beside_transposed_weights(tmp_path, based):
    """A ViT encoder with GPT-2 as decoder: what the other weights are says nothing of this one."""
    base = {"dec.c_attn.weight": tiny.numbers(4, 6), "dec.c_attn.bias": tiny.numbers(6)}
    base |= {"enc.q.weight": W2, "enc.q.bias": B}
    folder = differ(tmp_path, base, base | {"enc.q.weight": W2 + CHANGE})
    nodes = [tiny.matmul("/enc/q/MatMul", "val_1", y="h"), tiny.node("Add", ["h", "b"], "y", "/enc/q/Add")]
    graph = tiny.graph(tmp_path / "m.onnx", nodes, {"val_1": W2.T, "b": B})
    arguments = ["--base", tmp_path / "a.safetensors"] if based else []
    if folder:
        right_or_refused(tmp_path, graph, folder, *arguments, want=X @ (W2 + CHANGE).T + B)


@pytest.mark.parametrize("based", [False, True])
def test_transposed_weights_that_are_all_square(tmp_path, based):
    """Nothing in the files says that these are GPT-2's [in, out]; the graph and the base do."""
    base = {"h.c_proj.weight": W2, "h.c_proj.bias": B}
    folder = differ(tmp_path, base, base | {"h.c_proj.weight": W2 + CHANGE})
    node = tiny.node("Gemm", ["x", *base], "y", "/h/c_proj/Gemm")
    graph = tiny.graph(tmp_path / "m.onnx", [node], base)
    arguments = ["--base", tmp_path / "a.safetensors"] if based else []
    if folder:
        right_or_refused(tmp_path, graph, folder, *arguments, want=X @ (W2 + CHANGE) + B)


# -------------------------------------------------------------------------------------- refused without need


@pytest.mark.parametrize("kind", ["a builder's name", "another parameter's name", "fused"])
def test_what_can_be_loaded(tmp_path, kind):
    """The runtime knows modules by the graph's names; the compiler alone what builders rename or fuse."""
    path, key, module = {
        "a builder's name": ("/layers.0/attn/q/MatMul", "w", "layers.0.self_attn.q"),
        "another parameter's name": ("/fc/MatMul", "fc.kernel", "fc"),
        "fused": ("/qkv_proj/MatMul", "w", "q_proj"),
    }[kind]
    held = QKV.T if kind == "fused" else W
    graph = tiny.graph(tmp_path / "m.onnx", [tiny.matmul(path, key)], {key: held})
    folder, delta = lora_of(tmp_path, module)
    changed = held.copy()
    changed[:, :4] += delta
    product.opt(graph, "--adapter", f"x={folder}", "-o", tmp_path / "merged.onnx")
    tiny.close(tiny.answer(tmp_path / "merged.onnx", {"x": X}), X @ changed)
    product.opt(graph, "--adapter-slot", "s:lora@row", "-o", tmp_path / "m.adapt")
    arguments = ["--load", f"x={folder}", *MODES["row"]]
    if kind == "another parameter's name":
        tiny.close(product.run(tmp_path / "m.adapt", {"x": X}, tmp_path, *arguments)["y"], X @ changed)
    else:
        np.save(tmp_path / "x.npy", X)
        inputs = ["--input", f"x={tmp_path / 'x.npy'}"]
        product.refused(
            "adapter-run", tmp_path / "m.adapt", *arguments, *inputs, mentions=[module, "no room"]
        )


@pytest.mark.parametrize("time", ["switch", "call", "row"])
def test_an_artifact_takes_its_own_adapter(tmp_path, time):
    """A vector saved as [4, 1]: compiled without a word, then refused when it runs."""
    x, w, v = tiny.numbers(3, 4, 4, seed=9), tiny.numbers(4, 1), tiny.numbers(4, 1, seed=3)
    nodes = [tiny.node("Mul", ["x", "s.weight"], "y", "/s/Mul")]
    graph = tiny.graph(tmp_path / "m.onnx", nodes, {"s.weight": w}, inputs=(("x", ["n", 4, 4]),))
    product.opt(graph, "--adapter", f"x={saved(tmp_path, s__weight=v)}@{time}", "-o", tmp_path / "m.adapt")
    tiny.close(product.run(tmp_path / "m.adapt", {"x": x}, tmp_path, *MODES[time])["y"], x * v)


def test_a_table_read_along_a_negative_axis(tmp_path):
    nodes = [tiny.node("Gather", ["e.weight", "i"], "y", "/e/Gather", axis=-2)]
    graph = by_ids(tmp_path / "m.onnx", nodes, {"e.weight": TABLE})
    a, b = tiny.numbers(1, 6), tiny.numbers(4, 1)
    tensors = {"e.lora_embedding_A": a, "e.lora_embedding_B": b}
    folder = tiny.adapter(tmp_path / "lora", tensors, target_modules=["e"])
    product.opt(graph, "--adapter", f"x={folder}", "-o", tmp_path / "merged.onnx")
    tiny.close(tiny.answer(tmp_path / "merged.onnx", {"i": IDS}), TABLE + (b @ a).T)


def test_one_parameter_in_two_types(tmp_path):
    """An encoder in f16 beside a decoder in f32: rounded, it is the same parameter."""
    (tmp_path / "in").mkdir()
    tiny.graph(tmp_path / "in" / "a.onnx", [tiny.matmul("/fc/MatMul", "w")], {"w": W})
    nodes = [tiny.node("Cast", ["w"], "f", "/fc/Cast", to=TensorProto.FLOAT), tiny.matmul("/fc/MatMul", "f")]
    tiny.graph(tmp_path / "in" / "b.onnx", nodes, {"w": W.astype(np.float16)})
    folder, delta = lora_of(tmp_path, "fc")
    product.opt(tmp_path / "in", "--adapter", f"x={folder}", "-o", tmp_path / "out")
    tiny.close(tiny.answer(tmp_path / "out" / "a.onnx", {"x": X}), X @ (W + delta))
