# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Small decoders, exported with a cache and compiled for sessions, beside transformers and PEFT."""

import folders
import numpy as np
import product
import tolerance
import torch
from peft import LoHaConfig, LoraConfig, OFTConfig, get_peft_model

ao = product.package()

_SMALL = folders._TEXT
# Rotary positions with shared heads, windows, fused projections, learned positions, positions as a bias.
folders.MODELS |= {
    "qwen2": ("Qwen2ForCausalLM", "Qwen2Config", _SMALL | {"num_key_value_heads": 2}),
    "qwen3": ("Qwen3ForCausalLM", "Qwen3Config", _SMALL | {"num_key_value_heads": 2, "head_dim": 8}),
    "phi3": ("Phi3ForCausalLM", "Phi3Config", _SMALL | {"num_key_value_heads": 2}),
    "gemma3": (
        "Gemma3ForCausalLM",
        "Gemma3TextConfig",
        _SMALL | {"num_key_value_heads": 2, "head_dim": 8, "sliding_window": 4, "sliding_window_pattern": 2},
    ),
    "mistral": (
        "MistralForCausalLM",
        "MistralConfig",
        _SMALL | {"num_key_value_heads": 2, "sliding_window": 5},
    ),
    "opt": (
        "OPTForCausalLM",
        "OPTConfig",
        _SMALL | {"ffn_dim": 48, "word_embed_proj_dim": 32, "max_position_embeddings": 64},
    ),
    "bloom": ("BloomForCausalLM", "BloomConfig", dict(vocab_size=96, hidden_size=32, n_layer=2, n_head=4)),
    "gptneox": ("GPTNeoXForCausalLM", "GPTNeoXConfig", _SMALL),
}


class Decoder:
    """One model: transformers' own, its folder, its export, and artifacts."""

    def __init__(self, name, folder, adapters=None, **options):
        self.name, self.folder = name, folder
        self.model, self.source = folders.save(name, folder / "in")
        self.export = ao.export(self.source, folder / "out", cache=True, **options)
        self.adapters = {}
        for key, kind in (adapters or {}).items():
            self.adapters[key] = self._train(key, kind)

    def _train(self, key, kind):
        """An adapter of random numbers: (its folder, PEFT's model with it)."""
        base = folders.make(self.name)
        linears = {"gpt2": ["c_attn", "c_proj"], "bloom": ["query_key_value"], "gptneox": ["query_key_value"]}
        targets = linears.get(self.name, ["q_proj", "v_proj", "down_proj"])
        made = get_peft_model(base, kind(targets))
        torch.manual_seed(sum(map(ord, key)))
        with torch.no_grad():
            for name, parameter in made.named_parameters():
                if parameter.requires_grad:
                    parameter.copy_(torch.randn(parameter.shape) * (0.05 if "oft" in name else 0.2))
        made.eval().save_pretrained(self.folder / key)
        return self.folder / key, made

    def compiled(self, **options):
        return ao.compile(self.export, stateful=True, **options)

    @torch.no_grad()
    def logits(self, ids, adapter=None):
        """Of all positions of a text alone, [tokens, vocabulary]."""
        model = self.adapters[adapter][1] if adapter else self.model
        mask = torch.ones(1, len(ids), dtype=torch.int64)
        return model(input_ids=torch.tensor([ids]), attention_mask=mask).logits[0].numpy()

    def greedy(self, ids, count, adapter=None, ends=()):
        """The best tokens one after the other, without a cache."""
        made = list(ids)
        while len(made) < len(ids) + count:
            token = int(self.logits(made, adapter)[-1].argmax())
            if token in ends:
                break
            made.append(token)
        return made[len(ids) :]


def lora(targets):
    return LoraConfig(r=4, lora_alpha=8, target_modules=targets)


def dora(targets):
    return LoraConfig(r=3, lora_alpha=8, target_modules=targets, use_dora=True)


def loha(targets):
    return LoHaConfig(r=2, alpha=4, target_modules=targets)


def oft(targets):
    return OFTConfig(r=0, oft_block_size=4, target_modules=targets, use_cayley_neumann=False)


def prompts(*lengths, seed=1):
    generator = np.random.default_rng(seed)
    return [generator.integers(3, folders.VOCABULARY, length).tolist() for length in lengths]


def assert_ends_agree(got, wanted, count, base=None):
    """The last `count` positions of a row of a session's logits, against all of the text's."""
    tolerance.assert_agrees(got[-count:], wanted[-count:], None if base is None else base[-count:])
