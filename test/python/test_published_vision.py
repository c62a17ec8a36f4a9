# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Published methods in the files of their code for timm's vision transformers: the names of what was trained
stand for layers of the blocks."""

import numpy as np
import pytest
from own_forms import real
from published import ao, check_all, save
from published_blocks import BLOCKS, CLASSES, WIDTH, Blocks


@pytest.fixture(scope="module")
def blocks(tmp_path_factory):
    return Blocks(tmp_path_factory.mktemp("blocks"))


def head(blocks):
    return {"head.weight": real(blocks.rng, CLASSES, WIDTH), "head.bias": real(blocks.rng, CLASSES)}


def test_hydra(blocks, tmp_path):
    """U06: y = z + s (Bp (Ap x + ap) + bp) + s (Bs (As z + as) + bs), z the layer's output with its bias."""
    tensors = head(blocks)
    changed = dict(tensors)
    for i in range(BLOCKS):
        for name, layer in (("mlp.hydra_mlp", "mlp.fc2"), ("attn.hydra_proj", "attn.proj")):
            W = blocks.params[f"blocks.{i}.{layer}.weight"].astype(np.float64)
            b = blocks.params[f"blocks.{i}.{layer}.bias"].astype(np.float64)
            new, shift = np.eye(WIDTH), np.zeros(WIDTH)
            added = np.zeros_like(W)
            for branch, size in (("par", W.shape[1]), ("seq", WIDTH)):
                part = {
                    "down_proj.weight": real(blocks.rng, 2, size),
                    "down_proj.bias": real(blocks.rng, 2),
                    "up_proj.weight": real(blocks.rng, WIDTH, 2),
                    "up_proj.bias": real(blocks.rng, WIDTH),
                }
                tensors |= {f"blocks.{i}.{name}_{branch}.{key}": each for key, each in part.items()}
                down, inner, up, outer = (each.astype(np.float64) for each in part.values())
                shift += 0.3 * (up @ inner + outer)
                if branch == "par":
                    added += 0.3 * up @ down
                else:
                    new += 0.3 * up @ down
            changed[f"blocks.{i}.{layer}.weight"] = new @ W + added
            changed[f"blocks.{i}.{layer}.bias"] = new @ b + shift
    ao.convert("hydra", save(tmp_path / "f.safetensors", tensors), tmp_path / "x", scale=0.3)
    check_all("U06", "`convert hydra`, form `hydra`", blocks, tmp_path, blocks.forward(changed))


def test_ssf(blocks, tmp_path):
    """U35: y = gamma z + beta behind each linear."""
    tensors = head(blocks)
    changed = dict(tensors)
    for i in range(BLOCKS):
        for module, layers in (("attn", ("qkv", "proj")), ("mlp", ("fc1", "fc2"))):
            for number, layer in enumerate(layers, 1):
                path = f"blocks.{i}.{module}.{layer}"
                size = len(blocks.params[f"{path}.bias"])
                gamma, beta = 1 + 0.3 * real(blocks.rng, size), real(blocks.rng, size)
                tensors[f"blocks.{i}.{module}.ssf_scale_{number}"] = gamma
                tensors[f"blocks.{i}.{module}.ssf_shift_{number}"] = beta
                changed[f"{path}.weight"] = (
                    gamma.astype(np.float64)[:, None] * blocks.params[f"{path}.weight"]
                )
                changed[f"{path}.bias"] = gamma.astype(np.float64) * blocks.params[f"{path}.bias"] + beta
    ao.convert("ssf", save(tmp_path / "f.safetensors", tensors), tmp_path / "x")
    how = "`convert ssf`, forms `ssf`, `scale_shift`"
    check_all("U35", how, blocks, tmp_path, blocks.forward(changed))


@pytest.mark.parametrize(
    "method, name, text",
    [
        ("ssf", "blocks.0.attn.ssf_scale_3", "which layer it stands behind is not known"),
        ("ssf", "stages.0.ssf_scale_1", "which layer it stands behind is not known"),
        ("hydra", "blocks.0.mlp.other.down_proj.weight", "expected hydra_mlp_par"),
    ],
)
def test_layers_that_are_not_known(tmp_path, method, name, text):
    file = save(tmp_path / "f.safetensors", {name: np.zeros((4, 4), np.float32)})
    with pytest.raises(ValueError, match=text):
        ao.convert(method, file, tmp_path / "x")
    assert not (tmp_path / "x").exists()
