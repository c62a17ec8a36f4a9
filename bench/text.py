# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A decoder in a session, with weights of each format: a prompt of 256 tokens, and one more token for one row
and for eight, at a context of 256. The decoder is Llama's shape with random weights: 24 layers of 896, 0.39
billion parameters. Prints medians in milliseconds.

    python bench/text.py [FOLDER]    what is made stays in the folder, for the next run
"""

import os
import statistics
import sys
import tempfile
import time

import adapter_opt as ao
import numpy as np

SHAPE = dict(
    vocab_size=32000,
    hidden_size=896,
    intermediate_size=4864,
    num_hidden_layers=24,
    num_attention_heads=14,
    num_key_value_heads=2,
    head_dim=64,
    max_position_embeddings=8192,
)
FORMATS = (None, "bf16", "int8", "int4")
PROMPT, ROWS, RUNS = 256, 8, 9


def exported(folder):
    """The path of the decoder's graph, which is made if it is not there."""
    path = os.path.join(folder, "onnx", "model.onnx")
    if not os.path.exists(path):
        import torch
        import transformers

        torch.manual_seed(0)
        model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**SHAPE))
        model.save_pretrained(os.path.join(folder, "torch"))
        ao.export(
            os.path.join(folder, "torch"),
            os.path.join(folder, "onnx"),
            cache=True,
            last_logits=True,
            check=False,
        )
    return path


def median(function, runs=RUNS):
    """Milliseconds, after one run that warms up."""
    function()
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times)


def measure(model):
    """(prompt, one row, eight rows)"""
    ids = np.random.default_rng(0).integers(0, SHAPE["vocab_size"], (ROWS, PROMPT))
    session = model.session(max_length=PROMPT + 8 * RUNS, batch=ROWS)

    def prompt():
        session.reset(0)
        session(ids[:1], rows=[0])

    def step(rows):
        for row in range(rows):
            session.rewind(row, 1)
        session(ids[:rows, -1:])

    first = median(prompt, 3)
    one = median(lambda: step(1))
    for row in range(1, ROWS):
        session(ids[row : row + 1], rows=[row])
    return first, one, median(lambda: step(ROWS))


def main():
    """Prints the table."""
    folder = sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp()
    graph = exported(folder)
    print(f"{'weights':8} {'MB':>6} {'prompt':>8} {'1 row':>8} {'8 rows':>8}")
    for weights in FORMATS:
        with ao.compile(graph, stateful=True, weights=weights, threads=2) as model:
            model.finish_check()
            size = sum(entry.stat().st_size for entry in os.scandir(model._path) if entry.is_file())
            times = measure(model)
        print(
            f"{weights or 'f32':8} {size / 1e6:6.0f} " + " ".join(f"{each:8.1f}" for each in times),
            flush=True,
        )


if __name__ == "__main__":
    main()
