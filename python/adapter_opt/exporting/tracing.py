# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""One part of a model as an ONNX file: traced, named, written and held against the model."""

import re

import numpy as np
import onnxscript  # noqa: F401  torch's exporter needs it, and says so late
import torch

from adapter_opt.exporting import Graph, inputs, source
from adapter_opt.exporting.part import Traced

# A protobuf holds 2 GB; beyond this, tensors lie in a file of their own.
INSIDE_LIMIT = (1 << 31) - (1 << 26)
# Of the largest magnitude, by the bytes of an element.
BOUNDS = {2: 3e-2, 4: 2e-4, 8: 2e-4}
_FIXED = re.compile(r"inferred a static shape of (\d+) for dimension \w+\[(\d+)\]\.shape\[(\d+)\]")
_PRIVATE = ("pkg.torch.onnx.stack_trace", "pkg.torch.onnx.fx_node", "pkg.torch.onnx.original_node_name")


def write(source_, part, path, tensors=None, check=True):
    """Writes a part to `path` and returns its Graph; a ValueError where that is not possible or comes out
    wrong."""
    model, name = source_.model, f"{source_.name}: {type(source_.model).__name__}"
    if part.name != "model":
        name += f"'s {part.name}"
    samples = inputs.samples(part.inputs, inputs.TRACED)
    try:
        outputs = Traced(model, part).named(*samples)
    except Exception as error:
        raise ValueError(f"{name} cannot be run on made-up inputs: {source.short(error)}") from None
    kept = _without_missing(outputs, source_, name)
    traced = Traced(model, part, kept).eval()
    program = _trace(traced, part, samples, name)
    _clean(program.model)
    size = sum(each.const_value.nbytes for each in program.model.graph.initializers.values())
    outside = tensors == "outside" or (tensors is None and size > INSIDE_LIMIT)
    if tensors == "inside" and size > INSIDE_LIMIT:
        raise ValueError(
            f"{name}: its weights are {size >> 20} MB and do not fit into one file with the graph"
        )
    program.save(path, external_data=outside)
    difference = compare(traced, part, path, name) if check else None
    ends = [
        tuple((each.name, tuple(d if isinstance(d, int) else d.value for d in each.shape)) for each in side)
        for side in (program.model.graph.inputs, program.model.graph.outputs)
    ]
    return Graph(path, *ends, difference)


def _without_missing(outputs, source_, name):
    """The outputs that do not depend on weights which the checkpoint lacks."""
    if not source_.missing:
        return list(outputs)
    kept = [key for key, each in outputs.items() if not (each.is_floating_point() and each.isnan().any())]
    if not kept:
        raise ValueError(
            f"{name}: the checkpoint lacks {source_.missing[0]}, and what it gives would be random"
        )
    return kept


def _trace(traced, part, samples, name):
    """The part as torch's exporter gives it."""
    names = [each.name for each in part.inputs]
    try:
        return torch.onnx.export(
            traced,
            samples,
            input_names=names,
            output_names=list(traced.outputs),
            dynamic_shapes=(tuple(each.dynamic for each in part.inputs),),
            dynamo=True,
            verbose=False,
        )
    except Exception as error:
        raise ValueError(f"{name} cannot be exported{_reason(error, part)}") from None


def _reason(error, part):
    """Why torch's exporter failed, to be put behind "cannot be exported"."""
    # Its own message is a page about its stages; what went wrong is what caused that error.
    while error.__cause__ is not None:
        error = error.__cause__
    if fixed := _FIXED.search(str(error)):
        size, index, axis = map(int, fixed.groups())
        dim = part.inputs[index].dims[axis]
        return f" with a dynamic {dim}: the traced computation holds for the size {size} and no other"
    return f": {type(error).__name__}: {source.short(error)}"


def _clean(model):
    """Drops inputs that nothing reads, and what tells of the machine of the export: paths in stack traces."""
    graph = model.graph
    for value in list(graph.inputs):
        if not value.uses() and not value.is_graph_output():
            graph.inputs.remove(value)
    for node in graph.all_nodes():
        for key in _PRIVATE:
            node.metadata_props.pop(key, None)


def compare(traced, part, path, name):
    """The largest difference of the file's answers from the model's, over its outputs and two other sets of
    sizes, as a share of the output's largest magnitude; None where ONNX Runtime is not here or cannot run the
    file's types."""
    try:
        import onnxruntime
    except ImportError:
        return None
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except onnxruntime.capi.onnxruntime_pybind11_state.NotImplemented:
        return None  # bfloat16, for which its CPU code is not complete
    except Exception as error:
        raise ValueError(
            f"{name}: ONNX Runtime cannot run what was exported: {source.short(error)}"
        ) from None
    taken, worst = {each.name for each in session.get_inputs()}, 0.0
    for seed, sizes in enumerate(inputs.CHECKED, 1):
        samples = inputs.samples(part.inputs, sizes, seed)
        wanted = traced(*samples)
        feed = {
            each.name: s.numpy() for each, s in zip(part.inputs, samples, strict=True) if each.name in taken
        }
        try:
            got = session.run(None, feed)
        except Exception as error:
            shapes = ", ".join(f"{key} {list(value.shape)}" for key, value in feed.items())
            raise ValueError(f"{name}: the exported graph fails at {shapes}: {source.short(error)}") from None
        for key, a, b in zip(traced.outputs, got, wanted, strict=True):
            worst = max(worst, _difference(f"{name}: output {key} of the exported graph", a, b))
    return worst


def _difference(what, got, wanted):
    wanted = wanted.to(torch.float32).numpy() if wanted.dtype == torch.bfloat16 else wanted.numpy()
    if got.shape != wanted.shape:
        raise ValueError(f"{what} has shape {list(got.shape)}, and the model gives {list(wanted.shape)}")
    if got.dtype.kind != "f":
        if not np.array_equal(got, wanted):
            raise ValueError(f"{what} differs from what the model gives")
        return 0.0
    a, b = got.astype(np.float64), wanted.astype(np.float64)
    finite = np.isfinite(b)
    if not np.array_equal(finite, np.isfinite(a)):
        raise ValueError(f"{what} has infinities or NaNs where the model has none, or the other way round")
    if not finite.any():
        return 0.0
    scale = np.abs(b[finite]).max()
    difference = np.abs(a - b)[finite].max() / (scale or 1.0)
    if difference > BOUNDS[got.dtype.itemsize]:
        raise ValueError(
            f"{what} differs from what the model gives by {difference:.1e} of the largest magnitude"
        )
    return float(difference)
