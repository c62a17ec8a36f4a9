# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Bottleneck adapters as AdapterHub's folders, which methods write in another form or put together."""

import json
import re

import numpy as np

from adapter_opt.converting.folder import Folder, narrow

_FILE = "adapter.safetensors"
_KEY = re.compile(r"(?P<path>.+)\.adapters\.(?P<name>[^.]+)\.(?P<rest>.+)")
_PHM = ("W", "W_left", "W_right", "b", "phm_rule", "phm_rule_left", "phm_rule_right")


def _bottleneck(source):
    """The configuration of an AdapterHub folder, and what of it says how the bottleneck is."""
    config = source.config()
    fields = config.get("config")
    if not isinstance(fields, dict) or not isinstance(config.get("name"), str):
        raise ValueError(
            f"{source.path}: is no folder of AdapterHub: adapter_config.json has no name and config"
        )
    return config, fields


def compacter(sources):
    """Compacter: projections that are sums of Kronecker products, in AdapterHub's folder."""
    (source,) = sources
    config, fields = _bottleneck(source)
    if not fields.get("phm_layer"):
        raise ValueError(f"{source.path}: phm_layer is not set; the folder is read as it is")
    rules = {}  # what all modules share
    for _, _, name in source.ending(*(f"{config['name']}.{role}" for role in _shared_roles())):
        if ".shared_parameters." in f".{name}":
            rules[name.rpartition(".")[2]] = source.take(name)
    arrays, layers = {}, {}
    for name in list(source.arrays):
        found = re.fullmatch(r"(.+\.adapter_(?:down\.[01]|up))\.(\w+)", name)
        if found and found[2] in _PHM:
            layers.setdefault(found[1], {})[found[2]] = source.take(name)
        else:
            arrays[name] = source.arrays.pop(name)
    if not layers:
        raise ValueError(f"{source.path}: holds no W_left and W_right of adapter_down and adapter_up")
    for layer, parts in layers.items():
        weight, bias = _projection(f"{source.path}: '{layer}'", layer, parts, rules)
        arrays[f"{layer}.weight"], arrays[f"{layer}.bias"] = weight, bias
    return Folder(config | {"config": fields | {"phm_layer": False}}, arrays, _FILE)


def _shared_roles():
    sides = [f"W_{side}{part}" for side in ("down", "up") for part in ("", "_left", "_right")]
    return [*sides, "phm_rule", "phm_rule_left", "phm_rule_right"]


def _projection(where, layer, parts, shared):
    """W [out, in] and b of y = W x + b; each part is the module's own, or shared by all."""
    side = "up" if layer.endswith("up") else "down"
    rule = _product(where, "phm_rule", parts, shared, "phm_rule")
    inner = _product(where, "W", parts, shared, f"W_{side}")
    if len(rule) != len(inner):
        raise ValueError(f"{where} sums {len(rule)} matrices of phm_rule times {len(inner)} of W")
    dense = sum(np.kron(s, w) for s, w in zip(rule, inner, strict=True))
    bias = parts.pop("b", None)
    if bias is None:
        bias = np.zeros(dense.shape[1], np.float32)
    if bias.shape != (dense.shape[1],):
        raise ValueError(f"{where} has a bias of shape {list(bias.shape)}, expected [{dense.shape[1]}]")
    if parts:
        raise ValueError(f"{where} has '{next(iter(parts))}' beside what takes its place")
    return narrow(dense.T), bias


def _product(where, name, parts, shared, shared_name):
    """[n, p, q], whole or as a product of two, in float64."""
    found = []
    for part in ("", "_left", "_right"):
        array = parts.pop(name + part, None)
        if array is None:
            array = shared.get(shared_name + part)
        if array is not None and array.ndim != 3:
            raise ValueError(f"{where} has '{name}{part}' of shape {list(array.shape)}, expected three sizes")
        found.append(array)
    whole, left, right = found
    if whole is not None and left is None and right is None:
        return whole.astype(np.float64)
    if whole is not None or left is None or right is None:
        raise ValueError(
            f"{where} has no '{name}', or not both of its factors; `adapters` leaves what is shared out of "
            "files of models without a head: save it from one with a head"
        )
    if len(left) != len(right) or left.shape[2] != right.shape[1]:
        raise ValueError(f"{where} has factors of '{name}' of {list(left.shape)} and {list(right.shape)}")
    return left.astype(np.float64) @ right.astype(np.float64)


# Fields of AdapterHub's configurations that sources may differ in.
_OWN = ("reduction_factor", "scaling", "dropout", "init_weights", "init_weights_seed")


def scalearn(sources):
    """ScaLearn: several adapters of one placement as one, whose outputs are summed by omega.

    The last of the files holds omega, [adapters, 1] or [adapters, width], for each module or for all.
    """
    *folders, last = sources
    configs, modules = {}, {}
    for source in folders:
        config, fields = _bottleneck(source)
        _check_plain(source, fields)
        if config["name"] in modules:
            raise ValueError(f"{source.path}: has the name '{config['name']}' of another of the adapters")
        configs[config["name"]] = config
        modules[config["name"]] = _modules(source, config, fields)
        if list(modules[config["name"]]) != list(next(iter(modules.values()))):
            raise ValueError(f"{source.path}: has other modules than {folders[0].path}")
    first = next(iter(configs.values()))
    if len({json.dumps(_placement(each["config"]), sort_keys=True) for each in configs.values()}) != 1:
        raise ValueError(
            f"{folders[0].path}: and the other adapters differ in their configurations, and are not one"
        )
    paths = list(next(iter(modules.values())))
    omegas = _omegas(last, list(modules), paths)
    arrays, factors = {}, set()
    for path in paths:
        parts = [each[path] for each in modules.values()]
        arrays |= _together(f"{last.path}: omega of '{path}'", path, omegas[path], parts)
        # Between the size and the next one, so that it is what the reader rounds down to.
        factors.add(len(parts[0][2]) / (sum(len(down) for down, _, _, _ in parts) + 0.5))
    if len(factors) != 1:
        raise ValueError(f"{last.path}: modules would be of several widths")
    fields = first["config"] | {"reduction_factor": factors.pop(), "scaling": 1.0}
    return Folder(first | {"name": "scalearn", "config": fields}, arrays, _FILE)


def _placement(fields):
    return {name: value for name, value in fields.items() if name not in _OWN}


def _together(where, path, omega, parts):
    """One bottleneck as wide as all of them, whose factor up has their omegas in it."""
    width = len(parts[0][2])
    if omega.shape not in ((len(parts), 1), (len(parts), width)):
        raise ValueError(
            f"{where} has shape {list(omega.shape)}, expected [{len(parts)}, 1] or [{len(parts)}, {width}]"
        )
    ups = [weight[:, None] * up for weight, (_, _, up, _) in zip(omega, parts, strict=True)]
    shifts = [weight * shift for weight, (_, _, _, shift) in zip(omega, parts, strict=True)]
    stem = f"{path}.adapters.scalearn."
    return {
        f"{stem}adapter_down.0.weight": np.concatenate([down for down, _, _, _ in parts]),
        f"{stem}adapter_down.0.bias": np.concatenate([bias for _, bias, _, _ in parts]),
        f"{stem}adapter_up.weight": narrow(np.concatenate(ups, axis=1)),
        f"{stem}adapter_up.bias": narrow(sum(shifts)),
    }


def _check_plain(source, fields):
    """Only what is down, activation and up adds to one bottleneck."""
    for field in ("ln_before", "ln_after", "use_gating", "adapter_residual_before_ln", "phm_layer"):
        if fields.get(field):
            raise ValueError(f"{source.path}: {field} is set; only plain bottlenecks sum to one")


def _modules(source, config, fields):
    """{path: (down, its bias, up, its bias)} in the order of paths, up and its bias scaled, in float64."""
    found = {}
    for name in list(source.arrays):
        key = _KEY.fullmatch(name)
        if not key or key["name"] != config["name"]:
            raise source.error(name, "has no place in a bottleneck adapter")
        found.setdefault(key["path"], {})[key["rest"]] = source.take(name)
    modules = {}
    for path, roles in sorted(found.items()):
        where = f"{source.path}: '{path}'"
        scale = fields.get("scaling", 1.0)
        if scale in ("learned", "channel"):
            scale = roles.pop("scaling", None)
        names = ("adapter_down.0.weight", "adapter_down.0.bias", "adapter_up.weight", "adapter_up.bias")
        if scale is None or set(roles) != set(names):
            raise ValueError(f"{where} has {', '.join(sorted(roles))}; expected {', '.join(names)}")
        down, bias, up, shift = (roles[each] for each in names)
        scale = np.asarray(scale, np.float64).reshape(-1)
        if (
            down.ndim != 2
            or bias.shape != down.shape[:1]
            or up.shape != down.shape[::-1]
            or shift.shape != up.shape[:1]
            or len(scale) not in (1, len(up))
        ):
            raise ValueError(f"{where} has tensors of shapes that do not fit each other")
        modules[path] = (down, bias, scale[:, None] * up, scale * shift)
    return modules


def _omegas(source, names, paths):
    """{path: omega}, in the order of the adapters' names, which the keys repeat."""
    config = source.config("scalearn_config.json")
    fields = config.get("config", config)
    if fields.get("residual") is False:
        raise ValueError(f"{source.path}: residual is false; bottlenecks are added to what they read")
    omegas, common = {}, None
    for module, _, name in source.ending("omega"):
        path, mark, listed = module.rpartition(".scalearn_layer.")
        if not mark:
            path, mark, listed = "", "", f".{module}".rpartition(".shared_parameters.")[2]
        order = listed.split(",")
        if sorted(order) != sorted(names):
            raise source.error(name, f"is of the adapters {', '.join(order)}, not of {', '.join(names)}")
        omega = source.take(name).astype(np.float64)
        if omega.ndim != 2 or len(omega) != len(names):
            raise source.error(name, f"has shape {list(omega.shape)}, expected [{len(names)}, ...]")
        omega = _normalised(omega, fields)[[order.index(each) for each in names]]
        if path:
            omegas[path] = omega
        elif common is None:
            common = omega
        else:
            raise source.error(name, "is there twice")
    if common is not None:
        return {path: omegas.pop(path, common) for path in paths} | omegas
    if sorted(omegas) != sorted(paths):
        missing = next((each for each in paths if each not in omegas), next(iter(omegas), None))
        raise ValueError(f"{source.path}: omega and the adapters do not have the same modules: '{missing}'")
    return omegas


def _normalised(omega, fields):
    if fields.get("take_mean"):
        return omega / omega.sum(axis=0)
    if fields.get("take_softmax"):
        omega = np.exp(omega - omega.max(axis=0))
        return omega / omega.sum(axis=0)
    return omega
