# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Adapters in the formats of other tools answer as the PEFT adapter does that they were made of."""

import copy

import formats
import onnxruntime
import peft
import product
import pytest
import safetensors.torch
import torch
from tolerance import assert_agrees

X = torch.randn((3, formats.WIDTH), generator=torch.Generator().manual_seed(5))


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return formats.export(tmp_path_factory.mktemp("formats") / "base.onnx")


@pytest.fixture(scope="module")
def slots(base):
    path = base.with_name("slots.adapt")
    product.opt(base, f"--adapter-slot=x:lora,rank={formats.RANK}@row", "-o", path)
    return path


def reference(model):
    with torch.no_grad():
        return model(X).numpy()


def merged(base, adapter, tmp_path):
    product.opt(base, f"--adapter=x={adapter}", "-o", tmp_path / "merged.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "merged.onnx"), providers=["CPUExecutionProvider"])
    return session.run(["y"], {"x": X.numpy()})[0]


def loaded(slots, adapter, tmp_path):
    row = "--row-adapters=x,x,x"
    return product.run(slots, {"x": X.numpy()}, tmp_path, f"--load=x={adapter}", row)["y"]


@pytest.mark.parametrize("write", [*formats.WRITERS, formats.kohya], ids=lambda write: write.__name__)
def test_merged(base, tmp_path, write):
    model = formats.adapted()
    y = merged(base, write(model, tmp_path / "a"), tmp_path)
    assert_agrees(y, reference(model), reference(formats.Model().eval()))


@pytest.mark.parametrize("write", [*formats.WRITERS, formats.kohya], ids=lambda write: write.__name__)
def test_loaded_into_a_slot(slots, tmp_path, write):
    model = formats.adapted(2)
    y = loaded(slots, write(model, tmp_path / "a"), tmp_path)
    assert_agrees(y, reference(model), reference(formats.Model().eval()))


def rewritten(folder, change):
    path = folder / "adapter_model.safetensors"
    tensors = dict(change(name, tensor) for name, tensor in safetensors.torch.load_file(path).items())
    return formats.save(path, tensors).parent


@pytest.mark.parametrize(
    "change",
    [
        lambda key: key.replace(".weight", ".default.weight"),
        lambda key: key.replace("base_model.model.", "base_model.model._orig_mod."),
        lambda key: "module." + key.replace("layers.0.", "layers.0._fsdp_wrapped_module."),
    ],
    ids=["named", "compiled", "parallel"],
)
def test_keys_in_the_wild(base, tmp_path, change):
    model = formats.adapted()
    model.save_pretrained(tmp_path / "a")
    y = merged(base, rewritten(tmp_path / "a", lambda key, tensor: (change(key), tensor)), tmp_path)
    assert_agrees(y, reference(model), reference(formats.Model().eval()))


@pytest.mark.parametrize("narrow", [torch.float8_e4m3fn, torch.float8_e5m2], ids=str)
def test_eight_bits(base, tmp_path, narrow):
    model = formats.adapted()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.copy_(parameter.to(narrow).float())
    model.save_pretrained(tmp_path / "a")
    y = merged(base, rewritten(tmp_path / "a", lambda key, tensor: (key, tensor.to(narrow))), tmp_path)
    assert_agrees(y, reference(model), reference(formats.Model().eval()))


def test_expressions_that_cannot_be_read(base, tmp_path):
    """Which modules are adapted is said by the keys; the expression only checks it."""
    model = formats.adapted(target_modules=r".*(?<!down)_proj")
    model.save_pretrained(tmp_path / "a")
    assert "layers.0.mlp.down_proj" not in "".join(formats.factors(model))
    assert_agrees(merged(base, tmp_path / "a", tmp_path), reference(model), reference(formats.Model().eval()))


def test_two_names_in_one_file(base, tmp_path):
    model = formats.adapted()
    model.save_pretrained(tmp_path / "a")
    number = iter(range(1000))

    def change(key, tensor):
        return key.replace(".weight", f".{'one' if next(number) % 4 < 2 else 'two'}.weight"), tensor

    folder = rewritten(tmp_path / "a", change)
    product.refused(
        "adapter-opt",
        base,
        f"--adapter=x={folder}",
        "--check",
        mentions=["'one'", "'two'", "selected_adapters"],
    )


def test_what_peft_saves_of_a_batch_norm(tmp_path):
    """Its counter is accepted and has no effect; means and variances are parameters like others."""
    # A tanh on both sides, or exporters fold the norm into a linear.
    norm, tanh = torch.nn.BatchNorm1d(4), torch.nn.Tanh()
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), tanh, norm, tanh, torch.nn.Linear(4, 2)).eval()
    names = dict(input_names=["x"], output_names=["y"], dynamo=True, external_data=False, verbose=False)
    torch.onnx.export(model, (torch.randn(3, 4),), str(tmp_path / "base.onnx"), **names)
    original = copy.deepcopy(model)
    tuned = peft.get_peft_model(
        model, peft.LoraConfig(target_modules=["0"], modules_to_save=["2"], init_lora_weights=False)
    )
    tuned.train()
    for _ in range(3):
        tuned(torch.randn(8, 4) * 3 + 1)
    tuned.eval().save_pretrained(tmp_path / "a")
    assert any(
        "num_batches_tracked" in key
        for key in safetensors.torch.load_file(tmp_path / "a/adapter_model.safetensors")
    )
    path = tmp_path / "base.onnx"
    x = torch.randn(3, 4)
    product.opt(path, f"--adapter=x={tmp_path / 'a'}", "-o", tmp_path / "merged.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "merged.onnx"), providers=["CPUExecutionProvider"])
    with torch.no_grad():
        want, before = tuned(x).numpy(), original(x).numpy()
    assert_agrees(session.run(["y"], {"x": x.numpy()})[0], want, before)


def test_multihead_attention_counts_out_proj_twice(tmp_path):
    """What the reader assumes of PEFT: a LoRA on in_proj_weight, and one on out_proj that is added twice."""
    torch.manual_seed(0)
    attention = torch.nn.MultiheadAttention(8, 2, batch_first=True)
    wrapped = torch.nn.Module()
    wrapped.mha = attention
    before = {name: tensor.clone() for name, tensor in attention.state_dict().items()}
    config = peft.LoraConfig(r=2, lora_alpha=6, target_modules=["mha"], init_lora_weights=False)
    layer = peft.inject_adapter_in_model(config, wrapped).eval().mha
    x = torch.randn(2, 5, 8)
    with torch.no_grad():
        expected = layer(x, x, x)[0]
        plain = torch.nn.MultiheadAttention(8, 2, batch_first=True).eval()
        plain.load_state_dict(before)
        output = layer.base_layer.out_proj
        plain.in_proj_weight += 3.0 * layer.lora_B["default"].weight @ layer.lora_A["default"].weight
        plain.out_proj.weight += 2 * 3.0 * output.lora_B["default"].weight @ output.lora_A["default"].weight
        assert_agrees(plain(x, x, x)[0].numpy(), expected.numpy())


class Attending(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.attn, self.fc = torch.nn.MultiheadAttention(8, 2, batch_first=True), torch.nn.Linear(8, 8)

    def forward(self, x):
        return self.fc(self.attn(x, x, x, need_weights=False)[0])


@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
def test_multihead_attention(tmp_path, exporter):
    """torch computes it from the weights, without running out_proj: both weights are found all the same."""
    torch.manual_seed(0)
    model, x = Attending().eval(), torch.randn(2, 5, 8)
    names = dict(input_names=["x"], output_names=["y"], verbose=False)
    if exporter == "dynamo":
        names |= dict(dynamo=True, dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=64)},))
    else:
        names |= dict(dynamo=False, dynamic_axes={"x": {0: "batch"}})
    torch.onnx.export(model, (x,), str(tmp_path / "base.onnx"), **names)
    config = peft.LoraConfig(r=2, lora_alpha=4, target_modules=["attn", "fc"], init_lora_weights=False)
    tuned = peft.get_peft_model(copy.deepcopy(model), config).eval()
    tuned.save_pretrained(tmp_path / "a")
    with torch.no_grad():
        want, before = tuned(x).numpy(), model(x).numpy()
    product.opt(tmp_path / "base.onnx", f"--adapter=x={tmp_path / 'a'}", "-o", tmp_path / "merged.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "merged.onnx"), providers=["CPUExecutionProvider"])
    assert_agrees(session.run(["y"], {"x": x.numpy()})[0], want, before)
    for time, arguments in (("switch", ["--adapter=x"]), ("row", ["--row-adapters=x,x"])):
        artifact = tmp_path / f"{time}.adapt"
        product.opt(tmp_path / "base.onnx", f"--adapter=x={tmp_path / 'a'}@{time}", "-o", artifact)
        assert_agrees(product.run(artifact, {"x": x.numpy()}, tmp_path, *arguments)["y"], want, before)


def test_out_proj_alone_does_not_run(tmp_path):
    """PEFT's adapter on a MultiheadAttention's out_proj has no effect; what would have one is refused."""
    torch.manual_seed(0)
    model, x = Attending().eval(), torch.randn(2, 5, 8)
    names = dict(input_names=["x"], output_names=["y"], verbose=False, dynamo=True)
    torch.onnx.export(model, (x,), str(tmp_path / "base.onnx"), **names)
    config = peft.LoraConfig(r=2, lora_alpha=4, target_modules=["out_proj"], init_lora_weights=False)
    peft.get_peft_model(copy.deepcopy(model), config).save_pretrained(tmp_path / "a")
    product.refused(
        "adapter-opt",
        tmp_path / "base.onnx",
        f"--adapter=x={tmp_path / 'a'}",
        "--check",
        mentions=["attn.out_proj", "does not run"],
    )
