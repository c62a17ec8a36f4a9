# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""adapter-opt combine against PEFT; where chance decides, against what it must keep."""

import warnings

import combining
import numpy as np
import peft
import product
import pytest
import safetensors.numpy
import weight_methods
from combining import updates

# The method, PEFT's name and arguments for it; those that work on factors take one rank.
METHODS = {
    "cat": ("cat", {}),
    "sum": ("cat", {}),
    "linear": ("linear", {}),
    "svd": ("svd", {}),
    "svd,rank=3": ("svd", dict(svd_rank=3)),
    "magnitude_prune,density=0.4": ("magnitude_prune", dict(density=0.4)),
    "ties,density=0.5": ("ties", dict(density=0.5)),
    "ties,density=0.5,sign=frequency": ("ties", dict(density=0.5, majority_sign_method="frequency")),
    "magnitude_prune_svd,density=0.4": ("magnitude_prune_svd", dict(density=0.4)),
    "ties_svd,density=0.3": ("ties_svd", dict(density=0.3)),
    "dare_linear,density=1": ("dare_linear", dict(density=1)),
    "dare_ties_svd,density=1": ("dare_ties_svd", dict(density=1)),
}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return combining.make(tmp_path_factory.mktemp("combine"))


@pytest.mark.parametrize("method", METHODS)
def test_agrees_with_peft(world, tmp_path, method):
    model, folder = world
    name, options = METHODS[method]
    same_rank = name in ("linear", "magnitude_prune", "ties", "dare_linear")
    weights = {"a": 0.7, "b": -0.4} if same_rank else {"a": 0.7, "wide": 0.5, "b": -0.4}
    given = [f"{folder / adapter}:{weight}" for adapter, weight in weights.items()]
    product.opt("combine", method, *given, "-o", tmp_path / "x")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.add_weighted_adapter(list(weights), list(weights.values()), "mixed", name, **options)
    try:
        model.save_pretrained(tmp_path / "peft", selected_adapters=["mixed"])
    finally:
        model.delete_adapter("mixed")
    tensors = safetensors.numpy.load_file(tmp_path / "peft" / "mixed" / "adapter_model.safetensors")
    got = updates(tmp_path / "x")
    assert sorted(got) == sorted(combining.KINDS)
    for key, a in tensors.items():
        if "_A" in key:
            b = tensors[key.replace("_A", "_B")].astype(float)
            module = key.removeprefix("base_model.model.").split(".lora_")[0]
            want = b.reshape(len(b), -1) @ a.reshape(len(a), -1)
            np.testing.assert_allclose(got[module], want, atol=2e-5 * np.abs(want).max())


def test_what_chance_leaves_stands_for_all(world, tmp_path):
    _, folder = world
    a, b = folder / "a", folder / "b"
    made = []
    for i, seed in enumerate((1, 1, 2)):
        product.opt("combine", f"dare_linear,density=0.5,seed={seed}", a, b, "-o", tmp_path / f"x{i}")
        made.append(safetensors.numpy.load_file(tmp_path / f"x{i}" / "adapter_model.safetensors"))
    first, again, other = made
    assert all(np.array_equal(first[key], again[key]) for key in first)
    assert any(not np.array_equal(first[key], other[key]) for key in first)
    product.opt("combine", "dare_linear,density=0.5", f"{a}:1", "-o", tmp_path / "alone")
    alone = safetensors.numpy.load_file(tmp_path / "alone" / "adapter_model.safetensors")
    own = safetensors.numpy.load_file(a / "adapter_model.safetensors")
    for key, value in alone.items():
        kept, root = value != 0, np.sqrt(6 / 4)
        np.testing.assert_allclose(value[kept], own[key][kept] * root / 0.5, rtol=1e-5)
        assert 0.2 < kept.mean() < 0.8, key


def test_modules_of_one_adapter_alone(world, tmp_path):
    """What another adapter does not have counts as it is."""
    _, folder = world
    part = tmp_path / "part"
    part.mkdir()
    tensors = safetensors.numpy.load_file(folder / "b" / "adapter_model.safetensors")
    tensors = {key: value for key, value in tensors.items() if ".linear." in key}
    safetensors.numpy.save_file(tensors, part / "adapter_model.safetensors")
    (part / "adapter_config.json").write_text((folder / "b" / "adapter_config.json").read_text())
    product.opt("combine", "sum", f"{folder / 'a'}:0.5", f"{part}:2", "-o", tmp_path / "x")
    a, b, got = (updates(each) for each in (folder / "a", folder / "b", tmp_path / "x"))
    for module, value in got.items():
        want = 0.5 * a[module] + (2 * b[module] if module == "linear" else 0)
        np.testing.assert_allclose(value, want, atol=1e-5 * np.abs(want).max())


@pytest.mark.parametrize(
    "words, code, mentions",
    [
        (["tiez", "a"], 2, ["no method 'tiez'", "dare_ties"]),
        (["ties", "a"], 2, ["density=D is missing"]),
        (["ties,density=1.5", "a"], 2, ["density=1.5"]),
        (["svd,density=0.5", "a"], 2, ["'density=0.5'", "rank=R"]),
        (["sum,rank=3", "a"], 2, ["it has none"]),
        (["sum", "a:heavy"], 2, ["'heavy' is not a weight"]),
        (["sum", "nowhere"], 1, ["nowhere"]),
        (["linear", "a", "wide"], 1, ["ranks 4 and 7", "cat"]),
        (["sum"], 2, ["adapters"]),
    ],
)
def test_mistakes_are_named(world, tmp_path, words, code, mentions):
    _, folder = world
    paths = [word if word == "nowhere" else str(folder / word) for word in words[1:]]
    words = ["combine", words[0], *paths, "-o", tmp_path / "x"]
    product.refused("adapter-opt", *words, code=code, mentions=mentions)
    assert not (tmp_path / "x").exists()


def test_only_loras_without_a_model(world, tmp_path):
    _, folder = world
    config = peft.IA3Config(target_modules=["linear"], feedforward_modules=[])
    peft.get_peft_model(weight_methods.Layers(("linear",)), config).save_pretrained(tmp_path / "ia3")
    words = ["combine", "sum", folder / "a", tmp_path / "ia3", "-o", tmp_path / "x"]
    product.refused("adapter-opt", *words, mentions=["linear", "no plain LoRA", "--model"])
