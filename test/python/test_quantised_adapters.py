# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Adapters on products with weights of integers, at every time, against PEFT over the numbers that these
stand for; and adapters that are switched in beside narrow weights."""

import copy
import json

import decoders
import narrow
import numpy as np
import product
import pytest
import quantised
import torch
from decoders import Decoder, prompts
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save_file
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


# --- one product, one table -----------------------------------------------------------------------


def save_lora(folder, module, depth, columns, names=("lora_A.weight", "lora_B.weight"), seed=0):
    """A LoRA of random numbers; its factors."""
    generator = np.random.default_rng(seed)
    down = generator.standard_normal((4, depth)).astype(np.float32)
    up = generator.standard_normal((columns, 4)).astype(np.float32)
    folder.mkdir()
    prefix = f"base_model.model.{module}."
    save_file({prefix + names[0]: down, prefix + names[1]: up}, folder / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": 4, "lora_alpha": 4, "target_modules": [module.rsplit(".", 1)[-1]]}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return down, up


@pytest.mark.parametrize(
    "node, codes", [("up/MatMul_Q4", "up.MatMul.weight_Q4"), ("up/MatMulNBits", "up.MatMulNBits.qweight")]
)
def test_names_of_builders(tmp_path, node, codes):
    weight = quantised.Blocks(64, 40, 4, 32, "packed")
    made, tensors = weight.node("x", "y", f"/model/layers.0/{node}", "w")
    made.input[1] = tensors[0].name = f"model.layers.0.{codes}"
    quantised.save(tmp_path / "m.onnx", [made], tensors, 64, 40)
    down, up = save_lora(tmp_path / "lora", "model.layers.0.up", 64, 40)
    text = product.opt(tmp_path / "m.onnx", "--adapter", f"x={tmp_path / 'lora'}", "--check")
    assert "1 of 1 modules placed" in text
    x = np.random.default_rng(1).standard_normal((5, 64)).astype(np.float32)
    base = x @ weight.values
    wanted = base + x @ down.T @ up.T
    model = ao.compile(tmp_path / "m.onnx", {"x": tmp_path / "lora"}, activations="f32")
    assert_agrees(model(x=x)["y"], wanted, base)
    # Into floats, which --weights rounds then.
    words = [tmp_path / "m.onnx", "--adapter", f"x={tmp_path / 'lora'}", "--allow-lossy-merge"]
    product.opt(*words, "-o", tmp_path / "f.adapt")
    merged = ao.load(tmp_path / "f.adapt")
    assert not any("format" in each for each in merged.info()["parameters"])
    assert_agrees(merged(x=x)["y"], wanted, base)
    product.opt(*words, "--weights", "int8", "-o", tmp_path / "n.adapt")
    assert [each["format"] for each in ao.load(tmp_path / "n.adapt").info()["parameters"]] == ["int8"]
    product.refused(
        "adapter-opt", *words[:3], "-o", tmp_path / "o.onnx", mentions=["quantised", "write an .adapt"]
    )


@pytest.mark.parametrize("time", ["build", "switch", "row"])
def test_tables(tmp_path, time):
    """A table that an adapter changes is one of floats, and is changed as such."""
    generator = np.random.default_rng(2)
    codes = generator.integers(0, 16, (37, 64)).astype(np.int64)
    scales = generator.uniform(0.01, 0.1, (37, 2)).astype(np.float32)
    tensors = {"embed.weight_Q4": quantised.packed(codes, 4), "embed.weight_scales": scales}
    node = helper.make_node(
        "GatherBlockQuantized",
        ["embed.weight_Q4", "ids", "embed.weight_scales"],
        ["y"],
        name="/embed/Gather",
        domain="com.microsoft",
        bits=4,
        block_size=32,
        quantize_axis=1,
    )
    inputs = [helper.make_tensor_value_info("ids", TensorProto.INT64, ["n"])]
    initializers = [numpy_helper.from_array(value, name) for name, value in tensors.items()]
    quantised.save(tmp_path / "m.onnx", [node], initializers, 64, 64, inputs=inputs)
    table = (codes.astype(np.float32) - 8) * np.repeat(scales, 32, 1)
    down, up = save_lora(tmp_path / "lora", "embed", 37, 64, ("lora_embedding_A", "lora_embedding_B"))
    ids = np.array([0, 36, 5, 5])
    model = ao.compile(tmp_path / "m.onnx", {"x": ao.Adapter(tmp_path / "lora", time=time)})
    if time == "switch":
        assert np.array_equal(model(ids=ids)["y"], table[ids])
        model.switch("x")
    got = model(ids=ids, **({"adapters": "x"} if time == "row" else {}))["y"]
    assert_agrees(got, (table + (up @ down).T)[ids], table[ids])


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
