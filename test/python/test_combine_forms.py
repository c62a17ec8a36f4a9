# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Adapters of any form are combined by what they change of a model: adapter-opt combine --model, --combine
and ao.compile(combine=..), against PEFT."""

import copy
import warnings

import numpy as np
import onnxruntime
import own_forms
import peft
import product
import pytest
import torch
import weight_methods
from combining import updates
from test_weight_methods import World
from tolerance import assert_agrees

ao = product.package()
# Methods of PEFT that are no plain LoRAs; of some the base's weight or bias decides what they change.
FORMS = (
    "dora",
    "pissa",
    "vera",
    "loha",
    "lokr",
    "oft",
    "boft",
    "ia3",
    "hira",
    "shira",
    "glora",
    "road",
)
KINDS = ("linear", "unbiased")


class Mixed(World):
    def adapter_at(self, kinds, name):
        """The folder of a method's adapter at some kinds of layers, and its outputs."""
        case = weight_methods.METHODS[name]
        config = case.config()
        config.target_modules = set(kinds)
        if getattr(config, "feedforward_modules", None):
            config.feedforward_modules = {"unbiased"} & set(kinds)
        base, _, values, _ = self.model_of(kinds)
        torch.manual_seed(len(name))
        model = peft.get_peft_model(copy.deepcopy(base), config)
        for key, parameter in model.named_parameters():
            if parameter.requires_grad or "vera" in key:
                parameter.data = parameter.data + 0.3 * torch.randn_like(parameter)
        folder = self.folder / f"{name}-{'-'.join(kinds)}"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.eval().save_pretrained(folder)
        return folder, self.outputs(model, values)

    def feed(self, kinds):
        _, _, values, _ = self.model_of(kinds)
        return {k: v.numpy() for k, v in zip(weight_methods.inputs_of(kinds), values, strict=True)}

    def merged(self, kinds, *options):
        product.opt(self.model_of(kinds)[1], *options, "-o", self.folder / "merged.onnx")
        got = onnxruntime.InferenceSession(self.folder / "merged.onnx").run(None, self.feed(kinds))
        return dict(zip(kinds, got, strict=True))


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return Mixed(tmp_path_factory.mktemp("mixed"))


@pytest.fixture(scope="module")
def pairs(world):
    """A LoRA and adapters of other forms, at the same layers."""
    return {name: world.adapter_at(KINDS, name) for name in ("rslora", *FORMS)}


def summed(world, pairs, weights):
    """Layers are linear in their weights, so that changes of outputs add up."""
    *_, base = world.model_of(KINDS)
    made = {}
    for kind in KINDS:
        changes = [
            weight * (pairs[name][1][kind].astype(float) - base[kind]) for name, weight in weights.items()
        ]
        made[kind] = (base[kind] + sum(changes)).astype(np.float32)
    return made


@pytest.mark.parametrize("name", FORMS)
def test_forms_beside_a_lora(world, pairs, tmp_path, name):
    base, graph, values, plain = world.model_of(KINDS)
    weights = {"rslora": 0.5, name: -0.75}
    parts = [f"{pairs[each][0]}:{weight}" for each, weight in weights.items()]
    said = product.opt("combine", "sum", *parts, "-o", tmp_path / "x", "--model", graph)
    assert "2 modules" in said and "relative error" in said
    want = summed(world, pairs, weights)
    got = world.merged(KINDS, "--adapter", f"x={tmp_path / 'x'}")
    for kind in KINDS:
        assert_agrees(got[kind], want[kind], plain[kind])
    # PEFT reads the folder, and means the same by it.
    model = peft.PeftModel.from_pretrained(copy.deepcopy(base), tmp_path / "x").eval()
    for kind, value in world.outputs(model, values).items():
        assert_agrees(value, want[kind], plain[kind])


def test_every_kind_of_layer(world, tmp_path):
    """Differences of tables, convolutions and transposed weights."""
    kinds = ("conv1d_of_gpt2", "embedding", "conv1d", "conv2d")
    _, graph, _, base = world.model_of(kinds)
    folder, want = world.adapter_at(kinds, "hira")
    lora, other = world.adapter_at(kinds, "lora")
    product.opt("combine", "svd,rank=full", folder, lora, "-o", tmp_path / "x", "--model", graph)
    got = world.merged(kinds, "--adapter", f"x={tmp_path / 'x'}")
    for kind in kinds:
        both = want[kind].astype(float) + other[kind] - base[kind]
        assert_agrees(got[kind], both.astype(np.float32), base[kind])


def test_a_bias_that_is_new(world, pairs, tmp_path):
    """A folder of PEFT's cannot hold one, an adapter of --combine can."""
    _, graph, _, plain = world.model_of(KINDS)
    folder, outputs = world.adapter_at(KINDS, "lora-bias")
    words = ["combine", "sum", folder, "-o", tmp_path / "x", "--model", graph]
    product.refused("adapter-opt", *words, mentions=["'unbiased' has no bias", "--combine"])
    got = world.merged(KINDS, f"--adapter=a={folder}", "--combine", "mix=sum:a=0.5")
    want = summed(world, pairs | {"new": (folder, outputs)}, {"new": 0.5})
    for kind in KINDS:
        assert_agrees(got[kind], want[kind], plain[kind])


def test_a_rank_cuts(world, pairs, tmp_path):
    graph = world.model_of(KINDS)[1]
    parts = [pairs["oft"][0], pairs["rslora"][0]]
    product.opt("combine", "sum", *parts, "-o", tmp_path / "all", "--model", graph)
    product.opt("combine", "task_arithmetic", *parts, "--rank", 5, "-o", tmp_path / "five", "--model", graph)
    whole, cut = updates(tmp_path / "all"), updates(tmp_path / "five")
    for module, value in whole.items():
        u, s, v = np.linalg.svd(value, full_matrices=False)
        np.testing.assert_allclose(cut[module], u[:, :5] * s[:5] @ v[:5], atol=1e-5 * s[0])


@pytest.mark.parametrize(
    "method", ("ties_svd,density=0.4", "knots,density=0.5", "opcm", "slerp,t=0.5", "breadcrumbs,beta=0.3")
)
def test_methods_of_updates(world, pairs, tmp_path, method):
    """A LoRA saved as such and as what it changes is one and the same to a method."""
    graph = world.model_of(KINDS)[1]
    lora, other = pairs["rslora"][0], pairs["lokr"][0]
    product.opt("combine", "sum", other, "-o", tmp_path / "lokr", "--model", graph)
    options = ["--model", graph, "--rank", "full"]
    product.opt("combine", method, lora, f"{other}:0.5", "-o", tmp_path / "x", *options)
    product.opt("combine", method, lora, f"{tmp_path / 'lokr'}:0.5", "-o", tmp_path / "y", "--rank", "full")
    got, want = updates(tmp_path / "x"), updates(tmp_path / "y")
    for module, value in want.items():
        # Elements that are all but equal may change places.
        off = np.abs(got[module] - value) > 1e-4 * np.abs(value).max()
        assert off.mean() < 0.02, module


def test_own_forms(world, tmp_path):
    rng = np.random.default_rng(0)
    forms = own_forms.write(tmp_path / "forms.mlir", "turned")
    graph = world.model_of(KINDS)[1]
    tensors = {"unbiased": own_forms.FORMS["turned"].draw(rng, 32, 24)}
    folder = own_forms.save(tmp_path / "own", "turned", tensors)
    words = ["combine", "sum", folder, "-o", tmp_path / "x", "--model", graph]
    product.refused("adapter-opt", *words, mentions=["turned", "--forms"])
    product.opt(*words, "--forms", forms)
    got = world.merged(KINDS, "--adapter", f"x={tmp_path / 'x'}")
    want = world.merged(KINDS, "--forms", forms, "--adapter", f"x={folder}")
    assert_agrees(got["unbiased"], want["unbiased"], world.model_of(KINDS)[3]["unbiased"])


def test_what_is_no_change_of_a_weight(world, pairs, tmp_path):
    kinds = ("norm",)
    folder, _ = world._adapter("ln_tuning")
    graph = world.model_of(kinds)[1]
    options = ["-o", tmp_path / "x", "--model", graph]
    product.refused("adapter-opt", "combine", "sum", folder, *options, mentions=["norm.", "no matrix"])
    other = world.model_of(KINDS)[1]
    words = ["linear", pairs["rslora"][0], pairs["vera"][0], "-o", tmp_path / "x", "--model", other]
    product.refused("adapter-opt", "combine", *words, mentions=["vera", "factors alone"])
    words = ["sum", pairs["vera"][0], "-o", tmp_path / "x", "--model", tmp_path / "nowhere.onnx"]
    product.refused("adapter-opt", "combine", *words, mentions=["nowhere.onnx"])
    words = ["sum", pairs["vera"][0], *options]
    product.refused("adapter-opt", "combine", *words, mentions=["vera-linear-unbiased", "modules"])


# As an option


@pytest.mark.parametrize("time", ("build", "switch", "call", "row"))
def test_combined_at_every_time(world, pairs, tmp_path, time):
    _, graph, _, plain = world.model_of(KINDS)
    weights = {"rslora": 0.5, "ia3": 2, "oft": -0.3}
    adapters = [f"--adapter={name}={pairs[name][0]}" for name in weights]
    text = "sum:" + ",".join(f"{name}={weight}" for name, weight in weights.items())
    product.opt(graph, *adapters, "--combine", f"mix={text}@{time}:scale=0.5", "-o", tmp_path / "x.adapt")
    want = summed(world, pairs, {name: 0.5 * weight for name, weight in weights.items()})
    with ao.Model(tmp_path / "x.adapt") as model:
        assert not set(weights) & set(model.adapters)
        if time == "switch":
            model.switch("mix")
        chosen = dict(call=dict(adapters="mix"), row=dict(adapters=["mix"] * 6)).get(time, {})
        got = model(world.feed(KINDS), **chosen)
    for kind in KINDS:
        assert_agrees(got[kind], want[kind], plain[kind])


def test_the_option_gives_what_the_folder_gives(world, pairs, tmp_path):
    _, graph, _, plain = world.model_of(KINDS)
    parts = {name: pairs[name][0] for name in ("rslora", "vera")}
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


def test_from_python(world, pairs):
    _, graph, _, plain = world.model_of(KINDS)
    adapters = {name: pairs[name][0] for name in ("rslora", "vera", "oft")}
    combine = {
        "mix": ao.Combination("sum", {"rslora": 0.5, "vera": -1.5}, time="row", bind=("scale",)),
        "other": ao.Combination("task_arithmetic", ("vera", "oft"), {"rank": 24}, time="row"),
    }
    model = ao.compile(graph, adapters=adapters, combine=combine)
    assert set(model.adapters) == {"mix", "other"}
    feed = world.feed(KINDS)
    got = model(feed, adapters=["mix", None, "other"] * 2, settings={"mix.scale": 2.0})
    mix = summed(world, pairs, {"rslora": 1, "vera": -3})
    other = summed(world, pairs, {"vera": 1, "oft": 1})
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
def test_mistakes_are_named(world, pairs, tmp_path, combination, code, mentions):
    graph = world.model_of(KINDS)[1]
    words = [f"--adapter={name}={pairs[form][0]}" for name, form in (("a", "rslora"), ("b", "vera"))]
    words += ["--combine", combination, "-o", tmp_path / "x.onnx"]
    product.refused("adapter-opt", graph, *words, code=code, mentions=mentions)
    assert not (tmp_path / "x.onnx").exists()


def test_parts_do_not_act(world, pairs, tmp_path):
    graph, lora = world.model_of(KINDS)[1], pairs["rslora"][0]
    for adapter, more in ((f"a={lora}@row", []), (f"a={lora}", ["--bind", "a.task=0"])):
        words = ["--adapter", adapter, *more, "--combine", "mix=sum:a", "-o", tmp_path / "x.adapt"]
        product.refused("adapter-opt", graph, *words, code=2, mentions=["part of 'mix'"])
    words = ["--adapter", f"t={lora}", "--adapter", f"u={lora}", "--combine", "mix=slerp:t,u,t=0.5"]
    product.refused(
        "adapter-opt", graph, *words, "-o", "x.onnx", code=2, mentions=["an adapter and a setting"]
    )
