# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Merging into ONNX: the merged graph, run by ONNX Runtime, answers as PEFT does unmerged."""

import matrix
import methods
import onnx
import onnxruntime
import product
import pytest
from tolerance import assert_agrees


def answers(path, feed):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(["logits"], feed)[0]


def merge(base, output, *adapters):
    product.opt(base, *[f"--adapter={adapter}" for adapter in adapters], "-o", output)
    onnx.checker.check_model(str(output))
    return output


@matrix.cases("onnx")
def test_merged(oracle, tmp_path, architecture, exporter, method):
    base = oracle.export(architecture, exporter)
    adapter = oracle.adapter(architecture, method)
    merged = merge(base, tmp_path / "merged.onnx", f"x={adapter.folder}")
    for feed in ("wide", "one"):
        y = answers(merged, oracle.feed_of(base, architecture, feed))
        assert_agrees(y, adapter.outputs[feed], oracle.base(architecture)[feed])


@pytest.mark.parametrize("method", ["bias_all", "bias_lora_only", "lora_bias", "norm_saved", "dora"])
@matrix.exports
def test_merged_into_shared_initialisers(oracle, tmp_path, architecture, exporter, method):
    """Norms of ones and biases of zeros: exporters share one initialiser between modules and drop biases."""
    if method not in methods.methods_of(architecture):
        pytest.skip("no biases")
    base = oracle.export(architecture, exporter, False)
    adapter = oracle.adapter(architecture, method, 1, False)
    merged = merge(base, tmp_path / "merged.onnx", f"x={adapter.folder}")
    y = answers(merged, oracle.feed_of(base, architecture, "wide"))
    assert_agrees(y, adapter.outputs["wide"], oracle.base(architecture, False)["wide"])


@matrix.exports
def test_two_at_build_act_together(oracle, tmp_path, architecture, exporter):
    base = oracle.export(architecture, exporter)
    folders = [oracle.adapter(architecture, "plain", seed).folder for seed in (1, 2)]
    merged = merge(base, tmp_path / "merged.onnx", f"a={folders[0]}", f"b={folders[1]}@build")
    y = answers(merged, oracle.feed_of(base, architecture, "wide"))
    assert_agrees(
        y, oracle.both(architecture, "plain")["wide"], oracle.adapter(architecture, "plain").outputs["wide"]
    )


@pytest.mark.parametrize("method", ["plain", "embedding", "dora"])
def test_scale_multiplies_the_adapters_own(oracle, tmp_path, method):
    base = oracle.export("llama", "dynamo")
    adapter = oracle.adapter("llama", method, 1, True, 0.5)
    merged = merge(base, tmp_path / "merged.onnx", f"x={adapter.folder}:scale=0.5")
    y = answers(merged, oracle.feed_of(base, "llama", "wide"))
    assert_agrees(y, adapter.outputs["wide"], oracle.adapter("llama", method).outputs["wide"])


@matrix.every_export
def test_interface_and_untouched_tensors_stay(oracle, tmp_path, architecture, exporter):
    """Inputs and outputs with their dim_params, opset and tensors that no update touches are as before."""
    path = oracle.export(architecture, exporter)
    adapter = oracle.adapter(architecture, "regex")
    merged = onnx.load(merge(path, tmp_path / "merged.onnx", f"x={adapter.folder}"))
    base = onnx.load(path)
    assert list(merged.graph.input) == list(base.graph.input)
    assert list(merged.graph.output) == list(base.graph.output)
    assert list(merged.opset_import) == list(base.opset_import)
    kept = {t.name: onnx.numpy_helper.to_array(t).tobytes() for t in merged.graph.initializer}
    changed = [
        t.name for t in base.graph.initializer if kept.get(t.name) != onnx.numpy_helper.to_array(t).tobytes()
    ]
    assert len(changed) == {"bert": 3, "gpt2": 2, "llama": 2, "vit": 2}[architecture], changed
