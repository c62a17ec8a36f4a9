# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Attention of compiled code against onnxruntime, at sizes around each block of queries and keys."""

import itertools

import numpy as np
import onnxruntime
import product
import pytest
from attention_graphs import Attention

ao = product.package()
INFINITE = -np.inf

# Masks as exporters make them, and what may stand between the products.
KINDS = {
    "plain": Attention(),
    "own heads": Attention(shared=4),
    "one head of keys": Attention(heads=6, shared=1),
    "widths that fill no vector": Attention(width=20, value_width=33),
    "wide": Attention(heads=2, shared=1, width=128, value_width=128),
    "lowest": Attention(mask=("b", 1, "t", "s")),
    "infinite": Attention(mask=("b", 1, "t", "s"), hidden=INFINITE),
    "guarded": Attention(mask=("b", 1, "t", "s"), hidden=INFINITE, guard=True),
    "by key": Attention(mask=("b", 1, 1, "s")),
    "one for all rows": Attention(mask=(1, 1, "t", "s")),
    "of rank 2": Attention(mask=("t", "s")),
    "by head": Attention(mask=("b", "h", "t", "s"), hidden=-2.0),
    "a bias and a mask": Attention(mask=("b", 1, "t", "s"), bias=True),
    "capped": Attention(softcap=3.0, mask=("b", 1, "t", "s")),
    "both operands scaled": Attention(where="both", turned="matrices"),
    "keys scaled": Attention(where="keys"),
    "keys turned at once": Attention(shared=4, turned="apart"),
}
SIZES = {
    "one": (1, 1, 1),
    "a step": (2, 1, 70),
    "some": (3, 5, 9),
    "many": (2, 40, 40),
    "steps": (1, 33, 200),
}
DEFAULT = {("guarded", "steps"), ("a bias and a mask", "steps"), ("widths that fill no vector", "many")}


def cases():
    for kind, size in itertools.product(KINDS, SIZES):
        by_default = size == "some" or (kind, size) in DEFAULT
        yield pytest.param(kind, size, marks=() if by_default else pytest.mark.full, id=f"{kind}-{size}")


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """(graph, artifact) of a kind for a target, made once."""
    made = {}

    def get(kind, target="cpu"):
        if (kind, target) not in made:
            folder = tmp_path_factory.mktemp("attention")
            graph = KINDS[kind].graph(folder / "graph.onnx")
            made[kind, target] = graph, ao.compile(graph, target=target, threads=2)
        return made[kind, target]

    return get


def theirs(graph, inputs):
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    return session.run(None, inputs)[0]


def assert_same(mine, wanted):
    assert np.isnan(mine).tolist() == np.isnan(wanted).tolist()
    assert np.nanmax(np.abs(mine - wanted), initial=0) < 1e-5


@pytest.mark.parametrize("kind, size", cases())
def test_attention_is_the_graph_s(compiled, kind, size):
    graph, model = compiled(kind)
    inputs = KINDS[kind].inputs(*SIZES[size])
    assert_same(model(**inputs)["y"], theirs(graph, inputs))


# One less, as many, and one more than the keys of a step and the queries of a block, for each target.
@pytest.mark.parametrize("target", ["cpu:x86-64-v3", "cpu:x86-64-v4"])
def test_sizes_around_blocks(compiled, target):
    kind = "guarded"
    try:
        graph, model = compiled(kind, target)
    except ValueError as error:
        pytest.skip(str(error))
    for keys in (15, 16, 17, 31, 32, 33, 47, 48, 49, 63, 64, 65, 95, 96, 97, 193):
        inputs = KINDS[kind].inputs(2, 3, keys, seed=keys)
        assert_same(model(**inputs)["y"], theirs(graph, inputs))
    for queries in (11, 12, 13, 15, 16, 17, 23, 24, 25, 27, 28, 29, 33):
        inputs = KINDS[kind].inputs(1, queries, 50, seed=queries)
        assert_same(model(**inputs)["y"], theirs(graph, inputs))


def test_numbers_that_are_none(compiled):
    """A query that is not a number stays with itself; infinite keys are seen as the graph sees them."""
    graph, model = compiled("lowest")
    inputs = KINDS["lowest"].inputs(2, 3, 9)
    inputs["q"][0, 1, 2] = np.nan
    wanted = theirs(graph, inputs)
    assert np.isnan(wanted).any() and not np.isnan(wanted).all()
    assert_same(model(**inputs)["y"], wanted)
    inputs["k"][1, 0, 0, 0] = np.inf
    assert_same(model(**inputs)["y"], theirs(graph, inputs))


def test_a_row_s_result_does_not_depend_on_others(compiled):
    """Nor on threads: the same bits."""
    graph, model = compiled("lowest")
    inputs = KINDS["lowest"].inputs(5, 37, 130)
    whole = model(**inputs)["y"]
    single = ao.compile(graph, threads=1)
    assert single(**inputs)["y"].tobytes() == whole.tobytes()
    for row in range(5):
        alone = model(**{name: array[row : row + 1] for name, array in inputs.items()})["y"]
        assert alone.tobytes() == whole[row : row + 1].tobytes()


def test_a_mask_that_does_not_fit(compiled):
    _, model = compiled("lowest")
    inputs = KINDS["lowest"].inputs(2, 3, 9)
    inputs["mask"] = inputs["mask"][:1]
    with pytest.raises(ValueError, match="'b' is"):
        model(**inputs)
