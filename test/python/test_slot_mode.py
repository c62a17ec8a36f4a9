# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Slots: adapters that arrive after compilation, loaded while the artifact runs."""

import shutil

import matrix
import methods
import numpy as np
import product
import pytest
import safetensors.numpy
import zoo
from tolerance import assert_agrees, assert_rows_agree

# The forms that a slot names for a method (see Update in lib/Checkpoint/Adapter.h).
FORMS = {
    "dora": "lora+dora",
    "convolution_dora": "lora+dora",
    "dora_rslora": "lora+dora+replace",
    "embedding": "lora+embedding",
    "embedding_dora": "lora+dora+embedding",
    "tokens": "lora+rows",
    "tokens_named": "lora+rows",
    "lora_bias": "lora+add",
    "shira": "lora+sparse",
} | dict.fromkeys(("bias_lora_only", "bias_all", "head_saved", "norm_saved", "bfloat16"), "lora+replace")


def compiled(base, tmp_path, forms, rank=8, time="row"):
    artifact = tmp_path / "slot.adapt"
    product.opt(base, f"--adapter-slot=tenant:{forms},rank={rank}@{time}", "-o", artifact)
    return artifact


@matrix.cases("slot")
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
    model.load_adapter("x", str(b.folder), slot="tenant", replace=True)  # a new generation of the name
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


@pytest.mark.parametrize("time", ["row", "switch"])
@pytest.mark.parametrize("method, exporter", [("embedding", "dynamo"), ("head", "torchscript")])
def test_saved_weight_that_is_the_bases(oracle, tmp_path, method, exporter, time):
    """PEFT saves the whole table or head beside its LoRA; that needs no room, and no copy by adapter."""
    base = oracle.export("llama", exporter)
    forms = FORMS.get(method, "lora")
    model = product.package().load(str(compiled(base, tmp_path, forms, time=time)), threads=2)
    feed, without = oracle.feed_of(base, "llama", "wide"), oracle.base("llama")["wide"]
    adapter = oracle.adapter("llama", method)
    tensors = safetensors.numpy.load_file(adapter.folder / "adapter_model.safetensors")
    saved = next(name for name in tensors if name.endswith("base_layer.weight"))
    model.load_adapter("x", adapter.folder)
    if time == "switch":
        model.switch("x")
    named = {} if time == "switch" else {"adapters": ["x"] * len(without)}
    assert_agrees(model(**feed, **named)["logits"], adapter.outputs["wide"], without)
    # One number else, the last one, is another weight.
    changed = shutil.copytree(adapter.folder, tmp_path / "changed")
    tensors[saved][-1, -1] += 1
    safetensors.numpy.save_file(tensors, changed / "adapter_model.safetensors")
    with pytest.raises(ValueError, match="replace.*does not take"):
        model.load_adapter("y", changed)


TIMED = [("bert", "dynamo", "dora_rslora"), ("llama", "torchscript", "dora"), ("gpt2", "dynamo", "tokens")]


@pytest.mark.parametrize("architecture, exporter, method", TIMED)
def test_call(oracle, tmp_path, architecture, exporter, method):
    base = oracle.export(architecture, exporter)
    artifact = compiled(base, tmp_path, FORMS[method], time="call")
    feed, without = oracle.feed_of(base, architecture, "wide"), oracle.base(architecture)["wide"]
    adapter = oracle.adapter(architecture, method)
    y = product.run(artifact, feed, tmp_path, f"--load=x={adapter.folder}", "--adapter", "x")["logits"]
    assert_agrees(y, adapter.outputs["wide"], without)


@pytest.mark.parametrize("architecture, exporter, method", TIMED)
def test_switch(oracle, tmp_path, architecture, exporter, method):
    base = oracle.export(architecture, exporter)
    model = product.package().load(str(compiled(base, tmp_path, FORMS[method], time="switch")), threads=2)
    feed, without = oracle.feed_of(base, architecture, "wide"), oracle.base(architecture)["wide"]
    before = model(**feed)["logits"]
    assert_agrees(before, without)
    for name, seed in (("a", 1), ("b", 2)):
        model.load_adapter(name, oracle.adapter(architecture, method, seed).folder)
    for name, seed in (("a", 1), ("b", 2)):
        model.switch(name)
        given = oracle.adapter(architecture, method, seed).outputs["wide"]
        assert_agrees(model(**feed)["logits"], given, without)
    model.switch(None)
    np.testing.assert_array_equal(model(**feed)["logits"], before)


@pytest.mark.parametrize("architecture, exporter, method", TIMED)
def test_load_time(oracle, tmp_path, architecture, exporter, method):
    """In a load-bound slot an adapter acts from its loading to its unloading."""
    base = oracle.export(architecture, exporter)
    model = product.package().load(str(compiled(base, tmp_path, FORMS[method], time="load")), threads=2)
    feed, without = oracle.feed_of(base, architecture, "wide"), oracle.base(architecture)["wide"]
    before = model(**feed)["logits"]
    for seed in (1, 2):
        adapter = oracle.adapter(architecture, method, seed)
        model.load_adapter("x", adapter.folder, replace=True)  # a new generation, the second time
        assert_agrees(model(**feed)["logits"], adapter.outputs["wide"], without)
    with pytest.raises(ValueError, match="bound at load"):
        model(**feed, adapters="x")
    model.unload_adapter("x")
    np.testing.assert_array_equal(model(**feed)["logits"], before)


def test_others_act_on_top_of_what_is_loaded(oracle, tmp_path):
    """Both at once is PEFT's sum of both: of LoRAs in the weights and by switch, by row and by call."""
    base = oracle.export("llama", "dynamo")
    first, second = (oracle.adapter("llama", "plain", seed) for seed in (1, 2))
    both, artifact = oracle.both("llama", "plain")["wide"], tmp_path / "top.adapt"
    slots = ["--adapter-slot=under:lora@load"]
    slots += [f"--adapter-slot={time}:lora@{time}" for time in ("switch", "row", "call")]
    product.opt(base, *slots, "-o", artifact)
    model = product.package().load(str(artifact), threads=2)
    feed = oracle.feed_of(base, "llama", "wide")
    for time in ("switch", "row", "call"):
        model.load_adapter(f"on-{time}", second.folder, slot=time)
    model.load_adapter("x", first.folder, slot="under")
    for name in ("on-row", "on-call"):
        assert_agrees(model(**feed, adapters=name)["logits"], both, first.outputs["wide"])
    model.switch("on-switch")
    assert_agrees(model(**feed)["logits"], both, first.outputs["wide"])
    model.unload_adapter("x")
    assert_agrees(model(**feed)["logits"], second.outputs["wide"], oracle.base("llama")["wide"])


def test_slots_and_adapters_together(oracle, tmp_path):
    """Two slots of one time and an adapter of the build, of three ranks, in one batch."""
    base = oracle.export("bert", "torchscript")
    a, b, c = (oracle.adapter("bert", method) for method in ("dora", "one_layer", "embedding"))
    artifact = tmp_path / "many.adapt"
    slots = ["--adapter-slot=few:lora,rank=4,modules=encoder.layer.1.*@row"]
    slots += ["--adapter-slot=all:lora+embedding", f"--adapter=a={a.folder}@row", "--bind=few.scale@call"]
    product.opt(base, *slots, "-o", artifact)
    model = product.package().load(str(artifact), threads=2)
    feed, without = oracle.feed_of(base, "bert", "wide"), oracle.base("bert")["wide"]
    with pytest.raises(ValueError, match="several slots"):
        model.load_adapter("b", b.folder)
    with pytest.raises(ValueError, match="no room for .*layer.0"):
        model.load_adapter("p", oracle.adapter("bert", "plain").folder, slot="few")
    model.load_adapter("b", b.folder, slot="few")
    model.load_adapter("c", c.folder, slot="all")
    y = model(**feed, adapters=["a", "b", "c"])["logits"]
    references = [each.outputs["wide"][i] for i, each in enumerate((a, b, c))]
    assert_rows_agree(y, references, without)
    y = model(**feed, adapters=["b"] * 3, settings={"b.scale": 0.5})["logits"]
    assert_agrees(y, oracle.adapter("bert", "one_layer", scale=0.5).outputs["wide"], without)
    with pytest.raises(ValueError, match="--bind all.scale@call"):
        model(**feed, adapters=["c"] * 3, settings={"c.scale": 0.5})


def test_declared_in_python(small, tmp_path):
    ao = product.package()
    base, folder = small
    model = ao.compile(
        base, slots={"s": ao.Slot("lora", rank=8, modules=("q_proj", "*_proj", "fc?"))}, threads=1
    )
    model.load_adapter("x", folder, slot="s")
    with pytest.raises(ValueError, match="no module 'nothing'"):
        ao.compile(base, slots={"s": ao.Slot("lora", modules=("nothing",))})


def test_every_method_has_forms():
    assert set(FORMS) <= set(methods.METHODS)
