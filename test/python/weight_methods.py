# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Every method of PEFT that changes weights, each of its options that changes the result, and the layers that
it is for.

`METHODS` holds for each case its entry in docs/methods.md, the words of a slot that takes it (None: only
compilation has the base's weight that it needs), and PEFT's configuration; `Layers` is a model with one layer
of some kinds, whose outputs are those of its layers.
"""

import collections
import copy

import peft
import torch
import transformers

Case = collections.namedtuple("Case", "type words config kinds", defaults=("linear", "unbiased"))

LINEARS = ("linear", "unbiased", "conv1d_of_gpt2")
PLAIN = ("linear", "unbiased")
TABLES = (*LINEARS, "embedding")
CONVOLUTIONS = ("conv1d", "conv2d", "conv3d")


def case(type, words, config, kinds=PLAIN, **options):
    """`config` is PEFT's class; options are its arguments."""
    return Case(type, words, lambda: config(target_modules=list(kinds), **options), kinds)


def lora(kinds=PLAIN, words="lora", **options):
    return case("LORA", words, peft.LoraConfig, kinds, **options)


METHODS = {
    "lora": lora((*TABLES, *CONVOLUTIONS), "lora+embedding", r=3, lora_alpha=6),
    "rslora": lora(LINEARS, r=4, lora_alpha=6, use_rslora=True),
    "dora": lora((*TABLES, *CONVOLUTIONS), "lora+dora+embedding", r=3, lora_alpha=6, use_dora=True),
    "lora-bias": lora(("linear", "conv1d_of_gpt2"), "lora+add", r=3, lora_bias=True),
    "bdlora": lora(
        r=4,
        use_bdlora=peft.BdLoraConfig(target_modules_bd_a=["linear"], target_modules_bd_b=["unb"], nblocks=2),
    ),
    "pissa": lora(words=None, r=4, lora_alpha=8, init_lora_weights="pissa"),
    "olora": lora(words=None, r=4, lora_alpha=12, init_lora_weights="olora"),
    "kasa": lora(words=None, r=3, lora_alpha=6, kasa_config=peft.KasaConfig()),
    "mica": lora(r=4, init_lora_weights="mica"),
    "velora": lora(r=4, velora_config=peft.VeloraConfig()),
    "osf": case("OSF", None, peft.OSFConfig, effective_rank=5),
    "vera": case("VERA", "vera", peft.VeraConfig, LINEARS, r=4),
    "loha": case("LOHA", "loha", peft.LoHaConfig, (*PLAIN, "conv1d", "conv2d"), r=4, alpha=6),
    "lokr": case("LOKR", "lokr", peft.LoKrConfig, (*PLAIN, "conv2d"), r=4, alpha=6),
    "lokr-factors": case("LOKR", "lokr", peft.LoKrConfig, (*PLAIN, "conv2d"), r=2, decompose_both=True),
    "oft": case("OFT", "oft", peft.OFTConfig, (*PLAIN, "embedding"), oft_block_size=4),
    "oft-exact": case("OFT", "oft", peft.OFTConfig, oft_block_size=4, use_cayley_neumann=False),
    "oft-shared": case("OFT", "oft", peft.OFTConfig, oft_block_size=8, block_share=True, coft=True, eps=0.5),
    "ia3": case(
        "IA3",
        "ia3+ia3_input",
        peft.IA3Config,
        (*LINEARS, "conv2d", "conv3d"),
        feedforward_modules=["unbiased", "conv3d"],
    ),
    "hra": case("HRA", "hra", peft.HRAConfig, (*PLAIN, "conv2d"), r=4),
    "hra-orthogonal": case("HRA", "hra", peft.HRAConfig, (*PLAIN, "conv2d"), r=4, apply_GS=True),
    "shira": case("SHIRA", "sparse", peft.ShiraConfig, r=2),
    "adalora": case("ADALORA", "adalora", peft.AdaLoraConfig, LINEARS, init_r=4, target_r=2, total_step=9),
    "adalora-alpha": case(
        "ADALORA", "adalora", peft.AdaLoraConfig, LINEARS, init_r=6, total_step=9, lora_alpha=32
    ),
    "delora": case("DELORA", "delora", peft.DeloraConfig, r=4, delora_lambda=5),
    "pvera": case("PVERA", "pvera", peft.PveraConfig, LINEARS, r=4),
    "randlora": case("RANDLORA", "randlora", peft.RandLoraConfig, LINEARS, r=4, randlora_alpha=8),
    "tinylora": case("TINYLORA", "tinylora", peft.TinyLoraConfig, TABLES, r=3, u=5),
    "tinylora-tied": case("TINYLORA", "tinylora", peft.TinyLoraConfig, TABLES, r=2, u=3, weight_tying=0.5),
    "vblora": case("VBLORA", "vblora", peft.VBLoRAConfig, LINEARS, r=2, num_vectors=10, vector_length=8),
    "vblora-kept": case(
        "VBLORA",
        "vblora",
        peft.VBLoRAConfig,
        LINEARS,
        r=3,
        topk=3,
        num_vectors=10,
        vector_length=4,
        save_only_topk_weights=True,
    ),
    "unilora": case("UNILORA", "unilora", peft.UniLoraConfig, LINEARS, r=4, save_indices=True),
    "gralora": case("GRALORA", "gralora", peft.GraloraConfig, LINEARS, r=4, gralora_k=2),
    "gralora-hybrid": case(
        "GRALORA", "gralora", peft.GraloraConfig, LINEARS, r=8, gralora_k=4, hybrid_r=3, alpha=20
    ),
    "hira": case("HIRA", "hira", peft.HiraConfig, (*TABLES, *CONVOLUTIONS), r=3),
    "fourierft": case("FOURIERFT", "fourierft", peft.FourierFTConfig, LINEARS, n_frequency=40),
    "fourierft-seed": case(
        "FOURIERFT", "fourierft", peft.FourierFTConfig, n_frequency=300, random_loc_seed=3, scaling=20.0
    ),
    "waveft": case("WAVEFT", "waveft", peft.WaveFTConfig, LINEARS, n_frequency=60, scaling=2.0),
    "waveft-db3": case(
        "WAVEFT",
        "waveft",
        peft.WaveFTConfig,
        n_frequency=60,
        scaling=2.0,
        wavelet_family="db3",
        random_loc_seed=1,
    ),
    "waveft-coif1": case(
        "WAVEFT", "waveft", peft.WaveFTConfig, n_frequency=99, scaling=2.0, wavelet_family="coif1"
    ),
    "waveft-places": case(
        "WAVEFT", "sparse_flat", peft.WaveFTConfig, n_frequency=60, scaling=2.0, use_idwt=False
    ),
    "glora": case("GLORA", "glora+glora_weight", peft.GloraConfig, r=3),
    "glora-vectors": case(
        "GLORA",
        "glora_scaled+glora_scaled_weight",
        peft.GloraConfig,
        config_A_B="vector",
        config_C="vector",
        config_D_E="vector",
    ),
    "glora-constants": case(
        "GLORA",
        "glora_scaled+glora_scaled_weight",
        peft.GloraConfig,
        r=2,
        config_A_B="constant",
        config_D_E="constant",
    ),
    "glora-bias": case("GLORA", "glora_scaled", peft.GloraConfig, ("linear",), r=2, config_A_B="none"),
    "peanut": case("PEANUT", "peanut", peft.PeanutConfig, r=4, depth=0, scaling=0.5),
    "peanut-deep": case("PEANUT", "peanut", peft.PeanutConfig, r=4, depth=2, act_fn="gelu", scaling=0.5),
    "peanut-silu": case("PEANUT", "peanut", peft.PeanutConfig, r=3, depth=1, act_fn="silu", scaling=0.5),
    "c3a": case("C3A", "c3a", peft.C3AConfig, block_size=8),
    "miss": case("MISS", "miss", peft.MissConfig, r=5),
    "miss-mini": case("MISS", "miss", peft.MissConfig, r=4, init_weights="mini", mini_r=8),
    "miss-bat": case("MISS", "miss_bat", peft.MissConfig, r=4, init_weights="bat"),
    "supertuning": case("SUPERTUNING", "sparse_flat", peft.SupertuningConfig, sparsity=0.9),
    "supertuning-lora": case(
        "SUPERTUNING", "sparse_flat+lora", peft.SupertuningConfig, sparsity=0.95, r=3, select_top=False
    ),
    "trainable_tokens": case(
        "TRAINABLE_TOKENS", "rows", peft.TrainableTokensConfig, ("embedding",), token_indices=[5, 1, 9]
    ),
    "ln_tuning": case("LN_TUNING", "replace", peft.LNTuningConfig, ("norm",)),
    "beft": case("BEFT", "beft", peft.BeftConfig, ("linear",)),
    "boft": case("BOFT", "boft", peft.BOFTConfig, (*PLAIN, "conv2d"), boft_block_size=4),
    "road": case("ROAD", "road", peft.RoadConfig, group_size=8),
    "road-2": case("ROAD", "road", peft.RoadConfig, group_size=4, variant="road_2"),
    "road-4": case("ROAD", "road", peft.RoadConfig, group_size=8, variant="road_4"),
    "deft": case("DEFT", "deft", peft.DeftConfig, LINEARS, r=4),
    "deft-qr": case("DEFT", "deft", peft.DeftConfig, LINEARS, r=4, alpha=8, decomposition_method="qr"),
    "deft-para": case("DEFT", "deft", peft.DeftConfig, LINEARS, r=3, para=True),
    "deft-para-qr": case("DEFT", "deft", peft.DeftConfig, LINEARS, r=3, para=True, decomposition_method="qr"),
    "frod": case("FROD", "frod", peft.FrodConfig, LINEARS, sparse_rate=0.05, progressbar=False),
}


# Each kind of layer, and which input it takes.
KINDS = {
    "linear": (lambda: torch.nn.Linear(24, 16), "x"),
    "unbiased": (lambda: torch.nn.Linear(24, 32, bias=False), "x"),
    "conv1d_of_gpt2": (lambda: transformers.pytorch_utils.Conv1D(16, 24), "x"),
    "embedding": (lambda: torch.nn.Embedding(20, 24), "ids"),
    "conv1d": (lambda: torch.nn.Conv1d(4, 8, 3, padding=1), "signal"),
    "conv2d": (lambda: torch.nn.Conv2d(4, 8, 3, padding=1), "image"),
    "conv3d": (lambda: torch.nn.Conv3d(4, 8, 2), "volume"),
    "norm": (lambda: torch.nn.LayerNorm(24), "x"),
}


class Layers(torch.nn.Module):
    """A layer of each of these kinds beside the others, each with an output of its own."""

    def __init__(self, kinds):
        super().__init__()
        self.kinds = kinds
        for kind in kinds:
            setattr(self, kind, KINDS[kind][0]())

    def forward(self, *values):
        by_name = dict(zip(inputs_of(self.kinds), values, strict=True))
        return tuple(getattr(self, kind)(by_name[KINDS[kind][1]]) for kind in self.kinds)


def inputs_of(kinds):
    """Names of the inputs that layers of these kinds have, each once."""
    return list(dict.fromkeys(KINDS[kind][1] for kind in kinds))


ROWS = 6


def inputs():
    generator = torch.Generator().manual_seed(5)

    def draw(*shape):
        return torch.randn(ROWS, *shape, generator=generator)

    ids = torch.arange(ROWS * 3).reshape(ROWS, 3) % 20
    return {
        "x": draw(3, 24),
        "ids": ids,
        "signal": draw(4, 7),
        "image": draw(4, 6, 5),
        "volume": draw(4, 4, 3, 5),
    }


def trained(base, name, seed=1):
    """PEFT's model with random adapters, none of their tensors at its no-op value."""
    torch.manual_seed(seed)
    model = peft.get_peft_model(copy.deepcopy(base), METHODS[name].config())
    for key, parameter in model.named_parameters():
        if parameter.requires_grad or "vera" in key:
            parameter.data = parameter.data + 0.3 * torch.randn_like(parameter)
    return model.eval()
