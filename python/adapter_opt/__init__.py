# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Compiles and runs models with adapters."""

from adapter_opt.compiler import Adapter, Slot, check, compile, merge
from adapter_opt.exporting import Exported, export
from adapter_opt.proof import verify
from adapter_opt.runtime import Model, load

__all__ = ["Adapter", "Exported", "Model", "Slot", "check", "compile", "export", "load", "merge", "verify"]
