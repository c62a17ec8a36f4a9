# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Broken and hostile files: exit code 1, one line that starts with the tool's name, nothing left behind."""

import json

import hostile
import numpy as np
import product
import pytest


def each(table):
    return pytest.mark.parametrize("name", list(table))


def assert_only(folder, *names):
    """Nothing was left beside what the test itself wrote."""
    assert sorted(path.name for path in folder.iterdir()) == sorted(names)


@pytest.mark.parametrize("output", ["out.onnx", "out.adapt", "out.mlir"])
@each(hostile.ONNX)
def test_onnx(tmp_path, name, output):
    (tmp_path / "model.onnx").write_bytes(hostile.ONNX[name])
    if name == "unknown_operator" and output != "out.adapt":
        pytest.skip("operators that nobody knows pass through")
    arguments = [tmp_path / "model.onnx", "-o", tmp_path / output]
    product.refused("adapter-opt", *arguments, mentions=["model.onnx"])
    assert_only(tmp_path, "model.onnx")


@pytest.mark.parametrize("operator, inputs", hostile.LEFT_OUT)
def test_inputs_that_are_left_out(tmp_path, operator, inputs):
    """An input without a name is one that the operator may do without, or an error."""
    hostile.node_without(tmp_path / "model.onnx", operator, inputs)
    done = product.call("adapter-opt", tmp_path / "model.onnx", "-o", tmp_path / "model.adapt")
    assert done.returncode == 1, done.stderr
    assert f"{operator} node 'n': input {inputs.index('')} (" in done.stderr and "is left out" in done.stderr
    assert not (tmp_path / "model.adapt").exists()


@pytest.mark.parametrize("share", [0.01, 0.3, 0.5, 0.9, 0.999])
def test_truncated_export(small, tmp_path, share):
    content = small[0].read_bytes()
    (tmp_path / "cut.onnx").write_bytes(content[: int(len(content) * share)])
    product.refused("adapter-opt", tmp_path / "cut.onnx", "-o", tmp_path / "out.onnx", mentions=["cut.onnx"])
    assert_only(tmp_path, "cut.onnx")


def broken_adapter(adapter, folder, tensors=None, config=None):
    folder.mkdir()
    weights = (adapter / "adapter_model.safetensors").read_bytes() if tensors is None else tensors
    fields = json.loads((adapter / "adapter_config.json").read_text())
    text = config if isinstance(config, bytes) else json.dumps(fields | (config or {})).encode()
    (folder / "adapter_model.safetensors").write_bytes(weights)
    (folder / "adapter_config.json").write_bytes(text)
    return folder


def assert_adapter_refused(base, folder, named, tmp_path):
    for output in ("out.onnx", "out.adapt"):
        arguments = [base, "--adapter", f"x={folder}", "-o", tmp_path / output]
        product.refused("adapter-opt", *arguments, mentions=[named])
    product.refused("adapter-opt", base, "--adapter", f"x={folder}", "--check", mentions=[named])
    assert_only(tmp_path, folder.name)


@each(hostile.SAFETENSORS)
def test_safetensors(small, tmp_path, name):
    base, adapter = small
    folder = broken_adapter(adapter, tmp_path / "adapter", tensors=hostile.SAFETENSORS[name])
    assert_adapter_refused(base, folder, "adapter_model.safetensors", tmp_path)


@pytest.mark.parametrize("share", [0.001, 0.1, 0.5, 0.999])
def test_truncated_safetensors(small, tmp_path, share):
    base, adapter = small
    content = (adapter / "adapter_model.safetensors").read_bytes()
    folder = broken_adapter(adapter, tmp_path / "adapter", tensors=content[: int(len(content) * share)])
    assert_adapter_refused(base, folder, "adapter_model.safetensors", tmp_path)


@each(hostile.CONFIG)
def test_configuration(small, tmp_path, name):
    base, adapter = small
    folder = broken_adapter(adapter, tmp_path / "adapter", config=hostile.CONFIG[name])
    assert_adapter_refused(base, folder, "adapter_config.json", tmp_path)


def test_missing_files(small, tmp_path):
    base, adapter = small
    missing = tmp_path / "nothing.onnx"
    product.refused("adapter-opt", missing, "-o", tmp_path / "out.onnx", mentions=[missing])
    arguments = ["--adapter", f"x={tmp_path / 'nobody'}", "-o", tmp_path / "out.onnx"]
    product.refused("adapter-opt", base, *arguments, mentions=["nobody"])
    arguments = ["--adapter", f"x={adapter}", "-o", tmp_path / "no" / "such" / "out.onnx"]
    product.refused("adapter-opt", base, *arguments, mentions=["such"])
    assert_only(tmp_path)


@pytest.fixture(scope="module")
def artifact(small, tmp_path_factory):
    path = tmp_path_factory.mktemp("artifact") / "base.adapt"
    product.opt(small[0], "-o", path)
    return path


@each(hostile.NPY)
def test_arrays(artifact, tmp_path, name):
    (tmp_path / "x.npy").write_bytes(hostile.NPY[name])
    arguments = [artifact, "--input", f"pixel_values={tmp_path}/x.npy", "--output", tmp_path / "out.npz"]
    product.refused("adapter-run", *arguments, mentions=["x.npy"])
    assert_only(tmp_path, "x.npy")


@pytest.mark.parametrize("shape", [(3, 12, 12), (2, 3, 12, 13), (2, 4, 12, 12), (1, 1, 3, 12, 12)])
def test_shapes_that_do_not_fit(artifact, tmp_path, shape):
    np.save(tmp_path / "x.npy", np.zeros(shape, np.float32))
    arguments = [artifact, "--input", f"pixel_values={tmp_path}/x.npy", "--output", tmp_path / "out.npz"]
    product.refused("adapter-run", *arguments, mentions=["pixel_values"])


def test_inputs_that_do_not_fit(artifact, tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((1, 3, 12, 12), np.float64))
    given = f"pixel_values={tmp_path}/x.npy"
    product.refused("adapter-run", artifact, "--input", given, mentions=["x.npy", "pixel_values", "float64"])
    product.refused("adapter-run", artifact, mentions=["pixel_values"])
    product.refused("adapter-run", artifact, "--input", given.replace("pixel_values", "x"), mentions=["x"])


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["MODEL", "--no-such-flag"],
        ["MODEL", "--adapter", "no-path="],
        ["MODEL", "--adapter", "1x=ADAPTER", "-o", "OUT.onnx"],
        ["MODEL", "--adapter", "x=ADAPTER@row", "-o", "OUT.onnx"],
        ["MODEL", "-o", "OUT.tiff"],
        ["MODEL", "--adapter", "x=ADAPTER", "--adapter", "x=ADAPTER", "-o", "OUT.onnx"],
    ],
    ids=lambda arguments: " ".join(arguments) or "nothing",
)
def test_wrong_usage(small, tmp_path, arguments):
    """Exit code 2: what the command line alone decides."""
    names = {"MODEL": small[0], "ADAPTER": small[1], "OUT": tmp_path / "out"}
    for name, path in names.items():
        arguments = [argument.replace(name, str(path)) for argument in arguments]
    done = product.call("adapter-opt", *arguments, stdin=-3)
    assert done.returncode == 2, f"exit code {done.returncode}: {done.stderr[-500:]}"
    assert done.stderr.startswith("adapter-opt: error: ")
    assert_only(tmp_path)
