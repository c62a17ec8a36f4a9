# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Files that adapter-run reads and writes, and what it says of inputs and settings that are not there."""

import io
import struct
import warnings
import zipfile

import numpy as np
import product
import pytest
import tiny
from product import TINY

X = np.arange(9, dtype=np.float32).reshape(3, 3)


def run(*arguments):
    return product.call("adapter-run", TINY, *arguments, timeout=60)


def refused(*arguments, code=1, mentions=()):
    return product.refused("adapter-run", TINY, *arguments, code=code, mentions=mentions)


@pytest.fixture
def answer(tmp_path):
    np.save(tmp_path / "plain.npy", X)
    done = run("--input", f"x={tmp_path / 'plain.npy'}", "--output", tmp_path / "plain.npz")
    assert done.returncode == 0, done.stderr
    return np.load(tmp_path / "plain.npz")["y"]


def check(tmp_path, answer, value):
    done = run("--input", value, "--output", tmp_path / "out.npz")
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(np.load(tmp_path / "out.npz")["y"], answer)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_archives_as_inputs(tmp_path, answer, save):
    save(tmp_path / "x.npz", x=X)
    save(tmp_path / "other.npz", whatever=X)
    save(tmp_path / "two.npz", other=X[:1], x=np.asfortranarray(X))
    check(tmp_path, answer, str(tmp_path / "x.npz"))
    check(tmp_path, answer, f"x={tmp_path / 'x.npz'}")
    check(tmp_path, answer, f"x={tmp_path / 'other.npz'}")
    check(tmp_path, answer, f"x={tmp_path / 'two.npz'}")


def test_zip64_archive(tmp_path, answer):
    data = io.BytesIO()
    np.save(data, X)
    with zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("x.npy", "w", force_zip64=True) as member:
            member.write(data.getvalue())
    check(tmp_path, answer, str(tmp_path / "x.npz"))


def test_archives_that_do_not_serve(tmp_path):
    np.save(tmp_path / "x.npy", X)
    np.savez(tmp_path / "two.npz", alpha=X, beta=X)
    np.savez(tmp_path / "x.npz", x=X)
    refused(
        "--input",
        f"alhpa={tmp_path / 'two.npz'}",
        mentions=["two.npz", "did you mean 'alpha'?", "alpha, beta"],
    )
    refused("--input", tmp_path / "two.npz", mentions=["there is no input 'alpha'", "x: float32 [batch, 3]"])
    twice = ["--input", tmp_path / "x.npz", "--input", f"x={tmp_path / 'x.npy'}"]
    refused(*twice, mentions=["input 'x' is given twice", "x.npz", "x.npy"])
    refused("--input", tmp_path / "none.npz", mentions=["none.npz"])
    (tmp_path / "folder.npz").mkdir()
    refused("--input", tmp_path / "folder.npz", mentions=["folder.npz"])
    np.savez(tmp_path / "object.npz", x=np.array([None]))
    refused("--input", tmp_path / "object.npz", mentions=["member 'x.npy'"])
    with zipfile.ZipFile(tmp_path / "text.npz", "w") as archive:
        archive.writestr("readme.txt", "hello")
    refused("--input", tmp_path / "text.npz", mentions=["'readme.txt' is no .npy array"])
    with warnings.catch_warnings(), zipfile.ZipFile(tmp_path / "double.npz", "w") as archive:
        warnings.simplefilter("ignore")
        archive.writestr("x.npy", b"1")
        archive.writestr("x.npy", b"2")
    refused("--input", tmp_path / "double.npz", mentions=["double.npz"])
    with zipfile.ZipFile(tmp_path / "bzip.npz", "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("x.npy", b"1" * 100)
    refused("--input", tmp_path / "bzip.npz", mentions=["method 12"])


def test_archives_cut_short_or_changed(tmp_path):
    np.savez_compressed(tmp_path / "x.npz", x=X)
    whole = (tmp_path / "x.npz").read_bytes()
    bad = tmp_path / "bad.npz"
    for size in (0, 1, 30, len(whole) // 2, len(whole) - 1):
        bad.write_bytes(whole[:size])
        refused("--input", bad, mentions=["bad.npz"])
    middle = whole.index(b"x.npy") + 60
    bad.write_bytes(whole[:middle] + bytes([whole[middle] ^ 0xFF]) + whole[middle + 1 :])
    refused("--input", bad, mentions=["bad.npz"])


def test_an_archive_that_claims_to_be_huge(tmp_path):
    """Nothing is taken of what a member claims before it is plausible."""
    np.savez_compressed(tmp_path / "x.npz", x=X)
    whole = bytearray((tmp_path / "x.npz").read_bytes())
    at = whole.rindex(b"PK\x01\x02")
    whole[at + 24 : at + 28] = struct.pack("<I", 0xFFFFFF00)
    (tmp_path / "bomb.npz").write_bytes(whole)
    refused("--input", tmp_path / "bomb.npz", mentions=["bomb.npz"])


def test_outputs(tmp_path, answer):
    x = f"x={tmp_path / 'plain.npy'}"
    said = refused("--input", x, "--output", tmp_path / "y.npy", mentions=[".npz"])
    assert "the model has 2" in said and not (tmp_path / "y.npy").exists()
    refused("--input", x, "--output", tmp_path / "y.bin", code=2, mentions=[".npz", ".npy"])


def test_inputs_that_are_not_the_models(tmp_path):
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "long.npy", X.astype(np.int64))
    np.save(tmp_path / "flat.npy", X[0])
    inputs = "x: float32 [batch, 3]"
    refused("--input", f"X={tmp_path / 'x.npy'}", mentions=["no input 'X'", "did you mean 'x'?", inputs])
    refused("--input", f"pixels={tmp_path / 'x.npy'}", mentions=["no input 'pixels'; the inputs are", inputs])
    refused(mentions=["input 'x' is missing", inputs])
    refused(
        "--input",
        f"x={tmp_path / 'long.npy'}",
        mentions=["long.npy", "expected float32 [batch, 3], got int64 [3, 3]"],
    )
    refused("--input", f"x={tmp_path / 'flat.npy'}", mentions=["got float32 [3]", "1 dimensions, not 2"])


@pytest.mark.parametrize(
    ("setting", "mentions"),
    [
        ("r1.sclae=1", ["did you mean 'r1.scale'?", "<adapter>.rank"]),
        ("r2.scale=1", ["no adapter 'r2'", "did you mean 'r1'?", "s1 (switch)"]),
        ("gian=1", ["did you mean 'gain'?"]),
        ("tenant.scale=1", ["'tenant' is a slot", "--load NAME=PATH,slot=tenant", "NAME.scale"]),
        ("nobody.scale=1", ["no adapter 'nobody'; there are: r1 (row)"]),
        ("r1.rank=7", ["whole number from 1 to 2"]),
    ],
)
def test_settings_that_are_not_there(setting, mentions):
    refused("--set", setting, mentions=mentions)


def test_adapters_that_are_not_there(tmp_path):
    np.save(tmp_path / "x.npy", X)
    x = f"x={tmp_path / 'x.npy'}"
    refused("--input", x, "--adapter", "r2", mentions=["did you mean 'r1'?"])
    refused("--input", x, "--row-adapters", "-,tenant,r1", mentions=["'tenant' is a slot"])


def test_advice_for_what_was_bound_at_build_or_not_at_call(tmp_path):
    """Each error says which option of adapter-opt makes it settable, and with that option it is."""
    graph = tiny.graph(
        tmp_path / "m.onnx", [tiny.matmul("/up/MatMul", "up.weight")], {"up.weight": tiny.numbers(4, 6)}
    )
    folder = tiny.adapter(tmp_path / "lora", tiny.lora("up", 6, 4)[0], target_modules=["up"])
    np.savez(tmp_path / "x.npz", x=tiny.numbers(2, 4))
    x = ["--input", tmp_path / "x.npz"]
    product.opt(graph, "--adapter", f"sql={folder}", "-o", tmp_path / "build.adapt")
    for property_, option in (("scale", "=PATH@row:scale=@call"), ("rank", "=PATH@row --bind sql.rank@call")):
        said = product.refused(
            "adapter-run",
            tmp_path / "build.adapt",
            *x,
            "--set",
            f"sql.{property_}=1",
            mentions=["bound at build"],
        )
        assert f"--adapter sql{option}" in said
    product.refused(
        "adapter-run", tmp_path / "build.adapt", *x, "--adapter", "sql", mentions=["--adapter sql=PATH@row"]
    )
    product.opt(graph, "--adapter", f"sql={folder}@row:scale=@call", "-o", tmp_path / "row.adapt")
    done = product.call("adapter-run", tmp_path / "row.adapt", *x, "--adapter", "sql", "--set", "sql.scale=2")
    assert done.returncode == 0, done.stderr
