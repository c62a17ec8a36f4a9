#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Trains the digits demo: a small vision transformer, five adapters of five tasks, and eight
methods on one; writes data/.

    train.py [--out FOLDER]      needs scripts/requirements-test.txt; five minutes on one CPU core

data/digits.onnx            the base: pixel_values f32 [batch, 1, 8, 8] in -1..1 -> logits f32 [batch, 10]
data/turned-lora/           rank 4, for digits turned by 90 degrees
data/inverted-lora/         rank 8, for noisy digits, white on black instead of black on white
data/mirrored-shira/        sparse (SHiRA, as many values as a LoRA of rank 6), for mirrored digits
data/shifted-mosa/          MoSA, four masked modules, for digits shifted by two pixels
data/either-mixture/        a trained router over turned-lora and inverted-lora, for either kind of digits
data/turned-<method>/       the task of turned-lora by seven other methods of PEFT
data/heldout.npz            images that no training saw, labels, and PyTorch's logits, unmerged
"""

import argparse
import pathlib
import warnings

import methods
import numpy as np
import onnx
import peft
import torch
from sklearn.datasets import load_digits
from torch.nn.functional import cross_entropy
from transformers import ViTConfig, ViTForImageClassification

HERE = pathlib.Path(__file__).resolve().parent
LINEARS = ["q_proj", "k_proj", "v_proj", "o_proj", "fc1", "fc2"]
# Name of the test set, method and configuration of the adapter trained for it; the ranks differ on purpose.
ADAPTERS = {
    "turned": ("lora", peft.LoraConfig(r=4, lora_alpha=8, target_modules=LINEARS)),
    "inverted": (
        "lora",
        peft.LoraConfig(r=8, lora_alpha=16, target_modules=["q_proj", "v_proj", "fc1", "fc2", "classifier"]),
    ),
    "mirrored": ("shira", peft.ShiraConfig(r=6, target_modules=LINEARS, random_seed=3)),
    "shifted": ("mosa", None),
    "either": ("mixture", None),
}
# Methods beside LoRA for turned digits.
METHODS = {
    "dora": peft.LoraConfig(r=4, lora_alpha=8, use_dora=True, target_modules=LINEARS),
    "oft": peft.OFTConfig(oft_block_size=8, target_modules=LINEARS),
    "ia3": peft.IA3Config(target_modules=LINEARS, feedforward_modules=["fc2"]),
    "shira": peft.ShiraConfig(r=4, target_modules=LINEARS, random_seed=3),
    "vera": peft.VeraConfig(r=32, target_modules=LINEARS),
    "hra": peft.HRAConfig(r=8, target_modules=LINEARS),
    "lokr": peft.LoKrConfig(r=4, alpha=8, target_modules=LINEARS),
}


def images():
    """(train, test): each f32 [n, 1, 8, 8] in -1..1 and int64 [n]; every third image is held out."""
    digits = load_digits()
    x = torch.tensor(digits.images / 8.0 - 1, dtype=torch.float32)[:, None]
    y = torch.tensor(digits.target, dtype=torch.int64)
    held = torch.arange(len(y)) % 3 == 0
    return (x[~held], y[~held]), (x[held], y[held])


def transform(kind, x, generator):
    """The images of one task, [n, 1, 8, 8], made from upright ones."""
    if kind == "turned":
        return torch.rot90(x, 1, dims=(2, 3))
    if kind == "mirrored":
        return x.flip(3)
    if kind == "shifted":
        return x.roll(2, dims=3)
    if kind == "either":  # every second one
        turned, inverted = (transform(each, x, generator) for each in ("turned", "inverted"))
        return torch.where((torch.arange(len(x)) % 2 == 0)[:, None, None, None], turned, inverted)
    if kind == "inverted":
        return (0.3 * torch.randn(x.shape, generator=generator) - x).clamp(-1, 1)
    return x


def train(model, x, y, kind, epochs, rate):
    """Trains what requires a gradient, one-cycle schedule, batches of 64."""
    generator = torch.Generator().manual_seed(1)
    parameters = [p for p in model.parameters() if p.requires_grad]
    steps = epochs * (len(x) // 64)
    optimiser = torch.optim.AdamW(parameters, lr=rate, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps)
    model.train()
    for _ in range(epochs):
        order = torch.randperm(len(x), generator=generator)
        for start in range(0, len(x) - 63, 64):
            rows = order[start : start + 64]
            task = transform(kind, x[rows], generator)
            loss = cross_entropy(model(pixel_values=task).logits, y[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    model.eval()


def logits(model, x):
    with torch.no_grad():
        return model(pixel_values=x).logits


class Logits(torch.nn.Module):
    """Plain tensors in and out, for the exporter."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, pixel_values):
        return self.model(pixel_values=pixel_values).logits


def strip_traces(path):
    """Removes the Python stack traces that the exporter leaves on nodes: they hold paths of this machine."""
    model = onnx.load(path)
    for node in model.graph.node:
        kept = [p for p in node.metadata_props if p.key != "pkg.torch.onnx.stack_trace"]
        del node.metadata_props[:]
        node.metadata_props.extend(kept)
    onnx.save(model, path)


def tune(base, config, folder, kind, x, y, held):
    """Trains an adapter of PEFT's and saves it; its logits, and the base as it was."""
    model = peft.get_peft_model(base, config)
    train(model, x, y, kind, epochs=40, rate=5e-3)
    adapted = logits(model, held)
    model.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    return adapted, model.unload()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=pathlib.Path, default=HERE / "data")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    warnings.filterwarnings("ignore")

    (x, y), (test_x, test_y) = images()
    config = ViTConfig(
        image_size=8,
        patch_size=2,
        num_channels=1,
        hidden_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=128,
        num_labels=10,
        initializer_range=0.1,
        hidden_dropout_prob=0.1,
    )
    base = ViTForImageClassification(config)
    train(base, x, y, "upright", epochs=60, rate=2e-3)
    torch.onnx.export(
        Logits(base),
        (test_x[:2],),
        out / "digits.onnx",
        input_names=["pixel_values"],
        output_names=["logits"],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        dynamo=True,
        external_data=False,
        verbose=False,
    )

    strip_traces(out / "digits.onnx")

    noise = torch.Generator().manual_seed(2)
    arrays = {"labels": test_y.numpy()}
    base_state = {name: value.clone() for name, value in base.state_dict().items()}
    for kind in ("upright", *ADAPTERS):
        held = transform(kind, test_x, noise)
        plain = logits(base, held)
        arrays |= {f"{kind}_x": held.numpy(), f"{kind}_base_logits": plain.numpy()}
        line = f"{kind:9} base {(plain.argmax(1) == test_y).float().mean():.3f}"
        if kind in ADAPTERS:
            method, config = ADAPTERS[kind]
            folder = out / f"{kind}-{method}"
            if config:
                adapted, base = tune(base, config, folder, kind, x, y, held)
            else:
                if method == "mosa":
                    added = methods.MoSA(base, seed=5)
                else:
                    added = methods.Mixture(base, [out / "turned-lora", out / "inverted-lora"])
                train(base, x, y, kind, epochs=60, rate=1e-2)
                adapted = logits(base, held)
                added.save(folder)
                added.remove(base)
            arrays[f"{kind}_logits"] = adapted.numpy()
            line += f"  adapter {(adapted.argmax(1) == test_y).float().mean():.3f}"
            assert all(torch.equal(value, base_state[name]) for name, value in base.state_dict().items())
        print(line)
    held = torch.tensor(arrays["turned_x"])
    for method, config in METHODS.items():
        adapted, base = tune(base, config, out / f"turned-{method}", "turned", x, y, held)
        arrays[f"turned_{method}_logits"] = adapted.numpy()
        print(f"turned    {method:5} {(adapted.argmax(1) == test_y).float().mean():.3f}")
    np.savez_compressed(out / "heldout.npz", **arrays)


if __name__ == "__main__":
    main()
