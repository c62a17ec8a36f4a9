# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""GPUs. Vulkan's artifacts run on whatever device the machine has, in CI on Mesa's driver for CPUs. Code for
the others is assembled, disassembled or validated; where there is a driver for it, it runs too."""

import ctypes
import importlib.util
import pathlib
import re
import shutil
import subprocess

import numpy as np
import onnx
import product
import pytest
import zoo
from tolerance import assert_agrees, assert_rows_agree

MODELS = ("bert", "llama")
# Two adapters that differ in form, rank and modules, and how the three rows of the feed `wide` mix them.
PAIRS = {
    "linear": ("plain", "dora"),
    "embedding": ("embedding", "tokens"),
    "vector": ("bias_all", "norm_saved"),
    "sparse": ("shira", "plain"),
}
MIXTURES = (["a", None, "b"], ["b", "a", "a"], [None, None, None])


def tool(name):
    """A program that scripts/setup.sh installs."""
    path = shutil.which(name, path="/usr/lib/llvm-22/bin") or shutil.which(name)
    assert path, f"{name} is missing: run scripts/setup.sh"
    return path


def ptxas():
    """triton brings one, and torch brings triton."""
    place = importlib.util.find_spec("triton")
    path = pathlib.Path(place.origin).parent / "backends/nvidia/bin/ptxas" if place else None
    assert path and path.exists(), "triton with its ptxas is missing: run scripts/setup.sh"
    return path


def can_load(library):
    try:
        return bool(ctypes.CDLL(library))
    except OSError:
        return False


def output_of(*command):
    done = subprocess.run([str(each) for each in command], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{command[0]}: {(done.stderr + done.stdout)[-2000:]}"
    return done.stdout + done.stderr


def adapters(oracle, architecture, pair):
    a, b = PAIRS[pair]
    return {"a": oracle.adapter(architecture, a, 1), "b": oracle.adapter(architecture, b, 2)}


def compile_rows(oracle, architecture, exporter, target, output, pair="linear"):
    """A whole model with two adapters bound at row."""
    arguments = [f"--adapter={k}={v.folder}@row" for k, v in adapters(oracle, architecture, pair).items()]
    product.opt(oracle.export(architecture, exporter), *arguments, "--target", target, "-o", output)
    return output


def check_rows(oracle, tmp_path, architecture, exporter, target, pair="linear"):
    artifact = compile_rows(oracle, architecture, exporter, target, tmp_path / "row.adapt", pair)
    model = product.package().load(str(artifact), threads=1)
    base, given = oracle.base(architecture), adapters(oracle, architecture, pair)
    feed = oracle.feed_of(oracle.export(architecture, exporter), architecture, "wide")
    for names in MIXTURES:
        y = model(**feed, adapters=names)["logits"]
        references = [given[n].outputs["wide"][i] if n else base["wide"][i] for i, n in enumerate(names)]
        assert_rows_agree(y, references, [base["wide"][i] if n else None for i, n in enumerate(names)])
    for name in ("one", "tall"):
        feed = oracle.feed_of(oracle.export(architecture, exporter), architecture, name)
        assert_agrees(model(**feed)["logits"], base[name])
    return model


@pytest.mark.parametrize(
    "architecture, exporter",
    [("bert", "dynamo"), ("llama", "torchscript")]
    + [
        pytest.param(a, e, marks=pytest.mark.full)
        for a in zoo.ARCHITECTURES
        for e in zoo.EXPORTERS
        if (a, e) not in (("bert", "dynamo"), ("llama", "torchscript"))
    ],
)
def test_vulkan_runs_models_with_adapters_by_row(oracle, tmp_path, architecture, exporter):
    check_rows(oracle, tmp_path, architecture, exporter, "spirv:vulkan")


@pytest.mark.parametrize("pair", ["embedding", "vector", "sparse"])
def test_vulkan_runs_other_updates_by_row(oracle, tmp_path, pair):
    check_rows(oracle, tmp_path, "bert", "dynamo", "spirv:vulkan", pair)


def test_vulkan_switches_and_refuses_wrong_indices(oracle, tmp_path):
    base, given = oracle.export("llama", "dynamo"), adapters(oracle, "llama", "linear")
    arguments = [f"--adapter={k}={v.folder}@switch" for k, v in given.items()]
    product.opt(base, *arguments, "--target", "spirv:vulkan", "-o", tmp_path / "switch.adapt")
    model = product.package().load(str(tmp_path / "switch.adapt"), threads=1)
    feed, without = oracle.feed_of(base, "llama", "wide"), oracle.base("llama")["wide"]
    for name in ("a", "b", None, "a"):
        model.switch(name)
        reference = given[name].outputs["wide"] if name else without
        assert_agrees(model(**feed)["logits"], reference, without if name else None)
    for wrong in (zoo.VOCABULARY, -zoo.VOCABULARY - 1, 2**32 + 5):
        ids = feed["input_ids"].copy()
        ids[1, 2] = wrong
        with pytest.raises(ValueError, match=r"index \? is outside \? elements"):
            model(**{**feed, "input_ids": ids})
    assert_agrees(model(**feed)["logits"], given["a"].outputs["wide"], without)


def test_vulkan_takes_one_adapter_per_call(oracle, tmp_path):
    """Whose shares of the positions are as many as the runtime likes."""
    base, adapter = oracle.export("bert", "dynamo"), oracle.adapter("bert", "dora", 2)
    option = f"--adapter=a={adapter.folder}@call"
    product.opt(base, option, "--target", "spirv:vulkan", "-o", tmp_path / "call.adapt")
    feed, without = oracle.feed_of(base, "bert", "wide"), oracle.base("bert")["wide"]
    y = product.run(tmp_path / "call.adapt", feed, tmp_path, "--adapter", "a", "--threads", "5")["logits"]
    assert_agrees(y, adapter.outputs["wide"], without)
    assert_agrees(product.run(tmp_path / "call.adapt", feed, tmp_path)["logits"], without)


def test_more_work_than_a_launch_has_groups(tmp_path):
    """Products and reductions of more than 65535 groups, more elements than their threads."""
    nodes = [
        onnx.helper.make_node("MatMul", ["a", "b"], ["product"]),
        onnx.helper.make_node("ReduceSum", ["a", "axis"], ["sum"], keepdims=0),
        onnx.helper.make_node("Add", ["x", "one"], ["more"]),
    ]
    f32, helper = onnx.TensorProto.FLOAT, onnx.helper
    shapes = {"a": ["n", 1, "k"], "b": ["n", "k", 1], "x": ["l"]}
    results = {"product": ["n", 1, 1], "sum": ["n", 1], "more": ["l"]}
    constants = {"axis": np.array([2]), "one": np.ones(1, np.float32)}
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, f32, shape) for name, shape in shapes.items()],
        [helper.make_tensor_value_info(name, f32, shape) for name, shape in results.items()],
        [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, tmp_path / "model.onnx")
    product.opt(tmp_path / "model.onnx", "--target", "spirv:vulkan", "-o", tmp_path / "model.adapt")
    random = np.random.default_rng(0)
    feed = {
        "a": random.standard_normal((66000, 1, 5), dtype=np.float32),
        "b": random.standard_normal((66000, 5, 1), dtype=np.float32),
        "x": random.standard_normal(8_500_001, dtype=np.float32),
    }
    got = product.run(tmp_path / "model.adapt", feed, tmp_path)
    assert_agrees(got["product"], feed["a"] @ feed["b"])
    assert_agrees(got["sum"], feed["a"].sum(axis=2))
    assert_agrees(got["more"], feed["x"] + 1)


@pytest.mark.parametrize("architecture", MODELS)
@pytest.mark.parametrize("chip", ["sm_80", "sm_90"])
def test_ptx_assembles(oracle, tmp_path, architecture, chip):
    code = compile_rows(oracle, architecture, "dynamo", f"nvidia:{chip}", tmp_path / "x.ptx")
    assert ".extern" not in code.read_text(), "a function of a library is called"
    said = output_of(ptxas(), "-v", f"-arch={chip}", code, "-o", tmp_path / "x.cubin")
    registers = [int(n) for n in re.findall(r"Used (\d+) registers", said)]
    spills = [int(n) for n in re.findall(r"(\d+) bytes spill", said)]
    assert len(registers) == code.read_text().count(".entry"), said[-2000:]
    assert spills and not any(spills), said[-2000:]


@pytest.mark.parametrize("architecture", MODELS)
@pytest.mark.parametrize("chip", ["gfx90a", "gfx942"])
def test_amd_code_is_whole(oracle, tmp_path, architecture, chip):
    code = compile_rows(oracle, architecture, "dynamo", f"amd:{chip}", tmp_path / "x.hsaco")
    instructions = output_of(tool("llvm-objdump"), "-d", f"--mcpu={chip}", code)
    assert "v_fma" in instructions or "v_pk_fma" in instructions or "v_fmac" in instructions
    assert "<unknown>" not in instructions
    notes = output_of(tool("llvm-readelf"), "--notes", code)
    assert f"amdgcn-amd-amdhsa--{chip}" in notes
    spills = [int(n) for n in re.findall(r"[vs]gpr_spill_count: (\d+)", notes)]
    assert spills and not any(spills)
    assert not output_of(tool("llvm-nm"), "--undefined-only", "--dynamic", code).strip()


@pytest.mark.parametrize("architecture", MODELS)
@pytest.mark.parametrize("target, environment", [("vulkan", "vulkan1.2"), ("opencl", "opencl2.0")])
def test_spirv_is_valid(oracle, tmp_path, architecture, target, environment):
    code = compile_rows(oracle, architecture, "dynamo", f"spirv:{target}", tmp_path / "x.spv")
    output_of(tool("spirv-val"), "--target-env", environment, code)


@pytest.mark.parametrize(
    "target, library",
    [("nvidia:sm_80", "libcuda.so.1"), ("amd:gfx942", "libamdhip64.so"), ("spirv:opencl", None)],
)
def test_other_drivers(oracle, tmp_path, target, library):
    """Runs where there is a driver; else one line names what is missing. Reading the manifest needs none."""
    if library and can_load(library):
        check_rows(oracle, tmp_path, "bert", "dynamo", target)
        return
    base = oracle.export("bert", "dynamo")
    artifact = tmp_path / "base.adapt"
    product.opt(base, "--target", target, "-o", artifact)
    inputs = []
    for name, array in oracle.feed_of(base, "bert", "wide").items():
        np.save(tmp_path / f"{name}.npy", array)
        inputs += ["--input", f"{name}={tmp_path}/{name}.npy"]
    product.refused("adapter-run", artifact, *inputs, mentions=[target, library or ""])
    info = product.call("adapter-run", "info", artifact)
    assert info.returncode == 0 and f'"target": "{target}"' in info.stdout and '"kernels"' in info.stdout


def test_machines_without_a_vulkan_driver(oracle, tmp_path):
    base = oracle.export("vit", "torchscript")
    product.opt(base, "--target", "spirv:vulkan", "-o", tmp_path / "base.adapt")
    np.save(tmp_path / "x.npy", oracle.feed_of(base, "vit", "one")["pixel_values"])
    product.refused(
        "adapter-run",
        tmp_path / "base.adapt",
        "--input",
        f"pixel_values={tmp_path}/x.npy",
        mentions=["spirv:vulkan", "no driver"],
        env={"VK_DRIVER_FILES": "/nowhere.json", "VK_ICD_FILENAMES": "/nowhere.json"},
    )


@pytest.mark.parametrize("target", ["nvidia", "nvidia:sm_3", "amd:gfx000", "spirv:metal", "tpu:v5"])
def test_unknown_targets_are_refused(oracle, tmp_path, target):
    base = oracle.export("vit", "torchscript")
    product.refused("adapter-opt", base, "--target", target, "-o", tmp_path / "x.adapt", mentions=[target])
    assert not list(tmp_path.iterdir())


def test_kernels_are_files_of_their_own_kind(oracle, tmp_path):
    base = oracle.export("vit", "torchscript")
    for target, wrong in (("spirv:vulkan", "x.ptx"), ("nvidia:sm_90", "x.hsaco"), ("cpu", "x.spv")):
        product.refused("adapter-opt", base, "--target", target, "-o", tmp_path / wrong, mentions=[wrong])
