# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Methods of adapter-opt combine that PEFT does not have, against their formulas in NumPy (combining.py);
where chance decides, by what must hold whatever it decides."""

import functools
import re
import shutil

import combining
import numpy as np
import own_forms
import product
import pytest
import safetensors.numpy
from combining import combine, near, save_lora

# The method with its settings, and its formula for one module.
EXACT = {
    "sum": combining.total,
    "flora": combining.total,
    "task_arithmetic": combining.total,
    "task_arithmetic,rank=full": combining.total,
    "svd,rank=full": combining.total,
    "breadcrumbs,beta=0.6,rank=full": functools.partial(combining.breadcrumbs, beta=0.6),
    "breadcrumbs,beta=0,gamma=0.25,rank=full": functools.partial(combining.breadcrumbs, beta=0, gamma=0.25),
    "slerp,t=0.3,rank=full": functools.partial(combining.slerp, t=0.3),
    "model_stock,rank=full": combining.model_stock,
    "knots,rank=full": combining.knots,
    "knots,density=0.4,rank=full": functools.partial(combining.knots, density=0.4),
}
WEIGHTS = {"a": 0.7, "wide": 0.5, "b": -0.4}


@pytest.fixture(scope="module")
def loras(tmp_path_factory):
    _, folder = combining.make(tmp_path_factory.mktemp("combine"))
    return {name: folder / name for name in combining.SCALES}


def of(loras, weights):
    """The updates of some by module, each a list in their order."""
    each = [combining.updates(loras[name]) for name in weights]
    return {module: [values[module] for values in each] for module in each[0]}


def given(loras, weights):
    return {loras[name]: weight for name, weight in weights.items()}


@pytest.mark.parametrize("method", EXACT)
def test_formula(loras, tmp_path, method):
    weights = {"a": 0.7, "wide": -0.4} if method.startswith("slerp") else WEIGHTS
    got, _ = combine(tmp_path / "x", method, given(loras, weights))
    want = {m: EXACT[method](values, [*weights.values()]) for m, values in of(loras, weights).items()}
    near(got, want)


@pytest.mark.parametrize("alpha", (0, 0.5, 1))
def test_one_after_the_other(loras, tmp_path, alpha):
    """OPCM. What is added later has no part in the closed directions, and the whole has the mean norm."""
    got, _ = combine(tmp_path / "x", f"opcm,alpha={alpha},rank=full", given(loras, WEIGHTS))
    weights = [*WEIGHTS.values()]
    values = of(loras, WEIGHTS)
    made = {module: combining.opcm(each, weights, alpha) for module, each in values.items()}

    def norm(all):
        return np.sqrt(sum(np.sum(value**2) for value in all))

    norms = [norm([abs(w) * each[i] for each in values.values()]) for i, w in enumerate(weights)]
    scale = np.mean(norms) / norm(made.values())
    near(got, {module: scale * value for module, value in made.items()})


def test_the_cut_is_told(loras, tmp_path):
    got, said = combine(tmp_path / "x", "task_arithmetic", given(loras, WEIGHTS), "--rank", "3")
    lost = all = 0
    for module, values in of(loras, WEIGHTS).items():
        whole = combining.total(values, WEIGHTS.values())
        u, s, v = np.linalg.svd(whole, full_matrices=False)
        near({module: got[module]}, {module: u[:, :3] * s[:3] @ v[:3]})
        lost, all = lost + np.sum(s[3:] ** 2), all + np.sum(s**2)
    told = re.search(r"5 modules, ranks up to 3, relative error of the cut ([0-9.e+-]+) \(largest", said)
    assert told and float(told[1]) == pytest.approx(np.sqrt(lost / all), rel=0.06)
    _, said = combine(tmp_path / "y", "svd,rank=full", given(loras, WEIGHTS))
    assert float(re.search(r"cut ([0-9.e+-]+)", said)[1]) < 1e-12
    assert "error" not in combine(tmp_path / "z", "sum", given(loras, WEIGHTS))[1]


@pytest.mark.parametrize("method", ("svd", "ties_svd,density=1", "knots"))
@pytest.mark.parametrize("rank", ("5", "full"))
def test_large_weights(tmp_path, method, rank):
    """Their directions are found without a decomposition of the whole."""
    rng = np.random.default_rng(2)
    folders = {
        save_lora(tmp_path / f"l{i}", rng.standard_normal((6, 300)), rng.standard_normal((280, 6))): 1 + i
        for i in range(2)
    }
    values = [combining.updates(folder)["m"] for folder in folders]
    formula = combining.elect if "ties" in method else EXACT.get(f"{method},rank=full")
    u, s, v = np.linalg.svd(formula(values, [1, 2]), full_matrices=False)
    kept = 5 if rank == "5" else len(s)
    got, said = combine(tmp_path / "x", method, folders, "--rank", rank)
    near(got, {"m": u[:, :kept] * s[:kept] @ v[:kept]}, part=1e-4)
    told = float(re.search(r"cut ([0-9.e+-]+)", said)[1])
    assert told == pytest.approx(np.linalg.norm(s[kept:]) / np.linalg.norm(s), rel=0.06, abs=1e-7)
    if "svd" == method and rank == "full":
        assert "ranks up to 12," in said


ALONE = {
    "sum": 1,
    "svd": 1,
    "task_arithmetic": 1,
    "flora": 1,
    "breadcrumbs,beta=0,gamma=0": 1,
    "knots": 1,
    "opcm": 1,
    "della,density=1": 1,
    "della_linear,density=1": 1,
    "lego": 1,
    "ties,density=1": 1,
}


@pytest.mark.parametrize("method", ALONE)
@pytest.mark.parametrize("weight", (0.8, *(pytest.param(each, marks=pytest.mark.full) for each in (-2, 0))))
def test_one_adapter(loras, tmp_path, method, weight):
    got, _ = combine(tmp_path / "x", method, {loras["wide"]: weight})
    near(got, {m: weight * value for m, value in combining.updates(loras["wide"]).items()}, part=1e-4)


def test_modules_of_one_alone(loras, tmp_path):
    """What an adapter does not have is an update of zeros, where angles and counts are looked at."""
    part = tmp_path / "part"
    shutil.copytree(loras["b"], part)
    tensors = safetensors.numpy.load_file(part / "adapter_model.safetensors")
    tensors = {key: value for key, value in tensors.items() if ".linear." in key}
    safetensors.numpy.save_file(tensors, part / "adapter_model.safetensors")
    a, b = combining.updates(loras["a"]), combining.updates(part)
    for method, alone in {
        "slerp,t=0.25,rank=full": lambda v: np.sin(0.75 * np.pi / 2) * v,
        "model_stock,rank=full": lambda v: 0 * v,
        "knots,rank=full": lambda v: v,
    }.items():
        got, _ = combine(tmp_path / method, method, {loras["a"]: 1, part: 1})
        both = EXACT.get(method) or functools.partial(combining.slerp, t=0.25)
        near(got, {m: both([v, b[m]], [1, 1]) if m in b else alone(v) for m, v in a.items()})
    got, _ = combine(tmp_path / "turned", "slerp,t=0.25,rank=full", {part: 1, loras["a"]: 1})
    near({"unbiased": got["unbiased"]}, {"unbiased": np.sin(0.25 * np.pi / 2) * a["unbiased"]})


# Where chance decides.


def test_magnitudes_decide_chances(loras, tmp_path):
    """DELLA: what is kept is divided by its chance, which the rank within its row says."""
    own, kept, count = combining.updates(loras["a"]), {}, 12
    for seed in range(count):
        got, _ = combine(
            tmp_path / f"{seed}",
            f"della_linear,density=0.5,epsilon=0.4,seed={seed},rank=full",
            {loras["a"]: 1},
        )
        for module, value in own.items():
            ranks = np.argsort(np.argsort(np.abs(value), axis=1), axis=1)
            chance = 0.1 + 0.8 * ranks / (value.shape[1] - 1)
            mask = np.abs(got[module]) > 1e-4 * np.abs(value).max()
            # Zeros of the factorised result are zeros but for rounding.
            np.testing.assert_allclose(
                got[module], np.where(mask, value / chance, 0), atol=1e-4 * np.abs(value / chance).max()
            )
            for third in range(3):
                at = (ranks * 3 // value.shape[1]) == third
                sums = kept.setdefault(third, np.zeros(2))
                sums += mask[at].sum(), chance[at].sum()
    for found, expected in kept.values():
        assert found == pytest.approx(expected, rel=0.05)
    assert kept[0][0] < kept[1][0] < kept[2][0]


def test_election_after_chance(loras, tmp_path):
    """DELLA's and DARE's elections are of the values that the linear forms add, seed by seed."""
    for name in ("della", "dare"):
        form, end = ("{},density=0.6,seed=3,rank=full", "_svd" if name == "dare" else "")
        single = []
        for i, weights in enumerate(({"a": 1, "b": 0}, {"a": 0, "b": 1})):
            method = form.format(f"{name}_linear{end}")
            single.append(combine(tmp_path / f"{name}{i}", method, given(loras, weights))[0])
        elected = "della" if name == "della" else "dare_ties_svd"
        got, _ = combine(tmp_path / name, form.format(elected), given(loras, {"a": 0.7, "b": -0.4}))
        for module in got:
            # Zeros that are rounding would vote.
            values = [
                np.where(np.abs(s[module]) > 1e-5 * np.abs(s[module]).max(), s[module], 0) for s in single
            ]
            near({module: got[module]}, {module: combining.elect(values, [0.7, -0.4])}, part=1e-4)


def test_units_are_clustered(tmp_path):
    """LoRA-LEGO of units that lie in clusters: their means, at their units' mean length."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((4, 30)) * 3
    folders, units = {}, []
    for i, order in enumerate(([0, 1, 2, 3], [3, 1, 0, 2], [2, 0])):
        own = centres[order] + 0.05 * rng.standard_normal((len(order), 30))
        units += [*zip(order, own, strict=True)]
        folders[save_lora(tmp_path / f"l{i}", own[:, :18], own[:, 18:].T)] = 1
    want = 0
    for cluster in range(4):
        members = np.array([unit for owner, unit in units if owner == cluster])
        mean = members.mean(axis=0)
        mean *= np.mean(np.linalg.norm(members, axis=1)) / np.linalg.norm(mean)
        want = want + np.outer(mean[18:], mean[:18])
    ranks = (4 + 4 + 2) / 3
    for seed in (0, 1):
        got, said = combine(tmp_path / f"x{seed}", f"lego,rank=4,seed={seed}", folders)
        near(got, {"m": np.sqrt(ranks / 4) * want})
        assert "ranks up to 4" in said
    # Each unit by itself: the sum, brought to the variance of a mean rank.
    got, _ = combine(tmp_path / "all", "lego,rank=full", folders)
    near(got, {"m": np.sqrt(ranks / 10) * sum(np.outer(unit[18:], unit[:18]) for _, unit in units)})


def middles(folder, names, share=None, scales=None):
    """LoRA-SB adapters with the same A and B, of `share` where that is given."""
    rng = np.random.default_rng(4)
    a, b = rng.standard_normal((3, 24)), rng.standard_normal((16, 3))
    made, drawn = {}, {}
    for i, name in enumerate(names):
        other = share is not None and i and not share
        drawn[name] = rng.standard_normal((3, 3)).astype(np.float32)
        tensors = {"A": a + other, "B": b, "R": drawn[name]}
        tensors = {role: np.asarray(value, np.float32) for role, value in tensors.items()}
        scalars = {} if scales is None else {"scalars": {"scale": scales[i]}}
        made[name] = own_forms.save(folder / name, "lora_sb", {"linear": tensors}, **scalars)
    return made, drawn, np.float32(a), np.float32(b)


def test_mean_of_what_is_between(tmp_path):
    """Fed-SB: R is averaged, A and B stay; the rank too."""
    made, drawn, a, b = middles(tmp_path, ("x", "y", "z"), scales=(1.0, 2.0, 1.0))
    weights = dict(x=3, y=1, z=0)
    got, said = combine(tmp_path / "o", "fed_sb", {made[name]: w for name, w in weights.items()})
    near(got, {"linear": b @ (3 * drawn["x"] + 2 * drawn["y"]) @ a / 4.0})
    assert "ranks up to 3" in said
    got, _ = combine(tmp_path / "p", "fed_sb", {made["x"]: 1, made["z"]: 1})
    near(got, {"linear": b @ (drawn["x"] + drawn["z"]) @ a / 2.0})


def test_mean_needs_the_same_factors(loras, tmp_path):
    made, *_ = middles(tmp_path / "other", ("x", "y"), share=False)
    options = ["-o", tmp_path / "o"]
    product.refused(
        "adapter-opt", "combine", "fed_sb", *made.values(), *options, mentions=["linear", "not the same"]
    )
    same, *_ = middles(tmp_path / "same", ("x", "y"))
    words = ["fed_sb", f"{same['x']}:1", f"{same['y']}:-1", *options]
    product.refused("adapter-opt", "combine", *words, mentions=["add up to nothing"])
    words = ["fed_sb", loras["a"], same["x"], *options]
    product.refused("adapter-opt", "combine", *words, mentions=["no R between A and B"])


def test_methods_are_documented():
    said = product.opt("combine", "--help")
    methods = re.findall(r"^  (\w+) ", said.split("Settings:")[0], re.MULTILINE)
    text = (product.ROOT / "docs" / "combining.md").read_text()
    rows = re.findall(r"^\| (`[^|]*`) \|", text, re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert len(methods) > 20 and set(methods) <= named
