# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The command adapter-run as a wheel installs it: the runtime, in the process of this script."""

import os
import signal
import sys

from adapter_opt import _runtime


def main():
    """Runs the command with the arguments of this process, and ends it with the exit code."""
    # As in any command: the runtime does not return to Python until it is done.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    sys.exit(_runtime.command([b"adapter-run", *map(os.fsencode, sys.argv[1:])]))
