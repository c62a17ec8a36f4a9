# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Attention in compiled code, held against ONNX Runtime: MultiHeadAttention, Attention, GroupQueryAttention
of the domain com.microsoft, over their masks, caches and attributes."""

import numpy as np
import onnx
import product
import pytest
from contrib import Graph, refused

HEADS, SIZE = 4, 8
WIDTH = HEADS * SIZE
# New tokens s, keys of another sequence l, what came before p, all keys t.
CALLS = [{"b": 2, "s": 5, "l": 7, "p": 3, "t": 8}, {"b": 1, "s": 1, "l": 1, "p": 4, "t": 5}]


def shown(*dims):
    """A mask of ones whose first row, if there is another, has zeros behind the third key."""

    def make(sizes):
        mask = np.ones([sizes[d] for d in dims])
        if len(mask) > 1:
            mask[0, ..., 3:] = 0
        return mask

    return make


def mask(g, *dims):
    return g.input(*dims, make=shown(*dims), dtype=np.int32)


def lengths(limit):
    return lambda sizes: [sizes[limit] - (i == 0 and sizes["b"] > 1) for i in range(sizes["b"])]


def cache(g, heads=HEADS):
    return [g.input("b", heads, "p", SIZE), g.input("b", heads, "p", SIZE)]


def qkv(g, length="s", heads=HEADS, value=WIDTH):
    return [g.input("b", "s", WIDTH), g.input("b", length, heads * SIZE), g.input("b", length, value)]


THREE = [np.float32] * 3


def test_multi_head(tmp_path):
    g = Graph()
    g.node("MultiHeadAttention", qkv(g), num_heads=HEADS)
    g.node("MultiHeadAttention", qkv(g, "l", value=WIDTH // 2), num_heads=HEADS, scale=0.2)
    g.node("MultiHeadAttention", [*qkv(g), g.constant(g.normal(3 * WIDTH))], THREE, num_heads=HEADS)
    g.node("MultiHeadAttention", [*qkv(g), None, mask(g, "b", "s")], num_heads=HEADS, unidirectional=1)
    g.node(
        "MultiHeadAttention", [*qkv(g, "l"), None, mask(g, "b", "l")], num_heads=HEADS, mask_filter_value=-3.0
    )
    g.node("MultiHeadAttention", [*qkv(g, "l"), None, mask(g, "b", "s", "l")], num_heads=HEADS)
    short = g.input("b", make=lengths("l"), dtype=np.int32)
    g.node("MultiHeadAttention", [*qkv(g, "l"), None, short], num_heads=HEADS)
    for dims in [("b", HEADS), (1, HEADS), ("b", 1), (1, 1)]:
        more = [None, mask(g, "b", "l"), g.input(*dims, "s", "l")]
        g.node("MultiHeadAttention", [*qkv(g, "l"), *more], num_heads=HEADS)
    g.check(tmp_path, *CALLS)


def test_multi_head_with_past(tmp_path):
    g = Graph()
    g.node(
        "MultiHeadAttention", [*qkv(g), None, None, None, *cache(g)], THREE, num_heads=HEADS, unidirectional=1
    )
    more = [g.constant(g.normal(3 * WIDTH)), mask(g, "b", "t"), g.input("b", HEADS, "s", "t")]
    g.node("MultiHeadAttention", [*qkv(g), *more, *cache(g)], THREE, num_heads=HEADS)
    g.node("MultiHeadAttention", [*qkv(g), None, None, None, *cache(g)], [np.float32] * 4, num_heads=HEADS)
    # Keys and values of an encoder, with their heads in front.
    other = [g.input("b", "s", WIDTH), g.input("b", HEADS, "l", SIZE), g.input("b", HEADS, "l", SIZE)]
    g.node("MultiHeadAttention", other, num_heads=HEADS)
    g.node("MultiHeadAttention", [*other, None, mask(g, "b", "l")], num_heads=HEADS)
    g.check(tmp_path, *CALLS)


def test_hidden_rows(tmp_path):
    """Padding on the left: queries all of whose keys are hidden have results, too."""
    g = Graph()
    left = g.input("b", "s", make=lambda sizes: shown("b", "s")(sizes)[:, ::-1], dtype=np.int32)
    g.node("MultiHeadAttention", [*qkv(g), None, left], num_heads=HEADS)
    g.node("MultiHeadAttention", [*qkv(g), None, left], num_heads=HEADS, unidirectional=1)
    g.check(tmp_path, *CALLS)


def packed(g, width=3 * WIDTH, bias=True):
    weight = g.constant(g.normal(WIDTH, width) / 4)
    return [g.input("b", "s", WIDTH), weight, g.constant(g.normal(width)) if bias else None]


def test_packed(tmp_path):
    g = Graph()
    g.node("Attention", packed(g), num_heads=HEADS)
    g.node("Attention", packed(g), num_heads=HEADS, unidirectional=1, scale=0.3)
    g.node("Attention", [*packed(g), mask(g, "b", "s")], num_heads=HEADS)
    g.node("Attention", [*packed(g), mask(g, "b", "s", "s")], num_heads=HEADS, unidirectional=1)
    short = g.input("b", make=lengths("s"), dtype=np.int32)
    g.node("Attention", [*packed(g), short], num_heads=HEADS)
    sizes = [WIDTH, WIDTH, WIDTH // 2]
    g.node("Attention", packed(g, sum(sizes)), num_heads=HEADS, qkv_hidden_sizes=sizes)
    g.node("Attention", [*packed(g), None, None, g.input("b", HEADS, "s", "s")], num_heads=HEADS)
    past = g.input(2, "b", HEADS, "p", SIZE)
    two = [np.float32, np.float32]
    g.node("Attention", [*packed(g), None, past], two, num_heads=HEADS, unidirectional=1)
    g.node("Attention", [*packed(g), mask(g, "b", "t"), past], two, num_heads=HEADS, unidirectional=1)
    g.node("Attention", packed(g), two, num_heads=HEADS)
    g.check(tmp_path, *CALLS)


def test_packed_with_starts(tmp_path):
    g = Graph()
    g.node(
        "Attention",
        [g.input(2, "s", WIDTH), *packed(g)[1:], g.constant(np.array([5, 4, 1, 0], np.int32))],
        num_heads=2,
    )
    g.node(
        "Attention",
        [g.input(2, "s", WIDTH), *packed(g)[1:], g.constant(np.ones((2, 1), np.int32))],
        num_heads=2,
    )
    g.check(tmp_path, {"b": 2, "s": 5})


SHARED, LONG = 2, 16  # heads of keys and values, size of a head: ONNX Runtime's rotary asks for 16


def group_query(g, packed=False, past=True):
    """The first seven inputs."""
    width = LONG * (HEADS + 2 * SHARED if packed else HEADS)
    first = [g.input("b", "s", width)]
    first += [None, None] if packed else [g.input("b", "s", LONG * SHARED), g.input("b", "s", LONG * SHARED)]
    before = [g.input("b", SHARED, "p", LONG), g.input("b", SHARED, "p", LONG)] if past else [None, None]
    last = g.input("b", make=lambda sizes: [n - 1 for n in sizes["held"]], dtype=np.int32)
    return [*first, *before, last, g.input(make=lambda sizes: sizes["t"], dtype=np.int32)]


def caches(g, half=LONG // 2):
    return [g.constant(g.normal(32, half)), g.constant(g.normal(32, half))]


def own_positions(array, feed, sizes):
    """Of results each row's own tokens, and of caches what the row holds: the rest is nobody's."""
    isPrompt = sizes["s"] == sizes["t"]
    axis = array.ndim - 2
    rows = []
    for row, held in zip(array, sizes["held"], strict=True):
        count = held if axis == 2 or isPrompt else array.shape[1]
        rows.append(np.take(row, range(count), axis - 1).ravel())
    return np.concatenate(rows)


PROMPT = {"b": 2, "s": 5, "p": 0, "t": 5, "held": [5, 5]}
PADDED = {"b": 2, "s": 5, "p": 0, "t": 5, "held": [3, 5]}
STEP = {"b": 2, "s": 1, "p": 5, "t": 6, "held": [6, 6]}
UNEQUAL = {"b": 2, "s": 1, "p": 5, "t": 6, "held": [4, 6]}
ROOMY = {"b": 2, "s": 1, "p": 9, "t": 6, "held": [4, 6]}
CHUNK = {"b": 1, "s": 3, "p": 4, "t": 7, "held": [7]}
ALL = [PROMPT, PADDED, STEP, UNEQUAL, ROOMY, CHUNK, {**PROMPT, "p": 8}]
COMMON = {"num_heads": HEADS, "kv_num_heads": SHARED}


def test_group_query(tmp_path):
    g = Graph()

    def node(inputs, **attributes):
        g.node("GroupQueryAttention", inputs, THREE, keep=own_positions, **COMMON, **attributes)

    node(group_query(g))
    node(group_query(g, packed=True), scale=0.3, softcap=0.7)
    node([*group_query(g, packed=True), *caches(g)], do_rotary=1)
    node([*group_query(g), *caches(g, 4 * 2)], do_rotary=1, rotary_interleaved=1)
    node([*group_query(g), *caches(g)], do_rotary=1, local_window_size=2)
    node(group_query(g), local_window_size=4, softcap=0.7)
    g.check(tmp_path, *ALL)


def test_group_query_without_past(tmp_path):
    g = Graph()
    for packed in (False, True):
        inputs = [*group_query(g, packed, past=False), *caches(g)]
        for results in (THREE, THREE[:1]):
            g.node("GroupQueryAttention", inputs, results, keep=own_positions, do_rotary=1, **COMMON)
    g.check(tmp_path, PROMPT, PADDED, {"b": 1, "s": 1, "t": 1, "held": [1]})


def test_group_query_positions(tmp_path):
    """A prompt's positions count from the first one of the batch; those of a step are each row's own."""
    g = Graph()
    place = g.input("b", "s", make=lambda sizes: 3 + 2 * np.arange(sizes["b"] * sizes["s"]), dtype=np.int64)
    inputs = [*group_query(g), *caches(g), place]
    g.node("GroupQueryAttention", inputs, THREE, keep=own_positions, do_rotary=1, **COMMON)
    g.check(tmp_path, PROMPT, STEP, UNEQUAL, CHUNK)


def test_group_query_biases_and_sinks(tmp_path):
    g = Graph()

    def node(inputs, **attributes):
        g.node("GroupQueryAttention", inputs, THREE, keep=own_positions, **COMMON, **attributes)

    for dims in [("b", HEADS), (1, 1)]:
        node([*group_query(g), None, None, None, g.input(*dims, "s", "t")], softcap=0.7)
    sinks = g.constant(g.normal(HEADS))
    node([*group_query(g), None, None, None, None, sinks])
    node([*group_query(g), *caches(g), None, None, sinks], do_rotary=1, local_window_size=2, softcap=0.7)
    node(group_query(g), smooth_softmax=1)
    g.check(tmp_path, PROMPT, PADDED, STEP, UNEQUAL, CHUNK)


def test_group_query_to_both_sides(tmp_path):
    g = Graph()
    g.node("GroupQueryAttention", group_query(g), THREE, keep=own_positions, causal=0, **COMMON)
    g.check(tmp_path, PROMPT, PADDED, STEP, UNEQUAL, CHUNK)


def resident(tokens, room, window):
    """How many positions a cache of a window holds behind so many tokens, as ONNX Runtime says."""
    step = room - window + 1
    return tokens if tokens <= room else tokens - step * -(-(tokens - room) // step)


@pytest.mark.parametrize("window, room", [(3, 5), (3, 3), (2, 6)])
def test_windows_that_slide(window, room, tmp_path):
    """Caches that keep their size, from one call to the next."""

    def kept(array, feed, sizes):
        if array.ndim == 3:
            return array
        return array[:, :, : resident(sizes["held"][0], room, window)]

    g = Graph()
    inputs = [*group_query(g), *caches(g)]
    attributes = {"do_rotary": 1, "local_window_size": window, "sliding_window_cache": 1}
    g.node("GroupQueryAttention", inputs, THREE, keep=kept, **attributes, **COMMON)
    calls, held = [], {1: 0, 2: 0}
    for rows, tokens in [(2, 4), (1, 4), (2, 1), (1, 3), (2, 1), (1, 1), (2, 1), (1, 7), (2, 1), (1, 2)]:
        held[rows] += tokens
        calls.append({"b": rows, "s": tokens, "p": room, "t": held[rows], "held": [held[rows]] * rows})
    # What the caches hold is as good as any.
    g.check(tmp_path, *calls)


@pytest.mark.parametrize("window", [None, 3])
def test_calls_that_do_not_fit(window, tmp_path):
    """Lengths and caches come with the call: what they contradict is an error, and never a read beyond."""
    g = Graph()
    attributes = {"local_window_size": window, "sliding_window_cache": 1} if window else {}
    g.node("GroupQueryAttention", [*group_query(g), *caches(g)], THREE, do_rotary=1, **attributes, **COMMON)
    onnx.save(g.model(), tmp_path / "model.onnx")
    product.opt(tmp_path / "model.onnx", "-o", tmp_path / "model.adapt")
    model = product.package().load(str(tmp_path / "model.adapt"))
    last = list(g.inputs)[5]
    good = g.feed(STEP)
    assert np.isfinite(model(good)["y0_0"]).all()
    wrong = [{**good, last: np.array([-9, 5], np.int32)}, {**good, last: np.array([40, 5], np.int32)}]
    # No room for the window, or a past that is not there.
    wrong.append(g.feed({**STEP, "p": 2}))
    for feed in wrong:
        with pytest.raises(ValueError, match="node0/.*(do not fit|outside)"):
            model(feed)


def test_refusals(tmp_path):
    cases = [
        ({}, {12: (1,)}, "'k_scale'"),
        ({"k_quant_type": "PER_TENSOR"}, {}, "'k_quant_type'"),
        ({"causal": 0, "local_window_size": 3}, {}, "'local_window_size'"),
        ({"sliding_window_cache": 1}, {}, "'sliding_window_cache'"),
    ]
    for number, (attributes, more, text) in enumerate(cases):
        g = Graph()
        inputs = group_query(g)
        inputs += [None] * (max(more, default=0) + 1 - len(inputs))
        for at, shape in more.items():
            inputs[at] = g.input(*shape)
        g.node("GroupQueryAttention", inputs, THREE, **attributes, **COMMON)
        folder = tmp_path / str(number)
        folder.mkdir()
        refused(g, folder, "GroupQueryAttention node 'node0'", text)
    g = Graph()
    g.node("Attention", packed(g), num_heads=HEADS, do_rotary=1)
    refused(g, tmp_path, "Attention node 'node0'", "'do_rotary' = 1")
    g = Graph()
    g.node("MultiHeadAttention", [g.input("b", "s", HEADS, 3, SIZE)], num_heads=HEADS)
    refused(g, tmp_path, "MultiHeadAttention node 'node0'", "packed")
