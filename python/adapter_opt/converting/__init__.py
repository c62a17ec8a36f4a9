# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Adapters in the files of papers' authors as folders that adapter-opt reads: behind `ao.convert` and
`adapter-opt convert`. NumPy alone; pickles are refused."""

import dataclasses
import math
import numbers
import os
from collections.abc import Callable

from adapter_opt.converting import bottlenecks, codes, low_rank, sparse, vision
from adapter_opt.converting.source import Source

_LT_SFT = (
    "d = torch.load('{name}', weights_only=True); safetensors.torch.save_file("
    "{{f'body.{{p}}.{{k}}': torch.as_tensor(v) for p, e in d['body'].items() for k, v in e.items()}} | "
    "{{f'head.{{p}}': v for p, v in (d.get('head') or {{}}).items()}}, '{target}'), NumPy's types allowed by "
    "torch.serialization.add_safe_globals where they are named"
)


@dataclasses.dataclass(frozen=True)
class Method:
    """A layout of files.

    id: of the list of published methods, where several have the layout with commas between.
    title: of the method.
    needs: what the files hold.
    make: (sources, **options) -> folder.
    files: how many are taken, at least and at most.
    options: by name, their types.
    how: the line that makes a readable file of the authors' pickle, where that is not one of tensors by name.
    raw: whether a file of bytes without names is taken.
    """

    id: str
    title: str
    needs: str
    make: Callable
    files: tuple = (1, 1)
    options: dict = dataclasses.field(default_factory=dict)
    how: str | None = None
    raw: bool = False


METHODS = {
    "corda": Method(
        "U03",
        "CorDA",
        "TRAINED INITIAL: <module>.BLinear.weight and .ALinear.weight, or PEFT's lora_A and lora_B, of the "
        "end of training and of its beginning",
        low_rank.corda,
        (2, 2),
        {"scale": float},
    ),
    "hydra": Method(
        "U06",
        "Hydra",
        "hydra_mlp_par, hydra_mlp_seq, hydra_proj_par, hydra_proj_seq of blocks, with down_proj and up_proj "
        "each; head",
        vision.hydra,
        options={"scale": float},
    ),
    "lora-xs": Method(
        "U08",
        "LoRA-XS, LoRA-SB",
        "PEFT's folder with lora_A, lora_B and default_lora_latent_mapping",
        low_rank.lora_xs,
        options={"scale": float},
    ),
    "resadapter": Method(
        "U12",
        "ResAdapter",
        "factors of convolutions and weight and bias of norms, in one file or two",
        low_rank.resadapter,
        (1, 2),
        {"scale": float},
    ),
    "sora": Method(
        "U14",
        "SoRA",
        "<module>.lora.lora_A, .lora_B and .gate",
        low_rank.sora,
        options={"scale": float},
    ),
    "compacter": Method(
        "U15",
        "Compacter",
        "a folder of AdapterHub with phm_layer: W_left, W_right, b and phm_rule",
        bottlenecks.compacter,
    ),
    "loldu": Method(
        "U17",
        "LoLDU",
        "TRAINED INITIAL: <module>.parametrizations.weight.0 with P, lora_A, lora_B, vector_z and "
        "scaling_factor",
        low_rank.loldu,
        (2, 2),
    ),
    "qwha": Method(
        "U20",
        "QWHA",
        "<module>.qwha_spectrum with qwha_indices_<name> and qwha_scaling_<name>",
        sparse.qwha,
        options={"scale": float},
    ),
    "compeft": Method(
        "U23",
        "ComPEFT",
        "CHANGES INITIAL: of each tensor of PEFT's folder INITIAL <tensor>.ternary, or .positive and "
        ".negative bits, and .scale",
        low_rank.compeft,
        (2, 2),
        {"scale": float},
    ),
    "lt-sft": Method(
        "U25, U29",
        "LT-SFT, SFTM",
        "body.<parameter>.size, .index_steps and .values, and head.<parameter>; several files are added",
        sparse.lt_sft,
        (1, 16),
        {"scale": float},
        _LT_SFT,
    ),
    "paca": Method(
        "U26",
        "PaCA",
        "<module>.paca_w and .paca_indices",
        low_rank.paca,
        options={"scale": float},
    ),
    "spiel": Method(
        "U28",
        "SpIEL",
        "<module>.sft_delta.indices and .values",
        sparse.spiel,
        options={"scale": float},
    ),
    "sltrain": Method(
        "U31",
        "SLTrain",
        "<module>.lora_A, .lora_B, .sparse_index, .sparse_value, and other parameters whole",
        low_rank.sltrain,
        options={"scale": float},
    ),
    "scalearn": Method(
        "U34",
        "ScaLearn",
        "ADAPTER ADAPTER.. OMEGA: folders of AdapterHub, and <module>.scalearn_layer.<names>.omega",
        bottlenecks.scalearn,
        (2, 64),
    ),
    "ssf": Method(
        "U35",
        "SSF",
        "ssf_scale_1, ssf_shift_1, .. of timm's vision transformer; head",
        vision.ssf,
    ),
    "bi-lora": Method(
        "U36",
        "Bi-LoRA, Bi-Adapter",
        "the .bin of the authors' code, which is no pickle and has no names: bytes of codes, block by block",
        codes.bi_lora,
        options={
            "kind": str,
            "bits": int,
            "dim": int,
            "scale": float,
            "classes": int,
            "bihead": bool,
            "width": int,
            "blocks": int,
        },
        raw=True,
    ),
}

# Why files of other methods are not converted.
REFUSED = {
    "clr": "U33, CLR: a 3 x 3 convolution of each channel behind a convolution is no update of that one's "
    "weight, which could not say what becomes of it at the borders; it is a depthwise Conv of the graph",
}


def convert(method, files, out, **options):
    """Writes an adapter of a method's own files as a folder that adapter-opt reads.

    method: a key of METHODS, which says what the files hold.
    files: paths of safetensors, .npz, or folders with them, in the method's order. Every tensor must have a
        use.
    out: the folder; it must not be there yet.
    options: the method's, as in scale=0.5.
    Returns `out`. Raises ValueError for what does not fit, FileNotFoundError, FileExistsError.
    """
    if method in REFUSED:
        raise ValueError(f"{method} is not converted: {REFUSED[method]}")
    if method not in METHODS:
        raise ValueError(f"there is no method '{method}'; there are: {', '.join(METHODS)}")
    row = METHODS[method]
    files = [os.fspath(each) for each in ([files] if isinstance(files, (str, os.PathLike)) else files)]
    least, most = row.files
    if not least <= len(files) <= most:
        wanted = f"{least}" if least == most else f"{least} to {most}"
        raise ValueError(f"{method} takes {wanted} files, not {len(files)}: {row.needs}")
    for name, value in options.items():
        _check_option(method, row, name, value)
    if os.path.lexists(out):
        raise FileExistsError(f"{out} is there already")
    sources = [Source(path, row.how, row.raw) for path in files]
    if row.raw and any(source.raw is None for source in sources):
        raise ValueError(f"{method} takes {row.needs}")
    folder = row.make(sources, **options)
    for source in sources:
        source.finish(method, row.needs)
    folder.save(out)
    return out


def _check_option(method, row, name, value):
    if name not in row.options:
        known = ", ".join(row.options) or "none"
        raise ValueError(f"{method} has no option '{name}'; its options are: {known}")
    type = row.options[name]
    kind = {float: numbers.Real, int: numbers.Integral}.get(type, type)
    fits = isinstance(value, kind) and (type is bool or not isinstance(value, bool))
    if not fits or (type is float and not math.isfinite(value)):
        raise ValueError(f"{name} is {value!r}, expected {type.__name__}")
