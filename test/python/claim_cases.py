# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What tests of claims share: an adapter is applied right or refused with one message."""

import numpy as np
import onnx
import product
import tiny
from onnx import TensorProto, helper
from safetensors.numpy import save_file

X = tiny.numbers(3, 4, seed=9)
W, W2, V = (tiny.numbers(4, 4, seed=i) for i in (0, 7, 4))
B, NEW = tiny.numbers(4, seed=3), tiny.numbers(4, seed=5)
IDS = np.arange(6)
TABLE = tiny.numbers(6, 4)
MODES = {
    "switch": ["--adapter", "x"],
    "call": ["--adapter", "x"],
    "row": ["--row-adapters", "x,x,x"],
}


def said_once(done):
    """A refusal: exit code 1 and one message."""
    said = done.stderr.strip()
    assert done.returncode == 1, f"exit code {done.returncode}: {said[:500]}"
    assert ": error: " in said and len(said.splitlines()) == 1, said[:500]


def right_or_refused(tmp_path, graph, adapters, *arguments, want, feed=None):
    """`want` None: only a refusal is right."""
    adapters = adapters if isinstance(adapters, list) else [adapters]
    named = [a for i, folder in enumerate(adapters) for a in ("--adapter", f"x{i}={folder}")]
    out = tmp_path / "merged.onnx"
    done = product.call("adapter-opt", graph, *named, *arguments, "-o", out)
    if done.returncode:
        return said_once(done)
    assert want is not None, "applied in silence, although nothing says how"
    tiny.close(tiny.answer(out, feed or {"x": X}), want)


def right_or_refused_compiled(tmp_path, graph, options, running, want, feed=None):
    done = product.call("adapter-opt", graph, *options, "-o", tmp_path / "m.adapt")
    if done.returncode:
        return said_once(done)
    inputs = []
    for name, array in (feed or {"x": X}).items():
        np.save(tmp_path / f"{name}.npy", array)
        inputs += ["--input", f"{name}={tmp_path / name}.npy"]
    out = tmp_path / "out.npz"
    done = product.call("adapter-run", tmp_path / "m.adapt", *running, *inputs, "--output", out)
    if done.returncode:
        return said_once(done)
    assert want is not None, "applied in silence, although nothing says how"
    tiny.close(np.load(out)["y"], want)


def loaded(tmp_path, graph, slot, folder, want, time="switch", feed=None):
    options = ["--adapter-slot", f"s:{slot}@{time}"]
    right_or_refused_compiled(tmp_path, graph, options, ["--load", f"x={folder}", *MODES[time]], want, feed)


def lora_of(tmp_path, *modules, name="lora", **config):
    """A folder with a LoRA on each of some modules [4, 4], and what each adds to W."""
    tensors, deltas = {}, []
    for i, module in enumerate(modules):
        own, delta = tiny.lora(module, 4, 4, seed=1 + 10 * i)
        tensors |= own
        deltas.append(delta.T)
    return tiny.adapter(tmp_path / name, tensors, **{"target_modules": list(modules)} | config), *deltas


def saved(tmp_path, name="saved", **tensors):
    """A folder of whole parameters; "__" stands for a dot."""
    tensors = {key.replace("__", "."): value for key, value in tensors.items()}
    modules = sorted({key.rsplit(".", 1)[0] for key in tensors})
    return tiny.adapter(tmp_path / name, tensors, modules_to_save=modules)


def biased(tmp_path, module="fc", replaces=False, name="biased"):
    """A LoRA that trains its module's bias too."""
    tensors, delta = tiny.lora(module, 4, 4)
    key = f"{module}.base_layer.bias" if replaces else f"{module}.lora_B.bias"
    config = {"bias": "lora_only"} if replaces else {"lora_bias": True}
    return tiny.adapter(tmp_path / name, tensors | {key: NEW}, target_modules=[module], **config), delta.T


def base_of(tmp_path, **tensors):
    named = {key.replace("__", "."): np.ascontiguousarray(value) for key, value in tensors.items()}
    save_file(named, tmp_path / "base.safetensors")
    return ["--base", tmp_path / "base.safetensors"]


def by_ids(path, nodes, weights):
    return tiny.graph(path, nodes, weights, inputs=(("i", ["n"]),), kinds={"i": TensorProto.INT64})


def with_runtime_domain(path):
    model = onnx.load(path)
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    onnx.save(model, path)
    return path


def chain(tmp_path, first, second, w="w", w2="w2", values=(W, W2), scopes=(None, None)):
    """Two products, one behind the other."""
    nodes = [
        tiny.node("MatMul", ["x", w], "h", first, scopes[0]),
        tiny.node("MatMul", ["h", w2], "y", second, scopes[1]),
    ]
    return tiny.graph(tmp_path / "m.onnx", nodes, {w: values[0], w2: values[1]})


def normal(x):
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
