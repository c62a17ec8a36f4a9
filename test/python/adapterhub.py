# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What AdapterHub's `adapters` says, which needs a transformers of its own: run by the Python of
.venv-adapters as `python adapterhub.py ORDER.json`. The order names an architecture and a folder, in which it
makes

    <folder>/<exporter>.onnx        the model without adapters
    <folder>/base.npz               its logits by feed
    <folder>/<name>/                each adapter as save_adapter writes it, with adapter.safetensors
    <folder>/<name>.npz             the logits with it

The fields of an adapter are BnConfig's, those of Compacter included. Its weights are random, no trained
tensor stays at its no-op value.
"""

import json
import logging
import pathlib
import sys

import numpy as np
import torch

logging.disable(logging.WARNING)


def _fill(model, seed):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if ".adapters." in key or ".shared_parameters." in key:
                scale = {2: 0.3, 3: 0.5}.get(parameter.dim(), 0.2)
                parameter.add_(torch.randn(parameter.shape, generator=generator) * scale)


def _save(model, name, folder):
    """As a file of safetensors also where norms stand under two names, which `adapters` can only pickle."""
    from safetensors.torch import save_file

    model.save_adapter(str(folder), name, with_head=False)
    pickle = folder / "pytorch_adapter.bin"
    tensors = torch.load(pickle, weights_only=True)
    save_file({key: value.clone() for key, value in tensors.items()}, folder / "adapter.safetensors")
    pickle.unlink()


def make(order):
    import adapters
    import zoo

    architecture, folder = order["architecture"], pathlib.Path(order["folder"])
    folder.mkdir(parents=True, exist_ok=True)

    def answers(model):
        with torch.no_grad():
            return {
                feed: zoo.forward(model, zoo.inputs(architecture, shape)).numpy()
                for feed, shape in zoo.FEEDS.items()
            }

    for exporter in order.get("exporters", []):
        zoo.export(zoo.make(architecture), architecture, exporter, folder / f"{exporter}.onnx")
    np.savez(folder / "base.npz", **answers(zoo.make(architecture)))
    for name, fields in order["adapters"].items():
        fields = dict(fields)
        seed = fields.pop("seed", 1)
        model = zoo.make(architecture)
        adapters.init(model)
        torch.manual_seed(seed)
        with zoo.quiet():
            model.add_adapter(name, config=adapters.BnConfig(**fields), set_active=True)
        model.eval()
        _fill(model, seed)
        _save(model, name, folder / name)
        np.savez(folder / f"{name}.npz", **answers(model))


if __name__ == "__main__":
    make(json.loads(pathlib.Path(sys.argv[1]).read_text()))
