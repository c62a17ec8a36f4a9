# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Every model of ONNX's backend node tests comes out as it went in, straight and through MLIR text."""

import functools

import numpy as np
import onnx
import product
import pytest
from onnx.backend.test.loader import load_model_tests
from proto_equal import proto_differences

CHUNK = 100
EXPECTED = 1884  # with onnx 1.23.2, the version that scripts/requirements-build.txt names


@functools.cache
def cases():
    """(name, ModelProto) sorted by name."""
    with np.errstate(all="ignore"):
        return sorted(((case.name, case.model) for case in load_model_tests(kind="node")), key=lambda c: c[0])


def test_all_cases_are_there():
    assert len(cases()) == EXPECTED


def compare(originals, folder):
    """All differences, one line per model."""
    wrong = []
    for path in originals:
        result = folder / path.name
        if not result.exists():
            wrong.append(f"{path.stem}: no output")
            continue
        found = proto_differences(onnx.load(path), onnx.load(result), limit=2)
        if found:
            wrong.append(f"{path.stem}: {'; '.join(found)}")
    return wrong


def chunk_of(index, folder):
    """Files of one chunk, each under the name of its case."""
    folder.mkdir()
    paths = []
    for name, model in cases()[index * CHUNK : (index + 1) * CHUNK]:
        path = folder / f"{name}.onnx"
        onnx.save(model, path)
        paths.append(path)
    return paths


@pytest.mark.parametrize("index", range(-(-EXPECTED // CHUNK)))
def test_onnx_to_onnx(tmp_path, index):
    originals = chunk_of(index, tmp_path / "in")
    # With several inputs, an output that ends in .onnx is a folder.
    product.opt(*originals, "-o", tmp_path / "out.onnx", timeout=600)
    wrong = compare(originals, tmp_path / "out.onnx")
    assert not wrong, f"{len(wrong)} of {len(originals)} differ:\n" + "\n".join(wrong[:20])


@pytest.mark.parametrize("index", range(-(-EXPECTED // CHUNK)))
def test_through_text(tmp_path, index):
    originals = chunk_of(index, tmp_path / "in")
    product.opt(*originals, "-o", tmp_path / "text.mlir", timeout=600)
    product.opt(tmp_path / "text.mlir", "-o", tmp_path / "out.onnx", timeout=600)
    wrong = compare(originals, tmp_path / "out.onnx")
    assert not wrong, f"{len(wrong)} of {len(originals)} differ:\n" + "\n".join(wrong[:20])


@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
def test_real_exports(oracle, tmp_path, exporter):
    """Names, dim_params and node metadata of exports survive the way through text."""
    for architecture in ("bert", "gpt2", "llama", "vit"):
        path = oracle.export(architecture, exporter)
        text, back = tmp_path / f"{architecture}.mlir", tmp_path / f"{architecture}.onnx"
        product.opt(path, "-o", text)
        product.opt(text, "-o", back)
        assert not proto_differences(onnx.load(path), onnx.load(back))
