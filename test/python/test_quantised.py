# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Weights that a model holds as integers: products and tables of MatMulNBits, GatherBlockQuantized and
DequantizeLinear against NumPy on the numbers that they stand for, and against ONNX Runtime on the same
file."""

import itertools

import numpy as np
import onnx
import onnxruntime
import product
import pytest
import quantised
from onnx import TensorProto, helper, numpy_helper
from quantised import Blocks
from tolerance import assert_agrees

ao = product.package()
ROWS = [*range(1, 10), 33]
TARGETS = ["cpu:x86-64-v3", "cpu:x86-64-v4", "cpu:native"]


def compiled(tmp_path, *options, name="m.onnx"):
    artifact = tmp_path / "model.adapt"
    done = product.call("adapter-opt", tmp_path / name, *options, "-o", artifact)
    assert done.returncode == 0, done.stderr
    return ao.load(artifact, threads=2)


def activations(rows, depth, seed=5):
    generator = np.random.default_rng(seed)
    return (generator.standard_normal((rows, depth)) * generator.uniform(0.1, 9)).astype(np.float32)


def multiplied(x, values, rounds):
    return (quantised.rounded_rows(x) if rounds else x).astype(np.float64) @ values.astype(np.float64)


def check(model, values, rounds, bias=0, rows=ROWS, tolerance=3e-6):
    for count in rows:
        x = activations(count, values.shape[0])
        wanted = multiplied(x, values, rounds) + bias
        assert_agrees(model(x=x)["y"], wanted.astype(np.float32), tolerance=tolerance)


def check_all(model, weights, rows, biases=None, of_floats=False):
    """Every product of a model of several. Rows are rounded to integers where the block consists of 32s."""
    for count in rows:
        inputs = {f"x{depth}": activations(count, depth) for depth in {each.depth for each in weights}}
        got = model(**inputs)
        for number, weight in enumerate(weights):
            rounds = weight.takes_integers() and not of_floats
            wanted = multiplied(inputs[f"x{weight.depth}"], weight.values, rounds)
            wanted = wanted + (biases[number] if biases else 0)
            assert_agrees(got[f"y{number}"], wanted.astype(np.float32), tolerance=3e-6)


def check_runtime(model, path, weights):
    """The same as ONNX Runtime's."""
    inputs = {f"x{depth}": activations(3, depth) for depth in {each.depth for each in weights}}
    session = session_of(path)
    got = model(**inputs)
    for name, wanted in zip(sorted(got), session.run(sorted(got), inputs), strict=True):
        assert_agrees(got[name], wanted, tolerance=1e-5)


def session_of(path):
    """Without its optimiser, which makes products that round their rows of others."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def runtime(path, **inputs):
    return session_of(path).run(None, inputs)[0]


@pytest.mark.parametrize("bits, zeros", itertools.product((4, 8), (None, "packed", "floats")))
def test_products(tmp_path, bits, zeros):
    """Every block and type of scales, at every number of rows in a tile."""
    kinds = list(itertools.product((16, 32, 64, 128, 256), ("wide", "exact")))
    weights = [Blocks(256, 97, bits, block, zeros, scales) for block, scales in kinds]
    quantised.products(tmp_path / "m.onnx", weights)
    model = compiled(tmp_path)
    formats = [each["format"] for each in model.info()["parameters"] if "format" in each]
    assert len(formats) == len(weights) and all(each.startswith(f"int{bits}") for each in formats)
    assert all(("zeros" in each) == bool(zeros) for each in formats)
    assert sum("f32" in each for each in formats) == (10 if zeros == "floats" else 5)
    check_all(model, weights, ROWS)
    exact = compiled(tmp_path, "--activations", "f32")
    check_all(exact, weights, (1, 4, 7, 33), of_floats=True)
    if bits == 4 or zeros != "floats":  # which ONNX Runtime does not have
        check_runtime(exact, tmp_path / "m.onnx", weights)


@pytest.mark.parametrize("bits, zeros", [(4, "packed"), (8, None), (4, "floats")])
def test_sizes(tmp_path, bits, zeros):
    """K that ends within a block, N around the ends of vectors and column blocks, with a bias."""
    depths, blocks = (17, 33, 40, 96, 100, 127, 129, 300), (16, 32, 128)
    weights = [Blocks(depth, 7 + depth % 60, bits, block, zeros) for depth in depths for block in blocks]
    generator = np.random.default_rng(1)
    biases = [generator.standard_normal(each.columns).astype(np.float32) for each in weights]
    quantised.products(tmp_path / "m.onnx", weights, biases)
    check_all(compiled(tmp_path), weights, (1, 5, 19), biases)
    exact = compiled(tmp_path, "--activations", "f32")
    check_all(exact, weights, (1, 6, 19), biases, of_floats=True)
    check_runtime(exact, tmp_path / "m.onnx", weights)


@pytest.mark.parametrize("target", TARGETS)
def test_machines_agree(tmp_path, target):
    """With and without AVX-512 and VNNI, which tell integers apart at the ends of their range."""
    if target.endswith("v4") and "avx512f" not in open("/proc/cpuinfo").read():
        pytest.skip("no AVX-512")
    kinds = [(4, "packed", "wide"), (8, "packed", "exact"), (4, None, "wide"), (8, "floats", "wide")]
    sizes = ((32, 256), (128, 200), (16, 72))
    weights = [
        Blocks(depth, 50, bits, block, zeros, scales)
        for bits, zeros, scales in kinds
        for block, depth in sizes
    ]
    quantised.products(tmp_path / "m.onnx", weights)
    check_all(compiled(tmp_path, "--target", target), weights, (1, 4, 9))


def test_narrow_activations(tmp_path):
    """Inputs and scales of f16: computed in f32, and the result rounded once."""
    weight = Blocks(96, 40, 4, 32, "floats", "f16")
    quantised.product(tmp_path / "m.onnx", weight, np.ones(40, np.float16), TensorProto.FLOAT16)
    model = compiled(tmp_path, "--activations", "f32")
    x = activations(5, 96).astype(np.float16)
    wanted = (x.astype(np.float64) @ weight.values + 1).astype(np.float16)
    got = model(x=x)["y"]
    assert got.dtype == np.float16
    assert_agrees(got.astype(np.float32), wanted.astype(np.float32), tolerance=1e-3)


def test_rows_do_not_depend_on_each_other(tmp_path):
    weights = [Blocks(depth, 60, 4, block, "packed") for block, depth in ((32, 128), (16, 72), (128, 200))]
    quantised.products(tmp_path / "m.onnx", weights)
    model = compiled(tmp_path)
    inputs = {f"x{each.depth}": activations(19, each.depth) for each in weights}
    whole = model(**inputs)
    for row in range(19):
        alone = model(**{name: x[row : row + 1] for name, x in inputs.items()})
        assert all(np.array_equal(alone[name][0], whole[name][row]) for name in whole)


@pytest.mark.parametrize("form, bits", [("QOperator", 4), ("QOperator", 8), ("QDQ", 4)])
@pytest.mark.parametrize("symmetric", [True, False])
def test_files_of_a_quantiser(tmp_path, bits, symmetric, form):
    """What ONNX Runtime's own quantiser writes, as MatMulNBits and as DequantizeLinear of blocks."""
    from onnxruntime.quantization import matmul_nbits_quantizer as quantizer
    from onnxruntime.quantization.quant_utils import QuantFormat

    generator = np.random.default_rng(3)
    weight = (generator.standard_normal((96, 56)) * 0.1).astype(np.float32)
    node = helper.make_node("MatMul", ["x", "up.weight"], ["y"], name="/up/MatMul")
    quantised.save(tmp_path / "f.onnx", [node], [numpy_helper.from_array(weight, "up.weight")], 96, 56)
    config = quantizer.DefaultWeightOnlyQuantConfig(
        block_size=32, is_symmetric=symmetric, accuracy_level=1, quant_format=QuantFormat[form], bits=bits
    )
    made = quantizer.MatMulNBitsQuantizer(onnx.load(tmp_path / "f.onnx"), algo_config=config)
    made.process()
    onnx.save(made.model.model, tmp_path / "m.onnx")
    model = compiled(tmp_path, "--activations", "f32")
    formats = [each["format"] for each in model.info()["parameters"] if "format" in each]
    assert formats and formats[0].startswith(f"int{bits}")
    for rows in (1, 9):
        x = activations(rows, 96)
        assert_agrees(model(x=x)["y"], runtime(tmp_path / "m.onnx", x=x), tolerance=1e-5)


# --- DequantizeLinear -----------------------------------------------------------------------------

INTEGERS = {
    "int8": (np.int8, -128, 127),
    "uint8": (np.uint8, 0, 255),
    "int4": (np.int8, -8, 7),
    "uint4": (np.uint8, 0, 15),
}


def tensor_of(values, name, kind):
    if kind.endswith("int4"):
        flat = values.reshape(-1).astype(np.int64) & 15
        bytes_ = quantised.packed(flat, 4).tobytes()
        return helper.make_tensor(
            name, TensorProto.INT4 if kind == "int4" else TensorProto.UINT4, values.shape, bytes_, True
        )
    return numpy_helper.from_array(values, name)


def dequantised(kind, shape, axis, block, has_zeros=True, seed=0, name="up.weight"):
    """(initialisers, attributes, the numbers)."""
    generator = np.random.default_rng(seed)
    type_, least, most = INTEGERS[kind]
    codes = generator.integers(least, most + 1, shape).astype(type_)
    if axis is None:
        places = ()
    elif block:
        places = tuple(-(-size // block) if dim == axis else size for dim, size in enumerate(shape))
    else:
        places = (shape[axis],)
    scales = generator.uniform(0.001, 0.03, places).astype(np.float32)
    zeros = (
        generator.integers(least, most + 1, places).astype(type_) if has_zeros else np.zeros(places, type_)
    )

    def spread(each):
        each = each.astype(np.float32)
        if axis is None:
            return each
        if block:
            return np.take(each, np.arange(shape[axis]) // block, axis)
        return each.reshape([-1 if dim == axis else 1 for dim in range(len(shape))])

    numbers = (codes.astype(np.float32) - spread(zeros)) * spread(scales)
    tensors = [tensor_of(codes, name + "_quantized", kind), numpy_helper.from_array(scales, name + "_scale")]
    if has_zeros:
        tensors.append(tensor_of(zeros, name + "_zero_point", kind))
    attributes = {} if axis is None else {"axis": axis} | ({"block_size": block} if block else {})
    return tensors, attributes, numbers.astype(np.float32)


PLACES = [(None, 0), ("out", 0), ("in", 0), ("in", 32), ("in", 48), ("in", 5), ("out", 16)]


@pytest.mark.parametrize("operator", ["MatMul", "Gemm", "GemmT", "Transpose"])
def test_dequantize_linear(tmp_path, operator):
    """Scales of the tensor, of each output and of blocks of inputs stay integers; others become floats."""
    is_turned = operator in ("GemmT", "Transpose")
    shape = (40, 96) if is_turned else (96, 40)
    nodes, initializers, outputs, expected = [], [], [], []
    for number, (kind, (axis, block)) in enumerate(itertools.product(INTEGERS, PLACES)):
        place = None if axis is None else int(is_turned) if axis == "in" else 1 - int(is_turned)
        made = dequantised(
            kind, shape, place, block, has_zeros=block != 48, seed=number, name=f"m{number}.weight"
        )
        tensors, attributes, numbers = made
        initializers += tensors
        weight = f"w{number}"
        nodes.append(
            helper.make_node("DequantizeLinear", [each.name for each in tensors], [weight], **attributes)
        )
        if operator == "Transpose":
            nodes.append(helper.make_node("Transpose", [weight], [weight + "t"], perm=[1, 0]))
            weight += "t"
        turned = {"transB": int(operator == "GemmT")} if operator.startswith("Gemm") else {}
        nodes.append(
            helper.make_node(operator[:4] if turned else "MatMul", ["x", weight], [f"y{number}"], **turned)
        )
        outputs.append(helper.make_tensor_value_info(f"y{number}", TensorProto.FLOAT, ["n", 40]))
        stays = axis is None or (axis == "out" and not block) or (axis == "in" and block in (32, 48))
        expected.append((numbers.T if is_turned else numbers, stays, stays and block != 48))
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 96])], outputs, initializers
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10),
        tmp_path / "m.onnx",
    )
    for options in ([], ["--activations", "f32"]):
        model = compiled(tmp_path, *options)
        formats = [each["format"] for each in model.info()["parameters"] if "format" in each]
        assert len(formats) == sum(stays for _, stays, _ in expected)
        for rows in (1, 7):
            x = activations(rows, 96)
            got = model(x=x)
            for number, (values, _, rounds) in enumerate(expected):
                wanted = multiplied(x, values, rounds and not options)
                assert_agrees(got[f"y{number}"], wanted.astype(np.float32), tolerance=3e-6)
    session = session_of(tmp_path / "m.onnx")
    for name, wanted in zip(sorted(got), session.run(sorted(got), {"x": x}), strict=True):
        assert_agrees(got[name], wanted, tolerance=1e-5)


def test_other_tensors_become_floats(tmp_path):
    """A convolution's weight, and a bias of i32."""
    generator = np.random.default_rng(0)
    codes = generator.integers(-128, 128, (6, 3, 3, 3)).astype(np.int8)
    scales = generator.uniform(0.01, 0.1, 6).astype(np.float32)
    bias = generator.integers(-9999, 9999, 6).astype(np.int32)
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "s"], ["w"], axis=0),
        helper.make_node("DequantizeLinear", ["bq", "s"], ["b"], axis=0),
        helper.make_node("Conv", ["x", "w", "b"], ["y"]),
    ]
    values = {"q": codes, "s": scales, "bq": bias}
    initializers = [numpy_helper.from_array(value, name) for name, value in values.items()]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 6, 6, 6])],
        initializers,
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10),
        tmp_path / "m.onnx",
    )
    x = generator.standard_normal((2, 3, 8, 8)).astype(np.float32)
    assert_agrees(compiled(tmp_path)(x=x)["y"], runtime(tmp_path / "m.onnx", x=x), tolerance=1e-5)


# --- tables ---------------------------------------------------------------------------------------


def save_table(path, node, tensors, width, kind=TensorProto.FLOAT):
    inputs = [helper.make_tensor_value_info("ids", TensorProto.INT64, ["b", "s"])]
    graph = helper.make_graph(
        [node], "g", inputs, [helper.make_tensor_value_info("y", kind, ["b", "s", width])], tensors
    )
    opsets = [helper.make_opsetid("", 21), quantised.MICROSOFT]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)


@pytest.mark.parametrize("kind", ["uint8.4", "uint8.8", "int4", "uint4"])
@pytest.mark.parametrize("block", [16, 64])
@pytest.mark.parametrize("has_zeros", [True, False])
def test_tables(tmp_path, kind, block, has_zeros):
    generator = np.random.default_rng(2)
    bits = 8 if kind.endswith(".8") else 4
    words, width = 37, 80
    codes = generator.integers(0, 1 << bits, (words, width)).astype(np.int64)
    places = (words, -(-width // block))
    scales = generator.uniform(0.01, 0.1, places).astype(np.float32)
    zeros = generator.integers(0, 1 << bits, places).astype(np.int64)
    if kind.startswith("uint8"):
        tensors = [numpy_helper.from_array(quantised.packed(codes, bits), "q")]
        zero_tensor = numpy_helper.from_array(quantised.packed(zeros, bits), "z")
        default = 1 << (bits - 1)
    else:
        if kind == "int4":
            codes, zeros = codes - 8, zeros - 8
        tensors, zero_tensor, default = [tensor_of(codes, "q", kind)], tensor_of(zeros, "z", kind), 0
    tensors.append(numpy_helper.from_array(scales, "s"))
    if has_zeros:
        tensors.append(zero_tensor)
    else:
        zeros = np.full(places, default)
    names = ["q", "ids", "s", *(["z"] if has_zeros else [])]
    node = helper.make_node(
        "GatherBlockQuantized",
        names,
        ["y"],
        domain="com.microsoft",
        bits=bits,
        block_size=block,
        quantize_axis=1,
    )
    save_table(tmp_path / "m.onnx", node, tensors, width)
    spread = lambda each: np.repeat(each.astype(np.float32), block, 1)[:, :width]  # noqa: E731
    table = (codes.astype(np.float32) - spread(zeros)) * spread(scales)
    ids = np.array([[0, 36, 5], [-1, 7, 7]])
    got = compiled(tmp_path)(ids=ids)["y"]
    assert np.array_equal(got, table[ids])
    assert np.array_equal(got, runtime(tmp_path / "m.onnx", ids=ids))


def test_a_table_that_a_product_has_too(tmp_path):
    """GenAI's builder has one tensor for both, with a Reshape of no written type before the lookup."""
    weight = Blocks(64, 37, 4, 32)
    product_node, tensors = weight.node("e", "y", "/lm_head/MatMul_Q4", "lm_head.weight")
    names = {each.name.rsplit("_", 1)[-1]: each.name for each in tensors}
    tensors += [
        numpy_helper.from_array(np.array([37, -1]), "flat"),
        numpy_helper.from_array(np.array([37, 2]), "two"),
    ]
    nodes = [
        helper.make_node("Reshape", [names["Q4"], "flat"], ["q"]),
        helper.make_node("Reshape", [names["scales"], "two"], ["s"]),
        helper.make_node(
            "GatherBlockQuantized",
            ["q", "ids", "s"],
            ["e"],
            domain="com.microsoft",
            bits=4,
            block_size=32,
            quantize_axis=1,
        ),
        product_node,
    ]
    inputs = [helper.make_tensor_value_info("ids", TensorProto.INT64, ["n"])]
    quantised.save(tmp_path / "m.onnx", nodes, tensors, 64, 37, inputs=inputs)
    ids = np.array([0, 36, 5])
    model = compiled(tmp_path, "--activations", "f32")
    table = weight.values.T
    assert_agrees(model(ids=ids)["y"], table[ids] @ table.T, tolerance=3e-6)
    # The integers are there once for the table, once in the product's order.
    assert (
        sum(np.prod(each["dims"]) for each in model.info()["parameters"] if each["dtype"] == "int8") < 2**13
    )


@pytest.mark.parametrize("axis, block", [(0, 0), (1, 0), (None, 0), (1, 16), (0, 8)])
def test_dequantised_tables(tmp_path, axis, block):
    tensors, attributes, numbers = dequantised("uint8", (37, 48), axis, block)
    names = [each.name for each in tensors]
    nodes = [
        helper.make_node("DequantizeLinear", names, ["w"], **attributes),
        helper.make_node("Gather", ["w", "ids"], ["y"]),
    ]
    save_table(tmp_path / "m.onnx", nodes[0], tensors, 48)
    model = onnx.load(tmp_path / "m.onnx")
    model.graph.node.append(nodes[1])
    onnx.save(model, tmp_path / "m.onnx")
    ids = np.array([[0, 36, 5], [-1, 7, 7]])
    assert_agrees(compiled(tmp_path)(ids=ids)["y"], numbers[ids], tolerance=1e-6)


# --- what is refused ------------------------------------------------------------------------------


def changed(tmp_path, change):
    weight = Blocks(64, 40, 4, 32, "packed")
    node, initializers = weight.node("x", "y", "/up/MatMul_Q4", "up.weight")
    tensors = {each.name: each for each in initializers}
    node, tensors = change(node, tensors)
    quantised.save(tmp_path / "m.onnx", [node], list(tensors.values()), 64, 40)


def with_attribute(name, value):
    def change(node, tensors):
        (attribute,) = [each for each in node.attribute if each.name == name] or [node.attribute.add()]
        attribute.CopyFrom(helper.make_attribute(name, value))
        return node, tensors

    return change


def with_tensor(name, value):
    def change(node, tensors):
        tensors[name] = numpy_helper.from_array(value, name)
        return node, tensors

    return change


def without(index):
    def change(node, tensors):
        node.input[index] = ""
        return node, tensors

    return change


def with_order(node, tensors):
    node.input.extend([""] * (4 - len(node.input)))
    node.input.append("order")
    tensors["order"] = numpy_helper.from_array(np.arange(64, dtype=np.int32), "order")
    return node, tensors


@pytest.mark.parametrize(
    "change, mentions",
    [
        (with_attribute("bits", 2), ["/up/MatMul_Q4", "2 bits", "4 and 8"]),
        (with_attribute("block_size", 24), ["block_size=24"]),
        (with_attribute("N", 41), ["'up.weight_Q4'", "[40, 2, 16]", "N=41", "1312 elements"]),
        (with_attribute("K", 65), ["'up.weight_Q4'", "K=65"]),
        (with_attribute("K", 0), ["K=0"]),
        (with_attribute("N", -1), ["N=-1"]),
        (with_attribute("weight_prepacked", 1), ["weight_prepacked"]),
        (
            with_tensor("up.weight_scales", np.ones((40, 3), np.float32)),
            ["'up.weight_scales'", "80 elements"],
        ),
        (with_tensor("up.weight_scales", np.ones((40, 2), np.float64)), ["'up.weight_scales'", "float64"]),
        (
            with_tensor("up.weight_zero_points", np.ones((40, 2), np.uint8)),
            ["'up.weight_zero_points'", "40 elements"],
        ),
        (
            with_tensor("up.weight_zero_points", np.ones((40, 1), np.int16)),
            ["'up.weight_zero_points'", "int16"],
        ),
        (with_tensor("up.weight_Q4", np.ones((40, 2, 16), np.int8)), ["'up.weight_Q4'", "int8"]),
        (with_order, ["g_idx", "act-order"]),
        (without(0), ["/up/MatMul_Q4"]),
        (without(1), ["/up/MatMul_Q4"]),
        (without(2), ["/up/MatMul_Q4"]),
    ],
)
def test_what_does_not_fit(tmp_path, change, mentions):
    changed(tmp_path, change)
    output = tmp_path / "o.adapt"
    product.refused("adapter-opt", tmp_path / "m.onnx", "-o", output, code=1, mentions=mentions)
    assert not output.exists()
