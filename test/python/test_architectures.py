# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Adapters on architectures whose exports have a trap of their own (see architectures.py), and on graphs that
tools renamed or fused. By default one export of each trap; the other architectures are marked `full`."""

import architectures
import numpy as np
import onnx
import onnxruntime
import peft
import product
import pytest
import renamed
import torch
import zoo
from tolerance import assert_agrees

# The exporters that export an architecture with a dynamic batch, and whether it runs by default.
TORCHSCRIPT_ONLY = ("swin", "beit")
DEFAULT = ("albert-torchscript", "deberta-torchscript", "swin-torchscript", "dinov2-torchscript")


def exports():
    parameters = []
    for name in architectures.ARCHITECTURES:
        for exporter in zoo.EXPORTERS:
            if name == "resnet" or (name in TORCHSCRIPT_ONLY and exporter == "dynamo"):
                continue
            case = f"{name}-{exporter}"
            marks = () if case in DEFAULT else pytest.mark.full
            parameters.append(pytest.param(name, exporter, marks=marks, id=case))
    return pytest.mark.parametrize("name, exporter", parameters)


def adapter(name, folder, seed, targets=None, **fields):
    """(folder, output by PEFT) of a random LoRA on a model."""
    model, feed = architectures.make(name)
    targets = targets or architectures.ARCHITECTURES[name][1]
    torch.manual_seed(seed)
    with zoo.quiet():
        config = peft.LoraConfig(r=3 + seed, lora_alpha=7, target_modules=targets, **fields)
        adapted = peft.get_peft_model(model, config).eval()
        with torch.no_grad():
            for parameter in adapted.parameters():
                if parameter.requires_grad:
                    parameter.add_(torch.randn(parameter.shape) * 0.1)
        adapted.save_pretrained(str(folder))
    return folder, output(adapted, feed)


def output(model, feed):
    first = architectures.First(model, list(feed))
    with torch.no_grad():
        return first(*feed.values()).numpy()


class Case:
    def __init__(self, name, exporter, folder):
        self.base = architectures.export(name, exporter, folder / "base.onnx")
        model, feed = architectures.make(name)
        self.without = output(model, feed)
        names = {i.name for i in onnx.load(self.base, load_external_data=False).graph.input}
        self.feed = {k: v.numpy() for k, v in feed.items() if k in names}
        self.folder = folder

    def merged(self, base, *arguments):
        product.opt(base, *arguments, "-o", self.folder / "merged.onnx")
        session = onnxruntime.InferenceSession(str(self.folder / "merged.onnx"))
        return session.run(None, self.feed)[0]

    def run(self, artifact, *arguments):
        return next(iter(product.run(artifact, self.feed, self.folder, *arguments).values()))

    def check(self, base, a, b, *arguments):
        """Merged, switched and by row."""
        assert_agrees(self.merged(base, f"--adapter=a={a[0]}", *arguments), a[1], self.without)
        for time in ("switch", "row"):
            artifact = self.folder / f"{time}.adapt"
            given = [f"--adapter=a={a[0]}@{time}", f"--adapter=b={b[0]}@{time}", *arguments]
            product.opt(base, *given, "-o", artifact)
            if time == "switch":
                assert_agrees(self.run(artifact, "--adapter", "b"), b[1], self.without)
                continue
            y = self.run(artifact, "--row-adapters", "b,a")
            assert_agrees(y[:1], b[1][:1], self.without[:1])
            assert_agrees(y[1:], a[1][1:], self.without[1:])


@exports()
def test_architecture(tmp_path, name, exporter):
    case = Case(name, exporter, tmp_path)
    a = adapter(name, tmp_path / "a", 1)
    case.check(case.base, a, adapter(name, tmp_path / "b", 2))


@pytest.mark.parametrize("exporter", zoo.EXPORTERS)
def test_folded_norms_are_refused(tmp_path, exporter):
    """The graph holds a convolution's weight times its norm's scale: adding to it would be wrong."""
    case = Case("resnet", exporter, tmp_path)
    a = adapter("resnet", tmp_path / "a", 1)
    mentions = ["convolution", "normalisation is folded"]
    product.refused("adapter-opt", case.base, f"--adapter=a={a[0]}", "--check", mentions=mentions)


# Trained biases too where the model has them: fused, they are parts of one vector.
@pytest.mark.parametrize(
    "name, fields",
    [("mistral", {}), ("mistral", {"use_dora": True}), ("qwen2", {"bias": "lora_only"})],
    ids=["lora", "dora", "biases"],
)
@pytest.mark.parametrize("kind", ["renamed", "fused", "builder"])
def test_renamed_and_fused(tmp_path, name, fields, kind):
    if kind != "renamed" and "bias" in fields:
        pytest.skip("the biases stay where they are")
    case = Case(name, "torchscript", tmp_path)
    path = renamed.rewrite(case.base, tmp_path / f"{kind}.onnx", kind)
    adapters = [adapter(name, tmp_path / each, seed, **fields) for seed, each in ((1, "a"), (2, "b"))]
    arguments = []
    if kind != "builder":
        architectures.make(name)[0].save_pretrained(tmp_path / "hub")
        arguments = [f"--base={tmp_path / 'hub'}"]
        mentions = ["no such module", "--base"]
        product.refused("adapter-opt", path, f"--adapter=a={adapters[0][0]}", "--check", mentions=mentions)
    case.check(path, *adapters, *arguments)


def test_a_base_that_is_not_there(tmp_path, small):
    base, lora = small
    arguments = [base, f"--adapter=a={lora}", "--check", f"--base={tmp_path}/none.safetensors"]
    product.refused("adapter-opt", *arguments, mentions=["--base", "none.safetensors"])


def test_row_axis(tmp_path):
    """A graph whose inputs have the sequence in front."""
    case = Case("mistral", "torchscript", tmp_path)
    path = renamed.sequence_first(case.base, tmp_path / "turned.onnx")
    case.feed = {name: np.ascontiguousarray(value.T) for name, value in case.feed.items()}
    a, b = adapter("mistral", tmp_path / "a", 1), adapter("mistral", tmp_path / "b", 2)
    given = [path, f"--adapter=a={a[0]}@row", f"--adapter=b={b[0]}@row", "-o", tmp_path / "row.adapt"]
    product.opt(*given, "--row-axis=input_ids=1")
    y = case.run(tmp_path / "row.adapt", "--row-adapters", "b,a")
    assert_agrees(y[:1], b[1][:1], case.without[:1])
    assert_agrees(y[1:], a[1][1:], case.without[1:])
    product.refused("adapter-opt", *given, "--row-axis=nothing=1", mentions=["nothing", "input_ids"])
