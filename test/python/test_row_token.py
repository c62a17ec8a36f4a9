# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Adapters by token: each position of a row has what its own adapters make of it; attention mixes them."""

import numpy as np
import product
import pytest
import torch
import zoo
from tolerance import assert_agrees

# Tokens of three rows: both adapters, none, in runs and alone.
NAMES = [["a"] * 5 + [None] * 3 + ["b"] * 4, [None] * 12, ["b", "a"] * 6]


def shares_of(names):
    """For "a" and "b" a tensor [rows, tokens, 1] with 1 where the token has the adapter."""
    return [torch.tensor([[[float(each == name)] for each in row] for row in names]) for name in "ab"]


def expected(oracle, architecture, method, shares):
    model = oracle.mixed(architecture, method, shares)
    with torch.no_grad():
        return zoo.forward(model, zoo.inputs(architecture, zoo.FEEDS["wide"])).numpy()


def compiled(oracle, tmp_path, architecture, exporter, method):
    base = oracle.export(architecture, exporter)
    adapters = {name: oracle.adapter(architecture, method, seed) for seed, name in ((1, "a"), (2, "b"))}
    given = [f"--adapter={name}={each.folder}@row-token" for name, each in adapters.items()]
    product.opt(base, *given, "-o", tmp_path / "m.adapt")
    return oracle.feed_of(base, architecture, "wide"), adapters


@pytest.mark.parametrize(
    "architecture, method",
    [("llama", "plain"), ("llama", "dora"), ("gpt2", "plain"), ("llama", "embedding"), ("bert", "one_layer")],
)
@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
def test_each_token_has_its_own(oracle, tmp_path, architecture, exporter, method):
    feed, adapters = compiled(oracle, tmp_path, architecture, exporter, method)
    base = oracle.base(architecture)["wide"]
    model = product.package().load(str(tmp_path / "m.adapt"), threads=2)
    reference = expected(oracle, architecture, method, shares_of(NAMES))
    assert_agrees(model(**feed, adapters=NAMES)["logits"], reference, base)
    # A row's adapter is that of all its tokens.
    for name in "ab":
        assert_agrees(model(**feed, adapters=name)["logits"], adapters[name].outputs["wide"], base)
        y = model(**feed, adapters=[[name] * 12] * 3)["logits"]
        assert_agrees(y, adapters[name].outputs["wide"], base)
    rows = "/".join(["a"] * 5 + ["-"] * 3 + ["b"] * 4), "/".join("-" * 12), "/".join("ba" * 6)
    y = product.run(tmp_path / "m.adapt", feed, tmp_path, "--row-adapters", ",".join(rows))["logits"]
    assert_agrees(y, reference, base)


def test_shares_by_token(oracle, tmp_path):
    feed, _ = compiled(oracle, tmp_path, "llama", "dynamo", "plain")
    model = product.package().load(str(tmp_path / "m.adapt"), threads=2)
    weights = np.random.default_rng(1).random((2, 3, 12, 1), dtype=np.float32)
    reference = expected(oracle, "llama", "plain", list(torch.tensor(weights)))
    names = [[{"a": weights[0, i, j, 0], "b": weights[1, i, j, 0]} for j in range(12)] for i in range(3)]
    assert_agrees(model(**feed, adapters=names)["logits"], reference, oracle.base("llama")["wide"])


def test_a_slot_by_token(oracle, tmp_path):
    """Room is left out where tokens cannot be told apart: behind BERT's pooler."""
    base = oracle.export("bert", "dynamo")
    product.opt(base, "--adapter-slot=s:lora+add+replace@row-token", "-o", tmp_path / "m.adapt")
    model = product.package().load(str(tmp_path / "m.adapt"), threads=2)
    adapters = {name: oracle.adapter("bert", "one_layer", seed) for seed, name in ((1, "a"), (2, "b"))}
    for name, each in adapters.items():
        model.load_adapter(name, each.folder)
    y = model(**oracle.feed_of(base, "bert", "wide"), adapters=NAMES)["logits"]
    assert_agrees(y, expected(oracle, "bert", "one_layer", shares_of(NAMES)), oracle.base("bert")["wide"])
    with pytest.raises(ValueError, match="by token"):
        model.load_adapter("c", oracle.adapter("bert", "head_saved", 1).folder)


def test_what_cannot_differ_by_token_is_refused(oracle, tmp_path):
    for architecture, method, says in (("bert", "bias_all", "by token"), ("bert", "head_saved", "by token")):
        base, adapter = oracle.export(architecture, "dynamo"), oracle.adapter(architecture, method, 1)
        output = tmp_path / "m.adapt"
        product.refused(
            "adapter-opt", base, f"--adapter=a={adapter.folder}@row-token", "-o", output, mentions=[says]
        )
        assert not output.exists()


def test_wrong_requests_are_refused(oracle, tmp_path):
    feed, adapters = compiled(oracle, tmp_path, "llama", "dynamo", "plain")
    model = product.package().load(str(tmp_path / "m.adapt"))
    for names, says in (
        ([["a"] * 11] * 3, "11 adapters are named for the 12 tokens"),
        ([["a"] * 12] * 2, "2 adapters are named for 3 rows"),
        ([["a"] * 12, ["a"] * 11, ["a"] * 12], "same number of tokens"),
        ([["c"] * 12] * 3, "no adapter 'c'"),
    ):
        with pytest.raises(ValueError, match=says):
            model(**feed, adapters=names)
    base = oracle.export("llama", "dynamo")
    product.opt(base, f"--adapter=a={adapters['a'].folder}@row", "-o", tmp_path / "row.adapt")
    model = product.package().load(str(tmp_path / "row.adapt"))
    with pytest.raises(ValueError, match="cannot differ by token; compile it with @row-token"):
        model(**feed, adapters=[["a"] * 12] * 3)
    inputs = []
    for name, value in feed.items():
        np.save(tmp_path / f"{name}.npy", value)
        inputs += ["--input", f"{name}={tmp_path}/{name}.npy"]
    rows = ["--row-adapters", "a/a,a/a/a,-/-"]
    product.refused("adapter-run", tmp_path / "row.adapt", *inputs, *rows, code=2, mentions=["2 tokens"])


def test_tokens_of_packed_input(oracle, tmp_path):
    """Prompts of several requests in one row, each token with its request's adapter."""
    feed, _ = compiled(oracle, tmp_path, "llama", "dynamo", "plain")
    one = {name: value[:1] for name, value in feed.items()}
    model = product.package().load(str(tmp_path / "m.adapt"), threads=1)
    y = model(**one, adapters=NAMES[:1])["logits"]
    assert_agrees(y, model(**feed, adapters=NAMES)["logits"][:1])
