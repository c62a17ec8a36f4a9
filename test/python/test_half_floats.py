# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Models in f16 and bf16: weights are stored so, and computed is what transformers and PEFT compute in f32
with the same weights, but for the rounding of results (and of rows, where a product is one of bf16)."""

import decoders
import numpy as np
import onnx
import product
import pytest
import torch
from decoders import Decoder, prompts

ao = product.package()
TYPES = {"float16": (torch.float16, 2e-3), "bfloat16": (torch.bfloat16, 4e-2)}


class Half(Decoder):
    def __init__(self, folder, dtype):
        self.dtype, self.tolerance = TYPES[dtype]
        kinds = {"lora": decoders.lora, "loha": decoders.loha}
        super().__init__("llama", folder, kinds, dtype=dtype)
        with torch.no_grad():
            for model in (self.model, *(adapted for _, adapted in self.adapters.values())):
                for name, parameter in model.named_parameters():
                    if "lora_" not in name and "hada_" not in name:
                        parameter.copy_(parameter.to(self.dtype).float())

    def assert_close(self, got, wanted):
        if got.dtype == np.uint16:  # bfloat16, as bits
            got = (got.astype(np.uint32) << 16).view(np.float32)
        assert np.abs(got - wanted).max() <= self.tolerance * np.abs(wanted).max()


@pytest.fixture(scope="module", params=TYPES)
def half(request, tmp_path_factory):
    return Half(tmp_path_factory.mktemp(request.param), request.param)


def test_rows_of_sessions(half):
    """Each with its adapter; inputs and outputs have the graph's type, caches are the session's."""
    adapters = {name: ao.Adapter(folder, time="row") for name, (folder, _) in half.adapters.items()}
    model = half.compiled(adapters=adapters, threads=2)
    assert list(model.outputs) == ["logits"]
    assert model.outputs["logits"].dtype == str(half.dtype).removeprefix("torch.")
    session = model.session(max_length=24, batch=3)
    texts, named = prompts(6, 9, 4), ["lora", None, "loha"]
    first = session(texts, adapters=named)["logits"]
    second = session([[7], [8], [9]])["logits"]
    for row, (text, name) in enumerate(zip(texts, named, strict=True)):
        wanted = half.logits([*text, 7 + row], name)
        half.assert_close(first[row, -len(text) :], wanted[:-1])
        half.assert_close(second[row], wanted[-1:])
    ids = [each.ids for each in ao.generate(model, texts, named, max_new_tokens=3)]
    assert [len(each) for each in ids] == [3, 3, 3]


@pytest.mark.parametrize("time", ["build", "switch", "call"])
def test_adapters_of_all_rows(half, time):
    model = half.compiled(adapters={"lora": ao.Adapter(half.adapters["lora"][0], time=time)}, threads=2)
    if time == "switch":
        model.switch("lora")
    text = prompts(8)[0]
    session = model.session(max_length=8, batch=1)
    got = session([text], adapters="lora" if time == "call" else None)["logits"][0]
    half.assert_close(got, half.logits(text, "lora"))


def test_weights_are_stored_as_they_were(half, tmp_path):
    """Two bytes for each, and the embedding's four; an output in ONNX keeps the type."""
    wide = sum(each.numel() for name, each in half.model.named_parameters() if "embed" in name)
    narrow = sum(
        each.numel() for name, each in half.model.named_parameters() if "proj" in name or "head" in name
    )
    target = tmp_path / "model.adapt"
    product.opt(half.export, "-o", target)
    size = (target / "parameters.safetensors").stat().st_size
    assert 4 * wide + 2 * narrow <= size < 4 * wide + 2.4 * narrow + 20000
    folder = half.adapters["lora"][0]
    product.opt(half.export, f"--adapter={folder}", "-o", tmp_path / "merged.onnx")
    before, after = (onnx.load(path).graph for path in (half.export, tmp_path / "merged.onnx"))
    types = {each.name: each.data_type for each in before.initializer}
    assert types == {each.name: each.data_type for each in after.initializer}
