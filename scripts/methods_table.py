# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Writes docs/methods.md from what tests measured: `make methods`.

methods_table.py RECORDS PUBLISHED TARGET

RECORDS are of test_weight_methods.py, PUBLISHED of test_published_*.py. For "-" that part of the page stays
as it is.
"""

import collections
import json
import pathlib
import sys

import published_methods

MODES = ("onnx", "build", "switch", "call", "row", "slot")
LAYERS = {
    "linear": "linear",
    "unbiased": "linear without bias",
    "conv1d_of_gpt2": "Conv1D of GPT-2",
    "embedding": "embedding",
    "conv1d": "convolution 1d",
    "conv2d": "convolution 2d",
    "conv3d": "convolution 3d",
    "norm": "layer norm",
}
# Types without a row of their own in the table, and why.
OTHERS = {
    "POLY": "read, at every time, `task` as a setting (`test_tasks.py`)",
    "XLORA": "read, with its first pass (`test_xlora.py`)",
    "ADAMSS": "through `ao.resolve`: the file does not say which outputs its factors are of",
    "PSOFT": "through `ao.resolve`: the file leaves out the singular vectors that it rotates",
    "LILY": "refused: what it adds depends on a mean over all tokens of a call",
    "PROMPT_TUNING, P_TUNING, MULTITASK_PROMPT_TUNING, CPT": "refused: they change the sequence, not weights",
    "PREFIX_TUNING, CARTRIDGE, ADAPTION_PROMPT": "refused: they change attention, not weights",
    "SHADOW": "refused: a model of its own beside the base",
}
HEAD = """# Methods of PEFT that change weights

Each cell is the largest error of a layer's output against PEFT 0.21's unmerged forward, as a part of what the
adapter changes, on layers of 16 to 32 features; `make methods` measures them anew and writes this page. How
each is defined: [lib/Forms/Library](../lib/Forms/Library), [forms.md](forms.md); what is read of files:
[checkpoints.md](checkpoints.md).

*onnx* merges into an ONNX file, *build* into an artifact; *switch* changes an artifact's weights and back, to
the bit; *call* and *row* choose with each call; *slot* loads into room for adapters by row. "compile": it
takes a part of the base's weight away, which only a compilation has.
"""


def peft_part(records):
    """What stands in front of the published methods."""
    cells, types = collections.defaultdict(dict), {}
    for line in records.read_text().splitlines():
        type, case, layer, mode, error = json.loads(line)
        cells[type, case, layer][mode] = error
        types.setdefault(type, []).append(case)
    rows = ["| type | case | layer | " + " | ".join(MODES) + " |", "|---" * (3 + len(MODES)) + "|"]
    for type, case, layer in sorted(cells, key=lambda key: (key[0], key[1], list(LAYERS).index(key[2]))):
        errors = cells[type, case, layer]
        missing = sorted(set(MODES) - set(errors) - {"slot"})
        if missing:
            sys.exit(f"{case}, {layer}: nothing was measured for {', '.join(missing)}; run all of the tests")
        texts = [f"{errors[mode]:.0e}" if mode in errors else "compile" for mode in MODES]
        rows.append(f"| {type} | {case} | {LAYERS[layer]} | {' | '.join(texts)} |")
    others = ["| type | |", "|---|---|", *(f"| {type} | {why} |" for type, why in OTHERS.items())]
    return "\n".join([HEAD, *rows, "", "## Other types", "", *others, ""])


def main():
    records, published, target = sys.argv[1:]
    path = pathlib.Path(target)
    before, mark, after = (path.read_text() if path.exists() else "").partition(published_methods.TITLE)
    first = before.rstrip() + "\n" if records == "-" else peft_part(pathlib.Path(records))
    second = mark + after if published == "-" else published_methods.part(pathlib.Path(published))
    path.write_text(first + "\n" + second)


if __name__ == "__main__":
    main()
