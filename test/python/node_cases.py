# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""ONNX's backend node tests, for operators that compiled code knows, and models made from them.

A case runs as it is, with dynamic sizes, and with all inputs but the first as constants of the model.
"""

import collections
import copy
import functools
import re

import numpy as np
import onnx
import product
from onnx import numpy_helper
from onnx.backend.test.loader import load_model_tests

Case = collections.namedtuple("Case", "name model inputs outputs rtol atol")
VARIANTS = ("plain", "dynamic", "constants")


def lowered_operators():
    """Names of ONNX's operators in the tables of lib/Conversion: lowerings and expansions, sorted."""

    def names(folder, pattern):
        paths = (product.ROOT / "lib" / "Conversion" / folder).glob("*.cpp")
        return {name for path in paths for name in re.findall(pattern, path.read_text())}

    lowered = names("ONNXToLinalg", r'table\.add\("(\w+)"')
    return sorted(lowered | names("ONNXToONNX", r'"::(\w+)"'))


def _array(value):
    if isinstance(value, onnx.TensorProto):
        return numpy_helper.to_array(value)
    return np.asarray(value) if np.isscalar(value) else value


def _is_plain(values):
    """Only arrays of numbers that NumPy itself knows: no sequences, optionals or strings, no float8."""
    return all(
        isinstance(v, np.ndarray) and v.dtype.kind in "fiub" and v.dtype.isbuiltin == 1 for v in values
    )


@functools.cache
def _all():
    with np.errstate(all="ignore"):
        return load_model_tests(kind="node")


@functools.cache
def cases():
    """{operator: [Case]} for models of one node, and under "" those of several (bodies of functions)."""
    known, found = set(lowered_operators()), collections.defaultdict(list)
    for case in _all():
        used = [node.op_type for node in case.model.graph.node]
        if not set(used) <= known or {node.domain for node in case.model.graph.node} - {""}:
            continue
        for inputs, outputs in case.data_sets or ():
            inputs, outputs = [_array(v) for v in inputs], [_array(v) for v in outputs]
            if _is_plain(inputs) and _is_plain(outputs):
                row = Case(case.name, case.model, inputs, outputs, case.rtol, case.atol)
                found[used[0] if len(used) == 1 else ""].append(row)
    return found


def _is_shape_like(value):
    """Whether a graph's rank may hang on the length of this input, as with the shape of a Reshape."""
    tensor = value.type.tensor_type
    return tensor.elem_type == onnx.TensorProto.INT64 and len(tensor.shape.dim) == 1


def with_dynamic_sizes(case):
    """Each size of each input is a name of its own: sizes that are equal, or 1, are so in this call only."""
    model = copy.deepcopy(case.model)
    for value in model.graph.input:
        if not _is_shape_like(value):
            for axis, dim in enumerate(value.type.tensor_type.shape.dim):
                dim.dim_param = f"{value.name}_{axis}"
    for value in model.graph.output:
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            dim.dim_param = f"{value.name}_{axis}"
    del model.graph.value_info[:]
    return case._replace(model=model)


def with_constants(case):
    """All inputs but the first are initialisers."""
    model = copy.deepcopy(case.model)
    for value, array in zip(list(model.graph.input)[1:], case.inputs[1:], strict=True):
        model.graph.input.remove(value)
        model.graph.initializer.append(numpy_helper.from_array(array, value.name))
    return case._replace(model=model, inputs=case.inputs[:1])


def variant(case, name):
    """The case as `name` of VARIANTS, or None where that would be the same."""
    if name == "dynamic":
        has = any(
            a.ndim and not _is_shape_like(v) for v, a in zip(case.model.graph.input, case.inputs, strict=True)
        )
        return with_dynamic_sizes(case) if has else None
    if name == "constants":
        return with_constants(case) if len(case.inputs) > 1 else None
    return case


def feed(case):
    return {v.name: a for v, a in zip(case.model.graph.input, case.inputs, strict=True)}


def compiled(case, folder):
    """The artifact's path, or the message of the refusal (a str)."""
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(case.model, folder / "model.onnx")
    done = product.call("adapter-opt", folder / "model.onnx", "-o", folder / "model.adapt")
    if done.returncode == 0:
        return folder / "model.adapt"
    assert done.returncode == 1, f"adapter-opt exited with {done.returncode}: {done.stderr[-1000:]}"
    return done.stderr.strip()


def difference(got, want, rtol, atol):
    """What is wrong with an output, or None."""
    if got.shape != want.shape or got.dtype != want.dtype:
        return f"{got.dtype} {list(got.shape)} for {want.dtype} {list(want.shape)}"
    if want.dtype.kind != "f":
        wrong = got != want
    else:
        wrong = ~np.isclose(got.astype(np.float64), want.astype(np.float64), rtol, atol, equal_nan=True)
    if not wrong.any():
        return None
    at = tuple(int(i) for i in np.argwhere(wrong)[0])
    return f"{wrong.sum()} of {want.size} differ, at {at}: {got[at]} for {want[at]}"


def outcome(case, folder):
    """None where the compiled model answers as the case says, "refused: ..." or what is wrong."""
    artifact = compiled(case, folder)
    if isinstance(artifact, str):
        return "refused: " + artifact
    try:
        results = product.package().load(str(artifact), threads=2)(feed(case))
    except ValueError as error:
        return f"the call failed: {error}"
    for value, want in zip(case.model.graph.output, case.outputs, strict=True):
        wrong = difference(results[value.name], want, max(case.rtol, 1e-5), max(case.atol, 1e-6))
        if wrong:
            return f"output '{value.name}': {wrong}"
    return None
