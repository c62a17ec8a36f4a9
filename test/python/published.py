# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Adapters of published methods in each mode against what NumPy makes of their formulas, and what was
measured, for docs/methods.md.

The methods have the ids U01 to U39 of the list of published methods.
"""

import json
import os

import numpy as np
import onnxruntime
import product
from safetensors.numpy import save_file
from tolerance import assert_agrees

ao = product.package()
MODES = ("onnx", "switch", "call", "row")


def record(ids, how, mode, got, want, plain):
    """The error as a part of what the adapter changes, of the output where it is largest."""
    if path := os.environ.get("ADAPTER_OPT_PUBLISHED"):
        errors = [
            np.abs(got[key].astype(float) - want[key]).max() / effect
            for key in want
            if (effect := np.abs(want[key].astype(float) - plain[key]).max())
        ]
        with open(path, "a") as file:
            for each in ids.replace(",", " ").split():
                file.write(json.dumps([each, how, mode, float(max(errors))]) + "\n")


def check(ids, how, mode, got, want, plain):
    """Outputs that the adapter changes are right, and the others as they were."""
    assert any(not np.array_equal(want[key], plain[key]) for key in want), "the test is void"
    for key in want:
        changes = not np.array_equal(want[key], plain[key])
        assert_agrees(got[key], want[key], plain[key] if changes else None)
    record(ids, how, mode, got, want, plain)


def run(graph, adapters, feed, mode, folder):
    """Outputs with all of the adapters {name: folder} acting, and in modes that have both those without."""
    named = [f"{name}={path}" for name, path in adapters.items()]
    if mode == "onnx":
        product.opt(graph, *(f"--adapter={each}" for each in named), "-o", folder / "merged.onnx")
        session = onnxruntime.InferenceSession(folder / "merged.onnx")
        names = [each.name for each in session.get_outputs()]
        return dict(zip(names, session.run(None, feed), strict=True)), None
    path = folder / f"{mode}.adapt"
    product.opt(graph, *(f"--adapter={each}@{mode}" for each in named), "-o", path)
    with ao.Model(path) as model:
        return _RUNS[mode](model, feed, list(adapters))


def _switched(model, feed, names):
    (name,) = names
    before = model(feed)
    model.switch(name)
    got = model(feed)
    model.switch(None)
    after = model(feed)
    assert all(np.array_equal(before[key], after[key]) for key in before), "not undone to the bit"
    return got, before


def _by_row(model, feed, names):
    rows = len(next(iter(feed.values())))
    all_of_them = {name: 1.0 for name in names} if len(names) > 1 else names[0]
    got, without = model(feed, adapters=[all_of_them] * rows), model(feed)
    mixed = model(feed, adapters=[all_of_them, None] * (rows // 2))
    for key in got:
        assert np.array_equal(mixed[key][::2], got[key][::2]), f"{key}: a row depends on others"
        assert np.array_equal(mixed[key][1::2], without[key][1::2]), f"{key}: a row without depends on others"
    return got, without


def _by_call(model, feed, names):
    (name,) = names
    return model(feed, adapters=name), model(feed)


_RUNS = {"switch": _switched, "call": _by_call, "row": _by_row}


def check_all(ids, how, world, folder, want, modes=MODES):
    """The adapter `x` in a folder, in each of the modes."""
    for mode in modes:
        got, without = run(world.path, {"x": folder / "x"}, world.feed, mode, folder)
        check(ids, how, mode, got, want, world.plain)
        for key in without or ():
            assert_agrees(without[key], world.plain[key])


# Cases by name: (ids, how the product says it, function of the world and a folder).
CASES = {}


def case(ids, how):
    """Enters a function that makes the adapter `x` in a folder and returns the outputs with it."""

    def enter(function):
        CASES[function.__name__] = (ids, how, function)
        return function

    return enter


def save(path, tensors):
    save_file({key: np.ascontiguousarray(each) for key, each in tensors.items()}, path)
    return path
