# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Adapters bound at row: every row of a batch equals a run of that row alone with its own adapter."""

import matrix
import methods
import numpy as np
import product
import pytest
from tolerance import assert_agrees, assert_rows_agree

# The three rows of the feed `wide`; a has rank 4, b rank 6.
MIXTURES = (["a", None, "b"], ["b", "a", "a"], [None, "b", None], [None, None, None])


def compiled(oracle, tmp_path, architecture, exporter, a, b):
    """(artifact, feed, adapters by name) for methods a and b."""
    base = oracle.export(architecture, exporter)
    adapters = {"a": oracle.adapter(architecture, a, 1), "b": oracle.adapter(architecture, b, 2)}
    artifact = tmp_path / "row.adapt"
    arguments = [f"--adapter={name}={adapter.folder}@row" for name, adapter in adapters.items()]
    product.opt(base, *arguments, "-o", artifact)
    return artifact, oracle.feed_of(base, architecture, "wide"), adapters


def expected(oracle, adapters, architecture, names):
    """(references, bases) row by row; the base is None where a row carries no adapter."""
    base = oracle.base(architecture)["wide"]
    references = [adapters[n].outputs["wide"][i] if n else base[i] for i, n in enumerate(names)]
    return references, [base[i] if n else None for i, n in enumerate(names)]


def check(oracle, tmp_path, architecture, exporter, a, b):
    artifact, feed, adapters = compiled(oracle, tmp_path, architecture, exporter, a, b)
    model = product.package().load(str(artifact), threads=2)
    for names in MIXTURES:
        y = model(**feed, adapters=names)["logits"]
        assert_rows_agree(y, *expected(oracle, adapters, architecture, names))


@matrix.cases("row")
def test_row(oracle, tmp_path, architecture, exporter, method):
    check(oracle, tmp_path, architecture, exporter, method, method)


PAIRS = [("plain", "dora"), ("bias_all", "regex"), ("one_layer", "head_saved"), ("norm_saved", "plain")]
TEXT_PAIRS = [("embedding", "tokens"), ("tokens", "plain"), ("embedding_dora", "embedding")]


@pytest.mark.parametrize("a, b", PAIRS + TEXT_PAIRS)
@matrix.exports
def test_different_kinds_in_one_batch(oracle, tmp_path, architecture, exporter, a, b):
    """Adapters that differ in type, rank and the modules they touch."""
    if not {a, b} <= set(methods.methods_of(architecture)):
        pytest.skip("no such method here")
    check(oracle, tmp_path, architecture, exporter, a, b)


@pytest.mark.parametrize("method", ["bias_all", "lora_bias", "norm_saved"])
@pytest.mark.parametrize("architecture", ["bert", "gpt2", "vit"])
def test_shared_and_dropped_initialisers(oracle, tmp_path, architecture, method):
    """Weights as initialised: biases and norms that dynamo merged, biases of zeros that it dropped."""
    base = oracle.export(architecture, "dynamo", False)
    adapter = oracle.adapter(architecture, method, 1, False)
    artifact = tmp_path / "row.adapt"
    product.opt(base, f"--adapter=a={adapter.folder}@row", "-o", artifact)
    feed, without = oracle.feed_of(base, architecture, "wide"), oracle.base(architecture, False)["wide"]
    y = product.run(artifact, feed, tmp_path, "--row-adapters", "a,-,a")["logits"]
    given = adapter.outputs["wide"]
    assert_rows_agree(y, [given[0], without[1], given[2]], [without[0], None, without[2]])


@matrix.exports
def test_command_line(oracle, tmp_path, architecture, exporter):
    artifact, feed, adapters = compiled(oracle, tmp_path, architecture, exporter, "plain", "plain")
    y = product.run(artifact, feed, tmp_path, "--row-adapters", "a,-,b")["logits"]
    assert_rows_agree(y, *expected(oracle, adapters, architecture, ["a", None, "b"]))
    y = product.run(artifact, feed, tmp_path, "--adapter", "b")["logits"]
    assert_rows_agree(y, *expected(oracle, adapters, architecture, ["b", "b", "b"]))
    assert_agrees(product.run(artifact, feed, tmp_path)["logits"], oracle.base(architecture)["wide"])


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_one_row_of_one_token(oracle, tmp_path, architecture):
    artifact, _, adapters = compiled(oracle, tmp_path, architecture, "dynamo", "plain", "dora")
    feed = oracle.feed_of(oracle.export(architecture, "dynamo"), architecture, "one")
    for name, adapter in adapters.items():
        y = product.run(artifact, feed, tmp_path, "--row-adapters", name)["logits"]
        assert_agrees(y, adapter.outputs["one"], oracle.base(architecture)["one"])


def test_wrong_requests_are_refused(oracle, tmp_path):
    artifact, feed, _ = compiled(oracle, tmp_path, "vit", "torchscript", "plain", "plain")
    np.save(tmp_path / "x.npy", feed["pixel_values"])
    arguments = [artifact, "--input", f"pixel_values={tmp_path}/x.npy"]
    product.refused("adapter-run", *arguments, "--row-adapters", "a,b", mentions=["2", "3"])
    product.refused("adapter-run", *arguments, "--row-adapters", "a,nobody,b", mentions=["nobody"])
    product.refused("adapter-run", *arguments, "--row-adapters", "a,a,a", "--adapter", "a", code=2)
