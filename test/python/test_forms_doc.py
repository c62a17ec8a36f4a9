# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""docs/forms.md: its definitions are read, and its tables name all helpers and forms of the library."""

import json
import re

import own_forms
import product
import pytest
import safetensors.numpy
from own_linears import Linears

TEXT = (product.ROOT / "docs" / "forms.md").read_text()
LIBRARY = product.ROOT / "lib" / "Forms" / "Library"
BLOCKS = re.findall(r"```mlir\n(.*?)```", TEXT, re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS, ids=[re.search(r"@(\w+)", block)[1] for block in BLOCKS])
def test_definition_is_read(block, tmp_path):
    """Together with an adapter of another form, for which files of definitions are read too."""
    model = Linears(tmp_path / "model.onnx", 12, (7, 5), 0)
    folder = tmp_path / "ia3"
    folder.mkdir()
    factors = {"base_model.model.one.ia3_l": own_forms.real(model.rng, 7, 1)}
    safetensors.numpy.save_file(factors, folder / "adapter_model.safetensors")
    config = {"peft_type": "IA3", "target_modules": ["one"], "feedforward_modules": []}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    (tmp_path / "forms.mlir").write_text(block)
    product.opt(model.path, "--forms", tmp_path / "forms.mlir", "--adapter", f"x={folder}", "--check")


def test_tables_are_complete():
    def defined(op, pattern):
        texts = (path.read_text() for path in LIBRARY.glob(pattern))
        return {name for text in texts for name in re.findall(rf"^{op} @(\w+)", text, re.MULTILINE)}

    assert defined("func.func", "helpers*.mlir") == set(re.findall(r"`@(\w+)\(", TEXT))
    cells = re.findall(r"^\|([^|]*)\|", TEXT.split("## The library")[1], re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", " ".join(cells))) == defined("adapter.form", "*.mlir")
