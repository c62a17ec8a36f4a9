# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Exports, adapters and PyTorch's answers, each made once per session and only when asked for.

Every reference is PEFT's unmerged forward in f32: its merge differs from it on a tied embedding.
"""

import collections
import functools

import methods
import onnx
import torch
import zoo

Adapter = collections.namedtuple("Adapter", "folder outputs")  # outputs: logits by feed


def _numpy(feed):
    return {name: tensor.numpy() for name, tensor in feed.items()}


def _shared_forward(layer, forward, shares, *inputs):
    """What a layer makes with shares of the changes of two adapters, each of which sees the base alone."""
    names = layer.active_adapters
    base = layer.base_layer(*inputs)
    result = base
    for name, share in zip(("default", "second"), shares, strict=True):
        layer._active_adapter = [name]
        result = result + share * (forward(*inputs) - base)
    layer._active_adapter = names
    return result


class Oracle:
    """`spread_vectors=False` in a method means weights as a model initialises them, with norms of ones and
    biases of zeros, which exporters merge and drop."""

    def __init__(self, root):
        self.root = root
        self.export = functools.cache(self._export)
        self.base = functools.cache(self._base)
        self.adapter = functools.cache(self._adapter)

    def _export(self, architecture, exporter, spread_vectors=True):
        """Path of the ONNX file."""
        path = self.root / f"{architecture}-{exporter}{'' if spread_vectors else '-plain'}.onnx"
        return zoo.export(zoo.make(architecture, spread_vectors), architecture, exporter, path)

    def feed(self, architecture, name):
        """Inputs by name as numpy arrays."""
        return _numpy(zoo.inputs(architecture, zoo.FEEDS[name]))

    def feed_of(self, path, architecture, name):
        """The same without inputs that the graph does not have."""
        names = {i.name for i in onnx.load(path, load_external_data=False).graph.input}
        return {k: v for k, v in self.feed(architecture, name).items() if k in names}

    def _outputs(self, model, architecture):
        with torch.no_grad():
            return {
                name: zoo.forward(model, zoo.inputs(architecture, shape)).numpy()
                for name, shape in zoo.FEEDS.items()
            }

    def _base(self, architecture, spread_vectors=True):
        """Logits by feed, without an adapter."""
        return self._outputs(zoo.make(architecture, spread_vectors), architecture)

    def _adapter(self, architecture, method, seed=1, spread_vectors=True, scale=1.0, rank=None):
        """A random adapter: its PEFT folder and the logits it gives; `scale` multiplies its own scale, of its
        directions the first `rank` are left."""
        model = methods.attach(zoo.make(architecture, spread_vectors), architecture, method, seed)
        suffix = "" if spread_vectors else "-plain"
        folder = self.root / f"{architecture}-{method}-{seed}{suffix}"
        if not folder.exists():
            methods.save(model, method, folder)
        if scale != 1.0:
            # Not scale_layer: it leaves embeddings out.
            for module in model.modules():
                if hasattr(module, "scale_layer"):
                    module.scaling.update({name: s * scale for name, s in module.scaling.items()})
        if rank is not None:
            with torch.no_grad():
                for name, parameter in model.named_parameters():
                    if "lora_A" in name or "lora_embedding_A" in name:
                        parameter[rank:] = 0
        return Adapter(folder, self._outputs(model, architecture))

    def both(self, architecture, method, shares=(1.0, 1.0)):
        """Logits by feed with the adapters of seeds 1 and 2 active at once: the sum of both updates; `shares`
        of what each makes of a layer's own result are added up."""
        return self._outputs(self.mixed(architecture, method, shares), architecture)

    def mixed(self, architecture, method, shares):
        """The model of `both`. Shares may be tensors, one number for each position: [rows, tokens, 1]."""
        model = methods.attach(zoo.make(architecture), architecture, method, 1)
        other = methods.attach(zoo.make(architecture), architecture, method, 2)
        with zoo.quiet():
            model.add_adapter("second", methods.METHODS[method](architecture, 2))
        values = dict(other.named_parameters())
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "second" in name.split("."):
                    own = ".".join("default" if part == "second" else part for part in name.split("."))
                    parameter.copy_(values[own])
        model.base_model.set_adapter(["default", "second"])
        if all(isinstance(share, float) and share == 1.0 for share in shares):
            return model.eval()
        for module in list(model.modules()):
            if hasattr(module, "scale_layer"):
                module.forward = functools.partial(_shared_forward, module, module.forward, shares)
        return model.eval()
