# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The compiler from Python, over a model of one linear and a LoRA made by hand."""

import json

import numpy as np
import onnx
import product
import pytest
from onnx import TensorProto, helper, numpy_helper

ao = product.package()

RANK, INPUTS, OUTPUTS = 4, 48, 40


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


@pytest.fixture(scope="module")
def linear(tmp_path_factory):
    """(ONNX file, adapter folder, input [5, INPUTS], base output, output with the adapter), all f32."""
    folder = tmp_path_factory.mktemp("linear")
    rng = np.random.default_rng(3)
    weight = rng.standard_normal((INPUTS, OUTPUTS)).astype(np.float32)
    a = rng.standard_normal((RANK, INPUTS)).astype(np.float32)
    b = rng.standard_normal((OUTPUTS, RANK)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "proj.weight"], ["y"], name="/proj/MatMul")],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", INPUTS])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", OUTPUTS])],
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
    x = rng.standard_normal((5, INPUTS)).astype(np.float32)
    base = x.astype(np.float64) @ weight
    return folder / "linear.onnx", adapter, x, base, base + 2.0 * (x @ a.T.astype(np.float64)) @ b.T


def _close(got, want):
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-5 * np.abs(want).max())


def test_compile_by_row_and_save(linear, tmp_path):
    model_path, adapter, x, base, updated = linear
    model = ao.compile(model_path, adapters={"up": ao.Adapter(adapter, time="row")}, threads=1)
    names = ["up", None, "up", None, None]
    rows = np.array([name is not None for name in names])[:, None]
    _close(model(x=x, adapters=names)["y"], np.where(rows, updated, base))
    model.save(tmp_path / "kept.adapt")
    _close(ao.load(tmp_path / "kept.adapt")(x=x, adapters="up")["y"], updated)


def test_switch_and_back(linear):
    model_path, adapter, x, base, updated = linear
    model = ao.compile(model_path, adapters={"up": ao.Adapter(adapter, time="switch")}, threads=1)
    before = model(x=x)["y"]
    _close(before, base)
    model.switch("up")
    _close(model(x=x)["y"], updated)
    model.switch(None)
    np.testing.assert_array_equal(model(x=x)["y"], before)


def test_merge_and_check(linear, tmp_path):
    import onnxruntime

    model_path, adapter, x, _, updated = linear
    ao.merge(model_path, {"up": adapter}, tmp_path / "merged.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "merged.onnx"), providers=["CPUExecutionProvider"])
    _close(session.run(None, {"x": x})[0], updated)
    assert "proj" in json.dumps(ao.check(model_path, {"up": adapter}))


def test_what_is_refused(linear, tmp_path):
    model_path, *_ = linear
    with pytest.raises(FileNotFoundError, match="nowhere"):
        ao.merge(model_path, {"up": tmp_path / "nowhere"}, tmp_path / "merged.onnx")
    assert not (tmp_path / "merged.onnx").exists()


def test_an_open_artifact_is_compiled_again(linear, tmp_path):
    """Each model runs the code that was there when it was opened."""
    base, adapter, x, without, adapted = linear
    artifact, models = tmp_path / "model.adapt", []
    for given in ([], [f"--adapter=a={adapter}"], []):
        product.opt(base, *given, "-o", artifact)
        models.append(ao.load(str(artifact)))
    for model, expected in zip(models, (without, adapted, without), strict=True):
        np.testing.assert_allclose(model(x=x)["y"], expected, rtol=0, atol=1e-5 * np.abs(expected).max())
