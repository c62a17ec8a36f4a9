# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""tools/completion/adapter.bash, as bash calls it: words split at "=" and ":", the last piece replaced."""

import os
import re
import subprocess

import numpy as np
import product
import pytest
from product import TINY

SCRIPT = product.ROOT / "tools" / "completion" / "adapter.bash"


def complete(line, folder):
    """What is offered for the end of a line, sorted."""
    words = [piece for word in line.split(" ") for piece in re.findall(r"[=:]|[^=:]+", word) or [""]]
    code = (
        'source "$SCRIPT"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _adapter_complete "$1"; '
        "printf '%s\\n' \"${COMPREPLY[@]}\""
    )
    done = subprocess.run(
        ["bash", "-c", code, "bash", *words],
        env=os.environ | {"PATH": f"{product.BIN}:{os.environ['PATH']}", "SCRIPT": str(SCRIPT)},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0 and not done.stderr, done.stderr
    return sorted(done.stdout.split("\n")[:-1]) if done.stdout.strip() else []


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "m.adapt").symlink_to(TINY)
    np.save(tmp_path / "a.npy", np.zeros(1))
    np.savez(tmp_path / "xs.npz", np.zeros(1))
    (tmp_path / "lora").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("adapter-run in", ["info"]),
        ("adapter-run pro", ["profile"]),
        ("adapter-opt di", ["diff"]),
        ("adapter-opt ex", ["export"]),
        ("adapter-opt conv", ["convert"]),
        ("adapter-run m", ["m.adapt"]),
        ("adapter-run m.adapt --adapter ", ["r1", "s1"]),
        ("adapter-run m.adapt --adapter r", ["r1"]),
        ("adapter-run m.adapt --adapter=s", ["s1"]),
        ("adapter-run bench m.adapt --adapter 0.5*r1+0.5*s", ["0.5*r1+0.5*s1"]),
        ("adapter-run m.adapt --row-adapters r1,-,", ["r1,-,r1", "r1,-,s1"]),
        ("adapter-run switch m.adapt --adapter s", ["s1"]),
        ("adapter-run m.adapt --set r1.", ["r1.rank=", "r1.scale=", "r1.task="]),
        ("adapter-run m.adapt --set ga", ["gain="]),
        ("adapter-run m.adapt --set r1.scale=", []),
        ("adapter-run m.adapt --load sql=lo", ["lora"]),
        ("adapter-run m.adapt --load sql=lora", ["lora", "lora,slot="]),
        ("adapter-run m.adapt --load sql=lora,slot=", ["swap", "tenant", "under"]),
        ("adapter-run m.adapt --load sql=lora,slot=t", ["tenant"]),
        ("adapter-run m.adapt --load sql=lora --adapter sq", ["sql"]),
        ("adapter-run m.adapt --input ", ["x="]),
        ("adapter-run m.adapt --input x", ["x=", "xs.npz"]),
        ("adapter-run m.adapt --input x=a", ["a.npy"]),
        ("adapter-run m.adapt --input=x=a", ["a.npy"]),
        ("adapter-run m.adapt --entry ", ["main"]),
        ("adapter-run run m.adapt --ou", ["--output"]),
        ("adapter-run m.adapt --row", ["--row-adapters"]),
        ("adapter-run profile --out", ["--output"]),
        ("adapter-run bench --ru", ["--runs"]),
        ("adapter-opt diff --a", ["--as"]),
        ("adapter-opt --ignore", ["--ignore-missing"]),
        ("adapter-opt --report=h", ["html"]),
        ("adapter-opt --target cpu:na", ["native"]),
        ("adapter-opt --target nothing", []),
        ("adapter-opt a", ["a.npy"]),
    ],
)
def test_completion(line, offered, folder):
    assert complete(line, folder) == offered


def test_no_model_offers_no_names(folder):
    assert complete("adapter-run --adapter r", folder) == []
    assert complete("adapter-run lora --set r", folder) == []
