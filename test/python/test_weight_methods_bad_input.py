# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Folders of PEFT's methods (weight_methods.py) that are damaged or do not fit: one line that names what."""

import json
import warnings

import product
import pytest
import torch
import weight_methods
from safetensors.torch import load_file, save_file

M = "base_model.model.linear."


def put(key, value):
    return lambda tensors, config: tensors.update({key: value})


def drop(key):
    return lambda tensors, config: tensors.pop(key)


def field(**fields):
    return lambda tensors, config: config.update(fields)


def change(key, function):
    return lambda tensors, config: tensors.update({key: function(tensors[key])})


# The case of weight_methods.METHODS, what is done to its folder, and what the message names.
BAD = {
    "adalora-rank": ("adalora", put(M + "lora_E", torch.ones(5, 1)), ["lora_E", "[5, 1]", "r = 4"]),
    "adalora-scale": ("adalora", field(init_r=0), ["init_r"]),
    "adalora-missing": ("adalora", drop(M + "lora_E"), ["'E' is missing", "adalora"]),
    "adalora-dora": ("adalora", field(use_dora=True), ["use_dora"]),
    "delora-size": ("delora", put(M + "delora_w_norm", torch.ones(23)), ["delora_w_norm", "[23]"]),
    "pvera-draws": ("pvera", field(sample_at_inference=True), ["sample_at_inference"]),
    "pvera-shared": ("pvera", drop("base_model.pvera_A"), ["'A' is missing"]),
    "randlora-copy": (
        "randlora",
        change(M + "randlora_A", lambda t: t + 1),
        ["randlora_A", "other numbers"],
    ),
    "tinylora-drawn": (
        "tinylora",
        change(M + "tinylora_P", lambda t: t + 1),
        ["tinylora_P", "projection_seed"],
    ),
    "tinylora-tying": ("tinylora", field(weight_tying=-1e300), ["weight_tying"]),
    "tinylora-seed": ("tinylora", field(projection_seed=1e300), ["projection_seed"]),
    "tinylora-shared": ("tinylora", drop("base_model.tinylora_v.0"), ["'v.0'", "missing"]),
    "tinylora-spare": (
        "tinylora",
        put("base_model.tinylora_v.9", torch.ones(5)),
        ["tinylora_v.9", "no module"],
    ),
    "vblora-tie": ("vblora", change(M + "vblora_logits_A", torch.zeros_like), ["logits_A", "equal logits"]),
    "vblora-topk": ("vblora", field(topk=0), ["topk"]),
    "unilora-places": (
        "unilora",
        change(M + "unilora_indices_A", lambda t: t * 0 + 999),
        ["'unilora'", "beyond a tensor"],
    ),
    "gralora-hybrid": ("gralora", field(hybrid_r=2), ["hybrid_r"]),
    "gralora-blocks": ("gralora", put(M + "gralora_A", torch.ones(2, 11, 4)), ["gralora", "k * p == cols"]),
    "hira-shape": ("hira", put(M + "hira_B", torch.ones(16, 2)), ["hira_B", "[16, 2]"]),
    "c3a-blocks": ("c3a", put(M + "c3a_kernel", torch.ones(2, 3, 7)), ["tall * b == out"]),
    "miss-kind": ("miss", field(init_weights="bat"), ["miss_block", "init_weights"]),
    "miss-word": ("miss", field(init_weights="bit"), ["init_weights", "'bit'"]),
    "supertuning-places": ("supertuning", drop(M + "supertuning_indices"), ["save_precomputed_indices"]),
    "supertuning-beyond": (
        "supertuning",
        change(M + "supertuning_indices", lambda t: t + 10**6),
        ["'sparse_flat'"],
    ),
    "tokens-count": ("trainable_tokens", field(token_indices=[1]), ["token_indices"]),
    "boft-odd": ("boft", put(M + "boft_R", torch.ones(1, 8, 3, 3)), ["boft_R", "odd"]),
    "boft-levels": ("boft", put(M + "boft_R", torch.ones(7, 6, 4, 4)), ["boft_R", "n <= 6"]),
    "road-variant": ("road", field(variant="road_3"), ["variant", "road_3"]),
    "road-groups": ("road", field(group_size=6), ["out mod group_size == 0"]),
    "deft-word": ("deft", field(decomposition_method="svd"), ["decomposition_method", "'svd'"]),
    "deft-alone": ("deft", field(para=True), ["para"]),
    "frod-basis": ("frod", drop("base_model.frod_V.linear"), ["'V.linear'", "missing"]),
    "fourierft-many": ("fourierft", put(M + "fourierft_spectrum", torch.ones(400)), ["fourierft_spectrum"]),
    "fourierft-seed": ("fourierft", field(random_loc_seed=1.5), ["random_loc_seed"]),
    "waveft-name": ("waveft", field(wavelet_family="db99"), ["wavelet_family", "db99"]),
    "glora-part": ("glora", drop(M + "glora_B.Xu"), ["glora_B.Xu"]),
    "glora-zeros": (
        "glora-bias",
        change(M + "glora_A.zeros", lambda t: t + 1),
        ["glora_A.zeros", "not zero"],
    ),
    "peanut-function": ("peanut", field(act_fn="softsign"), ["act_fn", "softsign"]),
    "peanut-numbers": (
        "peanut-deep",
        lambda t, c: t.update({M + "peanut_encoders.5.weight": t.pop(M + "peanut_encoders.1.weight")}),
        ["peanut_encoders", "numbered"],
    ),
    "osf-sizes": ("osf", put(M + "osf_svd_params.S_low", torch.ones(3)), ["S_low", "[3]"]),
    "kasa-diagonal": ("kasa", drop(M + "lora_diag"), ["kasa_config", "lora_diag"]),
    "pissa-shape": ("pissa", put(M + "lora_A.weight", torch.ones(4, 20)), ["lora_A"]),
    "bdlora-blocks": (
        "bdlora",
        field(use_bdlora={"nblocks": 3, "target_modules_bd_a": ["linear"]}),
        ["lora_A", "3 blocks"],
    ),
    "bdlora-neither": ("bdlora", field(use_bdlora={"nblocks": 2}), ["use_bdlora", "neither"]),
    "a-field": ("road", field(road_alpha=2), ["road_alpha", "unknown"]),
    "a-tensor": ("road", put(M + "road_gamma", torch.ones(8)), ["road_gamma"]),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A method's folder and the graph that it is for, each once."""
    folder, known = tmp_path_factory.mktemp("bad"), {}

    def make(name):
        if name not in known:
            kinds = weight_methods.METHODS[name].kinds
            base, names = weight_methods.Layers(kinds).eval(), weight_methods.inputs_of(kinds)
            values = tuple(weight_methods.inputs()[each] for each in names)
            graph = folder / f"{name}.onnx"
            torch.onnx.export(base, values, graph, input_names=names, output_names=list(kinds), dynamo=False)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                weight_methods.trained(base, name).save_pretrained(folder / name)
            known[name] = (graph, folder / name)
        return known[name]

    return make


@pytest.mark.parametrize("case", BAD)
def test_is_refused(made, tmp_path, case):
    name, damage, mentions = BAD[case]
    graph, source = made(name)
    tensors = load_file(source / "adapter_model.safetensors")
    config = json.loads((source / "adapter_config.json").read_text())
    damage(tensors, config)
    save_file(
        {key: value.contiguous() for key, value in tensors.items()}, tmp_path / "adapter_model.safetensors"
    )
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    words = [graph, "--adapter", f"x={tmp_path}", "-o", tmp_path / "merged.onnx"]
    product.refused("adapter-opt", *words, mentions=mentions)
    assert not (tmp_path / "merged.onnx").exists()
