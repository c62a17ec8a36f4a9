# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Which operators keep the rows of a call apart. Behind those that do, an adapter by row makes of each row
what a run of that row alone makes of it in ONNX Runtime; behind the others it is refused by the operator's
name."""

import json

import numpy as np
import onnxruntime
import product
import pytest
import row_graphs
from row_graphs import ALONG, KEPT, LENGTH, MIXED, OUTPUTS, PICKS, WIDTH, End
from safetensors.numpy import save_file
from tolerance import assert_agrees

RANK = 2
NAMES = ["a", None, "b"]


def factors(seed, width):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape).astype(np.float32) for shape in ((RANK, width), (OUTPUTS, RANK))]


def lora(folder, seed, width):
    """A folder with an adapter of the linear."""
    folder.mkdir()
    config = {"peft_type": "LORA", "r": RANK, "lora_alpha": RANK, "target_modules": ["proj"]}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    prefix = "base_model.model.proj.lora_"
    a, b = factors(seed, width)
    save_file({f"{prefix}A.weight": a, f"{prefix}B.weight": b}, folder / "adapter_model.safetensors")
    return folder


def weight(width, seed=None):
    """The linear's, with an adapter's update."""
    base = np.random.default_rng(9).standard_normal((width, OUTPUTS)).astype(np.float32)
    a, b = factors(seed, width) if seed else (np.zeros((1, width)), np.zeros((OUTPUTS, 1)))
    return (base + (b @ a).T).astype(np.float32)


class Case:
    def __init__(self, build, folder, rows=3, batch="batch"):
        self.build, self.folder = build, folder
        self.base = folder / "base.onnx"
        self.end = row_graphs.Graph().save(build, self.base, weight, batch)
        seeds = (("a", 1), ("b", 2))
        self.adapters = {name: lora(folder / name, seed, self.end.width) for name, seed in seeds}
        self.x = np.random.default_rng(4).standard_normal((rows, LENGTH, WIDTH)).astype(np.float32)

    def compile(self, time="row", refused=()):
        options = [f"--adapter={name}={path}@{time}" for name, path in self.adapters.items()]
        arguments = [self.base, *options, "-o", self.folder / "m.adapt"]
        if refused:
            return product.refused("adapter-opt", *arguments, mentions=refused)
        return product.opt(*arguments)

    def run(self, names):
        arguments = ["--row-adapters", names]
        return product.run(self.folder / "m.adapt", {"x": self.x}, self.folder, *arguments)["y"]

    def alone(self, name, x):
        """What ONNX Runtime makes of the graph with the adapter's update in its weight."""
        seed = {None: None, "a": 1, "b": 2}[name]
        path = self.folder / "alone.onnx"
        row_graphs.Graph().save(self.build, path, lambda width: weight(width, seed))
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        return session.run(None, {"x": x})[0]

    def row(self, y, i):
        """One row's share of an output."""
        if self.end.axis is None:  # flattened behind another dimension
            return y.reshape(-1, len(self.x), y.shape[-1])[:, i]
        return np.split(y, len(self.x), self.end.axis)[i]


@pytest.mark.parametrize("name", KEPT)
def test_kept_apart(tmp_path, name):
    case = Case(KEPT[name], tmp_path)
    case.compile()
    y = case.run(",".join(name or "-" for name in NAMES))
    for i, each in enumerate(NAMES):
        wanted, without = (case.alone(adapter, case.x[i : i + 1]) for adapter in (each, None))
        got = case.row(y, i)
        assert_agrees(got.reshape(wanted.shape), wanted, without if each else None)


@pytest.mark.parametrize("name", MIXED)
def test_mixed(tmp_path, name):
    operator, why, build = MIXED[name]
    says = ["MatMul node '/proj/MatMul'", "rows of the call cannot be traced", "--row-axis"]
    Case(build, tmp_path).compile(refused=[*says, f"{operator} node '/{operator}_", why])


@pytest.mark.parametrize("time", ["call", "switch"])
def test_other_times_mix_as_they_like(tmp_path, time):
    case = Case(MIXED["cumsum"][2], tmp_path)
    case.compile(time)
    y = product.run(tmp_path / "m.adapt", {"x": case.x}, tmp_path, "--adapter", "a")["y"]
    assert_agrees(y, case.alone("a", case.x), case.alone(None, case.x))


@pytest.mark.parametrize("name", ["cumsum", "softmax", "slice", "gather", "reduce"])
def test_one_row_is_kept_apart_from_no_other(tmp_path, name):
    case = Case(MIXED[name][2], tmp_path, rows=1, batch=1)
    case.x = case.x[:1]
    if name == "gather":
        case.build = lambda g: End(g("Gather", "x", g.ints(0, 0), axis=0))
        row_graphs.Graph().save(case.build, case.base, weight, batch=1)
    case.compile()
    assert_agrees(case.run("b"), case.alone("b", case.x), case.alone(None, case.x))


# Graphs whose tokens can be told apart, though they read each other.
TOKENS_KEPT = {
    "running sum": lambda g: End(g("CumSum", "x", g.integer(1))),
    "softmax": lambda g: End(g("Softmax", "x", axis=1)),
    "a mean beside": lambda g: End(g("Add", "x", g("ReduceMean", "x", g.ints(1)))),
    "attention": KEPT["attention"],
    "flattened": KEPT["flattened"],
}

TOKENS_MIXED = {
    "mean": ("ReduceMean", ALONG, lambda g: End(g("ReduceMean", "x", g.ints(1)))),
    "turned round": ("Slice", ALONG, KEPT["slice backwards"]),
    "gather": ("Gather", PICKS, KEPT["gather"]),
    "topk": ("TopK", ALONG, KEPT["topk"]),
    "concat": ("Concat", ALONG, KEPT["concat"]),
}


@pytest.mark.parametrize("name", TOKENS_KEPT)
def test_tokens_kept_apart(tmp_path, name):
    """Tokens may read each other, so a token's output is that of a run where its adapter is everybody's."""
    case = Case(TOKENS_KEPT[name], tmp_path)
    case.compile("row-token")
    names = [["a", None, "b", "a"], [None] * LENGTH, ["b", "b", None, "a"]]
    y = case.run(",".join("/".join(each or "-" for each in row) for row in names))
    every = {each: case.alone(each, case.x).reshape(3, LENGTH, OUTPUTS) for each in ("a", "b", None)}
    wanted = np.array([[every[each][i, t] for t, each in enumerate(row)] for i, row in enumerate(names)])
    assert_agrees(y.reshape(wanted.shape), wanted, every[None])


@pytest.mark.parametrize("name", TOKENS_MIXED)
def test_tokens_mixed(tmp_path, name):
    operator, why, build = TOKENS_MIXED[name]
    says = ["'proj'", "cannot be told apart by token", "bind the adapter at row"]
    Case(build, tmp_path).compile("row-token", refused=[*says, f"{operator} node '/{operator}_", why])


# What compiled code has no operator for has no rows either.
NOT_COMPILED = {
    "Einsum": lambda g: End(g("Einsum", "x", equation="bsw->sw")),
    "LSTM": lambda g: End(g("LSTM", "x", g.real(1, 24, WIDTH), g.real(1, 24, WIDTH), hidden_size=WIDTH)),
    "BatchNormalization": lambda g: End(
        g("BatchNormalization", "x", *(g.real(LENGTH) for _ in range(4)), outputs=3, training_mode=1)[0]
    ),
}


@pytest.mark.parametrize("operator", NOT_COMPILED)
def test_not_compiled(tmp_path, operator):
    said = Case(NOT_COMPILED[operator], tmp_path).compile(refused=[f"{operator} node '/{operator}_0'"])
    assert "not supported" in said
