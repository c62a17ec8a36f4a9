# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The demo's two adapters that PEFT does not have, in torch: MoSA and a mixture of LoRAs with a router.

Both are put on a model by hooks, trained, written to a folder and taken off again.
"""

import json

import safetensors.torch
import torch
from torch.nn.functional import gelu, linear

MODULES, RANK = 4, 16


def _write(folder, tensors, config):
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    safetensors.torch.save_file(tensors, folder / "adapter_model.safetensors", {"format": "pt"})
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2) + "\n")


class _MaskedModules(torch.nn.Module):
    """One bottleneck as several modules: `up` is cut into disjoint random masks. In training one module
    acts at a time; afterwards all do, as their mean."""

    def __init__(self, width, generator):
        super().__init__()
        self.norm = torch.nn.LayerNorm(width, eps=1e-6)
        self.down = torch.nn.Linear(width, RANK)
        self.up = torch.nn.Parameter(torch.zeros(MODULES, width, RANK))
        self.up_bias = torch.nn.Parameter(torch.zeros(MODULES, width))
        self.register_buffer("mask", self._masks((width, RANK), generator))
        self.register_buffer("bias_mask", self._masks((width,), generator))

    @staticmethod
    def _masks(shape, generator):
        owner = torch.randint(MODULES, shape, generator=generator)
        return torch.stack([owner == number for number in range(MODULES)])

    def forward(self, x):
        z = gelu(self.down(self.norm(x)))
        up, bias = self.up * self.mask, self.up_bias * self.bias_mask
        ups = [linear(z, up[number], bias[number]) for number in range(MODULES)]
        if self.training:
            return ups[torch.randint(MODULES, (1,)).item()]
        return sum(ups) / MODULES


class MoSA:
    """A MoSA adapter in AdaptFormer's style: beside each block's MLP, on the residual stream."""

    def __init__(self, model, seed):
        generator = torch.Generator().manual_seed(seed)
        self.blocks, self.handles = [], []
        for parameter in model.parameters():
            parameter.requires_grad_(False)
        for block in model.vit.layers:
            modules = _MaskedModules(block.layernorm_after.weight.shape[0], generator)
            self.blocks.append(modules)
            block.mosa = modules
            stream = {}
            self.handles += [
                block.layernorm_after.register_forward_pre_hook(
                    lambda _, given, s=stream: s.update(x=given[0])
                ),
                block.mlp.register_forward_hook(lambda _, given, y, s=stream, m=modules: y + m(s["x"])),
            ]

    def save(self, folder):
        tensors = {}
        for number, block in enumerate(self.blocks):
            path = f"vit.layers.{number}."
            tensors |= {path + f"adapter_norm.{k}": v for k, v in block.norm.named_parameters()}
            tensors |= {path + f"adapter_down.{k}": v for k, v in block.down.named_parameters()}
            for i in range(MODULES):
                for what, values, masks in (
                    ("weight", block.up, block.mask),
                    ("bias", block.up_bias, block.bias_mask),
                ):
                    tensors[path + f"adapter_up.{i}.{what}"] = values[i] * masks[i]
                    tensors[path + f"adapter_up.{i}.{what}.mask"] = masks[i].to(torch.uint8)
        config = {"peft_type": "ADAPTER_OPT_MOSA", "style": "AdaptFormer", "merge": "add"}
        _write(folder, tensors, config | {"expert_num": MODULES, "scalar": 1.0, "norm_epsilon": 1e-6})

    def remove(self, model):
        for handle in self.handles:
            handle.remove()
        for block in model.vit.layers:
            del block.mosa
        model.requires_grad_(True)


class Mixture:
    """LoRAs as they were trained, and a router at each linear that one of them adapts: softmax by token."""

    def __init__(self, model, folders):
        for parameter in model.parameters():
            parameter.requires_grad_(False)
        self.folders, self.routers, self.handles = folders, {}, []
        experts = [self._read(folder) for folder in folders]
        for name in sorted({name for expert in experts for name in expert}):
            module = model.get_submodule(name)
            router = torch.nn.Linear(module.in_features, len(experts))
            torch.nn.init.zeros_(router.weight)
            torch.nn.init.zeros_(router.bias)
            self.routers[name] = router
            factors = [expert.get(name) for expert in experts]
            self.handles.append(module.register_forward_hook(self._hook(router, factors)))
            module.router = router

    @staticmethod
    def _read(folder):
        """{module: (A, scaled B)} of a PEFT folder."""
        config = json.loads((folder / "adapter_config.json").read_text())
        tensors = safetensors.torch.load_file(folder / "adapter_model.safetensors")
        expert = {}
        for key, a in tensors.items():
            if key.endswith(".lora_A.weight"):
                b = tensors[key.replace("lora_A", "lora_B")] * (config["lora_alpha"] / config["r"])
                expert[key.removeprefix("base_model.model.").removesuffix(".lora_A.weight")] = (a, b)
        return expert

    @staticmethod
    def _hook(router, factors):
        def add(module, given, y):
            gates = torch.softmax(router(given[0]), -1)
            for number, pair in enumerate(factors):
                if pair:
                    y = y + gates[..., number : number + 1] * linear(linear(given[0], pair[0]), pair[1])
            return y

        return add

    def save(self, folder):
        tensors = {}
        for name, router in self.routers.items():
            tensors |= {f"{name}.router.{k}": v for k, v in router.named_parameters()}
        route = {"score": "softmax", "order": "score_first", "selection": "all", "normalise": "none"}
        config = {
            "peft_type": "ADAPTER_OPT_MIXTURE",
            "adapters": [f"../{each.name}" for each in self.folders],
        }
        _write(folder, tensors, config | {"router": route | {"scope": "token"}})

    def remove(self, model):
        for handle in self.handles:
            handle.remove()
        for name in self.routers:
            del model.get_submodule(name).router
        model.requires_grad_(True)
