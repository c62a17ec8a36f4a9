# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Mixtures of LoRA experts at build, in ONNX and compiled, against torch by the formula."""

import re

import architectures
import methods
import onnx
import onnxruntime
import product
import pytest
import torch
import zoo
from mixtures import Mixture
from tolerance import assert_agrees

SHAPE = (2, 7)


def answers(path, architecture):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    feed = {k: v.numpy() for k, v in zoo.inputs(architecture, SHAPE).items()}
    names = {each.name for each in session.get_inputs()}
    return session.run(["logits"], {k: v for k, v in feed.items() if k in names})[0]


def reference(model, architecture):
    with torch.no_grad():
        return zoo.forward(model, zoo.inputs(architecture, SHAPE)).numpy()


MARGIN = 2e-5  # well above the rounding of scores


def settled(architecture, *given, **words):
    """A mixture of which no choice hangs by a rounding, and torch's answers with it."""
    for seed in range(1, 30):
        mixture = Mixture(zoo.make(architecture), *given, seed=seed, **words)
        y = reference(mixture.attach(zoo.make(architecture)), architecture)
        if mixture.margin > MARGIN:
            return mixture, y
    raise AssertionError(f"no seed has a margin above {MARGIN}")


def check(graph, architecture, mixture, y, folder, compiled=True):
    """In onnxruntime, and compiled."""
    base = reference(zoo.make(architecture), architecture)
    written = mixture.write(folder / "mixture")
    product.opt(graph, f"--adapter=x={written}", "-o", folder / "m.onnx")
    onnx.checker.check_model(str(folder / "m.onnx"), full_check=True)
    assert_agrees(answers(folder / "m.onnx", architecture), y, base)
    if compiled:
        product.opt(graph, f"--adapter=x={written}", "-o", folder / "m.adapt")
        feed = {k: v.numpy() for k, v in zoo.inputs(architecture, SHAPE).items()}
        assert_agrees(product.run(folder / "m.adapt", feed, folder)["logits"], y, base)


def test_two_experts(exports, tmp_path):
    mixture, y = settled("llama", ["layers.0.self_attn.q_proj"], [4, 4], top=1)
    check(exports("llama"), "llama", mixture, y, tmp_path)
    assert mixture.chosen == {0, 1}


WORDS = {
    "softmax_before": dict(top=2, normalise="none"),
    "renormalised": dict(top=2, normalise="after"),
    "select_first": dict(top=2, order="select_first"),
    "sigmoid": dict(top=2, score="sigmoid"),
    "sigmoid_after": dict(top=2, score="sigmoid", normalise="after"),
    "sigmoid_before": dict(top=2, score="sigmoid", normalise="before"),
    "sigmoid_select_first": dict(top=1, score="sigmoid", order="select_first"),
    "logits": dict(top=2, score="none"),
    "argmax": dict(top=None, selection="argmax"),
    "argmax_of_one": dict(top=None, selection="argmax", order="select_first"),
    "temperature": dict(top=2, temperature=1.5),
    "cold_select_first": dict(top=3, temperature=2.5, order="select_first"),
    "null": dict(top=3, null=3, normalise="after"),
    "null_select_first": dict(top=2, null=2, order="select_first", normalise="after"),
    "null_dropped": dict(top=2, null=2),
    "shared": dict(top=1, shared=2),
    "shared_null": dict(top=2, shared=1, null=2, normalise="after"),
    "threshold": dict(top=None, selection="threshold", limit=0.2),
    "threshold_after": dict(top=None, selection="threshold", limit=0.3, normalise="after"),
    "threshold_none_chosen": dict(top=None, selection="threshold", limit=0.9, normalise="after"),
    "threshold_logits": dict(top=None, selection="threshold", limit=1.5, score="none"),
    "threshold_select_first": dict(top=None, selection="threshold", limit=0.5, order="select_first"),
    "threshold_sigmoid_later": dict(
        top=None, selection="threshold", limit=0.5, score="sigmoid", order="select_first"
    ),
    "threshold_null_shared": dict(top=None, selection="threshold", limit=0.1, null=1, shared=1),
    "top_p": dict(top=None, selection="top_p", limit=0.6),
    "top_p_more": dict(top=None, selection="top_p", limit=0.85),
    "top_p_sigmoid": dict(top=None, selection="top_p", limit=0.5, score="sigmoid", normalise="before"),
    "top_p_null": dict(top=None, selection="top_p", limit=0.7, null=2, normalise="after"),
    "all": dict(top=None, selection="all"),
    "all_sigmoid": dict(top=None, selection="all", score="sigmoid"),
    "all_null": dict(top=None, selection="all", null=2, normalise="after"),
    "all_shared": dict(top=None, selection="all", shared=2),
    "sequence": dict(top=2, scope="sequence"),
    "sequence_all": dict(top=None, selection="all", scope="sequence"),
    "task": dict(top=2, scope="task", task=1),
    "task_top_p": dict(top=None, selection="top_p", limit=0.5, scope="task", task=0),
}
MANY = [3, 2, {"q_proj": 4}, 1, {"v_proj": 2, "up_proj": 5}]


@pytest.mark.parametrize("words", WORDS, ids=str)
def test_attribute(exports, tmp_path, words):
    """Experts of unlike ranks, two of which adapt some of the modules."""
    mixture, y = settled("llama", ["q_proj", "v_proj", "down_proj"], MANY, bias=True, **WORDS[words])
    check(exports("llama"), "llama", mixture, y, tmp_path)


@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
@pytest.mark.parametrize("architecture", ["bert", "gpt2", "llama", "vit"])
def test_architecture(exports, tmp_path, architecture, exporter):
    mixture, y = settled(architecture, methods.LINEARS[architecture], [2, 3, 4, 2], normalise="after")
    check(exports(architecture, exporter), architecture, mixture, y, tmp_path)


@pytest.mark.parametrize("expert", range(4))
def test_forced(exports, tmp_path, expert):
    """A bias leaves the router no choice: the mixture is that one LoRA."""
    mixture, y = settled("bert", ["query", "value"], [2, 3, 4, 2], forced=[expert], top=1)
    check(exports("bert"), "bert", mixture, y, tmp_path)
    assert mixture.chosen == {expert}


def test_all_null(exports, tmp_path):
    """Null experts win everywhere: the answers are the base's, bit by bit but for adding zeros."""
    mixture = Mixture(zoo.make("bert"), ["query"], [2, 3], forced=[2, 3], top=2, null=2, normalise="after")
    folder = mixture.write(tmp_path / "mixture")
    product.opt(exports("bert"), f"--adapter=x={folder}", "-o", tmp_path / "m.onnx")
    assert (answers(tmp_path / "m.onnx", "bert") == answers(exports("bert"), "bert")).all()


def test_single_ranks(exports, tmp_path):
    """SMoRA: every rank is an expert."""
    mixture, y = settled("llama", ["q_proj", "o_proj"], [1] * 8, top=3, normalise="after")
    check(exports("llama"), "llama", mixture, y, tmp_path)


def test_shared_router(exports, tmp_path):
    """One router for a block, which reads the block's input; its down_proj reads another value."""
    routers = {
        f"model.layers.{layer}.mlp": dict(modules=["gate_proj", "up_proj", "down_proj"], reads="gate_proj")
        for layer in range(2)
    }
    targets = ["gate_proj", "up_proj", "down_proj"]
    mixture, y = settled("llama", targets, [2, 3, 2], routers=routers, normalise="after")
    check(exports("llama"), "llama", mixture, y, tmp_path)
    graph = onnx.load(tmp_path / "m.onnx").graph
    assert sum(node.op_type == "TopK" for node in graph.node) == len(routers)


def test_scale_and_another_adapter(exports, tmp_path):
    """A LoRA that is merged, and a mixture on top of it with a scale of the user's."""
    lora = Mixture(zoo.make("llama"), ["q_proj"], [2], top=1, seed=5)
    mixture = Mixture(zoo.make("llama"), ["q_proj", "k_proj"], [2, 3], top=1)
    lora.write(tmp_path / "lora"), mixture.write(tmp_path / "mixture")
    given = [f"--adapter=l={tmp_path}/lora/expert0", f"--adapter=x={tmp_path}/mixture:scale=0.5"]
    product.opt(exports("llama"), *given, "-o", tmp_path / "m.onnx")
    model = zoo.make("llama")
    with torch.no_grad():
        for name, (a, b, scale) in lora.experts[0].items():
            model.get_submodule(name).weight += scale * b @ a
    y = reference(mixture.attach(model, scale=0.5), "llama")
    assert mixture.margin > MARGIN
    assert_agrees(answers(tmp_path / "m.onnx", "llama"), y, reference(zoo.make("llama"), "llama"))


def test_grouped_and_dense_agree(exports, tmp_path):
    """Many experts of which few are chosen are grouped; --plan says which."""
    mixture = Mixture(zoo.make("llama"), ["q_proj"], [32] * 12, top=1)
    folder = mixture.write(tmp_path / "mixture")
    said = product.opt(exports("llama"), f"--adapter=x={folder}", "--plan")
    assert "the chosen experts alone" in said
    few = Mixture(zoo.make("llama"), ["q_proj"], [2, 2], top=1).write(tmp_path / "few")
    said = product.opt(exports("llama"), f"--adapter=x={few}", "--plan")
    assert "all ranks behind a mask" in said
    text = product.opt(exports("llama"), f"--adapter=x={folder}", "--compile-to=optimise")
    assert len(re.findall(r"adapter\.experts\s+identity", text)) == 2
    mixture, y = settled("llama", ["q_proj"], [32] * 12, top=1)
    check(exports("llama"), "llama", mixture, y, tmp_path / "checked")


@pytest.mark.parametrize("words", ["null", "shared_null", "renormalised"])
def test_grouped_words(exports, tmp_path, words):
    mixture, y = settled("llama", ["q_proj", "v_proj"], [32] * 40, **WORDS[words])
    check(exports("llama"), "llama", mixture, y, tmp_path)
    folder = tmp_path / "mixture"
    assert "adapter.experts" in product.opt(
        exports("llama"), f"--adapter=x={folder}", "--compile-to=optimise"
    )


def test_python(exports, tmp_path):
    ao = product.package()
    mixture = Mixture(zoo.make("bert"), ["query"], [2, 3], top=1)
    folder = mixture.write(tmp_path / "mixture")
    ao.merge(exports("bert"), {"x": folder}, tmp_path / "m.onnx")
    y = reference(mixture.attach(zoo.make("bert")), "bert")
    assert_agrees(answers(tmp_path / "m.onnx", "bert"), y, reference(zoo.make("bert"), "bert"))


def test_check_lists(exports, tmp_path):
    mixture = Mixture(zoo.make("llama"), ["q_proj"], [2, {"q_proj": 5}], top=1)
    said = product.opt(exports("llama"), f"--adapter=x={mixture.write(tmp_path / 'm')}", "--check")
    line = next(each for each in said.splitlines() if "layers.0.self_attn.q_proj" in each)
    assert "mixture+softmax+score_first+top1+normalise_none+token+ranks2.5" in line and " 7 " in line


def test_two_mixtures(exports, tmp_path):
    """Both act on one module, each with a router of its own."""
    one, other = (Mixture(zoo.make("bert"), ["query"], ranks, top=1, seed=3) for ranks in ([2, 3], [4, 1, 2]))
    given = [f"--adapter={name}={each.write(tmp_path / name)}" for name, each in (("a", one), ("b", other))]
    product.opt(exports("bert"), *given, "-o", tmp_path / "m.onnx")
    y = reference(other.attach(one.attach(zoo.make("bert"))), "bert")
    assert min(one.margin, other.margin) > MARGIN
    assert_agrees(answers(tmp_path / "m.onnx", "bert"), y, reference(zoo.make("bert"), "bert"))


def test_layers_that_run_again(tmp_path):
    """ALBERT has one layer for all: its mixture acts wherever it runs."""
    model, feed = architectures.make("albert")
    graph = architectures.export("albert", "dynamo", tmp_path / "albert.onnx")
    mixture = Mixture(model, ["query", "ffn"], [2, 3], top=1)
    product.opt(graph, f"--adapter=x={mixture.write(tmp_path / 'm')}", "-o", tmp_path / "m.onnx")
    with torch.no_grad():
        base = model(**feed).logits.numpy()
        y = mixture.attach(model)(**feed).logits.numpy()
    assert mixture.margin > MARGIN
    session = onnxruntime.InferenceSession(str(tmp_path / "m.onnx"), providers=["CPUExecutionProvider"])
    assert_agrees(session.run(["y"], {k: v.numpy() for k, v in feed.items()})[0], y, base)


@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
def test_sequences(exports, tmp_path, exporter):
    mixture, y = settled("bert", ["query", "dense"], [2, 3, 2], top=1, scope="sequence")
    if exporter == "dynamo":
        said = product.refused(
            "adapter-opt",
            exports("bert"),
            f"--adapter=x={mixture.write(tmp_path / 'refused')}",
            "--check",
            mentions=["mean over a sequence"],
        )
        assert "pooler" in said or "dense" in said
    targets = ["query", "output.dense"]
    mixture, y = settled("bert", targets, [2, 3, 2], top=1, scope="sequence")
    check(exports("bert", exporter), "bert", mixture, y, tmp_path)
