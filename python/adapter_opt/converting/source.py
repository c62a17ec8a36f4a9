# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What a converter reads: files and folders as they were given, of which every tensor must be used."""

import json
import os

import numpy as np

from adapter_opt.converting import tensors

PREFIX = "base_model.model."


class Source:
    """A file of tensors, or a folder with them and configurations.

    path: as it was given.
    arrays: of all its files by name, without those that were taken.
    configs: JSON files of a folder by name, or the file itself.
    """

    def __init__(self, path, how=None, raw=False):
        self.path = path
        self.arrays, self.configs, self.raw = {}, {}, None
        if not os.path.exists(path):
            raise FileNotFoundError(f"{path}: there is no such file or folder")
        if not os.path.isdir(path):
            self._add(path, how, raw)
            return
        names = sorted(os.listdir(path))
        known = [name for name in names if name.endswith((".safetensors", ".npz"))]
        pickles = [name for name in names if name.endswith(tensors.PICKLES)]
        if not known and pickles:
            self._add(os.path.join(path, pickles[0]), how, False)
        for name in known + [name for name in names if name.endswith(".json")]:
            self._add(os.path.join(path, name), how, False)
        if not self.arrays:
            raise ValueError(f"{path}: holds no tensors, in files .safetensors or .npz")

    def _add(self, path, how, raw):
        if path.endswith(".json"):
            self.configs[os.path.basename(path)] = _read_json(path)
            return
        if raw and not tensors.is_pickle(path):
            with open(path, "rb") as file:
                self.raw = file.read()
            return
        for name, array in tensors.read(path, how).items():
            if name in self.arrays:
                raise ValueError(f"{path}: tensor '{name}' is in another file of the folder, too")
            self.arrays[name] = array

    def error(self, name, problem):
        """An error about a tensor."""
        return ValueError(f"{self.path}: tensor '{name}' {problem}")

    def take(self, name, shape=None, kind="f"):
        """A tensor, which counts as used; `shape` may have None for any size. Floats are finite."""
        if name not in self.arrays:
            raise ValueError(f"{self.path}: tensor '{name}' is missing")
        array = self.arrays.pop(name)
        if shape is not None and not _fits(shape, array.shape):
            wanted = ", ".join("any" if n is None else str(n) for n in shape)
            raise self.error(name, f"has shape {list(array.shape)}, expected [{wanted}]")
        if kind == "i":
            return self._whole(name, array)
        if array.dtype.kind != "f":
            raise self.error(name, f"is of {array.dtype}, not of floats")
        if not np.isfinite(array).all():
            raise self.error(name, "holds what is no number")
        return array

    def _whole(self, name, array):
        """Whole numbers, which some save as floats."""
        if array.dtype.kind == "f" and (array == np.floor(array)).all() and (abs(array) < 2**53).all():
            array = array.astype(np.int64)
        if array.dtype.kind not in "iub":
            raise self.error(name, f"is of {array.dtype}, not of whole numbers")
        return array.astype(np.int64)

    def number(self, name, kind="f"):
        """A tensor of one element, as a number."""
        array = self.take(name, kind=kind)
        if array.size != 1:
            raise self.error(name, f"has shape {list(array.shape)}, and is one number")
        return array.reshape(-1)[0].item()

    def ending(self, *suffixes):
        """[(module, suffix, name)] of the tensors whose names end so; modules without PEFT's prefix."""
        found = []
        for name in self.arrays:
            for suffix in suffixes:
                module = name[: -len(suffix) - 1].removeprefix(PREFIX)
                if name.endswith("." + suffix) and module:
                    found.append((module, suffix, name))
                    break
        return found

    def config(self, name="adapter_config.json"):
        """A configuration; an empty one where there is none."""
        config = self.configs.get(name, {})
        if not isinstance(config, dict):
            raise ValueError(f"{self.path}: {name} is no object")
        return config

    def finish(self, method, needs):
        """Raises ValueError where a tensor was not used."""
        for name in self.arrays:
            raise self.error(name, f"has no place; {method} takes {needs}")


def _fits(wanted, shape):
    return len(wanted) == len(shape) and all(n in (None, m) for n, m in zip(wanted, shape, strict=True))


def _read_json(path):
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: is not JSON: {error}") from None
