# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Folders of mixtures that are at fault: one line that names what, and exit code 1."""

import json

import product
import pytest
import safetensors.torch
import torch
import zoo
from mixtures import Mixture


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    return zoo.export(zoo.make("bert"), "bert", "dynamo", tmp_path_factory.mktemp("bad") / "bert.onnx")


def mixture(**words):
    return Mixture(zoo.make("bert"), ["query"], [2, 3], **words)


def refused(graph, folder, mentions, *more):
    product.refused("adapter-opt", graph, f"--adapter=x={folder}", "--check", *more, mentions=mentions)


ROUTER = mixture(top=1).words
FIELDS = {
    "no router": (dict(router=None), ["'router'", "missing"]),
    "no score": (dict(router={k: v for k, v in ROUTER.items() if k != "score"}), ["router.score", "implied"]),
    "unknown word": (dict(router=ROUTER | dict(jitter=0.1)), ["router.jitter", "unknown"]),
    "unknown field": (dict(balance=True), ["'balance'", "unknown"]),
    "too many chosen": (dict(router=ROUTER | dict(top=3)), ["chooses 3 of 2"]),
    "fraction": (dict(router=ROUTER | dict(top=1.5)), ["router.top", "whole number"]),
    "negative": (dict(router=ROUTER | dict(null=-1)), ["router.null"]),
    "huge": (dict(router=ROUTER | dict(null=1e300)), ["router.null"]),
    "two sums": (dict(router=ROUTER | dict(normalise="before")), ["normalise before", "softmax"]),
    "order": (dict(router=ROUTER | dict(order="select_first", score="none")), ["select_first"]),
    "temperature": (dict(router=ROUTER | dict(temperature=0)), ["temperature"]),
    "limit": (dict(router=ROUTER | dict(limit=0.5)), ["router.limit"]),
    "no limit": (dict(router=ROUTER | dict(selection="top_p", top=0)), ["router.limit"]),
    "top_p of sigmoids": (
        dict(router=ROUTER | dict(selection="top_p", limit=0.5, top=0, score="sigmoid")),
        ["top_p", "add up to 1"],
    ),
    "top and all": (dict(router=ROUTER | dict(selection="all")), ["top is set"]),
    "wrong scope": (dict(router=ROUTER | dict(scope="word")), ["scope 'word'"]),
    "task": (dict(router=ROUTER | dict(scope="task", task=0)), ["router.logits"]),
    "task without number": (dict(router=ROUTER | dict(scope="task")), ["router.task"]),
    "all shared": (dict(router=ROUTER | dict(shared=2)), ["router.shared"]),
    "other null experts": (dict(router=ROUTER | dict(null=1)), ["expected [3, 32]", "1 null"]),
    "no adapters": (dict(adapters=[]), ["'adapters'"]),
    "missing folder": (dict(adapters=["expert0", "expert9"]), ["expert9", "adapter_config.json"]),
    "absolute": (dict(adapters=["/etc", "expert1"]), ["'/etc'", "relative"]),
    "escape": (dict(adapters=["../../etc", "expert1"]), ["leaves the folder"]),
    "hidden escape": (dict(adapters=["expert0/../../../x", "expert1"]), ["leaves the folder"]),
    "itself": (dict(adapters=[".", "expert1"]), ["ADAPTER_OPT_MIXTURE", "plain LoRA"]),
    "number": (dict(adapters=[1, 2]), ["'adapters'"]),
    "third adapter": (dict(adapters=["expert0", "expert1", "expert1"]), ["expected [3, 32]", "3 adapters"]),
    "routers": (dict(routers=[1]), ["'routers'"]),
    "router without tensors": (
        dict(routers={"a": dict(modules=["b"], reads="b")}),
        ["routers.a", "a.router.weight"],
    ),
}


@pytest.mark.parametrize("fields", FIELDS, ids=str)
def test_field(graph, tmp_path, fields):
    changes, mentions = FIELDS[fields]
    refused(graph, mixture(top=1).write(tmp_path / "m", **changes), mentions)


def _narrow(tensors, key):
    tensors[key] = tensors[key][:, :-1].contiguous()


def _missing(tensors, key):
    del tensors[key]


def _foreign(tensors, key):
    tensors["bert.noise"] = torch.ones(2, 2)


def _other_module(tensors, key):
    tensors[key.replace("query", "key")] = torch.ones(2, 32)


def _twice(tensors, key):
    tensors["base_model.model." + key] = tensors[key].clone()


def _integers(tensors, key):
    tensors[key] = tensors[key].to(torch.int32)


def _bias(tensors, key):
    tensors[key.replace("weight", "bias")] = torch.ones(3)


def _nan(tensors, key):
    tensors[key][0, 0] = torch.nan


CHANGES = {
    _narrow: ["router.weight", "[2, 31]", "[2, 32]"],
    _missing: ["is adapted by an expert", "router.weight"],
    _foreign: ["bert.noise", "no place"],
    _other_module: ["no expert adapts"],
    _twice: ["says the same"],
    _integers: ["expected float16"],
    _bias: ["router.bias", "[3]", "[2]"],
    _nan: ["NaN"],
}


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_tensor(graph, tmp_path, change):
    made = mixture(top=1)
    tensors = dict(made.tensors)
    change(tensors, next(iter(tensors)))
    refused(graph, made.write(tmp_path / "m", tensors), CHANGES[change])


def _dora(config, tensors):
    config["use_dora"] = True
    for key in list(tensors):
        if "lora_B" in key:
            name = key.replace("lora_B.weight", "lora_magnitude_vector")
            tensors[name] = torch.ones(tensors[key].shape[0])


def _wide(config, tensors):
    for key in tensors:
        if "lora_A" in key:
            tensors[key] = torch.ones(tensors[key].shape[0], 31)


def _shira(config, tensors):
    config["peft_type"] = "SHIRA"


@pytest.mark.parametrize(
    "change, mentions",
    [
        (_dora, ["expert1", "lora of A, B, magnitude"]),
        (_wide, ["of one expert"]),
        (_shira, ["'SHIRA'", "plain LoRA"]),
    ],
    ids=lambda each: getattr(each, "__name__", ""),
)
def test_expert(graph, tmp_path, change, mentions):
    folder = mixture(top=1).write(tmp_path / "m")
    path = folder / "expert1"
    config = json.loads((path / "adapter_config.json").read_text())
    tensors = safetensors.torch.load_file(path / "adapter_model.safetensors")
    change(config, tensors)
    (path / "adapter_config.json").write_text(json.dumps(config))
    safetensors.torch.save_file(tensors, path / "adapter_model.safetensors")
    refused(graph, folder, mentions)


@pytest.mark.parametrize(
    "time, mentions",
    [("switch", ["a switch only writes weights", "call or row"]), ("row-token", ["by row, not by token"])],
)
def test_later(graph, tmp_path, time, mentions):
    folder = mixture(top=1).write(tmp_path / "m")
    given = f"--adapter=x={folder}@{time}"
    product.refused("adapter-opt", graph, given, "-o", tmp_path / "m.adapt", mentions=mentions)


def test_behind_a_mixture(graph, tmp_path):
    """There is no weight of which a DoRA could take the norm."""
    folder = mixture(top=1).write(tmp_path / "m")
    path = folder / "expert0"
    config = json.loads((path / "adapter_config.json").read_text())
    tensors = safetensors.torch.load_file(path / "adapter_model.safetensors")
    dora = tmp_path / "dora"
    dora.mkdir()
    _dora(config, tensors)
    (dora / "adapter_config.json").write_text(json.dumps(config))
    safetensors.torch.save_file(tensors, dora / "adapter_model.safetensors")
    refused(graph, folder, ["'x' is a mixture", "lora+dora"], f"--adapter=y={dora}")


def test_reads_what_comes_later(graph, tmp_path):
    """A router that reads the input of a linear behind its own."""
    name = "bert.encoder.layer.0"
    reads = dict(modules=["attention.self.query"], reads="output.dense")
    made = Mixture(zoo.make("bert"), ["layer.0.attention.self.query"], [2, 3], top=1, routers={name: reads})
    refused(graph, made.write(tmp_path / "m"), ["output.dense", "computes later"])
