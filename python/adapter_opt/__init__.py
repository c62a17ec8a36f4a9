# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Runs models with adapters that adapter-opt compiled."""

from adapter_opt.runtime import Model, load

__all__ = ["Model", "load"]
