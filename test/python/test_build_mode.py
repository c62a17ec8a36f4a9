# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Compiled artifacts with adapters bound at build, and without any."""

import matrix
import product
import pytest
import zoo
from tolerance import assert_agrees


@matrix.every_export
def test_base(oracle, tmp_path, architecture, exporter):
    """No adapter; all shapes of feeds from one artifact."""
    base = oracle.export(architecture, exporter)
    artifact = tmp_path / "base.adapt"
    product.opt(base, "-o", artifact)
    for feed in zoo.FEEDS:
        y = product.run(artifact, oracle.feed_of(base, architecture, feed), tmp_path)["logits"]
        assert_agrees(y, oracle.base(architecture)[feed])


@matrix.cases("build")
def test_build(oracle, tmp_path, architecture, exporter, method):
    base = oracle.export(architecture, exporter)
    adapter = oracle.adapter(architecture, method)
    artifact = tmp_path / "built.adapt"
    product.opt(base, "--adapter", f"x={adapter.folder}@build", "-o", artifact)
    for feed in ("wide", "one"):
        y = product.run(artifact, oracle.feed_of(base, architecture, feed), tmp_path)["logits"]
        assert_agrees(y, adapter.outputs[feed], oracle.base(architecture)[feed])


def test_artifact_is_replaced_and_foreign_folders_are_not(oracle, small, tmp_path):
    base, adapter = small
    artifact = tmp_path / "model.adapt"
    product.opt(base, "-o", artifact)
    product.opt(base, "--adapter", f"x={adapter}", "-o", artifact)
    y = product.run(artifact, oracle.feed_of(base, "vit", "wide"), tmp_path)["logits"]
    assert_agrees(y, oracle.adapter("vit", "plain").outputs["wide"], oracle.base("vit")["wide"])
    assert sorted(p.name for p in tmp_path.glob("*.adapt*")) == ["model.adapt"]
    foreign = tmp_path / "photos.adapt"
    foreign.mkdir()
    (foreign / "one.txt").write_text("mine")
    product.refused("adapter-opt", base, "-o", foreign, mentions=[foreign.name])
    assert [p.name for p in foreign.iterdir()] == ["one.txt"]


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_thread_counts_agree(oracle, small, tmp_path, threads):
    base, _ = small
    artifact = tmp_path / "base.adapt"
    product.opt(base, "-o", artifact)
    model = product.package().load(str(artifact), threads=threads)
    y = model(**oracle.feed_of(base, "vit", "wide"))["logits"]
    assert_agrees(y, oracle.base("vit")["wide"])
