# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""--weights: products with weights in narrow formats against their definition in NumPy."""

import narrow
import numpy as np
import onnx
import product
import pytest
from onnx import TensorProto, helper, numpy_helper
from tolerance import assert_agrees

ao = product.package()
# Columns around the ends of vectors and of column blocks.
SIZES = [(128, 40), (256, 97), (128, 7)]
ROWS = [1, 2, 5, 8, 19]


def linear(path, depth, columns, seed=0, special=None, bias=False):
    """A graph x w (+ b); returns the weight and the bias."""
    generator = np.random.default_rng(seed)
    weight = (generator.standard_normal((depth, columns)) * 0.1).astype(np.float32)
    if special is not None:
        special(weight)
    added = generator.standard_normal(columns).astype(np.float32)
    names = ["x", "w", *(["b"] if bias else [])]
    node = helper.make_node("Gemm" if bias else "MatMul", names, ["y"], name="product")
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", depth])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", columns])],
        [numpy_helper.from_array(weight, "w"), *([numpy_helper.from_array(added, "b")] if bias else [])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return weight, added if bias else 0


def compiled(tmp_path, *options):
    artifact = tmp_path / "model.adapt"
    done = product.call("adapter-opt", tmp_path / "m.onnx", *options, "-o", artifact)
    assert done.returncode == 0, done.stderr
    return ao.load(artifact, threads=2), done.stderr


def check(model, weight, bias, text, depth, tolerance=1e-6):
    generator = np.random.default_rng(5)
    for rows in ROWS:
        x = (generator.standard_normal((rows, depth)) * generator.uniform(0.1, 9)).astype(np.float32)
        wanted = narrow.product(x, weight, text) + bias
        assert_agrees(model(x=x)["y"], wanted.astype(np.float32), tolerance=tolerance)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("text", narrow.FORMATS)
def test_products(tmp_path, text, size):
    depth, columns = size
    weight, bias = linear(tmp_path / "m.onnx", *size, bias=columns == 97)
    model, _ = compiled(tmp_path, "--weights", text)
    check(model, weight, bias, text, depth)
    (parameter,) = [each for each in model.info()["parameters"] if "format" in each]
    assert parameter["format"] == text.replace(":group=32", "")


TARGETS = ["cpu:x86-64-v3", "cpu:x86-64-v4", "cpu:native"]


@pytest.mark.parametrize("text", ["bf16", "int8", "int4"])
def test_machines_agree(tmp_path, text):
    """With and without AVX-512 and VNNI: sums of integers are the same, sums of f32 differ by rounding."""
    weight, _ = linear(tmp_path / "m.onnx", 256, 50)
    for target in TARGETS:
        if target.endswith("v4") and "avx512f" not in open("/proc/cpuinfo").read():
            continue
        model, _ = compiled(tmp_path, "--weights", text, "--target", target)
        check(model, weight, 0, text, 256)


@pytest.mark.parametrize("text", ["int8", "int4", "int4:group=64"])
def test_activations_of_f32(tmp_path, text):
    weight, _ = linear(tmp_path / "m.onnx", 128, 60)
    model, _ = compiled(tmp_path, "--weights", text, "--activations", "f32")
    x = np.random.default_rng(1).standard_normal((9, 128)).astype(np.float32)
    wanted = x.astype(np.float64) @ narrow.rounded(weight, text)
    assert_agrees(model(x=x)["y"], wanted.astype(np.float32), tolerance=1e-6)


def small(weight):
    """Columns of zeros, of one number alone, below f16's least scale, and ones that are all alike."""
    weight[:, 0] = 0
    weight[:, 1] = 0
    weight[40, 1] = -3.5
    weight[:, 2] *= 1e-9
    weight[:, 3] = 0.25
    weight[:32, 4] = 0


@pytest.mark.parametrize("text", ["bf16", "f16", "int8", "int4"])
def test_special_columns(tmp_path, text):
    weight, _ = linear(tmp_path / "m.onnx", 128, 40, special=small)
    model, _ = compiled(tmp_path, "--weights", text)
    check(model, weight, 0, text, 128)


@pytest.mark.parametrize("text", ["int8", "int4"])
def test_special_rows(tmp_path, text):
    """Zeros, large and small numbers beside each other; what is not finite stays so."""
    weight, _ = linear(tmp_path / "m.onnx", 64, 33)
    model, _ = compiled(tmp_path, "--weights", text)
    x = np.random.default_rng(2).standard_normal((4, 64)).astype(np.float32)
    x[0] = 0
    x[1, :32] = 0
    x[1, 5] = 1e20
    x[2, 40:] *= 1e-30
    wanted = narrow.product(x, weight, text).astype(np.float32)
    for got, row in zip(model(x=x)["y"], wanted, strict=True):
        assert_agrees(got, row, tolerance=1e-6)
    for value in (np.nan, np.inf):
        x[3, 9] = value
        got = model(x=x)["y"]
        assert not np.isfinite(got[3]).any()
        assert np.isfinite(got[:3]).all()


def test_depth_that_does_not_fit(tmp_path):
    """No multiple of the group: bf16 where the number is even, f32 else."""
    for depth, text in ((50, "bf16"), (33, None)):
        weight, _ = linear(tmp_path / "m.onnx", depth, 20)
        model, said = compiled(tmp_path, "--weights", "int4")
        formats = [each["format"] for each in model.info()["parameters"] if "format" in each]
        assert formats == ([text] if text else [])
        assert "1 weight" in said and "no multiple of 32" in said
        rounded = narrow.rounded(weight, text) if text else weight
        x = np.random.default_rng(1).standard_normal((3, depth)).astype(np.float32)
        assert_agrees(model(x=x)["y"], (x.astype(np.float64) @ rounded).astype(np.float32), tolerance=1e-6)


def test_rows_do_not_depend_on_each_other(tmp_path):
    linear(tmp_path / "m.onnx", 128, 60)
    for text in ("bf16", "int8", "int4", "int4:group=16"):
        model, _ = compiled(tmp_path, "--weights", text)
        x = np.random.default_rng(1).standard_normal((19, 128)).astype(np.float32)
        whole = model(x=x)["y"]
        for row in range(19):
            assert np.array_equal(model(x=x[row : row + 1])["y"][0], whole[row])


@pytest.mark.parametrize(
    "words, code, mentions",
    [
        (["--weights", "int3"], 2, ["--weights int3", "bf16, f16, int8 and int4"]),
        (["--weights", "int4:group=12"], 2, ["group=N", "multiple of 16"]),
        (["--weights", "int4:"], 2, ["group=N"]),
        (["--weights", "bf16:group=32"], 2, ["bf16 has no groups"]),
        (["--weights", "bf16", "--activations", "int8"], 2, ["--activations int8", "add --weights int8"]),
        (["--weights", "int8", "--activations", "int4"], 2, ["they are int8 or f32"]),
        (["--weights", "int4:group=16", "--activations", "int8"], 2, ["needs groups of 32"]),
        (["--weights", "int4", "--target", "nvidia:sm_80"], 2, ["not yet for the target nvidia:sm_80"]),
    ],
)
def test_wrong_options(tmp_path, words, code, mentions):
    linear(tmp_path / "m.onnx", 64, 8)
    output = tmp_path / "o.adapt"
    product.refused("adapter-opt", tmp_path / "m.onnx", *words, "-o", output, code=code, mentions=mentions)
    assert not output.exists()


def test_merged_model_has_its_own_types(tmp_path):
    linear(tmp_path / "m.onnx", 64, 8)
    words = [tmp_path / "m.onnx", "--weights", "int8", "-o", tmp_path / "o.onnx"]
    product.refused("adapter-opt", *words, code=2, mentions=["--weights int8", "-o model.adapt"])
