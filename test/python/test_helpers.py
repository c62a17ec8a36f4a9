# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The comparing helpers themselves; needs none of the tools."""

import copy

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from proto_equal import proto_differences, proto_equal
from tolerance import assert_rows_agree, disagreement


def model(value=2.0, perm=(1, 0)):
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    weight = numpy_helper.from_array(np.full((3,), value, np.float32), "w")
    nodes = [
        helper.make_node("Add", ["x", "w"], ["t"], name="add"),
        helper.make_node("Transpose", ["t"], ["y"], name="turn", perm=list(perm)),
    ]
    graph = helper.make_graph(nodes, "g", [x], [y], [weight])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], producer_name="one")


def test_equal_in_another_encoding():
    a, b = model(), model()
    b.producer_name = "other"
    tensor = b.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.float_data.extend([2.0, 2.0, 2.0])
    b.graph.doc_string = ""  # set, but to its default
    assert proto_equal(a, b)


def test_order_of_tables_does_not_count():
    a = model()
    for name in ("u", "v"):
        a.graph.initializer.append(numpy_helper.from_array(np.ones(2, np.int64), name))
        a.metadata_props.append(onnx.StringStringEntryProto(key=name, value="1"))
    b = copy.deepcopy(a)
    for table in (b.graph.initializer, b.metadata_props):
        entries = list(table)[::-1]
        del table[:]
        table.extend(entries)
    assert proto_equal(a, b)


def _swap_nodes(m):
    nodes = list(m.graph.node)[::-1]
    del m.graph.node[:]
    m.graph.node.extend(nodes)


@pytest.mark.parametrize(
    "change, named",
    [
        (lambda m: m.graph.CopyFrom(model(value=2.0000002).graph), "content"),
        (lambda m: m.graph.CopyFrom(model(perm=(0, 1)).graph), "ints"),
        (_swap_nodes, "node"),
        (lambda m: m.graph.node[0].input.append(""), "input"),
        (lambda m: m.graph.node[0].ClearField("name"), "name"),
        (lambda m: setattr(m.graph.input[0].type.tensor_type.shape.dim[0], "dim_param", "k"), "dim_param"),
        (lambda m: m.graph.output[0].type.tensor_type.shape.dim.add(), "shape"),
        (lambda m: setattr(m.opset_import[0], "version", 19), "version"),
        (lambda m: m.metadata_props.append(onnx.StringStringEntryProto(key="k", value="v")), "metadata"),
        (lambda m: m.graph.initializer[0].dims.insert(0, 1), "tensor shape"),
    ],
)
def test_changes_are_seen(change, named):
    a, b = model(), model()
    change(b)
    found = proto_differences(a, b)
    assert found and any(named in difference for difference in found), found


def test_a_dimension_of_zero_is_not_an_unknown_one():
    a, b = model(), model()
    a.graph.output[0].type.tensor_type.shape.dim.add().dim_value = 0
    b.graph.output[0].type.tensor_type.shape.dim.add()
    assert not proto_equal(a, b)


def test_tolerance():
    reference = np.array([[1.0, -8.0, np.inf], [np.nan, 0.5, -np.inf]], np.float32)
    base = np.where(np.isfinite(reference), reference + np.float32(0.01), reference)
    assert disagreement(reference, reference) is None
    off = reference.copy()
    off[0, 0] += 7e-5
    assert disagreement(off, reference) is None
    assert "effect" in disagreement(off, reference, base)
    off[0, 0] += 7e-5
    assert "magnitude" in disagreement(off, reference)
    assert "void" in disagreement(reference, reference, reference)
    assert "places" in disagreement(np.nan_to_num(reference), reference)
    assert "places" in disagreement(-reference, reference)
    assert "shape" in disagreement(reference[:1], reference)
    assert "type" in disagreement(reference.astype(np.float64), reference)


def test_rows():
    rows = np.ones((2, 3), np.float32)
    assert_rows_agree(rows, list(rows), [None, rows[1] + 1])
    with pytest.raises(AssertionError, match="row 1"):
        assert_rows_agree(rows, [rows[0], rows[1] + 1], [None, rows[1]])
