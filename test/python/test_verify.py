# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""`adapter-opt verify` and `ao.verify`: what is right is verified, what is wrong is found."""

import importlib
import os
import pathlib
import shutil
import sys

import methods
import numpy as np
import onnx
import product
import pytest
import safetensors.numpy
import zoo

ao = product.package()
proof = importlib.import_module("adapter_opt.proof")
ENVIRONMENT = os.environ | {
    "PATH": f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}",
    "ADAPTER_OPT_BIN": str(product.BIN),
    "PYTHONPATH": str(product.PACKAGE),
}


def verified(*arguments):
    done = product.call("adapter-opt", "verify", *arguments, env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("verified"), done.stdout
    return done.stdout


def refused(*arguments, **options):
    return product.refused("adapter-opt", "verify", *arguments, env=ENVIRONMENT, **options)


@pytest.fixture(scope="module")
def llama(oracle, tmp_path_factory):
    """(base graph, adapter folder, merged graph, artifact with it at switch and another at row, samples)."""
    folder = tmp_path_factory.mktemp("verify")
    base, adapter = oracle.export("llama", "dynamo"), oracle.adapter("llama", "plain")
    other = oracle.adapter("llama", "plain", 2).folder
    product.opt(base, f"--adapter=a={adapter.folder}", "-o", folder / "merged.onnx")
    product.opt(
        base, f"--adapter=a={adapter.folder}@switch", f"--adapter=b={other}@row", "-o", folder / "m.adapt"
    )
    samples = oracle.feed_of(base, "llama", "wide")
    samples |= {"logits": adapter.outputs["wide"], "base.logits": oracle.base("llama")["wide"]}
    np.savez(folder / "samples.npz", **samples)
    return base, adapter.folder, folder / "merged.onnx", folder / "m.adapt", folder / "samples.npz", samples


def test_samples(llama):
    _, _, merged, artifact, path, _ = llama
    assert "effect error" in verified(merged, "--samples", path)
    assert "effect error" in verified(artifact, "--samples", path, "--adapter", "a")
    refused(artifact, "--samples", path, mentions=["logits", "effect error"])
    refused(artifact, "--samples", path, "--adapter", "b", mentions=["logits", "effect error"])


def test_row_samples(llama, oracle, tmp_path):
    artifact, samples = llama[3], dict(llama[5])
    base, b = samples.pop("base.logits"), oracle.adapter("llama", "plain", 2).outputs["wide"]
    samples["logits"] = np.stack([b[0], base[1], b[2]])
    np.savez(tmp_path / "rows.npz", **samples)
    verified(artifact, "--samples", tmp_path / "rows.npz", "--row-adapters", "b,-,b")
    refused(artifact, "--samples", tmp_path / "rows.npz", "--row-adapters", "b,b,-", mentions=["logits"])


def test_reference(llama, tmp_path):
    base, adapter, merged, artifact, _, _ = llama
    said = verified(artifact, "--reference", base, "--adapter", f"a={adapter}")
    assert "effect error" in said and "not independent" in said
    assert "not independent" in verified(merged, "--reference", base, "--adapter", f"a={adapter}@switch")
    verified(
        artifact, "--reference", base, "--adapter", f"a={adapter}", "--dim", "batch=3", "--dim", "sequence=5"
    )
    np.save(tmp_path / "ids.npy", np.arange(16).reshape(2, 8))
    verified(
        artifact, "--reference", base, "--adapter", f"a={adapter}", "--input", f"input_ids={tmp_path}/ids.npy"
    )
    # Another scale is another adapter.
    scaled = f"a={adapter}:scale=1.01"
    refused(artifact, "--reference", base, "--adapter", scaled, mentions=["logits", "effect error"])


def test_slot(llama, tmp_path):
    base, adapter = llama[:2]
    product.opt(base, "--adapter-slot=tenant:lora,rank=8@row", "-o", tmp_path / "slot.adapt")
    verified(tmp_path / "slot.adapt", "--reference", base, "--adapter", f"x={adapter}:scale=0.5")
    verified(tmp_path / "slot.adapt", "--samples", llama[4], "--load", f"x={adapter}", "--adapter", "x")


@pytest.mark.parametrize("size", [1e-2, 1e-3])
def test_a_perturbed_merge_is_found(llama, tmp_path, size):
    """Weights that are off by little beside what the adapter changes."""
    base, adapter, merged, _, path, _ = llama
    model = onnx.load(merged)
    tensors = [each for each in model.graph.initializer if each.dims == [32, 80]]
    array = onnx.numpy_helper.to_array(tensors[0])
    noise = np.random.default_rng(0).standard_normal(array.shape).astype(np.float32)
    wrong = onnx.numpy_helper.from_array(array + size * np.abs(array).max() * noise, tensors[0].name)
    tensors[0].CopyFrom(wrong)
    onnx.save(model, tmp_path / "wrong.onnx")
    refused(tmp_path / "wrong.onnx", "--samples", path, mentions=["logits", "effect error"])
    refused(tmp_path / "wrong.onnx", "--reference", base, "--adapter", f"a={adapter}", mentions=["logits"])


def test_a_perturbed_adapter_is_found(llama, tmp_path):
    _, adapter, _, _, path, _ = llama
    shutil.copytree(adapter, tmp_path / "wrong")
    tensors = safetensors.numpy.load_file(adapter / "adapter_model.safetensors")
    key = next(iter(tensors))
    tensors[key] = tensors[key] * np.float32(1.05)
    safetensors.numpy.save_file(tensors, tmp_path / "wrong" / "adapter_model.safetensors")
    product.opt(llama[0], f"--adapter=a={tmp_path / 'wrong'}", "-o", tmp_path / "wrong.adapt")
    refused(tmp_path / "wrong.adapt", "--samples", path, mentions=["logits", "effect error"])


def test_samples_at_fault(llama, tmp_path):
    merged, samples, path = llama[2], llama[5], tmp_path / "x.npz"

    def fault(changed, *mentions):
        np.savez(path, **changed)
        refused(merged, "--samples", path, mentions=mentions)

    fault({k: v for k, v in samples.items() if k != "attention_mask"}, "lacks the input 'attention_mask'")
    fault({k: v for k, v in samples.items() if "logits" not in k}, "no output to compare with", "logits")
    fault(samples | {"logit": samples["logits"]}, "'logit' is neither an input nor an output")
    fault(samples | {"logits": samples["logits"][:2]}, "has shape [3, 12, 96], the reference [2, 12, 96]")
    fault(samples | {"base.logits": samples["logits"][:2]}, "without the adapter [2, 12, 96]")
    fault(samples | {"logits": samples["logits"].astype(np.float64)}, "is float32, the reference float64")
    fault(samples | {"base.logits": samples["logits"]}, "nothing is proven")
    fault(
        samples | {"input_ids": samples["input_ids"][:, :, None]}, "ONNX Runtime cannot run it", "input_ids"
    )
    path.write_bytes(path.read_bytes()[:200])
    refused(merged, "--samples", path, mentions=["x.npz: cannot be read"])
    np.save(tmp_path / "x.npy", samples["logits"])
    refused(merged, "--samples", tmp_path / "x.npy", mentions=["no .npz file"])
    np.savez(path, **samples, odd=np.array([{}], object))
    refused(merged, "--samples", path, mentions=["x.npz: cannot be read"])


def test_nans_and_infinities(llama, tmp_path):
    """They must stand where they stand in the reference, with their sign."""
    values = np.array([[1, np.nan, np.inf, -np.inf]], np.float32)
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Mul", ["x", "two"], ["y"])],
        "twice",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", 4])],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["n", 4])],
        [onnx.numpy_helper.from_array(np.float32(2), "two")],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "twice.onnx")
    product.opt(tmp_path / "twice.onnx", "-o", tmp_path / "twice.adapt")
    for y in (values * 2, values):
        np.savez(tmp_path / "x.npz", x=values, y=y)
        for path in (tmp_path / "twice.onnx", tmp_path / "twice.adapt"):
            if y is values:
                refused(path, "--samples", tmp_path / "x.npz", mentions=["y: differs by"])
            else:
                verified(path, "--samples", tmp_path / "x.npz")
    for at in range(4):
        y = values * 2
        y[0, at] = -y[0, at] if at > 1 else np.nan if at == 0 else 2
        np.savez(tmp_path / "x.npz", x=values, y=y)
        refused(tmp_path / "twice.adapt", "--samples", tmp_path / "x.npz", mentions=["infinities or NaNs"])


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["MODEL"],
        ["MODEL", "--bogus"],
        ["MODEL", "--samples", "x.npz", "--reference", "BASE", "--adapter", "a=b"],
        ["MODEL", "--reference", "BASE"],
        ["MODEL", "--reference", "BASE", "--adapter", "a"],
        ["MODEL", "--reference", "BASE", "--adapter", "a=b", "--dim", "batch=0"],
        ["MODEL", "--samples", "x.npz", "--adapter", "a", "--row-adapters", "a"],
        ["MODEL", "--samples", "x.npz", "--dim", "batch=1"],
    ],
    ids=" ".join,
)
def test_wrong_usage(arguments):
    refused(*arguments, code=2)


def test_inputs_at_fault(llama, tmp_path):
    base, adapter, merged, artifact, path, _ = llama
    given = ["--reference", base, "--adapter", f"a={adapter}"]
    refused(tmp_path / "none.onnx", "--samples", path, mentions=["none.onnx: does not exist"])
    refused(merged, "--samples", tmp_path / "none.npz", mentions=["none.npz: cannot be read"])
    refused(merged, "--samples", path, "--adapter", "a", mentions=["merged"])
    refused(artifact, "--samples", path, "--adapter", "none", mentions=["no adapter 'none'"])
    refused(artifact, *given, "--dim", "height=3", mentions=["no dim 'height'", "sequence"])
    refused(artifact, *given, "--input", f"x={path}", mentions=["samples.npz"])
    np.save(tmp_path / "x.npy", np.zeros(3))
    refused(artifact, *given, "--input", f"x={tmp_path}/x.npy", mentions=["no input 'x'", "input_ids"])
    refused(artifact, "--reference", base, "--adapter", f"a={tmp_path}", mentions=["adapter_config.json"])
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    refused(tmp_path / "bad.onnx", "--samples", path, mentions=["bad.onnx: ONNX Runtime cannot run it"])


def test_without_python(llama, tmp_path):
    """What is missing is named."""
    done = product.call("adapter-opt", "verify", "--help", env={"PATH": str(tmp_path)})
    assert done.returncode == 1
    assert done.stderr.startswith("adapter-opt: error: verify runs in Python, and python3 cannot be started")
    bare = tmp_path / "python3"
    bare.write_text(f'#!/bin/sh\nunset PYTHONPATH\nexec {sys.executable} -S -I "$@"\n')
    bare.chmod(0o755)
    done = product.call("adapter-opt", "verify", "--help", env={"PATH": f"{tmp_path}:/usr/bin:/bin"})
    assert done.returncode == 1
    assert done.stderr.startswith("adapter-opt: error: verify needs a Python on the path that has NumPy")


def test_without_onnxruntime(llama, tmp_path):
    (tmp_path / "onnxruntime.py").write_text('raise ImportError("not here")')
    environment = ENVIRONMENT | {"PYTHONPATH": str(tmp_path)}
    arguments = ["verify", llama[2], "--samples", llama[4]]
    said = product.refused("adapter-opt", *arguments, env=environment)
    assert "pip install onnxruntime" in said
    # An artifact needs none.
    done = product.call("adapter-opt", "verify", llama[3], *arguments[2:], "--adapter", "a", env=environment)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("dtype", "off", "narrow", "passes"),
    [
        ("float32", 5e-6, False, True),
        ("float32", 2e-5, False, False),
        ("float32", 1e-2, True, True),
        ("float16", 1e-2, False, True),
        ("float16", 3e-2, False, False),
        ("float64", 2e-5, False, False),
    ],
)
def test_bounds_without_a_base(dtype, off, narrow, passes):
    reference = np.linspace(-1, 1, 21).astype(dtype)
    y = reference.copy()
    y[20] -= np.array(off).astype(dtype)
    assert (proof.compare("y", y, reference, narrow=narrow).problem is None) == passes


def test_bound_is_on_the_effect():
    reference = np.linspace(-1, 1, 21, dtype=np.float32)
    y = reference + np.float32(8e-6)
    assert proof.compare("y", y, reference, reference - 1).problem is None
    found = proof.compare("y", y, reference, reference - np.float32(1e-3))
    assert "off by" in found.problem and found.effect_error == pytest.approx(8e-3, rel=0.1)


def test_integers_must_be_equal():
    whole = np.arange(5)
    assert proof.compare("y", whole, whole).problem is None
    assert proof.compare("y", whole, whole + (whole == 2)).problem == "1 of 5 entries differ"


def test_peft_model_in_memory(llama):
    artifact, merged = llama[3], llama[2]
    model = methods.attach(zoo.make("llama"), "llama", "plain", 1)
    feed = zoo.inputs("llama", (2, 9))
    with pytest.raises(ValueError, match="training mode"):
        ao.verify(model.train(), artifact, feed, "a")
    model.eval()
    for path, adapters in ((artifact, "a"), (merged, None), (ao.load(artifact), "a")):
        (found,) = ao.verify(model, path, feed, adapters)
        assert found.name == "logits" and found.effect_error < 1e-3
    with pytest.raises(ValueError, match="not verified: logits: differs by .* effect error"):
        ao.verify(model, artifact, feed)
    with pytest.raises(ValueError, match="not verified: logits"):
        ao.verify(model, artifact, feed, "b")
    model.base_model.model.lm_head.weight.data[3] += 0.01
    with pytest.raises(ValueError, match="not verified: logits"):
        ao.verify(model, artifact, feed, "a")
