# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Mixtures that act in some calls, or on some rows: each row is what it is alone with its own adapter."""

import methods
import product
import pytest
import torch
import zoo
from mixtures import Mixture
from tolerance import assert_agrees, assert_rows_agree

SHAPE = (4, 6)
MARGIN = 2e-5


def feed(architecture):
    return zoo.inputs(architecture, SHAPE)


def answers(model, architecture):
    with torch.no_grad():
        return zoo.forward(model, feed(architecture)).numpy()


def settled(architecture, *given, scale=1.0, **words):
    for seed in range(1, 40):
        mixture = Mixture(zoo.make(architecture), *given, seed=seed, **words)
        y = answers(mixture.attach(zoo.make(architecture), scale), architecture)
        if mixture.margin > MARGIN:
            return mixture, y
    raise AssertionError("no seed has a margin")


def run(artifact, architecture, folder, *arguments):
    given = {name: value.numpy() for name, value in feed(architecture).items()}
    return product.run(artifact, given, folder, *arguments)["logits"]


def mixed_batch(graph, architecture, mixture, y, folder, lora=None):
    """Rows: the mixture, nothing, a LoRA, the mixture."""
    base = answers(zoo.make(architecture), architecture)
    given = [f"--adapter=x={mixture.write(folder / 'mixture')}@row"]
    rows = ["x", "-", "-", "x"]
    references, bases = [y[0], base[1], base[2], y[3]], [base[0], None, None, base[3]]
    if lora:
        lora.write(folder / "lora")
        given.append(f"--adapter=l={folder}/lora/expert0@row")
        model = zoo.make(architecture)
        with torch.no_grad():
            for name, (a, b, scale) in lora.experts[0].items():
                module = model.get_submodule(name)
                turned = type(module).__name__ == "Conv1D"
                module.weight += scale * ((b @ a).T if turned else b @ a)
        rows[2], references[2], bases[2] = "l", answers(model, architecture)[2], base[2]
    product.opt(graph, *given, "-o", folder / "m.adapt")
    out = run(folder / "m.adapt", architecture, folder, "--row-adapters", ",".join(rows))
    assert_rows_agree(out, references, bases)
    plain = run(folder / "m.adapt", architecture, folder)
    assert_agrees(plain, base)


WORDS = {
    "top": dict(top=2, normalise="after"),
    "select_first": dict(top=2, order="select_first", null=1, normalise="after"),
    "shared": dict(top=1, shared=1),
    "threshold": dict(top=None, selection="threshold", limit=0.2),
    "top_p": dict(top=None, selection="top_p", limit=0.6),
    "all": dict(top=None, selection="all"),
    "sequence": dict(top=2, scope="sequence"),
    "task": dict(top=2, scope="task", task=1),
}


@pytest.mark.parametrize("words", WORDS, ids=str)
def test_row(exports, tmp_path, words):
    mixture, y = settled("llama", ["q_proj", "v_proj", "down_proj"], [3, 2, {"q_proj": 4}], **WORDS[words])
    lora = Mixture(zoo.make("llama"), ["q_proj", "k_proj"], [2], top=1, seed=9)
    mixed_batch(exports("llama"), "llama", mixture, y, tmp_path, lora)


@pytest.mark.parametrize("architecture", ["bert", "gpt2", "vit"])
def test_row_architecture(exports, tmp_path, architecture):
    mixture, y = settled(architecture, methods.LINEARS[architecture], [2, 3], top=1)
    lora = Mixture(zoo.make(architecture), methods.LINEARS[architecture], [2], top=1, seed=9)
    mixed_batch(exports(architecture), architecture, mixture, y, tmp_path, lora)


def test_row_grouped(exports, tmp_path):
    mixture, y = settled("llama", ["q_proj"], [32] * 12, top=1)
    mixed_batch(exports("llama"), "llama", mixture, y, tmp_path)


def test_two_mixtures(exports, tmp_path):
    one, y = settled("bert", ["query", "value"], [2, 3], top=1)
    other, z = settled("bert", ["query", "dense"], [4, 1, 2], top=2)
    one.write(tmp_path / "one"), other.write(tmp_path / "other")
    given = [f"--adapter={name}={tmp_path / name}@row" for name in ("one", "other")]
    product.opt(exports("bert"), *given, "-o", tmp_path / "m.adapt")
    out = run(tmp_path / "m.adapt", "bert", tmp_path, "--row-adapters", "one,other,-,other")
    base = answers(zoo.make("bert"), "bert")
    assert_rows_agree(out, [y[0], z[1], base[2], z[3]], [base[0], base[1], None, base[3]])


def test_call(exports, tmp_path):
    """One adapter for a call, and a scale that comes with it."""
    mixture, y = settled("llama", ["q_proj", "up_proj"], [2, 3], top=1)
    given = f"--adapter=x={mixture.write(tmp_path / 'mixture')}@call:scale=@call"
    product.opt(exports("llama"), given, "-o", tmp_path / "m.adapt")
    base = answers(zoo.make("llama"), "llama")
    assert_agrees(run(tmp_path / "m.adapt", "llama", tmp_path, "--adapter", "x"), y, base)
    assert_agrees(run(tmp_path / "m.adapt", "llama", tmp_path), base)
    half = answers(mixture.attach(zoo.make("llama"), 0.5), "llama")
    out = run(tmp_path / "m.adapt", "llama", tmp_path, "--adapter", "x", "--set", "x.scale=0.5")
    assert mixture.margin > MARGIN
    assert_agrees(out, half, base)


def test_share(exports, tmp_path):
    """A row with a share of a mixture and one of a LoRA has the sum of both."""
    ao = product.package()
    scaled, _ = settled("llama", ["q_proj"], [2, 3], top=1, scale=0.25)
    lora = Mixture(zoo.make("llama"), ["v_proj"], [2], top=1, seed=9)
    scaled.write(tmp_path / "x"), lora.write(tmp_path / "l")
    given = [f"--adapter=x={tmp_path}/x@row", f"--adapter=l={tmp_path}/l/expert0@row"]
    product.opt(exports("llama"), *given, "-o", tmp_path / "m.adapt")
    model = zoo.make("llama")
    with torch.no_grad():
        for name, (a, b, scale) in lora.experts[0].items():
            model.get_submodule(name).weight += 0.5 * scale * b @ a
    y, base = answers(scaled.attach(model, 0.25), "llama"), answers(zoo.make("llama"), "llama")
    assert scaled.margin > MARGIN
    rows = [{"x": 0.25, "l": 0.5}, None, None, {"l": 0.5, "x": 0.25}]
    compiled = ao.load(str(tmp_path / "m.adapt"))
    out = compiled(**{k: v.numpy() for k, v in feed("llama").items()}, adapters=rows)["logits"]
    assert_rows_agree(out, [y[0], base[1], base[2], y[3]], [base[0], None, None, base[3]])


ON_DEVICES = ["top", "select_first", "shared", "threshold", "top_p", "all", "sequence"]


@pytest.mark.parametrize("words", ON_DEVICES)
def test_device(exports, tmp_path, words):
    """Devices do not sort: experts are compared with one another. Runs on Vulkan."""
    mixture, y = settled("llama", ["q_proj", "down_proj"], [3, 2, {"q_proj": 4}, 2], **WORDS[words])
    given = [f"--adapter=x={mixture.write(tmp_path / 'mixture')}", "--target", "spirv:vulkan"]
    product.opt(exports("llama"), *given, "-o", tmp_path / "m.adapt")
    base = answers(zoo.make("llama"), "llama")
    assert_agrees(run(tmp_path / "m.adapt", "llama", tmp_path), y, base)


def test_device_rows(exports, tmp_path):
    mixture, y = settled("bert", ["query", "dense"], [3, 2, 2], top=2, normalise="after")
    given = [f"--adapter=x={mixture.write(tmp_path / 'mixture')}@row", "--target", "spirv:vulkan"]
    product.opt(exports("bert"), *given, "-o", tmp_path / "m.adapt")
    out = run(tmp_path / "m.adapt", "bert", tmp_path, "--row-adapters", "x,-,-,x")
    base = answers(zoo.make("bert"), "bert")
    assert_rows_agree(out, [y[0], base[1], base[2], y[3]], [base[0], None, None, base[3]])
