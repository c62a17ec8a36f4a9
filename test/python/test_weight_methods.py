# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Every method of PEFT that changes weights (weight_methods.py), in every mode, against PEFT's unmerged forward."""

import shutil
import warnings

import numpy as np
import onnxruntime
import product
import pytest
import torch
import weight_methods
from tolerance import disagreement
from weight_methods import KINDS, METHODS, ROWS

ao = product.package()
MODES = ("onnx", "build", "switch", "call", "row", "slot")


class World:
    """The model, its graph, and what each method's adapter makes of the inputs."""

    def __init__(self, folder):
        self.folder, self.known = folder, {}
        torch.manual_seed(0)
        self.base = weight_methods.Layers().eval()
        self.inputs = weight_methods.inputs()
        self.feed = {name: value.numpy() for name, value in self.inputs.items()}
        self.graph = folder / "model.onnx"
        torch.onnx.export(
            self.base,
            tuple(self.inputs.values()),
            self.graph,
            input_names=list(self.inputs),
            output_names=list(KINDS),
            dynamic_axes={name: {0: "rows"} for name in (*self.inputs, *KINDS)},
            dynamo=False,
        )
        self.plain = self.outputs(self.base)

    def outputs(self, model):
        with torch.no_grad():
            values = model(*self.inputs.values())
        return dict(zip(KINDS, [t.numpy() for t in values], strict=True))

    def adapter(self, name):
        """Its folder and outputs."""
        if name not in self.known:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                model, folder = weight_methods.trained(self.base, name), self.folder / name
                model.save_pretrained(folder)
            self.known[name] = (folder, self.outputs(model))
        return self.known[name]

    def run(self, name, mode):
        """Outputs by kind, and for modes by row also those of rows without an adapter."""
        folder, _ = self.adapter(name)
        if mode == "onnx":
            product.opt(self.graph, "--adapter", f"x={folder}", "-o", self.folder / "merged.onnx")
            got = onnxruntime.InferenceSession(self.folder / "merged.onnx").run(None, self.feed)
            return dict(zip(KINDS, got, strict=True)), None
        path = self.folder / "model.adapt"
        shutil.rmtree(path, ignore_errors=True)
        if mode == "slot":
            product.opt(self.graph, "--adapter-slot", f"s:{METHODS[name].words}@row", "-o", path)
        else:
            product.opt(self.graph, "--adapter", f"x={folder}@{mode}", "-o", path)
        with ao.Model(path) as model:
            if mode == "build":
                return model(self.feed), None
            if mode == "switch":
                before = model(self.feed)
                model.switch("x")
                got = model(self.feed)
                model.switch(None)
                after = model(self.feed)
                assert all(np.array_equal(before[kind], after[kind]) for kind in KINDS), "not undone to the bit"
                return got, before
            if mode == "slot":
                model.load_adapter("x", folder)
            if mode == "call":
                return model(self.feed, adapters="x"), None
            mixed = model(self.feed, adapters=["x", None] * (ROWS // 2))
            got = model(self.feed, adapters=["x"] * ROWS)
            for kind in KINDS:
                assert np.array_equal(mixed[kind][::2], got[kind][::2]), f"{kind}: depends on other rows"
            rest = {kind: np.concatenate([mixed[kind][1::2], mixed[kind][1::2]]) for kind in KINDS}
            return got, {
                kind: np.where(np.arange(ROWS).reshape(-1, *[1] * (v.ndim - 1)) % 2, v, self.plain[kind])
                for kind, v in ((k, mixed[k]) for k in rest)
            }


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return World(tmp_path_factory.mktemp("methods"))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", METHODS)
def test_agrees_with_peft(world, name, mode):
    _, want = world.adapter(name)
    got, without = world.run(name, mode)
    faults = []
    for kind in KINDS:
        base = world.plain[kind] if kind in METHODS[name].kinds else None
        why = disagreement(got[kind], want[kind], base)
        faults += [f"{kind}: {why}"] if why else []
        why = disagreement(without[kind], world.plain[kind]) if without else None
        faults += [f"{kind} without it: {why}"] if why else []
    assert not faults, "; ".join(faults)
