# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Whether two ONNX models say the same.

Messages are compared field by field. Tensors, wherever they stand (initialisers, attributes, sparse tensors,
functions, subgraphs), are compared by element type, shape, name and content: whether a value stood in
`raw_data` or in a typed field is encoding, not meaning. The order of unordered tables (attributes, opset
imports, metadata, value_info, initialisers, functions) does not count; the order of nodes, inputs and
outputs does.
"""

import onnx
from onnx import numpy_helper

_UNORDERED = {
    "attribute": "name",
    "opset_import": "domain",
    "metadata_props": "key",
    "value_info": "name",
    "initializer": "name",
    "functions": "name",
    "attribute_proto": "name",
    "external_data": "key",
    "quantization_annotation": "tensor_name",
    "quant_parameter_tensor_names": "key",
}
# The exporter of a graph may write these of its own.
_IGNORED = {"producer_name", "producer_version"}


def _tensor(tensor, base_dir):
    """(name, element type, shape, content as bytes, doc string) of a TensorProto."""
    if tensor.data_type == onnx.TensorProto.STRING:
        content = tuple(tensor.string_data)
    elif tensor.data_type == onnx.TensorProto.UNDEFINED:
        content = ()
    else:
        content = numpy_helper.to_array(tensor, base_dir).tobytes()
    return tensor.name, tensor.data_type, tuple(tensor.dims), content, tensor.doc_string


def _default(message, field):
    """Whether a set field holds its default: proto2 keeps that apart from an absent one, ONNX does not."""
    value = getattr(message, field.name)
    return field.message_type is None and value == field.default_value and field.name != "dim_value"


def _differences(a, b, path, base_dirs):
    """Yields where two messages of one type differ, in words."""
    if isinstance(a, onnx.TensorProto):
        left, right = _tensor(a, base_dirs[0]), _tensor(b, base_dirs[1])
        for name, x, y in zip(("name", "element type", "shape", "content", "doc"), left, right, strict=True):
            if x != y:
                yield f"{path}: tensor {name} {x!r:.60} and {y!r:.60}"
        return
    for field in a.DESCRIPTOR.fields:
        if field.name in _IGNORED:
            continue
        x, y = getattr(a, field.name), getattr(b, field.name)
        where = f"{path}.{field.name}"
        if field.is_repeated:
            x, y = list(x), list(y)
            if field.name in _UNORDERED:
                key = _UNORDERED[field.name]
                x, y = (sorted(items, key=lambda item: getattr(item, key)) for items in (x, y))
            if len(x) != len(y):
                yield f"{where}: {len(x)} and {len(y)} entries"
                continue
        else:
            if field.has_presence:
                set_a = a.HasField(field.name) and not _default(a, field)
                set_b = b.HasField(field.name) and not _default(b, field)
                if set_a != set_b:
                    yield f"{where}: only in the {'first' if set_a else 'second'}"
                    continue
                if not set_a:
                    continue
            x, y = [x], [y]
        for i, (p, q) in enumerate(zip(x, y, strict=True)):
            here = f"{where}[{i}]" if field.is_repeated else where
            if field.message_type is not None:
                yield from _differences(p, q, here, base_dirs)
            elif p != q and not (p != p and q != q):
                yield f"{here}: {p!r:.60} and {q!r:.60}"


def proto_differences(a, b, base_dirs=("", ""), limit=5):
    """The first `limit` differences between two ModelProtos, in words; empty when they are equal."""
    found = []
    for difference in _differences(a, b, "model", base_dirs):
        found.append(difference)
        if len(found) == limit:
            break
    return found


def proto_equal(a, b, base_dirs=("", "")):
    return not proto_differences(a, b, base_dirs, 1)
