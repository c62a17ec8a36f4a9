# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""MoLA's folders as its code saves them, against torch by its formula: softmax over all experts, the best
two, divided by their sum."""

import json

import onnxruntime
import product
import pytest
import safetensors.torch
import torch
import zoo
from mixtures import Mixture
from tolerance import assert_agrees

RANKS = [3, 5]  # by layer
ALPHA = 6


def settled():
    for seed in range(1, 30):
        targets = {
            f"layers.{layer}.self_attn.{name}": r
            for layer, r in enumerate(RANKS)
            for name in ("q_proj", "o_proj")
        }
        mixture = Mixture(zoo.make("llama"), [], [targets] * 4, seed=seed, top=2, normalise="after")
        for expert in mixture.experts:
            for name, (a, b, _) in expert.items():
                expert[name] = (a, b, ALPHA / a.shape[0])
        with torch.no_grad():
            y = zoo.forward(mixture.attach(zoo.make("llama")), zoo.inputs("llama", (2, 7))).numpy()
        if mixture.margin > 2e-5:
            return mixture, y
    raise AssertionError("no seed has a margin")


def write(folder, mixture, change=None, **fields):
    folder.mkdir()
    tensors = {}
    for key, value in mixture.tensors.items():
        tensors["base_model.model." + key.replace(".router.weight", ".router.router.weight")] = value
    for number, expert in enumerate(mixture.experts):
        for name, (a, b, _) in expert.items():
            tensors[f"base_model.model.{name}.lora_A_{number}.weight"] = a
            tensors[f"base_model.model.{name}.lora_B_{number}.weight"] = b
    if change:
        change(tensors)
    # Fields as the dataclass of its code has them.
    config = dict(
        base_model_name_or_path="llama",
        bias="none",
        fan_in_fan_out=False,
        inference_mode=True,
        init_lora_weights=True,
        layers_pattern=None,
        layers_to_transform=None,
        lora_alpha=ALPHA,
        lora_dropout=0.05,
        modules_to_save=None,
        peft_type="LORA",
        r=RANKS,
        revision=None,
        target_modules=["q_proj", "o_proj"],
        task_type="CAUSAL_LM",
    )
    (folder / "adapter_config.json").write_text(json.dumps(config | fields))
    safetensors.torch.save_file(tensors, folder / "adapter_model.safetensors")
    return folder


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mola")
    return zoo.export(zoo.make("llama"), "llama", "dynamo", folder / "llama.onnx")


def test_answers(graph, tmp_path):
    mixture, y = settled()
    folder = write(tmp_path / "mola", mixture)
    feed = {k: v.numpy() for k, v in zoo.inputs("llama", (2, 7)).items()}
    with torch.no_grad():
        base = zoo.forward(zoo.make("llama"), zoo.inputs("llama", (2, 7))).numpy()
    product.opt(graph, f"--adapter=x={folder}", "-o", tmp_path / "m.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "m.onnx"), providers=["CPUExecutionProvider"])
    assert_agrees(session.run(["logits"], feed)[0], y, base)
    product.opt(graph, f"--adapter=x={folder}", "-o", tmp_path / "m.adapt")
    assert_agrees(product.run(tmp_path / "m.adapt", feed, tmp_path)["logits"], y, base)


def test_top_k_by_layer(graph, tmp_path):
    folder = write(tmp_path / "mola", settled()[0], top_k=[1, 3])
    said = product.opt(graph, f"--adapter=x={folder}", "--check")
    for layer, top, ranks in ((0, 1, "3.3.3.3"), (1, 3, "5.5.5.5")):
        line = next(each for each in said.splitlines() if f"layers.{layer}.self_attn.q_proj" in each)
        assert f"+top{top}+normalise_after+token+ranks{ranks}" in line


def _drop(end):
    def change(tensors):
        del tensors[next(key for key in tensors if key.endswith(end))]

    return change


def _widen(tensors):
    key = next(key for key in tensors if key.endswith("lora_A_1.weight"))
    tensors[key] = torch.ones(4, tensors[key].shape[1])


def _extra(tensors):
    key = next(key for key in tensors if key.endswith("lora_A_1.weight"))
    tensors[key.replace("_1.", "_7.")] = tensors[key].clone()


def _magnitude(tensors):
    tensors["base_model.model.model.layers.0.self_attn.q_proj.lora_magnitude_vector"] = torch.ones(4)


@pytest.mark.parametrize(
    "change, fields, mentions",
    [
        (_drop("q_proj.router.router.weight"), {}, ["q_proj.router.router.weight", "has no"]),
        (_drop("q_proj.lora_B_2.weight"), {}, ["lora_B_2.weight"]),
        (_widen, {}, ["lora_A_1.weight", "[4, 32]", "[3, 32]"]),
        (_extra, {}, ["lora_A_7.weight", "of 4"]),
        (_magnitude, {}, ["lora_magnitude_vector", "no place"]),
        (None, dict(r=[3]), ["'r'", "nothing for 'model.layers.1"]),
        (None, dict(r=[3, "x"]), ["'r'", "whole number"]),
        (None, dict(top_k=5), ["'top_k'", "5 of 4"]),
        (None, dict(number_experts=[8, 8]), ["number_experts says 8"]),
        (None, dict(use_rslora=True), ["'use_rslora'"]),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_bad(graph, tmp_path, change, fields, mentions):
    folder = write(tmp_path / "mola", settled()[0], change, **fields)
    product.refused("adapter-opt", graph, f"--adapter=x={folder}", "--check", mentions=mentions)
