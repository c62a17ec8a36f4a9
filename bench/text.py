#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A decoder of 0.39 billion parameters with weights of each width, against its peers, in turns.

    text.py [--build build] [--widths f32,bf16,int8,int4] [--parts peers,adapters] [--long]
            [--runs 9] [--threads 2] [--layers 24]

A prompt of 256 tokens of one row, one token more for one row and for eight behind 256 tokens and, with
--long, for one row behind 4,096; logits of the last position, caches of f32 in all engines. `peers`:
adapter-opt, on ao.export's graph and on that of GenAI's builder; onnxruntime-genai; openvino, on ao.export's
graph; torch. `adapters`: a rank-16 LoRA on every linear, unmerged, by call and by row, and eight of them in a
batch, over our own base. Outputs are compared before anything is timed. Prints a table; writes
bench/results/text.json and text.png. Needs torch and transformers; a peer that is not installed is left out.
"""

import argparse
import contextlib
import dataclasses
import json
import pathlib
import platform
import sys

import numpy as np
import text_limits
import text_models
import text_openvino
import text_peers
import text_table
import text_turns

import bench

PROMPT, LONG, ROWS = 256, 4096, 8
CASES = (
    text_turns.Case(f"prompt {PROMPT}", 1, PROMPT, False),
    text_turns.Case(f"1 row at {PROMPT}", 1, PROMPT, True),
    text_turns.Case(f"{ROWS} rows at {PROMPT}", ROWS, PROMPT, True),
)
LONG_CASE = text_turns.Case(f"1 row at {LONG:,}", 1, LONG, True)
# llama.cpp is none of the peers yet: its Python package builds from source.
BUILT, TORCH = ("f32", "int8", "int4"), ("f32", "bf16")
OURS, GENAI, BASE = "adapter-opt", "onnxruntime-genai", "base"


class Bench:
    def __init__(self, options):
        self.options, self.ao = options, bench.runtime(options.build)
        self.decoder = text_models.Decoder(self.ao, str(options.build / "bench"), options.layers)
        self.limits = text_limits.Limits(options.build, options.threads)

    def _ours(self, stack, name, graph, width, flags=(), acting=None):
        """A function that makes an engine, closed by the stack, and tells the megabytes of its artifact."""

        def make():
            compiler = self.options.build / "bin" / "adapter-opt"
            artifact = self.decoder.artifact(compiler, name, graph(), width, flags)
            model = stack.enter_context(self.ao.load(artifact, threads=self.options.threads))
            model.finish_check()
            return text_peers.Ours(model, acting), megabytes(artifact)

        return make

    def peers(self, width, stack):
        """Sides that run the base."""
        decoder, threads, side = self.decoder, self.options.threads, text_turns.side

        def built():
            return str(pathlib.Path(decoder.built(width)) / "model.onnx")

        def genai():
            return text_peers.GenAI(decoder.built(width), threads), megabytes(decoder.built(width))

        def openvino():
            graph = decoder.exported()
            return text_openvino.OpenVINO(graph, self.options.layers, width, threads), megabytes(graph)

        def torch():
            folder = decoder.checkpoint()
            return text_peers.Torch(folder, width, threads), megabytes(folder)

        yield side(OURS, self._ours(stack, "base", decoder.exported, width))
        if width in BUILT:
            yield side(GENAI, genai, peer=True)
            yield side(f"{OURS}, {GENAI}'s graph", self._ours(stack, "built", built, width), reference=GENAI)
        if width in TORCH:
            yield side("openvino", openvino, reference=OURS, peer=True)
            yield side("torch", torch, reference=OURS, peer=True)

    def adapters(self, width, stack):
        """Sides that run the base, and LoRAs beside it."""
        paths, graph, side = self.decoder.adapters(), self.decoder.exported, text_turns.side
        one = [f"--adapter=a0={paths['a0']}@call"]
        every = [f"--adapter={name}={path}@row" for name, path in paths.items()]
        yield side(BASE, self._ours(stack, "base", graph, width))
        made = self._ours(stack, "call", graph, width, one, "a0")
        yield side("LoRA by call", made, same="one", adapters=1)
        made = self._ours(stack, "row", graph, width, every, ["a0"])
        row = side("LoRA by row", made, same="one", adapters=1)
        row.reference = "LoRA by call"
        yield row
        # Other rows of the same model.
        eight = dataclasses.replace(
            row, label="8 LoRAs by row", same="eight", reference=row.label, adapters=8
        )
        if row.engine:
            eight.engine = text_peers.Ours(row.engine.model, list(paths))
        yield eight

    def run(self):
        """The records of all widths and parts, written and drawn after each."""
        options, exact, results, failures = self.options, {}, [], []
        ids = np.random.default_rng(0).integers(3, self.decoder.shape["vocab_size"], (ROWS, LONG))
        for width in options.widths.split(","):
            for part in options.parts.split(","):
                turns = text_turns.Turns(width, self.decoder, self.limits, options.runs, exact)
                cases = (*CASES, LONG_CASE) if options.long and part == "peers" else CASES
                with contextlib.ExitStack() as stack:
                    sides = list(getattr(self, part)(width, stack))
                    found = [record | {"part": part} for record in turns.measure(sides, cases, ids)]
                    for each in sides:
                        each.engine = None
                    about = {"width": width, "part": part}
                    missing = [
                        about | {"engine": each.label, "why": each.failure} for each in sides if each.failure
                    ]
                results += found
                failures += missing
                text_table.show(width, part, cases, found, missing)
                self._write(results, failures)
        return failures

    def _write(self, results, failures):
        bench.RESULTS.mkdir(exist_ok=True)
        record = {
            "id": "text",
            "machine": platform.processor() or platform.machine(),
            "shape": self.decoder.shape,
            "threads": self.options.threads,
            "limits": {name: bench.summary(rates) for name, rates in self.limits.seen.items()},
            "left_out": failures,
            "results": results,
        }
        (bench.RESULTS / "text.json").write_text(json.dumps(record, indent=2) + "\n")
        text_table.draw(results, bench.RESULTS / "text.png")


def megabytes(path):
    """Of a file, or of all in a folder."""
    path = pathlib.Path(path)
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file()) / 1e6


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=pathlib.Path, default=bench.ROOT / "build")
    parser.add_argument("--widths", default=",".join(text_models.BYTES))
    parser.add_argument("--parts", default="peers,adapters")
    parser.add_argument("--long", action="store_true", help=f"also a step behind {LONG:,} tokens")
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--layers", type=int, default=text_models.SHAPE["num_hidden_layers"])
    options = parser.parse_args()
    options.build = options.build.resolve()
    if options.runs < 7:
        parser.error("--runs: at least 7")
    for name, known in (("widths", text_models.BYTES), ("parts", ("peers", "adapters"))):
        if not set(getattr(options, name).split(",")) <= set(known):
            parser.error(f"--{name}: of {', '.join(known)}")
    failures = Bench(options).run()
    # A peer that is not there is no error; what we cannot run, or run differently, is one.
    wrong = [each for each in failures if not each["why"].startswith("not installed")]
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
