# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The command line of `adapter-opt convert`, which starts this in Python."""

import signal

from adapter_opt.command_line import Parser, fail, signals_end
from adapter_opt.converting import METHODS, convert

DESCRIPTION = """\
Writes an adapter in the files of a paper's authors as a folder that adapter-opt reads. Files are safetensors
or .npz, or folders with them; pickles are refused with the line that converts them. Every tensor must have a
use."""

EPILOG = """\
methods and what their files hold:
{methods}

Exit codes: 0 converted, 1 a file is at fault, and OUT is not there, 2 wrong usage."""


def _parser():
    lines = []
    for name, row in METHODS.items():
        options = "".join(f" [--set {each}=..]" for each in row.options)
        lines.append(f"  {name:11} {row.title}{options}\n{'':14}{row.needs}")
    parser = Parser(
        prog="adapter-opt convert",
        description=DESCRIPTION,
        epilog=EPILOG.format(methods="\n".join(lines)),
    )
    parser.add_argument("method", metavar="METHOD", help="whose files they are")
    parser.add_argument("files", metavar="FILE", nargs="+", help="files or folders, in the method's order")
    parser.add_argument("-o", dest="output", metavar="OUT", required=True, help="the folder to make")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="an option of the method"
    )
    return parser


def _options(parser, method, words):
    """Options by name, of their types."""
    types = METHODS[method].options if method in METHODS else {}
    options = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not name or not equals:
            parser.error(f"--set {word}: expected NAME=VALUE")
        if name in options:
            parser.error(f"--set {name} is there twice")
        options[name] = _value(parser, name, types.get(name, str), text)
    return options


def _value(parser, name, type, text):
    if type is bool:
        if text not in ("true", "false"):
            parser.error(f"--set {name}={text}: expected true or false")
        return text == "true"
    try:
        return type(text)
    except ValueError:
        return parser.error(f"--set {name}={text}: expected {type.__name__}")


def main(arguments):
    """Runs the command; returns its exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    values = _options(parser, options.method, options.set)
    try:
        with signals_end():
            convert(options.method, options.files, options.output, **values)
    except (ValueError, OSError, MemoryError) as error:
        return fail(error)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    return 0
