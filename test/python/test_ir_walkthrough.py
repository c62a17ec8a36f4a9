# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""docs/ir-walkthrough.md shows what the compiler prints, and what it prints parses."""

import re
import subprocess
import sys

import numpy as np
import onnx
import product
import pytest
from onnx import TensorProto, helper, numpy_helper

PAGE = product.ROOT / "docs" / "ir-walkthrough.md"
BLOCK = re.compile(r"<!-- (\w+) ([\w-]+) -->\n```mlir\n(.*?)```", re.DOTALL)
ADAPTER = """// ADAPTER
// {"config": {"target_modules": ["proj"], "lora_alpha": 4},
//  "tensors": {"proj.lora_A.weight": [2, 4], "proj.lora_B.weight": [3, 2]}}
// END
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the page's linear.onnx and its adapter a."""
    folder = tmp_path_factory.mktemp("walkthrough")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"], name="/proj/MatMul")],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3])],
        [numpy_helper.from_array(np.arange(12, dtype=np.float32).reshape(4, 3), "w")],
    )
    opsets = [helper.make_opsetid("", 20)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), folder / "linear.onnx")
    (folder / "a.txt").write_text(ADAPTER)
    script = product.ROOT / "test" / "make_adapter.py"
    subprocess.run([sys.executable, script, folder / "a.txt", folder / "a"], check=True)
    return folder


def blocks():
    found = BLOCK.findall(PAGE.read_text())
    assert len(found) >= 10
    return [pytest.param(*block, id=f"{block[0]}-{block[1]}") for block in found]


def pattern(line):
    """A line of the page as a regular expression: blanks at the ends do not count, `...` is anything."""
    return r"\s*" + ".*".join(re.escape(part.strip()) for part in line.strip().split("..."))


@pytest.mark.parametrize(("time", "phase", "text"), blocks())
def test_block_is_what_the_phase_prints(folder, time, phase, text):
    output = folder / f"{time}.{phase}.mlir"
    product.opt(
        folder / "linear.onnx",
        f"--adapter=a={folder / 'a'}@{time}",
        "--target=cpu:x86-64-v3",
        f"--compile-to={phase}",
        "-o",
        output,
    )
    printed = iter(output.read_text().splitlines())
    for line in filter(str.strip, text.splitlines()):
        if line.strip() != "...":
            assert any(re.match(pattern(line), each) for each in printed), (
                f"not there, or not there in order: {line}"
            )
    product.opt(output, "-o", folder / "again.mlir")
