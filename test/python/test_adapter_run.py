# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The command line of adapter-run on the tiny artifact of test/unit/Runtime."""

import json
import os

import numpy as np
import product
import pytest
from product import TINY


def run(*arguments):
    return product.call("adapter-run", *arguments, timeout=60)


@pytest.fixture
def x(tmp_path):
    np.save(tmp_path / "x.npy", np.arange(9, dtype=np.float32).reshape(3, 3))
    return f"x={tmp_path / 'x.npy'}"


def outputs(tmp_path, *arguments):
    done = run(*arguments, "--output", tmp_path / "out.npz")
    assert done.returncode == 0, done.stderr
    return np.load(tmp_path / "out.npz")


def test_outputs_in_the_graphs_order(tmp_path, x):
    base = outputs(tmp_path, TINY, "--input", x)
    assert base.files == ["y", "a sum"]
    np.testing.assert_allclose(base["y"].sum(1), base["a sum"], rtol=1e-5)
    np.testing.assert_array_equal(outputs(tmp_path, "run", TINY, "--input", x)["y"], base["y"])
    assert sorted(os.listdir(tmp_path)) == ["out.npz", "x.npy"]


def test_adapters(tmp_path, x):
    base = outputs(tmp_path, TINY, "--input", x)["y"]
    every = outputs(tmp_path, TINY, "--input", x, "--adapter", "r1")["y"]
    some = outputs(tmp_path, TINY, "--input", x, "--row-adapters", "-,r1,-")["y"]
    np.testing.assert_array_equal(some, np.stack([base[0], every[1], base[2]]))
    assert not np.allclose(outputs(tmp_path, TINY, "--input", x, "--adapter", "s1")["y"], base)
    nothing = outputs(tmp_path, TINY, "--input", x, "--adapter", "r1", "--set", "r1.scale=0")["y"]
    np.testing.assert_allclose(nothing, base, rtol=1e-5)


def test_summary_info_and_times(x):
    assert "y: float32 [3, 2], min" in run(TINY, "--input", x).stdout
    assert json.loads(run("info", TINY).stdout)["adapters"][0]["name"] == "r1"
    assert "median" in run("bench", TINY, "--input", x, "--runs", "3", "--threads", "1").stdout
    assert "switch back: median" in run("switch", TINY, "--adapter", "s1", "--runs", "3").stdout
    assert run("verify", TINY).returncode == 0
    assert "--row-adapters" in run("run", "--help").stdout


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["info"],
        ["--bogus"],
        [TINY, "--bogus"],
        [TINY, "--input", "x"],
        [TINY, "--adapter", "a", "--row-adapters", "b"],
        [TINY, "--row-adapters", "a,,b"],
        [TINY, "--set", "a.scale=x"],
        [TINY, "--input", "x.npy"],
        [TINY, "--output", "y.txt"],
        [TINY, "--output", "y"],
        [TINY, "--threads", "0"],
        ["switch", TINY],
    ],
)
def test_wrong_usage(arguments):
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["none.adapt"],
        [TINY],
        [TINY, "--input", "x=none.npy"],
        [TINY, "--load", "a=none,slot=tenant"],
        [TINY, "--adapter", "none"],
        ["verify", "none.adapt"],
    ],
)
def test_input_at_fault(arguments):
    done = run(*arguments)
    assert done.returncode == 1
    assert done.stderr.startswith("adapter-run: error: ")


def test_rows_at_fault(x):
    for names in ("r1", "r1,r1,r1,r1", "r1,none,-"):
        assert run(TINY, "--input", x, "--row-adapters", names).returncode == 1
