#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What adapters by row cost: a rank-16 LoRA on every linear against the base alone, in turns.

    rows.py [--build build] [--models bert,decoder] [--runs 15] [--threads 2] [--cases plain,one,...]

Artifacts of each model take turns: `plain` without adapters; one with eight adapters at row, in calls where
all rows carry the same (`one`), each another (`eight`) or none (`unused`); one with room that nobody uses
(`slot`). Of each the least time counts, since whatever else runs on the machine only adds to it. Writes
bench/results/rows.json. Needs torch and transformers.
"""

import argparse
import json
import pathlib
import time

import numpy as np

import bench

RANK, ADAPTERS = 16, 8
# A quarter of the layers and vocabulary of the decoder of 0.39 B parameters: the same shares of the time.
DECODER = dict(
    hidden_size=896,
    intermediate_size=4864,
    num_hidden_layers=6,
    num_attention_heads=14,
    num_key_value_heads=2,
    head_dim=64,
    vocab_size=8000,
)
CONTEXT = 256


def write_adapter(folder, linears, seed):
    """A LoRA folder for `linears`, {path: (out, in)}."""
    from safetensors.numpy import save_file

    if (folder / "adapter_config.json").exists():
        return folder
    rng = np.random.default_rng(seed)
    tensors = {}
    for path, (outer, inner) in linears.items():
        for name, shape in (("A", (RANK, inner)), ("B", (outer, RANK))):
            values = (rng.standard_normal(shape) * 0.02).astype(np.float32)
            tensors[f"base_model.model.{path}.lora_{name}.weight"] = values
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "adapter_model.safetensors")
    targets = sorted({path.rsplit(".", 1)[1] for path in linears})
    config = {"peft_type": "LORA", "r": RANK, "lora_alpha": RANK, "target_modules": targets}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


def bert(folder):
    """The graph, its linears, and for each case (batch, sequence) what to call it with."""
    model, _ = bench.bert_model(folder / "bert-base.onnx")
    linears = {}
    for i in range(12):
        layer = f"model.encoder.layer.{i}"
        for part in ("attention.self.query", "attention.self.key", "attention.self.value"):
            linears[f"{layer}.{part}"] = (768, 768)
        linears[f"{layer}.attention.output.dense"] = (768, 768)
        linears[f"{layer}.intermediate.dense"] = (3072, 768)
        linears[f"{layer}.output.dense"] = (768, 3072)
    rng, feeds = np.random.default_rng(0), {}
    for batch, sequence in ((1, 128), (8, 128), (8, 16), (8, 1)):
        ids = rng.integers(5, 30000, (batch, sequence))
        feeds[f"{batch}x{sequence}"] = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    return model, linears, feeds


def llama_linears(shape):
    """{path: (out, in)} of the layers' linears, by the settings of transformers' LlamaConfig."""
    hidden, inner = shape["hidden_size"], shape["intermediate_size"]
    keys = shape["num_key_value_heads"] * shape["head_dim"]
    heads = shape["num_attention_heads"] * shape["head_dim"]
    linears = {}
    for i in range(shape["num_hidden_layers"]):
        layer = f"model.layers.{i}"
        for part, outer in (("q_proj", heads), ("k_proj", keys), ("v_proj", keys)):
            linears[f"{layer}.self_attn.{part}"] = (outer, hidden)
        linears[f"{layer}.self_attn.o_proj"] = (hidden, heads)
        linears[f"{layer}.mlp.gate_proj"] = linears[f"{layer}.mlp.up_proj"] = (inner, hidden)
        linears[f"{layer}.mlp.down_proj"] = (hidden, inner)
    return linears


def decoder(folder, build):
    exported = folder / "decoder"
    if not exported.exists():
        import torch
        import transformers

        torch.manual_seed(0)
        config = transformers.LlamaConfig(**DECODER, tie_word_embeddings=False)
        transformers.LlamaForCausalLM(config).save_pretrained(folder / "decoder-hf")
        bench.runtime(build).export(str(folder / "decoder-hf"), str(exported), cache=True, check=False)
    linears = llama_linears(DECODER)
    rng = np.random.default_rng(0)

    def feed(batch, tokens, past):
        values = {"input_ids": rng.integers(5, DECODER["vocab_size"], (batch, tokens))}
        values["attention_mask"] = np.ones((batch, past + tokens), np.int64)
        values["position_ids"] = np.broadcast_to(np.arange(past, past + tokens), (batch, tokens)).copy()
        for i in range(DECODER["num_hidden_layers"]):
            for name in ("key", "value"):
                shape = (batch, DECODER["num_key_value_heads"], past, DECODER["head_dim"])
                values[f"past_key_values.{i}.{name}"] = rng.standard_normal(shape).astype(np.float32)
        return values

    feeds = {"prefill": feed(1, CONTEXT, 0), "d1": feed(1, 1, CONTEXT), "d8": feed(8, 1, CONTEXT)}
    return exported / "model.onnx", linears, feeds


def artifacts(build, folder, name, model, linears, threads):
    """The three artifacts of a model, loaded."""
    adapters = [write_adapter(folder / f"{name}-lora{i}", linears, i + 1) for i in range(ADAPTERS)]
    flags = {
        "plain": [],
        "rows": [f"--adapter=a{i}={path}@row" for i, path in enumerate(adapters)],
        "slot": [f"--adapter-slot=tenant:lora,rank=64,modules={','.join(targets(linears))}"],
    }
    made = {}
    for kind, arguments in flags.items():
        path = folder / f"{name}-{kind}.adapt"
        bench.compile_model(build, model, path, *arguments)
        made[kind] = bench.runtime(build).load(str(path), threads=threads)
        made[kind].finish_check()
    return made


def targets(linears):
    """Globs of the modules, by the last two parts of their paths."""
    return sorted({"*" + ".".join(path.rsplit(".", 2)[1:]) for path in linears})


def sides(models, feed, wanted):
    """{case: call} on one feed."""
    feed = {name: value for name, value in feed.items() if name in models["plain"].inputs}
    batch = len(feed["input_ids"])
    calls = {
        "plain": lambda: models["plain"](**feed),
        "one": lambda: models["rows"](**feed, adapters=["a0"] * batch),
        "eight": lambda: models["rows"](**feed, adapters=[f"a{i}" for i in range(batch)]),
        "unused": lambda: models["rows"](**feed),
        "slot": lambda: models["slot"](**feed),
    }
    return {name: call for name, call in calls.items() if name in wanted and (name != "eight" or batch > 1)}


def in_turns(calls, runs, clock):
    """{name: [seconds]} of calls in turn, each first run once that is not timed."""
    seconds = {name: [] for name in calls}
    for call in calls.values():
        call()
    for _ in range(runs):
        for name, call in calls.items():
            start = clock()
            call()
            seconds[name].append(clock() - start)
    return seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=pathlib.Path, default=bench.ROOT / "build")
    parser.add_argument("--models", default="bert,decoder")
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--cpu", action="store_true", help="processor time, of one thread: for a busy machine"
    )
    parser.add_argument("--cases", default="plain,one,eight,unused,slot")
    parser.add_argument("--feeds", default="", help="names of feeds; all if empty")
    options = parser.parse_args()
    build, results, threads = options.build.resolve(), {}, 1 if options.cpu else options.threads
    folder = build / "bench"
    folder.mkdir(exist_ok=True)
    for name in options.models.split(","):
        model, linears, feeds = bert(folder) if name == "bert" else decoder(folder, build)
        models = artifacts(build, folder, name, model, linears, threads)
        for shape, feed in feeds.items():
            if options.feeds and shape not in options.feeds.split(","):
                continue
            runs = options.runs * (1 if feed["input_ids"].size >= 128 else 5)
            clock = time.process_time if options.cpu else time.perf_counter
            seconds = in_turns(sides(models, feed, options.cases.split(",")), runs, clock)
            least = {case: min(times) for case, times in seconds.items()}
            results[f"{name} {shape}"] = least
            line = f"{name} {shape:8}"
            for case, best in least.items():
                line += f"  {case} {best * 1e3:8.2f} ms ({best / least['plain'] - 1:+.1%})"
            print(line, flush=True)
    bench.RESULTS.mkdir(exist_ok=True)
    (bench.RESULTS / "rows.json").write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
