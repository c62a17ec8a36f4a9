# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Operators of ONNX Runtime's optimiser and of GenAI's model builder in compiled code, held against ONNX
Runtime: norms, activations, products and rotary embeddings. Attention has a file of its own."""

import numpy as np
import onnx
import product
import pytest
from contrib import Graph, refused

CALLS = [{"b": 2, "s": 5}, {"b": 1, "s": 1}]
WIDTH = 16


def test_activations(tmp_path):
    g = Graph()
    g.node("Gelu", [g.input("b", "s", WIDTH)])
    g.node("QuickGelu", [g.input("b", "s")])
    g.node("QuickGelu", [g.input("b", "s", WIDTH)], alpha=0.7)
    g.node("FastGelu", [g.input("b", "s", WIDTH)])
    g.node("FastGelu", [g.input("b", "s", WIDTH), g.input(WIDTH)])
    g.node("BiasGelu", [g.input("b", "s", WIDTH), g.constant(g.normal(WIDTH))])
    g.check(tmp_path, *CALLS)


@pytest.mark.parametrize("opset", [13, 22])
def test_norms(opset, tmp_path):
    """In models of any operator set: what nodes become is the same."""
    g = Graph(opset)
    weight, bias = g.constant(g.normal(WIDTH)), g.constant(g.normal(WIDTH))
    for skip in [("b", "s"), (1, "s"), ("s",)]:
        g.node("SkipLayerNormalization", [g.input("b", "s", WIDTH), g.input(*skip, WIDTH), weight, bias])
    x, skip = g.input("b", "s", WIDTH), g.input("b", "s", WIDTH)
    some = [np.float32, None, None, np.float32]
    g.node("SkipLayerNormalization", [x, skip, weight, bias, bias], some, epsilon=1e-3)
    g.node("SkipLayerNormalization", [x, skip, weight])
    g.node("SkipSimplifiedLayerNormalization", [x, skip, weight], epsilon=1e-5)
    g.node("SkipSimplifiedLayerNormalization", [x, skip, weight, bias], some)
    flat = g.input("s", WIDTH), g.input("s", WIDTH)
    g.node("SkipSimplifiedLayerNormalization", [*flat, weight], some)
    g.node("SimplifiedLayerNormalization", [x, weight], domain="", axis=-1, epsilon=1e-6, stash_type=1)
    g.node("SimplifiedLayerNormalization", [x, weight], [np.float32, np.float32], domain="")
    g.check(tmp_path, *CALLS)


def words(count, *dims):
    random = np.random.default_rng(1)
    return lambda sizes: random.integers(0, count, [sizes.get(d, d) for d in dims])


def padding(sizes):
    mask = np.ones((sizes["b"], sizes["s"]))
    mask[0, sizes["s"] // 2 + 1 :] = 0
    return mask


@pytest.mark.parametrize("segments", [True, False])
@pytest.mark.parametrize("positions", [None, ("b", "s"), (1, "s")])
def test_embeddings(segments, positions, tmp_path):
    g = Graph()
    dims = {"make": words(7, "b", "s"), "dtype": np.int32}
    ids, kinds = g.input("b", "s", **dims), g.input("b", "s", make=words(2, "b", "s"), dtype=np.int32)
    mask = g.input("b", "s", make=padding, dtype=np.int32)
    tables = [g.constant(g.normal(n, WIDTH)) for n in (7, 9, 2)]
    norm = [g.constant(g.normal(WIDTH)), g.constant(g.normal(WIDTH))]
    places = positions and g.input(*positions, make=words(9, *positions), dtype=np.int32)
    first = [ids, kinds if segments else None, *tables[:2], tables[2] if segments else None, *norm]
    g.node(
        "EmbedLayerNormalization", [*first, mask, places], [np.float32, np.int32, np.float32], epsilon=1e-5
    )
    g.node("EmbedLayerNormalization", [*first, None, places], [np.float32, np.int32])
    g.check(tmp_path, *CALLS)


def test_products(tmp_path):
    g = Graph()
    g.node("FusedMatMul", [g.input("b", "s", WIDTH), g.constant(g.normal(WIDTH, 8))], alpha=0.5)
    g.node("FusedMatMul", [g.input("b", "s", WIDTH), g.constant(g.normal(8, WIDTH))], transB=1)
    g.node("FusedMatMul", [g.input("b", 3, "s"), g.input("b", 3, 4)], transA=1, alpha=-2.0)
    g.node("FusedMatMul", [g.input("b", 2, 3, "s"), g.input("b", 2, 4, 3)], transA=1, transB=1)
    g.node("FusedMatMul", [g.input("b", 3, "s", 4), g.input(3, "s", 4, 5)], transBatchA=1)
    g.node("FusedMatMul", [g.input(3, "b", 4), g.input(4, "b", 5)], transBatchA=1, transBatchB=1)
    g.node(
        "FusedMatMul", [g.input(3, "b", 4, "s"), g.input("b", 4, 3, 5)], transBatchA=1, transA=1, alpha=3.0
    )
    g.node("FusedMatMul", [g.input(6), g.input(6, "s")], transA=1)
    g.check(tmp_path, {"b": 4, "s": 3}, {"b": 4, "s": 1})


def test_fused_functions(tmp_path):
    g = Graph()
    weight, bias = g.constant(g.normal(WIDTH, 8)), g.constant(g.normal(8))
    for name, attributes in {
        "Relu": {},
        "Tanh": {"transB": 1},
        "LeakyRelu": {"activation_alpha": 0.3},
        "HardSigmoid": {"activation_alpha": 0.1, "activation_beta": 0.4},
    }.items():
        table = g.constant(g.normal(8, WIDTH)) if "transB" in attributes else weight
        g.node("FusedGemm", [g.input("b", WIDTH), table, bias], activation=name, **attributes)
    kernel = g.constant(g.normal(4, 3, 3, 3))
    image = g.input("b", 3, 6, 6)
    g.node("FusedConv", [image, kernel, g.constant(g.normal(4))], activation="Relu", pads=[1] * 4)
    added = g.input("b", 4, 4, 4)
    g.node("FusedConv", [image, kernel, None, added], activation="LeakyRelu", activation_params=[0.2])
    g.node("FusedConv", [image, kernel], activation="Clip", activation_params=[-0.5, 0.5])
    g.check(tmp_path, *CALLS)


def positions(limit):
    return lambda sizes: np.random.default_rng(2).integers(0, limit, (sizes["b"], sizes["s"]))


@pytest.mark.parametrize("interleaved", [0, 1])
def test_rotary(interleaved, tmp_path):
    g = Graph()
    caches = [g.constant(g.normal(12, 8)), g.constant(g.normal(12, 8))]
    place = g.input("b", "s", make=positions(12), dtype=np.int64)
    first = g.input(1, make=lambda sizes: [3], dtype=np.int64)
    for at in (place, first):
        g.node("RotaryEmbedding", [g.input("b", "s", 48), at, *caches], interleaved=interleaved)
        g.node("RotaryEmbedding", [g.input("b", 3, "s", 16), at, *caches], interleaved=interleaved)
    part = {"interleaved": interleaved, "rotary_embedding_dim": 16, "num_heads": 2}
    g.node("RotaryEmbedding", [g.input("b", "s", 48), place, *caches], **part)
    g.check(tmp_path, *CALLS)


@pytest.mark.parametrize("interleaved", [0, 1])
def test_own_rotary(interleaved, tmp_path):
    g = Graph(23)
    caches = [g.constant(g.normal(12, 4)), g.constant(g.normal(12, 4))]
    place = g.input("b", "s", make=positions(12), dtype=np.int64)
    common = {"domain": "", "interleaved": interleaved}
    g.node("RotaryEmbedding", [g.input("b", "s", 24), *caches, place], num_heads=3, **common)
    g.node("RotaryEmbedding", [g.input("b", 3, "s", 8), *caches, place], **common)
    own = [g.input("b", "s", 4), g.input("b", "s", 4)]
    g.node("RotaryEmbedding", [g.input("b", 3, "s", 8), *own], **common)
    g.node("RotaryEmbedding", [g.input("b", "s", 36), *own], num_heads=3, rotary_embedding_dim=8, **common)
    g.check(tmp_path, *CALLS)


def test_refusals(tmp_path):
    g = Graph()
    x, weight = g.input("b", "s", WIDTH), g.constant(g.normal(WIDTH))
    g.node("SkipLayerNormalization", [x, x, weight], [np.float32, np.float32])
    refused(g, tmp_path, "SkipLayerNormalization node 'node0'", "'mean'")
    g = Graph()
    caches = [g.constant(g.normal(12, 8)), g.constant(g.normal(12, 8))]
    place = g.input("b", "s", make=positions(12), dtype=np.int64)
    g.node("RotaryEmbedding", [g.input("b", "s", 48), place, *caches], scale=2.0)
    refused(g, tmp_path, "RotaryEmbedding node 'node0'", "'scale' = 2")


def test_graphs_keep_the_nodes(tmp_path):
    """What is written as ONNX has the operators of the file."""
    g = Graph()
    g.node("BiasGelu", [g.input("b", "s", WIDTH), g.constant(g.normal(WIDTH))])
    onnx.save(g.model(), tmp_path / "model.onnx")
    product.opt(tmp_path / "model.onnx", "-o", tmp_path / "same.onnx")
    assert [n.op_type for n in onnx.load(tmp_path / "same.onnx").graph.node] == ["BiasGelu"]
    said = product.call(
        "adapter-opt", tmp_path / "model.onnx", "--adapter-expand-operators", "-o", tmp_path / "other.onnx"
    )
    assert said.returncode == 1 and "operator set 25" in said.stderr
