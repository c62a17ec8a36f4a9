# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A model of one linear and a LoRA made by hand, with its outputs."""

import collections
import json

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

RANK, INPUTS, OUTPUTS = 4, 48, 40

# ONNX file, adapter folder, input [5, inputs], base output, output with the adapter; all f32.
Linear = collections.namedtuple("Linear", "model adapter x base updated")


def _safetensors(path, tensors):
    header, data = {}, b""
    for name, value in tensors.items():
        raw = value.astype("<f4").tobytes()
        header[name] = {
            "dtype": "F32",
            "shape": list(value.shape),
            "data_offsets": [len(data), len(data) + len(raw)],
        }
        data += raw
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


def make(folder, inputs=INPUTS, outputs=OUTPUTS):
    """Makes one in a folder."""
    rng = np.random.default_rng(3)
    weight = rng.standard_normal((inputs, outputs)).astype(np.float32)
    a = rng.standard_normal((RANK, inputs)).astype(np.float32)
    b = rng.standard_normal((outputs, RANK)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "proj.weight"], ["y"], name="/proj/MatMul")],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", inputs])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", outputs])],
        [numpy_helper.from_array(weight, "proj.weight")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "linear.onnx")
    adapter = folder / "lora"
    adapter.mkdir()
    config = {"peft_type": "LORA", "r": RANK, "lora_alpha": 2 * RANK, "target_modules": ["proj"]}
    (adapter / "adapter_config.json").write_text(json.dumps(config))
    prefix = "base_model.model.proj"
    tensors = {f"{prefix}.lora_A.weight": a, f"{prefix}.lora_B.weight": b}
    _safetensors(adapter / "adapter_model.safetensors", tensors)
    x = rng.standard_normal((5, inputs)).astype(np.float32)
    base = x.astype(np.float64) @ weight
    updated = base + 2.0 * (x @ a.T.astype(np.float64)) @ b.T
    return Linear(folder / "linear.onnx", adapter, x, base, updated)
