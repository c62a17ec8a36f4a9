# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Modules that run several times, where the exporter left each call a copy of the weight: all are updated."""

import numpy as np
import onnx
import onnxruntime
import product
import pytest
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save_file

RNG = np.random.default_rng(0)
WEIGHT = RNG.standard_normal((6, 6)).astype(np.float32)
DOWN, UP = (RNG.standard_normal(shape).astype(np.float32) for shape in ((2, 6), (6, 2)))
X = RNG.standard_normal((3, 6)).astype(np.float32)


def write_base(path, second):
    """y = (x W) V + x W, of modules q and what the exporter calls q_1."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"], name="/q/MatMul"),
        helper.make_node("MatMul", ["a", "v"], ["b"], name="/q_1/MatMul"),
        helper.make_node("Add", ["a", "b"], ["y"], name="/Add"),
    ]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 6]) for name in "xy"]
    weights = [numpy_helper.from_array(WEIGHT, "w"), numpy_helper.from_array(second, "v")]
    graph = helper.make_graph(nodes, "repeated", values[:1], values[1:], weights)
    opsets = [helper.make_opsetid("", 20)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
    return path


def write_adapter(folder):
    """LoRA of rank 2 and scale 1 on q."""
    folder.mkdir()
    tensors = {"base_model.model.q.lora_A.weight": DOWN, "base_model.model.q.lora_B.weight": UP}
    save_file(tensors, folder / "adapter_model.safetensors")
    config = '{"peft_type": "LORA", "r": 2, "lora_alpha": 2, "target_modules": ["q"]}'
    (folder / "adapter_config.json").write_text(config)
    return folder


def forward(first, second):
    return (X @ first) @ second + X @ first


@pytest.mark.parametrize("copied", [True, False], ids=["copy", "other"])
@pytest.mark.parametrize("time", ["build", "switch", "row"])
def test_copies_of_a_weight_are_one_module(tmp_path, time, copied):
    second = WEIGHT if copied else WEIGHT + np.float32(1e-3)
    base, adapter = write_base(tmp_path / "base.onnx", second), write_adapter(tmp_path / "a")
    changed = WEIGHT + (UP @ DOWN).T
    want = forward(changed, changed if copied else second)
    product.opt(base, "--adapter", f"a={adapter}@{time}", "-o", tmp_path / "m.adapt")
    arguments = [] if time == "build" else ["--adapter", "a"]
    got = product.run(tmp_path / "m.adapt", {"x": X}, tmp_path, *arguments)["y"]
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-5 * np.abs(want).max())


def test_the_merged_graph_has_one_weight_left(tmp_path):
    base, adapter = write_base(tmp_path / "base.onnx", WEIGHT), write_adapter(tmp_path / "a")
    product.opt(base, "--adapter", f"a={adapter}", "-o", tmp_path / "merged.onnx")
    assert len(onnx.load(tmp_path / "merged.onnx").graph.initializer) == 1
    session = onnxruntime.InferenceSession(tmp_path / "merged.onnx", providers=["CPUExecutionProvider"])
    changed = WEIGHT + (UP @ DOWN).T
    want = forward(changed, changed)
    np.testing.assert_allclose(session.run(None, {"x": X})[0], want, rtol=0, atol=1e-5 * np.abs(want).max())
