# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""LoRAs to combine, what they and what is made of them add to weights, and the methods' formulas in NumPy."""

import json

import numpy as np
import peft
import product
import safetensors.numpy
import torch
import weight_methods

KINDS = ("linear", "unbiased", "conv1d_of_gpt2", "embedding", "conv2d")
SCALES = {"a": dict(r=4, lora_alpha=6), "b": dict(r=4, lora_alpha=10), "wide": dict(r=7, lora_alpha=3)}


def make(folder):
    """PEFT's model with three adapters, and their folders."""
    torch.manual_seed(0)
    model = None
    for name, sizes in SCALES.items():
        config = peft.LoraConfig(target_modules=list(KINDS), **sizes)
        if model is None:
            model = peft.get_peft_model(weight_methods.Layers(KINDS), config, adapter_name=name)
        else:
            model.add_adapter(name, config)
    for key, parameter in model.named_parameters():
        if "lora_" in key:
            parameter.data = torch.randn_like(parameter)
    model.save_pretrained(folder)
    return model.eval(), folder


def factors(folder):
    """A [rank, columns] and B [out, rank] of each module, with the module's scale in A."""
    tensors = safetensors.numpy.load_file(folder / "adapter_model.safetensors")
    config = json.loads((folder / "adapter_config.json").read_text())
    made = {}
    for key, a in tensors.items():
        if "_A" in key:
            b = tensors[key.replace("_A", "_B")].astype(float)
            module = key.removeprefix("base_model.model.").split(".lora_")[0]
            escaped = module.replace(".", "\\.")
            rank = config.get("rank_pattern", {}).get(escaped, config["r"])
            scale = config.get("alpha_pattern", {}).get(escaped, config["lora_alpha"]) / rank
            assert len(a) == rank
            made[module] = scale * a.reshape(len(a), -1).astype(float), b.reshape(len(b), -1)
    return made


def updates(folder):
    """What a folder adds to the weight of each module, [out, columns]."""
    return {module: b @ a for module, (a, b) in factors(folder).items()}


def save_lora(folder, a, b):
    """A LoRA of one module, m."""
    tensors = {"lora_A.weight": a, "lora_B.weight": b}
    folder.mkdir()
    flat = {f"base_model.model.m.{k}": np.ascontiguousarray(v, np.float32) for k, v in tensors.items()}
    safetensors.numpy.save_file(flat, folder / "adapter_model.safetensors")
    config = f'{{"peft_type": "LORA", "r": {len(a)}, "lora_alpha": {len(a)}, "target_modules": ["m"]}}'
    (folder / "adapter_config.json").write_text(config)
    return folder


def combine(folder, method, parts, *options):
    """The new folder, and what it adds; `parts` are weights by folder."""
    given = [f"{part}:{weight}" for part, weight in parts.items()]
    said = product.opt("combine", method, *given, "-o", folder, *options)
    return updates(folder), said


def near(got, want, part=2e-5):
    assert sorted(got) == sorted(want)
    for module, value in want.items():
        np.testing.assert_allclose(
            got[module], value, atol=part * max(np.abs(value).max(), 1e-3), err_msg=module
        )


# Formulas: of the updates [out, columns] of one module with their weights.


def total(values, weights):
    return sum(weight * value for weight, value in zip(weights, values, strict=True))


def largest(value, density):
    kept = np.zeros(value.size, bool)
    kept[np.argsort(-np.abs(value).ravel(), kind="stable")[: int(density * value.size)]] = True
    return np.where(kept.reshape(value.shape), value, 0)


def elect(values, weights):
    """TIES' election and mean, as PEFT has them."""
    sign = np.where(sum(values) >= 0, 1, -1)
    counts = [np.sign(value) == sign for value in values]
    return total([v * c for v, c in zip(values, counts, strict=True)], weights) / np.maximum(sum(counts), 1)


def breadcrumbs(values, weights, beta, gamma=0.01):
    def masked(value):
        order = np.argsort(np.abs(value).ravel())
        mask = np.ones(value.size)
        mask[order[: int(beta * value.size)]] = 0
        mask[order[value.size - int(gamma * value.size) :]] = 0
        return value * mask.reshape(value.shape)

    return total([masked(value) for value in values], weights)


def slerp(values, weights, t):
    a, b = (weight * value for weight, value in zip(weights, values, strict=True))
    dot = np.sum(a * b) / (np.linalg.norm(a) * np.linalg.norm(b))
    if abs(dot) > 0.9995:
        return (1 - t) * a + t * b
    angle = np.arccos(dot)
    return np.sin((1 - t) * angle) / np.sin(angle) * a + np.sin(t * angle) / np.sin(angle) * b


def model_stock(values, weights):
    values = [weight * value for weight, value in zip(weights, values, strict=True)]
    n = len(values)
    cosines = [
        np.sum(values[i] * values[j]) / (np.linalg.norm(values[i]) * np.linalg.norm(values[j]))
        for i in range(n)
        for j in range(i + 1, n)
    ]
    cos = np.mean(cosines)
    return n * cos / (1 + (n - 1) * cos) * sum(values) / n


def knots(values, weights, density=1.0):
    u, s, v = np.linalg.svd(np.concatenate(values, axis=1), full_matrices=False)
    rank = np.sum(s > 1e-7 * s[0])
    parts = np.split(np.diag(s[:rank]) @ v[:rank], len(values), axis=1)
    return u[:, :rank] @ elect([largest(part, density) for part in parts], weights)


def opcm(values, weights, alpha=0.5):
    """Without the scale of the end, which depends on all modules together."""
    values = [weight * value for weight, value in zip(weights, values, strict=True)]
    merged = values[0]
    for value in values[1:]:
        u, s, v = np.linalg.svd(merged, full_matrices=False)
        rank = np.sum(s > 1e-7 * s[0])
        u, s, v = u[:, :rank], s[:rank], v[:rank]
        split = int(np.argmax(np.append(np.cumsum(s) / np.sum(s) > alpha + 1e-12, True)))
        inner = u.T @ value @ v.T
        closed = np.eye(rank, dtype=bool)
        closed[:split, :split] = True
        merged = merged + value - u @ np.where(closed, inner, 0) @ v
    return merged
