#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Prints, as a Markdown table, where the parameters of small models stand in their ONNX exports.

    measure_exports.py [--as-initialised]      needs scripts/requirements-test.txt

One row per parameter of the first layer, of the embeddings and of the head: the node that takes it, under
which initialiser name, transposed or not, and what the node says about its module. Initialisers are found by
content. With --as-initialised norms are ones and biases zeros, so that what exporters merge and drop shows.
"""

import argparse
import ast
import pathlib
import sys
import tempfile

import numpy as np
import onnx
import torch
from onnx import numpy_helper

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "test" / "python"))
import zoo  # noqa: E402


def module_of(node):
    """What a node says about its module: the last two name scopes (dynamo), or its own name (TorchScript)."""
    for entry in node.metadata_props:
        if entry.key == "pkg.torch.onnx.name_scopes":
            return " / ".join(ast.literal_eval(entry.value)[-2:])
    return node.name


def uses(graph):
    """{initialiser: [(node, index of the operand)]}, looking through Identity nodes."""
    found = {}
    alias = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "Identity"}
    for node in graph.node:
        for index, name in enumerate(node.input):
            via = " via Identity" if name in alias else ""
            if node.op_type != "Identity":
                found.setdefault(alias.get(name, name), []).append((node, index, via))
    return found


def rows(architecture, exporter, spread):
    model = zoo.make(architecture, spread)
    with tempfile.TemporaryDirectory() as folder:
        path = zoo.export(model, architecture, exporter, pathlib.Path(folder) / "model.onnx")
        graph = onnx.load(path).graph
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    consumers = uses(graph)
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if ".1." in name:
            continue
        value = parameter.detach().numpy()
        found = False
        for initialiser, content in tensors.items():
            same = content.shape == value.shape and np.array_equal(content, value)
            turned = value.ndim == 2 and content.shape == value.T.shape and np.array_equal(content, value.T)
            if not same and not turned:
                continue
            for node, index, via in consumers.get(initialiser, []):
                says = module_of(node)
                if not spread and name.rsplit(".", 1)[0] not in says.replace("/", "."):
                    continue
                flags = [f"{a.name}={a.i}" for a in node.attribute if a.name in ("transA", "transB")]
                where = " ".join([f"{node.op_type} operand {index}", *flags])
                stored = "as is" if same else "transposed"
                yield name, list(value.shape), where, f"`{initialiser}`{via}", stored, f"`{says}`"
                found = True
        if not found:
            yield name, list(value.shape), "none", "dropped", "", ""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--as-initialised", action="store_true")
    spread = not parser.parse_args().as_initialised
    torch.set_num_threads(1)
    for architecture in zoo.ARCHITECTURES:
        for exporter in zoo.EXPORTERS:
            print(f"\n### {architecture}, {exporter}\n")
            print("| parameter | shape | node | initialiser | stored | the node says |")
            print("|---|---|---|---|---|---|")
            for row in rows(architecture, exporter, spread):
                print("| " + " | ".join(map(str, row)) + " |")


if __name__ == "__main__":
    main()
