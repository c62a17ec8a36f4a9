# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The command line of `adapter-opt export`, which starts this in Python."""

import re
import signal

from adapter_opt.command_line import Parser, fail, signals_end
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


def _parser():
    parser = Parser(
        prog="adapter-opt export",
        description=DESCRIPTION,
        epilog=EPILOG,
    )
    parser.add_argument("folder", metavar="FOLDER", help="the model's folder, or its name in the Hub's cache")
    parser.add_argument("-o", dest="output", metavar="OUT", required=True, help="the folder to make")
    parser.add_argument(
        "--cache",
        action="store_true",
        help="decoders take past_key_values.N.key and .value and give present.N...",
    )
    parser.add_argument(
        "--last-logits", action="store_true", help="with --cache: logits of the last position alone"
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
        "--labels",
        metavar="N",
        type=int,
        help="classes that the head tells apart, if not what config.json says",
    )
    parser.add_argument(
        "--untrained", action="store_true", help="make up weights that are missing; an adapter brings them"
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


def _side(values):
    """Names and dims. What there is for each layer is named once: past_key_values.{0-31}.key."""
    groups = {}
    for name, dims in values:
        groups.setdefault(re.sub(r"\.\d+\.", ".{}.", name), []).append((name, dims))
    words = []
    for pattern, group in groups.items():
        layers = [re.search(r"\.(\d+)\.", name) for name, _ in group]
        name = group[0][0] if len(group) == 1 else pattern.format(f"{{{layers[0][1]}-{layers[-1][1]}}}")
        words.append(f"{name} [{', '.join(map(str, group[0][1]))}]")
    return ", ".join(words)


def _line(graph):
    found = (
        "not compared with the model" if graph.difference is None else f"differs by {graph.difference:.1e}"
    )
    return f"{graph.path}: {found}\n  takes {_side(graph.inputs)}\n  gives {_side(graph.outputs)}"


def main(arguments):
    """Runs the command; returns its exit code."""
    options = _parser().parse_args(arguments)
    try:
        with signals_end():
            exported = export(
                options.folder,
                options.output,
                cache=options.cache,
                dtype=options.dtype,
                head=options.head,
                labels=options.labels,
                untrained=options.untrained,
                inputs=options.input,
                tensors=options.tensors,
                replace=options.replace,
                check=not options.no_check,
                last_logits=options.last_logits,
            )
    except (ValueError, OSError, MemoryError) as error:
        return fail(error)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    for graph in exported.graphs.values():
        print(_line(graph))
    return 0
