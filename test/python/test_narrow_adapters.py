# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Adapters beside narrow weights: what they add is held against PEFT over the rounded base, and rows and
texts against single runs."""

import copy

import decoders
import narrow
import numpy as np
import product
import pytest
import torch
from decoders import Decoder, prompts
from tolerance import assert_agrees

ao = product.package()
KINDS = {"lora": decoders.lora, "dora": decoders.dora, "loha": decoders.loha, "oft": decoders.oft}
FORMATS = ["bf16", "f16", "int8", "int4"]


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    return Decoder("llama", tmp_path_factory.mktemp("llama"), KINDS)


def rounded_model(decoder, adapter, text):
    """PEFT's model, or transformers' own, with every linear's base weight rounded."""
    model = copy.deepcopy(decoder.adapters[adapter][1] if adapter else decoder.model)
    for name, module in model.named_modules():
        base = getattr(module, "base_layer", module)
        if isinstance(base, torch.nn.Linear) and "adapter" not in name and "lora" not in name:
            weight = base.weight.detach().numpy().T
            # Rows that are no multiple of 32 are stored in bf16.
            form = text if weight.shape[0] % 32 == 0 or not text.startswith("int") else "bf16"
            base.weight.data = torch.from_numpy(narrow.rounded(weight, form).T.copy())
    return model


@torch.no_grad()
def logits(model, ids):
    return model(input_ids=torch.tensor(ids)).logits.numpy()


@pytest.mark.parametrize("text", FORMATS)
def test_rows_against_peft(llama, text):
    """Several kinds in one batch. With activations of f32 nothing else is rounded."""
    adapters = {name: ao.Adapter(folder, time="row") for name, (folder, _) in llama.adapters.items()}
    options = dict(activations="f32") if text.startswith("int") else {}
    model = llama.compiled(adapters=adapters, weights=text, threads=2, **options)
    session = model.session(max_length=16, batch=5)
    ids, named = prompts(7, 7, 7, 7, 7), [None, *KINDS]
    got = session(ids, adapters=named)["logits"]
    base = logits(rounded_model(llama, None, text), ids)
    for row, name in enumerate(named):
        wanted = logits(rounded_model(llama, name, text), [ids[row]])[0]
        assert_agrees(got[row], wanted, base[row] if name else None)


def test_adapters_at_other_times(llama):
    folder, _ = llama.adapters["lora"]
    ids = prompts(6)
    wanted = logits(rounded_model(llama, "lora", "bf16"), ids)
    base = logits(rounded_model(llama, None, "bf16"), ids)
    call = llama.compiled(adapters={"x": ao.Adapter(folder, time="call")}, weights="bf16")
    assert_agrees(call.session(max_length=8)(ids, adapters="x")["logits"], wanted, base)
    room = llama.compiled(slots={"s": ao.Slot("lora+oft", rank=8)}, weights="bf16")
    room.load_adapter("x", folder)
    assert_agrees(room.session(max_length=8)(ids, adapters="x")["logits"], wanted, base)


def test_merged_before_rounding(llama):
    """An adapter of the build is in the weights that are rounded."""
    folder, made = llama.adapters["lora"]
    ids = prompts(6)
    model = llama.compiled(adapters={"x": folder}, weights="f16")
    merged = copy.deepcopy(made).merge_and_unload()
    for module in merged.modules():
        if isinstance(module, torch.nn.Linear):
            module.weight.data = module.weight.data.half().float()
    assert_agrees(model.session(max_length=8)(ids)["logits"], logits(merged, ids), tolerance=2e-5)


def test_weights_that_would_be_rounded_again(llama):
    with pytest.raises(ValueError, match="bound at load.*stored as.*bind it at row, call, switch or build"):
        llama.compiled(slots={"s": ao.Slot("lora", time="load", rank=4)}, weights="int4")


@pytest.mark.parametrize(
    "text, activations", [("bf16", None), ("bf16", "bf16"), ("int8", None), ("int4", None)]
)
def test_rows_to_the_bit(llama, text, activations):
    adapters = {name: ao.Adapter(folder, time="row") for name, (folder, _) in llama.adapters.items()}
    model = llama.compiled(adapters=adapters, weights=text, activations=activations, threads=2)
    ids, named = prompts(6, 6, 6), ["lora", None, "oft"]
    session = model.session(max_length=16, batch=3)
    whole = session(ids, adapters=named)["logits"]
    for row in range(3):
        session.reset(row)
        alone = session([ids[row]], rows=[row], adapters=[named[row]])["logits"]
        assert np.array_equal(alone[0], whole[row])


@pytest.mark.parametrize(
    "text, activations, bound",
    [("bf16", None, 1e-5), ("bf16", "bf16", 0.01), ("int8", None, 0.03), ("int4", None, 0.03)],
)
def test_texts(llama, text, activations, bound):
    """The best token of the rounded model wherever its margin is above what rounding of rows may change."""
    model = llama.compiled(weights=text, activations=activations, threads=2)
    reference = rounded_model(llama, None, text)
    session = model.session(max_length=40)
    ids = prompts(24, seed=4)[0]
    got = session([ids])["logits"][0]
    wanted = logits(reference, [ids])[0]
    error = np.abs(got - wanted).max()
    assert error < bound * np.abs(wanted).max()
    best = np.sort(wanted, axis=1)
    clear = best[:, -1] - best[:, -2] > 2 * error
    assert clear.sum() > 5
    assert np.array_equal(got.argmax(1)[clear], wanted.argmax(1)[clear])
