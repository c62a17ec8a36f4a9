# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Graphs of a few nodes and PEFT folders made by hand, for tests whose oracle is arithmetic."""

import json

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save_file


def numbers(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32)


def graph(path, nodes, weights, inputs=(("x", ["n", 4]),), opset=18, kinds=None):
    """Writes an ONNX file whose output is y; `kinds` gives inputs that are not floats."""
    kinds = kinds or {}
    made = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(n, kinds.get(n, TensorProto.FLOAT), d) for n, d in inputs],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.ascontiguousarray(v), k) for k, v in weights.items()],
    )
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)], ir_version=9), path)
    return path


def node(operator, inputs, output, name="", scopes=None, **attributes):
    made = helper.make_node(operator, inputs, [output], name=name, **attributes)
    if scopes:
        entry = made.metadata_props.add()
        entry.key, entry.value = "pkg.torch.onnx.name_scopes", str(scopes)
    return made


def matmul(name, weight, x="x", y="y"):
    return node("MatMul", [x, weight], y, name)


def adapter(folder, tensors, **config):
    """A PEFT folder of a LoRA of rank 1 and scale 1, unless `config` says otherwise."""
    folder.mkdir(parents=True, exist_ok=True)
    named = {"base_model.model." + k: np.ascontiguousarray(v) for k, v in tensors.items()}
    save_file(named, folder / "adapter_model.safetensors")
    settings = {"peft_type": "LORA", "r": 1, "lora_alpha": 1, "bias": "none"} | config
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    return folder


def lora(module, out, width, seed=1):
    """Tensors of a LoRA of rank 1, and what it adds to W [out, in]."""
    a, b = numbers(1, width, seed=seed), numbers(out, 1, seed=seed + 1)
    return {f"{module}.lora_A.weight": a, f"{module}.lora_B.weight": b}, b @ a


def answer(path, feed):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return session.run(None, feed)[0]


def close(got, want, tolerance=2e-5):
    assert got.shape == want.shape, f"shape {got.shape} for {want.shape}"
    difference = np.abs(np.asarray(got, np.float64) - want).max()
    assert difference <= tolerance * np.abs(want).max(), f"differs by {difference} of {np.abs(want).max()}"
