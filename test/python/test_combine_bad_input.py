# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What adapter-opt combine refuses, each with one line that says why."""

import shutil

import combining
import numpy as np
import product
import pytest
import safetensors.numpy
from combining import save_lora


@pytest.fixture(scope="module")
def loras(tmp_path_factory):
    _, folder = combining.make(tmp_path_factory.mktemp("combine"))
    return {name: folder / name for name in combining.SCALES}


def test_number_of_adapters(loras, tmp_path):
    three = [*loras.values(), "-o", tmp_path / "x"]
    product.refused("adapter-opt", "combine", "slerp,t=0.5", *three, mentions=["'slerp' combines 2", "not 3"])
    words = ["model_stock", loras["a"], "-o", tmp_path / "x"]
    product.refused("adapter-opt", "combine", *words, mentions=["at least 2", "not 1"])


def test_no_value_where_updates_oppose(loras, tmp_path):
    words = ["model_stock", loras["a"], f"{loras['a']}:-1", "-o", tmp_path / "x"]
    product.refused("adapter-opt", "combine", *words, mentions=["point away from each other"])


@pytest.mark.parametrize(
    "method, mentions",
    [
        ("ties,density=0", ["'density=0'", "above 0"]),
        ("ties,density=nan", ["'density=nan'"]),
        ("ties,density=0.5,density=0.5", ["twice"]),
        ("breadcrumbs", ["beta=B is missing"]),
        ("breadcrumbs,beta=0.9,gamma=0.2", ["beta and gamma"]),
        ("della,density=0.9,epsilon=0.2", ["density+epsilon"]),
        ("slerp", ["t=T is missing"]),
        ("slerp,t=1.5", ["'t=1.5'"]),
        ("opcm,alpha=-1", ["'alpha=-1'"]),
        ("svd,rank=0", ["'rank=0'", "rank=R|full"]),
        ("lego,rank=1.5", ["'rank=1.5'"]),
        ("knots,t=1", ["'t=1'", "density"]),
    ],
)
def test_settings(loras, tmp_path, method, mentions):
    words = ["combine", method, loras["a"], loras["b"], "-o", tmp_path / "x"]
    product.refused("adapter-opt", *words, code=2, mentions=mentions)


@pytest.mark.parametrize("number", (np.nan, np.inf))
@pytest.mark.parametrize("method", ("sum", "ties_svd,density=0.5", "ties,density=0.5", "lego", "knots"))
def test_numbers_that_are_none(loras, tmp_path, method, number):
    bad = tmp_path / "bad"
    shutil.copytree(loras["a"], bad)
    tensors = safetensors.numpy.load_file(bad / "adapter_model.safetensors")
    key = next(iter(tensors))
    tensors[key] = tensors[key].copy()
    tensors[key].flat[3] = number
    safetensors.numpy.save_file(tensors, bad / "adapter_model.safetensors")
    words = ["combine", method, loras["b"], bad, "-o", tmp_path / "x"]
    product.refused("adapter-opt", *words, mentions=[key, "NaN or infinite"])
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("method", ("sum", "svd", "ties_svd,density=1", "lego", "opcm"))
def test_weights_beyond_measure(loras, tmp_path, method):
    words = ["combine", method, f"{loras['a']}:1e308", f"{loras['b']}:1e308", "-o", tmp_path / "x"]
    product.refused("adapter-opt", *words, mentions=["not finite"])


def test_shapes(tmp_path):
    rng = np.random.default_rng(0)
    folders = [
        save_lora(tmp_path / f"l{size}", rng.standard_normal((2, size)), rng.standard_normal((5, 2)))
        for size in (6, 7)
    ]
    for method in ("sum", "svd", "ties,density=0.5", "lego", "slerp,t=0.5"):
        words = ["combine", method, *folders, "-o", tmp_path / "x"]
        product.refused("adapter-opt", *words, mentions=["'m'", "[2, 6]", "[2, 7]"])
