# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Mixtures of LoRA experts: folders of them, and torch by the formula.

    y = W x + sum over chosen experts e of g_e s_e B_e A_e x

`Mixture.attach` puts hooks on a model. They note how far each choice was from another, `margin`: where two
experts score nearly the same, two right programs differ by more than rounding, so a test asks for a margin.
"""

import json

import safetensors.torch
import torch

FULL = dict(score="softmax", order="score_first", selection="top", top=2, normalise="none", scope="token")


def is_linear(module):
    return isinstance(module, torch.nn.Linear) or type(module).__name__ == "Conv1D"


def sizes(module):
    """(in, out) of a linear; transformers' Conv1D holds its weight the other way round."""
    shape = tuple(module.weight.shape)
    return shape if type(module).__name__ == "Conv1D" else shape[::-1]


class Mixture:
    """`experts`: for each a rank or {end of module: rank}. All linears that end with one of `targets`, or
    with an expert's own names."""

    def __init__(
        self, model, targets, experts, router=(), seed=1, bias=False, forced=None, routers=None, **words
    ):
        generator = torch.Generator().manual_seed(seed)
        self.words = {k: v for k, v in (FULL | words).items() if v is not None}
        self.experts, self.factors, self.reads, self.routers = [], {}, {}, routers or {}
        linears = {name: module for name, module in model.named_modules() if is_linear(module)}
        for number, expert in enumerate(experts):
            ranks = expert if isinstance(expert, dict) else dict.fromkeys(targets, expert)
            self.experts.append({})
            for name, module in linears.items():
                rank = next((r for end, r in ranks.items() if ("." + name).endswith("." + end)), 0)
                if not rank:
                    continue
                width, out = sizes(module)
                a = torch.randn(rank, width, generator=generator) * 0.3
                b = torch.randn(out, rank, generator=generator) * 0.3
                self.experts[number][name] = (a, b, 1.0 + number / 4)
        logits = len(experts) - self.words.get("shared", 0) + self.words.get("null", 0)
        self.tensors = {}
        for name in sorted({name for expert in self.experts for name in expert}):
            owner, reads = self._owner(name)
            self.reads[name] = (owner, reads)
            if self.words["scope"] == "task":
                self.tensors[owner + ".router.logits"] = torch.randn(3, logits, generator=generator) * 2
            elif owner + ".router.weight" not in self.tensors:
                width = sizes(linears[reads])[0]
                weight = torch.randn(logits, width, generator=generator) * 3 / width**0.5
                self.tensors[owner + ".router.weight"] = weight
                if bias or forced is not None:
                    self.tensors[owner + ".router.bias"] = torch.randn(logits, generator=generator)
                if forced is not None:
                    self.tensors[owner + ".router.bias"] = torch.full((logits,), -1000.0)
                    self.tensors[owner + ".router.bias"][list(forced)] = 1000.0
        self.margin = float("inf")
        self.chosen = set()

    def _owner(self, name):
        for router, fields in self.routers.items():
            if name in [f"{router}.{each}" for each in fields["modules"]]:
                return router, f"{router}.{fields['reads']}"
        return name, name

    def write(self, folder, tensors=None, **fields):
        """The folder; `fields` override those of the configuration."""
        folder.mkdir(parents=True)
        paths = []
        for number, modules in enumerate(self.experts):
            path = folder / f"expert{number}"
            path.mkdir()
            paths.append(path.name)
            ranks = {name: a.shape[0] for name, (a, _, _) in modules.items()}
            config = dict(
                peft_type="LORA",
                r=1,
                lora_alpha=1,
                target_modules=sorted(modules),
                rank_pattern=ranks,
                alpha_pattern={name: a.shape[0] * scale for name, (a, _, scale) in modules.items()},
            )
            (path / "adapter_config.json").write_text(json.dumps(config))
            stored = {}
            for name, (a, b, _) in modules.items():
                stored[f"base_model.model.{name}.lora_A.weight"] = a
                stored[f"base_model.model.{name}.lora_B.weight"] = b
            safetensors.torch.save_file(stored, path / "adapter_model.safetensors")
        config = dict(peft_type="ADAPTER_OPT_MIXTURE", adapters=paths, router=self.words)
        if self.routers:
            config["routers"] = self.routers
        (folder / "adapter_config.json").write_text(json.dumps(config | fields))
        safetensors.torch.save_file(tensors or self.tensors, folder / "adapter_model.safetensors")
        return folder

    # The formula.

    def _limit(self, values, bound):
        self.margin = min(self.margin, (values - bound).abs().min().item())

    def _top(self, scores, k):
        values, ids = torch.topk(scores, min(k + 1, scores.shape[-1]), dim=-1)
        if values.shape[-1] > k:
            self.margin = min(self.margin, (values[..., k - 1] - values[..., k]).min().item())
        self.chosen |= set(ids[..., :k].flatten().tolist())
        return values[..., :k], ids[..., :k]

    def gates(self, logits):
        """Weights of all experts."""
        words = self.words
        nulls, shared, chosen = words.get("null", 0), words.get("shared", 0), words["selection"]

        def score(x):
            if words["score"] == "softmax":
                return torch.softmax(x, -1)
            return torch.sigmoid(x) if words["score"] == "sigmoid" else x

        logits = logits / words.get("temperature", 1.0)
        first = words["order"] == "score_first"
        scores = score(logits) if first else logits
        if words["normalise"] == "before":
            scores = scores / scores.sum(-1, keepdim=True)
        if chosen in ("top", "argmax"):
            values, ids = self._top(scores, 1 if chosen == "argmax" else words["top"])
            weights = torch.zeros_like(scores).scatter(-1, ids, values if first else score(values))
        elif chosen == "threshold":
            self._limit(scores, words["limit"])
            mask = scores >= words["limit"]
            self.chosen |= set(mask.nonzero()[:, -1].tolist())
            if not first and words["score"] == "softmax":
                scores = torch.softmax(scores.masked_fill(~mask, -torch.inf), -1)
            elif not first:
                scores = score(scores)
            weights = torch.where(mask, scores, 0.0)
        elif chosen == "top_p":
            values, ids = torch.sort(scores, dim=-1, descending=True, stable=True)
            before = values.cumsum(-1) - values
            self._limit(before[..., 1:], words["limit"])
            weights = torch.zeros_like(scores).scatter(
                -1, ids, torch.where(before <= words["limit"], values, 0.0)
            )
            self.chosen |= set((weights > 0).nonzero()[:, -1].tolist())
        else:
            weights = scores
        if nulls:
            weights = weights[..., :-nulls]
        if words["normalise"] == "after":
            sums = weights.sum(-1, keepdim=True)
            weights = weights / torch.where(sums == 0, 1.0, sums)
        return torch.cat([weights.new_ones(*weights.shape[:-1], shared), weights], -1)

    def _logits(self, owner, x):
        if self.words["scope"] == "task":
            return self.tensors[owner + ".router.logits"][self.words["task"]].double()
        if self.words["scope"] == "sequence":
            x = x.mean(-2, keepdim=True)
        logits = x @ self.tensors[owner + ".router.weight"].T.double()
        bias = self.tensors.get(owner + ".router.bias")
        return logits if bias is None else logits + bias

    def attach(self, model, scale=1.0):
        """The model, which from now on answers with the mixture."""
        inputs = {}
        linears = dict(model.named_modules())

        def note(name):
            def hook(module, arguments):
                inputs[name] = arguments[0].double()

            return hook

        def add(name):
            owner, reads = self.reads[name]

            def hook(module, arguments, y):
                x = arguments[0].double()
                gates = self.gates(self._logits(owner, inputs[reads]))
                for number, expert in enumerate(self.experts):
                    if name in expert:
                        a, b, own = expert[name]
                        y = y + (
                            gates[..., number, None] * (x @ a.T.double() @ b.T.double()) * own * scale
                        ).to(y.dtype)
                return y

            return hook

        for name, (_, reads) in self.reads.items():
            linears[reads].register_forward_pre_hook(note(reads))
            linears[name].register_forward_hook(add(name))
        return model
