# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What the commands of adapter-opt that are in Python have in common: how they say what is wrong."""

import argparse
import sys


def fail(message, code=1, program="adapter-opt"):
    """Says on one line of standard error what is wrong; returns the exit code."""
    text = "; ".join(line for line in str(message).splitlines() if line)
    printable = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    print(f"{program}: error: {printable}", file=sys.stderr)
    return code


class Parser(argparse.ArgumentParser):
    """Ends with exit code 2 and one line where the command line is wrong."""

    def error(self, message):
        sys.exit(fail(f"{message}; try {self.prog} --help", 2, self.prog.split()[0]))
