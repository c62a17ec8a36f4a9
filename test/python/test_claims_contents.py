# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Claims by contents: derived tensors, equal ones, other bases, and what is on record."""

import json

import numpy as np
import onnx
import product
import pytest
import tiny
from onnx import TensorProto, helper
from safetensors.numpy import save_file
from test_claims import X, merged, refused

# ------------------------------------------------------------------------------------------------ derivations


def base_of(tmp_path, tensors):
    save_file({k: np.ascontiguousarray(v) for k, v in tensors.items()}, tmp_path / "base.safetensors")
    return ["--base", tmp_path / "base.safetensors"]


@pytest.mark.parametrize("operator", ["Mul", "LayerNormalization"])
def test_one_plus_weight(tmp_path, operator):
    w, w2 = tiny.numbers(4), tiny.numbers(4, seed=1)
    graph = tiny.graph(
        tmp_path / "m.onnx", [tiny.node(operator, ["x", "c"], "y", f"/norm/{operator}_1")], {"c": 1 + w}
    )
    folder = tiny.adapter(tmp_path / "lora", {"norm.weight": w2}, modules_to_save=["norm"])
    refused(graph, folder, mentions=["norm", "'c'", "1 + weight", "--base"])
    normal = (
        X if operator == "Mul" else (X - X.mean(1, keepdims=True)) / np.sqrt(X.var(1, keepdims=True) + 1e-5)
    )
    arguments = base_of(tmp_path, {"norm.weight": w})
    tiny.close(merged(tmp_path, graph, folder, *arguments), normal * (1 + w2))
    table = product.opt(graph, "--adapter", f"x={folder}", *arguments, "--check")
    assert "1 + norm.weight" in table and "1 of 1 parameters proved by contents" in table


def test_one_plus_weight_has_no_room_in_a_slot(tmp_path):
    graph = tiny.graph(
        tmp_path / "m.onnx", [tiny.node("Mul", ["x", "c"], "y", "/norm/Mul_1")], {"c": tiny.numbers(4)}
    )
    product.refused(
        "adapter-opt",
        graph,
        "--adapter-slot",
        "s:replace@row",
        "-o",
        tmp_path / "m.adapt",
        mentions=["no place"],
    )


@pytest.mark.parametrize("what", ["lora", "dora", "saved"])
@pytest.mark.parametrize("scale", ["number", "rows", "columns"])
def test_a_scaled_weight(tmp_path, what, scale):
    """A norm after a linear scales its rows, one before it its columns, an attention's scale all of it."""
    w = tiny.numbers(5, 4)
    s = {
        "number": np.float32(0.125),
        "rows": tiny.numbers(5, 1, seed=7),
        "columns": tiny.numbers(1, 4, seed=7),
    }[scale]
    graph = tiny.graph(tmp_path / "m.onnx", [tiny.matmul("/fc/MatMul", "val_1")], {"val_1": (s * w).T})
    tensors, delta = tiny.lora("fc", 5, 4)
    config, changed = {"target_modules": ["fc"]}, w + delta
    if what == "dora":
        length = np.abs(tiny.numbers(5, seed=4)) + 1
        tensors["fc.lora_magnitude_vector"] = length
        changed = changed * (length / np.linalg.norm(changed, axis=1))[:, None]
        config["use_dora"] = True
    if what == "saved":
        changed = tiny.numbers(5, 4, seed=4)
        tensors, config = {"fc.weight": changed}, {"modules_to_save": ["fc"]}
    folder = tiny.adapter(tmp_path / "lora", tensors, **config)
    arguments = base_of(tmp_path, {"fc.weight": w})
    if what == "dora" and scale == "columns":
        refused(graph, folder, *arguments, mentions=["each column scaled"])
        return
    tiny.close(merged(tmp_path, graph, folder, *arguments), X @ (s * changed).T)


def test_a_norm_folded_into_a_linear(tmp_path):
    w, b = tiny.numbers(5, 4), tiny.numbers(5)
    s, mean = np.abs(tiny.numbers(5, seed=2)) + 0.5, tiny.numbers(5, seed=3)
    names = {"MatMulBnFusion_GemmB_fc": (s[:, None] * w).T, "MatMulBnFusion_GemmC_fc": s * (b - mean)}
    graph = tiny.graph(tmp_path / "m.onnx", [tiny.node("Gemm", ["x", *names], "y", "/fc/Gemm")], names)
    w2, b2 = tiny.numbers(5, 4, seed=4), tiny.numbers(5, seed=5)
    folder = tiny.adapter(tmp_path / "lora", {"fc.weight": w2, "fc.bias": b2}, modules_to_save=["fc"])
    refused(graph, folder, mentions=["normalisation is folded"])
    want = s * (X @ w2.T + b2 - mean)
    tiny.close(merged(tmp_path, graph, folder, *base_of(tmp_path, {"fc.weight": w, "fc.bias": b})), want)


def test_a_group_norm_of_ones_and_zeros(tmp_path):
    w, b, w2, b2 = (tiny.numbers(4, seed=i) for i in range(4))
    x = tiny.numbers(2, 4, 5, seed=9)
    scopes = ["", "norm", "group_norm"]
    nodes = [
        tiny.node("InstanceNormalization", ["x", "ones", "zeros"], "h", "n3", scopes),
        tiny.node("Mul", ["h", "norm.weight"], "m", "n4", scopes),
        tiny.node("Add", ["m", "norm.bias"], "y", "n5", scopes),
    ]
    weights = {
        "ones": np.ones(4, "f4"),
        "zeros": np.zeros(4, "f4"),
        "norm.weight": w[:, None],
        "norm.bias": b[:, None],
    }
    graph = tiny.graph(tmp_path / "m.onnx", nodes, weights, inputs=(("x", ["n", 4, 5]),))
    folder = tiny.adapter(tmp_path / "lora", {"norm.weight": w2, "norm.bias": b2}, modules_to_save=["norm"])
    normal = (x - x.mean(2, keepdims=True)) / np.sqrt(x.var(2, keepdims=True) + 1e-5)
    tiny.close(merged(tmp_path, graph, folder, feed={"x": x}), normal * w2[:, None] + b2[:, None])


def test_one_module_that_the_graph_splits(tmp_path):
    gate, up = tiny.numbers(3, 4), tiny.numbers(3, 4, seed=1)
    nodes = [
        tiny.matmul("/mlp/gate_proj/MatMul", "mlp.gate_proj.MatMul.weight", y="g"),
        tiny.matmul("/mlp/up_proj/MatMul", "mlp.up_proj.MatMul.weight", y="u"),
        tiny.node("Mul", ["g", "u"], "y", "/mlp/Mul"),
    ]
    weights = {"mlp.gate_proj.MatMul.weight": gate.T, "mlp.up_proj.MatMul.weight": up.T}
    graph = tiny.graph(tmp_path / "m.onnx", nodes, weights)
    tensors, delta = tiny.lora("mlp.gate_up_proj", 6, 4)
    folder = tiny.adapter(tmp_path / "lora", tensors, target_modules=["gate_up_proj"])
    tiny.close(merged(tmp_path, graph, folder), (X @ (gate + delta[:3]).T) * (X @ (up + delta[3:]).T))


# --------------------------------------------------------------------------------------------------- contents


def test_twins_are_told_apart_by_position(tmp_path):
    w = tiny.numbers(4, 4)
    nodes = [tiny.matmul("a", "w0", y="h"), tiny.matmul("b", "w1", x="h")]
    graph = tiny.graph(tmp_path / "m.onnx", nodes, {"w0": w, "w1": w})
    tensors, delta = tiny.lora("l.1.q", 4, 4)
    folder = tiny.adapter(tmp_path / "lora", tensors, target_modules=["q"])
    arguments = base_of(tmp_path, {"l.0.q.weight": w.T, "l.1.q.weight": w.T})
    tiny.close(merged(tmp_path, graph, folder, *arguments), X @ w @ (w + delta.T))


def test_twins_of_two_names_are_refused(tmp_path):
    w = tiny.numbers(4, 4)
    graph = tiny.graph(
        tmp_path / "m.onnx", [tiny.matmul("a", "w0", y="h"), tiny.matmul("b", "w0", x="h")], {"w0": w}
    )
    tensors, _ = tiny.lora("l.0.q", 4, 4)
    folder = tiny.adapter(tmp_path / "lora", tensors, target_modules=["q"])
    arguments = base_of(tmp_path, {"l.0.q.weight": w.T, "l.0.k.weight": w.T})
    refused(graph, folder, *arguments, mentions=["l.0.q.weight", "l.0.k.weight", "no name tells apart"])


def test_a_tied_checkpoint_lists_one_table(tmp_path):
    table = tiny.numbers(6, 4)
    nodes = [tiny.node("Gather", ["t0", "i"], "h", "a"), tiny.matmul("b", "t1", x="h")]
    graph = tiny.graph(
        tmp_path / "m.onnx",
        nodes,
        {"t0": table, "t1": table.T},
        inputs=(("i", ["n"]),),
        kinds={"i": TensorProto.INT64},
    )
    tensors, delta = tiny.lora("lm_head", 6, 4)
    folder = tiny.adapter(tmp_path / "lora", tensors, target_modules=["lm_head"])
    arguments = base_of(tmp_path, {"embed_tokens.weight": table})
    ids = np.arange(6)
    tiny.close(merged(tmp_path, graph, folder, *arguments, feed={"i": ids}), table @ (table + delta).T)


@pytest.fixture
def plain(tmp_path):
    w = tiny.numbers(4, 4)
    graph = tiny.graph(tmp_path / "m.onnx", [tiny.matmul("/fc/MatMul", "w")], {"w": w})
    tensors, delta = tiny.lora("fc", 4, 4)
    (tmp_path / "other").mkdir()
    save_file({"fc.weight": tiny.numbers(4, 4, seed=8)}, tmp_path / "other" / "model.safetensors")
    (tmp_path / "right").mkdir()
    save_file({"fc.weight": np.ascontiguousarray(w.T)}, tmp_path / "right" / "model.safetensors")
    folder = tiny.adapter(tmp_path / "lora", tensors, target_modules=["fc"])
    return graph, folder, X @ (w + delta.T)


def test_a_graph_that_is_not_the_base_is_refused(plain, tmp_path):
    graph, folder, want = plain
    arguments = ["--base", tmp_path / "other"]
    refused(graph, folder, *arguments, mentions=["1 parameters", "'fc.weight' by", "--allow-other-base"])
    tiny.close(merged(tmp_path, graph, folder, *arguments, "--allow-other-base"), want)


def test_proof_can_be_required(plain, tmp_path):
    graph, folder, want = plain
    refused(graph, folder, "--require-proof", mentions=["fc.weight", "--base"])
    arguments = ["--base", tmp_path / "right", "--require-proof"]
    tiny.close(merged(tmp_path, graph, folder, *arguments), want)


def test_the_base_that_the_adapter_names(plain, tmp_path):
    graph, folder, want = plain
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(
        json.dumps(config | {"base_model_name_or_path": str(tmp_path / "other")})
    )
    refused(graph, folder, mentions=["other", "--no-base"])
    tiny.close(merged(tmp_path, graph, folder, "--no-base"), want)
    (folder / "adapter_config.json").write_text(
        json.dumps(config | {"base_model_name_or_path": str(tmp_path / "right")})
    )
    assert "1 of 1 parameters proved" in product.opt(graph, "--adapter", f"x={folder}", "--check")


@pytest.mark.parametrize("kind", ["f16", "bf16 base"])
def test_a_base_of_another_type(plain, tmp_path, kind):
    """What was rounded on the way is the same number still."""
    import ml_dtypes

    graph, folder, _ = plain
    w = tiny.numbers(4, 4)
    if kind == "f16":
        graph = tiny.graph(
            tmp_path / "m.onnx", [tiny.matmul("/fc/MatMul", "w")], {"w": w.astype(np.float16).astype("f4")}
        )
        save_file({"fc.weight": np.ascontiguousarray(w.T)}, tmp_path / "b.safetensors")
    else:
        narrow = w.astype(ml_dtypes.bfloat16)
        graph = tiny.graph(tmp_path / "m.onnx", [tiny.matmul("/fc/MatMul", "w")], {"w": narrow.astype("f4")})
        save_file({"fc.weight": np.ascontiguousarray(narrow.T)}, tmp_path / "b.safetensors")
    arguments = ["--base", tmp_path / "b.safetensors", "--require-proof"]
    assert "1 of 1" in product.opt(graph, "--adapter", f"x={folder}", *arguments, "--check")


# --------------------------------------------------------------------------------------------------- messages


def test_a_quantised_weight_is_named(tmp_path):
    w = np.arange(16, dtype=np.int8).reshape(4, 4)
    nodes = [
        tiny.node("DequantizeLinear", ["w", "s"], "f", "/fc/DequantizeLinear"),
        tiny.matmul("/fc/MatMul", "f"),
    ]
    graph = tiny.graph(tmp_path / "m.onnx", nodes, {"w": w, "s": np.float32(0.1)})
    tensors, _ = tiny.lora("fc", 4, 4)
    folder = tiny.adapter(tmp_path / "lora", tensors, target_modules=["fc"])
    words, output = ["--adapter", f"x={folder}"], tmp_path / "o.onnx"
    mentions = ["quantised", "/fc/MatMul", ".adapt"]
    product.refused("adapter-opt", graph, *words, "-o", output, mentions=mentions)
    assert "1 of 1 modules placed" in product.opt(graph, *words, "--check")


def test_an_adapter_inside_the_graph_is_named(tmp_path):
    graph = tiny.graph(
        tmp_path / "m.onnx", [tiny.matmul("/fc/base_layer/MatMul", "w")], {"w": tiny.numbers(4, 4)}
    )
    tensors, _ = tiny.lora("fc", 4, 4)
    folder = tiny.adapter(tmp_path / "lora", tensors, target_modules=["fc"])
    refused(graph, folder, mentions=["fc.base_layer", "adapter inside"])


def test_local_functions_are_named(tmp_path):
    model = onnx.load(tiny.graph(tmp_path / "m.onnx", [tiny.matmul("a", "w")], {"w": tiny.numbers(4, 4)}))
    function = helper.make_function(
        "local", "F", ["x", "w"], ["y"], [tiny.matmul("", "w")], [helper.make_opsetid("", 18)]
    )
    model.functions.append(function)
    model.opset_import.append(helper.make_opsetid("local", 1))
    model.graph.node[0].op_type, model.graph.node[0].domain = "F", "local"
    onnx.save(model, tmp_path / "m.onnx")
    tensors, _ = tiny.lora("fc", 4, 4)
    folder = tiny.adapter(tmp_path / "lora", tensors, target_modules=["fc"])
    refused(tmp_path / "m.onnx", folder, mentions=["local functions", "inline"])


# ----------------------------------------------------------------------------------------------------- record


def test_what_was_merged_is_on_record(plain, tmp_path):
    graph, folder, _ = plain
    merged(tmp_path, graph, folder, "--base", tmp_path / "right")
    metadata = {p.key: p.value for p in onnx.load(tmp_path / "merged.onnx").metadata_props}
    (record,) = json.loads(metadata["adapter_opt.attachments"])
    assert record["adapter"] == "x" and len(record["hash"]) == 32 and len(record["base_digest"]) == 32
    (parameter,) = record["parameters"]
    assert (parameter["module"], parameter["parameter"], parameter["evidence"]) == (
        "fc",
        "weight",
        "contents",
    )
    # It outlives another run, and an artifact carries it on.
    product.opt(tmp_path / "merged.onnx", "--adapter", f"y={folder}@row", "-o", tmp_path / "m.adapt")
    info = json.loads(product.call("adapter-run", "info", tmp_path / "m.adapt").stdout)
    assert [(each["adapter"], each["time"]) for each in info["attachments"]] == [("x", "build"), ("y", "row")]


def test_the_loss_of_a_narrow_merge_is_on_record(tmp_path):
    w = tiny.numbers(64, 64).astype(np.float16)
    nodes = [
        tiny.node("Cast", ["x"], "h", to=TensorProto.FLOAT16),
        tiny.matmul("/fc/MatMul", "w", x="h", y="z"),
        tiny.node("Cast", ["z"], "y", to=TensorProto.FLOAT),
    ]
    graph = tiny.graph(tmp_path / "m.onnx", nodes, {"w": w}, inputs=(("x", ["n", 64]),))
    tensors, _ = tiny.lora("fc", 64, 64)
    folder = tiny.adapter(tmp_path / "lora", tensors, target_modules=["fc"])
    product.opt(graph, "--adapter", f"x={folder}", "-o", tmp_path / "merged.onnx")
    (record,) = json.loads(onnx.load(tmp_path / "merged.onnx").metadata_props[0].value)
    assert 0 < record["parameters"][0]["retained_error"] < 0.1


def test_an_adapter_of_another_base_is_not_loaded(tmp_path):
    """Of adapters that record their base, as those of adapter-opt diff do."""
    w = tiny.numbers(4, 4)
    graph = tiny.graph(tmp_path / "m.onnx", [tiny.matmul("/fc/MatMul", "w")], {"w": w.T})
    save_file({"fc.weight": w}, tmp_path / "base.safetensors")
    save_file({"fc.weight": w + 1}, tmp_path / "other.safetensors")
    changed = w.copy()
    changed[1] += tiny.numbers(4, seed=3)
    save_file({"fc.weight": changed}, tmp_path / "tuned.safetensors")
    for base in ("base", "other"):
        files = [tmp_path / f"{base}.safetensors", tmp_path / "tuned.safetensors"]
        product.opt("diff", *files, "--as", "lora,rank=4", "-o", tmp_path / f"delta-{base}")
    np.save(tmp_path / "x.npy", X)
    arguments = ["--row-adapters", "a,a,a", "--input", f"x={tmp_path}/x.npy"]
    product.opt(
        graph,
        "--adapter-slot",
        "s:lora@row",
        "--base",
        tmp_path / "base.safetensors",
        "-o",
        tmp_path / "m.adapt",
    )
    got = product.run(
        tmp_path / "m.adapt",
        {"x": X},
        tmp_path,
        "--load",
        f"a={tmp_path}/delta-base",
        "--row-adapters",
        "a,a,a",
    )
    tiny.close(got["y"], X @ changed.T)
    load = ["--load", f"a={tmp_path}/delta-other"]
    product.refused("adapter-run", tmp_path / "m.adapt", *load, *arguments, mentions=["another base"])
    done = product.call("adapter-run", tmp_path / "m.adapt", *load, *arguments, "--allow-other-base")
    assert done.returncode == 0, done.stderr
    ao = product.package()
    with pytest.raises(ValueError, match="another base"):
        ao.load(tmp_path / "m.adapt").load_adapter("a", tmp_path / "delta-other")
    ao.load(tmp_path / "m.adapt", allow_other_base=True).load_adapter("a", tmp_path / "delta-other")


def test_room_is_compared_with_the_base(tmp_path):
    graph = tiny.graph(tmp_path / "m.onnx", [tiny.matmul("/fc/MatMul", "w")], {"w": tiny.numbers(4, 4)})
    save_file({"fc.weight": tiny.numbers(4, 4, seed=2)}, tmp_path / "base.safetensors")
    arguments = [graph, "--adapter-slot", "s:lora@row", "--base", tmp_path / "base.safetensors"]
    product.refused("adapter-opt", *arguments, "-o", tmp_path / "m.adapt", mentions=["fc.weight"])
    product.opt(*arguments, "--allow-other-base", "-o", tmp_path / "m.adapt")


def test_python_says_the_same(plain, tmp_path):
    graph, folder, want = plain
    ao = product.package()
    found = ao.check(graph, {"x": folder}, checkpoint=tmp_path / "right", require_proof=True)
    assert (found["proved"], found["parameters"]) == (1, 1)
    assert found["updates"][0]["evidence"] == "contents"
    with pytest.raises(ValueError, match="--allow-other-base"):
        ao.merge(graph, {"x": folder}, tmp_path / "merged.onnx", checkpoint=tmp_path / "other")
    ao.merge(
        graph, {"x": folder}, tmp_path / "merged.onnx", checkpoint=tmp_path / "other", allow_other_base=True
    )
    tiny.close(tiny.answer(tmp_path / "merged.onnx", {"x": X}), want)


def test_a_bias_of_the_next_product_is_not_this_ones(tmp_path):
    """Both are zero, and the exporter dropped the first."""
    w, w2, zero, b = (
        tiny.numbers(4, 4),
        tiny.numbers(4, 4, seed=1),
        np.zeros(4, "f4"),
        tiny.numbers(4, seed=2),
    )
    nodes = [tiny.matmul("a", "t0", y="h"), tiny.node("Gemm", ["h", "t1", "t2"], "y", "b")]
    graph = tiny.graph(tmp_path / "m.onnx", nodes, {"t0": w, "t1": w2, "t2": zero})
    folder = tiny.adapter(tmp_path / "lora", {"q.weight": w.T, "q.bias": b}, modules_to_save=["q"])
    arguments = base_of(tmp_path, {"q.weight": w.T, "q.bias": zero, "k.weight": w2.T, "k.bias": zero})
    done = product.call(
        "adapter-opt", graph, "--adapter", f"x={folder}", *arguments, "-o", tmp_path / "o.onnx"
    )
    if done.returncode == 0:
        tiny.close(tiny.answer(tmp_path / "o.onnx", {"x": X}), (X @ w + b) @ w2)
    else:
        assert "q" in done.stderr and done.returncode == 1
