# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Bottleneck adapters bound later than build: by row beside adapters of other kinds, by call, loaded into an
artifact that runs. A row without an adapter is the base's to the bit."""

import modules
import numpy as np
import onnx
import product
import pytest
import zoo
from tolerance import assert_agrees, assert_rows_agree


def compiled(tmp_path, base, *options):
    product.opt(base, *options, "-o", tmp_path / "m.adapt")
    return product.package().load(str(tmp_path / "m.adapt"), threads=2)


def feed_of(path, architecture, name="wide"):
    names = {i.name for i in onnx.load(path, load_external_data=False).graph.input}
    inputs = zoo.inputs(architecture, zoo.FEEDS[name])
    return {key: tensor.numpy() for key, tensor in inputs.items() if key in names}


def rows_of(names, references, base):
    """Row i of what its adapter gives alone."""
    return [base[i] if name is None else references[name][i] for i, name in enumerate(names)]


@modules.cases(turn=2)
def test_by_row(hub, tmp_path, architecture, exporter, method):
    a, b = (hub.adapter(architecture, method, seed, exporter) for seed in (1, 2))
    given = [f"--adapter={name}={each.folder}@row" for name, each in (("a", a), ("b", b))]
    model = compiled(tmp_path, a.base_file, *given)
    feed = feed_of(a.base_file, architecture)
    base, given = model(**feed)["logits"], {"a": a.outputs["wide"], "b": b.outputs["wide"]}
    assert_agrees(base, a.base["wide"])
    names = ["a", None, "b"]
    y = model(**feed, adapters=names)["logits"]
    bases = [None if name is None else a.base["wide"][i] for i, name in enumerate(names)]
    assert_rows_agree(y, rows_of(names, given, a.base["wide"]), bases)
    assert np.array_equal(y[1], base[1]), "a row without an adapter differs from the base"


@pytest.mark.parametrize(
    "method", ["seq_bn", "parallel_norms", "adapter_plus", "norm_twice", "residual_first"]
)
@pytest.mark.parametrize("architecture", ["bert", "llama"])
def test_by_call(hub, tmp_path, architecture, method):
    a, b = (hub.adapter(architecture, method, seed) for seed in (1, 2))
    given = [f"--adapter={name}={each.folder}@call" for name, each in (("a", a), ("b", b))]
    model = compiled(tmp_path, a.base_file, *given)
    for size in ("wide", "one", "tall"):
        feed = feed_of(a.base_file, architecture, size)
        for name, each in (("a", a), ("b", b)):
            y = model(**feed, adapters=name)["logits"]
            assert_agrees(y, each.outputs[size], a.base[size])
        assert_agrees(model(**feed)["logits"], a.base[size])


@pytest.mark.parametrize("architecture", ["bert", "vit"])
def test_placements_and_lora_in_one_batch(hub, oracle, tmp_path, architecture):
    """Modules that stand in different places at one sum, and a LoRA, each in its row."""
    methods = ["seq_bn", "par_bn", "adapter_plus"]
    each = {name: hub.adapter(architecture, name) for name in methods}
    base = each["seq_bn"].base_file
    options = [f"--adapter={name}={adapted.folder}@row" for name, adapted in each.items()]
    references = {name: adapted.outputs["tall"] for name, adapted in each.items()}
    if architecture == "bert":  # whose weights are the same in both versions of transformers
        lora = oracle.adapter("bert", "plain")
        options.append(f"--adapter=lora={lora.folder}@row")
    model = compiled(tmp_path, base, *options)
    feed = feed_of(base, architecture, "tall")
    names = ["adapter_plus", "seq_bn", None, "par_bn", "lora" if architecture == "bert" else "seq_bn"]
    y = model(**feed, adapters=names)["logits"]
    alone = {name: model(**feed, adapters=[name] * 5)["logits"] for name in set(names) - {None}}
    plain = model(**feed)["logits"]
    for i, name in enumerate(names):
        assert np.array_equal(y[i], plain[i] if name is None else alone[name][i]), f"row {i}: {name}"
    for name, reference in references.items():
        assert_agrees(alone[name], reference, each[name].base["tall"])


def test_loaded_while_it_runs(hub, tmp_path):
    """Another adapter of a known form and place; one of another form is refused with those that there are."""
    a, b = (hub.adapter("gpt2", "double_seq_bn", seed) for seed in (1, 2))
    model = compiled(tmp_path, a.base_file, f"--adapter=a={a.folder}@row")
    model.load_adapter("b", str(b.folder))
    feed = feed_of(a.base_file, "gpt2")
    names = ["b", "a", None]
    y = model(**feed, adapters=names)["logits"]
    given = {"a": a.outputs["wide"], "b": b.outputs["wide"]}
    bases = [a.base["wide"][0], a.base["wide"][1], None]
    assert_rows_agree(y, rows_of(names, given, a.base["wide"]), bases)
    with pytest.raises(ValueError, match=r"bottleneck\+relu.*only for: bottleneck\+silu"):
        model.load_adapter("c", str(hub.adapter("gpt2", "seq_bn").folder))
    with pytest.raises(ValueError, match="residual_onto_sublayer"):
        model.load_adapter("c", str(hub.adapter("gpt2", "par_bn").folder))


def test_scale_with_the_call(hub, tmp_path):
    a = hub.adapter("bert", "par_bn")
    product.opt(a.base_file, f"--adapter=x={a.folder}:scale=0.5", "-o", tmp_path / "half.adapt")
    feed = feed_of(a.base_file, "bert")
    half = product.run(tmp_path / "half.adapt", feed, tmp_path)["logits"]
    model = compiled(tmp_path, a.base_file, f"--adapter=a={a.folder}@row:scale=@call")
    y = model(feed, adapters=["a"] * 3, settings={"a.scale": 0.5})["logits"]
    assert_agrees(y, half, a.base["wide"])


def test_what_cannot_be(hub, tmp_path):
    gated = hub.adapter("bert", "own_norms")
    given = [gated.base_file, "-o", tmp_path / "m.adapt"]
    product.refused("adapter-opt", *given, f"--adapter=x={gated.folder}@call", mentions=["gate", "row"])
    product.refused("adapter-opt", *given, f"--adapter=x={gated.folder}@switch", mentions=["switch", "call"])
