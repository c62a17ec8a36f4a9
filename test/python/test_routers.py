# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Mixtures of LoRA experts at build, in ONNX and compiled, against torch by the formula."""

import onnx
import onnxruntime
import product
import pytest
import torch
import zoo
from mixtures import Mixture
from tolerance import assert_agrees

SHAPE = (2, 7)


@pytest.fixture(scope="module")
def exports(tmp_path_factory):
    folder = tmp_path_factory.mktemp("routers")
    made = {}

    def export(architecture, exporter="dynamo"):
        key = architecture, exporter
        if key not in made:
            made[key] = zoo.export(
                zoo.make(architecture), architecture, exporter, folder / f"{'-'.join(key)}.onnx"
            )
        return made[key]

    return export


def answers(path, architecture):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    feed = {k: v.numpy() for k, v in zoo.inputs(architecture, SHAPE).items()}
    names = {each.name for each in session.get_inputs()}
    return session.run(["logits"], {k: v for k, v in feed.items() if k in names})[0]


def reference(model, architecture):
    with torch.no_grad():
        return zoo.forward(model, zoo.inputs(architecture, SHAPE)).numpy()


def check(graph, architecture, mixture, folder, compiled=True):
    """In onnxruntime, and compiled."""
    y = reference(mixture.attach(zoo.make(architecture)), architecture)
    base = reference(zoo.make(architecture), architecture)
    assert mixture.margin > 1e-4, f"a choice is within {mixture.margin:.1e} of another; take another seed"
    written = mixture.write(folder / "mixture")
    product.opt(graph, f"--adapter=x={written}", "-o", folder / "m.onnx")
    onnx.checker.check_model(str(folder / "m.onnx"), full_check=True)
    assert_agrees(answers(folder / "m.onnx", architecture), y, base)
    if compiled:
        product.opt(graph, f"--adapter=x={written}", "-o", folder / "m.adapt")
        feed = {k: v.numpy() for k, v in zoo.inputs(architecture, SHAPE).items()}
        assert_agrees(product.run(folder / "m.adapt", feed, folder)["logits"], y, base)


def test_two_experts(exports, tmp_path):
    model = zoo.make("llama")
    mixture = Mixture(model, ["layers.0.self_attn.q_proj"], [4, 4], top=1)
    check(exports("llama"), "llama", mixture, tmp_path)
    assert mixture.chosen == {0, 1}
