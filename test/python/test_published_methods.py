# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Published methods (published_converted.py, published_adapters.py): merged, switched, with a call, and in
one batch, against NumPy from their formulas. Those that are about several adapters are here."""

import functools

import numpy as np
import own_forms
import published_adapters
import pytest
from onnx import TensorProto, helper, load, numpy_helper
from onnx import save as save_model
from own_forms import real
from product import opt
from published import CASES, ao, check, record, run
from published_adapters import change_of, factors_of, lora, updated
from published_converted import write_lt_sft
from published_world import ROWS, World
from tolerance import assert_agrees

# Forms that the cases have.
ROOM = "lora lora_sb adalora paca corda qwha loldu sltrain add sparse sparse_flat replace my3dgen ssf".split()

# Of norms' weights slots take whole ones alone.
NO_ROOM = {
    "lt_sft": "no room for the form 'add' there, only for: replace",
    "ssf": "its form 'scale_shift' is not in this artifact",
}


class Cases(World):
    """The world, each case's adapter and outputs, and an artifact for each mode with all of them."""

    def __init__(self, folder):
        super().__init__(folder)
        self.adapter = functools.cache(self._adapter)
        self.compiled = functools.cache(self._compiled)
        self.with_room = functools.cache(self._with_room)

    def _adapter(self, name):
        folder = self.folder / name
        folder.mkdir()
        want = CASES[name][2](self, folder)
        return folder / "x", want

    def _compiled(self, mode):
        adapters = [f"--adapter={name}={self.adapter(name)[0]}@{mode}" for name in CASES]
        opt(self.path, *adapters, "-o", self.folder / f"{mode}.adapt")
        return ao.Model(self.folder / f"{mode}.adapt")

    def _with_room(self):
        path = self.folder / "slot.adapt"
        opt(self.path, "--adapter-slot", f"s:{'+'.join(ROOM)}@row", "-o", path)
        return ao.Model(path)

    def check(self, name, mode, got):
        ids, how, _ = CASES[name]
        check(ids, how, mode, got, self.adapter(name)[1], self.plain)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return Cases(tmp_path_factory.mktemp("published"))


@pytest.mark.parametrize("name", CASES)
def test_merges_into_onnx(world, name):
    got, _ = run(world.path, {"x": world.adapter(name)[0]}, world.feed, "onnx", world.folder)
    world.check(name, "onnx", got)


@pytest.mark.parametrize("name", CASES)
def test_switches_to_and_fro(world, name):
    model, before = world.compiled("switch"), world.compiled("switch")(world.feed)
    model.switch(name)
    world.check(name, "switch", model(world.feed))
    model.switch(None)
    after = model(world.feed)
    assert all(np.array_equal(before[key], after[key]) for key in before)


@pytest.mark.parametrize("name", CASES)
def test_acts_with_a_call(world, name):
    world.check(name, "call", world.compiled("call")(world.feed, adapters=name))


@pytest.mark.parametrize("name", CASES)
def test_acts_on_rows(world, name):
    world.check(name, "row", world.compiled("row")(world.feed, adapters=[name] * ROWS))


@pytest.mark.parametrize("name", CASES)
def test_arrives_in_a_slot(world, name):
    model = world.with_room()
    if why := NO_ROOM.get(name):
        with pytest.raises(ValueError, match=why):
            model.load_adapter(name, world.adapter(name)[0])
        return
    model.load_adapter(name, world.adapter(name)[0])
    world.check(name, "slot", model(world.feed, adapters=[name] * ROWS))
    model.unload_adapter(name)


def check_rows(ids, how, world, got, wants):
    """Each row against its own outputs."""
    for key in got:
        for row, want in enumerate(wants):
            assert_agrees(got[key][row], want[key][row])
    want = {key: np.stack([each[key][row] for row, each in enumerate(wants)]) for key in got}
    record(ids, how, "row", got, want, world.plain)


def test_all_in_one_batch(world):
    names = [*CASES, *[None] * (-len(CASES) % ROWS)]
    for start in range(0, len(names), ROWS):
        chosen = names[start : start + ROWS]
        got = world.compiled("row")(world.feed, adapters=chosen)
        wants = [world.adapter(name)[1] if name else world.plain for name in chosen]
        for key in got:
            for row, want in enumerate(wants):
                assert_agrees(got[key][row], want[key][row])


def compiled(world, folder, adapters):
    words = [f"--adapter={name}={path}@row" for name, path in adapters.items()]
    opt(world.path, *words, "-o", folder / "row.adapt")
    return ao.Model(folder / "row.adapt")


@pytest.mark.full
def test_an_adapter_for_each_modality(world, tmp_path):
    """U04 (CREMA): LoRA, and a projection in the place of the base's; rows of several modalities."""
    adapters, wants = {}, {None: world.plain}
    for name in ("audio", "depth"):
        a, b = factors_of(world, "one", 3)
        head = real(world.rng, *world.params["head.weight"].shape)
        modules = {"one": {"form": "lora"}, "head": {"form": "replace"}}
        tensors = {"one": {"A": a, "B": b}, "head": {"value": head}}
        adapters[name] = own_forms.save(tmp_path / name, "lora", tensors, modules=modules)
        wants[name] = world.outputs(updated(world, {"one": (a, b)}) | {"head.weight": head})
        for mode in ("onnx", "switch", "call"):
            got, _ = run(world.path, {"x": adapters[name]}, world.feed, mode, tmp_path)
            check("U04", "forms `lora`, `replace` by module", mode, got, wants[name], world.plain)
    rows = ["audio", None, "depth", "audio", "depth", "depth"]
    got = compiled(world, tmp_path, adapters)(world.feed, adapters=rows)
    check_rows("U04", "forms `lora`, `replace` by module", world, got, [wants[name] for name in rows])


def test_tasks_beside_what_they_share(world, tmp_path):
    """U09 (MTLoRA): one adapter for all tasks and one for each; a row is there once for each task."""
    tasks = ("depth", "edges", "parts")
    factors = {name: {"one": factors_of(world, "one", 2)} for name in tasks}
    factors["all"] = {"one": factors_of(world, "one", 3), "other": factors_of(world, "other", 2)}
    adapters = {name: lora(tmp_path / name, each) for name, each in factors.items()}
    model = compiled(world, tmp_path, adapters)
    wants = []
    for task in tasks:
        changed = updated(world, factors["all"])
        changed["one.weight"] = changed["one.weight"] + change_of(*factors[task]["one"])
        wants.append(world.outputs(changed))
    # Two inputs of three tasks each.
    feed = {name: np.repeat(array[:2], 3, axis=0) for name, array in world.feed.items()}
    got = model(feed, adapters=[{"all": 1.0, task: 1.0} for _ in range(2) for task in tasks])
    want = {key: np.stack([wants[row % 3][key][row // 3] for row in range(ROWS)]) for key in got}
    plain = {key: np.repeat(array[:2], 3, axis=0) for key, array in world.plain.items()}
    check("U09", "PEFT's LORA, two on a row", "row", got, want, plain)
    # One task alone is merged.
    both = {name: adapters[name] for name in ("all", tasks[0])}
    got, _ = run(world.path, both, world.feed, "onnx", tmp_path)
    check("U09", "PEFT's LORA, two on a row", "onnx", got, wants[0], world.plain)


def test_layers_that_are_left_out(world, tmp_path):
    """U13 (S3T): what was trained on other data is in other layers, each an adapter; any set of them acts."""
    layers = {name: {name: factors_of(world, name, 2)} for name in ("one", "other", "conv")}
    adapters = {name: lora(tmp_path / name, each) for name, each in layers.items()}
    sets = [("one", "other", "conv"), ("one", "other"), ("other",), ("one", "conv"), (), ("conv",)]
    rows = [dict.fromkeys(each, 1.0) or None for each in sets]
    got = compiled(world, tmp_path, adapters)(world.feed, adapters=rows)
    wants = [
        world.outputs({k: v for name in each for k, v in updated(world, layers[name]).items()})
        for each in sets
    ]
    check_rows("U13", "PEFT's LORA, an adapter for each layer", world, got, wants)
    parts = {name: adapters[name] for name in sets[1]}
    got, _ = run(world.path, parts, world.feed, "onnx", tmp_path)
    check("U13", "PEFT's LORA, an adapter for each layer", "onnx", got, wants[1], world.plain)


def test_sums_of_sparse_updates_on_a_row(world, tmp_path):
    """U29 (SFTM): language and ranking as two adapters, merged together and on one row."""
    _, want = world.adapter("sums_of_sparse_updates")
    parts = {name: world.folder / "sums_of_sparse_updates" / name for name in ("language", "ranking")}
    for mode in ("onnx", "row"):
        got, _ = run(world.path, parts, world.feed, mode, tmp_path)
        check("U29", "`convert lt-sft`, two on a row", mode, got, want, world.plain)


def quantised(weight, bits=4, step=0.25):
    """Learned steps: codes of a weight, and the weight that they are."""
    codes = np.clip(np.round(weight / step), -(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    return codes.astype(np.int8), (step * codes).astype(np.float32)


def test_merged_before_it_is_quantised(world, tmp_path):
    """U37 (EfficientDM), U38 (L4Q): LoRA is merged into floats; the codes are those of W + B A."""
    factors = {"one": factors_of(world, "one", 2), "conv": factors_of(world, "conv", 2)}
    folder = lora(tmp_path / "x", factors)
    got, _ = run(world.path, {"x": folder}, world.feed, "onnx", tmp_path)
    want = updated(world, factors)
    check("U37, U38", "PEFT's LORA, merged, then quantised", "onnx", got, world.outputs(want), world.plain)
    graph = load(tmp_path / "merged.onnx").graph
    merged = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
    for name, weight in want.items():
        # No code of these numbers is decided by the rounding to f32.
        assert np.abs(weight / 0.25 % 1 - 0.5).min() > 1e-5
        np.testing.assert_array_equal(quantised(merged[name])[0], quantised(weight)[0])
        assert (quantised(merged[name])[0] != quantised(world.params[name])[0]).any()


# NormalFloat of 4 bits, as QLoRA has it.
NF4 = np.array(
    [
        *(-1.0, -0.6961928, -0.52507305, -0.3949175, -0.28444138, -0.18477343, -0.09105004, 0.0),
        *(0.0795803, 0.1609302, 0.2461123, 0.33791524, 0.44070983, 0.562617, 0.72295684, 1.0),
    ]
)


def dequantised(name, array):
    """A weight by its codes, in blocks of eight numbers; other parameters as they are."""
    if array.ndim < 2 or name == "table.weight":
        return array
    blocks = array.reshape(-1, 8)
    largest = np.abs(blocks).max(axis=1, keepdims=True)
    codes = np.abs(blocks[:, :, None] / largest[:, :, None] - NF4).argmin(axis=2)
    return (NF4[codes] * largest).astype(np.float32).reshape(array.shape)


@pytest.mark.parametrize("mode", ["onnx", "switch", "call", "row"])
def test_beside_a_dequantised_base(tmp_path, mode):
    """U39 (QLoRA): the graph has the dequantised weights; their codes would not hold what is merged."""
    base = World(tmp_path, stored=dequantised)
    factors = {"one": factors_of(base, "one", 2), "conv": factors_of(base, "conv", 3)}
    folder = lora(tmp_path / "x", factors)
    got, _ = run(base.path, {"x": folder}, base.feed, mode, tmp_path)
    want = base.outputs(updated(base, factors))
    check("U39", "PEFT's LORA on dequantised weights", mode, got, want, base.plain)


def test_cases_are_entered():
    assert {"corda_of_peft", "colora"} <= set(CASES) and published_adapters


def test_a_head_that_is_tied_to_a_table(tmp_path):
    """U25: in PyTorch they are one parameter, which the file names once."""
    rng, value = np.random.default_rng(8), helper.make_tensor_value_info
    table = real(rng, 11, 6)
    nodes = [
        helper.make_node("Gather", ["table.weight", "ids"], ["e"], name="/table/Gather"),
        helper.make_node("Transpose", ["table.weight"], ["t"], name="/head/Transpose", perm=[1, 0]),
        helper.make_node("MatMul", ["e", "t"], ["y"], name="/head/MatMul"),
    ]
    graph = helper.make_graph(
        nodes,
        "tied",
        [value("ids", TensorProto.INT64, ["rows", 3])],
        [value("y", TensorProto.FLOAT, ["rows", 3, 11])],
        [numpy_helper.from_array(table, "table.weight")],
    )
    versions = [helper.make_opsetid("", 17)]
    save_model(helper.make_model(graph, opset_imports=versions, ir_version=8), tmp_path / "m.onnx")
    file, changes = write_lt_sft(rng, tmp_path / "f.safetensors", {"table.weight": (11, 6)})
    ao.convert("lt-sft", file, tmp_path / "x")
    feed = {"ids": rng.integers(0, 11, (4, 3))}
    plain, want = (
        {"y": (each[feed["ids"]] @ each.T).astype(np.float32)}
        for each in (table.astype(float), table + changes["table.weight"])
    )
    for mode in ("onnx", "switch", "row"):
        got, _ = run(tmp_path / "m.onnx", {"x": tmp_path / "x"}, feed, mode, tmp_path)
        check("U25", "`convert lt-sft`", mode, got, want, plain)
