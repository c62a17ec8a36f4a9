# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""docs/own-method.md as it stands: its definition is written to the file that it names, its programs run in
this process one after the other, its commands in a shell, and each block of text is what the one before it
prints."""

import contextlib
import io
import os
import re
import subprocess
import sys
import textwrap

import product

product.package()
DOCUMENT = product.ROOT / "docs" / "own-method.md"
BLOCK = re.compile(
    r"^```(?P<kind>mlir|python|text)\n(?P<fenced>.*?)^```|(?P<commands>(?:^    [^\n]*\n)+)",
    re.DOTALL | re.MULTILINE,
)


def shell(commands):
    path = f"{product.BIN}:{os.path.dirname(sys.executable)}:{os.environ['PATH']}"
    script = ["bash", "-euc", commands]
    done = subprocess.run(
        script, env=os.environ | {"PATH": path}, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_block(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names, said, kinds = {}, "", []
    # Fences hide the indented lines within them.
    for block in BLOCK.finditer(DOCUMENT.read_text()):
        kind = block["kind"] or "commands"
        kinds.append(kind)
        if kind == "mlir":
            (tmp_path / "lora_xs.mlir").write_text(block["fenced"])
        elif kind == "python":
            with contextlib.redirect_stdout(io.StringIO()) as stream:
                exec(block["fenced"], names)
            said = stream.getvalue()
        elif kind == "commands":
            said = shell(textwrap.dedent(block["commands"]))
        else:
            expected = block["fenced"].replace("HASH", names.get("found", ""))
            assert [line.rstrip() for line in said.splitlines()] == expected.splitlines()
    assert kinds.count("python") == 8 and kinds.count("commands") == 2 and kinds.count("text") == 4
