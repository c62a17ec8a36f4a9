# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Thin factors: trained beside what is left of a base, with norms, compressed."""

import math

import numpy as np

from adapter_opt.converting.folder import Folder, Forms, narrow
from adapter_opt.converting.source import PREFIX

# What files call a pair of factors: PEFT, diffusers, kohya.
_PAIRS = (
    ("lora_A.weight", "lora_B.weight"),
    ("lora.down.weight", "lora.up.weight"),
    ("lora_down.weight", "lora_up.weight"),
)


def scale_of(source, given, alpha="lora_alpha"):
    """The scale that is given, else what PEFT's configuration says, else 1."""
    config = source.config()
    if given is not None:
        return given
    for field in ("rank_pattern", "alpha_pattern", "use_dora"):
        if config.get(field):
            raise ValueError(f"{source.path}: {field} is set, which is not obeyed here; say the scale")
    rank, alpha = config.get("r"), config.get(alpha)
    if rank is None or alpha is None:
        return 1.0
    if not all(isinstance(each, (int, float)) and each > 0 for each in (rank, alpha)):
        raise ValueError(f"{source.path}: r or alpha is not a positive number")
    return alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)


def corda(sources, scale=None):
    """CorDA: the factors as they are after training and as they were before it, with what stands beside them.

    In the authors' code BLinear comes first, and ALinear after it.
    """
    trained, initial = sources
    adapter, scale = Forms(), scale_of(trained, scale)
    pairs = (("BLinear.weight", "ALinear.weight"), _PAIRS[0])
    downs = trained.ending(*(down for down, _ in pairs))
    if not downs:
        raise ValueError(f"{trained.path}: holds no factors: BLinear and ALinear, or lora_A and lora_B")
    for module, suffix, name in downs:
        up = name[: -len(suffix)] + dict(pairs)[suffix]
        down = trained.take(name, (None, None))
        up_name, rank = up, len(down)
        up = trained.take(up_name, (None, rank))
        first = initial.take(name, (None, down.shape[1]))
        second = initial.take(up_name, (len(up), len(first)))
        adapter.add("corda", module, {"A": down, "B": up, "A0": first, "B0": second}, scale=scale)
    _add_rest(adapter, trained, initial)
    return adapter.folder(trained.config().get("base_model_name_or_path"))


def _add_rest(adapter, trained, initial):
    """What of a whole model was trained beside the factors, whole; the rest is the same in both."""
    for name in list(trained.arrays):
        if name not in initial.arrays:
            continue
        before, after = initial.arrays.pop(name), trained.arrays[name]
        if np.array_equal(before, after):
            trained.arrays.pop(name)
            continue
        if name.endswith((".weight_residual", ".parametrizations.weight.original")):
            raise trained.error(name, f"differs from that of {initial.path}: they are of two bases")
        module, _, parameter = name.removeprefix(PREFIX).replace(".ALinear.", ".").rpartition(".")
        if before.shape != after.shape or not module:
            raise trained.error(name, f"does not fit that of {initial.path}")
        adapter.add("replace", module, {"value": trained.take(name)}, parameter)


def loldu(sources):
    """LoLDU: the parametrisations of weights as they are after training and as they were before it."""
    trained, initial = sources
    adapter = Forms()
    mark = "parametrizations.weight.0.vector_z"
    for module, _, name in trained.ending(mark):
        stem = name.removesuffix("vector_z")
        arrays = {}
        for part, source in (("z", trained), ("z0", initial)):
            arrays[part] = source.take(name, (None,))
            arrays["scale" + part[1:]] = source.number(f"{stem}scaling_factor")
        rank = len(arrays["z"])
        up = _same(trained, initial, f"{stem}lora_B", (None, rank))
        down = _same(trained, initial, f"{stem}lora_A", (rank, None))
        order = _same(trained, initial, f"{stem}P", (len(up), len(up)))
        if arrays["z0"].shape != (rank,):
            raise initial.error(name, f"has another size than that of {trained.path}")
        if not ((order == 0) | (order == 1)).all() or (order.sum(0) != 1).any() or (order.sum(1) != 1).any():
            raise trained.error(f"{stem}P", "is no permutation")
        for source in sources:
            source.arrays.pop(f"{stem}lora_dropout_mask", None)  # ones, which training multiplies by
        roles = {"permutation": order.argmax(1).astype(np.int64), "L": up, "U": down}
        roles |= {"z": arrays["z"], "z0": arrays["z0"]}
        adapter.add("loldu", module, roles, scale=arrays["scale"], scale0=arrays["scale0"])
    if not adapter.forms:
        raise ValueError(f"{trained.path}: holds no {mark}")
    _add_rest(adapter, trained, initial)
    return adapter.folder()


def _same(trained, initial, name, shape):
    """What training leaves as it is."""
    array, before = trained.take(name, shape), initial.take(name, shape)
    if not np.array_equal(array, before):
        raise trained.error(name, f"differs from that of {initial.path}; both must be of one decomposition")
    return array


def lora_xs(sources, scale=None):
    """LoRA-XS and LoRA-SB: PEFT's factors, which stay as they were, and a matrix between them.

    PEFT takes the adapter's name "default" out of "<module>.default_lora_latent_mapping" with its dot.
    """
    (source,) = sources
    adapter, scale = Forms(), scale_of(source, scale)
    for module, suffix, name in source.ending("lora_A.weight"):
        stem = name[: -len(suffix) - 1]
        down = source.take(name, (None, None))
        up = source.take(f"{stem}.lora_B.weight", (None, None))
        between = f"{stem}_lora_latent_mapping.weight"
        if between not in source.arrays:
            between = f"{stem}.default_lora_latent_mapping.weight"
        core = source.take(between, (up.shape[1], len(down)))
        adapter.add("lora_sb", module, {"A": down, "B": up, "R": core}, scale=scale)
    if not adapter.forms:
        raise ValueError(f"{source.path}: holds no lora_A")
    return adapter.folder(source.config().get("base_model_name_or_path"))


def sora(sources, scale=None):
    """SoRA: factors and a gate between them, in modules called `lora`; closed gates are dropped."""
    (source,) = sources
    adapter = Forms()
    if scale is None:
        raise ValueError(f"{source.path}: needs scale, lora_alpha / lora_r of its training")
    for module, _, name in source.ending("lora.gate"):
        stem = name.removesuffix("gate")
        gate = source.take(name, (1, None))[0]
        down = source.take(f"{stem}lora_A", (len(gate), None))
        up = source.take(f"{stem}lora_B", (None, len(gate)))
        # One direction stays where all are closed: it adds nothing.
        kept = np.flatnonzero(gate) if gate.any() else np.array([0])
        roles = {"A": down[kept], "B": up[:, kept], "E": gate[kept]}
        adapter.add("adalora", module, roles, scale=scale)
    if not adapter.forms:
        raise ValueError(f"{source.path}: holds no lora.gate")
    return adapter.folder()


def paca(sources, scale=None):
    """PaCA: columns of weights, in any order, in a folder of their PEFT."""
    (source,) = sources
    adapter, scale = Forms(), scale_of(source, scale, "paca_alpha")
    for module, suffix, name in source.ending("paca_w", "paca_w.default"):
        columns = source.take(name, (None, None))
        places = f"{name[: -len(suffix)]}{suffix.replace('paca_w', 'paca_indices')}"
        indices = source.take(places, (columns.shape[1],), "i")
        order = np.argsort(indices, kind="stable")
        if len(np.unique(indices)) != len(indices) or (len(indices) and indices.min() < 0):
            raise source.error(places, "names a column twice, or one before the first")
        adapter.add("paca", module, {"indices": indices[order], "columns": columns[:, order]}, scale=scale)
    if not adapter.forms:
        raise ValueError(f"{source.path}: holds no paca_w")
    return adapter.folder(source.config().get("base_model_name_or_path"))


def sltrain(sources, scale=None):
    """SLTrain: a model of its own, whose linears are products and few elements; what else there is, whole."""
    (source,) = sources
    adapter = Forms()
    for module, _, name in source.ending("sparse_index"):
        stem = name.removesuffix("sparse_index")
        indices = source.take(name, (None,), "i")
        values = source.take(f"{stem}sparse_value", indices.shape)
        down = source.take(f"{stem}lora_A", (None, None))
        up = source.take(f"{stem}lora_B", (None, len(down)))
        size = len(up) * down.shape[1]
        if len(indices) and not 0 <= indices.min() <= indices.max() < size:
            raise source.error(name, f"names a place out of the {size} that there are")
        factor = scale
        if f"{stem}scaling" in source.arrays:
            factor = math.tanh(source.number(f"{stem}scaling"))
        if factor is None:
            raise ValueError(f"{source.path}: needs scale, lora_alpha / r of its training")
        roles = {"A": down, "B": up, "indices": indices, "values": values}
        adapter.add("sltrain", module, roles, scale=factor)
    if not adapter.forms:
        raise ValueError(f"{source.path}: holds no sparse_index")
    for module, parameter, name in source.ending("weight", "bias"):
        adapter.add("replace", module, {"value": source.take(name)}, parameter)
    return adapter.folder()


def resadapter(sources, scale=1.0):
    """ResAdapter: LoRA of the convolutions that change resolution, and norms as they are after training."""
    adapter = Forms()
    for source in sources:
        for module, suffix, name in source.ending(*(down for down, _ in _PAIRS)):
            stem = name[: -len(suffix)]
            down = source.take(name)
            up = source.take(stem + dict(_PAIRS)[suffix])
            if down.ndim < 2 or up.ndim != down.ndim or up.shape[1] != len(down):
                raise source.error(name, f"has shape {list(down.shape)}, which does not fit {list(up.shape)}")
            alpha = source.number(f"{stem}alpha") if f"{stem}alpha" in source.arrays else len(down)
            factors = {"A": down, "B": up}
            adapter.add("lora", _without_part(module), factors, scale=scale * alpha / len(down))
        for module, parameter, name in source.ending("weight", "bias"):
            if source.arrays[name].ndim != 1:
                raise source.error(name, "is neither a factor nor a parameter of a norm")
            adapter.add("replace", _without_part(module), {"value": source.take(name)}, parameter)
    if not adapter.forms:
        raise ValueError(f"{sources[0].path}: holds neither factors nor norms")
    return adapter.folder()


def _without_part(module):
    """The path in the UNet, which diffusers' files put in front."""
    return module.removeprefix("unet.")


def compeft(sources, scale=None):
    """ComPEFT: ternary changes of what training began with, in the folder of the method that was trained.

    Of each tensor of the adapter `<name>.ternary` holds -1, 0 and 1, or `<name>.positive` and
    `<name>.negative` bits, eight to a byte, the first the highest; `<name>.scale` says how much a 1 is, where
    `scale` does not say it for all.
    """
    changes, initial = sources
    config = initial.config()
    if "peft_type" not in config:
        raise ValueError(f"{initial.path}: needs adapter_config.json beside the initial tensors")
    arrays = {}
    for name in list(initial.arrays):
        before = initial.take(name)
        ternary = _ternary(changes, name, before.shape)
        factor = changes.number(f"{name}.scale") if scale is None else scale
        arrays[name] = narrow(before.astype(np.float64) + factor * ternary)
    return Folder(config, arrays)


def _ternary(source, name, shape):
    """-1, 0 and 1, of a tensor's shape."""
    if f"{name}.ternary" in source.arrays:
        values = source.take(f"{name}.ternary", shape, "i")
        if (abs(values) > 1).any():
            raise source.error(f"{name}.ternary", "holds other numbers than -1, 0 and 1")
        return values
    count = math.prod(shape)
    planes = []
    for sign in ("positive", "negative"):
        bits = source.take(f"{name}.{sign}", (-(-count // 8),), "i")
        if ((bits < 0) | (bits > 255)).any():
            raise source.error(f"{name}.{sign}", "holds what is no byte")
        bits = np.unpackbits(bits.astype(np.uint8))
        if bits[count:].any():
            raise source.error(f"{name}.{sign}", f"has bits behind the {count} elements")
        planes.append(bits[:count].astype(np.int64))
    if (planes[0] & planes[1]).any():
        raise source.error(f"{name}.positive", "and the negative bits name an element both")
    return (planes[0] - planes[1]).reshape(shape)
