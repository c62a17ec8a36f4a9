# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""adapter-opt convert: the command, files that it reads, and what it refuses, of which nothing is left."""

import json
import os
import pickle
import sys

import numpy as np
import product
import pytest
from own_forms import real
from published import ao, save

RNG = np.random.default_rng(1)
ENVIRONMENT = os.environ | {"PATH": f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"}


def spiel(**changes):
    """Tensors of one module; None takes one away."""
    tensors = {"one.sft_delta.indices": np.array([1, 5, 9], np.int32), "one.sft_delta.values": real(RNG, 3)}
    tensors |= {key.replace("__", "."): value for key, value in changes.items()}
    return {key: value for key, value in tensors.items() if value is not None}


def refused(folder, method, tensors, mentions, **options):
    """In Python, and by the command with one line; nothing is there afterwards."""
    files = [save(folder / f"{i}.safetensors", each) for i, each in enumerate(tensors)]
    before = sorted(folder.iterdir())
    with pytest.raises(ValueError) as raised:
        ao.convert(method, files, folder / "x", **options)
    words = [f"--set={name}={value}" for name, value in options.items()]
    words = ["convert", method, *files, "-o", folder / "x", *words]
    said = product.refused("adapter-opt", *words, env=ENVIRONMENT, mentions=mentions)
    assert all(text in str(raised.value) for text in mentions), said
    assert sorted(folder.iterdir()) == before


def test_the_command_makes_what_the_function_makes(tmp_path):
    file = save(tmp_path / "f.safetensors", spiel())
    words = [file, "-o", tmp_path / "b", "--set", "scale=0.5"]
    assert product.opt("convert", "spiel", *words, env=ENVIRONMENT) == ""
    assert ao.convert("spiel", file, tmp_path / "a", scale=0.5) == tmp_path / "a"
    assert sorted(os.listdir(tmp_path / "a")) == ["adapter_config.json", "adapter_model.safetensors"]
    for name in os.listdir(tmp_path / "a"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    config = json.loads((tmp_path / "a" / "adapter_config.json").read_text())
    assert config == {
        "peft_type": "ADAPTER_OPT_FORM",
        "form": "sparse_flat",
        "modules": {"one": {"scalars": {"scale": 0.5}}},
    }


def test_reads_npz_and_narrow_numbers(tmp_path):
    import torch
    from safetensors.torch import save_file

    tensors = spiel()
    np.savez(tmp_path / "f.npz", **tensors)
    ao.convert("spiel", tmp_path / "f.npz", tmp_path / "npz")
    narrow = {name: torch.from_numpy(each.copy()) for name, each in tensors.items()}
    narrow["one.sft_delta.values"] = narrow["one.sft_delta.values"].to(torch.bfloat16)
    save_file(narrow, tmp_path / "b.safetensors")
    ao.convert("spiel", tmp_path / "b.safetensors", tmp_path / "bf16")
    from safetensors.numpy import load_file

    key = "base_model.model.one.values"
    for name, want in (("npz", tensors["one.sft_delta.values"]), ("bf16", None)):
        got = load_file(tmp_path / name / "adapter_model.safetensors")[key]
        want = narrow["one.sft_delta.values"].float().numpy() if want is None else want
        np.testing.assert_array_equal(got, want)


def test_pickles_are_never_read(tmp_path):
    """Neither by name nor by contents: what they would run does not run."""

    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "trapped"),)

    for name in ("pytorch_diff.bin", "f.safetensors"):
        (tmp_path / name).write_bytes(pickle.dumps({"a": Trap()}))
        for method, text in (("lt-sft", "d['body'].items()"), ("spiel", "save_file({k: v.clone()")):
            with pytest.raises(ValueError, match="a pickle") as raised:
                ao.convert(method, tmp_path / name, tmp_path / "x")
            assert text in str(raised.value) and "weights_only=True" in str(raised.value)
    (tmp_path / "f.safetensors").unlink()
    with pytest.raises(ValueError, match="a pickle"):
        ao.convert("spiel", tmp_path, tmp_path / "x")
    assert sorted(os.listdir(tmp_path)) == ["pytorch_diff.bin"]


def test_the_line_for_a_pickle_works(tmp_path):
    """What the message says makes a file that is read: LT-SFT's own layout, which torch.save writes."""
    import re

    import safetensors.torch
    import torch

    body = {"one.weight": {"size": torch.tensor([4, 3]), "index_steps": torch.tensor([1, 4])}}
    body["one.weight"]["values"] = torch.tensor([0.5, -1.0])
    torch.save({"body": body, "head": {"head.bias": torch.ones(5)}}, tmp_path / "pytorch_diff.bin")
    with pytest.raises(ValueError) as raised:
        ao.convert("lt-sft", tmp_path / "pytorch_diff.bin", tmp_path / "x")
    line = re.search(r"(d = .*?'pytorch_diff.safetensors'\))", str(raised.value))[1]
    os.chdir(tmp_path)
    exec(line, {"torch": torch, "safetensors": safetensors})
    ao.convert("lt-sft", tmp_path / "pytorch_diff.safetensors", tmp_path / "x")
    made = safetensors.torch.load_file(tmp_path / "x" / "adapter_model.safetensors")
    # Column by column, elements 1 and 5 are [1, 0] and [1, 1].
    assert made["base_model.model.one.indices"].tolist() == [[1, 1], [0, 1]]


WRONG = {
    "a tensor more": (spiel(more=real(RNG, 2)), "'more' has no place"),
    "one is missing": (spiel(one__sft_delta__values=None), "'one.sft_delta.values' is missing"),
    "sizes differ": (spiel(one__sft_delta__values=real(RNG, 4)), "has shape [4], expected [3]"),
    "a place twice": (spiel(one__sft_delta__indices=np.array([1, 1, 2])), "names a place twice"),
    "a negative place": (spiel(one__sft_delta__indices=np.array([1, -1, 2])), "holds the place -1"),
    "no whole numbers": (spiel(one__sft_delta__indices=np.array([1, 1.5, 2])), "not of whole numbers"),
    "whole numbers": (spiel(one__sft_delta__values=np.array([1, 2, 3])), "not of floats"),
    "no number": (spiel(one__sft_delta__values=np.array([1, np.nan, 3])), "holds what is no number"),
    "nothing": ({"one.weight": real(RNG, 2)}, "holds no sft_delta"),
}


@pytest.mark.parametrize("name", WRONG)
def test_tensors_that_do_not_fit(tmp_path, name):
    tensors, text = WRONG[name]
    refused(tmp_path, "spiel", [tensors], [text])


def lt_sft(size=(4, 3), steps=(1, 4), values=2):
    return {
        "body.one.weight.size": np.array(size),
        "body.one.weight.index_steps": np.array(steps),
        "body.one.weight.values": real(RNG, values),
    }


CORDA = {"one.BLinear.weight": real(RNG, 2, 8), "one.ALinear.weight": real(RNG, 6, 2)}
QWHA = {
    "one.qwha_spectrum": real(RNG, 3),
    "one.qwha_indices_a": np.zeros((2, 3), np.int64),
    "one.qwha_scaling_a": np.float32(1),
}
OTHERS = {
    "beyond the parameter": ("lt-sft", [lt_sft(steps=(8, 4))], ["leads out of the parameter's [4, 3]"]),
    "a negative step": ("lt-sft", [lt_sft(steps=(8, -4))], ["leads out of the parameter"]),
    "sums that wrap": ("lt-sft", [lt_sft(steps=(2**62, 2**62))], ["leads out of the parameter"]),
    "other sizes": ("lt-sft", [lt_sft(), lt_sft(size=(3, 4))], ["has the sizes [4, 3] and [3, 4]"]),
    "no shape": ("lt-sft", [lt_sft(size=(4, 0))], ["which is no shape"]),
    "no body": ("lt-sft", [{"head.a.weight": real(RNG, 2)}], ["its body is missing"]),
    "one file of two": ("corda", [CORDA], ["corda takes 2 files, not 1"]),
    "no beginning": ("corda", [CORDA, {"two.weight": real(RNG, 2)}], ["'one.BLinear.weight' is missing"]),
    "two bases": (
        "corda",
        [CORDA | {"one.weight_residual": real(RNG, 6, 8)} for _ in range(2)],
        ["'one.weight_residual' differs"],
    ),
    "two adapters": (
        "qwha",
        [QWHA | {"one.qwha_indices_b": np.zeros((2, 3), np.int64)}],
        ["module 'one' has 2 tensors qwha_indices_<name>"],
    ),
    "a wrong count": ("qwha", [QWHA | {"one.qwha_n_frequency_a": np.int64(4)}], ["3 coefficients"]),
    "no index": ("sltrain", [{"one.lora_A": real(RNG, 2, 3)}], ["holds no sparse_index"]),
    "no method": ("lora", [CORDA], ["there is no method 'lora'; there are: corda, "]),
    "no folder": ("compacter", [CORDA], ["is no folder of AdapterHub"]),
    "one alone": ("scalearn", [CORDA], ["scalearn takes 2 to 64 files, not 1"]),
}


@pytest.mark.parametrize("name", OTHERS)
def test_files_that_do_not_fit(tmp_path, name):
    refused(tmp_path, *OTHERS[name])


def test_options_that_there_are_not(tmp_path):
    refused(tmp_path, "spiel", [spiel()], ["spiel has no option 'sclae'; its options are: scale"], sclae=2)
    file = save(tmp_path / "f.safetensors", spiel())
    for value in (np.inf, True, "2", None):
        with pytest.raises(ValueError, match="scale is .*, expected float"):
            ao.convert("spiel", file, tmp_path / "x", scale=value)
    for words, text in (
        (["--set", "scale=much"], "scale=much: expected float"),
        (["--set", "scale"], "expected NAME=VALUE"),
        (["--set", "scale=1", "--set", "scale=2"], "twice"),
    ):
        command = ["convert", "spiel", file, "-o", tmp_path / "x", *words]
        product.refused("adapter-opt", *command, code=2, env=ENVIRONMENT, mentions=[text])
    command = ["convert", "spiel", file]
    product.refused("adapter-opt", *command, code=2, env=ENVIRONMENT, mentions=["-o", "--help"])


def test_what_is_there_already_stays(tmp_path):
    file = save(tmp_path / "f.safetensors", spiel())
    (tmp_path / "x").mkdir()
    command = ["convert", "spiel", file, "-o", tmp_path / "x"]
    product.refused("adapter-opt", *command, env=ENVIRONMENT, mentions=[tmp_path / "x", "is there already"])
    with pytest.raises(FileExistsError):
        ao.convert("spiel", file, tmp_path / "x")
    assert os.listdir(tmp_path / "x") == []
    with pytest.raises(FileNotFoundError):
        ao.convert("spiel", tmp_path / "nowhere", tmp_path / "y")


@pytest.mark.parametrize("cut", [0, 4, 8, 30, -1])
def test_broken_files(tmp_path, cut):
    path = save(tmp_path / "f.safetensors", spiel())
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(ValueError, match="f.safetensors"):
        ao.convert("spiel", path, tmp_path / "x")


@pytest.mark.parametrize(
    "header",
    [
        "[]",
        "{",
        '{"a": 3}',
        '{"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}',
        '{"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}}',
        '{"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}',
        '{"a": {"dtype": "F8_E4M3", "shape": [1], "data_offsets": [0, 1]}}',
        '{"a": {"dtype": "F32", "shape": [true], "data_offsets": [0, 4]}}',
    ],
)
def test_broken_headers(tmp_path, header):
    (tmp_path / "f.safetensors").write_bytes(len(header).to_bytes(8, "little") + header.encode() + b"0000")
    with pytest.raises(ValueError, match="f.safetensors"):
        ao.convert("spiel", tmp_path / "f.safetensors", tmp_path / "x")
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("change", ["short", "long", "no head", "no bytes"])
def test_files_without_names(tmp_path, change):
    """U36: the sizes must be those of the file, to the byte."""
    size = 2 * (2 * (16 // 8 + 8)) + 4 * (4 * 3 + 3)
    data = bytes(size + {"short": -1, "long": 1, "no head": -60, "no bytes": -size}[change])
    (tmp_path / "f.bin").write_bytes(data)
    options = dict(width=4, dim=4, blocks=1, classes=3)
    with pytest.raises(ValueError, match="f.bin: (ends at byte|has 1 bytes behind)"):
        ao.convert("bi-lora", tmp_path / "f.bin", tmp_path / "x", **options)
    (tmp_path / "f.bin").write_bytes(bytes(size))
    ao.convert("bi-lora", tmp_path / "f.bin", tmp_path / "x", **options)


def test_every_method_is_in_the_list():
    from adapter_opt.converting import METHODS, REFUSED

    text = (product.ROOT / "docs" / "checkpoints.md").read_text()
    for name, row in METHODS.items():
        (line,) = (each for each in text.splitlines() if each.startswith(f"| `{name}` |"))
        cells = [cell.strip() for cell in line.split("|")]
        assert cells[2] == row.title
        assert all(option in cells[4] for option in row.options), name
    assert all(f"`{name}`" in text for name in REFUSED)
    said = product.opt("convert", "--help", env=ENVIRONMENT)
    assert all(name in said and row.title in said for name, row in METHODS.items())
