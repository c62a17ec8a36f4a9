# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Adapters bound at call: one for a whole call, factors kept; and its scale and rank, which come with it."""

import matrix
import methods
import numpy as np
import onnx
import peft
import product
import pytest
import zoo
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save_file
from tolerance import assert_agrees, assert_rows_agree

FACTORS = (("A", (2, 4)), ("B", (4, 2)))


def compiled(oracle, tmp_path, architecture, exporter, time, adapters, *options):
    """The artifact, open, and its feed `wide`."""
    base = oracle.export(architecture, exporter)
    artifact = tmp_path / "call.adapt"
    given = [f"--adapter={name}={adapter.folder}@{time}" for name, adapter in adapters.items()]
    product.opt(base, *given, *options, "-o", artifact)
    model = product.package().load(str(artifact), threads=2)
    return model, oracle.feed_of(base, architecture, "wide")


@matrix.cases("call")
def test_call(oracle, tmp_path, architecture, exporter, method):
    adapters = {name: oracle.adapter(architecture, method, seed) for name, seed in (("a", 1), ("b", 2))}
    model, feed = compiled(oracle, tmp_path, architecture, exporter, "call", adapters)
    base = oracle.base(architecture)["wide"]
    assert_agrees(model(**feed)["logits"], base)
    for name in ("a", "b", "a"):
        assert_agrees(model(**feed, adapters=name)["logits"], adapters[name].outputs["wide"], base)
    assert_agrees(model(**feed)["logits"], base)


@pytest.mark.parametrize("architecture", zoo.ARCHITECTURES)
@pytest.mark.parametrize("size", ["one", "tall"])
def test_few_positions(oracle, tmp_path, architecture, size):
    """Fewer positions than threads, and one position a row."""
    adapters = {"a": oracle.adapter(architecture, "plain")}
    model, _ = compiled(oracle, tmp_path, architecture, "dynamo", "call", adapters)
    feed = oracle.feed_of(oracle.export(architecture, "dynamo"), architecture, size)
    y = model(**feed, adapters="a")["logits"]
    assert_agrees(y, adapters["a"].outputs[size], oracle.base(architecture)[size])


def test_all_rows_or_none(oracle, tmp_path):
    adapters = {"a": oracle.adapter("bert", "plain"), "b": oracle.adapter("bert", "plain", 2)}
    model, feed = compiled(oracle, tmp_path, "bert", "dynamo", "call", adapters)
    y = model(**feed, adapters=["a"] * 3)["logits"]
    assert_agrees(y, adapters["a"].outputs["wide"], oracle.base("bert")["wide"])
    for names in (["a", None, "a"], ["a", "b", "a"]):
        with pytest.raises(ValueError, match="all rows or on none"):
            model(**feed, adapters=names)
    with pytest.raises(ValueError, match="call"):
        model.switch("a")


@pytest.mark.parametrize("exporter", zoo.EXPORTERS)
def test_where_the_graph_has_no_rows(oracle, tmp_path, monkeypatch, exporter):
    """Positions are embedded once for all rows: one adapter of the call acts there, or those of rows."""
    config = peft.LoraConfig(r=3, lora_alpha=6, target_modules=["wpe", "c_attn"])
    monkeypatch.setitem(methods.METHODS, "positions", lambda architecture, seed: config)
    adapter, base = oracle.adapter("gpt2", "positions"), oracle.base("gpt2")["wide"]
    given = adapter.outputs["wide"]
    model, feed = compiled(oracle, tmp_path, "gpt2", exporter, "call", {"a": adapter})
    assert_agrees(model(**feed, adapters="a")["logits"], given, base)
    (tmp_path / "row").mkdir()
    model, feed = compiled(oracle, tmp_path / "row", "gpt2", exporter, "row", {"a": adapter})
    y = model(**feed, adapters=["a", None, "a"])["logits"]
    assert_rows_agree(y, [given[0], base[1], given[2]], [base[0], None, base[2]])
    assert_agrees(model(**feed)["logits"], base)


def test_what_is_one_for_all_rows_stays_so(tmp_path):
    """A result that no batch goes into cannot differ by row."""
    weight = np.eye(4, dtype=np.float32)
    table = np.arange(12, dtype=np.float32).reshape(3, 4)
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["table", "w"], ["y"], name="/q/MatMul"),
            helper.make_node("Identity", ["x"], ["z"]),
        ],
        "fixed",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [
            helper.make_tensor_value_info("y", TensorProto.FLOAT, [3, 4]),
            helper.make_tensor_value_info("z", TensorProto.FLOAT, ["n", 4]),
        ],
        [numpy_helper.from_array(table, "table"), numpy_helper.from_array(weight, "w")],
    )
    opsets = [helper.make_opsetid("", 20)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), tmp_path / "base.onnx")
    (tmp_path / "a").mkdir()
    tensors = {
        f"base_model.model.q.lora_{side}.weight": np.ones(shape, np.float32) for side, shape in FACTORS
    }
    save_file(tensors, tmp_path / "a" / "adapter_model.safetensors")
    config = '{"peft_type": "LORA", "r": 2, "lora_alpha": 2, "target_modules": ["q"]}'
    (tmp_path / "a" / "adapter_config.json").write_text(config)
    given = [tmp_path / "base.onnx", f"--adapter=a={tmp_path / 'a'}@row", "-o", tmp_path / "row.adapt"]
    product.refused("adapter-opt", *given, mentions=["a result of the graph", "bind the adapter at build"])


def test_call_and_row_in_one_artifact(oracle, tmp_path):
    a, b = (oracle.adapter("llama", "dora", seed) for seed in (1, 2))
    row = f"--adapter=b={b.folder}@row"
    model, feed = compiled(oracle, tmp_path, "llama", "torchscript", "call", {"a": a}, row)
    base = oracle.base("llama")["wide"]
    assert_agrees(model(**feed, adapters="a")["logits"], a.outputs["wide"], base)
    y = model(**feed, adapters=["b", None, "b"])["logits"]
    given = b.outputs["wide"]
    assert_rows_agree(y, [given[0], base[1], given[2]], [base[0], None, base[2]])


SETTINGS = [
    ("bert", "dynamo", "plain", "row"),
    ("bert", "torchscript", "lora_bias", "call"),
    ("bert", "dynamo", "embedding_dora", "row"),
    ("llama", "torchscript", "dora", "call"),
    ("llama", "dynamo", "embedding", "row"),
]


@pytest.mark.parametrize("architecture, exporter, method, time", SETTINGS)
def test_settings(oracle, tmp_path, architecture, exporter, method, time):
    """Scale and rank, each by itself and both, by call and as the command line sets them."""

    def expected(**settings):
        return oracle.adapter(architecture, method, **settings).outputs["wide"]

    base, bind = oracle.base(architecture)["wide"], ["--bind=a.rank@call", "--bind=a.scale@call"]
    adapters = {"a": oracle.adapter(architecture, method)}  # of rank 4
    model, feed = compiled(oracle, tmp_path, architecture, exporter, time, adapters, *bind)
    for scale in (0.7, 1.0, -0.3, 0.7):
        y = model(**feed, adapters="a", settings={"a.scale": scale})["logits"]
        assert_agrees(y, expected(scale=scale), base)
    for rank in (1, 3, 4, 1):
        y = model(**feed, adapters="a", settings={"a.rank": rank})["logits"]
        assert_agrees(y, expected(rank=rank), base)
    y = model(**feed, adapters="a", settings={"a.rank": 2, "a.scale": 0.5})["logits"]
    assert_agrees(y, expected(scale=0.5, rank=2), base)
    assert_agrees(model(**feed, adapters="a")["logits"], expected(), base)
    given = [tmp_path / "call.adapt", feed, tmp_path, "--adapter", "a"]
    y = product.run(*given, "--set", "a.scale=0.5", "--set", "a.rank=2")["logits"]
    assert_agrees(y, expected(scale=0.5, rank=2), base)


def test_settings_of_one_row_only(oracle, tmp_path):
    a, b = oracle.adapter("llama", "plain"), oracle.adapter("llama", "plain", 2)
    base, bind = oracle.base("llama")["wide"], "--bind=a.scale@call"
    model, feed = compiled(oracle, tmp_path, "llama", "dynamo", "row", {"a": a, "b": b}, bind)
    weaker = oracle.adapter("llama", "plain", scale=0.25).outputs["wide"]
    y = model(**feed, adapters=["b", "a", None], settings={"a.scale": 0.25})["logits"]
    assert_rows_agree(y, [b.outputs["wide"][0], weaker[1], base[2]], [base[0], base[1], None])
    # More settings than are kept.
    for step in range(20):
        model(**feed, adapters=["b", "a", None], settings={"a.scale": step / 10})
    y = model(**feed, adapters=["b", "a", None], settings={"a.scale": 0.25})["logits"]
    assert_rows_agree(y, [b.outputs["wide"][0], weaker[1], base[2]], [base[0], base[1], None])


def test_what_cannot_be_set(oracle, tmp_path):
    adapters = {"a": oracle.adapter("bert", "plain"), "b": oracle.adapter("bert", "plain", 2)}
    model, feed = compiled(oracle, tmp_path, "bert", "dynamo", "row", adapters, "--bind=a.rank@call")
    for settings, names, said in (
        ({"a.scale": 0.5}, "a", "--bind a.scale@call"),
        ({"a.rank": 5}, "a", "from 1 to 4"),
        ({"a.rank": 0}, "a", "from 1 to 4"),
        ({"a.rank": 1.5}, "a", "whole number"),
        ({"a.rank": 2}, "b", "names no adapter 'a'"),
        ({"nobody.rank": 2}, "b", "nobody"),
        ({"a.colour": 2}, "a", "a.colour"),
    ):
        with pytest.raises(ValueError, match=said.replace(".", r"\.")):
            model(**feed, adapters=names, settings=settings)


def test_scale_between_calls_of_a_switched_adapter(oracle, tmp_path):
    adapter = oracle.adapter("bert", "plain")
    model, feed = compiled(oracle, tmp_path, "bert", "dynamo", "switch", {"a": adapter})
    model.switch("a")
    model.set("a.scale", 0.5)
    weaker, base = oracle.adapter("bert", "plain", scale=0.5).outputs["wide"], oracle.base("bert")["wide"]
    assert_agrees(model(**feed)["logits"], weaker, base)
    model.set("a.scale", 1)
    model.set("a.rank", 2)
    assert_agrees(model(**feed)["logits"], oracle.adapter("bert", "plain", rank=2).outputs["wide"], base)


def test_declared_in_python(small, tmp_path):
    ao = product.package()
    base, folder = small
    model = ao.compile(base, {"a": ao.Adapter(folder, time="call", bind=("scale", "rank"))}, threads=1)
    feed = {"pixel_values": np.zeros((2, 3, 12, 12), np.float32)}
    y = model(**feed, adapters="a", settings={"a.scale": 0.0})["logits"]
    np.testing.assert_allclose(y, model(**feed)["logits"], rtol=0, atol=1e-6)
