# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Adapters of PEFT with all that their own folders leave out: behind `ao.resolve`.

PyTorch, PEFT and safetensors are imported when an adapter is resolved, and not before.
"""

import json
import os

from adapter_opt import temporary


def resolve(model, out, adapter="default"):
    """Writes an adapter of a live PEFT model as a folder that says all of what it does.

    PEFT's own folders leave out what PEFT computes again when it loads them: random projections
    (`save_projection=False`, `save_indices=False`, `save_precomputed_indices=False`), of PSOFT the base's
    singular vectors, of AdaMSS the outputs that its factors are of. The first are saved along in PEFT's own
    format; PSOFT and AdaMSS are written as the LoRA that they are.

    model: a PeftModel.
    out: the folder; it must not be there yet.
    adapter: its name in the model.
    Returns `out`. Raises ValueError for an adapter that there is not, FileExistsError, and TypeError for a
    model that is not PEFT's.
    """
    if not hasattr(model, "peft_config") or not hasattr(model, "save_pretrained"):
        raise TypeError(f"resolve takes a PeftModel, not {type(model).__name__}")
    if adapter not in model.peft_config:
        raise ValueError(f"the model has no adapter '{adapter}'; it has: {', '.join(model.peft_config)}")
    if os.path.exists(out):
        raise FileExistsError(f"{out} is there already")
    config = model.peft_config[adapter]
    method = str(getattr(config.peft_type, "value", config.peft_type)).upper()
    parent, name = os.path.split(os.path.abspath(out))
    os.makedirs(parent, exist_ok=True)
    new = temporary.Folder(f".{name}.new", parent)
    try:
        os.chmod(new.path, 0o777 & ~temporary.umask())
        if method in _FACTORS:
            _save_lora(model, new.path, adapter, config, _FACTORS[method])
        else:
            _save_whole(model, new.path, adapter, config)
        os.rename(new.path, out)
    finally:
        new.remove()
    return out


def _save_whole(model, folder, adapter, config):
    """PEFT's own folder, with buffers that it leaves out."""
    for field in ("save_projection", "save_indices", "save_precomputed_indices"):
        if hasattr(config, field):
            setattr(config, field, True)
    for module in model.modules():
        # PEFT's dictionaries of buffers, which know by name which of theirs are not saved.
        if type(module).__name__ == "BufferDict":
            module._non_persistent_buffers_set.clear()
    model.save_pretrained(folder, selected_adapters=[adapter])
    if adapter != "default":
        inner = os.path.join(folder, adapter)
        for name in os.listdir(inner):
            os.replace(os.path.join(inner, name), os.path.join(folder, name))
        os.rmdir(inner)


def _psoft_factors(layer, adapter):
    """scale B (R - I) A, and no change of the bias."""
    import torch

    a, b = layer._get_psoft_ab_cache_buffers(adapter)
    turn = layer.psoft_R[adapter].get_matrix().double()
    b = layer.scaling[adapter] * b.double() @ (turn - torch.eye(len(turn), dtype=torch.float64))
    return a, b, None


def _adamss_factors(layer, adapter):
    """B, each part at its outputs, times A of the shared projection, whose last column is the bias's."""
    import torch

    projection = layer.adamss_newB[adapter].double()
    downs = [part.double() @ projection for part in layer.adamss_A[adapter]]
    ups = torch.block_diag(*[part.double() for part in layer.adamss_B[adapter]])
    up = torch.zeros_like(ups)
    up[layer.scatter_index[adapter]] = ups
    down, inputs = torch.cat(downs), layer.in_features
    shift = up @ down[:, inputs] if down.shape[1] > inputs else None
    return down[:, :inputs], up, shift


# By peft_type: the attribute that its layers have; their A [r, in], B [out, r], and change of the bias.
_FACTORS = {"PSOFT": ("psoft_R", _psoft_factors), "ADAMSS": ("adamss_A", _adamss_factors)}


def _save_lora(model, folder, adapter, config, how):
    import torch
    from safetensors.torch import save_file

    attribute, factors = how
    tensors, ranks, named, biased = {}, {}, [], False
    with torch.no_grad():
        for path, layer in model.named_modules():
            if adapter not in getattr(layer, attribute, {}) or not hasattr(layer, "get_base_layer"):
                continue
            a, b, shift = factors(layer, adapter)
            module = path.removeprefix("base_model.model.")
            tensors[f"{path}.lora_A.weight"] = a.float().contiguous().cpu()
            tensors[f"{path}.lora_B.weight"] = b.float().contiguous().cpu()
            ranks[module] = len(a)
            named.append(module)
            if shift is not None:
                bias = layer.get_base_layer().bias.double() + shift
                tensors[f"{path}.base_layer.bias"] = bias.float().contiguous().cpu()
                biased = True
    save_file(tensors, os.path.join(folder, "adapter_model.safetensors"))
    # A scale of 1 for each: alpha is the rank.
    fields = {
        "peft_type": "LORA",
        "base_model_name_or_path": config.base_model_name_or_path,
        "bias": "all" if biased else "none",
        "r": max(ranks.values()),
        "lora_alpha": max(ranks.values()),
        "rank_pattern": ranks,
        "alpha_pattern": ranks,
        "target_modules": named,
    }
    with open(os.path.join(folder, "adapter_config.json"), "w") as file:
        json.dump(fields, file, indent=1)
