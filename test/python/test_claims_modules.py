# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Which module a node is of, and who else reads its weight: applied right or refused."""

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
    by_ids,
    chain,
    loaded,
    lora_of,
    normal,
    right_or_refused,
    right_or_refused_compiled,
    said_once,
    saved,
)
from safetensors.numpy import save_file

# ---------------------------------------------------------------------------------------- which module it is


@pytest.mark.parametrize("names", ["shared", "two copies"])
@pytest.mark.parametrize("way", ["merged", "loaded"])
def test_a_module_called_like_a_second_call_in_metadata(tmp_path, names, way):
    """The exporter wrote paths of modules down, so that fc_1 is a module and not fc's second call."""
    scopes = (["", "fc", "linear"], ["", "fc_1", "linear_1"])
    graph = chain(tmp_path, "n1", "n2", w2="w" if names == "shared" else "w2", values=(W, W), scopes=scopes)
    folder, delta = lora_of(tmp_path, "fc")
    want = X @ (W + delta) @ W
    if way == "merged":
        right_or_refused(tmp_path, graph, folder, want=want)
    else:
        loaded(tmp_path, graph, "lora", folder, want, "row")


@pytest.mark.parametrize("based", [False, True])
def test_a_module_called_like_a_second_call_with_its_own_tensor(tmp_path, based):
    graph = chain(tmp_path, "/fc/MatMul", "/fc_1/MatMul", "fc.weight", "fc_1.weight", (W, W))
    arguments = base_of(tmp_path, fc__weight=W.T, fc_1__weight=W.T) if based else []
    folder, delta = lora_of(tmp_path, "fc")
    right_or_refused(tmp_path, graph, folder, *arguments, want=X @ (W + delta) @ W)


def test_norms_called_like_calls_that_share_their_ones(tmp_path):
    nodes = [
        tiny.node("Mul", ["x", "norm.weight"], "h", "n1", ["", "norm", "mul"]),
        tiny.node("Mul", ["h", "norm.weight"], "y", "n2", ["", "norm_1", "mul_1"]),
    ]
    graph = tiny.graph(tmp_path / "m.onnx", nodes, {"norm.weight": np.ones(4, "f4")})
    right_or_refused(tmp_path, graph, saved(tmp_path, norm__weight=NEW), want=X * NEW)


def test_attn_beside_self_attn(tmp_path):
    graph = chain(tmp_path, "/layers.0/attn/q/MatMul", "/layers.0/self_attn/q/MatMul")
    folder, delta = lora_of(tmp_path, "layers.0.self_attn.q")
    right_or_refused(tmp_path, graph, folder, want=X @ W @ (W2 + delta))


@pytest.mark.parametrize("way", ["merged", "loaded"])
def test_a_flattened_name_of_two_modules(tmp_path, way):
    graph = chain(tmp_path, "/down_blocks/0/q/MatMul", "/down/blocks/0/q/MatMul")
    key = "lora_unet_down_blocks_0_q"
    factors = {".lora_down.weight": tiny.numbers(1, 4), ".lora_up.weight": tiny.numbers(4, 1)}
    save_file({key + end: value for end, value in factors.items()}, tmp_path / "kohya.safetensors")
    if way == "merged":
        right_or_refused(tmp_path, graph, tmp_path / "kohya.safetensors", want=None)
    else:
        loaded(tmp_path, graph, "lora", tmp_path / "kohya.safetensors", None)


@pytest.mark.parametrize("renamings", [["*.q=q"], ["a.q=q", "b.q=q"]])
def test_renamings_that_make_one_module_of_two(tmp_path, renamings):
    graph = tiny.graph(tmp_path / "m.onnx", [tiny.matmul("/q/MatMul", "w")], {"w": W})
    folder, *_ = lora_of(tmp_path, "a.q", "b.q")
    arguments = [a for text in renamings for a in ("--map", text)]
    right_or_refused(tmp_path, graph, folder, *arguments, want=None)


def test_two_keys_of_one_module(tmp_path):
    graph = tiny.graph(tmp_path / "m.onnx", [tiny.matmul("/m/q/MatMul", "w")], {"w": W})
    folder, *_ = lora_of(tmp_path, "m.q", "m.base_layer.q", target_modules=["q"])
    right_or_refused(tmp_path, graph, folder, want=None)


@pytest.mark.parametrize("time", ["switch", "call", "row"])
def test_a_slot_at_a_module_with_two_weights(tmp_path, time):
    """What is refused while compiling is refused when it is loaded."""
    graph = chain(tmp_path, "/fc/MatMul", "/fc/MatMul_1")
    folder, _ = lora_of(tmp_path, "fc")
    right_or_refused(tmp_path, graph, folder, want=None)
    loaded(tmp_path, graph, "lora", folder, None, time)


def test_an_ambiguous_module_in_one_of_two_graphs(tmp_path):
    (tmp_path / "in").mkdir()
    tiny.graph(tmp_path / "in" / "a.onnx", [tiny.matmul("/fc/MatMul", "w")], {"w": W})
    chain(tmp_path, "/p/fc/MatMul", "/q/fc/MatMul").rename(tmp_path / "in" / "b.onnx")
    folder, _ = lora_of(tmp_path, "fc")
    said_once(
        product.call("adapter-opt", tmp_path / "in", "--adapter", f"x={folder}", "-o", tmp_path / "out")
    )


@pytest.mark.parametrize("glob", ["*k", "*"])
def test_what_is_ignored_as_missing_is_missing(tmp_path, glob):
    graph = chain(tmp_path, "/q/MatMul", "/k/MatMul")
    folder, first, second, _ = lora_of(tmp_path, "q", "k", "pooler.k")
    want = X @ (W + first) @ (W2 + second)
    right_or_refused(tmp_path, graph, folder, "--ignore-missing", glob, want=want)


@pytest.mark.parametrize("indices", [{"tokens": [1], "embed_tokens": [2]}, {"embed_tokens": [2]}])
def test_rows_of_a_module_with_a_longer_name(tmp_path, indices):
    graph = by_ids(
        tmp_path / "m.onnx",
        [tiny.node("Gather", ["embed_tokens.weight", "i"], "y", "/embed_tokens/Gather")],
        {"embed_tokens.weight": TABLE},
    )
    rows = {"embed_tokens.token_adapter.trainable_tokens_delta": NEW[None]}
    folder = tiny.adapter(tmp_path / "lora", rows, trainable_token_indices=indices)
    want = TABLE.copy()
    want[2] = NEW
    right_or_refused(tmp_path, graph, folder, want=want, feed={"i": IDS})


# ----------------------------------------------------------------------------------------- who else reads it


@pytest.mark.parametrize("what", ["lora", "saved"])
@pytest.mark.parametrize("time", [None, "switch", "row"])
def test_a_module_that_reads_its_weight_twice(tmp_path, what, time):
    nodes = [
        tiny.matmul("/fc/MatMul", "w", y="h"),
        tiny.node("ReduceSum", ["w"], "s", "/fc/ReduceSum", keepdims=0),
        tiny.node("Div", ["h", "s"], "y", "/fc/Div"),
    ]
    graph = tiny.graph(tmp_path / "m.onnx", nodes, {"w": W})
    folder, delta = lora_of(tmp_path, "fc")
    changed = W + delta if what == "lora" else V.T
    folder = folder if what == "lora" else saved(tmp_path, fc__weight=V)
    want = X @ changed / changed.sum()
    if time is None:
        right_or_refused(tmp_path, graph, folder, want=want)
    else:
        right_or_refused_compiled(tmp_path, graph, ["--adapter", f"x={folder}@{time}"], MODES[time], want)


@pytest.mark.parametrize("based", [False, True])
def test_a_second_product_without_a_name(tmp_path, based):
    graph = chain(tmp_path, "/fc/MatMul", "", w2="w", values=(W, W))
    arguments = base_of(tmp_path, fc__weight=W.T) if based else []
    folder, delta = lora_of(tmp_path, "fc")
    right_or_refused(tmp_path, graph, folder, *arguments, want=X @ (W + delta) @ (W + delta))


def test_a_tied_table_without_names_of_nodes(tmp_path):
    """PEFT's saved copy of an embedding leaves the head as it is."""
    nodes = [
        tiny.node("Gather", ["embed.weight", "i"], "h"),
        tiny.node("Transpose", ["embed.weight"], "t", perm=[1, 0]),
        tiny.matmul("", "t", x="h"),
    ]
    graph = by_ids(tmp_path / "m.onnx", nodes, {"embed.weight": TABLE})
    value = tiny.numbers(6, 4, seed=4)
    right_or_refused(
        tmp_path, graph, saved(tmp_path, embed__weight=value), want=value @ TABLE.T, feed={"i": IDS}
    )


@pytest.mark.parametrize("head", ["named", "other name", "no name", "one initialiser", "table first"])
@pytest.mark.parametrize("way", ["merged", "loaded", "loaded into the embedding alone"])
def test_rows_follow_every_tie(tmp_path, head, way):
    nodes = [tiny.node("Gather", ["t0", "i"], "h", "/embed_tokens/Gather")]
    weights = {"t0": TABLE}
    if head == "table first":
        nodes += [
            tiny.node("Transpose", ["h"], "t", "/lm_head/Transpose", perm=[1, 0]),
            tiny.node("MatMul", ["t0", "t"], "z", "/lm_head/MatMul"),
            tiny.node("Transpose", ["z"], "y", "/lm_head/Transpose_1", perm=[1, 0]),
        ]
    elif head == "one initialiser":
        nodes += [tiny.node("Transpose", ["t0"], "t1", perm=[1, 0]), tiny.matmul("", "t1", x="h")]
    else:
        name = {"named": "/lm_head/MatMul", "other name": "b", "no name": ""}[head]
        nodes.append(tiny.matmul(name, "t1", x="h"))
        weights["t1"] = TABLE.T
    graph = by_ids(tmp_path / "m.onnx", nodes, weights)
    rows = {"embed_tokens.token_adapter.trainable_tokens_delta": NEW[None]}
    folder = tiny.adapter(tmp_path / "lora", rows, trainable_token_indices=[2])
    changed = TABLE.copy()
    changed[2] = NEW
    if way == "merged":
        right_or_refused(tmp_path, graph, folder, want=changed @ changed.T, feed={"i": IDS})
    else:
        slot = "rows" + (",modules=embed_tokens" if "alone" in way else "")
        loaded(tmp_path, graph, slot, folder, changed @ changed.T, feed={"i": IDS})


@pytest.mark.parametrize("what", ["weight", "bias", "both"])
def test_weight_and_bias_of_a_norm_in_one_initialiser(tmp_path, what):
    """Exporters merge equal tensors, those of one module too: here a norm that starts as zero."""
    scopes = ["", "norm", "layer_norm"]
    nodes = [tiny.node("LayerNormalization", ["x", "norm.weight", "norm.weight"], "y", "n", scopes)]
    graph = tiny.graph(tmp_path / "m.onnx", nodes, {"norm.weight": np.zeros(4, "f4")})
    tensors = {"norm__weight": B} if what != "bias" else {}
    tensors |= {"norm__bias": NEW} if what != "weight" else {}
    want = normal(X) * tensors.get("norm__weight", 0) + tensors.get("norm__bias", 0)
    right_or_refused(tmp_path, graph, saved(tmp_path, **tensors), want=np.broadcast_to(want, X.shape))


@pytest.mark.parametrize("what", [["bias"], ["weight", "bias"], ["weight", "bias", "running_mean"]])
def test_a_fresh_batch_norm(tmp_path, what):
    """Its mean is as zero as its bias, its variance as one as its weight."""
    operands = ["x", "bn.weight", "bn.bias", "bn.bias", "bn.weight"]
    nodes = [tiny.node("BatchNormalization", operands, "y", "n", ["", "bn", "batch_norm"])]
    graph = tiny.graph(
        tmp_path / "m.onnx", nodes, {"bn.weight": np.ones(4, "f4"), "bn.bias": np.zeros(4, "f4")}
    )
    values = {"weight": np.abs(B) + 1, "bias": NEW, "running_mean": V[0]}
    folder = saved(tmp_path, **{f"bn__{name}": values[name] for name in what})
    got = {"weight": 1, "running_mean": 0} | {name: values[name] for name in what}
    want = (X - got["running_mean"]) / np.sqrt(np.float32(1 + 1e-5)) * got["weight"] + got["bias"]
    right_or_refused(tmp_path, graph, folder, want=want)
