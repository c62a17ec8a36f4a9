# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Compiles and runs models with adapters.

Two distributions share this package: adapter-opt-runtime opens and runs compiled models; adapter-opt, which
needs it, adds the compiler.
"""

import importlib
import importlib.util
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from adapter_opt._runtime import __version__ as __version__
    from adapter_opt.compiler import Adapter, Combination, Slot, check, compile, merge
    from adapter_opt.converting import convert
    from adapter_opt.exporting import Exported, export
    from adapter_opt.proof import verify
    from adapter_opt.resolve import resolve
    from adapter_opt.runtime import Model, load
    from adapter_opt.session import Session
    from adapter_opt.text.generation import Generated, generate

__all__ = [
    "Adapter",
    "Combination",
    "Exported",
    "Generated",
    "Model",
    "Session",
    "Slot",
    "check",
    "compile",
    "convert",
    "export",
    "generate",
    "load",
    "merge",
    "resolve",
    "verify",
]

# Where each name is. Modules are imported when a name of theirs is asked for: the commands need few of them.
_MODULES = {
    "__version__": "_runtime",
    "Adapter": "compiler",
    "Combination": "compiler",
    "Exported": "exporting",
    "Generated": "text.generation",
    "Model": "runtime",
    "Session": "session",
    "Slot": "compiler",
    "check": "compiler",
    "compile": "compiler",
    "convert": "converting",
    "export": "exporting",
    "generate": "text.generation",
    "load": "runtime",
    "merge": "compiler",
    "resolve": "resolve",
    "verify": "proof",
}


def __getattr__(name):
    if name not in _MODULES:
        raise AttributeError(f"module 'adapter_opt' has no attribute '{name}'")
    module = f"adapter_opt.{_MODULES[name]}"
    if importlib.util.find_spec(module) is None:
        raise ImportError(f"adapter_opt.{name} needs the compiler: pip install adapter-opt", name=module)
    value = getattr(importlib.import_module(module), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted({*globals(), *_MODULES})
