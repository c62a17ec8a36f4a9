# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Mixtures of experts: transformers' exports raised to adapter.experts, against PyTorch and onnxruntime.

A token whose best experts are nearly equal may be routed otherwise by another order of additions, and is then
far off for a reason that is no error. Rows of a batch with such a token are counted apart.
"""

import functools
import re

import numpy as np
import onnx
import onnxruntime
import peft
import product
import pytest
import torch
import transformers
import zoo
from onnx import TensorProto, helper
from tolerance import assert_agrees, assert_rows_agree

EXPERTS, TOP, HIDDEN = 8, 2, 32
MARGIN = 1e-5  # of the probabilities of the last expert that is chosen and the first that is not

_TEXT = dict(
    vocab_size=zoo.VOCABULARY,
    hidden_size=HIDDEN,
    intermediate_size=40,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=32,
    tie_word_embeddings=False,
)


def _mixtral():
    config = transformers.MixtralConfig(**_TEXT, num_local_experts=EXPERTS, num_experts_per_tok=TOP)
    return transformers.MixtralForCausalLM, config


def _qwen(normalised):
    sizes = dict(num_experts=EXPERTS, num_experts_per_tok=TOP, moe_intermediate_size=24, head_dim=8)
    config = transformers.Qwen3MoeConfig(**_TEXT, **sizes, norm_topk_prob=normalised)
    return transformers.Qwen3MoeForCausalLM, config


MODELS = {"mixtral": _mixtral, "qwen3": lambda: _qwen(True), "qwen3-raw": lambda: _qwen(False)}


def make(name):
    torch.manual_seed(0)
    maker, config = MODELS[name]()
    config._experts_implementation = "batched_mm"
    model = maker(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape) * (0.2 if parameter.dim() > 1 else 0.1))
    return model


def feed(shape):
    return zoo.inputs("mixtral", shape)


def reference(model, inputs):
    """(logits, the smallest margin of any token and layer, row by row of the batch)."""
    margins = []

    def watch(_, __, outputs):
        probabilities = torch.softmax(outputs[0].float(), -1).sort(-1, descending=True).values
        gap = probabilities[:, TOP - 1] - probabilities[:, TOP]
        margins.append(gap.reshape(len(inputs["input_ids"]), -1).min(-1).values)

    routers = [m for n, m in model.named_modules() if n.endswith("mlp.gate")]
    hooks = [router.register_forward_hook(watch) for router in routers]
    with torch.no_grad():
        logits = zoo.forward(model, inputs).numpy()
    for hook in hooks:
        hook.remove()
    assert len(margins) == 2
    return logits, torch.stack(margins).min(0).values.numpy()


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("experts")
    return functools.cache(
        lambda name, exporter: zoo.export(make(name), name, exporter, folder / f"{name}-{exporter}.onnx")
    )


def numpy_feed(inputs):
    return {name: tensor.numpy() for name, tensor in inputs.items()}


@pytest.mark.parametrize("exporter", zoo.EXPORTERS)
@pytest.mark.parametrize("name", MODELS)
def test_models(exported, tmp_path, name, exporter):
    path = exported(name, exporter)
    text = product.opt(path, "--compile-to=optimise", "-o", "-")
    assert (
        len(re.findall(r"adapter\.experts\s+silu", text)) == 2
        and text.count("adapter.route softmax score_first top 2") == 2
    )
    assert ("normalise none" in text) == (name == "qwen3-raw")
    artifact = tmp_path / "model.adapt"
    product.opt(path, "-o", artifact)
    compiled = product.package().load(str(artifact), threads=2)
    session = onnxruntime.InferenceSession(str(path))
    model, near = make(name), 0
    for shape in zoo.FEEDS.values():
        inputs = feed(shape)
        y = compiled(**numpy_feed(inputs))["logits"]
        logits, margins = reference(model, inputs)
        clear = margins > MARGIN
        near += (~clear).sum()
        assert_agrees(y[clear], logits[clear])
        assert_agrees(y[clear], session.run(None, numpy_feed(inputs))[0][clear])
    assert near <= 1, f"{near} of {sum(batch for batch, _ in zoo.FEEDS.values())} rows are near a tie"


def test_onnx_stays(exported, tmp_path):
    """An ONNX file keeps its graph."""
    path = exported("mixtral", "dynamo")
    product.opt(path, "-o", tmp_path / "copy.onnx")
    kinds = [[node.op_type for node in onnx.load(p).graph.node] for p in (path, tmp_path / "copy.onnx")]
    assert kinds[0] == kinds[1] and "TopK" in kinds[0]


def test_rows(exported, tmp_path):
    """LoRA on the attention of a model with experts, row by row."""
    base, inputs = exported("mixtral", "dynamo"), feed(zoo.FEEDS["wide"])
    logits, margins = {}, {}
    logits[None], margins[None] = reference(make("mixtral"), inputs)
    arguments = []
    for seed, name in enumerate("ab"):
        config = peft.LoraConfig(r=4 + 2 * seed, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
        torch.manual_seed(seed + 1)
        model = peft.get_peft_model(make("mixtral"), config).eval()
        model.save_pretrained(tmp_path / name)
        logits[name], margins[name] = reference(model.base_model.model, inputs)
        arguments.append(f"--adapter={name}={tmp_path / name}@row")
    product.opt(base, *arguments, "-o", tmp_path / "row.adapt")
    compiled = product.package().load(str(tmp_path / "row.adapt"), threads=2)
    for names in (["a", None, "b"], ["b", "a", "a"], [None, None, None]):
        y = compiled(**numpy_feed(inputs), adapters=names)["logits"]
        rows = [i for i, name in enumerate(names) if margins[name][i] > MARGIN]
        assert len(rows) >= 2
        references = [logits[names[i]][i] for i in rows]
        assert_rows_agree(y[rows], references, [logits[None][i] if names[i] else None for i in rows])


#
# Experts whose routes are inputs
#


def export_block(path):
    """Writes experts over x, ids and weights; the same in PyTorch."""
    from transformers.models.mixtral.modeling_mixtral import MixtralExperts

    _, config = _mixtral()
    config._experts_implementation = "batched_mm"
    torch.manual_seed(0)
    module = MixtralExperts(config).eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(0, 0.3)
    ids, weights = torch.zeros(7, TOP, dtype=torch.int64), torch.ones(7, TOP)
    tokens = torch.export.Dim("tokens", max=4096)
    with zoo.quiet():
        torch.onnx.export(
            module,
            (torch.randn(7, HIDDEN), ids, weights),
            str(path),
            input_names=["x", "ids", "weights"],
            output_names=["y"],
            dynamic_shapes=({0: tokens}, {0: tokens}, {0: tokens}),
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    return module


@pytest.fixture(scope="module")
def block(tmp_path_factory):
    """(compiled experts over x, ids and weights, the same in PyTorch)."""
    folder = tmp_path_factory.mktemp("block")
    module = export_block(folder / "block.onnx")
    assert "adapter.experts" in product.opt(folder / "block.onnx", "--compile-to=optimise", "-o", "-")
    product.opt(folder / "block.onnx", "-o", folder / "block.adapt")
    return product.package().load(str(folder / "block.adapt"), threads=2), module


def routes():
    generator = np.random.default_rng(0)
    yield "one token", np.array([[3, 5]])
    yield "all at one expert", np.zeros((29, TOP), np.int64)
    yield "one expert twice", np.array([[4, 4], [2, 7]])
    yield "few of the experts", generator.integers(6, 8, (50, TOP))
    yield "all of the experts", generator.integers(0, EXPERTS, (333, TOP))


@pytest.mark.parametrize("why, ids", routes(), ids=lambda each: each if isinstance(each, str) else "")
def test_forced_routes(block, why, ids):
    compiled, module = block
    generator = np.random.default_rng(1)
    x = generator.standard_normal((len(ids), HIDDEN), np.float32)
    weights = generator.standard_normal(ids.shape, np.float32)
    with torch.no_grad():
        expected = module(*map(torch.from_numpy, (x, ids, weights))).numpy()
    y = compiled(x=x, ids=ids, weights=weights)["y"]
    assert_agrees(y, expected)
    # Sums are in a fixed order, whatever the threads do.
    assert np.array_equal(y, compiled(x=x, ids=ids, weights=weights)["y"])
    # As Gather has it, negative numbers count from the end.
    assert np.array_equal(y, compiled(x=x, ids=ids - EXPERTS, weights=weights)["y"])


@pytest.mark.parametrize("wrong", [EXPERTS, -EXPERTS - 1, 2**40])
def test_no_such_expert(block, wrong):
    compiled, _ = block
    feed = dict(x=np.zeros((2, HIDDEN), np.float32), weights=np.ones((2, TOP), np.float32))
    with pytest.raises(Exception, match=r"expert -?\d+ is outside \d+ experts"):
        compiled(**feed, ids=np.array([[0, 1], [2, wrong]]))
    assert not compiled(**feed, ids=np.array([[0, 1], [2, 3]]))["y"].any()


#
# Bad input
#


def router(path, experts, chosen):
    """TopK over `experts` logits."""
    nodes = [
        helper.make_node("Softmax", ["x"], ["p"], axis=-1),
        helper.make_node("TopK", ["p", "k"], ["v", "i"], name="/gate/TopK"),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", experts])
    y = helper.make_tensor_value_info("v", TensorProto.FLOAT, None)
    k = helper.make_tensor("k", TensorProto.INT64, [1], [chosen])
    graph = helper.make_graph(nodes, "router", [x], [y], [k])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return path


def test_more_than_there_are(tmp_path):
    path = router(tmp_path / "router.onnx", 8, 9)
    product.refused("adapter-opt", path, "-o", tmp_path / "x.adapt", mentions=["TopK", "9"])


def test_router_of_the_wrong_width(exported, tmp_path):
    """A router over 9 experts where there are weights of 8."""
    model = onnx.load(exported("mixtral", "dynamo"))
    for initializer in model.graph.initializer:
        if initializer.name.endswith("layers.0.mlp.gate.weight"):
            values = np.zeros((EXPERTS + 1, HIDDEN), np.float32)
            initializer.CopyFrom(onnx.numpy_helper.from_array(values, initializer.name))
    # Sizes that the file states of values in between would contradict first.
    del model.graph.value_info[:]
    onnx.save(model, tmp_path / "wide.onnx")
    product.refused(
        "adapter-opt", tmp_path / "wide.onnx", "-o", tmp_path / "x.adapt", mentions=["8 experts", "9"]
    )
