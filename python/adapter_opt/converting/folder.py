# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What converters make: adapters in folders that adapter-opt reads, complete or not there."""

import json
import os

import numpy as np

from adapter_opt import temporary
from adapter_opt.converting import tensors
from adapter_opt.converting.source import PREFIX


class Folder:
    """A configuration and tensors, with the name of their file; `more` has files of both kinds by name."""

    def __init__(self, config, arrays, file="adapter_model.safetensors", more=()):
        self.files = {file: arrays, "adapter_config.json": config} | dict(more)

    def save(self, out):
        """Writes it as the folder `out`, which must not be there yet."""
        parent, name = os.path.split(os.path.abspath(out))
        os.makedirs(parent, exist_ok=True)
        new = temporary.Folder(f".{name}.new", parent)
        try:
            os.chmod(new.path, 0o777 & ~temporary.umask())
            for name, content in self.files.items():
                path = os.path.join(new.path, name)
                if name.endswith(".json"):
                    with open(path, "w", encoding="utf-8") as file:
                        json.dump(content, file, indent=1)
                else:
                    tensors.write(path, content)
            os.rename(new.path, out)
        finally:
            new.remove()


class Forms:
    """An adapter of the library's forms, which may differ from module to module."""

    def __init__(self):
        self.forms, self.arrays, self.modules = {}, {}, {}

    def add(self, form, module, roles, parameter="weight", tied=False, **scalars):
        """What a form does to a module's parameter: tensors by role, and its scalars."""
        path = module if parameter == "weight" else f"{module}.{parameter}"
        if path in self.forms:
            raise ValueError(f"'{path}' has two updates; one adapter changes a parameter once")
        self.forms[path] = form
        for role, array in roles.items():
            self.arrays[f"{PREFIX}{path}.{role}"] = array
        fields = {"form": form}
        if parameter != "weight":
            fields["parameter"] = parameter
        if tied:
            fields["tied"] = True
        if scalars:
            fields["scalars"] = scalars
        self.modules[path] = fields

    def folder(self, base=None):
        """As a folder; a form that all modules have is said once."""
        config = {"peft_type": "ADAPTER_OPT_FORM"}
        if base:
            config["base_model_name_or_path"] = base
        if len(set(self.forms.values())) == 1:
            config["form"] = next(iter(self.forms.values()))
            self.modules = {path: self._rest(fields) for path, fields in self.modules.items()}
        modules = {path: fields for path, fields in self.modules.items() if fields}
        if modules:
            config["modules"] = modules
        return Folder(config, self.arrays)

    @staticmethod
    def _rest(fields):
        return {name: value for name, value in fields.items() if name != "form"}


def narrow(array):
    """Float64, of what was computed, as float32; an error where that is no number any more."""
    with np.errstate(over="ignore"):
        array = np.asarray(array).astype(np.float32)
    if not np.isfinite(array).all():
        raise ValueError("what the tensors make is beyond float32")
    return array
