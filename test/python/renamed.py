# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What other tools make of an export: names that say nothing, products of one input fused into one."""

import numpy as np
import onnx
from onnx import helper, numpy_helper


def _products(graph, weights):
    """Nodes MatMul with a constant weight, by the input that they read."""
    groups = {}
    for node in graph.node:
        if node.op_type == "MatMul" and node.input[1] in weights:
            groups.setdefault(node.input[0], []).append(node)
    return groups


def _fuse(graph, builder):
    weights = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    for data, nodes in _products(graph, weights).items():
        if len(nodes) < 2:
            continue
        parts = [weights[node.input[1]] for node in nodes]
        kind = "qkv_proj" if len(nodes) == 3 else "gate_up_proj"
        parent = nodes[0].name.rsplit("/", 2)[0].replace("self_attn", "attn")
        node_name = f"{parent}/{kind}/MatMul" if builder else ""
        name = node_name.strip("/").replace("/", ".") + ".weight" if builder else f"w{len(graph.initializer)}"
        sizes = np.array([part.shape[1] for part in parts])
        whole = np.ascontiguousarray(np.concatenate(parts, 1))
        graph.initializer.append(numpy_helper.from_array(whole, name))
        graph.initializer.append(numpy_helper.from_array(sizes, f"{name}_sizes"))
        outputs = [node.output[0] for node in nodes]
        at = list(graph.node).index(nodes[0])
        for node in nodes:
            graph.node.remove(node)
        split = helper.make_node("Split", [f"{name}_out", f"{name}_sizes"], outputs, axis=-1)
        graph.node.insert(at, split)
        graph.node.insert(at, helper.make_node("MatMul", [data, name], [f"{name}_out"], name=node_name))
    read = {each for node in graph.node for each in node.input}
    for tensor in [t for t in graph.initializer if t.name not in read]:
        graph.initializer.remove(tensor)


def rewrite(source, target, kind):
    """kind: `renamed`, `fused` (and renamed), or `builder`: fused, named as the GenAI model builder does."""
    model = onnx.load(source)
    graph = model.graph
    if kind != "renamed":
        _fuse(graph, kind == "builder")
    if kind != "builder":
        names = {tensor.name: f"t{i}" for i, tensor in enumerate(graph.initializer)}
        for tensor in graph.initializer:
            tensor.name = names[tensor.name]
        for i, node in enumerate(graph.node):
            node.name = f"n{i}"
            del node.metadata_props[:]
            node.input[:] = [names.get(each, each) for each in node.input]
    onnx.save(model, target)
    return target


def sequence_first(source, target):
    """Inputs [batch, sequence] become [sequence, batch]."""
    model = onnx.load(source)
    for i, value in enumerate(model.graph.input):
        value.type.tensor_type.shape.dim.reverse()
        turned = helper.make_node("Transpose", [value.name], [f"{value.name}_turned"], perm=[1, 0])
        for node in model.graph.node:
            node.input[:] = [f"{each}_turned" if each == value.name else each for each in node.input]
        model.graph.node.insert(i, turned)
    # An inserted Transpose must not read its own result.
    for i, value in enumerate(model.graph.input):
        model.graph.node[i].input[0] = value.name
    onnx.save(model, target)
    return target
