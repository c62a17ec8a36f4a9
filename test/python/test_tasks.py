# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Adapters of several tasks: PEFT's Poly, whose tasks mix their factors from a stock of skills."""

import json

import methods
import numpy as np
import onnxruntime
import peft
import product
import pytest
import safetensors.numpy
import torch
import zoo
from tolerance import assert_agrees, assert_rows_agree

TASKS = 3


class Poly:
    """A random adapter in `folder`, and what it gives for each task."""

    def __init__(self, root, architecture, seed=1, tasks=TASKS, splits=2):
        model = zoo.make(architecture)
        config = peft.PolyConfig(
            r=2 + seed,
            # PEFT multiplies activations of three dimensions only, which leaves BERT's pooler out.
            target_modules=["query", "value"] if architecture == "bert" else methods.LINEARS[architecture],
            n_tasks=tasks,
            n_skills=4,
            n_splits=splits,
        )
        torch.manual_seed(seed)
        with zoo.quiet():
            adapted = peft.get_peft_model(model, config).eval()
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for name, parameter in adapted.named_parameters():
                if parameter.requires_grad:
                    spread = 2.0 if "logits" in name else 0.1
                    parameter.add_(torch.randn(parameter.shape, generator=generator) * spread)
        self.folder = root / f"poly{seed}"
        self.model, self.architecture = adapted, architecture
        with zoo.quiet():
            adapted.save_pretrained(str(self.folder))

    def outputs(self, tasks):
        """Logits of the feed "wide" with a task for each row."""
        inputs = zoo.inputs(self.architecture, zoo.FEEDS["wide"])
        with torch.no_grad():
            return self.model.base_model(**inputs, task_ids=torch.tensor(tasks)).logits.numpy()


@pytest.fixture
def poly(tmp_path):
    return lambda architecture, **options: Poly(tmp_path, architecture, **options)


CASES = pytest.mark.parametrize("architecture, exporter", [("llama", "dynamo"), ("bert", "torchscript")])


@CASES
def test_at_build(oracle, poly, tmp_path, architecture, exporter):
    base, adapter = oracle.export(architecture, exporter), poly(architecture)
    feed = oracle.feed_of(base, architecture, "wide")
    for task in (0, 2):
        given = [f"--adapter=p={adapter.folder}", f"--bind=p.task={task}", "-o"]
        expected = adapter.outputs([task] * 3), oracle.base(architecture)["wide"]
        product.opt(base, *given, tmp_path / "merged.onnx")
        session = onnxruntime.InferenceSession(tmp_path / "merged.onnx")
        assert_agrees(session.run(["logits"], feed)[0], *expected)
        product.opt(base, *given, tmp_path / "merged.adapt")
        assert_agrees(product.run(tmp_path / "merged.adapt", feed, tmp_path)["logits"], *expected)


@CASES
def test_by_row(oracle, poly, tmp_path, architecture, exporter):
    """Each row has a task of its own, beside a LoRA."""
    base, adapter, lora = (
        oracle.export(architecture, exporter),
        poly(architecture),
        oracle.adapter(architecture, "plain"),
    )
    product.opt(
        base,
        f"--adapter=p={adapter.folder}@row",
        f"--adapter=a={lora.folder}@row",
        "-o",
        tmp_path / "m.adapt",
    )
    model = product.package().load(str(tmp_path / "m.adapt"), threads=2)
    feed, without = oracle.feed_of(base, architecture, "wide"), oracle.base(architecture)["wide"]
    expected = adapter.outputs([2, 0, 1])
    assert_rows_agree(model(**feed, adapters=["p:2", "p:0", "p:1"])["logits"], expected, without)
    y = model(**feed, adapters=["p:2", "a", None])["logits"]
    assert_rows_agree(y, [expected[0], lora.outputs["wide"][1], without[2]], [without[0], without[1], None])
    y = model(**feed, adapters="p", settings={"p.task": 1})["logits"]
    assert_agrees(y, adapter.outputs([1, 1, 1]), without)
    model.set("p.task", 2)
    assert_agrees(model(**feed, adapters="p")["logits"], adapter.outputs([2, 2, 2]), without)
    y = product.run(tmp_path / "m.adapt", feed, tmp_path, "--row-adapters", "p:1,-,p:0")["logits"]
    expected = adapter.outputs([1, 0, 0])
    assert_rows_agree(y, [expected[0], without[1], expected[2]], [without[0], None, without[2]])


def test_more_tasks_than_are_kept_otherwise(oracle, poly, tmp_path):
    base, adapter = oracle.export("llama", "dynamo"), poly("llama", tasks=20)
    product.opt(base, f"--adapter=p={adapter.folder}@row", "-o", tmp_path / "m.adapt")
    model = product.package().load(str(tmp_path / "m.adapt"), threads=1)
    feed, without = oracle.feed_of(base, "llama", "wide"), oracle.base("llama")["wide"]
    for tasks in ([0, 1, 2], [17, 18, 19], [9, 0, 4], *([i, i + 1, i + 2] for i in range(3, 15, 3))):
        y = model(**feed, adapters=[f"p:{task}" for task in tasks], settings={})["logits"]
        assert_rows_agree(y, adapter.outputs(tasks), without)


def test_at_switch_and_in_a_slot(oracle, poly, tmp_path):
    """A slot for LoRA takes it: a task is one low-rank update."""
    base, adapter = oracle.export("llama", "dynamo"), poly("llama", splits=1)
    feed, without = oracle.feed_of(base, "llama", "wide"), oracle.base("llama")["wide"]
    product.opt(base, f"--adapter=p={adapter.folder}@switch", "-o", tmp_path / "switch.adapt")
    model = product.package().load(str(tmp_path / "switch.adapt"))
    with pytest.raises(ValueError, match="3 tasks, of which none is named"):
        model.switch("p")
    for task in (1, 2):
        model.set("p.task", task)
        model.switch("p")
        assert_agrees(model(**feed)["logits"], adapter.outputs([task] * 3), without)
    product.opt(base, "--adapter-slot=s:lora@row", "-o", tmp_path / "slot.adapt")
    model = product.package().load(str(tmp_path / "slot.adapt"))
    model.load_adapter("p", adapter.folder)
    assert_rows_agree(
        model(**feed, adapters=["p:2", "p:2", "p:0"])["logits"], adapter.outputs([2, 2, 0]), without
    )


def test_wrong_tasks_are_refused(oracle, poly, tmp_path):
    base, adapter = oracle.export("llama", "dynamo"), poly("llama")
    given, output = f"--adapter=p={adapter.folder}", tmp_path / "m.adapt"
    product.refused("adapter-opt", base, given, "-o", output, mentions=["3 tasks", "--bind p.task=0"])
    product.refused("adapter-opt", base, given, "--bind=p.task=3", "-o", output, mentions=["no task 3"])
    for wrong in ("p.task=-1", "p.task=x", "q.task=1", "p.rank=2"):
        product.refused("adapter-opt", base, given, f"--bind={wrong}", "-o", output, code=2)
    product.opt(base, given + "@row", "-o", output)
    model = product.package().load(str(output))
    feed = oracle.feed_of(base, "llama", "wide")
    for adapters, says in (("p", "name one"), ("p:3", "no task 3"), ("p:x", "no task"), ("p:", "no task")):
        with pytest.raises(ValueError, match=says):
            model(**feed, adapters=adapters)
    with pytest.raises(ValueError, match="whole number"):
        model.set("p.task", 0.5)


@pytest.mark.parametrize(
    "change, says",
    [
        ({"n_tasks": 4}, "n_tasks"),
        ({"n_skills": 2}, "n_skills"),
        ({"r": 4}, "r is 4"),
        ({"poly_type": "mhr"}, "mhr"),
        ({"n_heads": 1}, "n_heads"),
    ],
)
def test_wrong_configurations_are_refused(oracle, poly, change, says):
    base, adapter = oracle.export("llama", "dynamo"), poly("llama")
    path = adapter.folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    product.refused("adapter-opt", base, f"--adapter=p={adapter.folder}", "--check", mentions=[says])


@pytest.mark.parametrize("end", ["poly_lora_A", "poly_lora_B", "poly_router.module_logits"])
def test_wrong_tensors_are_refused(oracle, poly, end):
    base, adapter = oracle.export("llama", "dynamo"), poly("llama")
    path = adapter.folder / "adapter_model.safetensors"
    tensors = safetensors.numpy.load_file(path)
    key = next(key for key in tensors if key.endswith(end))
    for wrong in (None, np.ascontiguousarray(tensors[key][..., :-1]), tensors[key].reshape(-1)):
        changed = {k: v for k, v in tensors.items() if k != key} | ({} if wrong is None else {key: wrong})
        safetensors.numpy.save_file(changed, path)
        stem = key.removeprefix("base_model.model.").split(".poly_")[0]
        product.refused("adapter-opt", base, f"--adapter=p={adapter.folder}@row", "--check", mentions=[stem])
