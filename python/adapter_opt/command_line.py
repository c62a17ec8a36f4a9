# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What the commands of adapter-opt that are in Python have in common: how they say what is wrong, and end."""

import argparse
import contextlib
import signal
import sys


def fail(message, code=1, program="adapter-opt"):
    """Says on one line of standard error what is wrong; returns the exit code."""
    text = "; ".join(line for line in str(message).splitlines() if line)
    printable = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    print(f"{program}: error: {printable}", file=sys.stderr)
    return code


class Parser(argparse.ArgumentParser):
    """Ends with exit code 2 and one line where the command line is wrong. Help is printed as it is written,
    and options cannot be abbreviated."""

    def __init__(self, **settings):
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **settings)

    def error(self, message):
        sys.exit(fail(f"{message}; try {self.prog} --help", 2, self.prog.split()[0]))


@contextlib.contextmanager
def signals_end():
    """Signals end what runs here as exceptions do, so that nothing is left."""

    def end(number, frame):
        sys.exit(128 + number)

    ends = [each for each in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(each) is not signal.SIG_IGN]
    before = {each: signal.signal(each, end) for each in ends}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
