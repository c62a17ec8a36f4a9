# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Inputs for a graph that come from nothing but its types: the same on every run."""

import re

import numpy as np

BATCH, LENGTH = 2, 8  # of dynamic dims: the first of an input, and any other


def make(inputs, rows, dims, given):
    """Arrays by name.

    inputs: (name, element type, dims) of each.
    rows: of the embedding that an integer input picks from, by the input's name.
    dims: sizes of dynamic dims by name.
    given: arrays by name that are there already.
    """
    names = [name for name, _, _ in inputs]
    unknown = sorted(set(given) - set(names))
    if unknown:
        raise ValueError(f"there is no input '{unknown[0]}'; the inputs are: {', '.join(names)}")
    known = {dim for _, _, shape in inputs for dim in shape if isinstance(dim, str)}
    unused = sorted(set(dims) - {word for dim in known for word in re.split(r"\W+", dim)})
    if unused:
        raise ValueError(f"there is no dim '{unused[0]}'; the dims are: {', '.join(sorted(known)) or 'none'}")
    rng = np.random.default_rng(0)
    feed = {}
    for name, kind, shape in inputs:
        sizes = [_size(dim, axis, dims) for axis, dim in enumerate(shape)]
        made = _values(rng, name, kind, sizes, rows.get(name))
        feed[name] = given.get(name, made)
    return feed


def _size(dim, axis, dims):
    if isinstance(dim, int):
        return dim
    # Exporters write sums of names, too.
    parts = str(dim).split(" + ")
    default = BATCH if axis == 0 and len(parts) == 1 else LENGTH
    return sum(int(part) if part.isdigit() else dims.get(part, default) for part in parts)


def _values(rng, name, kind, sizes, rows):
    if kind not in np.sctypeDict:
        raise ValueError(
            f"input '{name}' is of type {kind}, which cannot be made up; give --input {name}=FILE.npy"
        )
    dtype = np.dtype(kind)
    if "mask" in name or dtype.kind == "b":
        return np.ones(sizes, dtype)
    if dtype.kind == "f":
        return rng.standard_normal(sizes).astype(dtype)
    # Where nothing says what the integers mean, they are ones that hardly anything takes amiss.
    return rng.integers(0, rows or 2, sizes).astype(dtype)


def embedding_rows(path):
    """How many rows the embedding has that an input of the graph picks from, by the input's name."""
    import onnx

    graph = onnx.load(path, load_external_data=False).graph
    sizes = {tensor.name: tensor.dims[0] for tensor in graph.initializer if tensor.dims}
    source = {each.name: each.name for each in graph.input}
    rows = {}
    for node in graph.node:
        if (
            node.op_type in ("Cast", "Identity", "Reshape", "Unsqueeze", "Squeeze")
            and node.input[0] in source
        ):
            source[node.output[0]] = source[node.input[0]]
        axis = next((each.i for each in node.attribute if each.name == "axis"), 0)
        if node.op_type == "Gather" and axis == 0 and node.input[0] in sizes and node.input[1] in source:
            name = source[node.input[1]]
            rows[name] = min(rows.get(name, sizes[node.input[0]]), sizes[node.input[0]])
    return rows
