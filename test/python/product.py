# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Runs the built tools. They are looked for in $ADAPTER_OPT_BIN, else in build/bin; the Python package in
$ADAPTER_OPT_PYTHON, else in build/python."""

import importlib
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("ADAPTER_OPT_BIN", ROOT / "build" / "bin")).resolve()
PACKAGE = pathlib.Path(os.environ.get("ADAPTER_OPT_PYTHON", ROOT / "build" / "python")).resolve()
# The artifact that the unit tests of the runtime build.
TINY = pathlib.Path(os.environ.get("ADAPTER_TINY_ARTIFACT", BIN.parent / "test/unit/Runtime/tiny.adapt"))


def call(tool, *arguments, timeout=300, **options):
    """The finished process of a tool; never raises for an exit code."""
    path = BIN / tool
    assert path.exists(), f"no {tool} in {BIN}: build the project or set ADAPTER_OPT_BIN"
    command = [str(path), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, **options)


def opt(*arguments, **options):
    """adapter-opt; fails the test with its message when it does not exit with 0. Returns its stdout."""
    done = call("adapter-opt", *arguments, **options)
    assert done.returncode == 0, f"adapter-opt exited with {done.returncode}: {done.stderr[-2000:]}"
    return done.stdout


def run(artifact, feed, folder, *arguments):
    """adapter-run on inputs by name (numpy arrays); outputs by name."""
    inputs = []
    for name, array in feed.items():
        np.save(folder / f"{name}.npy", array)
        inputs += ["--input", f"{name}={folder / name}.npy"]
    output = folder / "outputs.npz"
    output.unlink(missing_ok=True)
    done = call("adapter-run", artifact, *arguments, *inputs, "--output", output)
    assert done.returncode == 0, f"adapter-run exited with {done.returncode}: {done.stderr[-2000:]}"
    return dict(np.load(output))


def refused(tool, *arguments, code=1, mentions=(), **options):
    """Runs a tool that must fail with `code` and one line, `<tool>: error: ...`, that names `mentions`."""
    done = call(tool, *arguments, **options)
    said = done.stderr.strip()
    assert done.returncode == code, f"exit code {done.returncode}, expected {code}: {said[-2000:]}"
    assert said.startswith(f"{tool}: error: "), f"message starts otherwise: {said[:500]!r}"
    assert len(said.splitlines()) == 1, f"more than one line: {said[:1000]}"
    for text in mentions:
        assert str(text) in said, f"{text!r} is not named: {said}"
    return said


def package():
    """The built Python package, imported; skips the test where the build cannot be loaded into Python."""
    if os.environ.get("ADAPTER_TESTS_TOOLS_ONLY"):
        pytest.skip("Python's process has no thread sanitizer", allow_module_level=True)
    assert PACKAGE.is_dir(), f"no Python package in {PACKAGE}: build the project or set ADAPTER_OPT_PYTHON"
    if str(PACKAGE) not in sys.path:
        sys.path.insert(0, str(PACKAGE))
    module = importlib.import_module("adapter_opt")
    assert pathlib.Path(module.__file__).parent.parent == PACKAGE, f"adapter_opt is {module.__file__}"
    return module


def module(name):
    """A module of the package, imported."""
    package()
    return importlib.import_module(f"adapter_opt.{name}")
