# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""adapter-opt diff: what it extracts, merged again, is the tuned checkpoint; PEFT reads its LoRA."""

import re

import numpy as np
import onnx
import onnxruntime
import peft
import product
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file, save_file

SHAPES = {
    "embed_tokens.weight": (40, 24),
    "layers.0.q.weight": (32, 24),
    "layers.0.q.bias": (32,),
    "layers.0.norm.weight": (32,),
    "layers.0.norm.bias": (32,),
    "layers.0.o.weight": (32, 32),
}


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embed_tokens = torch.nn.Embedding(40, 24)
        layer = torch.nn.Module()
        layer.q, layer.norm = torch.nn.Linear(24, 32), torch.nn.LayerNorm(32)
        layer.o = torch.nn.Linear(32, 32, bias=False)
        self.layers = torch.nn.ModuleList([layer])

    def forward(self, ids):
        layer = self.layers[0]
        return layer.o(layer.norm(layer.q(self.embed_tokens(ids))))


def graph(weights):
    """The model in ONNX; initialisers have the checkpoint's names."""
    nodes = [
        helper.make_node("Gather", ["embed_tokens.weight", "ids"], ["e"], name="/embed_tokens/Gather"),
        helper.make_node(
            "Transpose", ["layers.0.q.weight"], ["qt"], perm=[1, 0], name="/layers.0/q/Transpose"
        ),
        helper.make_node("MatMul", ["e", "qt"], ["m"], name="/layers.0/q/MatMul"),
        helper.make_node("Add", ["layers.0.q.bias", "m"], ["h"], name="/layers.0/q/Add"),
        helper.make_node(
            "LayerNormalization",
            ["h", "layers.0.norm.weight", "layers.0.norm.bias"],
            ["n"],
            name="/layers.0/norm/LayerNormalization",
        ),
        helper.make_node(
            "Transpose", ["layers.0.o.weight"], ["ot"], perm=[1, 0], name="/layers.0/o/Transpose"
        ),
        helper.make_node("MatMul", ["n", "ot"], ["y"], name="/layers.0/o/MatMul"),
    ]
    inputs = [helper.make_tensor_value_info("ids", TensorProto.INT64, ["batch", "sequence"])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", "sequence", 32])]
    tensors = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    made = helper.make_graph(nodes, "model", inputs, outputs, tensors)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


@pytest.fixture
def base(tmp_path):
    """Weights of the base; base.safetensors and base.onnx lie in tmp_path."""
    rng = np.random.default_rng(3)
    weights = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in SHAPES.items()}
    save_file(weights, tmp_path / "base.safetensors")
    onnx.save(graph(weights), tmp_path / "base.onnx")
    return weights


def extract(folder, tuned, form):
    """The folder that diff writes for a tuned checkpoint, and what it prints."""
    save_file(tuned, folder / "tuned.safetensors")
    said = product.opt(
        "diff",
        folder / "base.safetensors",
        folder / "tuned.safetensors",
        "--as",
        form,
        "-o",
        folder / "delta",
    )
    return folder / "delta", said


def merged(folder, adapter):
    """The initialisers after merging an adapter into base.onnx."""
    product.opt(folder / "base.onnx", f"--adapter=d={adapter}", "-o", folder / "merged.onnx")
    model = onnx.load(folder / "merged.onnx")
    return {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}


def sparsely_tuned(base, share=0.05):
    rng = np.random.default_rng(4)
    return {
        name: np.where(
            rng.random(value.shape) < share, value + rng.standard_normal(value.shape), value
        ).astype(np.float32)
        for name, value in base.items()
    }


def low_rank_tuned(base, rank):
    rng = np.random.default_rng(5)
    tuned = {}
    for name, value in base.items():
        change = rng.standard_normal(value.shape)
        if value.ndim == 2:
            change = rng.standard_normal((value.shape[0], rank)) @ rng.standard_normal((rank, value.shape[1]))
        tuned[name] = (value + 0.1 * change).astype(np.float32)
    return tuned


def test_sparse_differences(tmp_path, base):
    tuned = sparsely_tuned(base)
    folder, said = extract(tmp_path, tuned, "sparse")
    assert re.search(r"6 tensors changed, 0 did not; .* holds 1\.0000 of the change", said)
    for name, value in merged(tmp_path, folder).items():
        np.testing.assert_allclose(value, tuned[name], rtol=1e-6, atol=1e-7)


def test_sparse_overwriting_is_exact(tmp_path, base):
    tuned = sparsely_tuned(base)
    folder, _ = extract(tmp_path, tuned, "sparse,mode=overwrite")
    for name, value in merged(tmp_path, folder).items():
        np.testing.assert_array_equal(value, tuned[name])


def test_sparse_keeps_the_largest(tmp_path, base):
    tuned = {name: value + np.float32(0) for name, value in base.items()}
    change = np.random.default_rng(6).standard_normal((32, 24)).astype(np.float32)
    tuned["layers.0.q.weight"] = base["layers.0.q.weight"] + change
    folder, said = extract(tmp_path, tuned, "sparse,density=0.25")
    values = load_file(folder / "adapter_model.safetensors")
    kept = values["base_model.model.layers.0.q.weight.sparse_values"]
    assert kept.size == 192
    delta = tuned["layers.0.q.weight"].astype(np.float64) - base["layers.0.q.weight"]
    largest = np.sort(np.abs(delta).ravel())[-192:]
    np.testing.assert_allclose(np.sort(np.abs(kept)), largest, rtol=1e-6)
    share = float((largest**2).sum() / (delta**2).sum())
    assert f"{share:.4f}" in said


@pytest.mark.parametrize("rank", [3, 16])
def test_low_rank(tmp_path, base, rank):
    tuned = low_rank_tuned(base, rank=3)
    folder, said = extract(tmp_path, tuned, f"lora,rank={rank}")
    assert "holds 1.0000 of the change" in said
    for name, value in merged(tmp_path, folder).items():
        np.testing.assert_allclose(value, tuned[name], rtol=0, atol=2e-6)


def test_peft_reads_the_low_rank_folder(tmp_path, base):
    tuned = low_rank_tuned(base, rank=3)
    folder, _ = extract(tmp_path, tuned, "lora,rank=4")
    model = Model()
    model.load_state_dict({name: torch.from_numpy(value) for name, value in base.items()})
    wrapped = peft.PeftModel.from_pretrained(model, str(folder)).eval()
    expected = Model()
    expected.load_state_dict({name: torch.from_numpy(value) for name, value in tuned.items()})
    ids = torch.arange(40).reshape(2, 20)
    with torch.no_grad():
        torch.testing.assert_close(wrapped(ids), expected.eval()(ids), rtol=1e-4, atol=1e-4)


def test_large_matrices_are_projected(tmp_path):
    """Beyond a few hundred rows the decomposition is that of a projection."""
    rng = np.random.default_rng(7)
    before = rng.standard_normal((700, 500)).astype(np.float32)
    full = rng.standard_normal((700, 500)) * 0.01
    delta = rng.standard_normal((700, 8)) @ rng.standard_normal((8, 500)) + full
    save_file({"m.q.weight": before}, tmp_path / "base.safetensors")
    folder, _ = extract(tmp_path, {"m.q.weight": (before + delta).astype(np.float32)}, "lora,rank=8")
    tensors = load_file(folder / "adapter_model.safetensors")
    a, b = (tensors[f"base_model.model.m.q.lora_{x}.weight"].astype(np.float64) for x in "AB")
    u, s, v = np.linalg.svd(delta)
    best = np.linalg.norm(delta - (u[:, :8] * s[:8]) @ v[:8])
    assert np.linalg.norm(delta - b @ a) <= 1.001 * best


def test_refusals(tmp_path, base):
    files = [tmp_path / "base.safetensors", tmp_path / "tuned.safetensors"]
    end = ["-o", tmp_path / "x"]
    save_file(base, files[1])
    product.refused("adapter-opt", "diff", *files, "--as", "sparse", *end, mentions=["same numbers"])
    save_file({**base, "layers.0.q.bias": np.zeros(31, np.float32)}, files[1])
    product.refused(
        "adapter-opt", "diff", *files, "--as", "sparse", *end, mentions=["layers.0.q.bias", "[31]", "[32]"]
    )
    save_file({**base, "extra": np.zeros(3, np.float32)}, files[1])
    product.refused(
        "adapter-opt", "diff", *files, "--as", "sparse", *end, mentions=["'extra'", "base.safetensors"]
    )
    save_file({**base, "layers.0.q.bias": np.full(32, np.nan, np.float32)}, files[1])
    product.refused(
        "adapter-opt", "diff", *files, "--as", "sparse", *end, mentions=["layers.0.q.bias", "NaN"]
    )
    files[1].write_bytes(b"\xff" * 40)
    product.refused("adapter-opt", "diff", *files, "--as", "sparse", *end, mentions=["tuned.safetensors"])
    for form in (
        "dense",
        "lora,rank=0",
        "lora,rank=x",
        "sparse,density=2",
        "sparse,mode=sub",
        "lora,density=1",
    ):
        product.refused("adapter-opt", "diff", *files, "--as", form, *end, code=2, mentions=["--as"])
    product.refused("adapter-opt", "diff", files[0], code=2)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("form", ["sparse", "sparse,mode=overwrite", "lora,rank=4"])
def test_a_tied_table(tmp_path, form):
    """The checkpoint lists the table alone, and the graph multiplies by it too."""
    rng = np.random.default_rng(0)
    before, after = (rng.standard_normal((6, 4)).astype(np.float32) for _ in range(2))
    save_file({"embed_tokens.weight": before}, tmp_path / "a.safetensors")
    save_file({"embed_tokens.weight": after}, tmp_path / "b.safetensors")
    files = [tmp_path / "a.safetensors", tmp_path / "b.safetensors"]
    said = product.opt("diff", *files, "--as", form, "-o", tmp_path / "delta")
    assert "a tied output head follows it" in said and "holds 1.0000 of the change" in said
    nodes = [
        helper.make_node("Gather", ["embed_tokens.weight", "i"], ["h"], name="/embed_tokens/Gather"),
        helper.make_node("Transpose", ["embed_tokens.weight"], ["t"], name="/lm_head/Transpose"),
        helper.make_node("MatMul", ["h", "t"], ["y"], name="/lm_head/MatMul"),
    ]
    made = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("i", TensorProto.INT64, ["n"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 6])],
        [numpy_helper.from_array(before, "embed_tokens.weight")],
    )
    onnx.save(
        helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=9),
        tmp_path / "m.onnx",
    )
    product.opt(tmp_path / "m.onnx", "--adapter", f"x={tmp_path / 'delta'}", "-o", tmp_path / "merged.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "merged.onnx"), providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(None, {"i": np.arange(6)})[0], after @ after.T, atol=1e-5)


@pytest.mark.parametrize("form", ["sparse", "sparse,mode=overwrite", "lora,rank=4"])
@pytest.mark.parametrize("unit", [(), (1,)])
def test_tokens_and_positions(tmp_path, form, unit):
    """Parameters of several dimensions, with the unit dimensions of the checkpoint and of the graph."""
    rng = np.random.default_rng(11)
    values = {
        "vit.cls_token": rng.standard_normal((1, 1, 6)).astype(np.float32),
        "vit.positions": rng.standard_normal((1, 4, 6)).astype(np.float32),
        "vit.norm.weight": rng.standard_normal(6).astype(np.float32),
    }
    tuned = {
        name: value + (rng.random(value.shape) < 0.4).astype(np.float32) for name, value in values.items()
    }
    nodes = [
        helper.make_node("Concat", ["vit.cls_token", "x"], ["h"], axis=1, name="/vit/Concat"),
        helper.make_node("Add", ["h", "vit.positions"], ["p"], name="/vit/Add"),
        helper.make_node("Mul", ["p", "vit.norm.weight"], ["y"], name="/vit/norm/Mul"),
    ]
    in_graph = dict(values) | {"vit.norm.weight": values["vit.norm.weight"].reshape(*unit, 6)}
    made = helper.make_graph(
        nodes,
        "model",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4, 6])],
        [numpy_helper.from_array(value, name) for name, value in in_graph.items()],
    )
    onnx.save(
        helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10),
        tmp_path / "base.onnx",
    )
    save_file(values, tmp_path / "base.safetensors")
    folder, _ = extract(tmp_path, tuned, form)
    got = merged(tmp_path, folder)
    for name, value in tuned.items():
        np.testing.assert_allclose(got[name].reshape(value.shape), value, rtol=0, atol=1e-6)


def test_folders_of_shards(tmp_path):
    rng = np.random.default_rng(0)
    tensors = {name: rng.standard_normal((4, 5)).astype(np.float32) for name in ("a.weight", "b.weight")}
    for folder, change in (("before", 0), ("after", 1)):
        (tmp_path / folder).mkdir()
        for i, (name, tensor) in enumerate(tensors.items(), 1):
            shard = tmp_path / folder / f"model-0000{i}-of-00002.safetensors"
            save_file({name: tensor + np.float32(change)}, shard)
    said = product.opt(
        "diff", tmp_path / "before", tmp_path / "after", "--as", "lora,rank=1", "-o", tmp_path / "d"
    )
    assert "2 tensors changed" in said
    shards = [tmp_path / folder / "model-00001-of-00002.safetensors" for folder in ("before", "after")]
    arguments = ["--as", "sparse", "-o", tmp_path / "e"]
    product.refused("adapter-opt", "diff", *shards, *arguments, mentions=["one of several files", "folder"])
