# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The command line of `adapter-opt verify`, which is in Python for ONNX Runtime."""

import argparse
import os
import re
import tempfile

import numpy as np

from adapter_opt import compiler, proof, sample_inputs
from adapter_opt.command_line import Parser, fail
from adapter_opt.runtime import load

# When an adapter acts, as adapter-opt --adapter has it.
TIME = re.compile(r"@(build|switch|call|row|row-token|auto)(?=:scale=|$)")

DESCRIPTION = """\
Proves that a merged graph or an artifact gives what a reference gives: with --samples answers that you bring,
with --reference what ONNX Runtime makes of graphs. Prints, for each output, the largest difference and the
effect error: the difference as a share of what the adapter changes.

Bound: |y - y_ref| <= 1e-3 |y_ref - y_base| + 3e-6 |y_ref|; without y_base 1e-5 |y_ref|; of outputs in 16 bits
2e-2 |y_ref|. Sizes are largest magnitudes over finite entries; infinities and NaNs must match exactly."""

EPILOG = """\
What is independent of adapter-opt: with --samples all, if PEFT made them. With --reference the base graph and
ONNX Runtime, which runs the reference: that proves code generation and the runtime. Where the adapter goes
and what it adds adapter-opt decides in the reference, too; samples prove that, or ao.verify in Python with
the PEFT model.

Exit codes: 0 verified, 1 not verified or an input is at fault, 2 wrong usage."""


def _pair(text):
    name, equals, value = text.partition("=")
    if not name or not equals or not value:
        raise argparse.ArgumentTypeError(f"{text}: expected NAME=...")
    return name, value


def _dim(text):
    name, value = _pair(text)
    if not value.isdigit() or not int(value):
        raise argparse.ArgumentTypeError(f"{text}: expected NAME=N with N a size")
    return name, int(value)


def _parser():
    parser = Parser(
        prog="adapter-opt verify",
        description=DESCRIPTION,
        epilog=EPILOG,
    )
    parser.add_argument("model", help="what is to be proven: merged.onnx or model.adapt")
    parser.add_argument(
        "--samples", help=".npz with inputs and expected outputs by name, and base.OUTPUT without adapters"
    )
    parser.add_argument("--reference", metavar="BASE.onnx", help="the graph without adapters")
    parser.add_argument(
        "--adapter",
        action="append",
        default=[],
        help="with --samples, what acts on all rows of an artifact, or is switched in; with --reference "
        "NAME=PATH, repeatable: the adapters that the model was made with",
    )
    parser.add_argument(
        "--row-adapters", help="with --samples, what acts on each row of an artifact: a,-,0.7*a+0.3*b"
    )
    parser.add_argument(
        "--load", action="append", type=_pair, default=[], help="load a PEFT folder first: NAME=PATH"
    )
    parser.add_argument(
        "--dim", action="append", type=_dim, default=[], metavar="NAME=N", help="size of a dynamic dim"
    )
    parser.add_argument(
        "--input",
        action="append",
        type=_pair,
        default=[],
        metavar="NAME=FILE.npy",
        help="an input, not a made-up one",
    )
    return parser


def _usage_fault(options):
    if bool(options.samples) == bool(options.reference):
        return "give --samples or --reference, one of them"
    if options.samples and (options.dim or options.input):
        return "--dim and --input make inputs, and the samples bring them"
    if options.samples and len(options.adapter) > 1:
        return "--adapter is given twice; with --samples it says what acts: 0.7*a+0.3*b"
    if options.adapter and options.row_adapters:
        return "give --adapter or --row-adapters, not both"
    if options.reference and (options.row_adapters or options.load):
        return "--row-adapters and --load go with --samples"
    if options.reference and not all("=" in text.strip("=") for text in options.adapter or [""]):
        return "--reference needs --adapter NAME=PATH: what is proven is what it does"
    return None


def _load(path, kind):
    """What NumPy finds in a file. A broken one may fail in many ways within NumPy."""
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, kind):
            return loaded if kind is np.ndarray else dict(loaded)
    except Exception as error:
        raise ValueError(f"{path}: cannot be read: {error}") from None
    raise ValueError(f"{path}: {'an .npz' if kind is np.ndarray else 'no .npz'} file")


def _rows(text):
    """Adapters of rows, or of the tokens of each, as Model.__call__ takes them."""
    rows = [[None if name == "-" else name for name in row.split("/")] for row in text.split(",")]
    return rows if "/" in text else [row[0] for row in rows]


def _against_samples(options):
    """Comparisons of a model with what the samples expect."""
    samples = _load(options.samples, np.lib.npyio.NpzFile)
    adapters = _rows(options.row_adapters) if options.row_adapters else next(iter(options.adapter), None)
    model = options.model
    if options.load:
        model = load(model)
        for name, path in options.load:
            path, _, slot = path.partition(",slot=")
            model.load_adapter(name, path, slot or None)
    runner = proof.open_model(model, adapters)
    names = [name for name, _, _ in runner.inputs]
    for name in names:
        if name not in samples:
            raise ValueError(
                f"{options.samples}: lacks the input '{name}'; the inputs are: {', '.join(names)}"
            )
    outputs = runner({name: samples[name] for name in names})
    references, bases = {}, {}
    for name, array in samples.items():
        if name in outputs:
            references[name] = array
        elif name.startswith("base.") and name[5:] in outputs:
            bases[name[5:]] = array
        elif name not in names:
            known = f"the inputs are: {', '.join(names)}; the outputs are: {', '.join(outputs)}"
            raise ValueError(f"{options.samples}: '{name}' is neither an input nor an output; {known}")
    for name in outputs:
        if name not in references:
            print(f"{name}: not compared, the samples lack it")
    return proof.compare_all(outputs, references, bases, runner.narrow)


def _with_adapters(path, adapters):
    """What runs the model under proof, with the adapters (names and PATH[:scale=S]) acting that it was made
    with or has a slot for."""
    if not os.path.isdir(path):
        return proof.OnnxModel(path)
    model = load(path)
    has_slot, names = bool(model.info()["slots"]), [name for name, _ in adapters]
    for name, text in adapters:
        if name not in model.adapters and has_slot:
            folder, _, scale = text.partition(":scale=")
            model.load_adapter(name, folder)
            if scale:
                model.set(f"{name}.scale", float(scale))
    times = {name: each["time"] for name, each in model.adapters.items()}
    acting = [name for name in names if times.get(name, "load") != "load"]
    if len(acting) > 1:
        raise ValueError(f"{path}: {' and '.join(acting)} are chosen by each call; prove them one by one")
    others = sorted(name for name, time in times.items() if time == "load" and name not in names)
    if others:
        raise ValueError(f"{path}: '{others[0]}' always acts there; give it as --adapter, too")
    return proof.Artifact(model, next(iter(acting), None))


def _against_reference(options):
    """Comparisons of a model with the graph that adapter-opt merges, run by ONNX Runtime."""
    given = {name: _load(path, np.ndarray) for name, path in options.input}
    # When an adapter acts is the model's matter; in the reference all are merged.
    words = [TIME.sub("", text) for text in options.adapter]
    base = proof.OnnxModel(options.reference)
    feed = sample_inputs.make(base.inputs, _embedding_rows(options.reference), dict(options.dim), given)
    without = base(feed)
    with tempfile.TemporaryDirectory(prefix="adapter-opt-") as folder:
        merged = os.path.join(folder, "reference.onnx")
        compiler.run(options.reference, *(f"--adapter={text}" for text in words), "-o", merged)
        references = proof.OnnxModel(merged)(feed)
    runner = _with_adapters(options.model, [_pair(text) for text in words])
    return proof.compare_all(runner(feed), references, without, runner.narrow)


def _embedding_rows(path):
    try:
        return sample_inputs.embedding_rows(path)
    except ImportError:
        return {}  # the onnx package tells; without it integers are 0 and 1


def _independence(options):
    """What the reference has in common with the model."""
    if options.samples:
        return "against samples, which are as independent as what made them"
    shared = "not independent of adapter-opt: where the adapter goes and what it adds (--samples, ao.verify)"
    if os.path.isdir(options.model):
        return f"against ONNX Runtime. Independent: the base graph, and what runs the reference; {shared}"
    return f"against what adapter-opt merges now: the file is what it makes; {shared}"


def main(arguments):
    """Runs the command; returns its exit code."""
    options = _parser().parse_args(arguments)
    if fault := _usage_fault(options):
        return fail(f"{fault}; try adapter-opt verify --help", 2)
    try:
        comparisons = _against_samples(options) if options.samples else _against_reference(options)
        for each in comparisons:
            print(each)
        proof.check(comparisons)
    except (ValueError, OSError, MemoryError, RuntimeError) as error:
        return fail(error)
    print(f"verified {_independence(options)}")
    return 0
