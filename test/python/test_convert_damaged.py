# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Files of papers' authors with a tensor changed in some way: converted or refused, never anything else, and
what is refused leaves nothing."""

import json
import os
import shutil

import numpy as np
import published
import published_converted
import pytest
from own_forms import real
from published import CASES, ao, save
from published_world import World
from safetensors.numpy import load_file

assert published_converted


def largest(dtype):
    return np.finfo(dtype).max if dtype.kind == "f" else np.iinfo(dtype).max


CHANGES = {
    "gone": lambda array: None,
    "a number": lambda array: np.zeros((), array.dtype),
    "empty": lambda array: array[..., :0] if array.ndim else None,
    "deeper": lambda array: array[None],
    "longer": lambda array: np.concatenate([array, array]) if array.ndim else np.repeat(array, 2),
    "turned": lambda array: array.T if array.ndim > 1 else array[::-1] if array.ndim else -array,
    "whole": lambda array: array.astype(np.int8),
    "negative": lambda array: np.full_like(array, -1, dtype=np.int64 if array.dtype.kind in "iu" else None),
    "huge": lambda array: np.full_like(array, largest(array.dtype)),
    "no numbers": lambda array: np.full_like(array, np.nan) if array.dtype.kind == "f" else array + 1,
}
REAL = ao.convert


def damaged(method, files, out, **options):
    """As ao.convert, which it calls first with each tensor of each file changed in each way."""
    given = [files] if isinstance(files, (str, os.PathLike)) else list(files)
    for number, path in enumerate(given):
        inner = path / ("adapter_model.safetensors" if (path / "adapter_model.safetensors").exists() else
                        "adapter.safetensors") if path.is_dir() else path  # fmt: skip
        tensors = load_file(inner)
        for name, array in tensors.items():
            for how, change in CHANGES.items():
                with np.errstate(over="ignore"):
                    made = change(array)
                changed = {k: v for k, v in tensors.items() if k != name}
                changed |= {} if made is None else {name: made}
                other = out.parent / "damaged"
                shutil.rmtree(other, ignore_errors=True)
                shutil.copytree(path, other) if path.is_dir() else other.mkdir()
                save(other / inner.name, changed)
                copies = [*given]
                copies[number] = other if path.is_dir() else other / inner.name
                try:
                    REAL(method, copies, out, **options)
                except ValueError as error:
                    assert str(error), (name, how)
                    assert not out.exists() and not [
                        each for each in os.listdir(out.parent) if ".new" in each
                    ]
                else:
                    shutil.rmtree(out)
    return REAL(method, files, out, **options)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return World(tmp_path_factory.mktemp("damaged"))


CONVERTED = [name for name, case in CASES.items() if case[2].__module__ == "published_converted"]


@pytest.mark.parametrize("name", CONVERTED)
def test_tensors_that_are_changed(world, tmp_path, monkeypatch, name):
    monkeypatch.setattr(published.ao, "convert", damaged)
    CASES[name][2](world, tmp_path)


def hub(folder, name, tensors, **fields):
    folder.mkdir()
    save(folder / "adapter.safetensors", tensors)
    text = json.dumps({"name": name, "version": "adapters.1.3.0", "config": fields})
    (folder / "adapter_config.json").write_text(text)
    return folder


def test_modules_that_are_changed(tmp_path):
    rng, keys = np.random.default_rng(0), {"b.shared_parameters.c.phm_rule": None}
    keys["b.shared_parameters.c.phm_rule"] = real(rng, 2, 2, 2)
    for layer, read, made in (("adapter_down.0", 8, 4), ("adapter_up", 4, 8)):
        stem = f"b.output_adapters.adapters.c.{layer}."
        keys |= {f"{stem}W_left": real(rng, 2, read // 2, 1), f"{stem}W_right": real(rng, 2, 1, made // 2)}
        keys[f"{stem}b"] = real(rng, made)
    damaged("compacter", hub(tmp_path / "c", "c", keys, phm_layer=True), tmp_path / "x")
    folders = []
    for name, size in (("a", 2), ("b", 3)):
        stem, scaling = f"b.output_adapters.adapters.{name}.", np.ones(1, np.float32)
        part = {
            f"{stem}adapter_down.0.weight": real(rng, size, 8),
            f"{stem}adapter_down.0.bias": real(rng, size),
        }
        part |= {f"{stem}adapter_up.weight": real(rng, 8, size), f"{stem}adapter_up.bias": real(rng, 8)}
        part[f"{stem}scaling"] = scaling
        folders.append(hub(tmp_path / name, name, part, scaling="learned"))
    omega = save(tmp_path / "o.safetensors", {"b.output_adapters.scalearn_layer.a,b.omega": real(rng, 2, 8)})
    damaged("scalearn", [*folders, omega], tmp_path / "y")
