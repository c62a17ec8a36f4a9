# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The weights that a switch makes, element by element: products with the identity, held against float64."""

import json

import numpy as np
import onnx
import product
import pytest
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save_file

# Inputs, outputs, rank: of one panel and of several, whole and cut off.
SIZES = [
    (13, 45, 1),
    (64, 32, 3),
    (100, 130, 16),
    (257, 96, 64),
    (5, 7, 4),
    (48, 200, 70),
    (33, 31, 8),
    (96, 64, 5),
]
VOCABULARY = 61  # entries of the table, whose width is the first weight's number of inputs


def graph(path, weights, table, stored):
    """y<i> = x<i> W<i>, the weights [out, in] in Gemm or [in, out] in MatMul, and e = table[ids]."""
    nodes, inputs, outputs, initializers = [], [], [], [numpy_helper.from_array(table, "emb.weight")]
    for i, weight in enumerate(weights):
        name, x, y = f"m{i}.weight", f"x{i}", f"y{i}"
        if stored == "out, in":
            nodes.append(helper.make_node("Gemm", [x, name], [y], name=f"/m{i}/Gemm", transB=1))
        else:
            nodes.append(helper.make_node("MatMul", [x, name], [y], name=f"/m{i}/MatMul"))
            weight = weight.T.copy()
        initializers.append(numpy_helper.from_array(weight, name))
        inputs.append(helper.make_tensor_value_info(x, TensorProto.FLOAT, ["n" + x, SIZES[i][0]]))
        outputs.append(helper.make_tensor_value_info(y, TensorProto.FLOAT, ["n" + x, SIZES[i][1]]))
    nodes.append(helper.make_node("Gather", ["emb.weight", "ids"], ["e"], name="/emb/Gather"))
    inputs.append(helper.make_tensor_value_info("ids", TensorProto.INT64, ["n"]))
    outputs.append(helper.make_tensor_value_info("e", TensorProto.FLOAT, ["n", table.shape[1]]))
    made = helper.make_graph(nodes, "linears", inputs, outputs, initializers)
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def lora(rng, weights, table, kind):
    """Tensors of a LoRA on all of it, its configuration, and the weights with it in float64."""
    tensors, expected, ranks = {}, [], {}
    for i, weight in enumerate(weights):
        (inner, outer, rank), where = SIZES[i], f"base_model.model.m{i}"
        a, b = rng.standard_normal((rank, inner)), rng.standard_normal((outer, rank))
        a, b = a.astype(np.float32), b.astype(np.float32)
        tensors |= {f"{where}.lora_A.weight": a, f"{where}.lora_B.weight": b}
        updated = weight + 8 / rank * (b.astype(np.float64) @ a)
        if kind == "dora":
            length = rng.uniform(0.5, 1.5, outer).astype(np.float32)
            length[0] = 0
            tensors[f"{where}.lora_magnitude_vector"] = length
            updated *= (length / np.linalg.norm(updated, axis=1))[:, None]
        expected.append(updated)
        ranks[f"m{i}"] = rank
    if kind == "lora":
        a = rng.standard_normal((6, VOCABULARY)).astype(np.float32)
        b = rng.standard_normal((table.shape[1], 6)).astype(np.float32)
        tensors |= {"base_model.model.emb.lora_embedding_A": a, "base_model.model.emb.lora_embedding_B": b}
        table = table + 8 / 6 * (b.astype(np.float64) @ a).T
        ranks["emb"] = 6
    config = {
        "peft_type": "LORA",
        "r": 6,
        "lora_alpha": 8,
        "rank_pattern": ranks,
        "use_dora": kind == "dora",
        "target_modules": sorted(ranks),
    }
    return tensors, config, expected, table


def ia3(rng, weights, table, kind):
    """Scales outputs; with `feedforward` inputs, which no scaling of columns can do."""
    modules = [f"m{i}" for i in range(len(weights))]
    tensors, expected = {}, []
    for i, weight in enumerate(weights):
        feedforward = kind == "ia3 inputs"
        scale = rng.uniform(-1.5, 1.5, weight.shape[1 if feedforward else 0]).astype(np.float32)
        tensors[f"base_model.model.m{i}.ia3_l"] = scale[None, :] if feedforward else scale[:, None]
        expected.append(weight.astype(np.float64) * (scale[None, :] if feedforward else scale[:, None]))
    feedforward = modules if kind == "ia3 inputs" else []
    config = {"peft_type": "IA3", "target_modules": modules, "feedforward_modules": feedforward}
    return tensors, config, expected, table


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("stored", ["out, in", "in, out"])
@pytest.mark.parametrize("kind", ["lora", "dora", "ia3", "ia3 inputs"])
def test_weights(tmp_path, kind, stored, threads):
    rng = np.random.default_rng(7)
    weights = [rng.standard_normal((outer, inner)).astype(np.float32) for inner, outer, _ in SIZES]
    table = rng.standard_normal((VOCABULARY, SIZES[0][0])).astype(np.float32)
    graph(tmp_path / "base.onnx", weights, table, stored)
    expected = {None: (weights, table)}
    for name in "ab":
        make = lora if kind in ("lora", "dora") else ia3
        tensors, config, *expected[name] = make(rng, weights, table, kind)
        folder = tmp_path / name
        folder.mkdir()
        save_file(
            {key: np.ascontiguousarray(value) for key, value in tensors.items()},
            folder / "adapter_model.safetensors",
        )
        (folder / "adapter_config.json").write_text(json.dumps(config))
    arguments = [f"--adapter={name}={tmp_path / name}@switch" for name in "ab"]
    product.opt(tmp_path / "base.onnx", *arguments, "-o", tmp_path / "m.adapt")
    model = product.package().load(str(tmp_path / "m.adapt"), threads=threads)
    feed = {f"x{i}": np.eye(inner, dtype=np.float32) for i, (inner, _, _) in enumerate(SIZES)}
    feed["ids"] = np.arange(VOCABULARY)
    for name in (None, "a", "b", None, "b", "a", None):
        model.switch(name)
        y, (linears, entries) = model(**feed), expected[name]
        for i, weight in enumerate([*linears, entries]):
            got = y[f"y{i}"].T if i < len(weights) else y["e"]
            if name is None:
                assert np.array_equal(got, weight), f"weight {i} is not pristine"
            else:
                error = np.abs(got - weight).max() / np.abs(weight).max()
                assert error < 1e-6, f"weight {i} of {name}: off by {error:.1e}"
