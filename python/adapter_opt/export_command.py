# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The command line of `adapter-opt export`, which starts this in Python."""

import argparse
import sys

from adapter_opt.exporting import export

DESCRIPTION = """\
Exports a transformers or sentence-transformers folder to ONNX: graphs with dynamic batches and sequences, and
copies of the tokenizer's and configuration's files. Nothing is downloaded; a name on the Hugging Face Hub is
one that is in this machine's cache. Prints each graph's inputs and outputs, and how far its answers are from
the model's own."""

EPILOG = """\
Graphs: model.onnx; encoder_model.onnx and decoder_model.onnx of a model that answers in steps;
text_model.onnx and vision_model.onnx beside a CLIP.

Exit codes: 0 exported, 1 that is not possible, and OUT is not there, 2 wrong usage."""


class _Parser(argparse.ArgumentParser):
    def error(self, message):
        sys.exit(_fail(f"{message}; try adapter-opt export --help", 2))


def _fail(message, code=1):
    text = "; ".join(line for line in str(message).splitlines() if line)
    printable = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    print(f"adapter-opt: error: {printable}", file=sys.stderr)
    return code


def _parser():
    parser = _Parser(
        prog="adapter-opt export",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("folder", metavar="FOLDER", help="the model's folder, or its name in the Hub's cache")
    parser.add_argument("-o", dest="output", metavar="OUT", required=True, help="the folder to make")
    parser.add_argument(
        "--cache",
        action="store_true",
        help="decoders take past_key_values.N.key and .value and give present.N...",
    )
    parser.add_argument(
        "--dtype", metavar="float32|float16|bfloat16", help="other than the weights are stored in"
    )
    parser.add_argument(
        "--head",
        metavar="CLASS",
        help="of transformers: AutoModel, BertForMaskedLM, ...; not what config.json says",
    )
    parser.add_argument(
        "--input",
        action="append",
        metavar="NAME",
        help="a parameter of forward; instead of all that are found",
    )
    parser.add_argument(
        "--tensors", metavar="inside|outside", help="where weights lie: in the .onnx file or in one beside it"
    )
    parser.add_argument("--replace", action="store_true", help="replace an export that is there already")
    parser.add_argument(
        "--no-check", action="store_true", help="do not compare with the model in ONNX Runtime"
    )
    return parser


def _line(graph):
    def side(values):
        return ", ".join(f"{name} [{', '.join(map(str, dims))}]" for name, dims in values)

    found = (
        "not compared with the model" if graph.difference is None else f"differs by {graph.difference:.1e}"
    )
    return f"{graph.path}: {found}\n  takes {side(graph.inputs)}\n  gives {side(graph.outputs)}"


def main(arguments):
    """Runs the command; returns its exit code."""
    options = _parser().parse_args(arguments)
    try:
        exported = export(
            options.folder,
            options.output,
            cache=options.cache,
            dtype=options.dtype,
            head=options.head,
            inputs=options.input,
            tensors=options.tensors,
            replace=options.replace,
            check=not options.no_check,
        )
    except (ValueError, OSError, MemoryError) as error:
        return _fail(error)
    for graph in exported.graphs.values():
        print(_line(graph))
    return 0
