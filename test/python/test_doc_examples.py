# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Every ```mlir block of a TableGen description or a dialect's README parses; a sketch is a plain block."""

import re
import textwrap

import product
import pytest

BLOCK = re.compile(r"```mlir\n(.*?)```", re.DOTALL)
# Blocks of what a pass makes of another: cut at `// after`, each part stands alone.
PARTS = re.compile(r"^\s*// (?:before|after)\b.*$", re.MULTILINE)


def examples():
    """pytest parameters (text) of all blocks, by file and line."""
    found = []
    for folder in ("dialects", "lib"):
        root = product.ROOT / folder
        for path in sorted([*root.rglob("*.td"), *root.rglob("README.md")]):
            text = path.read_text()
            for match in BLOCK.finditer(text):
                line = text.count("\n", 0, match.start()) + 1
                name = f"{path.relative_to(product.ROOT)}:{line}"
                found.append(pytest.param(match.group(1), id=name))
    return found


def candidates(part):
    """Ways of reading a part of an example: as a module, or as what is inside a function."""
    yield part
    outside = [line for line in part.splitlines() if re.match(r"\s*[!#]\w+ =", line)]
    inside = [line for line in part.splitlines() if line not in outside]
    yield "\n".join([*outside, "func.func @example() {", *inside, "return", "}"])


@pytest.mark.parametrize("block", examples())
def test_example_parses(block, tmp_path):
    for i, part in enumerate(PARTS.split(textwrap.dedent(block))):
        if not part.strip():
            continue
        said = []
        for text in candidates(part):
            (tmp_path / f"{i}.mlir").write_text(text)
            done = product.call("adapter-opt", tmp_path / f"{i}.mlir")
            if done.returncode == 0:
                break
            said.append(done.stderr.strip())
        else:
            pytest.fail("\n\n".join(said))
