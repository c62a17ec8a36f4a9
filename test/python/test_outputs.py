# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Nothing is destroyed: inputs are never written to, and what is not complete leaves no trace."""

import resource
import shutil
import signal
import subprocess
import time

import numpy as np
import onnx
import product
import pytest
import safetensors.numpy
from onnx import TensorProto, helper, numpy_helper

WIDTH, LAYERS = 1024, 4


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """base.onnx of 16 MB and the LoRA `lora` for it, in a folder."""
    folder, rng = tmp_path_factory.mktemp("outputs"), np.random.default_rng(0)
    tensors, nodes, value = [], [], "x"
    for i in range(LAYERS):
        name = f"layers.{i}.fc.weight"
        weight = rng.standard_normal((WIDTH, WIDTH), dtype=np.float32) / 32
        tensors.append(numpy_helper.from_array(weight, name))
        nodes.append(
            helper.make_node("Gemm", [value, name], [f"h{i}"], transB=1, name=f"/layers.{i}/fc/Gemm")
        )
        value = f"h{i}"
    sides = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", WIDTH]) for name in ("x", value)
    ]
    graph = helper.make_graph(nodes, "model", sides[:1], sides[1:], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, folder / "base.onnx")
    (folder / "lora").mkdir()
    factors = {
        f"base_model.model.layers.{i}.fc.lora_{side}.weight": rng.standard_normal(shape, dtype=np.float32)
        for i in range(LAYERS)
        for side, shape in (("A", (4, WIDTH)), ("B", (WIDTH, 4)))
    }
    safetensors.numpy.save_file(factors, folder / "lora/adapter_model.safetensors")
    (folder / "lora/adapter_config.json").write_text(
        '{"peft_type": "LORA", "r": 4, "lora_alpha": 4, "target_modules": ["fc"]}'
    )
    return folder


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def own(given, tmp_path):
    """A copy that a test may destroy."""
    shutil.copytree(given, tmp_path / "own")
    return tmp_path / "own"


def refused_unchanged(own, output, *mentions):
    """A merge into `output` is refused, and the folder is as before."""
    before = contents(own)
    adapter = f"--adapter=x={own / 'lora'}"
    product.refused("adapter-opt", own / "base.onnx", adapter, "-o", own / output, mentions=mentions)
    assert contents(own) == before


@pytest.mark.parametrize(
    "output, mention",
    [
        ("base.onnx", "the output is an input"),
        ("lora/../base.onnx", "the output is an input"),
        (".", "holds the input"),
        (
            "lora/adapter_model.mlir",
            "is read as an input",
        ),  # its tensors lie in lora/adapter_model.safetensors
    ],
)
def test_inputs_are_no_outputs(own, output, mention):
    refused_unchanged(own, output, mention, "name another output")


def test_external_data_is_an_input(own):
    model = onnx.load(own / "base.onnx")
    onnx.save(model, own / "base.onnx", save_as_external_data=True, location="merged.onnx.data")
    refused_unchanged(own, "merged.onnx", "merged.onnx.data: is read as an input")


def test_a_linked_output_is_an_input(own):
    (own / "merged.onnx").symlink_to(own / "base.onnx")
    refused_unchanged(own, "merged.onnx", "the output is an input")


OUTPUTS = ["m.onnx", "m.adapt", "m.mlir", "m.s", "folder"]


def limited():
    """As on a full disk: files end at 64 KiB, and a write beyond that fails."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, 1 << 16))


@pytest.mark.parametrize("output", OUTPUTS)
def test_a_full_disk_is_said_once_and_leaves_nothing(given, tmp_path, output):
    models = [given / "base.onnx"] * (2 if output == "folder" else 1)
    said = product.refused(
        "adapter-opt",
        *models,
        f"--adapter=x={given / 'lora'}",
        "-o",
        tmp_path / output,
        preexec_fn=limited,
        mentions=["cannot write"] if output != "m.s" else [],
    )
    assert ".tmp-" not in said and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "arguments",
    [
        ["--adapter=x={}", "--check"],
        ["--adapter=x={}", "--check", "--report=html"],
        ["--adapter=x={}", "--check", "--report=json"],
        ["--adapter=x={}@auto", "--plan"],
        [],
    ],
)
def test_a_full_standard_output(given, arguments):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [
                product.BIN / "adapter-opt",
                given / "base.onnx",
                *[a.format(given / "lora") for a in arguments],
            ],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode == 1
    assert done.stderr == "adapter-opt: error: standard output: cannot write: No space left on device\n"


def test_a_full_standard_output_of_other_commands(given, tmp_path):
    product.opt(given / "base.onnx", "-o", tmp_path / "m.adapt")
    np.save(tmp_path / "x.npy", np.ones((1, WIDTH), np.float32))
    weights = given / "lora/adapter_model.safetensors"
    changed = {name: value + 1 for name, value in safetensors.numpy.load_file(weights).items()}
    safetensors.numpy.save_file(changed, tmp_path / "tuned.safetensors")
    calls = [
        ["adapter-run", tmp_path / "m.adapt", f"--input=x={tmp_path / 'x.npy'}"],
        ["adapter-run", "info", tmp_path / "m.adapt"],
        ["adapter-opt", "diff", weights, tmp_path / "tuned.safetensors", "--as=sparse", "-o", tmp_path / "d"],
    ]
    for tool, *arguments in calls:
        with open("/dev/full", "w") as full:
            done = subprocess.run(
                [product.BIN / tool, *arguments], stdout=full, stderr=subprocess.PIPE, text=True
            )
        assert done.returncode == 1, arguments
        assert done.stderr.endswith("standard output: cannot write: No space left on device\n")


def ended_by(which, given, target):
    """Ends adapter-opt as soon as something lies beside its target; False where that came too late."""
    command = [
        product.BIN / "adapter-opt",
        given / "base.onnx",
        f"--adapter=x={given / 'lora'}",
        "-o",
        target,
    ]
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    while process.poll() is None and not list(target.parent.iterdir()):
        time.sleep(0.0005)
    process.send_signal(which)
    process.communicate()
    return process.returncode == -which


@pytest.mark.parametrize("which", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("output", ["m.onnx", "m.adapt"])
def test_a_signal_leaves_nothing(given, tmp_path, which, output):
    for _ in range(20):
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        (tmp_path / "out").mkdir()
        if ended_by(which, given, tmp_path / "out" / output):
            break
    else:
        pytest.fail("each run ended before the signal came")
    # The output itself may just have been moved into its place.
    assert not [path for path in (tmp_path / "out").iterdir() if path.name != output]


@pytest.mark.parametrize("output", ["m.onnx", "m.adapt"])
def test_what_a_killed_process_left_is_removed(given, tmp_path, output):
    for _ in range(20):
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        (tmp_path / "out").mkdir()
        if ended_by(signal.SIGKILL, given, tmp_path / "out" / output) and list((tmp_path / "out").iterdir()):
            break
    else:
        pytest.fail("each run ended before the signal came")
    other = tmp_path / "out" / f"{output}.tmp-notes"  # not a name of ours
    other.write_text("mine")
    product.opt(given / "base.onnx", f"--adapter=x={given / 'lora'}", "-o", tmp_path / "out" / output)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted([output, other.name])
