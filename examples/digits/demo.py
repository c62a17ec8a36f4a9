#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""One small model, five adapters, four ways to run them, on real images that no training saw; and
eight methods in one batch.

    demo.py [--build build]      needs numpy, onnxruntime and pillow, and the built tools; no PyTorch

Prints a table of accuracies and times, writes <build>/demo/digits.png and shows what a wrong adapter
file gets. Exits with 1 if any way of running an adapter answers differently from PyTorch.
"""

import argparse
import json
import pathlib
import shutil
import statistics
import struct
import subprocess
import sys
import time

import numpy as np
import onnxruntime
from PIL import Image, ImageDraw

HERE = pathlib.Path(__file__).resolve().parent
DATA = HERE / "data"
ADAPTERS = {
    "turned": "turned-lora",
    "inverted": "inverted-lora",
    "mirrored": "mirrored-shira",
    "shifted": "shifted-mosa",
    "either": "either-mixture",
}
KINDS = ("upright", *ADAPTERS)  # test sets; all but the first name adapters as well
# One adapter of each method for turned digits.
METHODS = ("lora", "dora", "oft", "ia3", "shira", "vera", "hra", "lokr")
# What changes weights can be switched into them. MoSA's modules and a router act on activations.
SWITCHED = ("turned", "inverted", "mirrored")
THREADS = 2


def tool(build, *arguments):
    """Runs adapter-opt; returns the finished process."""
    command = [str(build / "bin" / "adapter-opt"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def compile_to(build, output, *arguments):
    """adapter-opt digits.onnx ARGUMENTS -o output; ends the demo if it fails."""
    done = tool(build, DATA / "digits.onnx", *arguments, "-o", output)
    if done.returncode:
        sys.exit(f"demo: adapter-opt failed with exit code {done.returncode}: {done.stderr.strip()}")
    return output


def timed(call, images, runs=5):
    """(result, seconds per image): the median of `runs` calls after the first."""
    result = call()
    seconds = []
    for _ in range(runs):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return result, statistics.median(seconds) / images


def onnx_session(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda x: session.run(["logits"], {"pixel_values": x})[0]


def run_everything(build, folder, held):
    """{column: {kind: (logits [n, 10], seconds per image)}} for the four ways to run an adapter, and the
    row-bound model."""
    import adapter_opt as ao

    def load(path):
        return ao.load(str(path), threads=THREADS)

    columns = {"ONNX": {}, "build": {}, "switch": {}, "row": {}}
    at = {
        time_: [f"--adapter={kind}={DATA / ADAPTERS[kind]}@{time_}" for kind in kinds]
        for time_, kinds in (("switch", SWITCHED), ("row", ADAPTERS))
    }
    switching = load(compile_to(build, folder / "switch.adapt", *at["switch"]))
    rows = load(compile_to(build, folder / "row.adapt", *at["row"]))
    for kind in KINDS:
        x = held[f"{kind}_x"]
        merge = [f"--adapter={kind}={DATA / ADAPTERS[kind]}"] if kind in ADAPTERS else []
        plain = onnx_session(compile_to(build, folder / f"{kind}.onnx", *merge))
        columns["ONNX"][kind] = timed(lambda run=plain, x=x: run(x), len(x))
        fixed = load(compile_to(build, folder / f"{kind}.adapt", *merge))
        columns["build"][kind] = timed(lambda model=fixed, x=x: model(pixel_values=x)["logits"], len(x))
        if kind in ADAPTERS and kind not in SWITCHED:
            continue
        switching.switch(kind if kind in ADAPTERS else None)
        columns["switch"][kind] = timed(lambda x=x: switching(pixel_values=x)["logits"], len(x))

    # One batch of all images, shuffled: every row names its own adapter, or none.
    count = len(held["labels"])
    order = np.random.default_rng(0).permutation(len(KINDS) * count)
    batch = np.concatenate([held[f"{kind}_x"] for kind in KINDS])[order]
    names = [KINDS[i // count] if i >= count else None for i in order]
    shuffled, seconds = timed(lambda: rows(pixel_values=batch, adapters=names)["logits"], len(batch))
    mixed = np.empty_like(shuffled)
    mixed[order] = shuffled
    for i, kind in enumerate(KINDS):
        columns["row"][kind] = mixed[i * count : (i + 1) * count], seconds
    return columns, rows


def disagreement(y, reference, base):
    """Why y is not the reference, or None. Two bounds, both on largest magnitudes: 1e-5 of the reference, and
    1e-3 of the adapter's effect (plus rounding), which a small update that was not applied cannot meet."""
    if y.shape != reference.shape:
        return f"shape {y.shape} for {reference.shape}"
    difference = np.abs(y.astype(np.float64) - reference).max()
    magnitude = np.abs(reference).max()
    effect = np.abs(reference.astype(np.float64) - base).max()
    if not difference <= 1e-5 * magnitude:
        return f"logits differ by {difference / magnitude:.1e} of their magnitude; allowed is 1e-5"
    if effect > 0 and not difference <= 1e-3 * effect + 3e-6 * magnitude:
        return f"logits differ by {difference / effect:.1e} of the adapter's effect; allowed is 1e-3"
    return None


def report(columns, held):
    """Prints the table; returns what is wrong, one line each."""
    labels, faults = held["labels"], []
    base_session = onnx_session(DATA / "digits.onnx")
    print(f"{'test set':9} {'adapter':9} {'base':>6}" + "".join(f"{name:>18}" for name in columns))
    for kind in KINDS:
        base = held[f"{kind}_base_logits"]
        adapted = kind in ADAPTERS
        reference = held[f"{kind}_logits"] if adapted else base
        expected = (reference.argmax(1) == labels).mean()
        base_accuracy = (base_session(held[f"{kind}_x"]).argmax(1) == labels).mean()
        line = f"{kind:9} {kind if adapted else '-':9} {base_accuracy:6.1%}"
        for column, results in columns.items():
            if kind not in results:
                line += f"{'-':>9} {'':8}"
                continue
            logits, seconds = results[kind]
            accuracy = (logits.argmax(1) == labels).mean()
            line += f"{accuracy:9.1%} {seconds * 1e6:5.0f} us"
            fault = disagreement(logits, reference, base)
            if accuracy != expected:
                fault = f"accuracy {accuracy:.4f}, PyTorch's is {expected:.4f}"
            if fault:
                faults.append(f"{column}, {kind}: {fault}")
        print(line)
    print(
        f"{len(labels)} images a test set; time per image, {THREADS} threads, batches of one test set; ",
        end="",
    )
    print("row: one shuffled batch of all of them")
    return faults


def eight_methods(build, folder, held):
    """Batches of eight rows, each with an adapter of another method; prints a table and returns what is
    wrong, one line each."""
    import adapter_opt as ao

    folders = {method: DATA / f"turned-{method}" for method in METHODS}
    options = [f"--adapter={method}={path}@row" for method, path in folders.items()]
    model = ao.load(str(compile_to(build, folder / "methods.adapt", *options)), threads=THREADS)
    x, base = held["turned_x"], held["turned_base_logits"]
    batches = [
        model(pixel_values=image[None].repeat(len(METHODS), 0), adapters=METHODS)["logits"] for image in x
    ]
    faults = []
    print(
        f"\nEight methods for turned digits, {len(x)} batches of eight rows, each row with another adapter:"
    )
    print(f"{'method':8} {'bytes':>7} {'accuracy':>9} {'PyTorch':>8} {'difference':>11}")
    for row, method in enumerate(METHODS):
        logits = np.stack([batch[row] for batch in batches])
        reference = held["turned_logits" if method == "lora" else f"turned_{method}_logits"]
        size = (folders[method] / "adapter_model.safetensors").stat().st_size
        accuracies = [(each.argmax(1) == held["labels"]).mean() for each in (logits, reference)]
        difference = np.abs(logits - reference).max() / np.abs(reference).max()
        print(f"{method:8} {size:7} {accuracies[0]:9.1%} {accuracies[1]:8.1%} {difference:11.1e}")
        if fault := disagreement(logits, reference, base):
            faults.append(f"eight methods, {method}: {fault}")
    return faults


def draw(rows, held, path, count=9, zoom=9):
    """A sheet of `count` images per test set with the answers of the base and of each adapter below."""
    cell_width, cell_height = 8 * zoom + 16, 8 * zoom + 14 + 13 * (1 + len(ADAPTERS))
    sheet = Image.new("RGB", (count * cell_width, len(KINDS) * cell_height), "white")
    pen = ImageDraw.Draw(sheet)
    picks = np.random.default_rng(1).choice(len(held["labels"]), count, replace=False)
    answers = (None, *ADAPTERS)
    for row, kind in enumerate(KINDS):
        x = held[f"{kind}_x"][picks]
        said = [rows(pixel_values=x, adapters=[name] * count)["logits"].argmax(1) for name in answers]
        for column in range(count):
            left, top = column * cell_width + 8, row * cell_height + 4
            grey = ((1 - x[column, 0]) * 127.5).astype(np.uint8)
            sheet.paste(Image.fromarray(grey).resize((8 * zoom, 8 * zoom), Image.NEAREST), (left, top))
            for i, name in enumerate(answers):
                right = said[i][column] == held["labels"][picks[column]]
                text = f"{name or 'base'}: {said[i][column]}"
                pen.text((left, top + 8 * zoom + 2 + 13 * i), text, fill="darkgreen" if right else "crimson")
    sheet.save(path)


def rename_tensor(path, old, new):
    """Renames one tensor in a safetensors file: 8 bytes with the header's length, a JSON header, the data."""
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    header = {new if key == old else key: value for key, value in header.items()}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + length :])


def refusal(build, folder):
    """Prints what adapter-opt says to a file with a misspelt tensor; returns what is wrong, one line each."""
    broken = folder / "misspelt-lora"
    shutil.rmtree(broken, ignore_errors=True)
    shutil.copytree(DATA / "turned-lora", broken)
    key = "base_model.model.vit.layers.0.attention.q_proj.lora_A.weight"
    wrong = key.replace("q_proj", "q_porj")
    rename_tensor(broken / "adapter_model.safetensors", key, wrong)
    faults = []
    print(f"\nA copy of the adapter in which one tensor is called {wrong}:")
    output = folder / "misspelt.onnx"
    for arguments in (["--check"], ["-o", output]):
        done = tool(build, DATA / "digits.onnx", f"--adapter=turned={broken}", *arguments)
        said = done.stderr.strip()
        command = f"adapter-opt digits.onnx --adapter turned=misspelt-lora {arguments[0]}"
        print(f"  $ {command}    exit {done.returncode}")
        print("  " + said.replace("\n", "\n  "))
        if done.returncode != 1 or wrong not in said or len(said.splitlines()) != 1:
            faults.append(f"misspelt tensor, {arguments[0]}: no refusal in one line that names it")
    if output.exists():
        faults.append("misspelt tensor: an output was written all the same")
    return faults


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=pathlib.Path, default=HERE.parents[1] / "build")
    build = parser.parse_args().build.resolve()
    if not (build / "bin" / "adapter-opt").exists():
        sys.exit(f"demo: no adapter-opt in {build / 'bin'}; build first, or pass --build")
    sys.path.insert(0, str(build / "python"))
    folder = build / "demo"
    folder.mkdir(exist_ok=True)
    held = dict(np.load(DATA / "heldout.npz"))

    columns, rows = run_everything(build, folder, held)
    faults = report(columns, held)
    faults += eight_methods(build, folder, held)
    draw(rows, held, folder / "digits.png")
    print(f"digits with what the base and each adapter answer: {folder / 'digits.png'}")
    faults += refusal(build, folder)
    for fault in faults:
        print(f"demo: {fault}", file=sys.stderr)
    if not faults:
        print("\nEvery way of running an adapter gives PyTorch's answers.")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
