# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A graph to be made: what it takes and what it computes, a function of tensors that calls the model
itself."""

import dataclasses
from collections.abc import Callable

import torch

from adapter_opt.exporting import inputs as made_inputs
from adapter_opt.exporting.inputs import Input


@dataclasses.dataclass
class Part:
    """A graph to be made.

    name: of its file.
    inputs: that it takes.
    function: of the model and the inputs' tensors by name; gives the outputs by name.
    modules: beside the model, that the function uses.
    """

    name: str
    inputs: list[Input]
    function: Callable
    modules: dict = dataclasses.field(default_factory=dict)


class Traced(torch.nn.Module):
    """A part as exporters take it: tensors in and out. The attribute's name becomes a prefix of all module
    paths in the graph, and adapters match by what is behind it."""

    def __init__(self, model, part, outputs=None):
        super().__init__()
        self.model, self.part, self.outputs = model, part, outputs
        for name, module in part.modules.items():
            setattr(self, name, module)

    def named(self, *tensors):
        """All outputs by name."""
        names = [each.name for each in self.part.inputs]
        return self.part.function(self.model, dict(zip(names, tensors, strict=True)))

    def forward(self, *tensors):
        made = self.named(*tensors)
        return tuple(made[name] for name in self.outputs)


def tensors_of(output):
    """The tensors among a model's outputs, under the names that transformers gives them."""
    if isinstance(output, torch.Tensor):
        return {"output": output}
    if isinstance(output, (tuple, list)):
        return {f"output_{i}": each for i, each in enumerate(output) if isinstance(each, torch.Tensor)}
    return {name: each for name, each in output.items() if isinstance(each, torch.Tensor)}


def without_cache(model):
    """Turns caches off, wherever the switch is: most models look at their configuration, some take an
    argument."""
    for config in (model.config, model.config.get_text_config()):
        if hasattr(config, "use_cache"):
            config.use_cache = False
    return {"use_cache": False} if "use_cache" in made_inputs.parameters(model.forward) else {}
