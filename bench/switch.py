#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What a switch costs, against reading and writing the weights that it changes once, in turns in one process.

    switch.py [--build build] [--cases lora,dora,...] [--runs 15] [--threads 2]

BERT-base, two adapters of each kind on every linear of its layers. A run switches from one to the other.
`copy` reads as many bytes as the changed weights have and writes as many, over as many threads; of an update
of few elements, the lines of the cache in which the old and the new one change something. PEFT merges one
LoRA and takes it out again. Of each the least time counts, since whatever else runs on the machine only adds
to it. Writes bench/results/switch.json. Needs torch, transformers, and PEFT for its part.
"""

import argparse
import concurrent.futures
import json
import time

import numpy as np
import rows

import bench

SHIRA_RANK = 4  # so that about one element in a hundred changes
LINE = 16  # elements of a line of the cache, which is what memory is read and written by


def lora(folder, linears, seed):
    return rows.write_adapter(folder, linears, seed)


def variant(folder, linears, seed, fields, extra):
    """A LoRA with more in its configuration and more tensors: {suffix: shape of (out, in)}."""
    from safetensors.numpy import load_file, save_file

    if folder.exists():
        return folder
    rows.write_adapter(folder, linears, seed)
    file, config = folder / "adapter_model.safetensors", folder / "adapter_config.json"
    tensors, rng = load_file(file), np.random.default_rng(seed)
    for path, size in linears.items():
        for suffix, shape in extra.items():
            values = rng.uniform(0.5, 1.5, shape(*size)).astype(np.float32)
            tensors[f"base_model.model.{path}.{suffix}"] = values
    save_file(tensors, file)
    config.write_text(json.dumps(json.loads(config.read_text()) | fields))
    return folder


def dora(folder, linears, seed):
    extra = {"lora_magnitude_vector": lambda outer, inner: (outer,)}
    return variant(folder, linears, seed, {"use_dora": True}, extra)


def folder_of(folder, linears, config, tensors_of, seed):
    """An adapter folder; `tensors_of(rng, outer, inner)` makes the tensors of a module, by suffix."""
    from safetensors.numpy import save_file

    if folder.exists():
        return folder
    rng, tensors = np.random.default_rng(seed), {}
    for path, size in linears.items():
        for suffix, values in tensors_of(rng, *size).items():
            tensors[f"base_model.model.{path}.{suffix}"] = values
    folder.mkdir(parents=True)
    save_file(tensors, folder / "adapter_model.safetensors")
    targets = sorted({path.rsplit(".", 1)[1] for path in linears})
    (folder / "adapter_config.json").write_text(json.dumps({"target_modules": targets} | config))
    return folder


def sparse(folder, linears, seed):
    def tensors(rng, outer, inner):
        count = SHIRA_RANK * (outer + inner)
        flat = np.sort(rng.choice(outer * inner, count, replace=False))
        places = np.stack([flat // inner, flat % inner]).astype(np.int32)
        values = (rng.standard_normal(count) * 0.02).astype(np.float32)
        return {"shira_weight": values, "shira_indices": places}

    return folder_of(folder, linears, {"peft_type": "SHIRA", "r": SHIRA_RANK}, tensors, seed)


def ia3(folder, linears, seed):
    def tensors(rng, outer, inner):
        return {"ia3_l": rng.uniform(0.5, 1.5, (outer, 1)).astype(np.float32)}

    return folder_of(folder, linears, {"peft_type": "IA3", "feedforward_modules": []}, tensors, seed)


def oft(folder, linears, seed):
    def tensors(rng, outer, inner):
        values = rng.standard_normal((inner // 32, 32 * 31 // 2)) * 0.02
        return {"oft_R.weight": values.astype(np.float32)}

    config = {"peft_type": "OFT", "r": 0, "oft_block_size": 32, "bias": "none"}
    return folder_of(folder, linears, config, tensors, seed)


def loha(folder, linears, seed):
    def tensors(rng, outer, inner):
        shapes = {"w1_a": (outer, 8), "w1_b": (8, inner), "w2_a": (outer, 8), "w2_b": (8, inner)}
        return {f"hada_{n}": (rng.standard_normal(s) * 0.1).astype(np.float32) for n, s in shapes.items()}

    return folder_of(folder, linears, {"peft_type": "LOHA", "r": 8, "alpha": 8}, tensors, seed)


CASES = {"lora": lora, "dora": dora, "sparse": sparse, "ia3": ia3, "oft": oft, "loha": loha}


def copier(count, threads):
    """A call that copies `count` floats over threads, a part each."""
    source, target = np.ones(count, np.float32), np.ones(count, np.float32)
    pool = concurrent.futures.ThreadPoolExecutor(threads)
    parts = list(zip(np.array_split(source, threads), np.array_split(target, threads), strict=True))

    def copy():
        done = [pool.submit(np.copyto, to, part) for part, to in parts]
        concurrent.futures.wait(done)

    return copy


def peft_side(linears, adapter, threads):
    """A call that merges and unmerges by PEFT, or None without it."""
    try:
        import peft
        import torch
        import transformers
    except ImportError:
        return None
    torch.set_num_threads(threads)
    model = transformers.BertModel(transformers.BertConfig(), add_pooling_layer=False)
    config = peft.LoraConfig(**json.loads((adapter / "adapter_config.json").read_text()))
    # The paths in the graph begin with the name of the module that was exported.
    model = peft.get_peft_model(torch.nn.ModuleDict({"model": model}), config)
    peft.set_peft_model_state_dict(model, peft.utils.load_peft_weights(str(adapter), device="cpu"))
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, peft.tuners.lora.LoraLayer):
                assert module.lora_B["default"].weight.abs().max() > 0, "PEFT read another adapter"

    def call():
        model.merge_adapter()
        model.unmerge_adapter()

    return call


def switcher(model):
    """A call that switches to the other adapter."""
    other = {"a": "b", "b": "a"}

    def call():
        call.name = other[call.name]
        model.switch(call.name)

    call.name = "b"
    return call


def timed_in_turns(sides, runs):
    return {name: min(values) for name, values in bench.in_turns(sides, runs).items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=bench.pathlib.Path, default=bench.ROOT / "build")
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    build, results = options.build.resolve(), {}
    folder = build / "bench"
    folder.mkdir(exist_ok=True)
    graph, linears, _ = rows.bert(folder)
    weights = sum(outer * inner for outer, inner in linears.values())
    few = sum(SHIRA_RANK * (outer + inner) for outer, inner in linears.values())
    for case in options.cases.split(","):
        adapters = {
            name: CASES[case](folder / f"bert-{case}-{name}", linears, i) for i, name in enumerate("ab")
        }
        artifact = folder / f"bert-switch-{case}.adapt"
        bench.compile_model(
            build, graph, artifact, *[f"--adapter={n}={p}@switch" for n, p in adapters.items()]
        )
        model = bench.runtime(build).load(str(artifact), threads=options.threads)
        model.finish_check()
        start = time.perf_counter()
        model.switch("a")
        model.switch("b")
        first = time.perf_counter() - start
        touched = 2 * LINE * few if case == "sparse" else weights
        sides = {"switch": switcher(model), "copy": copier(touched, options.threads)}
        if case == "lora" and (peft := peft_side(linears, adapters["a"], options.threads)):
            sides["peft"] = peft
        least = timed_in_turns(sides, options.runs)
        results[case] = least | {"first": first, "megabytes": 4e-6 * touched}
        line = f"{case:8} {least['switch'] * 1e3:8.2f} ms  {least['switch'] / least['copy']:6.2f}x copy"
        if "peft" in least:
            line += f"  {least['switch'] / least['peft']:.3f}x PEFT"
        print(
            line + f"  (copy {least['copy'] * 1e3:.2f} ms, the first two switches {first * 1e3:.0f} ms)",
            flush=True,
        )
    bench.RESULTS.mkdir(exist_ok=True)
    (bench.RESULTS / "switch.json").write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
