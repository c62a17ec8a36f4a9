# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Bottleneck adapters of AdapterHub bound at build: in ONNX and compiled, they answer as `adapters` does."""

import json
import shutil

import modules
import onnx
import onnxruntime
import product
import pytest
import safetensors.numpy
import torch
import zoo
from tolerance import assert_agrees


def feed_of(path, architecture, name):
    names = {i.name for i in onnx.load(path, load_external_data=False).graph.input}
    inputs = zoo.inputs(architecture, zoo.FEEDS[name])
    return {key: tensor.numpy() for key, tensor in inputs.items() if key in names}


def answers(path, feed):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(["logits"], feed)[0]


def merge(base, output, *adapters):
    product.opt(base, *[f"--adapter={adapter}" for adapter in adapters], "-o", output)
    onnx.checker.check_model(str(output), full_check=True)
    return output


@modules.cases()
def test_in_onnx(hub, tmp_path, architecture, exporter, method):
    adapted = hub.adapter(architecture, method, exporter=exporter)
    merged = merge(adapted.base_file, tmp_path / "merged.onnx", f"x={adapted.folder}")
    for feed in ("wide", "one"):
        y = answers(merged, feed_of(adapted.base_file, architecture, feed))
        assert_agrees(y, adapted.outputs[feed], adapted.base[feed])


@modules.cases(turn=1)
def test_compiled(hub, tmp_path, architecture, exporter, method):
    adapted = hub.adapter(architecture, method, exporter=exporter)
    product.opt(adapted.base_file, f"--adapter=x={adapted.folder}", "-o", tmp_path / "m.adapt")
    for feed in ("wide", "one"):
        inputs = feed_of(adapted.base_file, architecture, feed)
        y = product.run(tmp_path / "m.adapt", inputs, tmp_path)["logits"]
        assert_agrees(y, adapted.outputs[feed], adapted.base[feed])


ACTIVATIONS = [
    ("gelu", torch.nn.functional.gelu),
    ("gelu_tanh", lambda x: torch.nn.functional.gelu(x, approximate="tanh")),
    ("silu", torch.nn.functional.silu),
    ("laplace", lambda x: 0.5 * (1 + torch.erf((x - 0.707107) / (0.282095 * 2**0.5)))),
    ("sigmoid", torch.sigmoid),
    ("linear", lambda x: x),
]


@pytest.mark.parametrize("name, function", ACTIVATIONS, ids=[name for name, _ in ACTIVATIONS])
def test_activation(hub, tmp_path, name, function):
    """Against the formula, in a graph of one sum."""
    spelled = {"gelu_tanh": "gelu_pytorch_tanh", "silu": "SiLU"}.get(name, name)
    generator = torch.Generator().manual_seed(3)
    tensors = {
        "adapter_down.0.weight": (3, 6),
        "adapter_down.0.bias": (3,),
        "adapter_up.weight": (6, 3),
        "adapter_up.bias": (6,),
    }
    tensors = {key: torch.randn(shape, generator=generator) for key, shape in tensors.items()}
    down, down_bias, up, up_bias = tensors.values()
    folder = write_folder(tmp_path / "hub", {f"b.out.adapters.x.{k}": v.numpy() for k, v in tensors.items()},
                          dict(output_adapter=True, reduction_factor=2, non_linearity=spelled))  # fmt: skip
    path = one_sum(tmp_path / "base.onnx")
    merged = merge(path, tmp_path / "merged.onnx", f"x={folder}:scale=0.5")
    x = torch.randn((2, 3, 6), generator=generator)
    h = torch.tanh(x)
    y = 0.5 * (function(h @ down.T + down_bias) @ up.T + up_bias) + h + x
    assert_agrees(answers(merged, {"x": x.numpy()}), y.numpy(), (h + x).numpy())


def one_sum(path):
    """logits = tanh(x) + x, in a module b.out."""
    value = lambda name: onnx.helper.make_tensor_value_info(name, 1, ["batch", "sequence", 6])  # noqa: E731
    nodes = [
        onnx.helper.make_node("Tanh", ["x"], ["h"], "/b/out/Tanh"),
        onnx.helper.make_node("Add", ["h", "x"], ["logits"], "/b/out/Add"),
    ]
    graph = onnx.helper.make_graph(nodes, "g", [value("x")], [value("logits")], value_info=[value("h")])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, path)
    return path


def write_folder(folder, tensors, fields):
    folder.mkdir()
    config = {
        "config": fields,
        "name": "x",
        "version": "adapters.1.3.0",
        "hidden_size": 6,
        "model_type": "bert",
    }
    (folder / "adapter_config.json").write_text(json.dumps(config))
    safetensors.numpy.save_file(tensors, folder / "adapter.safetensors")
    return folder


def test_lora_on_the_same_module(hub, oracle, tmp_path):
    """A module and updates of the sub-layer's weights do not meet: each is where it would be alone."""
    adapted = hub.adapter("bert", "double_seq_bn")
    lora = oracle.adapter("bert", "plain").folder
    both = merge(adapted.base_file, tmp_path / "both.onnx", f"x={adapted.folder}", f"y={lora}")
    first = merge(adapted.base_file, tmp_path / "lora.onnx", f"y={lora}")
    then = merge(first, tmp_path / "then.onnx", f"x={adapted.folder}")
    feed = feed_of(adapted.base_file, "bert", "wide")
    assert_agrees(answers(both, feed), answers(then, feed), answers(first, feed))


def test_head_saved_along(hub, tmp_path):
    """A static head is whole parameters; one of `adapters`' own is refused, by name and with a way out."""
    adapted = hub.adapter("bert", "seq_bn")
    folder = tmp_path / "with-head"
    shutil.copytree(adapted.folder, folder)
    (folder / "head_config.json").write_text(json.dumps({"config": None, "num_labels": 5}))
    product.refused("adapter-opt", adapted.base_file, f"--adapter=x={folder}", "-o", tmp_path / "m.onnx",
                    mentions=["head_config.json", "model_head.safetensors"])  # fmt: skip
    (folder / "pytorch_model_head.bin").write_bytes(b"\x80")
    product.refused("adapter-opt", adapted.base_file, f"--adapter=x={folder}", "-o", tmp_path / "m.onnx",
                    mentions=["pytorch_model_head.bin", "pickle", "torch.load"])  # fmt: skip
    model = zoo.make("bert")
    head = {f"classifier.{k}": v.numpy() * 2 for k, v in model.classifier.state_dict().items()}
    safetensors.numpy.save_file(head, folder / "model_head.safetensors")
    merged = merge(adapted.base_file, tmp_path / "merged.onnx", f"x={folder}")
    y = answers(merged, feed_of(adapted.base_file, "bert", "wide"))
    assert_agrees(y, 2 * adapted.outputs["wide"], adapted.outputs["wide"])
    (folder / "head_config.json").write_text(json.dumps({"config": {"head_type": "classification"}}))
    product.refused("adapter-opt", adapted.base_file, f"--adapter=x={folder}", "-o", tmp_path / "m.onnx",
                    mentions=["head_config.json", "field 'config'", "without head_config.json"])  # fmt: skip
