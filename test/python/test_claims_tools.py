# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Claims on graphs that tools made of an export (the GenAI model builder's names, ONNX Runtime's optimisers),
and on graphs and checkpoints of different element types, against PEFT."""

import claimed
import numpy as np
import onnx
import onnxruntime
import product
import pytest
import renamed
import tiny
import torch
import zoo
from claimed import Case, cases, every
from tolerance import assert_agrees

# ------------------------------------------------------------------------------ renamed and fused projections

LINEARS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
# phi3 is fused before any tool sees it.
OF = {"llama": LINEARS, "qwen2": LINEARS, "phi3": ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"]}
UPDATES = {
    "lora": lambda all: {"target_modules": all},
    "some": lambda all: {"target_modules": [all[0], "down_proj"]},
    "dora": lambda all: {"target_modules": all, "use_dora": True},
    "square": lambda all: {"target_modules": ["down_proj"], "modules_to_save": ["o_proj"]},
    "fused": lambda all: {"target_modules": ["down_proj"], "modules_to_save": [all[0]]},
    "norms": lambda all: {"target_modules": ["down_proj"], "modules_to_save": ["input_layernorm", "norm"]},
    "tables": lambda all: {"target_modules": ["lm_head", "embed_tokens"]},
    "biases": lambda all: {"target_modules": all, "bias": "lora_only"},
}
KINDS = ("renamed", "fused", "builder")


@pytest.mark.parametrize(
    "model, update, kind",
    cases(
        [each for each in every(OF, UPDATES, KINDS) if each[1] != "biases" or each[0] == "qwen2"],
        ("llama", "lora", "builder"),
        ("llama", "square", "builder"),
        ("phi3", "fused", "renamed"),
        ("qwen2", "biases", "fused"),
    ),
)
def test_names_of_a_builder_or_none(made, tmp_path, model, update, kind):
    case = Case(made, model, tmp_path, **UPDATES[update](OF[model]))
    graph = renamed.rewrite(made.graph(model), tmp_path / "graph.onnx", kind)
    if kind == "builder":
        case.holds(graph)
        case.proved(graph)
        return
    # Of a graph without names nothing can be told but that the base is not in it.
    module = "lm_head" if update == "tables" else "model.layers.0."
    case.refused(graph, mentions=[module, "--base"])
    case.proved(graph, otherwise=[module, "by the base's contents"])


@pytest.mark.parametrize("kind", ["fused", "builder"])
def test_dora_of_a_part_is_refused(made, tmp_path, kind):
    """The norms of the rest are the base's."""
    case = Case(made, "llama", tmp_path, target_modules=["q_proj", "gate_proj"], use_dora=True)
    graph = renamed.rewrite(made.graph("llama"), tmp_path / "graph.onnx", kind)
    case.refused(graph, case.own, mentions=["gate_proj", "rescales", "export without fusing"])


# ---------------------------------------------------------------------------------- ONNX Runtime's optimisers

OPTIMISED = {
    "bert": dict(
        linears=["query", "key", "value", "dense"],
        norm="LayerNorm",
        head="classifier",
        table="word_embeddings",
    ),
    "gpt2": dict(linears=["c_attn", "c_proj", "c_fc"], norm="ln_2", head="lm_head", table="wte"),
}
LEVELS = {"basic": "ORT_ENABLE_BASIC", "extended": "ORT_ENABLE_EXTENDED", "transformers": None}


def optimised(source, target, level, model):
    if LEVELS[level] is None:
        optimizer = pytest.importorskip("onnxruntime.transformers.optimizer")
        with zoo.quiet():
            found = optimizer.optimize_model(
                str(source), model_type=model, num_heads=2, hidden_size=16, opt_level=0
            )
            found.save_model_to_file(str(target))
        return target
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, LEVELS[level])
    options.optimized_model_filepath = str(target)
    onnxruntime.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])
    return target


def optimised_update(model, update):
    it = OPTIMISED[model]
    return {"target_modules": it["linears"]} | {
        "lora": {},
        "dora": {"use_dora": True},
        "norms": {"modules_to_save": [it["norm"]]},
        "head": {"modules_to_save": [it["head"]]},
        "biases": {"bias": "lora_only"},
        "new-biases": {"lora_bias": True},
        "table": {"target_modules": [*it["linears"], it["table"]]},
        "tokens": {"trainable_token_indices": {it["table"]: [3, 40, 50]}},
    }[update]


ON_OPTIMISED = ("lora", "dora", "norms", "head", "biases", "new-biases", "table", "tokens")


@pytest.mark.parametrize(
    "model, update, level",
    cases(
        every(OPTIMISED, ON_OPTIMISED, LEVELS),
        ("bert", "lora", "basic"),
        ("bert", "norms", "extended"),
        ("bert", "head", "transformers"),
        ("gpt2", "lora", "transformers"),
        ("gpt2", "tokens", "extended"),
    ),
)
def test_optimised_graphs(made, tmp_path, model, update, level):
    case = Case(made, model, tmp_path, **optimised_update(model, update))
    graph = optimised(made.graph(model), tmp_path / "graph.onnx", level, model)
    case.holds(graph)
    case.proved(graph)


@pytest.mark.parametrize(
    "model, update, level, mode",
    cases(
        every(
            OPTIMISED, ("lora", "norms", "table"), ("extended", "transformers"), ("build", "switch", "row")
        ),
        ("bert", "lora", "extended", "row"),
        ("bert", "norms", "transformers", "switch"),
        ("gpt2", "lora", "transformers", "row"),
    ),
)
def test_optimised_graphs_compiled(made, tmp_path, model, update, level, mode):
    case = Case(made, model, tmp_path, **optimised_update(model, update))
    graph = optimised(made.graph(model), tmp_path / "graph.onnx", level, model)
    case.compiled(mode, graph)


# ONNX Runtime drops what torch's default exporter says about modules. What is left are names of initialisers.
@pytest.mark.full
@pytest.mark.parametrize("model, level", every(OPTIMISED, ("basic", "extended")))
@pytest.mark.parametrize("update", ["lora", "dora", "norms", "biases"])
def test_optimised_graphs_without_modules(made, tmp_path, model, level, update):
    case = Case(made, model, tmp_path, **optimised_update(model, update))
    graph = optimised(made.graph(model, exporter="dynamo"), tmp_path / "graph.onnx", level, model)
    case.proved(graph)


# ---------------------------------------------------------------------------------------------- element types

NARROW = {"f16": torch.float16, "bf16": torch.bfloat16, "f32": torch.float32}
NARROW_UPDATES = {
    "lora": {"target_modules": ["q_proj", "v_proj", "down_proj"]},
    "norms": {"target_modules": ["q_proj"], "modules_to_save": ["input_layernorm", "norm"]},
    "table": {"target_modules": ["embed_tokens", "q_proj"]},
}


class Narrow(Case):
    """A model whose numbers were rounded to `graph`, and a checkpoint of it in the type `base`."""

    def __init__(self, made, folder, graph, base, **fields):
        super().__init__(made, "llama", folder, **fields)
        self.base = made.make("llama").to(NARROW[graph]).float()
        self.want = claimed.adapted(made.make("llama").to(NARROW[graph]).float(), self.folder, **fields)
        self.own = claimed.saved(made.make("llama").to(NARROW[graph]).to(NARROW[base]), folder / "base")


@pytest.mark.parametrize(
    "graph, base, update",
    cases(
        [
            each
            for each in every(("f16", "bf16"), NARROW, NARROW_UPDATES)
            if each[0] == each[1] or each[1] == "f32"
        ],
        ("bf16", "f32", "lora"),
        ("f16", "f16", "norms"),
    ),
)
def test_rounded_numbers_in_a_wide_graph(made, tmp_path, graph, base, update):
    case = Narrow(made, tmp_path, graph, base, **NARROW_UPDATES[update])
    path = made.part("llama").export(made.make("llama").to(NARROW[graph]).float(), tmp_path / "m.onnx")
    case.proved(path)


@pytest.mark.parametrize(
    "base, update", cases(every(NARROW, NARROW_UPDATES), ("f32", "lora"), ("bf16", "norms"))
)
def test_a_graph_of_f16(made, tmp_path, base, update):
    """With a base in f32, f16 or bf16, from which the model was made. The sums are f16 too."""
    case = Case(made, "llama", tmp_path, **NARROW_UPDATES[update])
    model = made.make("llama").to(NARROW[base])
    case.own = claimed.saved(model, tmp_path / "base")
    path = made.part("llama").export(model.to(torch.float16), tmp_path / "m.onnx")
    base_model = model.float()
    plain = made.part("llama").output(base_model)
    want = made.part("llama").output(claimed.adapted(base_model, case.folder, **NARROW_UPDATES[update]))
    product.opt(
        path, f"--adapter=x={case.folder}", case.own, "--require-proof", "-o", tmp_path / "merged.onnx"
    )
    y = tiny.answer(tmp_path / "merged.onnx", made.part("llama").numpy(path))
    assert y.dtype == np.float16
    assert_agrees(y.astype(np.float32), want, tolerance=2e-3)
    assert np.abs(want - plain).max() > 20 * 2e-3 * np.abs(want).max()
    case.refused(path, case.other, "--require-proof", mentions=["llama-5"])


@pytest.mark.full
@pytest.mark.parametrize("base", NARROW)
def test_a_graph_of_bf16(made, tmp_path, base):
    """ONNX Runtime's CPU has no bf16: the merged table itself is compared."""
    case = Case(made, "llama", tmp_path, **NARROW_UPDATES["table"])
    model, merged = made.make("llama").to(torch.bfloat16), tmp_path / "merged.onnx"
    path = made.part("llama").export(model, tmp_path / "m.onnx", "dynamo")
    own = claimed.saved(model.to(NARROW[base]), tmp_path / "base")
    product.opt(path, f"--adapter=x={case.folder}", own, "--require-proof", "-o", merged)
    (tensor,) = [t for t in onnx.load(merged).graph.initializer if t.name.endswith("embed_tokens.weight")]
    assert tensor.data_type == onnx.TensorProto.BFLOAT16
    delta = case.want.base_model.model.model.embed_tokens.get_delta_weight("default").detach().numpy()
    want = model.float().model.embed_tokens.weight.detach().numpy() + delta
    assert_agrees(onnx.numpy_helper.to_array(tensor).astype(np.float32), want, tolerance=2**-8)
    case.refused(path, case.other, "--require-proof", mentions=["llama-5"])


# ---------------------------------------------------------------------------------------------- compiled code


@pytest.mark.parametrize(
    "name, mode",
    # A slot of a fused module has no room for an adapter of the modules in it.
    cases(
        [
            (n, m)
            for n, m in every(("builder", "fused", "optimised"), claimed.MODES)
            if m != "slot" or n == "optimised"
        ],
        ("fused", "row"),
    ),
)
def test_compiled(made, tmp_path, name, mode):
    model = "bert" if name == "optimised" else "llama"
    linears = OPTIMISED["bert"]["linears"] if name == "optimised" else LINEARS
    case = Case(made, model, tmp_path, target_modules=linears)
    graph = tmp_path / "graph.onnx"
    if name == "optimised":
        optimised(made.graph(model), graph, "basic", model)
    else:
        renamed.rewrite(made.graph(model), graph, name)
    case.compiled(mode, graph, case.own)
