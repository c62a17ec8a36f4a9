# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Slots: adapters that arrive after compilation, loaded while the artifact runs."""

import matrix
import methods
import numpy as np
import product
import pytest
import zoo
from tolerance import assert_agrees, assert_rows_agree

# The forms that a slot names for a method (see Update in lib/Checkpoint/Adapter.h).
FORMS = {
    "dora": "lora+dora",
    "dora_rslora": "lora+dora+replace",
    "embedding": "lora+lora_embedding",
    "embedding_dora": "lora+dora+lora_embedding",
    "tokens": "lora+rows",
    "tokens_named": "lora+rows",
    "lora_bias": "lora+add",
} | dict.fromkeys(("bias_lora_only", "bias_all", "head_saved", "norm_saved", "bfloat16"), "lora+replace")
SKIP = ("convolution",)  # factors of convolutions are bound at build


def compiled(base, tmp_path, forms, rank=8):
    artifact = tmp_path / "slot.adapt"
    product.opt(base, f"--adapter-slot=tenant:{forms},rank={rank}@row", "-o", artifact)
    return artifact


@matrix.cases("slot", skip=SKIP)
def test_load(oracle, tmp_path, architecture, exporter, method):
    base = oracle.export(architecture, exporter)
    artifact = compiled(base, tmp_path, FORMS.get(method, "lora"))
    feed, without = oracle.feed_of(base, architecture, "wide"), oracle.base(architecture)["wide"]
    a, b = (oracle.adapter(architecture, method, seed) for seed in (1, 2))
    loads = [f"--load=a={a.folder},slot=tenant", f"--load=b={b.folder}"]
    y = product.run(artifact, feed, tmp_path, *loads, "--row-adapters", "b,-,a")["logits"]
    references = [b.outputs["wide"][0], without[1], a.outputs["wide"][2]]
    assert_rows_agree(y, references, [without[0], None, without[2]])


@pytest.mark.parametrize("architecture", zoo.ARCHITECTURES)
def test_load_replace_and_unload_while_running(oracle, tmp_path, architecture):
    base = oracle.export(architecture, "dynamo")
    model = product.package().load(str(compiled(base, tmp_path, "lora")), threads=2)
    feed, without = oracle.feed_of(base, architecture, "wide"), oracle.base(architecture)["wide"]
    a, b = (oracle.adapter(architecture, "plain", seed) for seed in (1, 2))
    rows = len(without)
    assert_agrees(model(**feed)["logits"], without)
    model.load_adapter("x", str(a.folder), slot="tenant")
    assert_agrees(model(**feed, adapters=["x"] * rows)["logits"], a.outputs["wide"], without)
    model.load_adapter("x", str(b.folder), slot="tenant")  # a new generation of the name
    assert_agrees(model(**feed, adapters=["x"] * rows)["logits"], b.outputs["wide"], without)
    assert list(model.adapters) == ["x"]
    model.unload_adapter("x")
    assert list(model.adapters) == []
    with pytest.raises(Exception, match="x"):
        model(**feed, adapters=["x"] * rows)
    assert_agrees(model(**feed)["logits"], without)


@pytest.mark.parametrize(
    "method, forms, rank, named",
    [("dora", "lora", 8, "dora"), ("plain", "lora", 3, "rank"), ("head_saved", "lora", 8, "classifier")],
)
def test_what_does_not_fit_is_refused(oracle, tmp_path, method, forms, rank, named):
    base = oracle.export("vit", "torchscript")
    artifact = compiled(base, tmp_path, forms, rank)
    folder = oracle.adapter("vit", method).folder
    np.save(tmp_path / "x.npy", oracle.feed("vit", "wide")["pixel_values"])
    arguments = [artifact, f"--load=x={folder}", "--input", f"pixel_values={tmp_path}/x.npy"]
    product.refused("adapter-run", *arguments, "--adapter", "x", mentions=[named])


def test_every_method_has_forms():
    assert set(FORMS) <= set(methods.METHODS)
