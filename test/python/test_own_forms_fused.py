# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Forms of users on modules that a graph holds in one tensor: a product of two factors is joined, what has
more in it is refused."""

import json

import numpy as np
import product
import pytest
import tiny
from safetensors.numpy import save_file

PRODUCT = """adapter.form @own for [linear] roles(%A "A" : "r, cols", %B "B" : "out, r"{roles})
    scalars({scalars}) {{
  %b = adapter.matrix %B : tensor<?x?xf64>
  %a = adapter.matrix %A : tensor<?x?xf64>
  %m = adapter.chain %b, %a
  %u = adapter.add %m scale %s
  {yielded}
}}
"""
UPDATE = "!adapter.update<tensor<?x?xf64>>"
YIELD = f"adapter.yield %u : {UPDATE}"
BIASED = f"adapter.yield %u, %c : {UPDATE}, tensor<?xf64>"
# What a form has beside two factors and the scale; a module's own numbers; tensors.
CASES = {
    "plain": (dict(roles="", scalars='%s "scale" = 1.0', yielded=YIELD), {}),
    "own scalar": (dict(roles="", scalars='%s "strength"', yielded=YIELD), {"strength": True}),
    "unused scalar": (dict(roles="", scalars='%s "scale" = 1.0, %t "other" = 2.0', yielded=YIELD), {}),
    "bias": (dict(roles=', %c "c" : "out"', scalars='%s "scale" = 1.0', yielded=BIASED), {"bias": True}),
}
MODULES = ["q_proj", "k_proj", "v_proj"]


@pytest.mark.parametrize("name", CASES)
def test_a_part_of_a_fused_weight(tmp_path, name):
    text, extra = CASES[name]
    (tmp_path / "own.mlir").write_text(PRODUCT.format(**text))
    weight = tiny.numbers(4, 9)
    graph = tiny.graph(tmp_path / "m.onnx", [tiny.matmul("/qkv_proj/MatMul", "w")], {"w": weight})
    tensors, wanted = {}, weight.astype(np.float64)
    for i, module in enumerate(MODULES[:2]):
        a, b = tiny.numbers(2, 4, seed=i), tiny.numbers(3, 2, seed=i + 9)
        tensors |= {f"base_model.model.{module}.A": a, f"base_model.model.{module}.B": b}
        if "bias" in extra:
            tensors[f"base_model.model.{module}.c"] = tiny.numbers(3, seed=i)
        wanted[:, 3 * i : 3 * i + 3] += (b.astype(np.float64) @ a).T
    (tmp_path / "x").mkdir()
    save_file(tensors, tmp_path / "x" / "adapter_model.safetensors")
    config = {"peft_type": "ADAPTER_OPT_FORM", "form": "own"}
    if "strength" in extra:
        config["modules"] = {m: {"scalars": {"strength": 1.0 + i}} for i, m in enumerate(MODULES[:2])}
    (tmp_path / "x" / "adapter_config.json").write_text(json.dumps(config))
    words = [graph, "--forms", tmp_path / "own.mlir", f"--adapter=x={tmp_path / 'x'}"]
    if name != "plain":
        product.refused("adapter-opt", *words, "-o", tmp_path / "y.onnx", mentions=["k_proj", "own"])
        return
    product.opt(*words, "-o", tmp_path / "y.onnx")
    # What is to be combined must be a module's own.
    words = [
        "combine",
        "sum",
        tmp_path / "x",
        "-o",
        tmp_path / "z",
        "--model",
        graph,
        "--forms",
        tmp_path / "own.mlir",
    ]
    product.refused("adapter-opt", *words, mentions=["_proj.weight", "not as one tensor of its own"])
    x = tiny.numbers(5, 4, seed=77)
    tiny.close(tiny.answer(tmp_path / "y.onnx", {"x": x}), x @ wanted)
