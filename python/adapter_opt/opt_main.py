# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The command adapter-opt as a wheel installs it: the same compiler, in the process of this script."""

import importlib
import importlib.util
import os
import signal
import sys


def main():
    """Runs the command with the arguments of this process, and ends it with the exit code."""
    word, rest = (sys.argv + [""])[1], sys.argv[2:]
    # Commands that are written in Python have a module.
    if word.isidentifier() and importlib.util.find_spec(f"adapter_opt.{word}_command"):
        sys.exit(importlib.import_module(f"adapter_opt.{word}_command").main(rest))
    from adapter_opt import _compiler

    # As in any command: the compiler does not return to Python until it is done.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    sys.exit(_compiler.command([b"adapter-opt", *map(os.fsencode, sys.argv[1:])]))
