# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Published methods that are adapters of PEFT's or of the library's forms as they stand. Each case makes the
adapter `x` in a folder, and returns the outputs that NumPy makes of the method's formula."""

import json

import numpy as np
import own_forms
from own_forms import real
from published import case, save


def lora(folder, factors, alpha=None):
    """PEFT's folder, {module: (A, B)}; the scale is alpha / rank, or 1."""
    folder.mkdir(parents=True)
    tensors, ranks = {}, {}
    for module, (a, b) in factors.items():
        tensors[f"base_model.model.{module}.lora_A.weight"] = a
        tensors[f"base_model.model.{module}.lora_B.weight"] = b
        ranks[module] = len(a)
    save(folder / "adapter_model.safetensors", tensors)
    alphas = ranks if alpha is None else {}
    config = {"peft_type": "LORA", "r": 1, "lora_alpha": alpha or 1, "target_modules": list(factors)}
    config |= {"rank_pattern": ranks, "alpha_pattern": alphas}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


def factors_of(world, module, rank):
    out, *inputs = world.params[f"{module}.weight"].shape
    return real(world.rng, rank, *inputs), real(world.rng, out, rank, *([1] * (len(inputs) - 1)))


def change_of(a, b):
    """B A, of convolutions too, in f64."""
    return np.tensordot(b.reshape(b.shape[:2]).astype(np.float64), a, 1)


def updated(world, factors, scales=()):
    """The weights with LoRA."""
    return {
        f"{module}.weight": world.weight(module) + dict(scales).get(module, 1.0) * change_of(a, b)
        for module, (a, b) in factors.items()
    }


@case("U02", "PEFT's LORA, ranks by module")
def colora(world, folder):
    """U02 (CoLoRA): a rank for each layer, linears and convolutions."""
    ranks = {"one": 2, "other": 5, "conv": 3}
    factors = {module: factors_of(world, module, rank) for module, rank in ranks.items()}
    lora(folder / "x", factors, alpha=4)
    return world.outputs(updated(world, factors, {module: 4 / rank for module, rank in ranks.items()}))


@case("U10", "form `my3dgen`")
def my3dgen(world, folder):
    """U10 (My3DGen): [out k, r] times [r, in k] as a kernel [out, in, k, k]."""
    out, channels, k, _ = world.params["conv.weight"].shape
    a, b = real(world.rng, 2, channels * k), real(world.rng, out * k, 2)
    own_forms.save(folder / "x", "my3dgen", {"conv": {"A": a, "B": b}}, scalars={"scale": 0.5})
    change = (b.astype(np.float64) @ a).reshape(out, k, channels, k).transpose(0, 2, 1, 3)
    return world.outputs({"conv.weight": world.weight("conv") + 0.5 * change})


@case("U32", "form `ssf`, of one text")
def clip_inverter(world, folder):
    """U32 (CLIPInverter): scale and shift of a convolution's channels, which a network makes of a text.

    The network is a graph of its own; for a text that is known its outputs are an adapter.
    """
    text, hidden = real(world.rng, 12), real(world.rng, 20, 12)
    narrow = np.maximum(hidden @ text, 0)
    gamma, beta = (1 + 0.1 * real(world.rng, 8, 20) @ narrow for _ in range(2))
    own_forms.save(folder / "x", "ssf", {"conv": {"gamma": gamma, "beta": beta}})
    weight = gamma.astype(np.float64)[:, None, None, None] * world.weight("conv")
    bias = gamma.astype(np.float64) * world.params["conv.bias"] + beta
    return world.outputs({"conv.weight": weight, "conv.bias": bias})
