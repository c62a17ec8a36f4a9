# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Merging into f16 and bf16 weights: rounded once, and refused where rounding eats the update."""

import json

import ml_dtypes
import numpy as np
import onnx
import product
import pytest
import safetensors.numpy
from onnx import TensorProto, helper

TYPES = {"f16": (TensorProto.FLOAT16, np.float16), "bf16": (TensorProto.BFLOAT16, ml_dtypes.bfloat16)}
RANK, INPUTS, OUTPUTS = 4, 48, 40


def model_and_adapter(folder, kind, size):
    """(ONNX file, adapter folder, the merged weight in f64); the update is about `size` times the weight."""
    code, dtype = TYPES[kind]
    rng = np.random.default_rng(5)
    weight = rng.standard_normal((INPUTS, OUTPUTS)).astype(dtype)
    # Values at the ends of the type: subnormals, zeros of both signs, what rounds to infinity.
    weight[0, :6] = np.array([2.0**-24, -(2.0**-15), 0.0, -0.0, 65504.0, -65504.0]).astype(dtype)
    initialiser = helper.make_tensor("proj.weight", code, weight.shape, weight.tobytes(), raw=True)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "proj.weight"], ["y"], name="/proj/MatMul")],
        "linear",
        [helper.make_tensor_value_info("x", code, ["batch", INPUTS])],
        [helper.make_tensor_value_info("y", code, ["batch", OUTPUTS])],
        [initialiser],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), folder / "x.onnx")
    a = rng.standard_normal((RANK, INPUTS)).astype(np.float32)
    b = (size / 2 * rng.standard_normal((OUTPUTS, RANK))).astype(np.float32)
    config = {"peft_type": "LORA", "r": RANK, "lora_alpha": RANK, "target_modules": ["proj"]}
    (folder / "lora").mkdir()
    (folder / "lora" / "adapter_config.json").write_text(json.dumps(config))
    prefix = "base_model.model.proj"
    tensors = {f"{prefix}.lora_A.weight": a, f"{prefix}.lora_B.weight": b}
    safetensors.numpy.save_file(tensors, folder / "lora" / "adapter_model.safetensors")
    return folder / "x.onnx", folder / "lora", weight.astype(np.float64) + (b.astype(np.float64) @ a).T


def merged(path, kind):
    initialiser = onnx.load(path).graph.initializer[0]
    return np.frombuffer(initialiser.raw_data, TYPES[kind][1]).reshape(INPUTS, OUTPUTS)


@pytest.mark.parametrize("kind", TYPES)
def test_rounded_once(tmp_path, kind):
    model, adapter, exact = model_and_adapter(tmp_path, kind, 0.1)
    product.opt(model, f"--adapter=a={adapter}", "-o", tmp_path / "merged.onnx")
    wanted = exact.astype(TYPES[kind][1])
    got = merged(tmp_path / "merged.onnx", kind)
    np.testing.assert_array_equal(got.view(np.uint16), wanted.view(np.uint16))


@pytest.mark.parametrize("kind, size", [("f16", 1e-3), ("bf16", 1e-2)])
def test_refused_where_rounding_eats_the_update(tmp_path, kind, size):
    model, adapter, exact = model_and_adapter(tmp_path, kind, size)
    given = [model, f"--adapter=a={adapter}", "-o", tmp_path / "merged.onnx"]
    name = {"f16": "float16", "bf16": "bfloat16"}[kind]
    product.refused("adapter-opt", *given, mentions=["proj.weight", name, "--allow-lossy-merge"])
    assert not (tmp_path / "merged.onnx").exists()
    product.opt(*given, "--allow-lossy-merge")
    got = merged(tmp_path / "merged.onnx", kind)
    np.testing.assert_array_equal(got.view(np.uint16), exact.astype(TYPES[kind][1]).view(np.uint16))
