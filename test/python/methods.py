# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""PEFT adapters with random weights, each a way in which a LoRA checkpoint can look.

A method is a function (architecture, seed) -> a configuration of PEFT, or None where the architecture has
no such thing. Ranks grow with the seed, so that two adapters of one method differ in rank. `attach` puts one
on a model; no trained tensor stays at its no-op value.
"""

import re

import peft
import safetensors.torch
import torch
import zoo

# Modules by architecture: all linears of a layer, the embedding, a head and a norm to save, some by regex.
LINEARS = {
    "bert": ["query", "key", "value", "dense"],
    "gpt2": ["c_attn", "c_proj", "c_fc"],
    "llama": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
    "vit": ["q_proj", "k_proj", "v_proj", "o_proj", "fc1", "fc2"],
}
EMBEDDING = {"bert": "word_embeddings", "gpt2": "wte", "llama": "embed_tokens"}
HEAD = {"bert": "classifier", "gpt2": "lm_head", "llama": "lm_head", "vit": "classifier"}
NORM = {"bert": "LayerNorm", "gpt2": "ln_2", "llama": "input_layernorm", "vit": "layernorm_after"}
FIRST_LAYER = {
    "bert": r".*\.layer\.0\.(attention\.self\.(query|value)|output\.dense)",
    "gpt2": r".*\.h\.0\.(attn\.c_attn|mlp\.c_proj)",
    "llama": r".*\.layers\.0\.(self_attn\.v_proj|mlp\.down_proj)",
    "vit": r".*\.layers\.0\.(attention\.v_proj|mlp\.fc2)",
}
TOKENS = [3, 40, 95]


def _lora(**fixed):
    """A method: LoRA on all linears, rank 4 (seed 1) or 6 (seed 2), ...; `fixed` overrides."""

    def config(architecture, seed):
        fields = dict(r=2 + 2 * seed, lora_alpha=5 + seed, target_modules=LINEARS[architecture])
        fields |= {k: v(architecture) if callable(v) else v for k, v in fixed.items()}
        return None if None in fields.values() else peft.LoraConfig(**fields)

    return config


def _with_embedding(architecture):
    name = EMBEDDING.get(architecture)
    return name and [*LINEARS[architecture], name]


def _text(value):
    return lambda architecture: None if architecture == "vit" else value


def _biased(value):
    return lambda architecture: None if architecture == "llama" else value


def _shira(architecture, seed):
    """SHiRA; PEFT has it for torch.nn.Linear alone."""
    if architecture == "gpt2":
        return None
    return peft.ShiraConfig(r=1 + seed, target_modules=LINEARS[architecture], random_seed=seed)


METHODS = {
    "plain": _lora(),
    "rslora": _lora(use_rslora=True),
    "pattern": _lora(
        rank_pattern=lambda a: {LINEARS[a][0]: 3, r"(layers?|h)\.1\..*" + re.escape(LINEARS[a][-1]): 7},
        alpha_pattern=lambda a: {LINEARS[a][-1]: 9},
    ),
    "bias_lora_only": _lora(bias=_biased("lora_only")),
    "bias_all": _lora(bias=_biased("all")),
    "lora_bias": _lora(lora_bias=_biased(True)),
    "dora": _lora(use_dora=True),
    "dora_rslora": _lora(
        use_dora=True, use_rslora=True, bias=lambda a: "none" if a == "llama" else "lora_only"
    ),
    "embedding": _lora(target_modules=_with_embedding),
    "embedding_dora": _lora(target_modules=_with_embedding, use_dora=True),
    "head_saved": _lora(modules_to_save=lambda a: [HEAD[a]]),
    "norm_saved": _lora(modules_to_save=lambda a: [NORM[a]]),
    "tokens": _lora(trainable_token_indices=_text(TOKENS)),
    "tokens_named": _lora(trainable_token_indices=lambda a: {EMBEDDING[a]: TOKENS} if a != "vit" else None),
    "one_layer": _lora(layers_to_transform=lambda a: [1]),
    "regex": _lora(target_modules=lambda a: FIRST_LAYER[a]),
    "all_linear": _lora(target_modules="all-linear"),
    "exclude": _lora(exclude_modules=lambda a: [LINEARS[a][1]]),
    "convolution": _lora(target_modules=lambda a: ["projection", "fc1"] if a == "vit" else None),
    "convolution_dora": _lora(
        target_modules=lambda a: ["projection", "fc1"] if a == "vit" else None, use_dora=True
    ),
    "head": _lora(target_modules=lambda a: [LINEARS[a][0], HEAD[a]]),
    "float16": _lora(),
    "bfloat16": _lora(modules_to_save=lambda a: [HEAD[a]]),
    "shira": _shira,
}
_STORED_AS = {"float16": torch.float16, "bfloat16": torch.bfloat16}


def methods_of(architecture):
    """Names of the methods that exist for an architecture, in order."""
    return [name for name, config in METHODS.items() if config(architecture, 1) is not None]


def attach(model, architecture, method, seed):
    """The model with a random adapter, in evaluation mode. Values of a method that stores a narrow type are
    exact in that type."""
    config = METHODS[method](architecture, seed)
    torch.manual_seed(seed)
    with zoo.quiet():
        adapted = peft.get_peft_model(model, config).eval()
    generator = torch.Generator().manual_seed(1000 + seed)
    narrow = _STORED_AS.get(method)
    with torch.no_grad():
        for parameter in adapted.parameters():
            if parameter.requires_grad and parameter.is_floating_point():
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
                if narrow:
                    parameter.copy_(parameter.to(narrow))
    return adapted


def save(adapted, method, folder):
    """Writes a PEFT folder; a method that stores a narrow type has its file rewritten in that type."""
    with zoo.quiet():
        adapted.save_pretrained(str(folder))
    if narrow := _STORED_AS.get(method):
        path = folder / "adapter_model.safetensors"
        tensors = safetensors.torch.load_file(path)
        safetensors.torch.save_file({k: v.to(narrow) for k, v in tensors.items()}, path, {"format": "pt"})
    return folder
