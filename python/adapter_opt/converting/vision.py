# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Methods that their authors write for timm's vision transformers, whose layers the names stand for."""

import re

import numpy as np

from adapter_opt.converting.folder import Forms, narrow


def hydra(sources, scale=1.0):
    """Hydra: branches beside and behind mlp.fc2 and attn.proj, with biases of their own; the head whole."""
    (source,) = sources
    adapter, layers = Forms(), {}
    for _, suffix, name in source.ending("down_proj.weight"):
        found = re.fullmatch(r"(.+\.)hydra_(mlp|proj)_(par|seq)", name.removesuffix(f".{suffix}"))
        if not found:
            raise source.error(name, "has no place: expected hydra_mlp_par, _seq, hydra_proj_par or _seq")
        layer = found[1] + {"mlp": "fc2", "proj": "proj"}[found[2]]
        layers.setdefault(layer, {})[found[3]] = _branch(source, name.removesuffix(suffix))
    if not layers:
        raise ValueError(f"{source.path}: holds no down_proj of hydra_mlp_par and its like")
    for layer, branches in layers.items():
        if set(branches) != {"par", "seq"}:
            raise ValueError(f"{source.path}: '{layer}' has a branch without the other")
        (down, up, shift), (down_behind, up_behind, shift_behind) = branches["par"], branches["seq"]
        if len(up) != len(up_behind) or down_behind.shape[1] != len(up):
            raise ValueError(f"{source.path}: the branches of '{layer}' do not fit each other")
        roles = {"A_p": down, "B_p": up, "A_s": down_behind, "B_s": up_behind}
        roles["shift"] = narrow(shift + shift_behind)
        adapter.add("hydra", layer, roles, scale=scale)
    _add_head(adapter, source)
    return adapter.folder()


def _branch(source, stem):
    """A, B, and what the biases make of nothing."""
    down = source.take(f"{stem}down_proj.weight", (None, None))
    up = source.take(f"{stem}up_proj.weight", (None, len(down)))
    inner = source.take(f"{stem}down_proj.bias", (len(down),))
    outer = source.take(f"{stem}up_proj.bias", (len(up),))
    return down, up, up.astype(np.float64) @ inner + outer


def _add_head(adapter, source):
    """A head that was saved along, with whatever is in front of its name."""
    for module, parameter, name in source.ending("weight", "bias"):
        if module.rpartition(".")[2] in ("head", "head_dist"):
            adapter.add("replace", module, {"value": source.take(name)}, parameter)


# What ssf_scale_1 and ssf_scale_2 of a module stand behind.
_BEHIND = {
    "attn": ("qkv", "proj"),
    "mlp": ("fc1", "fc2"),
    "patch_embed": ("proj", "norm"),
    "block": ("norm1", "norm2"),
    "": ("norm", None),
}


def ssf(sources):
    """SSF: scales and shifts behind linears, convolutions and norms; the head whole."""
    (source,) = sources
    adapter = Forms()
    for name in [name for name in source.arrays if re.search(r"(^|\.)ssf_scale_\d+$", name)]:
        owner, _, last = name.rpartition(".")
        kind = "block" if re.search(r"(^|\.)blocks\.\d+$", owner) else owner.rpartition(".")[2]
        number = int(last.removeprefix("ssf_scale_"))
        behind = _BEHIND.get(kind, (None, None))[number - 1] if number in (1, 2) else None
        if behind is None:
            raise source.error(name, "has no place: which layer it stands behind is not known")
        gamma = source.take(name, (None,))
        beta = source.take(f"{name.removesuffix(last)}{last.replace('scale', 'shift')}", gamma.shape)
        layer = f"{owner}.{behind}" if owner else behind
        if behind.startswith("norm"):
            adapter.add("scale_shift", layer, {"gamma": gamma})
            adapter.add("scale_shift", layer, {"gamma": gamma, "beta": beta}, "bias")
        else:
            adapter.add("ssf", layer, {"gamma": gamma, "beta": beta})
    if not adapter.forms:
        raise ValueError(f"{source.path}: holds no ssf_scale_1")
    _add_head(adapter, source)
    return adapter.folder()
