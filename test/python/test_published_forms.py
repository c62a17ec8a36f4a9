# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The library's definitions of methods that PEFT does not have (published_forms.py), at every time, against
their formulas in NumPy."""

import functools

import numpy as np
import onnxruntime
import own_forms
import product
import pytest
from own_linears import Linears
from published import record
from published_forms import PUBLISHED, SHARED
from tolerance import assert_agrees

ao = product.package()
FORMS = {name: form for name, (_, form) in PUBLISHED.items()}


class World:
    def __init__(self, folder):
        self.folder = folder
        self.model = Linears(folder / "model.onnx", 16, (10, 14), seed=4, forms=FORMS)
        self.feed, self.plain = {"x": self.model.x}, self.model.outputs()
        self.adapter = functools.cache(self._adapter)
        self.compiled = functools.cache(self._compiled)

    def _adapter(self, name):
        """Its folder and outputs."""
        tensors = self.model.draw(name)
        folder = own_forms.save(self.folder / name, name, tensors, shared=SHARED.get(name, ()))
        return folder, self.model.outputs(name, tensors)

    def _compiled(self, time):
        options = [f"--adapter={name}={self.adapter(name)[0]}@{time}" for name in FORMS]
        if time == "slot":
            options = ["--adapter-slot", f"s:{'+'.join(FORMS)}@row"]
        product.opt(self.model.path, *options, "-o", self.folder / f"{time}.adapt")
        return ao.Model(self.folder / f"{time}.adapt")

    def check(self, name, mode, got):
        want = self.adapter(name)[1]
        for key in want:
            assert_agrees(got[key], want[key], self.plain[key])
        record(PUBLISHED[name][0], f"form `{name}`", mode, got, want, self.plain)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return World(tmp_path_factory.mktemp("published"))


@pytest.mark.parametrize("name", FORMS)
def test_merges_into_onnx(world, name):
    folder, want = world.adapter(name)
    product.opt(world.model.path, "--adapter", f"x={folder}", "-o", world.folder / "merged.onnx")
    got = onnxruntime.InferenceSession(world.folder / "merged.onnx").run(None, world.feed)
    world.check(name, "onnx", dict(zip(want, got, strict=True)))


@pytest.mark.parametrize("name", FORMS)
def test_switches_to_and_fro(world, name):
    model, before = world.compiled("switch"), world.compiled("switch")(world.feed)
    model.switch(name)
    world.check(name, "switch", model(world.feed))
    model.switch(None)
    after = model(world.feed)
    assert all(np.array_equal(before[key], after[key]) for key in before)


@pytest.mark.parametrize("name", FORMS)
def test_acts_with_a_call(world, name):
    world.check(name, "call", world.compiled("call")(world.feed, adapters=name))


def test_all_in_one_batch(world):
    model = world.compiled("row")
    for start in range(0, len(FORMS), len(world.model.x)):
        names = list(FORMS)[start : start + len(world.model.x)]
        names += [None] * (len(world.model.x) - len(names))
        got = model(world.feed, adapters=names)
        for key in got:
            for row, name in enumerate(names):
                want = world.adapter(name)[1][key] if name else world.plain[key]
                assert_agrees(got[key][row], want[row])
        for row, name in enumerate(name for name in names if name):
            parts = [
                {key: each[key][row] for key in each} for each in (got, world.adapter(name)[1], world.plain)
            ]
            record(PUBLISHED[name][0], f"form `{name}`", "row", *parts)


@pytest.mark.parametrize("name", FORMS)
def test_arrives_in_a_slot(world, name):
    model = world.compiled("slot")
    model.load_adapter(name, world.adapter(name)[0])
    world.check(name, "slot", model(world.feed, adapters=[name] * len(world.model.x)))
    model.unload_adapter(name)


@pytest.mark.parametrize("value", [10**6, -1, -(2**40)])
@pytest.mark.parametrize("name, role", [("mos", "indices_A"), ("dsee", "indices"), ("sltrain", "indices")])
def test_indices_beyond_their_tensor(world, tmp_path, name, role, value):
    """Whoever computes the body finds them: merging, and loading into a slot."""
    tensors = world.model.draw(name)
    flat = tensors["one"][role].reshape(-1)
    flat[len(flat) // 2] = value
    folder = own_forms.save(tmp_path / "x", name, tensors, shared=SHARED.get(name, ()))
    words = [world.model.path, "--adapter", f"x={folder}", "-o", tmp_path / "m.onnx"]
    product.refused("adapter-opt", *words, mentions=[f"'{name}'"])
    with pytest.raises(ValueError, match=name):
        world.compiled("slot").load_adapter("bad", folder)


def test_coefficients_of_sizes_without_a_transform(tmp_path):
    """The Walsh-Hadamard transform (U20) is of powers of two; the form says so of the graph's linear."""
    model = Linears(tmp_path / "model.onnx", 12, (10, 14), seed=4, forms=FORMS)
    folder = own_forms.save(tmp_path / "x", "qwha", model.draw("qwha"))
    words = [model.path, "--adapter", f"x={folder}", "--check"]
    product.refused("adapter-opt", *words, mentions=["pow(2, levels) == cols", "cols = 12"])
