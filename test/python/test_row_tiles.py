# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Adapters by row on a linear of several register tiles: segments that cover whole tiles and ends of some,
blocks of columns that are whole and one that is not, ranks of one vector and of more."""

import json

import numpy as np
import onnx
import product
import pytest
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save_file
from tolerance import assert_agrees

INPUTS, OUTPUTS, SCALE = 70, 200, 2.0
RANKS = {"a": 3, "b": 20, "d": 5}
# Of 77 rows; where they end, no tile of rows does.
SEGMENTS = [("a", 20), (None, 5), ("b", 29), ({"a": 0.5, "d": 0.25}, 9), ("d", 11), ({"b": -0.5}, 3)]


def folder_of(where, name, rng):
    """A LoRA folder, `d` with a magnitude; what it makes of x, before the bias."""
    a = rng.standard_normal((RANKS[name], INPUTS)).astype(np.float32)
    b = rng.standard_normal((OUTPUTS, RANKS[name])).astype(np.float32)
    tensors = {"lora_A.weight": a, "lora_B.weight": b}
    magnitude = None
    if name == "d":
        magnitude = tensors["lora_magnitude_vector"] = rng.uniform(5, 15, OUTPUTS).astype(np.float32)
    where.mkdir()
    save_file(
        {f"base_model.model.proj.{k}": v for k, v in tensors.items()}, where / "adapter_model.safetensors"
    )
    config = {"peft_type": "LORA", "r": RANKS[name], "lora_alpha": SCALE * RANKS[name]}
    config |= {"target_modules": ["proj"], "use_dora": name == "d"}
    (where / "adapter_config.json").write_text(json.dumps(config))

    def updated(weight):
        weight = weight + SCALE * a.T.astype(np.float64) @ b.T
        return weight if magnitude is None else weight * (magnitude / np.linalg.norm(weight, axis=0))

    return updated


@pytest.fixture(scope="module", params=["alone", "in a concatenation"])
def linear(request, tmp_path_factory):
    """The loaded model, its input and what each adapter makes of it, by name; None is the base. In a
    concatenation the product's rows are strided."""
    where, rng = tmp_path_factory.mktemp("tiles"), np.random.default_rng(5)
    weight = rng.standard_normal((INPUTS, OUTPUTS)).astype(np.float32)
    bias = rng.standard_normal(OUTPUTS).astype(np.float32)
    is_alone = request.param == "alone"
    width = OUTPUTS if is_alone else OUTPUTS + INPUTS
    made = "y" if is_alone else "made"
    nodes = [helper.make_node("Gemm", ["x", "proj.weight", "proj.bias"], [made], name="/proj/Gemm")]
    if not is_alone:
        nodes.append(helper.make_node("Concat", ["made", "x"], ["y"], axis=1))
    graph = helper.make_graph(
        nodes,
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", INPUTS])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", width])],
        [numpy_helper.from_array(weight, "proj.weight"), numpy_helper.from_array(bias, "proj.bias")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, where / "linear.onnx")
    x = rng.standard_normal((sum(n for _, n in SEGMENTS), INPUTS)).astype(np.float32)
    makes = {None: x.astype(np.float64) @ weight + bias}
    for name in RANKS:
        makes[name] = x @ folder_of(where / name, name, rng)(weight) + bias
    given = [f"--adapter={name}={where / name}@row" for name in RANKS]
    product.opt(where / "linear.onnx", *given, "-o", where / "rows.adapt")
    model = product.package().load(str(where / "rows.adapt"), threads=2)
    return lambda **given: model(**given)["y"][:, :OUTPUTS], x, makes


def rows():
    return [who for who, count in SEGMENTS for _ in range(count)]


def test_segments_of_any_size(linear):
    model, x, makes = linear
    y, base = model(x=x, adapters=rows()), makes[None]
    begin = 0
    for who, count in SEGMENTS:
        part = slice(begin, begin + count)
        begin += count
        shares = who if isinstance(who, dict) else {} if who is None else {who: 1.0}
        changes = [share * (makes[name][part] - base[part]) for name, share in shares.items()]
        expected = base[part] + sum(changes)
        assert_agrees(y[part], expected.astype(np.float32), base[part] if shares else None)


def test_a_row_does_not_depend_on_its_neighbours(linear):
    """To the bit, wherever it lies in a tile, and whatever the others carry."""
    model, x, _ = linear
    who = rows()
    y = model(x=x, adapters=who)
    for i in range(0, len(x), 5):
        assert np.array_equal(model(x=x[i : i + 1], adapters=[who[i]])[0], y[i]), f"row {i}: {who[i]}"
    others = model(x=x, adapters=["b" if each == "a" else each for each in who])
    same = np.array([each != "a" for each in who])
    assert np.array_equal(others[same], y[same])
    assert np.array_equal(y[20:25], model(x=x)[20:25])


def test_one_adapter_on_all_rows(linear):
    model, x, makes = linear
    for name in RANKS:
        y = model(x=x, adapters=[name] * len(x))
        assert_agrees(y, makes[name].astype(np.float32), makes[None])
