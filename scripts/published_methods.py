# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The part of docs/methods.md about published methods: what test_published_*.py measured."""

import collections
import json
import sys

TITLE = "## Published methods\n"
MODES = ("onnx", "switch", "call", "row", "slot")
NAMES = {
    "U01": "AdaLoRA",
    "U02": "CoLoRA",
    "U03": "CorDA",
    "U04": "CREMA",
    "U05": "GenerativeAdapter",
    "U06": "Hydra",
    "U07": "IncreLoRA",
    "U08": "LoRA-SB",
    "U09": "MTLoRA",
    "U10": "My3DGen",
    "U11": "NLoRA, IntTune",
    "U12": "ResAdapter",
    "U13": "S3T",
    "U14": "SoRA",
    "U15": "Compacter",
    "U16": "KaSA",
    "U17": "LoLDU",
    "U18": "MoS",
    "U19": "NOLA",
    "U20": "QWHA",
    "U21": "RandLoRA",
    "U22": "SVFit",
    "U23": "ComPEFT",
    "U24": "DSEE",
    "U25": "LT-SFT",
    "U26": "PaCA",
    "U27": "S2FT",
    "U28": "SpIEL",
    "U29": "SFTM",
    "U30": "SHiRA",
    "U31": "SLTrain",
    "U32": "CLIPInverter",
    "U33": "CLR",
    "U34": "ScaLearn",
    "U35": "SSF",
    "U36": "Bi-LoRA, Bi-Adapter",
    "U37": "EfficientDM",
    "U38": "L4Q",
    "U39": "QLoRA",
}
# What is not done of a method, or otherwise.
NOTES = {
    "U03": "read with the factors that training began with, since the covariance is not in the file",
    "U04": "query tokens and their fusion are parts of the graph",
    "U05": "the network that makes R of a context is a graph of its own, and R comes normalised into a slot",
    "U09": "a row for each task; a layer of several outputs is one of the graph",
    "U13": "sets of layers are sets of adapters: an adapter has one share for all of its modules",
    "U15": "a module has no weight to switch",
    "U19": "the bases are tensors of the file; they are not drawn again from a seed",
    "U20": "of inputs that are a power of two; other sizes, which their code has tables for, are refused",
    "U23": "bits or ternary numbers; Golomb's code is not read",
    "U24": "an unstructured mask; heads that are taken away are missing in the graph",
    "U25": "slots have no room for differences of norms' weights, only for whole ones",
    "U29": "adapters one behind the other: at build alone",
    "U31": "in the place of the base's weights; a linear without one is not there",
    "U32": "the network that makes scale and shift of a text is a graph of its own; those of one text are an "
    "adapter",
    "U33": "`convert clr` refuses: a convolution of each channel behind a convolution is no update of that "
    "one's weight, which could not say what becomes of it at the borders; a depthwise Conv of the graph does",
    "U34": "of plain bottlenecks; a module has no weight to switch",
    "U35": "slots have no room for what is done to norms' weights",
    "U36": "of timm's vision transformers, as in their code; Bi-Adapter's modules have no weight to switch",
    "U37": "merged into floats, of which another tool makes the codes; steps by time are that tool's",
    "U38": "merged into floats, of which another tool makes the codes",
    "U39": "beside dequantised weights in floats, or merged into these; codes are not kept",
}
HEAD = """
The methods U01 to U39 of the list of published methods that change weights: how each comes in (a form of
[lib/Forms/Library](../lib/Forms/Library), PEFT's own folder, or `adapter-opt convert`,
[checkpoints.md](checkpoints.md#files-of-papers-authors)), and the largest error of an output against the
method's formula in NumPy (of PEFT's against PEFT), as a part of what the adapter changes
(`test_published_*.py`). What has an empty cell was not measured, and is in the notes where it cannot be.
"""


def part(records):
    """The section, from records [id, how, mode, error]."""
    cells = collections.defaultdict(dict)
    for line in records.read_text().splitlines():
        id, how, mode, error = json.loads(line)
        errors = cells[id, how]
        errors[mode] = max(error, errors.get(mode, 0.0))
    ids = {id for id, _ in cells}
    if missing := [id for id in NAMES if id not in ids and id != "U33"]:
        sys.exit(f"{', '.join(missing)}: nothing was measured; run all of test_published_*.py")
    rows = ["| id | method | how | " + " | ".join(MODES) + " |", "|---" * (3 + len(MODES)) + "|"]
    for id, name in NAMES.items():
        for how in sorted(how for each, how in cells if each == id) or ["refused"]:
            errors = cells.get((id, how), {})
            texts = [f"{errors[mode]:.0e}" if mode in errors else "" for mode in MODES]
            rows.append(f"| {id} | {name} | {how} | {' | '.join(texts)} |")
    notes = ["| id | |", "|---|---|", *(f"| {id} | {NAMES[id]}: {note} |" for id, note in NOTES.items())]
    return "\n".join([TITLE + HEAD, *rows, "", *notes, ""])
