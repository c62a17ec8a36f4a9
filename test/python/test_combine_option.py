# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""An adapter that is made of others while a model is compiled: --combine and ao.compile(combine=..)."""

import numpy as np
import product
import pytest
from mixed_forms import KINDS, Mixed
from tolerance import assert_agrees

ao = product.package()


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return Mixed(tmp_path_factory.mktemp("mixed"))


@pytest.mark.parametrize("time", ("build", "switch", "call", "row"))
def test_combined_at_every_time(world, tmp_path, time):
    graph, plain = world.graph, world.plain
    weights = {"rslora": 0.5, "ia3": 2, "oft": -0.3}
    adapters = [f"--adapter={name}={world.at(name)[0]}" for name in weights]
    text = "sum:" + ",".join(f"{name}={weight}" for name, weight in weights.items())
    product.opt(graph, *adapters, "--combine", f"mix={text}@{time}:scale=0.5", "-o", tmp_path / "x.adapt")
    want = world.summed({name: 0.5 * weight for name, weight in weights.items()})
    with ao.Model(tmp_path / "x.adapt") as model:
        assert not set(weights) & set(model.adapters)
        if time == "switch":
            model.switch("mix")
        chosen = dict(call=dict(adapters="mix"), row=dict(adapters=["mix"] * 6)).get(time, {})
        got = model(world.feed(KINDS), **chosen)
    for kind in KINDS:
        assert_agrees(got[kind], want[kind], plain[kind])


def test_the_option_gives_what_the_folder_gives(world, tmp_path):
    graph, plain = world.graph, world.plain
    parts = {name: world.at(name)[0] for name in ("rslora", "vera")}
    product.opt(
        "combine",
        "ties_svd,density=0.3",
        *parts.values(),
        "-o",
        tmp_path / "x",
        "--model",
        graph,
        "--rank",
        "4",
    )
    want = world.merged(KINDS, "--adapter", f"x={tmp_path / 'x'}")
    adapters = [f"--adapter={name}={folder}" for name, folder in parts.items()]
    got = world.merged(KINDS, *adapters, "--combine", "mix=ties_svd:rslora,vera=1,density=0.3,rank=4")
    for kind in KINDS:
        assert_agrees(got[kind], want[kind], plain[kind])
    report = product.opt(graph, *adapters, "--combine", "mix=sum:rslora,vera", "--check")
    assert "2 of 2 modules placed" in report and "vera" not in report


def test_from_python(world):
    graph, plain = world.graph, world.plain
    adapters = {name: world.at(name)[0] for name in ("rslora", "vera", "oft")}
    combine = {
        "mix": ao.Combination("sum", {"rslora": 0.5, "vera": -1.5}, time="row", bind=("scale",)),
        "other": ao.Combination("task_arithmetic", ("vera", "oft"), {"rank": 24}, time="row"),
    }
    model = ao.compile(graph, adapters=adapters, combine=combine)
    assert set(model.adapters) == {"mix", "other"}
    feed = world.feed(KINDS)
    got = model(feed, adapters=["mix", None, "other"] * 2, settings={"mix.scale": 2.0})
    mix = world.summed({"rslora": 1, "vera": -3})
    other = world.summed({"vera": 1, "oft": 1})
    for kind in KINDS:
        assert_agrees(got[kind][::3], mix[kind][::3], plain[kind][::3])
        assert_agrees(got[kind][2::3], other[kind][2::3], plain[kind][2::3])
        np.testing.assert_allclose(got[kind][1::3], plain[kind][1::3], atol=1e-5)
    report = ao.check(graph, adapters=adapters, combine={"m": ao.Combination("sum", ("oft",))})
    assert {row["adapter"] for row in report["updates"]} == {"m", "rslora", "vera"}


@pytest.mark.parametrize(
    "combination, error",
    [
        (lambda: ao.Combination("sum", "a"), TypeError),
        (lambda: ao.Combination("sum", {"a": "much"}), TypeError),
        (lambda: ao.Combination(3, ("a",)), TypeError),
        (lambda: ao.Combination("sum", ("a",), time="later"), ValueError),
        (lambda: ao.Combination("sum", ("a",), {"rank": None}), TypeError),
    ],
)
def test_arguments(combination, error):
    with pytest.raises(error):
        combination()


@pytest.mark.parametrize(
    "combination, code, mentions",
    [
        ("mix=tiez:a,b", 2, ["no method 'tiez'", "dare_ties"]),
        ("mix=ties:a,b", 2, ["density=D is missing"]),
        ("mix=ties:a,c,density=0.3", 2, ["'c'", "adapters are: a, b"]),
        ("mix=sum:a=heavy", 2, ["'heavy' of 'a'"]),
        ("mix=sum:a=nan", 2, ["'nan' of 'a'"]),
        ("mix=sum", 2, ["names no adapter"]),
        ("mix=sum:a@rwo", 2, ["'rwo' is not a time", "'row'"]),
        ("a=sum:a,b", 2, ["the name 'a' is there twice"]),
        ("sum:a,b", 2, ["a name consists of"]),
        ("mix=slerp:a,b,t=0.5,t=0.5", 2, ["twice"]),
        ("mix=sum:a@row", 2, ["acts at row"]),
        ("mix=linear:a,b", 1, ["mix", "vera", "factors alone"]),
        ("mix=slerp:a,t=0.5", 1, ["mix", "combines 2"]),
    ],
)
def test_mistakes_are_named(world, tmp_path, combination, code, mentions):
    graph = world.graph
    words = [f"--adapter={name}={world.at(form)[0]}" for name, form in (("a", "rslora"), ("b", "vera"))]
    words += ["--combine", combination, "-o", tmp_path / "x.onnx"]
    product.refused("adapter-opt", graph, *words, code=code, mentions=mentions)
    assert not (tmp_path / "x.onnx").exists()


def test_parts_do_not_act(world, tmp_path):
    graph, lora = world.graph, world.at("rslora")[0]
    for adapter, more in ((f"a={lora}@row", []), (f"a={lora}", ["--bind", "a.task=0"])):
        words = ["--adapter", adapter, *more, "--combine", "mix=sum:a", "-o", tmp_path / "x.adapt"]
        product.refused("adapter-opt", graph, *words, code=2, mentions=["part of 'mix'"])
    words = ["--adapter", f"t={lora}", "--adapter", f"u={lora}", "--combine", "mix=slerp:t,u,t=0.5"]
    product.refused(
        "adapter-opt", graph, *words, "-o", "x.onnx", code=2, mentions=["an adapter and a setting"]
    )
