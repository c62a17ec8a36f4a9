# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Adapters on products with weights of integers, at every time, against PEFT over the numbers that these
stand for; and adapters that are switched in beside narrow weights."""

import copy

import decoders
import narrow
import numpy as np
import product
import pytest
import quantised
import torch
from decoders import Decoder, prompts
from tolerance import assert_agrees

ao = product.package()
KINDS = {"lora": decoders.lora, "dora": decoders.dora, "loha": decoders.loha, "oft": decoders.oft}


class Rounded:
    """A decoder whose linears are stored as integers."""

    def __init__(self, folder):
        self.decoder = Decoder("llama", folder, KINDS | {"other": decoders.lora})
        (folder / "rounded").mkdir()
        self.path = folder / "rounded" / "model.onnx"
        exported = self.decoder.export
        self.values = quantised.round_products(
            exported if str(exported).endswith(".onnx") else f"{exported}/model.onnx", self.path
        )
        assert len(self.values) > 10

    def folder(self, name):
        return self.decoder.adapters[name][0]

    def compiled(self, **options):
        return ao.compile(self.path, stateful=True, activations="f32", **options)

    def with_base(self, model):
        model = copy.deepcopy(model)
        for name, module in model.named_modules():
            path = name.removeprefix("base_model.model.")
            if path in self.values:
                base = getattr(module, "base_layer", module)
                base.weight.data = torch.from_numpy(self.values[path].T.copy())
        return model

    def model(self, adapter):
        return self.with_base(self.decoder.adapters[adapter][1] if adapter else self.decoder.model)

    @torch.no_grad()
    def logits(self, adapter, ids):
        return self.model(adapter)(input_ids=torch.tensor(ids)).logits.numpy()


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    return Rounded(tmp_path_factory.mktemp("rounded"))


def test_weights_stay_integers(llama):
    model = llama.compiled()
    formats = [each["format"] for each in model.info()["parameters"] if "format" in each]
    assert len(formats) == len(llama.values) and all(each.startswith("int4") for each in formats)
    ids = prompts(7)
    assert_agrees(model.session(max_length=8)(ids)["logits"], llama.logits(None, ids), tolerance=1e-5)


def test_rows(llama):
    """Several kinds in one batch."""
    adapters = {name: ao.Adapter(llama.folder(name), time="row") for name in KINDS}
    model = llama.compiled(adapters=adapters, threads=2)
    ids, named = prompts(7, 7, 7, 7, 7), [None, *KINDS]
    got = model.session(max_length=16, batch=5)(ids, adapters=named)["logits"]
    base = llama.logits(None, ids)
    for row, name in enumerate(named):
        wanted = llama.logits(name, [ids[row]])[0]
        assert_agrees(got[row], wanted, base[row] if name else None)


@pytest.mark.parametrize("name", KINDS)
def test_call_build_and_slot(llama, name):
    """At build the adapter acts beside the integers, in every call, and nobody names it."""
    ids = prompts(6)
    wanted, base = llama.logits(name, ids), llama.logits(None, ids)
    call = llama.compiled(adapters={"x": ao.Adapter(llama.folder(name), time="call")})
    assert_agrees(call.session(max_length=8)(ids, adapters="x")["logits"], wanted, base)
    assert_agrees(call.session(max_length=8)(ids)["logits"], base, tolerance=1e-5)
    built = llama.compiled(adapters={"x": llama.folder(name)})
    assert_agrees(built.session(max_length=8)(ids)["logits"], wanted, base)
    formats = [each for each in built.info()["parameters"] if each.get("format", "").startswith("int4")]
    assert len(formats) == len(llama.values)
    with pytest.raises(ValueError, match="'x' is bound at build: it acts in every call"):
        built.session(max_length=8)(ids, adapters="x")


def test_switch(llama):
    """Back and forth, with each kind; switched out, the base's results return to the bit."""
    adapters = {name: ao.Adapter(llama.folder(name), time="switch") for name in KINDS}
    model = llama.compiled(adapters=adapters, threads=2)
    ids = prompts(6, 6)
    first = model.session(max_length=8, batch=2)(ids)["logits"]
    base = llama.logits(None, ids)
    assert_agrees(first, base, tolerance=1e-5)
    for name in [*KINDS, "lora"]:
        model.switch(name)
        got = model.session(max_length=8, batch=2)(ids)["logits"]
        assert_agrees(got, llama.logits(name, ids), base)
    model.switch(None)
    assert np.array_equal(model.session(max_length=8, batch=2)(ids)["logits"], first)


def test_scale_of_what_is_switched_in(llama):
    model = llama.compiled(adapters={"lora": ao.Adapter(llama.folder("lora"), time="switch")})
    ids = prompts(6)
    base = model.session(max_length=8)(ids)["logits"]
    model.switch("lora")
    model.set("lora.scale", 0.0)
    assert_agrees(model.session(max_length=8)(ids)["logits"], base, tolerance=1e-6)
    model.set("lora.scale", 1.0)
    assert_agrees(model.session(max_length=8)(ids)["logits"], llama.logits("lora", ids), base)


def test_several_at_build(llama):
    """Sums add up; with what rescales the weight they would not."""
    both = {"x": llama.folder("lora"), "y": llama.folder("other")}
    model = llama.compiled(adapters=both)
    ids = prompts(6)
    reference = llama.model("lora").merge_and_unload()
    extra = llama.model("other")
    for name, module in extra.named_modules():
        if hasattr(module, "lora_A") and hasattr(module, "get_delta_weight"):
            target = reference.get_submodule(name.removeprefix("base_model.model."))
            target.weight.data += module.get_delta_weight("default")
    with torch.no_grad():
        wanted = reference(input_ids=torch.tensor(ids)).logits.numpy()
    assert_agrees(model.session(max_length=8)(ids)["logits"], wanted, llama.logits(None, ids))
    with pytest.raises(ValueError, match="stored as integers.*'y'.*more than a sum"):
        llama.compiled(adapters={"x": llama.folder("lora"), "y": llama.folder("dora")})
    with pytest.raises(ValueError, match="stored as integers.*slot 's'"):
        llama.compiled(adapters={"x": llama.folder("lora")}, slots={"s": ao.Slot("lora+dora", rank=4)})


def test_build_beside_rows(llama):
    """One that acts in every call, and one by row on top."""
    other = ao.Adapter(llama.folder("other"), time="row")
    model = llama.compiled(adapters={"x": llama.folder("lora"), "y": other}, threads=2)
    ids = prompts(6, 6)
    got = model.session(max_length=8, batch=2)(ids, adapters=[None, "y"])["logits"]
    base = llama.logits(None, ids)
    assert_agrees(got[0], llama.logits("lora", ids)[0], base[0])
    both = llama.compiled(adapters={"x": llama.folder("lora"), "y": llama.folder("other")})
    wanted = both.session(max_length=8, batch=2)(ids)["logits"]
    assert_agrees(got[1], wanted[1], base[1])


def test_two_times_on_one_weight(llama):
    """What a call names beside what its rows name: changes of the base add up, whatever form each has."""
    call = ao.Adapter(llama.folder("lora"), time="call")
    ids = prompts(6)
    for build in (llama.compiled, llama.decoder.compiled):
        both = build(adapters={"x": call, "y": ao.Adapter(llama.folder("dora"), time="row")})
        rows = build(adapters={name: ao.Adapter(llama.folder(name), time="row") for name in ("lora", "dora")})
        got = both.session(max_length=8)(ids, adapters=["x+0.5*y"])["logits"]
        wanted = rows.session(max_length=8)(ids, adapters=["lora+0.5*dora"])["logits"]
        assert_agrees(got, wanted, rows.session(max_length=8)(ids)["logits"])


def test_check(llama):
    """Names alone say where it goes."""
    text = product.opt(llama.path, "--adapter", f"sql={llama.folder('lora')}", "--check")
    assert "placed" in text


# --- narrow weights -------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["bf16", "int8"])
def test_switch_beside_narrow_weights(llama, text):
    decoder = llama.decoder
    adapters = {name: ao.Adapter(llama.folder(name), time="switch") for name in ("lora", "dora", "oft")}
    options = dict(activations="f32") if text == "int8" else {}
    model = decoder.compiled(adapters=adapters, weights=text, **options)

    def logits(name, ids):
        made = copy.deepcopy(decoder.adapters[name][1] if name else decoder.model)
        for path, module in made.named_modules():
            base = getattr(module, "base_layer", module)
            if isinstance(base, torch.nn.Linear) and "lora" not in path:
                weight = base.weight.detach().numpy().T
                form = text if weight.shape[0] % 32 == 0 else "bf16"
                base.weight.data = torch.from_numpy(narrow.rounded(weight, form).T.copy())
        with torch.no_grad():
            return made(input_ids=torch.tensor(ids)).logits.numpy()

    ids = prompts(6)
    first = model.session(max_length=8)(ids)["logits"]
    base = logits(None, ids)
    for name in adapters:
        model.switch(name)
        assert_agrees(model.session(max_length=8)(ids)["logits"], logits(name, ids), base)
    model.switch(None)
    assert np.array_equal(model.session(max_length=8)(ids)["logits"], first)
