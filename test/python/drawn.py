# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Draws small models, the graphs that exporters could make of them, and adapters that hit what is hard to
attach: equal weights, tied tables, folded constants, names of other tools, parts of models. What is right is
arithmetic.

A model is a chain of modules; `Drawn` has its parameters as a framework stores them, writes the graph, the
base checkpoint and the adapter, and computes what the graph must answer with the adapter applied.
"""

import json

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save_file

OPSET = 18


class Linear:
    """y = x W^T + b, W [out, in]."""

    def __init__(self, path, weight, bias=None):
        self.path, self.weight, self.bias = path, weight, bias

    def parameters(self):
        yield "weight", self.weight
        if self.bias is not None:
            yield "bias", self.bias

    def run(self, x, p):
        y = x @ p[self.path + ".weight"].T
        bias = p.get(self.path + ".bias")
        return y if bias is None else y + bias


class Norm:
    """y = x * w, or x * (1 + w) as Gemma has it."""

    def __init__(self, path, weight, plus_one):
        self.path, self.weight, self.plus_one = path, weight, plus_one

    def parameters(self):
        yield "weight", self.weight

    def run(self, x, p):
        weight = p[self.path + ".weight"]
        return x * (1 + weight if self.plus_one else weight)


class LayerNorm:
    """y = (x - mean) / deviation * w + b."""

    def __init__(self, path, weight, bias):
        self.path, self.weight, self.bias = path, weight, bias

    def parameters(self):
        yield "weight", self.weight
        yield "bias", self.bias

    def run(self, x, p):
        normal = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5)
        return normal * p[self.path + ".weight"] + p[self.path + ".bias"]


class Embedding:
    """A lookup in a table [vocabulary, width]; perhaps tied to the last module, a head."""

    def __init__(self, path, weight):
        self.path, self.weight = path, weight

    def parameters(self):
        yield "weight", self.weight

    def run(self, ids, p):
        return p[self.path + ".weight"][ids]


class Drawn:
    def __init__(self, seed):
        self.random = np.random.default_rng(seed)
        self.seed = seed
        self.notes = []
        self.modules = self.draw_modules()
        self.draw_naming()

    def chance(self, p):
        return self.random.random() < p

    def pick(self, *choices):
        return choices[self.random.integers(len(choices))]

    def numbers(self, *shape):
        return self.random.standard_normal(shape).astype(np.float32)

    # ------------------------------------------------------------------------------------------------ models

    def draw_modules(self):
        width = self.pick(1, 3, 4, 4, 6)
        modules = []
        part = self.pick("", "", "model.", "encoder.", "decoder.")
        self.part = part.rstrip(".")
        self.ids = self.chance(0.3)
        if self.ids:
            modules.append(Embedding(part + "embed_tokens", self.numbers(5, width)))
        self.in_width = width
        layers = self.pick(1, 2, 2, 3)
        same = self.numbers(width, width)
        for layer in range(layers):
            path = f"{part}layers.{layer}."
            if self.chance(0.5):
                weight = self.pick(self.numbers(width), np.zeros(width, "f4"), np.ones(width, "f4"))
                if self.chance(0.3):
                    bias = self.pick(self.numbers(width), np.zeros(width, "f4"))
                    modules.append(LayerNorm(path + "norm", weight, bias))
                else:
                    modules.append(Norm(path + "norm", weight, self.chance(0.4)))
            for name in ("q", "k")[: self.pick(1, 2)]:
                weight = same.copy() if self.chance(0.25) else self.numbers(width, width)
                bias = self.pick(None, self.numbers(width), np.zeros(width, "f4"))
                modules.append(Linear(path + name, weight, bias))
            if self.chance(0.4):
                inner = self.pick(1, 2, 5)
                modules.append(
                    Linear(path + "up", self.numbers(inner, width), self.pick(None, self.numbers(inner)))
                )
                modules.append(Linear(path + "down", self.numbers(width, inner), None))
        self.tied = self.ids and self.chance(0.5)
        if self.tied:
            modules.append(Linear("lm_head", modules[0].weight, None))
        elif self.chance(0.5):
            outputs = self.pick(1, 2, width)
            modules.append(
                Linear("head", self.numbers(outputs, width), self.pick(None, self.numbers(outputs)))
            )
        return modules

    def draw_naming(self):
        """How the exporter names things, for the whole graph."""
        self.naming = self.pick("paths", "paths", "metadata", "none")
        # A wrapper's name in front of all, or a part of the model alone.
        strip = self.part and not any(not m.path.startswith(self.part + ".") for m in self.modules)
        self.left_out = self.part + "." if strip and self.chance(0.5) else ""
        self.added = "" if self.left_out else self.pick("", "", "model.", "wrapper.inner.")
        self.merge = self.chance(0.4)
        self.base = self.pick("none", "given", "given", "other") if self.naming != "none" else "given"

    def graph_path(self, path):
        return self.added + path[len(self.left_out) :]

    # ------------------------------------------------------------------------------------------------ graphs

    def write_graph(self, file):
        self.nodes, self.tensors, self.merged, self.taken, self.count = [], {}, {}, set(), 0
        value = "input"
        for module in self.modules:
            value = getattr(self, "export_" + type(module).__name__.lower())(module, value)
        self.nodes.append(helper.make_node("Identity", [value], ["y"], name=self.node_name("", "Identity")))
        kind = TensorProto.INT64 if self.ids else TensorProto.FLOAT
        shape = ["n"] if self.ids else ["n", self.in_width]
        graph = helper.make_graph(
            self.nodes,
            "g",
            [helper.make_tensor_value_info("input", kind, shape)],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", "m"])],
            [numpy_helper.from_array(v, k) for k, v in self.tensors.items()],
        )
        producer = self.pick("", "pytorch")
        # torch leaves a tensor its name only where it leaves it as it is.
        if any(note == "transposed copy under its own name" for note in self.notes):
            producer = ""
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)
        model.producer_name = producer
        onnx.checker.check_model(model)
        onnx.save(model, file)

    def node_name(self, path, operator):
        return (
            f"/{self.graph_path(path).replace('.', '/')}/{operator}"
            if self.naming == "paths" and path
            else ""
        )

    def node(self, module, operator, inputs, **attributes):
        self.count += 1
        output = f"v{self.count}"
        node = helper.make_node(
            operator, inputs, [output], name=self.node_name(module.path, operator), **attributes
        )
        if self.naming == "metadata":
            entry = node.metadata_props.add()
            entry.key = "pkg.torch.onnx.name_scopes"
            entry.value = str(["", self.graph_path(module.path), f"op_{self.count}"])
        self.nodes.append(node)
        return output

    def constant(self, array, own, *made):
        """The name of an initialiser; equal ones are merged under the first's name, as exporters do."""
        array = np.ascontiguousarray(array)
        key = (array.shape, array.tobytes())
        if self.merge and key in self.merged:
            self.notes.append("merged")
            return self.merged[key]
        name = made[self.random.integers(len(made))] if made else own
        if self.naming == "none":
            name = f"t{len(self.taken)}"
        while name in self.taken:
            name += "_"
        self.taken.add(name)
        if self.chance(0.1) and array.ndim:
            self.count += 1
            constant = helper.make_node("Constant", [], [name], value=numpy_helper.from_array(array, name))
            self.nodes.append(constant)
            self.notes.append("constant node")
        else:
            self.tensors[name] = array
        self.merged.setdefault(key, name)
        return name

    def export_linear(self, module, x):
        own = self.graph_path(module.path) + ".weight"
        made = [f"onnx::MatMul_{self.count}", f"val_{self.count}"]
        way = self.pick("copy", "copy", "transpose", "gemm", "gemm copy", "own copy")
        weight, bias = module.weight, module.bias
        zero = bias is not None and not bias.any() and self.chance(0.5)  # dropped at export
        bias_name = (
            "" if bias is None or zero else self.constant(bias, self.graph_path(module.path) + ".bias")
        )
        if way == "gemm":
            name = self.constant(weight, own)
            return self.node(module, "Gemm", [x, name] + [bias_name] * bool(bias_name), transB=1)
        if way == "gemm copy":
            name = self.constant(weight.T, own, *made)
            return self.node(module, "Gemm", [x, name] + [bias_name] * bool(bias_name))
        if way == "transpose":
            name = self.node(module, "Transpose", [self.constant(weight, own)], perm=[1, 0])
        elif way == "own copy":
            name = self.constant(weight.T, own, own, self.graph_path(module.path) + ".kernel")
            self.notes.append("transposed copy under its own name")
        else:
            name = self.constant(weight.T, own, *made)
        y = self.node(module, "MatMul", [x, name])
        if not bias_name:
            return y
        return self.node(module, "Add", [y, bias_name] if self.chance(0.5) else [bias_name, y])

    def export_norm(self, module, x):
        own = self.graph_path(module.path) + ".weight"
        weight = module.weight
        if module.plus_one and self.chance(0.5):
            one = self.constant(np.float32([1]), f"one_{self.count}")
            name = self.node(module, "Add", [self.constant(weight, own), one])
        elif module.plus_one:
            self.notes.append("1 + weight folded")
            name = self.constant(1 + weight, own, f"val_{self.count}", f"onnx::Mul_{self.count}")
        else:
            name = self.constant(weight, own)
        return self.node(module, "Mul", [x, name] if self.chance(0.5) else [name, x])

    def export_layernorm(self, module, x):
        own = self.graph_path(module.path)
        names = [self.constant(module.weight, own + ".weight"), self.constant(module.bias, own + ".bias")]
        return self.node(module, "LayerNormalization", [x, *names])

    def export_embedding(self, module, ids):
        return self.node(
            module, "Gather", [self.constant(module.weight, self.graph_path(module.path) + ".weight"), ids]
        )

    # ------------------------------------------------------------------------------------------- checkpoints

    def parameters(self):
        return {f"{m.path}.{name}": value for m in self.modules for name, value in m.parameters()}

    def write_base(self, file):
        tensors = {
            k: np.ascontiguousarray(v)
            for k, v in self.parameters().items()
            if not (self.tied and k.startswith("lm_head"))
        }
        if self.base == "other":
            for key in tensors:
                tensors[key] = tensors[key] + np.float32(0.5) * self.numbers(*tensors[key].shape)
        save_file(tensors, file)

    def write_adapter(self, folder):
        """PEFT's layout; returns the parameters with the adapter applied, by name."""
        folder.mkdir(exist_ok=True)
        updated, tensors, config = self.parameters(), {}, {"modules_to_save": []}
        rank, alpha = self.pick(1, 2), self.pick(1, 3)
        dora = self.chance(0.2)
        targets = [m for m in self.modules if self.chance(0.5)] or [self.modules[-1]]
        # A tied checkpoint does not list the head, so that the head alone proves nothing.
        self.is_compared = any(m.path != "lm_head" for m in targets)
        for module in targets:
            key = "base_model.model." + module.path
            weight = module.weight
            if isinstance(module, Linear) and self.chance(0.75):
                a, b = self.numbers(rank, weight.shape[1]), self.numbers(weight.shape[0], rank)
                tensors[key + ".lora_A.weight"], tensors[key + ".lora_B.weight"] = a, b
                changed = weight + np.float32(alpha / rank) * (b @ a)
                if dora:
                    length = np.abs(self.numbers(weight.shape[0])) + np.float32(0.5)
                    tensors[key + ".lora_magnitude_vector"] = length
                    changed = changed * (length / np.linalg.norm(changed, axis=1))[:, None]
                updated[module.path + ".weight"] = changed
            elif isinstance(module, Embedding) and self.chance(0.6):
                a, b = self.numbers(rank, weight.shape[0]), self.numbers(weight.shape[1], rank)
                tensors[key + ".lora_embedding_A"], tensors[key + ".lora_embedding_B"] = a, b
                updated[module.path + ".weight"] = weight + np.float32(alpha / rank) * (b @ a).T
                if dora:  # PEFT has it for all or none
                    length = np.abs(self.numbers(weight.shape[1])) + np.float32(0.5)
                    tensors[key + ".lora_magnitude_vector"] = length
                    changed = updated[module.path + ".weight"]
                    updated[module.path + ".weight"] = changed * (length / np.linalg.norm(changed, axis=0))
            else:
                config["modules_to_save"].append(module.path)
                for name, value in module.parameters():
                    new = value + self.numbers(*value.shape)
                    tensors[f"{key}.{name}"] = new
                    updated[f"{module.path}.{name}"] = new
        if self.part in ("encoder", "decoder") and self.chance(0.3):
            self.add_other_part(tensors)
        save_file(
            {k: np.ascontiguousarray(v) for k, v in tensors.items()}, folder / "adapter_model.safetensors"
        )
        config |= {"peft_type": "LORA", "r": rank, "lora_alpha": alpha, "bias": "none", "use_dora": dora}
        (folder / "adapter_config.json").write_text(json.dumps(config))
        return updated

    def add_other_part(self, tensors):
        """The same modules of the model's other half, which the graph does not hold."""
        self.notes.append("other half")
        other = "decoder" if self.part == "encoder" else "encoder"
        for key in list(tensors):
            if f"model.{self.part}." in key and "lora_" in key:
                tensors[key.replace(f"model.{self.part}.", f"model.{other}.")] = self.numbers(
                    *tensors[key].shape
                )

    # ------------------------------------------------------------------------------------------------ answers

    def feed(self):
        if self.ids:
            return np.arange(5, dtype=np.int64)
        return self.numbers(4, self.in_width)

    def answer(self, x, parameters):
        for module in self.modules:
            x = module.run(x, {k: v.astype(np.float64) for k, v in parameters.items()})
        return x
