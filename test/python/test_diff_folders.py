# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""adapter-opt diff of folders: shards with an index or without, divided one way before and another after."""

import json

import numpy as np
import product
import pytest
from safetensors.numpy import load_file, save_file

TENSORS = {
    f"{name}.weight": np.random.default_rng(0).standard_normal((4, 5)).astype(np.float32) for name in "abc"
}
TUNED = {name: tensor + np.float32(1) for name, tensor in TENSORS.items()}
INDEX = "model.safetensors.index.json"


def one_file(path, tensors):
    save_file(tensors, path.with_suffix(".safetensors"))
    return path.with_suffix(".safetensors")


def folder(path, tensors):
    path.mkdir()
    save_file(tensors, path / "model.safetensors")
    return path


def shards(path, tensors, index=True, count=2):
    path.mkdir()
    places = {}
    for i in range(count):
        name = f"model-{i + 1:05}-of-{count:05}.safetensors"
        part = dict(list(tensors.items())[i::count])
        save_file(part, path / name)
        places |= dict.fromkeys(part, name)
    if index:
        (path / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": places}))
    return path


def named_shards(path, tensors):
    return shards(path, tensors) / INDEX


def three_shards(path, tensors):
    return shards(path, tensors, index=False, count=3)


KINDS = [one_file, folder, shards, named_shards, three_shards]


@pytest.mark.parametrize("after", KINDS)
@pytest.mark.parametrize("before", KINDS)
def test_any_kind_with_any(before, after, tmp_path):
    paths = before(tmp_path / "before", TENSORS), after(tmp_path / "after", TUNED)
    said = product.opt("diff", *paths, "--as", "lora,rank=1", "-o", tmp_path / "delta")
    assert "3 tensors changed, 0 did not" in said
    product.opt("diff", *paths, "--as", "sparse", "-o", tmp_path / "sparse")
    held = load_file(tmp_path / "sparse" / "adapter_model.safetensors")
    assert sum(tensor.size for tensor in held.values() if tensor.dtype == np.float32) == 60


def refused(tmp_path, *paths, mentions):
    product.refused("adapter-opt", "diff", *paths, "--as", "sparse", "-o", tmp_path / "x", mentions=mentions)
    assert not (tmp_path / "x").exists()


def test_folders_that_do_not_serve(tmp_path):
    good = shards(tmp_path / "good", TENSORS)
    lacking = shards(tmp_path / "lacking", TUNED)
    (lacking / "model-00002-of-00002.safetensors").unlink()
    for pair in ((good, lacking), (lacking, good)):
        refused(tmp_path, *pair, mentions=["model-00002-of-00002.safetensors"])
    (tmp_path / "empty").mkdir()
    refused(tmp_path, good, tmp_path / "empty", mentions=["empty", "no .safetensors file"])
    fewer = shards(tmp_path / "fewer", dict(list(TUNED.items())[:2]))
    refused(tmp_path, good, fewer, mentions=["fewer", "'c.weight'", "good"])
    refused(tmp_path, fewer, good, mentions=["fewer", "'c.weight'", "good"])
    refused(tmp_path, good, good, mentions=["same numbers"])
    refused(tmp_path, good, tmp_path / "none", mentions=["none: does not exist"])
