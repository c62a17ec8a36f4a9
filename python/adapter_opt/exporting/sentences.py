# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Folders of sentence-transformers: a transformer, pooling and what follows, read from modules.json.

The package itself is not needed. The arithmetic is that of its modules Transformer, Pooling, Dense, LayerNorm
and Normalize; a folder with another one is refused by name.
"""

import os

import torch
from safetensors.torch import load_file

from adapter_opt.exporting import inputs as made_inputs
from adapter_opt.exporting import source as sources
from adapter_opt.exporting.part import Part

# In the order in which several are joined.
_MODES = (
    "cls_token",
    "max_tokens",
    "mean_tokens",
    "mean_sqrt_len_tokens",
    "weightedmean_tokens",
    "lasttoken",
)


def modules_of(folder):
    """The folder's modules as a list of (type, folder), or None where it is none of sentence-transformers."""
    listed = sources.read_json(folder, "modules.json")
    if listed is None:
        return None
    try:
        ordered = sorted(listed, key=lambda each: each["idx"])
        return [(each["type"].rpartition(".")[2], os.path.join(folder, each["path"])) for each in ordered]
    except (TypeError, KeyError):
        raise ValueError(f"{folder}/modules.json: is no list of modules with idx, type and path") from None


def transformer_folder(modules, name):
    """Where the transformer's weights are: in the first module's folder."""
    kind, path = modules[0] if modules else ("nothing", "")
    if kind != "Transformer":
        raise ValueError(f"{name}: its first module is {kind}, and Transformer is what can be exported")
    return path


def _weights(folder, shape_of):
    for file, read in (("model.safetensors", load_file), ("pytorch_model.bin", _load_pickled)):
        path = os.path.join(folder, file)
        if os.path.isfile(path):
            found = read(path)
            break
    else:
        raise ValueError(f"{folder}: holds no model.safetensors")
    try:
        shape_of.load_state_dict(found)
    except RuntimeError as error:
        raise ValueError(f"{path}: does not fit {folder}/config.json: {sources.short(error)}") from None
    return shape_of


def _load_pickled(path):
    return torch.load(path, map_location="cpu", weights_only=True)


class _Dense(torch.nn.Module):
    def __init__(self, config, name):
        super().__init__()
        self.linear = torch.nn.Linear(config["in_features"], config["out_features"], config.get("bias", True))
        # A class of torch by its full name; nothing else is imported for it.
        package, _, function = config.get(
            "activation_function", "torch.nn.modules.linear.Identity"
        ).rpartition(".")
        found = getattr(torch.nn, function, None)
        if not package.startswith("torch.nn") or found is None:
            raise ValueError(f"{name}: activation function {package}.{function} is none of torch.nn")
        self.activation_function = found()

    def forward(self, values):
        return self.activation_function(self.linear(values))


class _LayerNorm(torch.nn.Module):
    def __init__(self, config):
        super().__init__()
        self.norm = torch.nn.LayerNorm(config["dimension"])

    def forward(self, values):
        return self.norm(values)


class _Normalize(torch.nn.Module):
    def forward(self, values):
        return torch.nn.functional.normalize(values, p=2, dim=1)


class _Pooling(torch.nn.Module):
    """One vector of all tokens of a text; padding does not count."""

    def __init__(self, modes):
        super().__init__()
        self.modes = modes

    def forward(self, tokens, mask):
        kept = mask.unsqueeze(-1).to(tokens.dtype)
        made = []
        for mode in self.modes:
            if mode == "cls_token":
                made.append(tokens[:, 0])
            elif mode == "max_tokens":
                made.append(
                    tokens.masked_fill(kept == 0, -1e9 if tokens.dtype != torch.float16 else -6e4).amax(1)
                )
            elif mode == "lasttoken":
                # The last one that is there, whichever side the padding is on.
                back = mask.flip(1).argmax(1)
                last = (mask.shape[1] - 1 - back).view(-1, 1, 1).expand(-1, 1, tokens.shape[2])
                made.append((tokens * kept).gather(1, last).squeeze(1))
            else:
                weights = kept
                if mode == "weightedmean_tokens":
                    weights = kept * torch.arange(1, mask.shape[1] + 1, device=mask.device).view(1, -1, 1)
                total = weights.sum(1).clamp(min=1e-9)
                made.append((tokens * weights).sum(1) / (total.sqrt() if "sqrt" in mode else total))
        return torch.cat(made, 1) if len(made) > 1 else made[0]


def _pooling(config, folder):
    given = config.get("pooling_mode")
    if given is not None:  # newer versions name the modes
        given = {
            f"{mode}_tokens" if mode in ("max", "mean", "mean_sqrt_len", "weightedmean") else mode
            for mode in ([given] if isinstance(given, str) else given)
        }
        given = {"cls_token" if mode == "cls" else mode for mode in given}
    else:
        given = {
            name.removeprefix("pooling_mode_")
            for name, on in config.items()
            if "pooling_mode_" in name and on
        }
    if unknown := sorted(given - set(_MODES)):
        raise ValueError(f"{folder}: pooling mode '{unknown[0]}' is not known")
    return _Pooling([mode for mode in _MODES if mode in given] or ["mean_tokens"])


def _module(kind, folder):
    if kind == "Normalize":
        return _Normalize()
    config = sources.read_json(folder, "config.json")
    if config is None:
        raise ValueError(f"{folder}: lacks config.json")
    try:
        if kind == "Pooling":
            return _pooling(config, folder)
        if kind == "Dense":
            return _weights(folder, _Dense(config, folder))
        if kind == "LayerNorm":
            return _weights(folder, _LayerNorm(config))
    except KeyError as error:
        raise ValueError(f"{folder}/config.json: lacks {error}") from None
    raise ValueError(f"{folder}: a module {kind} cannot be exported")


def parts(source, modules):
    """The one part of such a folder: token_embeddings and sentence_embedding of texts."""
    model = source.model
    made = {f"{kind.lower()}_{i}": _module(kind, path) for i, (kind, path) in enumerate(modules[1:], 1)}
    if not any(isinstance(each, _Pooling) for each in made.values()):
        raise ValueError(
            f"{source.name}: modules.json names no Pooling, so there is no embedding of a sentence"
        )
    made = {name: each.eval().to(model.dtype) for name, each in made.items()}

    def function(model, feed):
        values = tokens = model(**feed, return_dict=True)[0]
        for module in made.values():
            values = (
                module(values, feed["attention_mask"]) if isinstance(module, _Pooling) else module(values)
            )
        return {"token_embeddings": tokens, "sentence_embedding": values}

    taken = made_inputs.parameters(model.forward)
    return [Part("model", made_inputs.text(source.folder, model, taken), function, made)]
