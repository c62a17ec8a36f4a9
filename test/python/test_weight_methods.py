# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Every method of PEFT that changes weights (weight_methods.py), in every mode, against PEFT's unmerged
forward."""

import functools
import json
import os
import shutil
import warnings

import numpy as np
import onnxruntime
import product
import pytest
import torch
import weight_methods
from tolerance import disagreement
from weight_methods import METHODS, ROWS

ao = product.package()


class World:
    """Models of some kinds of layers, their graphs, and what each method's adapter makes of the inputs."""

    def __init__(self, folder):
        self.folder = folder
        self.model_of = functools.cache(self._model_of)
        self.adapter = functools.cache(self._adapter)

    def _model_of(self, kinds):
        """The model, its graph, its inputs and its outputs."""
        torch.manual_seed(0)
        base, names = weight_methods.Layers(kinds).eval(), weight_methods.inputs_of(kinds)
        values = [weight_methods.inputs()[name] for name in names]
        graph = self.folder / f"{'-'.join(kinds)}.onnx"
        axes = {name: {0: "rows"} for name in (*names, *kinds)}
        torch.onnx.export(
            base,
            tuple(values),
            graph,
            input_names=names,
            output_names=list(kinds),
            dynamic_axes=axes,
            dynamo=False,
        )
        return base, graph, values, self.outputs(base, values)

    def outputs(self, model, values):
        with torch.no_grad():
            return dict(zip(model.kinds, [t.numpy() for t in model(*values)], strict=True))

    def _adapter(self, name):
        """Its folder and outputs."""
        base, _, values, _ = self.model_of(METHODS[name].kinds)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model, folder = weight_methods.trained(base, name), self.folder / name
            model.save_pretrained(folder)
        return folder, self.outputs(model, values)

    def run(self, name, mode):
        """Outputs with the adapter, and those without it where a mode has both."""
        kinds = METHODS[name].kinds
        _, graph, values, _ = self.model_of(kinds)
        feed = {
            key: value.numpy() for key, value in zip(weight_methods.inputs_of(kinds), values, strict=True)
        }
        folder, _ = self.adapter(name)
        if mode == "onnx":
            product.opt(graph, "--adapter", f"x={folder}", "-o", self.folder / "merged.onnx")
            got = onnxruntime.InferenceSession(self.folder / "merged.onnx").run(None, feed)
            return dict(zip(kinds, got, strict=True)), None
        path = self.folder / "model.adapt"
        shutil.rmtree(path, ignore_errors=True)
        room = ("--adapter-slot", f"s:{METHODS[name].words}@row")
        product.opt(graph, *(room if mode == "slot" else ("--adapter", f"x={folder}@{mode}")), "-o", path)
        with ao.Model(path) as model:
            if mode == "slot":
                model.load_adapter("x", folder)
            return RUNS[mode](model, feed)


def _switched(model, feed):
    before = model(feed)
    model.switch("x")
    got = model(feed)
    model.switch(None)
    after = model(feed)
    assert all(np.array_equal(before[kind], after[kind]) for kind in before), "not undone to the bit"
    return got, before


def _by_row(model, feed):
    got, without = model(feed, adapters=["x"] * ROWS), model(feed)
    mixed = model(feed, adapters=["x", None] * (ROWS // 2))
    for kind in got:
        assert np.array_equal(mixed[kind][::2], got[kind][::2]), f"{kind}: a row depends on others"
        assert np.array_equal(mixed[kind][1::2], without[kind][1::2]), (
            f"{kind}: a row without it depends on others"
        )
    return got, without


RUNS = {
    "build": lambda model, feed: (model(feed), None),
    "switch": _switched,
    "call": lambda model, feed: (model(feed, adapters="x"), model(feed)),
    "row": _by_row,
    "slot": _by_row,
}


def _cases():
    """Every method merged and in one of the other modes, which take turns; the rest is `full`."""
    parameters = []
    for i, name in enumerate(METHODS):
        for j, mode in enumerate(("onnx", *RUNS)):
            if mode == "slot" and METHODS[name].words is None:
                continue
            chosen = mode == "onnx" or i % len(RUNS) == j - 1
            marks = () if chosen else pytest.mark.full
            parameters.append(pytest.param(name, mode, marks=marks, id=f"{name}-{mode}"))
    return pytest.mark.parametrize("name, mode", parameters)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return World(tmp_path_factory.mktemp("methods"))


def record(type, name, mode, kind, got, want, base):
    """For docs/methods.md (make methods): the error as a part of what the adapter changes."""
    if path := os.environ.get("ADAPTER_OPT_METHODS"):
        error = np.abs(got.astype(float) - want).max() / np.abs(want.astype(float) - base).max()
        with open(path, "a") as file:
            file.write(json.dumps([type, name, kind, mode, float(error)]) + "\n")


@_cases()
def test_agrees_with_peft(world, name, mode):
    (_, want), (_, _, _, plain) = world.adapter(name), world.model_of(METHODS[name].kinds)
    got, without = world.run(name, mode)
    faults = []
    for kind in want:
        record(METHODS[name].type, name, mode, kind, got[kind], want[kind], plain[kind])
        why = disagreement(got[kind], want[kind], plain[kind])
        faults += [f"{kind}: {why}"] if why else []
        why = disagreement(without[kind], plain[kind]) if without else None
        faults += [f"{kind} without it: {why}"] if why else []
    assert not faults, "; ".join(faults)
