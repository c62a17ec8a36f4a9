# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Adapters of any form are combined by what they change of a model: adapter-opt combine --model
against PEFT."""

import copy
import shutil

import formats
import numpy as np
import own_forms
import peft
import product
import pytest
from combining import near, updates
from mixed_forms import KINDS, Mixed
from tolerance import assert_agrees

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


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return Mixed(tmp_path_factory.mktemp("mixed"))


@pytest.mark.parametrize("name", FORMS)
def test_forms_beside_a_lora(world, tmp_path, name):
    base, graph, values, plain = world.model_of(KINDS)
    weights = {"rslora": 0.5, name: -0.75}
    parts = [f"{world.at(each)[0]}:{weight}" for each, weight in weights.items()]
    said = product.opt("combine", "sum", *parts, "-o", tmp_path / "x", "--model", graph)
    assert "2 modules" in said and "relative error" in said
    want = world.summed(weights)
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


def test_a_bias_that_is_new(world, tmp_path):
    """A folder of PEFT's cannot hold one, an adapter of --combine can."""
    graph, plain = world.graph, world.plain
    folder, _ = world.at("lora-bias")
    words = ["combine", "sum", folder, "-o", tmp_path / "x", "--model", graph]
    product.refused("adapter-opt", *words, mentions=["'unbiased' has no bias", "--combine"])
    got = world.merged(KINDS, f"--adapter=a={folder}", "--combine", "mix=sum:a=0.5")
    want = world.summed({"lora-bias": 0.5})
    for kind in KINDS:
        assert_agrees(got[kind], want[kind], plain[kind])


def test_a_rank_cuts(world, tmp_path):
    graph = world.graph
    parts = [world.at("oft")[0], world.at("rslora")[0]]
    product.opt("combine", "sum", *parts, "-o", tmp_path / "all", "--model", graph)
    product.opt("combine", "task_arithmetic", *parts, "--rank", 5, "-o", tmp_path / "five", "--model", graph)
    whole, cut = updates(tmp_path / "all"), updates(tmp_path / "five")
    for module, value in whole.items():
        u, s, v = np.linalg.svd(value, full_matrices=False)
        np.testing.assert_allclose(cut[module], u[:, :5] * s[:5] @ v[:5], atol=1e-5 * s[0])


@pytest.mark.parametrize(
    "method", ("ties_svd,density=0.4", "knots,density=0.5", "opcm", "slerp,t=0.5", "breadcrumbs,beta=0.3")
)
def test_methods_of_updates(world, tmp_path, method):
    """A LoRA saved as such and as what it changes is one and the same to a method."""
    graph = world.graph
    lora, other = world.at("rslora")[0], world.at("lokr")[0]
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
    graph = world.graph
    tensors = {"unbiased": own_forms.FORMS["turned"].draw(rng, 32, 24)}
    folder = own_forms.save(tmp_path / "own", "turned", tensors)
    words = ["combine", "sum", folder, "-o", tmp_path / "x", "--model", graph]
    product.refused("adapter-opt", *words, mentions=["turned", "--forms"])
    product.opt(*words, "--forms", forms)
    got = world.merged(KINDS, "--adapter", f"x={tmp_path / 'x'}")
    want = world.merged(KINDS, "--forms", forms, "--adapter", f"x={folder}")
    assert_agrees(got["unbiased"], want["unbiased"], world.plain["unbiased"])


def test_what_is_no_change_of_a_weight(world, tmp_path):
    kinds = ("norm",)
    folder, _ = world._adapter("ln_tuning")
    graph = world.model_of(kinds)[1]
    options = ["-o", tmp_path / "x", "--model", graph]
    product.refused("adapter-opt", "combine", "sum", folder, *options, mentions=["norm.", "no matrix"])
    other = world.graph
    words = ["linear", world.at("rslora")[0], world.at("vera")[0], "-o", tmp_path / "x", "--model", other]
    product.refused("adapter-opt", "combine", *words, mentions=["vera", "factors alone"])
    words = ["sum", world.at("vera")[0], "-o", tmp_path / "x", "--model", tmp_path / "nowhere.onnx"]
    product.refused("adapter-opt", "combine", *words, mentions=["nowhere.onnx"])
    words = ["sum", world.at("vera")[0], *options]
    product.refused("adapter-opt", "combine", *words, mentions=["vera-linear-unbiased", "modules"])


def test_graphs_of_one_model(world, tmp_path):
    """They may hold the same weights, which are one."""
    for name in ("one", "other"):
        (tmp_path / "model").mkdir(exist_ok=True)
        shutil.copy(world.graph, tmp_path / "model" / f"{name}.onnx")
    words = ["combine", "sum", world.at("oft")[0], "-o"]
    product.opt(*words, tmp_path / "x", "--model", tmp_path / "model")
    product.opt(*words, tmp_path / "y", "--model", world.graph)
    near(updates(tmp_path / "x"), updates(tmp_path / "y"))


@pytest.mark.parametrize("write", [*formats.WRITERS, formats.kohya], ids=lambda write: write.__name__)
def test_formats_of_other_tools(tmp_path, write):
    """Modules may be named otherwise: with the model they are the same."""
    graph, model = formats.export(tmp_path / "base.onnx"), formats.adapted()
    model.save_pretrained(tmp_path / "peft")
    parts = [f"{write(model, tmp_path / 'other')}:0.5", tmp_path / "peft"]
    product.opt("combine", "sum", *parts, "-o", tmp_path / "x", "--model", graph)
    own = updates(tmp_path / "peft")
    near(updates(tmp_path / "x"), {module: 1.5 * value for module, value in own.items()})
