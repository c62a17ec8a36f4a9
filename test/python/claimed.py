# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Small random models in parts: exports of each, an adapter over all of them, checkpoints of the base."""

import functools

import onnx
import peft
import product
import pytest
import tiny
import torch
import zoo
from tolerance import assert_agrees


class Part:
    """What one graph holds: `module(model)` is exported alone, `call(module, *inputs)` is its output."""

    def __init__(self, module, call, feed, axes=None):
        self.module, self.call, self.feed = module, call, feed
        self.axes = axes or {0: "batch"}

    def output(self, model):
        """PyTorch's answer, of a plain model or of PEFT's."""
        model = model.base_model.model if isinstance(model, peft.PeftModel) else model
        with torch.no_grad():
            return self.call(self.module(model), *self.feed.values()).float().numpy()

    def export(self, model, path, exporter="torchscript"):
        """Writes the part with a dynamic batch. Paths of modules begin at the part, behind `model`."""
        wrapper = _Wrapper(self.module(model), self.call).eval()
        inputs, names = tuple(self.feed.values()), list(self.feed)
        common = dict(input_names=names, output_names=["y"], verbose=False)
        with zoo.quiet():
            if exporter == "dynamo":
                dims = {axis: torch.export.Dim(name, min=1, max=32) for axis, name in self.axes.items()}
                common |= dict(dynamic_shapes=(tuple(dims for _ in names),), external_data=False)
                torch.onnx.export(wrapper, inputs, str(path), dynamo=True, **common)
            else:
                axes = {name: self.axes for name in names} | {"y": {0: "batch"}}
                torch.onnx.export(wrapper, inputs, str(path), dynamic_axes=axes, dynamo=False, **common)
        return path

    def numpy(self, path):
        """The inputs that a graph has."""
        names = {i.name for i in onnx.load(path, load_external_data=False).graph.input}
        return {k: v.numpy() for k, v in self.feed.items() if k in names}


class _Wrapper(torch.nn.Module):
    def __init__(self, model, call):
        super().__init__()
        self.model, self.call = model, call

    def forward(self, *inputs):
        return self.call(self.model, *inputs)


def make(maker, seed=0):
    """The model of `maker()` in evaluation mode; the same weights for a seed, no vector all equal."""
    torch.manual_seed(seed)
    model = maker().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(torch.randn(parameter.shape) * 0.1)
    return model


def adapted(model, folder, seed=1, **fields):
    """PEFT's model with a random LoRA, which `folder` has as well. `model` is changed."""
    torch.manual_seed(seed)
    with zoo.quiet():
        made = peft.get_peft_model(model, peft.LoraConfig(r=3 + seed, lora_alpha=7, **fields)).eval()
        with torch.no_grad():
            for parameter in made.parameters():
                if parameter.requires_grad:
                    parameter.add_(torch.randn(parameter.shape) * 0.1)
        made.save_pretrained(str(folder))
    return made


def saved(model, folder):
    """The option that gives a model's checkpoint as the base."""
    with zoo.quiet():
        model.save_pretrained(folder)
    return f"--base={folder}"


def assert_answers(path, part, want, base, tolerance=1e-5):
    """A graph gives what PEFT's model gives."""
    assert_agrees(tiny.answer(path, part.numpy(path)), part.output(want), part.output(base), tolerance)


# How an artifact is made and run, by when the adapter acts. By row, the second row carries none.
MODES = {
    "build": (["--adapter=x={}"], []),
    "switch": (["--adapter=x={}@switch"], ["--adapter", "x"]),
    "row": (["--adapter=x={}@row"], ["--row-adapters", "x,-"]),
    "slot": (["--adapter-slot=s:{forms},rank=8@row"], ["--load", "x={}", "--row-adapters", "x,-"]),
}


class Session:
    """Models, exports and checkpoints by name, each made once."""

    def __init__(self, root, makers, part):
        self.root, self.makers, self.part = root, makers, part
        self.base = functools.cache(self.make)
        self.graph = functools.cache(self._graph)
        self.hub = functools.cache(self._hub)

    def make(self, model, seed=0):
        return make(self.makers[model], seed)

    def _graph(self, model, part="whole", exporter="torchscript"):
        path = self.root / f"{model}-{part}-{exporter}.onnx"
        return self.part(model, part).export(self.make(model), path, exporter)

    def _hub(self, model, seed=0):
        return saved(self.make(model, seed), self.root / f"{model}-{seed}")


def cases(names, *default):
    """Parameters, all but `default` marked as long."""
    return [
        pytest.param(*each, marks=() if each in default else pytest.mark.full, id="-".join(each))
        for each in names
    ]


def every(*lists):
    return [(first, *rest) for first in lists[0] for rest in (every(*lists[1:]) if lists[1:] else [()])]


class Case:
    """A model with an adapter, and a base checkpoint of its own and one of another seed."""

    def __init__(self, made, model, folder, **fields):
        self.model, self.made, self.place, self.folder = model, made, folder, folder / "lora"
        self.base = made.base(model)
        self.want = adapted(made.make(model), self.folder, **fields)
        self.own, self.other = made.hub(model), made.hub(model, 5)

    def holds(self, graph, *arguments, part="whole", tolerance=1e-5):
        product.opt(graph, f"--adapter=x={self.folder}", *arguments, "-o", self.place / "merged.onnx")
        where = self.made.part(self.model, part)
        assert_answers(self.place / "merged.onnx", where, self.want, self.base, tolerance)

    def assert_half(self, path, part, is_changed):
        """The graph of a part that the adapter changes, or leaves as it is."""
        where = self.made.part(self.model, part)
        if is_changed:
            assert_answers(path, where, self.want, self.base)
        else:
            assert_agrees(tiny.answer(path, where.numpy(path)), where.output(self.base))

    def refused(self, graph, *arguments, mentions=()):
        out = self.place / ("refused" if graph.is_dir() else "refused.onnx")
        given = (graph, f"--adapter=x={self.folder}", *arguments, "-o", out)
        product.refused("adapter-opt", *given, mentions=mentions)
        assert not out.exists()

    def proved(self, graph, otherwise=None):
        """Right with the model's own checkpoint, which proves all; refused with that of another seed."""
        self.holds(graph, self.own, "--require-proof")
        self.refused(graph, self.other, "--require-proof", mentions=otherwise or [f"{self.model}-5"])

    def compiled(self, mode, graph, *arguments, forms="lora"):
        """An artifact gives what PEFT's model gives, in each row that carries the adapter."""
        making, running = ([each.format(self.folder, forms=forms) for each in half] for half in MODES[mode])
        product.opt(graph, *making, *arguments, "-o", self.place / "m.adapt")
        part = self.made.part(self.model)
        (y,) = product.run(self.place / "m.adapt", part.numpy(graph), self.place, *running).values()
        right, plain = part.output(self.want), part.output(self.base)
        if mode in ("row", "slot"):
            assert_agrees(y[1:], plain[1:])
            y, right, plain = y[:1], right[:1], plain[:1]
        assert_agrees(y, right, plain)
