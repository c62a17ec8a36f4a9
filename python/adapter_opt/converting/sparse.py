# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Updates of few elements of any parameter, and of coefficients in another basis."""

import math

import numpy as np

from adapter_opt.converting.folder import Forms, narrow
from adapter_opt.converting.source import PREFIX


def lt_sft(sources, scale=1.0):
    """LT-SFT: differences of few elements of any parameter, several such files added; a head, whole.

    Of each parameter `body.<name>.size`, `.index_steps` and `.values`, its elements counted column by column,
    each from the one before it; `head.<name>`.
    """
    adapter, sums = Forms(), {}
    for source in sources:
        for module, _, name in source.ending("index_steps"):
            stem = name.removesuffix(".index_steps")
            if not stem.startswith("body."):
                raise source.error(name, "has no place: what is sparse is in 'body.'")
            _add(sums, module.removeprefix("body."), *_elements(source, stem))
        for name in [name for name in source.arrays if name.startswith("head.")]:
            module, _, parameter = name.removeprefix("head.").rpartition(".")
            if not module:
                raise source.error(name, "is not a parameter of a module")
            adapter.add("replace", module, {"value": source.take(name)}, parameter)
    if not sums:
        raise ValueError(f"{sources[0].path}: holds no index_steps; its body is missing")
    for path, (size, flat, values) in sums.items():
        module, _, parameter = path.rpartition(".")
        if not module:
            raise ValueError(f"{sources[0].path}: '{path}' is not a parameter of a module")
        places, values = _coordinates(size, flat, values)
        if len(size) == 1:
            # Biases and norms, for which slots have room for whole vectors.
            whole = np.zeros(size, np.float32)
            whole[places[0]] = values
            adapter.add("add", module, {"value": whole}, parameter, scale=scale)
            continue
        roles = {"indices": places, "values": values}
        # In PyTorch a table and the head that it is tied to are one parameter.
        adapter.add("sparse", module, roles, parameter, tied=len(size) == 2, scale=scale)
    return adapter.folder()


def _elements(source, stem):
    """The size of a parameter, places in it counted row by row, and values."""
    size = tuple(source.take(f"{stem}.size", (None,), "i").tolist())
    steps = source.take(f"{stem}.index_steps", (None,), "i")
    values = source.take(f"{stem}.values", steps.shape)
    if not size or min(size) < 1 or math.prod(size) >= 2**62:
        raise source.error(f"{stem}.size", f"holds {list(size)}, which is no shape")
    # No sum may wrap around.
    if len(steps) and (steps.min() < 0 or steps.max() > math.prod(size)):
        raise source.error(f"{stem}.index_steps", "leads out of the parameter")
    if float(steps.astype(np.float64).sum()) >= math.prod(size):
        raise source.error(f"{stem}.index_steps", f"leads out of the parameter's {list(size)} elements")
    places = np.unravel_index(np.cumsum(steps), size, order="F")
    return size, np.ravel_multi_index(places, size), values


def _add(sums, path, size, flat, values):
    before = sums.get(path, (size, flat[:0], values[:0]))
    if before[0] != size:
        raise ValueError(f"'{path}' has the sizes {list(before[0])} and {list(size)}")
    sums[path] = (
        size,
        np.concatenate([before[1], flat]),
        np.concatenate([before[2].astype(np.float64), values.astype(np.float64)]),
    )


def _coordinates(size, flat, values):
    """[axes, n], each place once and in order, and the sums of its values."""
    flat, where = np.unique(flat, return_inverse=True)
    total = np.bincount(where, values, len(flat)) if len(flat) else values
    return np.stack(np.unravel_index(flat, size)).astype(np.int64), narrow(total)


def spiel(sources, scale=1.0):
    """SpIEL: differences in the flattened weight, `<module>.sft_delta[.<name>].indices` and `.values`."""
    (source,) = sources
    adapter = Forms()
    for module, _, name in source.ending("indices"):
        path, mark, rest = module.rpartition(".sft_delta")
        if not mark or rest.count(".") > 1 or (rest and not rest.startswith(".")):
            raise source.error(name, "has no place: expected <module>.sft_delta.indices")
        indices = source.take(name, (None,), "i")
        values = source.take(name.removesuffix("indices") + "values", indices.shape)
        if len(indices) and indices.min() < 0:
            raise source.error(name, f"holds the place {indices.min()}")
        if len(np.unique(indices)) != len(indices):
            raise source.error(name, "names a place twice")
        adapter.add("sparse_flat", path, {"indices": indices, "values": values}, scale=scale)
    if not adapter.forms:
        raise ValueError(f"{source.path}: holds no sft_delta")
    return adapter.folder(source.config().get("base_model_name_or_path"))


def qwha(sources, scale=None):
    """QWHA: `<module>.qwha_spectrum` with `qwha_indices_<name>` [2, n] and `qwha_scaling_<name>`.

    What those were drawn by, `qwha_n_frequency_<name>` and `qwha_random_loc_seed_<name>`, may stand beside.
    """
    (source,) = sources
    adapter = Forms()
    for module, _, name in source.ending("qwha_spectrum", "qwha_spectrum.default"):
        stem = f"{name[: name.rindex('.qwha_spectrum')]}."
        spectrum = source.take(name, (None,))
        of = _name_of(source, stem)
        indices = source.take(f"{stem}qwha_indices_{of}", (2, len(spectrum)), "i")
        if len(spectrum) and indices.min() < 0:
            raise source.error(f"{stem}qwha_indices_{of}", f"holds the place {indices.min()}")
        factor = source.number(f"{stem}qwha_scaling_{of}")
        if scale is not None:
            factor = scale
        count = f"{stem}qwha_n_frequency_{of}"
        if count in source.arrays and source.number(count, "i") != len(spectrum):
            raise source.error(count, f"does not say the {len(spectrum)} coefficients that there are")
        source.arrays.pop(f"{stem}qwha_random_loc_seed_{of}", None)
        adapter.add("qwha", module, {"spectrum": spectrum, "indices": indices}, scale=factor)
    if not adapter.forms:
        raise ValueError(f"{source.path}: holds no qwha_spectrum")
    return adapter.folder(source.config().get("base_model_name_or_path"))


def _name_of(source, stem):
    """What the adapter is called, which the names of buffers end with."""
    start = f"{stem}qwha_indices_"
    names = [name.removeprefix(start) for name in source.arrays if name.startswith(start)]
    if len(names) != 1:
        raise ValueError(
            f"{source.path}: module '{stem[:-1].removeprefix(PREFIX)}' has {len(names)} tensors "
            "qwha_indices_<name>, and needs one"
        )
    return names[0]
