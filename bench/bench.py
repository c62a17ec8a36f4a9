#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Benchmarks: adapter-opt against a peer or a physical limit, measured in turns on the same machine.

    bench.py [--build build] [--only B1,B4] [--runs 9] [--threads 2]

Every figure is a ratio of medians of at least 7 runs after a warm-up, the two sides taking turns. Writes
bench/results/<id>.json, one per benchmark, and prints a table. Nothing is asserted. PyTorch is the
peer of B1 and B11; B4 and B11 need transformers too, to make the model.
"""

import argparse
import ctypes
import functools
import json
import pathlib
import platform
import statistics
import subprocess
import sys
import time

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench" / "results"
# A peer's threads spin on for a while after its call and would take a processor from what is measured next.
PAUSE = 0.02  # seconds


def compiled_limits(build, *options, name="limits"):
    """Path of the compiled bench/limits.c."""
    binary = build / "bench" / name
    binary.parent.mkdir(parents=True, exist_ok=True)
    source = ROOT / "bench" / "limits.c"
    command = ["clang-22", "-O3", "-march=native", "-pthread", *options, str(source), "-o", str(binary)]
    subprocess.run(command, check=True)
    return binary


def peak_now(build):
    """peak(threads): the FMA peak in GFLOP/s at this moment. What the processors of a shared machine give
    varies by half within seconds, so a share of the peak is one of the peak that was measured beside it."""
    library = ctypes.CDLL(str(compiled_limits(build, "-shared", "-fPIC", name="limits.so")))
    library.limits_f32_gflops.restype = ctypes.c_double
    return library.limits_f32_gflops


def limits(binary, threads):
    """{"f32_gflops", "bf16_gflops", "read_gbs", ...} of this machine, now."""
    done = subprocess.run([str(binary), str(threads)], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def in_turns(sides, runs):
    """{name: [seconds]} of callables by name: each once to warm up, then in turn, `runs` times, after a pause
    and a call that is not timed."""
    for call in sides.values():
        call()
    seconds = {name: [] for name in sides}
    for _ in range(runs):
        for name, call in sides.items():
            time.sleep(PAUSE)
            call()
            seconds[name].append(timed(call))
    return seconds


def timed(call):
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def shares_of_peak(calls, gflop, peak, threads, runs):
    """{name: ([seconds], [share of the peak])} of callables by name that do `gflop` each, in turn; the peak
    is the mean of what is measured right before and right after each call. The pause and the
    call before are those of in_turns."""
    results = {name: ([], []) for name in calls}
    for call in calls.values():
        call()
    for _ in range(runs):
        for name, call in calls.items():
            time.sleep(PAUSE)
            before = peak(threads)
            call()
            seconds = timed(call)
            results[name][0].append(seconds)
            results[name][1].append(gflop / seconds / ((before + peak(threads)) / 2))
    return results


def summary(values):
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "runs": len(values)}


def compile_model(build, model, output, *arguments):
    command = [build / "bin" / "adapter-opt", model, *arguments, "-o", output]
    subprocess.run(list(map(str, command)), check=True)
    return output


def linear_model(path, inner, outer):
    """y [n, outer] = x [n, inner] W, f32."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    if not path.exists():
        weight = np.random.default_rng(0).standard_normal((inner, outer), np.float32)
        graph = helper.make_graph(
            [helper.make_node("MatMul", ["x", "w"], ["y"], name="/linear/MatMul")],
            "linear",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", inner])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", outer])],
            [numpy_helper.from_array(weight, "w")],
        )
        opsets = [helper.make_opsetid("", 20)]
        onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
    return path


def runtime(build):
    """The Python package of the build."""
    sys.path.insert(0, str(build / "python"))
    import adapter_opt

    return adapter_opt


def b1(build, options):
    """One f32 linear with packed weights, as a share of the FMA peak; PyTorch's (oneMKL) takes turns."""
    import torch

    torch.set_num_threads(options.threads)
    folder, results, peak = build / "bench", {}, peak_now(build)
    for rows, inner, outer in ((128, 768, 3072), (512, 4096, 4096)):
        model = linear_model(folder / f"linear-{inner}-{outer}.onnx", inner, outer)
        artifact = compile_model(build, model, folder / f"linear-{inner}-{outer}.adapt")
        ours = runtime(build).load(str(artifact), threads=options.threads)
        x = np.random.default_rng(1).standard_normal((rows, inner), np.float32)
        features, weight = torch.from_numpy(x), torch.randn(outer, inner)
        sides = {
            "adapter-opt": functools.partial(ours, x=x),
            "torch": functools.partial(torch.nn.functional.linear, features, weight),
        }
        gflop = 2e-9 * rows * inner * outer
        with torch.no_grad():
            measured = shares_of_peak(sides, gflop, peak, options.threads, options.runs * 5)
        (own, shares), (peers, peer_shares) = measured["adapter-opt"], measured["torch"]
        results[f"{rows}x{inner}x{outer}"] = {
            "seconds": summary(own),
            "gflops": gflop / statistics.median(own),
            "share_of_peak": statistics.median(shares),
            "shares_of_peak": summary(shares),
            "peer": f"torch {torch.__version__}, {options.threads} threads",
            "peer_seconds": summary(peers),
            "peer_share_of_peak": statistics.median(peer_shares),
            "speedup": statistics.median(peers) / statistics.median(own),
            "target": 0.95,
        }
    return results


def bert_model(path):
    """BERT-base with random weights: input_ids, attention_mask int64 [batch, sequence] -> hidden
    f32 [batch, sequence, 768]. Returns the path and the number of multiply-adds of its linears per token."""
    linears = 12 * (4 * 768 * 768 + 2 * 768 * 3072)
    if path.exists():
        return path, linears
    import torch
    import transformers

    class Hidden(torch.nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.model = transformers.BertModel(transformers.BertConfig(), add_pooling_layer=False)

        def forward(self, input_ids, attention_mask):
            return self.model(input_ids, attention_mask).last_hidden_state

    ids = torch.ones(2, 7, dtype=torch.int64)
    axes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("sequence", max=512)}
    torch.onnx.export(
        Hidden().eval(),
        (ids, ids),
        str(path),
        input_names=["input_ids", "attention_mask"],
        output_names=["hidden"],
        dynamic_shapes=(axes, axes),
        dynamo=True,
        external_data=False,
        verbose=False,
    )
    return path, linears


def b4(build, options):
    """BERT-base f32, 1x128, against onnxruntime and as a share of the FMA peak over the linears."""
    import onnxruntime

    model, per_token = bert_model(build / "bench" / "bert-base.onnx")
    artifact = compile_model(build, model, build / "bench" / "bert-base.adapt")
    ours = runtime(build).load(str(artifact), threads=options.threads)
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = options.threads
    session = onnxruntime.InferenceSession(str(model), settings, providers=["CPUExecutionProvider"])
    ids = np.random.default_rng(0).integers(5, 30000, (1, 128))
    feed = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    peer = session.run(None, feed)[0]
    error = float(np.abs(ours(**feed)["hidden"] - peer).max() / np.abs(peer).max())
    sides = {"adapter-opt": lambda: ours(**feed), "onnxruntime": lambda: session.run(None, feed)}
    before = limits(compiled_limits(build), options.threads)
    seconds = in_turns(sides, options.runs)
    gflops = 2e-9 * 128 * per_token / statistics.median(seconds["adapter-opt"])
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    return {
        "1x128": {
            "seconds": summary(seconds["adapter-opt"]),
            "peer": f"onnxruntime {onnxruntime.__version__}, {options.threads} threads",
            "peer_seconds": summary(seconds["onnxruntime"]),
            "speedup": medians["onnxruntime"] / medians["adapter-opt"],
            "share_of_peak": gflops / before["f32_gflops"],
            "limits": before,
            "relative_difference_to_peer": error,
            "target": 0.90,
        }
    }


def experts_block(path):
    """A Mixtral block: x f32 [1, n, 512] -> y, 8 experts of 512 -> 1024 -> 512 with a gate, 2 for each token.
    Returns the path, the block in PyTorch (a loop over experts) and its multiply-adds per token."""
    import torch
    import transformers
    from transformers.models.mixtral.modeling_mixtral import MixtralSparseMoeBlock

    sizes = dict(hidden_size=512, intermediate_size=1024, num_local_experts=8, num_experts_per_tok=2)

    def make(implementation):
        config = transformers.MixtralConfig(**sizes)
        config._experts_implementation = implementation
        torch.manual_seed(0)
        block = MixtralSparseMoeBlock(config).eval()
        with torch.no_grad():
            for parameter in block.parameters():
                parameter.normal_(0, 0.05)
        return block

    if not path.exists():
        torch.onnx.export(
            make("batched_mm"),
            (torch.randn(1, 7, 512),),
            str(path),
            input_names=["x"],
            output_names=["y"],
            dynamic_shapes={"hidden_states": {1: torch.export.Dim("n", max=4096)}},
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    return path, make("eager"), 8 * 512 + 2 * 3 * 512 * 1024


def b11(build, options):
    """A block of experts, 8 top-2, 128 tokens; onnxruntime on its export and PyTorch's loop take turns."""
    import onnxruntime
    import torch

    torch.set_num_threads(options.threads)
    binary = compiled_limits(build)
    model, block, per_token = experts_block(build / "bench" / "experts-8-2.onnx")
    artifact = compile_model(build, model, build / "bench" / "experts-8-2.adapt")
    ours = runtime(build).load(str(artifact), threads=options.threads)
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = options.threads
    session = onnxruntime.InferenceSession(str(model), settings, providers=["CPUExecutionProvider"])
    x = np.random.default_rng(0).standard_normal((1, 128, 512), np.float32)
    features = torch.from_numpy(x)
    with torch.no_grad():
        expected = block(features).numpy()
        error = float(np.abs(ours(x=x)["y"] - expected).max() / np.abs(expected).max())
        sides = {
            "adapter-opt": lambda: ours(x=x),
            f"onnxruntime {onnxruntime.__version__}": lambda: session.run(None, {"x": x}),
            f"torch {torch.__version__}": lambda: block(features),
        }
        seconds = in_turns(sides, options.runs)
    peak = limits(binary, options.threads)
    own = seconds.pop("adapter-opt")
    gflops = 2e-9 * 128 * per_token / statistics.median(own)
    return {
        f"8x2, {name.split()[0]}": {
            "seconds": summary(own),
            "peer": f"{name}, {options.threads} threads",
            "peer_seconds": summary(values),
            "speedup": statistics.median(values) / statistics.median(own),
            "share_of_peak": gflops / peak["f32_gflops"],
            "limits": peak,
            "relative_difference_to_torch": error,
            "target": 0.80,
        }
        for name, values in seconds.items()
    }


BENCHMARKS = {"B1": b1, "B4": b4, "B11": b11}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build")
    parser.add_argument("--only", default=",".join(BENCHMARKS), help="ids, separated by commas")
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    if options.runs < 7:
        parser.error("--runs: at least 7")
    build = options.build.resolve()
    RESULTS.mkdir(exist_ok=True)
    for name in options.only.split(","):
        results = BENCHMARKS[name](build, options)
        record = {"id": name, "machine": platform.processor() or platform.machine(), "results": results}
        (RESULTS / f"{name}.json").write_text(json.dumps(record, indent=2) + "\n")
        for case, result in results.items():
            line = f"{name:4} {case:14} {result['seconds']['median'] * 1e3:9.2f} ms"
            line += f"  {result['share_of_peak']:5.1%} of peak (target {result['target']:.0%})"
            if "speedup" in result:
                line += f"  {result['speedup']:.2f}x {result['peer']}"
            print(line, flush=True)


if __name__ == "__main__":
    main()
