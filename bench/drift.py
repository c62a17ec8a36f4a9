#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Draws how far a weight drifts when sparse updates are undone by subtracting, beside adapter-opt's switch.

    drift.py [--build build] [--switches 1000]

Writes bench/results/drift.png and drift.json: the largest difference from the pristine weight after each
way back to the base, over random switches between three SHiRA adapters. Needs the built tools, torch.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from PIL import Image, ImageDraw
from safetensors.numpy import save_file

ROOT = pathlib.Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench" / "results"
SIZE, RANK = 256, 5


def adapter(folder, seed):
    """A SHiRA folder for `proj`; its coordinates and values."""
    rng = np.random.default_rng(seed)
    count = 2 * SIZE * RANK
    where = np.stack(np.unravel_index(rng.choice(SIZE * SIZE, count, replace=False), (SIZE, SIZE)))
    values = rng.standard_normal(count).astype(np.float32)
    folder.mkdir()
    tensors = {"shira_weight": values, "shira_indices": where.astype(np.int32)}
    save_file(
        {f"base_model.model.proj.{k}": v for k, v in tensors.items()}, folder / "adapter_model.safetensors"
    )
    config = {"peft_type": "SHIRA", "r": RANK, "target_modules": ["proj"]}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return where, values


def subtracting(weight, adapters, order, dtype):
    """Largest difference from the start, at each return to the base, when a switch adds and subtracts."""
    start = torch.from_numpy(weight).to(dtype)
    now, active, drift = start.clone(), None, []
    for name in order:
        for each, sign in ((active, -1), (name, 1)):
            if each is not None:
                where, values = adapters[each]
                now[where[1], where[0]] += sign * torch.from_numpy(values).to(dtype)
        active = name
        if name is None:
            drift.append(float((now.float() - start.float()).abs().max()))
    return drift


def switching(folder, weight, adapters, order, build):
    """The same of the weight that an artifact computes with."""
    sys.path.insert(0, str(build / "python"))
    import adapter_opt as ao

    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"], name="/proj/MatMul")],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", SIZE])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", SIZE])],
        [numpy_helper.from_array(weight, "w")],
    )
    opsets = [helper.make_opsetid("", 20)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), folder / "m.onnx")
    flags = [f"--adapter={name}={folder / name}@switch" for name in adapters]
    subprocess.run(
        [build / "bin" / "adapter-opt", folder / "m.onnx", *flags, "-o", folder / "m.adapt"], check=True
    )
    model, identity, drift = ao.load(str(folder / "m.adapt")), np.eye(SIZE, dtype=np.float32), []
    for name in order:
        model.switch(name)
        if name is None:
            drift.append(float(np.abs(model(x=identity)["y"] - weight).max()))
    return drift


def draw(curves, path):
    """Lines over the number of returns to the base; the height is logarithmic, the lowest line is 0."""
    width, height, left, low = 900, 420, 90, 1e-9
    image = Image.new("RGB", (width + left + 20, height + 60), "white")
    pen = ImageDraw.Draw(image)
    at = lambda value: 20 + height * (1 - (np.log10(max(value, low)) - np.log10(low)) / 10)  # noqa: E731
    for power in range(-9, 2, 2):
        y = at(10.0**power)
        pen.line([(left, y), (left + width, y)], fill="#dddddd")
        pen.text((10, y - 6), "0" if power == -9 else f"1e{power}", fill="black")
    colours = ["#c0392b", "#d68910", "#2471a3", "#1e8449"]
    for i, (name, values) in enumerate(curves.items()):
        points = [(left + width * k / max(len(values) - 1, 1), at(v)) for k, v in enumerate(values)]
        pen.line(points, fill=colours[i], width=2)
        pen.text((left + 10 + 220 * i, height + 35), name, fill=colours[i])
    image.save(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build")
    parser.add_argument("--switches", type=int, default=1000)
    options = parser.parse_args()
    weight = np.random.default_rng(0).standard_normal((SIZE, SIZE)).astype(np.float32)
    order = list(np.random.default_rng(1).choice([None, "a", "b", "c"], options.switches)) + [None]
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        adapters = {name: adapter(folder / name, seed) for seed, name in enumerate("abc")}
        curves = {
            f"add, subtract: {str(dtype).removeprefix('torch.')}": subtracting(weight, adapters, order, dtype)
            for dtype in (torch.bfloat16, torch.float16, torch.float32)
        }
        curves["adapter-opt"] = switching(folder, weight, adapters, order, options.build.resolve())
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "drift.json").write_text(json.dumps(curves, indent=2) + "\n")
    draw(curves, RESULTS / "drift.png")
    for name, values in curves.items():
        print(f"{name:28} {values[-1]:.3g} after {options.switches} switches")


if __name__ == "__main__":
    main()
