# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Adapters of different forms at the same layers of a model, to be combined."""

import copy
import functools
import warnings

import numpy as np
import onnxruntime
import peft
import product
import torch
import weight_methods
from test_weight_methods import World

KINDS = ("linear", "unbiased")


class Mixed(World):
    def __init__(self, folder):
        super().__init__(folder)
        self.at = functools.cache(lambda name: self.adapter_at(KINDS, name))

    @property
    def graph(self):
        return self.model_of(KINDS)[1]

    @property
    def plain(self):
        return self.model_of(KINDS)[3]

    def adapter_at(self, kinds, name):
        """The folder of a method's adapter at some kinds of layers, and its outputs."""
        case = weight_methods.METHODS[name]
        config = case.config()
        config.target_modules = set(kinds)
        if getattr(config, "feedforward_modules", None):
            config.feedforward_modules = {"unbiased"} & set(kinds)
        base, _, values, _ = self.model_of(kinds)
        torch.manual_seed(len(name))
        model = peft.get_peft_model(copy.deepcopy(base), config)
        for key, parameter in model.named_parameters():
            if parameter.requires_grad or "vera" in key:
                parameter.data = parameter.data + 0.3 * torch.randn_like(parameter)
        folder = self.folder / f"{name}-{'-'.join(kinds)}"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.eval().save_pretrained(folder)
        return folder, self.outputs(model, values)

    def feed(self, kinds):
        _, _, values, _ = self.model_of(kinds)
        return {k: v.numpy() for k, v in zip(weight_methods.inputs_of(kinds), values, strict=True)}

    def merged(self, kinds, *options):
        product.opt(self.model_of(kinds)[1], *options, "-o", self.folder / "merged.onnx")
        got = onnxruntime.InferenceSession(self.folder / "merged.onnx").run(None, self.feed(kinds))
        return dict(zip(kinds, got, strict=True))

    def summed(self, weights):
        """Outputs with weighted updates: layers are linear in their weights, so that changes add up."""
        made = {}
        for kind in KINDS:
            changes = [
                w * (self.at(name)[1][kind].astype(float) - self.plain[kind]) for name, w in weights.items()
            ]
            made[kind] = (self.plain[kind] + sum(changes)).astype(np.float32)
        return made
