# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Several adapters on one row, each with a share: the shares of what each makes of the base are added,
wherever it changes something."""

import numpy as np
import product
import pytest
from test_row_mode import compiled
from tolerance import assert_agrees, assert_rows_agree

SHARES = {"a": 0.7, "b": 0.3}


@pytest.mark.parametrize(
    "architecture, exporter", [("bert", "dynamo"), ("llama", "torchscript"), ("gpt2", "dynamo")]
)
def test_shares_by_row(oracle, tmp_path, architecture, exporter):
    artifact, feed, adapters = compiled(oracle, tmp_path, architecture, exporter, "plain", "plain")
    model = product.package().load(str(artifact), threads=2)
    base, mixed = (oracle.base(architecture)["wide"], oracle.both(architecture, "plain", (0.7, 0.3))["wide"])
    y = model(**feed, adapters=[SHARES, None, "a"])["logits"]
    assert_rows_agree(y, [mixed[0], base[1], adapters["a"].outputs["wide"][2]], [base[0], None, base[2]])
    assert np.array_equal(y[1], model(**feed)["logits"][1])
    assert_agrees(model(**feed, adapters=SHARES)["logits"], mixed, base)
    # One adapter with a share is its scale, and a share of one is the adapter.
    half = oracle.adapter(architecture, "plain", 1, scale=0.5).outputs["wide"]
    y = model(**feed, adapters=[{"a": 0.5}, {"a": 1}, {}])["logits"]
    assert_rows_agree(y, [half[0], adapters["a"].outputs["wide"][1], base[2]], [base[0], base[1], None])


@pytest.mark.parametrize("method", ["dora", "bias_all", "embedding"])
def test_any_kind_of_update(oracle, tmp_path, method):
    """Whole parameters, norms and rows of tables add up like low-rank updates do."""
    artifact, feed, adapters = compiled(oracle, tmp_path, "bert", "dynamo", method, method)
    model = product.package().load(str(artifact), threads=1)
    base = oracle.base("bert")["wide"]
    y = model(**feed, adapters=["a", {"a": 1.0, "b": 0.0}, {"a": 0.0, "b": 1.0}])["logits"]
    given = [adapters[name].outputs["wide"] for name in "aab"]
    assert_rows_agree(y, [given[i][i] for i in range(3)], list(base))
    if method == "dora":
        mixed = oracle.both("bert", "dora", (0.7, 0.3))["wide"]
        assert_agrees(model(**feed, adapters=SHARES)["logits"], mixed, base)


def test_at_call(oracle, tmp_path):
    base = oracle.export("llama", "dynamo")
    given = [
        f"--adapter={name}={oracle.adapter('llama', 'plain', seed).folder}@call"
        for name, seed in (("a", 1), ("b", 2))
    ]
    product.opt(base, *given, "-o", tmp_path / "call.adapt")
    feed = oracle.feed_of(base, "llama", "wide")
    y = product.run(tmp_path / "call.adapt", feed, tmp_path, "--adapter", "0.7*a+0.3*b")["logits"]
    assert_agrees(y, oracle.both("llama", "plain", (0.7, 0.3))["wide"], oracle.base("llama")["wide"])
    model = product.package().load(str(tmp_path / "call.adapt"))
    rows = [SHARES, SHARES, {"a": 0.7}]
    with pytest.raises(ValueError, match="bound at call"):
        model(**feed, adapters=rows)


def test_command_line(oracle, tmp_path):
    artifact, feed, _ = compiled(oracle, tmp_path, "bert", "dynamo", "plain", "plain")
    base, mixed = oracle.base("bert")["wide"], oracle.both("bert", "plain", (0.7, 0.3))["wide"]
    y = product.run(artifact, feed, tmp_path, "--row-adapters", "7e-1*a+0.3*b,-,0.7*a+3E-1*b")["logits"]
    assert_rows_agree(y, [mixed[0], base[1], mixed[2]], [base[0], None, base[2]])


@pytest.mark.parametrize(
    "text, says",
    [
        ("0.7*a+0.3*a,-,-", "twice"),
        ("x*a,-,-", "no finite number"),
        ("0.5*,-,-", "no adapter"),
        ("a+,-,-", "no adapter"),
        ("1e999*a,-,-", "no finite number"),
        ("0.5*c,-,-", "'c'"),
        ("nan*a,-,-", "finite"),
    ],
)
def test_wrong_shares_are_refused(oracle, tmp_path, text, says):
    artifact, feed, _ = compiled(oracle, tmp_path, "bert", "dynamo", "plain", "plain")
    inputs = []
    for name, value in feed.items():
        np.save(tmp_path / f"{name}.npy", value)
        inputs += ["--input", f"{name}={tmp_path}/{name}.npy"]
    product.refused("adapter-run", artifact, *inputs, "--row-adapters", text, mentions=[says])
