# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Graphs of GenAI's model builder, compiled: a prompt and steps behind it against ONNX Runtime on the same
file, adapters of PEFT at each time against PEFT on the model that was built."""

import genai
import numpy as np
import onnx
import onnxruntime
import product
import pytest
from tolerance import assert_agrees, assert_rows_agree

ALL = [pytest.param(name, marks=[] if name == "llama" else pytest.mark.full) for name in genai.MODELS]
ROWS, TOKENS = 3, 7


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    made = {}

    def get(name):
        if name not in made:
            folder = tmp_path_factory.mktemp(name)
            made[name] = genai.Built(name, folder).adapter("a", 4).adapter("b", 6, lora_alpha=12)
        return made[name]

    return get


def tokens(length, seed=0, rows=ROWS):
    return np.random.default_rng(seed).integers(3, 128, (rows, length))


def resident(tokens, room, window):
    step = room - window + 1
    return tokens if tokens <= room else tokens - step * -(-(tokens - room) // step)


def agrees(model, compiled, feed, want, held=None):
    """Logits and caches. `held`: how many tokens each row has, where they are not as many; what lies behind
    them is nobody's."""
    got = compiled(feed)
    total = feed["attention_mask"].shape[1]
    assert got.keys() == want.keys()
    for name, expected in want.items():
        assert got[name].shape == expected.shape, name
        for row, (y, reference) in enumerate(zip(got[name], expected, strict=True)):
            count = total if held is None else held[row]
            if name == "logits":
                count = min(count, len(y)) if len(y) > 1 else 1
            elif int(name.split(".")[1]) in model.sliding:
                count = resident(total, model.window, model.window)
            assert_agrees(y[..., :count, :], reference[..., :count, :], tolerance=2e-5)
    return got


@pytest.mark.parametrize("name", ALL)
def test_prompt_and_steps(built, name):
    """Rows of one length; each step takes what ours, and theirs, have handed on."""
    model, compiled = built(name), built(name).compile()
    feed = model.feed(tokens(TOKENS))
    want = model.reference(feed)
    agrees(model, compiled, feed, want)
    for step in range(4):
        mask = np.ones((ROWS, TOKENS + 1 + step), np.int64)
        feed = model.feed(tokens(1, seed=step), mask, want)
        want = model.reference(feed)
        agrees(model, compiled, feed, want)


@pytest.mark.parametrize("name", [param for param in ALL if param.values[0] not in ("gemma2", "mistral")])
def test_rows_of_unequal_length(built, name):
    """Prompts padded on the right; a step continues each row behind its own tokens."""
    model, compiled = built(name), built(name).compile()
    held = np.array([TOKENS, 4, 1])
    mask = (np.arange(TOKENS) < held[:, None]).astype(np.int64)
    feed = model.feed(tokens(TOKENS), mask)
    want = model.reference(feed)
    got = agrees(model, compiled, feed, want, held)
    held += 1
    mask = (np.arange(TOKENS + 1) < held[:, None]).astype(np.int64)
    want = model.reference(model.feed(tokens(1), mask, want))
    agrees(model, compiled, model.feed(tokens(1), mask, got), want, held)


@pytest.mark.parametrize("name", ALL)
def test_several_tokens_behind_a_prompt(built, name):
    model, compiled = built(name), built(name).compile()
    want = model.reference(model.feed(tokens(4, rows=1)))
    feed = model.feed(tokens(3, rows=1), np.ones((1, TOKENS), np.int64), want)
    agrees(model, compiled, feed, model.reference(feed))


def times(*default):
    all = ("build", "switch", "call", "row")
    return [
        pytest.param(name, time, marks=[] if (name, time) in default else pytest.mark.full)
        for name in genai.MODELS
        for time in all
    ]


@pytest.mark.parametrize("name, time", times(("llama", "row")))
def test_adapters(built, name, time):
    """By names alone: the projections that the builder joins are found apart."""
    model = built(name)
    compiled = model.compile(time, ("a",) if time == "build" else ("a", "b"))
    ids = tokens(TOKENS)
    feed, base = model.feed(ids), model.logits(None, ids)
    if time == "build":
        assert_agrees(compiled(feed)["logits"], model.logits("a", ids), base)
        return
    if time == "row":
        names = ["a", None, "b"]
        y = compiled(feed, adapters=names)["logits"]
        references = [model.logits(n, ids)[i] for i, n in enumerate(names)]
        assert_rows_agree(y, references, [base[i] if n else None for i, n in enumerate(names)])
        return
    assert_agrees(compiled(feed)["logits"], base)
    for adapter in ("b", "a"):
        if time == "switch":
            compiled.switch(adapter)
        y = compiled(feed, **({"adapters": adapter} if time == "call" else {}))["logits"]
        assert_agrees(y, model.logits(adapter, ids), base)


@pytest.mark.parametrize("name", ["llama"])
def test_rows_keep_their_adapters_over_steps(built, name):
    """What a row's adapter has made is in its cache, and goes on with it."""
    model, names = built(name), ["a", None, "b"]
    compiled, ids = model.compile("row"), tokens(TOKENS)
    first = compiled(model.feed(ids[:, :5]), adapters=names)
    feed = model.feed(ids[:, 5:6], np.ones((ROWS, 6), np.int64), first)
    second = compiled(feed, adapters=names)
    references = [model.logits(n, ids)[i, 5:6] for i, n in enumerate(names)]
    base = model.logits(None, ids)
    assert_rows_agree(
        second["logits"], references, [base[i, 5:6] if n else None for i, n in enumerate(names)]
    )


def test_merging_keeps_the_operators(built, tmp_path):
    """Into ONNX: the graph is the file's but for its weights, and ONNX Runtime runs it."""
    model = built("llama")
    product.opt(model.graph, f"--adapter=a={model.adapters['a'][0]}", "-o", tmp_path / "merged.onnx")
    before, after = (onnx.load(path).graph for path in (model.graph, tmp_path / "merged.onnx"))
    assert [n.op_type for n in before.node] == [n.op_type for n in after.node]
    ids = tokens(TOKENS)
    merged = onnxruntime.InferenceSession(str(tmp_path / "merged.onnx"), providers=["CPUExecutionProvider"])
    y = merged.run(["logits"], model.feed(ids))[0]
    assert_agrees(y, model.logits("a", ids), model.logits(None, ids))


# The builder leaves Mistral's window to caches of that size, which are the runtime's; sessions keep all.
@pytest.mark.parametrize("name", [each for each in ALL if each.values[0] != "mistral"])
def test_sessions(built, name):
    """Rows of unequal length that begin at different times, each with its adapter; caches stay in place."""
    model = built(name)
    adapters = [f"--adapter={each}={model.adapters[each][0]}@row" for each in ("a", "b")]
    target = model.folder / "stateful.adapt"
    product.opt(model.graph, *adapters, "--stateful", "-o", target)
    compiled = product.package().load(str(target), threads=2)
    assert list(compiled.outputs) == ["logits"]
    session = compiled.session(max_length=40, batch=3)
    held, named = {0: [], 1: [], 2: []}, {0: "a", 1: None, 2: "b"}
    steps = [([0], [5]), ([1], [9]), ([0, 1], [1, 1]), ([0, 2, 1], [2, 12, 1]), ([2, 0, 1], [1, 1, 1])]
    for seed, (rows, counts) in enumerate(steps):
        parts = [tokens(count, seed=seed, rows=1)[0].tolist() for count in counts]
        logits = session(parts, rows=rows, adapters=[named[row] for row in rows])["logits"]
        for row, part, got in zip(rows, parts, logits, strict=True):
            held[row] += part
            want, base = (model.logits(each, [held[row]])[0, -len(part) :] for each in (named[row], None))
            assert_agrees(got[-len(part) :], want, base if named[row] else None)
    with pytest.raises(ValueError, match="open one for it"):
        compiled(model.feed(tokens(3)))


def test_compiled_twice_in_a_process(built):
    """What the first compilation tells ONNX's library of these operators changes nothing of the second."""
    model, ao = built("llama"), product.package()
    ids = tokens(TOKENS)
    first, second = (ao.compile(model.graph, threads=2)(model.feed(ids))["logits"] for _ in range(2))
    assert np.array_equal(first, second)


# Prompts and what follows stay within the windows that the builder leaves to the runtime.
@pytest.mark.parametrize("name", ALL)
def test_generated_tokens(built, name):
    """The best tokens one after the other are transformers' and PEFT's."""
    model, ao = built(name), product.package()
    adapter = ao.Adapter(model.adapters["a"][0], time="row")
    compiled = ao.compile(model.graph, {"a": adapter}, stateful=True, threads=2)
    texts = [tokens(count, seed=count, rows=1)[0].tolist() for count in (3, 2)]
    made = ao.generate(compiled, texts, [None, "a"], max_new_tokens=5, end_ids=[])
    for text, name, got in zip(texts, (None, "a"), made, strict=True):
        wanted = list(text)
        while len(wanted) < len(text) + 5:
            wanted.append(int(model.logits(name, [wanted])[0, -1].argmax()))
        assert got.ids == wanted[len(text) :]


@pytest.fixture(scope="module")
def narrow(tmp_path_factory):
    """A graph of 4-bit weights in blocks of 32, whose products take rows of 8 bits (accuracy level 4)."""
    model = genai.Built("llama", tmp_path_factory.mktemp("int4"), "int4").adapter("a", 4).adapter("b", 6)
    nodes = onnx.load(model.graph).graph.node
    assert sum(node.op_type == "MatMulNBits" for node in nodes) > 10
    return model


def test_int4_is_as_exact_as_onnxruntime(narrow):
    """Of the file's own weights: as exact as f32 with rows of f32, no worse than theirs with 8 bits."""
    ids = tokens(TOKENS)
    feed = narrow.feed(ids)
    product.opt(narrow.graph, "--activations", "f32", "-o", narrow.folder / "f32.adapt")
    exact = product.package().load(str(narrow.folder / "f32.adapt"), threads=2)(feed)["logits"]
    graph = onnx.load(narrow.graph)
    for node in graph.graph.node:
        for attribute in node.attribute:
            if attribute.name == "accuracy_level":
                attribute.i = 1
    onnx.save(graph, narrow.folder / "out" / "level1.onnx")
    session = onnxruntime.InferenceSession(
        str(narrow.folder / "out" / "level1.onnx"), providers=["CPUExecutionProvider"]
    )
    assert_agrees(exact, session.run(["logits"], feed)[0], tolerance=2e-5)
    ours = np.abs(narrow.compile()(feed)["logits"] - exact)
    theirs = np.abs(narrow.reference(feed)["logits"] - exact)
    assert ours.mean() <= 1.25 * theirs.mean() and ours.max() <= 2 * theirs.max()


@pytest.mark.parametrize("time", ["build", "switch", "row"])
def test_adapters_over_int4(narrow, time):
    """In sessions, beside the integers: what PEFT's adapter changes over the same weights."""
    adapters = [f"--adapter={each}={narrow.adapters[each][0]}@{time}" for each in ("a", "b")]
    target = narrow.folder / f"stateful-{time}.adapt"
    chosen = adapters[:1] if time == "build" else adapters
    product.opt(narrow.graph, *chosen, "--activations=f32", "--stateful", "-o", target)
    compiled = product.package().load(str(target), threads=2)
    if time == "switch":
        compiled.switch("a")
    named = {"build": ["a", "a"], "switch": ["a", "a"], "row": ["a", "b"]}[time]
    session = compiled.session(max_length=24, batch=2)
    parts = [tokens(6, rows=1)[0].tolist(), tokens(9, seed=1, rows=1)[0].tolist()]
    given = {"adapters": named} if time == "row" else {}
    session([part[:-1] for part in parts], **given)
    logits = session([part[-1:] for part in parts])["logits"][:, -1]
    for got, part, name in zip(logits, parts, named, strict=True):
        want, base = narrow.over_weights_of_file(name, [part])
        assert_agrees(got, want[0, -1], base[0, -1], tolerance=1e-4)
