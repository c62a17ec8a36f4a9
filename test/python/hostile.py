# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Files that are broken on purpose: bytes of ONNX models, safetensors files, configurations and arrays."""

import json
import struct

import numpy as np
import onnx
from onnx import TensorProto, helper


def _onnx(change):
    """A two-node model after `change(model)`."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])
    weight = onnx.numpy_helper.from_array(np.ones((4, 3), np.float32), "w")
    nodes = [helper.make_node("MatMul", ["x", "w"], ["t"]), helper.make_node("Relu", ["t"], ["y"])]
    graph = helper.make_graph(nodes, "g", [x], [y], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
    change(model)
    return model.SerializeToString()


def _set(path, value):
    """A change: graph.initializer.0.dims = value, and so on; lists are replaced."""

    def change(model):
        *parents, last = path.split(".")
        for name in parents:
            model = model[int(name)] if name.isdigit() else getattr(model, name)
        if isinstance(value, list):
            model.ClearField(last)
            getattr(model, last).extend(value)
        else:
            setattr(model, last, value)

    return change


def _external(**entries):
    def change(model):
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in entries.items():
            tensor.external_data.append(onnx.StringStringEntryProto(key=key, value=value))

    return change


def _deep(depth=4000):
    """A GraphProto of subgraphs within subgraphs."""
    body = b""
    for _ in range(depth):
        # GraphProto{node{op_type "If", attribute{name "b", type GRAPH, g}}}, written by hand: Python's
        # protobuf refuses to build it.
        attribute = b"\x0a\x01b\xa0\x01\x05" + _field(6, body)
        body = _field(1, b"\x22\x02If" + _field(5, attribute))
    return body


def _field(number, body):
    length, size = b"", len(body)
    while True:
        length += bytes([size & 127 | (128 if size > 127 else 0)])
        size >>= 7
        if not size:
            return bytes([number << 3 | 2]) + length + body


ONNX = {
    "empty": b"",
    "zeros": bytes(1000),
    "text": b"This is not a model.\n" * 20,
    "half": _onnx(lambda m: None)[:90],
    "no_opset": _onnx(_set("opset_import", [])),
    "newer_opset": _onnx(_set("opset_import.0.version", 9999)),
    "negative_dim": _onnx(_set("graph.initializer.0.dims", [-4, 3])),
    "huge_dims": _onnx(_set("graph.initializer.0.dims", [2**62, 2**62])),
    "overflowing_dims": _onnx(_set("graph.initializer.0.dims", [2**32, 2**32, 4])),
    "short_data": _onnx(_set("graph.initializer.0.raw_data", b"1234")),
    "unknown_type": _onnx(_set("graph.initializer.0.data_type", 77)),
    "missing_input": _onnx(_set("graph.node.0.input", ["x", "nowhere"])),
    "cycle": _onnx(_set("graph.node.0.input", ["y", "w"])),
    "twice_defined": _onnx(_set("graph.node.1.output", ["t"])),
    "no_such_output": _onnx(_set("graph.output.0.name", "nothing")),
    "unknown_operator": _onnx(_set("graph.node.1.op_type", "Frobnicate")),
    "external_outside": _onnx(_external(location="../../../../etc/passwd", offset="0", length="48")),
    "external_absolute": _onnx(_external(location="/etc/passwd")),
    "external_missing": _onnx(_external(location="nothing.bin")),
    "external_negative": _onnx(_external(location="model.onnx", offset="-8", length="48")),
    "external_beyond": _onnx(_external(location="model.onnx", offset="99999999999", length="48")),
    "external_words": _onnx(_external(location="model.onnx", offset="many", length="few")),
    "deep": b"\x08\x0a" + _field(7, _deep()) + _field(8, b"\x10\x14"),
}


def _safetensors(header, data=b"\0" * 64):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def _entry(dtype="F32", shape=(4, 4), offsets=(0, 64)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


SAFETENSORS = {
    "empty": b"",
    "seven_bytes": b"1234567",
    "header_beyond_file": struct.pack("<Q", 2**40) + b"{}",
    "header_of_all_ones": b"\xff" * 16,
    "no_json": _safetensors(b"not json at all"),
    "cut_json": _safetensors(b'{"a": {"dtype": "F32", "shape": [4'),
    "array": _safetensors(b"[1, 2, 3]"),
    "deep": _safetensors(b'{"a":' + b"[" * 200000 + b"]" * 200000 + b"}"),
    "not_utf8": _safetensors(b'{"\xff\xfe": 1}'),
    "unknown_dtype": _safetensors({"a": _entry("Q13")}),
    "wrong_size": _safetensors({"a": _entry(shape=(5, 5))}),
    "negative_dim": _safetensors({"a": _entry(shape=(-4, -4))}),
    "overflowing_dims": _safetensors({"a": _entry(shape=(2**32, 2**32, 16))}),
    "dim_is_text": _safetensors({"a": _entry(shape=("4", 4))}),
    "dim_is_float": _safetensors({"a": _entry(shape=(4.5, 4))}),
    "beyond_file": _safetensors({"a": _entry(offsets=(64, 128))}),
    "backwards": _safetensors({"a": _entry(offsets=(64, 0))}),
    "negative_offset": _safetensors({"a": _entry(offsets=(-64, 0))}),
    "overlapping": _safetensors({"a": _entry(), "b": _entry()}),
    "one_offset": _safetensors({"a": {"dtype": "F32", "shape": [4, 4], "data_offsets": [0]}}),
    "no_fields": _safetensors({"a": {}}),
    "twice": _safetensors(b'{"a": %b, "a": %b}' % ((json.dumps(_entry()).encode(),) * 2)),
}

CONFIG = {
    "empty": b"",
    "cut": b'{"peft_type": "LORA", "r": 4',
    "array": b"[]",
    "nothing": b"{}",
    "deep": b'{"peft_type":' + b"[" * 200000 + b"]" * 200000 + b"}",
    "not_utf8": b'{"peft_type": "LORA\xff"}',
    "negative_rank": {"r": -4},
    "rank_is_text": {"r": "4"},
    "rank_is_huge": {"r": 10**30},
    "alpha_is_list": {"lora_alpha": [1]},
    "alpha_is_infinite": b'{"peft_type": "LORA", "r": 4, "lora_alpha": 1e999}',
    "pattern_is_text": {"rank_pattern": "q"},
    "pattern_is_no_regex": {"alpha_pattern": {"(((": 3}},
    "bias_is_odd": {"bias": "some"},
    "no_such_type": {"peft_type": "NOPE"},
    "type_is_number": {"peft_type": 4},
}


def npy(header=None, data=b"\0" * 64, magic=b"\x93NUMPY\x01\x00"):
    text = (header or "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 4), }").encode()
    return magic + struct.pack("<H", len(text)) + text + data


NPY = {
    "empty": b"",
    "text": b"not an array",
    "version_9": npy(magic=b"\x93NUMPY\x09\x00"),
    "header_beyond_file": b"\x93NUMPY\x01\x00\xff\xffabc",
    "short": npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1, 3, 12, 12), }"),
    "object": npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }"),
    "huge": npy("{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 16), }"),
    "negative": npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 3, 12, 12), }"),
    "big_endian": npy("{'descr': '>f4', 'fortran_order': False, 'shape': (4, 4), }"),
    "code": npy("__import__('os').system('true')"),
}


# Nodes over x [b, 4] and w [4, 4] one of whose inputs has no name.
LEFT_OUT = [
    ("MatMul", ["", "w"]),
    ("Add", ["x", ""]),
    ("Softmax", [""]),
    ("Gather", ["w", ""]),
    ("Concat", ["x", ""]),
    ("Conv", ["x", ""]),
    ("Where", ["x", "", "x"]),
    ("Transpose", [""]),
]


def node_without(path, operator, inputs):
    """Writes a model of one node."""
    attributes = {"axis": 0} if operator == "Concat" else {}
    node = onnx.helper.make_node(operator, inputs, ["y"], name="n", **attributes)
    x, y = (
        onnx.helper.make_tensor_value_info("x", 1, ["b", 4]),
        onnx.helper.make_tensor_value_info("y", 1, None),
    )
    weight = onnx.numpy_helper.from_array(np.ones((4, 4), np.float32), "w")
    graph = onnx.helper.make_graph([node], "g", [x], [y], [weight])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)
    path.write_bytes(model.SerializeToString())
