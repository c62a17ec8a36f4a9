# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""MoSA (A06) as its code has it, small: the block of its vision transformer with its deployed forward in
every style, disjoint masks, and folders that hold the modules before they are merged."""

import json

import safetensors.torch
import torch
from torch import nn

WIDTH, NARROW, MODULES, LAYERS = 16, 4, 4, 2
STYLES = {"AdaptFormer": nn.GELU(), "Pfeiffer": nn.ReLU(), "Houlsby": nn.SiLU(), "LoRA": None}
SCALAR = {"AdaptFormer": 0.1, "LoRA": 0.5}


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(WIDTH, WIDTH) for _ in range(4))

    def forward(self, x):
        scores = self.query(x) @ self.key(x).transpose(1, 2) / WIDTH**0.5
        return self.out(scores.softmax(-1) @ self.value(x))


class Ffn(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(WIDTH, 24), nn.Linear(24, WIDTH)

    def forward(self, x):
        return self.fc2(nn.functional.gelu(self.fc1(x)))


class Block(nn.Module):
    """`adapter` is (style, merged tensors by the code's names) or None."""

    adapter = None

    def __init__(self):
        super().__init__()
        self.attention_norm, self.ffn_norm = (nn.LayerNorm(WIDTH, eps=1e-6) for _ in range(2))
        self.attn, self.ffn = Attention(), Ffn()

    def _module(self, x, end="", norm=False):
        style, t = self.adapter
        if norm:
            x = nn.functional.layer_norm(
                x, (WIDTH,), t["adapter_norm.weight"], t["adapter_norm.bias"], eps=1e-6
            )
        down = STYLES[style](x @ t[f"adapter_down{end}.weight"].T + t[f"adapter_down{end}.bias"])
        return down @ t[f"adapter_up{end}.weight"].T + t[f"adapter_up{end}.bias"]

    def forward(self, x):
        style = self.adapter and self.adapter[0]
        h = x
        x = self.attn(self.attention_norm(x)) + h
        if style == "Houlsby":
            x = self._module(x, "_attn") + x
        h = x
        x = self.ffn(self.ffn_norm(x))
        if style == "AdaptFormer":
            x = self._module(h, norm=True) * SCALAR[style] + x
        if style == "Pfeiffer":
            x = self._module(x, norm=True) + x
        x = x + h
        return self._module(x, "_ffn") + x if style == "Houlsby" else x


class Transformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.ModuleList(Block() for _ in range(LAYERS))
        self.encoder_norm = nn.LayerNorm(WIDTH, eps=1e-6)

    def forward(self, x):
        for block in self.layer:
            x = block(x)
        return self.encoder_norm(x)


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.encoder = Transformer()
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.add_(torch.randn(parameter.shape) * 0.1)

    def forward(self, x):
        return self.encoder(x)


def masks(shape, generator):
    """Random, disjoint, of equal size."""
    order = torch.randperm(torch.Size(shape).numel(), generator=generator).reshape(shape)
    return [(order % MODULES == i).to(torch.uint8) for i in range(MODULES)]


def modules_of(style, seed=1):
    """For each block the tensors of the folder: shared ones, those of the modules, and masks."""
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(shape, generator=generator) * 0.5  # noqa: E731
    blocks = []
    for _ in range(LAYERS):
        tensors = {}

        def mixture(name, *shape, tensors=tensors):
            for i, mask in enumerate(masks(shape, generator)):
                tensors[name % i] = draw(*shape) * mask
                tensors[f"{name % i}.mask"] = mask

        for end in {"Houlsby": ("_attn", "_ffn"), "LoRA": ()}.get(style, ("",)):
            tensors[f"adapter_down{end}.weight"] = draw(NARROW, WIDTH)
            tensors[f"adapter_down{end}.bias"] = draw(NARROW)
            mixture(f"adapter_up{end}.%d.weight", WIDTH, NARROW)
            mixture(f"adapter_up{end}.%d.bias", WIDTH)
        if style in ("AdaptFormer", "Pfeiffer"):
            tensors["adapter_norm.weight"], tensors["adapter_norm.bias"] = 1 + draw(WIDTH), draw(WIDTH)
        if style == "LoRA":
            for letter in "qv":
                tensors[f"attn.lora_A_{letter}.weight"] = draw(NARROW, WIDTH)
                mixture(f"attn.lora_B_{letter}.%d.weight", WIDTH, NARROW)
        blocks.append(tensors)
    return blocks


def merged(tensors, merge="add"):
    """The code's merge: modules added or joined by their masks, over their number; sum and select without."""
    result = {}
    for key, value in tensors.items():
        if key.endswith(".mask"):
            continue
        parts = key.split(".")
        number = [part for part in parts if part.isdigit()]
        name = key.replace(f".{number[0]}.", ".") if number else key
        part = value / MODULES if number and merge in ("add", "joint") else value
        result[name] = result.get(name, 0) + part
    return result


def adapted(style, blocks, merge="add"):
    model = Model().eval()
    for block, tensors in zip(model.encoder.layer, blocks, strict=True):
        plain = merged(tensors, merge)
        if style != "LoRA":
            block.adapter = (style, plain)
            continue
        with torch.no_grad():
            for letter, linear in (("q", block.attn.query), ("v", block.attn.value)):
                update = plain[f"attn.lora_B_{letter}.weight"] @ plain[f"attn.lora_A_{letter}.weight"]
                linear.weight += SCALAR[style] * update
    return model


def write(folder, style, blocks, change=None, **fields):
    tensors = {
        f"encoder.layer.{i}.{key}": value for i, each in enumerate(blocks) for key, value in each.items()
    }
    config = {"peft_type": "ADAPTER_OPT_MOSA", "style": style, "expert_num": MODULES}
    config |= {"scalar": SCALAR.get(style, 1.0), "merge": "add"} | fields
    if change:
        change(tensors)
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps(config))
    tensors = {key: value.contiguous() for key, value in tensors.items()}
    safetensors.torch.save_file(tensors, folder / "adapter_model.safetensors")
    return folder


def export(exporter, path):
    import zoo

    x = torch.randn(2, 7, WIDTH)
    names = dict(input_names=["x"], output_names=["logits"])
    with zoo.quiet():
        if exporter == "dynamo":
            axes = ((0, "batch"), (1, "tokens"))
            dims = {axis: torch.export.Dim(name, min=1, max=32) for axis, name in axes}
            torch.onnx.export(
                Model().eval(),
                (x,),
                str(path),
                dynamic_shapes=(dims,),
                dynamo=True,
                external_data=False,
                verbose=False,
                **names,
            )
        else:
            axes = {name: {0: "batch", 1: "tokens"} for name in ("x", "logits")}
            torch.onnx.export(Model().eval(), (x,), str(path), dynamic_axes=axes, dynamo=False, **names)
    return path
