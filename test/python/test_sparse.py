# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Sparse updates that are bound after the build: undone to the bit, and beside others in one batch."""

import json

import numpy as np
import onnx
import product
import pytest
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save_file

IN, OUT = 40, 56  # more than one column block, and no multiple of one


def shira(folder, seed, r=2, shape=(OUT, IN), **wrong):
    """A SHiRA folder for the module `proj`; the dense change that it is."""
    rng = np.random.default_rng(seed)
    count = r * sum(shape)
    indices = np.stack(np.unravel_index(rng.choice(shape[0] * shape[1], count, replace=False), shape))
    values = rng.standard_normal(count).astype(np.float32)
    dense = np.zeros(shape)
    dense[tuple(indices)] = values
    tensors = {"shira_weight": values, "shira_indices": indices.astype(np.int32)} | wrong
    folder.mkdir()
    save_file(
        {f"base_model.model.proj.{key}": np.ascontiguousarray(value) for key, value in tensors.items()},
        folder / "adapter_model.safetensors",
    )
    config = {"peft_type": "SHIRA", "r": r, "target_modules": ["proj"]}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return dense


def lora(folder, seed, r=3):
    """A LoRA folder for `proj`; the dense change that it is."""
    rng = np.random.default_rng(seed)
    a, b = (rng.standard_normal(shape).astype(np.float32) for shape in ((r, IN), (OUT, r)))
    folder.mkdir()
    save_file(
        {"base_model.model.proj.lora_A.weight": a, "base_model.model.proj.lora_B.weight": b},
        folder / "adapter_model.safetensors",
    )
    config = {"peft_type": "LORA", "r": r, "lora_alpha": r, "target_modules": ["proj"]}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return b.astype(np.float64) @ a


@pytest.fixture
def linear(tmp_path):
    """The weight [IN, OUT] of linear.onnx, y = x W, module `proj`."""
    weight = np.random.default_rng(0).standard_normal((IN, OUT)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"], name="/proj/MatMul")],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", "sequence", IN])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", "sequence", OUT])],
        [numpy_helper.from_array(weight, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, tmp_path / "linear.onnx")
    return weight


def compiled(folder, *arguments):
    product.opt(folder / "linear.onnx", *arguments, "-o", folder / "model.adapt")
    return product.package().load(str(folder / "model.adapt"), threads=2)


def test_a_thousand_switches(tmp_path, linear):
    """Whatever came before, a switch ends at the same bits; the way back is free of drift."""
    changes = {name: shira(tmp_path / name, seed).T for seed, name in enumerate("abc")}
    model = compiled(tmp_path, *(f"--adapter={name}={tmp_path / name}@switch" for name in changes))
    identity = np.eye(IN, dtype=np.float32)[None]
    said = {}
    for name in (None, *changes):
        model.switch(name)
        said[name] = model(x=identity)["y"][0]  # the weight itself
    np.testing.assert_array_equal(said[None], linear)
    for name, change in changes.items():
        np.testing.assert_array_equal(said[name], (linear + change.astype(np.float64)).astype(np.float32))
    rng = np.random.default_rng(9)
    for name in rng.choice([None, *changes], 1000):
        model.switch(name)
        np.testing.assert_array_equal(model(x=identity)["y"][0], said[name])


def test_calls_under_way_keep_their_weights(tmp_path, linear):
    """A result of an earlier call is not touched by a switch, and scale acts on the way in only."""
    change = shira(tmp_path / "a", 1).T
    model = compiled(tmp_path, f"--adapter=a={tmp_path / 'a'}@switch:scale=0.5")
    identity = np.eye(IN, dtype=np.float32)[None]
    model.switch("a")
    before = model(x=identity)["y"]
    copy = before.copy()
    model.switch(None)
    model.switch("a")
    model.switch(None)
    np.testing.assert_array_equal(before, copy)
    np.testing.assert_array_equal(before[0], (linear + 0.5 * change).astype(np.float32))
    np.testing.assert_array_equal(model(x=identity)["y"][0], linear)


@pytest.mark.parametrize("mode", ["add", "overwrite"])
def test_rows(tmp_path, linear, mode):
    """Sparse and low-rank rows in one batch, two of them with one adapter."""
    changes = {"s": shira(tmp_path / "s", 1), "l": lora(tmp_path / "l", 2)}
    if mode == "overwrite":
        tuned = {"proj.weight": np.where(changes["s"] != 0, changes["s"], linear.T).astype(np.float32)}
        save_file({"proj.weight": np.ascontiguousarray(linear.T)}, tmp_path / "base.safetensors")
        save_file(tuned, tmp_path / "tuned.safetensors")
        files = [tmp_path / "base.safetensors", tmp_path / "tuned.safetensors"]
        product.opt("diff", *files, "--as", "sparse,mode=overwrite", "-o", tmp_path / "o")
        changes["s"] = tuned["proj.weight"].astype(np.float64) - linear.T
    folder = {"s": tmp_path / ("s" if mode == "add" else "o"), "l": tmp_path / "l"}
    model = compiled(tmp_path, *(f"--adapter={name}={path}@row" for name, path in folder.items()))
    x = np.random.default_rng(3).standard_normal((5, 3, IN)).astype(np.float32)
    rows = ["s", None, "l", "s", None]
    y = model(x=x, adapters=rows)["y"]
    for i, name in enumerate(rows):
        weight = linear + (changes[name].T if name else 0)
        expected = x[i].astype(np.float64) @ weight
        np.testing.assert_allclose(y[i], expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    np.testing.assert_array_equal(y[1], model(x=x)["y"][1])


def test_slot(tmp_path, linear):
    """A sparse adapter that arrives later; one that does not fit is refused with what is wrong."""
    change = shira(tmp_path / "a", 4).T
    model = compiled(tmp_path, "--adapter-slot=tenant:lora+sparse,rank=1@switch")
    model.load_adapter("a", str(tmp_path / "a"), slot="tenant")
    model.switch("a")
    identity = np.eye(IN, dtype=np.float32)[None]
    expected = (linear + change.astype(np.float64)).astype(np.float32)
    np.testing.assert_array_equal(model(x=identity)["y"][0], expected)
    shira(tmp_path / "wide", 5, shape=(OUT + 1, IN))
    with pytest.raises(Exception, match=r"index 56.*\[56, 40\]"):
        model.load_adapter("wide", str(tmp_path / "wide"), slot="tenant")


def test_refusals(tmp_path, linear):
    def refused(*mentions):
        product.refused(
            "adapter-opt",
            tmp_path / "linear.onnx",
            f"--adapter=a={tmp_path / 'a'}",
            "-o",
            tmp_path / "x.onnx",
            mentions=mentions,
        )
        for file in (tmp_path / "a").iterdir():
            file.unlink()
        (tmp_path / "a").rmdir()

    shira(tmp_path / "a", 1, shape=(OUT, IN + 1), r=1)
    refused("shira_weight", "[96] (r = 1)")
    count = 2 * (IN + OUT)
    indices = np.stack([np.arange(count) % OUT, np.arange(count) % IN]).astype(np.int32)
    shira(tmp_path / "a", 1, shira_indices=np.where(indices == 39, 40, indices).astype(np.int32))
    refused("shira_indices", "index 40", "40 columns", "/proj/MatMul")
    shira(tmp_path / "a", 1, shira_indices=np.zeros((2, count), np.int32))
    refused("shira_indices", "[0, 0] twice")
    shira(tmp_path / "a", 1, shira_weight=np.full(count, np.nan, np.float32))
    refused("shira_weight", "NaN")
