# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Claims (test_claims.py) on real architectures: folded norms, tied tables, convolutions, against PEFT.
By default one or two of each kind, the rest is marked `full`."""

import claimed
import pytest
from claimed import Case, cases, every
from claimed_models import side

# ---------------------------------------------------------------------------------- norms that are 1 + weight

LINEARS = ["q_proj", "v_proj", "down_proj"]
FOLDED = ("gemma", "gemma2", "gemma3", "nemotron")
NORMS = {"inner": ["input_layernorm"], "last": ["norm"], "qk": ["q_norm", "k_norm"]}


@pytest.mark.parametrize(
    "model, norms, exporter",
    cases(
        [
            (m, n, e)
            for m, n, e in every(FOLDED, NORMS, ("torchscript", "dynamo"))
            if n != "qk" or m == "gemma3"
        ],
        ("gemma", "last", "torchscript"),
        ("nemotron", "inner", "torchscript"),
        ("gemma3", "qk", "torchscript"),
    ),
)
def test_one_plus_weight(made, tmp_path, model, norms, exporter):
    """The exporters fold the sum into a constant without a name."""
    case = Case(made, model, tmp_path, target_modules=LINEARS, modules_to_save=NORMS[norms])
    graph = made.graph(model, exporter=exporter)
    case.refused(graph, mentions=["1 + weight", "model.layers.0." if norms != "last" else "norm", "--base"])
    case.proved(graph)


@pytest.mark.parametrize(
    "model, exporter", cases(every(FOLDED, ("torchscript", "dynamo")), ("gemma", "torchscript"))
)
def test_linears_beside_folded_norms(made, tmp_path, model, exporter):
    case = Case(made, model, tmp_path, target_modules=LINEARS)
    case.holds(made.graph(model, exporter=exporter))
    case.proved(made.graph(model, exporter=exporter))


# ------------------------------------------------------------------------------------------------ tied tables

TIED = {
    "table": {"target_modules": ["embed_tokens"]},
    "head": {"target_modules": ["lm_head"]},
    "both": {"target_modules": ["embed_tokens", "lm_head", "q_proj"]},
    "tokens": {"target_modules": LINEARS, "trainable_token_indices": [3, 40, 50]},
    "saved": {"target_modules": LINEARS, "modules_to_save": ["lm_head"]},
}


@pytest.mark.parametrize(
    "what, exporter",
    cases(
        every(TIED, ("torchscript", "dynamo")),
        *[(what, "torchscript") for what in ("table", "both", "tokens")],
    ),
)
def test_a_tied_model(made, tmp_path, what, exporter):
    """Its checkpoint lists one table."""
    case, graph = Case(made, "tied", tmp_path, **TIED[what]), made.graph("tied", exporter=exporter)
    case.holds(graph)
    case.proved(graph)


# ----------------------------------------------------------------------------------------------- convolutions

IMAGES = {
    "lora": {"target_modules": ["convolution"]},
    "dora": {"target_modules": ["convolution"], "use_dora": True},
    "saved": {
        "target_modules": ["shortcut.convolution"],
        "modules_to_save": ["embedder.embedder.convolution"],
    },
}


@pytest.mark.parametrize(
    "what, exporter", cases(every(IMAGES, ("torchscript", "dynamo")), ("lora", "torchscript"))
)
def test_convolutions_with_a_folded_norm(made, tmp_path, what, exporter):
    case, graph = Case(made, "resnet", tmp_path, **IMAGES[what]), made.graph("resnet", exporter=exporter)
    case.refused(
        graph, mentions=["resnet.embedder.embedder.convolution", "normalisation is folded", "--base"]
    )
    case.proved(graph)


@pytest.mark.full
@pytest.mark.parametrize("exporter", ["torchscript", "dynamo"])
def test_a_folded_norm_that_was_saved_is_refused(made, tmp_path, exporter):
    case = Case(made, "resnet", tmp_path, target_modules=["classifier.1"], modules_to_save=["normalization"])
    graph = made.graph("resnet", exporter=exporter)
    case.refused(graph, mentions=["resnet.embedder.embedder.normalization"])
    case.refused(graph, case.own, mentions=["normalization"])


SPEECH = {
    "linears": {"target_modules": ["q_proj", "v_proj", "intermediate_dense"]},
    "convolutions": {"target_modules": ["conv_layers.0.conv", "conv_layers.1.conv", "q_proj"]},
    "dora": {"target_modules": ["conv_layers.1.conv"], "use_dora": True},
    "saved": {"target_modules": ["projection", "q_proj"], "modules_to_save": ["lm_head", "final_layer_norm"]},
}


@pytest.mark.parametrize(
    "what, exporter",
    cases(
        every(SPEECH, ("torchscript", "dynamo")), ("convolutions", "torchscript"), ("saved", "torchscript")
    ),
)
def test_speech(made, tmp_path, what, exporter):
    case, graph = Case(made, "wav2vec2", tmp_path, **SPEECH[what]), made.graph("wav2vec2", exporter=exporter)
    case.holds(graph)
    case.proved(graph)


def test_a_normalised_convolution_of_groups_is_refused(made, tmp_path):
    graph, module = made.graph("wav2vec2"), "wav2vec2.encoder.pos_conv_embed.conv"
    case = Case(made, "wav2vec2", tmp_path, target_modules=["pos_conv_embed.conv", "q_proj"])
    case.refused(graph, case.own, mentions=[module, "2 groups"])
    saved = dict(target_modules=["q_proj"], modules_to_save=["pos_conv_embed"])
    case = Case(made, "wav2vec2", tmp_path / "saved", **saved)
    case.refused(graph, case.own, mentions=[module, "--ignore-missing"])


# ---------------------------------------------------------------------------------------------- compiled code

# Model, adapter, whether the base must be given, and the forms of a slot that has room for it. CLIP is not
# among them: each of its outputs is of two rows.
COMPILED = {
    "bart": ("bart", side("bart", "both"), False, "lora"),
    "t5": ("t5", side("t5", "second"), False, "lora"),
    "gemma": ("gemma", {"target_modules": LINEARS}, False, "lora"),
    "gemma-norm": ("gemma", {"target_modules": LINEARS, "modules_to_save": ["norm"]}, True, None),
    "nemotron-norm": (
        "nemotron",
        {"target_modules": ["q_proj"], "modules_to_save": NORMS["inner"]},
        True,
        None,
    ),
    "tied": ("tied", TIED["both"], False, "lora+embedding+replace"),
    "tied-tokens": ("tied", TIED["tokens"], False, "lora+rows"),
    "resnet": ("resnet", IMAGES["lora"], True, None),
    "wav2vec2": ("wav2vec2", SPEECH["linears"], False, "lora"),
}


@pytest.mark.parametrize(
    "name, mode",
    cases(
        [(n, m) for n, m in every(COMPILED, claimed.MODES) if m != "slot" or COMPILED[n][3]],
        ("bart", "row"),
        ("gemma-norm", "switch"),
        ("tied-tokens", "slot"),
        ("resnet", "build"),
    ),
)
def test_compiled(made, tmp_path, name, mode):
    model, fields, with_base, forms = COMPILED[name]
    case = Case(made, model, tmp_path, **fields)
    arguments = [case.own] if with_base else []
    case.compiled(mode, made.graph(model), *arguments, forms=forms)
