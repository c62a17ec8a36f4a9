# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Adapters bound at switch: one active at a time, and undoing a switch gives back every bit."""

import matrix
import numpy as np
import product
from tolerance import assert_agrees


def compiled(oracle, tmp_path, architecture, exporter, method):
    """(artifact, feed, adapters by name): a and b are of one method and of different ranks."""
    base = oracle.export(architecture, exporter)
    adapters = {name: oracle.adapter(architecture, method, seed) for name, seed in (("a", 1), ("b", 2))}
    artifact = tmp_path / "switch.adapt"
    arguments = [f"--adapter={name}={adapter.folder}@switch" for name, adapter in adapters.items()]
    product.opt(base, *arguments, "-o", artifact)
    return artifact, oracle.feed_of(base, architecture, "wide"), adapters


@matrix.cases("switch")
def test_switch(oracle, tmp_path, architecture, exporter, method):
    """none, a, b, a and none in one process: PEFT's answers, and the same bits whenever one comes back."""
    artifact, feed, adapters = compiled(oracle, tmp_path, architecture, exporter, method)
    base = oracle.base(architecture)["wide"]
    model = product.package().load(str(artifact), threads=2)
    said = {}
    for name in (None, "a", "b", "a", None, "b"):
        model.switch(name)
        y = model(**feed)["logits"]
        if name is None:
            assert_agrees(y, base)
        else:
            assert_agrees(y, adapters[name].outputs["wide"], base)
        assert np.array_equal(y, said.setdefault(name, y)), f"{name} differs in bits on its second turn"


@matrix.exports
def test_command_line(oracle, tmp_path, architecture, exporter):
    artifact, feed, adapters = compiled(oracle, tmp_path, architecture, exporter, "plain")
    base = oracle.base(architecture)["wide"]
    assert_agrees(product.run(artifact, feed, tmp_path)["logits"], base)
    for name, adapter in adapters.items():
        y = product.run(artifact, feed, tmp_path, "--adapter", name)["logits"]
        assert_agrees(y, adapter.outputs["wide"], base)


def test_unknown_name_is_refused(oracle, tmp_path):
    artifact, feed, _ = compiled(oracle, tmp_path, "vit", "torchscript", "plain")
    np.save(tmp_path / "x.npy", feed["pixel_values"])
    arguments = [artifact, "--input", f"pixel_values={tmp_path}/x.npy"]
    product.refused("adapter-run", *arguments, "--adapter", "nobody", mentions=["nobody", "a", "b"])


def test_build_and_switch_together(oracle, tmp_path):
    """One adapter merged for good, another switched on top of it."""
    base = oracle.export("llama", "dynamo")
    first, second = (oracle.adapter("llama", "plain", seed) for seed in (1, 2))
    artifact = tmp_path / "both.adapt"
    arguments = [f"--adapter=always={first.folder}@build", f"--adapter=b={second.folder}@switch"]
    product.opt(base, *arguments, "-o", artifact)
    feed = oracle.feed_of(base, "llama", "wide")
    y = product.run(artifact, feed, tmp_path)["logits"]
    assert_agrees(y, first.outputs["wide"], oracle.base("llama")["wide"])
    y = product.run(artifact, feed, tmp_path, "--adapter", "b")["logits"]
    assert_agrees(y, oracle.both("llama", "plain")["wide"], first.outputs["wide"])
