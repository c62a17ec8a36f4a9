# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Claims (test_claims.py) on real architectures: models in several graphs, folded norms, tied tables, against
PEFT. By default one or two of each kind, the rest is marked `full`."""

import claimed
import claimed_models
import product
import pytest
import tiny
from claimed import Case, assert_answers, cases, every
from tolerance import assert_agrees

# ----------------------------------------------------------------------------------- models of several graphs

# Linears, and the parts that are graphs of their own, with the path of each in the whole model.
SPLIT = {
    "bart": (["q_proj", "v_proj", "fc1"], ("encoder", "decoder")),
    "t5": (["q", "v", "wi"], ("encoder", "decoder")),
    "clip": (["q_proj", "v_proj", "out_proj", "fc1"], ("text", "vision")),
}
PLACES = {"encoder": "encoder", "decoder": "decoder", "text": "text_model", "vision": "vision_model"}


def side(model, half):
    """Linears of one half, or of both."""
    linears, halves = SPLIT[model]
    if half == "both":
        return {"target_modules": linears}
    return {"target_modules": rf".*\b{PLACES[halves[half == 'second']]}\..*\.({'|'.join(linears)})"}


HALVES = ("both", "first", "second")


@pytest.mark.parametrize("model, half", cases(every(SPLIT, HALVES), ("bart", "both"), ("t5", "second")))
def test_one_graph_of_both_halves(made, tmp_path, model, half):
    case = Case(made, model, tmp_path, **side(model, half))
    case.holds(made.graph(model))
    case.proved(made.graph(model))


NAMES = {
    "said": lambda half: f"{PLACES[half]}_model.onnx",
    "nothing": lambda half: f"m{list(PLACES).index(half)}.onnx",
}


@pytest.mark.parametrize(
    "model, half, names",
    cases(
        every(SPLIT, HALVES, NAMES),
        ("bart", "both", "said"),
        ("t5", "first", "nothing"),
        ("clip", "both", "nothing"),
    ),
)
def test_each_half_in_its_own_graph(made, tmp_path, model, half, names):
    """Paths of both begin at `layers`. What is in a file decides, not its name; without the base nothing."""
    case, halves = Case(made, model, tmp_path, **side(model, half)), SPLIT[model][1]
    (tmp_path / "in").mkdir()
    for each in halves:
        (tmp_path / "in" / NAMES[names](each)).symlink_to(made.graph(model, each))
    case.refused(tmp_path / "in", mentions=["the graph has no such module", "--map", "--ignore-missing"])
    product.opt(
        tmp_path / "in", f"--adapter=x={case.folder}", case.own, "--require-proof", "-o", tmp_path / "out"
    )
    for index, each in enumerate(halves):
        part, path = claimed_models.part(model, each), tmp_path / "out" / NAMES[names](each)
        if half in ("both", HALVES[1 + index]):
            assert_answers(path, part, case.want, case.base)
        else:
            assert_agrees(tiny.answer(path, part.numpy(path)), part.output(case.base))
    case.refused(tmp_path / "in", case.other, "--require-proof", mentions=["no such module"])


@pytest.mark.parametrize("model", cases([(each,) for each in SPLIT], ("bart",)))
def test_one_half_alone(made, tmp_path, model):
    halves = SPLIT[model][1]
    case = Case(made, model, tmp_path, **side(model, "both"))
    for half, absent in (halves, reversed(halves)):
        graph, missing = made.graph(model, half), f"--ignore-missing=*{PLACES[absent]}.*"
        case.refused(graph, mentions=["no such module", "--ignore-missing"])
        case.refused(
            graph, case.own, mentions=[f"{PLACES[absent]}.", "nor by the base's contents", "--ignore-missing"]
        )
        case.refused(graph, missing, mentions=[f"{PLACES[half]}.", "--map"])
        case.holds(graph, case.own, missing, "--require-proof", part=half)


@pytest.mark.parametrize("model", cases([("bart",), ("t5",)], ("t5",)))
def test_a_decoder_that_keeps_its_path(made, tmp_path, model):
    case, graph = Case(made, model, tmp_path, **side(model, "both")), made.graph(model, "prefixed")
    case.refused(graph, mentions=["encoder.", "--ignore-missing"])
    case.holds(graph, "--ignore-missing=*encoder.*", part="prefixed")
    one = Case(made, model, tmp_path / "one", **side(model, "second"))
    one.holds(graph, part="prefixed")


@pytest.mark.parametrize("model", cases([("bart",), ("t5",)], ("t5",)))
def test_trained_tokens_of_a_shared_table(made, tmp_path, model):
    """Both halves look up in it."""
    fields = dict(target_modules=SPLIT[model][0], trainable_token_indices={"shared": [3, 40, 50]})
    case = Case(made, model, tmp_path, **fields)
    graphs = [made.graph(model, half) for half in ("encoder", "decoder")]
    product.opt(*graphs, f"--adapter=x={case.folder}", case.own, "--require-proof", "-o", tmp_path / "out")
    for half in ("encoder", "decoder"):
        path = tmp_path / "out" / made.graph(model, half).name
        assert_answers(path, claimed_models.part(model, half), case.want, case.base)


@pytest.mark.parametrize("model", cases([("bart",), ("t5",)]))
@pytest.mark.parametrize("what", ["head", "norms", "dora"])
def test_other_updates_of_a_sequence_model(made, tmp_path, model, what):
    linears, norms = SPLIT[model][0], ["final_layer_norm" if model == "bart" else "layer_norm"]
    fields = {
        "head": {"target_modules": ["lm_head"]},
        "norms": {"target_modules": linears, "modules_to_save": norms},
        "dora": {"target_modules": linears, "use_dora": True},
    }[what]
    case = Case(made, model, tmp_path, **fields)
    case.holds(made.graph(model))
    case.holds(made.graph(model), case.own)


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
