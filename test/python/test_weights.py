# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""--weights: products with weights in narrow formats against their definition in NumPy."""

import linear_model
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


def is_here(target):
    """Whether this machine runs code for a target."""
    needed = {"v4": "avx512f", "bf16": "avx512_bf16"}.get(target.split("-")[-1].split("+")[-1], "avx2")
    return needed in open("/proc/cpuinfo").read()


def check(model, weight, bias, text, depth, tolerance=1e-6, counts=ROWS, activations=None):
    generator = np.random.default_rng(5)
    for rows in counts:
        x = (generator.standard_normal((rows, depth)) * generator.uniform(0.1, 9)).astype(np.float32)
        wanted = narrow.product(x, weight, text, activations) + bias
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
        if not is_here(target):
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


PAIR_TARGETS = [*TARGETS, "cpu:x86-64-v4+bf16"]


@pytest.mark.parametrize("target", PAIR_TARGETS)
def test_rows_of_bf16(tmp_path, target):
    """Tiles of all heights, K around the ends of vectors; a row gets the same beside others."""
    if not is_here(target):
        pytest.skip("this processor has not what the target needs")
    for depth in (2, 14, 16, 30, 32, 34, 98):
        weight, bias = linear(tmp_path / "m.onnx", depth, 97, seed=depth, bias=depth == 34)
        words = ["--weights", "bf16", "--activations", "bf16", "--target", target]
        model, _ = compiled(tmp_path, *words)
        check(model, weight, bias, "bf16", depth, counts=[*range(1, 10), 33], activations="bf16")
        x = np.random.default_rng(depth).standard_normal((33, depth)).astype(np.float32)
        whole = model(x=x)["y"]
        for row in range(33):
            assert np.array_equal(model(x=x[row : row + 1])["y"][0], whole[row])


def test_pairs_to_the_bit(tmp_path):
    """With and without AVX512-BF16 sums are the same, but for denormals; an artifact names what it needs."""
    linear(tmp_path / "m.onnx", 256, 50)
    x = np.random.default_rng(7).standard_normal((9, 256)).astype(np.float32)
    x[8, :2] = (np.nan, np.inf)
    results = []
    for target in filter(is_here, PAIR_TARGETS):
        words = ["--weights", "bf16", "--activations", "bf16", "--target", target]
        model, _ = compiled(tmp_path, *words)
        results.append(model(x=x)["y"])
        assert ("avx512_bf16" in model.info()["cpu_features"]) == (
            target.endswith("bf16") or (target == "cpu:native" and is_here("+bf16"))
        )
    assert np.isfinite(results[0][:8]).all() and np.isnan(results[0][8]).all()
    for each in results[1:]:
        assert np.array_equal(each, results[0], equal_nan=True)


@pytest.mark.parametrize("target", ["cpu:x86-64-v3", "cpu:x86-64-v4+bf16"])
def test_adapters_beside_rows_of_bf16(tmp_path, target):
    """What an adapter adds reads the rows as they came, in f32."""
    if not is_here(target):
        pytest.skip("this processor has not what the target needs")
    # So large that the adapter is factors beside the weight, not a weight of its own.
    made = linear_model.make(tmp_path, 96, 192)
    words = ["--weights", "bf16", "--activations", "bf16", "--target", target]
    artifact = tmp_path / "model.adapt"
    done = product.call("adapter-opt", made.model, f"--adapter=l={made.adapter}@row", *words, "-o", artifact)
    assert done.returncode == 0, done.stderr
    model = ao.load(artifact, threads=2)
    weight = numpy_helper.to_array(onnx.load(made.model).graph.initializer[0])
    base = narrow.product(made.x, weight, "bf16", "bf16")
    named = [None, "l", "l", None, "l"]
    wanted = base + np.where([[name] for name in named], made.updated - made.base, 0)
    got = model(x=made.x, adapters=named)["y"]
    assert_agrees(got, wanted.astype(np.float32), base.astype(np.float32), tolerance=1e-6)
    for row, name in enumerate(named):
        alone = model(x=made.x[row : row + 1], adapters=[name])["y"]
        assert np.array_equal(alone[0], got[row])


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
        (["--weights", "int8", "--activations", "int4"], 2, ["they are int8, bf16 or f32"]),
        (["--weights", "int8", "--activations", "bf16"], 2, ["--activations bf16", "add --weights bf16"]),
        (["--activations", "bf16"], 2, ["--activations bf16", "add --weights bf16"]),
        (["--target", "cpu:x86-64-v3+bf16"], 1, ["cpu:x86-64-v3+bf16", "cpu:x86-64-v4+bf16"]),
        (["--target", "cpu:x86-64-v4+amx"], 1, ["cpu:x86-64-v4+amx", "bf16"]),
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
