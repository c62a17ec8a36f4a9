# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Bottleneck adapters of AdapterHub, each a placement or a feature, and the oracle for them: adapterhub.py,
run by the Python of .venv-adapters.

The architectures put their residual sums in all the places there are: in modules of their own behind which a
norm follows (BERT), in the block (GPT-2, Llama), in both (ViT)."""

import collections
import functools
import json
import os
import pathlib
import subprocess

import numpy as np
import product
import pytest

PYTHON = pathlib.Path(
    os.environ.get("ADAPTER_HUB_PYTHON", product.ROOT / ".venv-adapters" / "bin" / "python")
)
ARCHITECTURES = ("bert", "gpt2", "llama", "vit")
# transformers 4.57's masks cannot be traced.
EXPORTERS = {"bert": ("dynamo", "torchscript"), "vit": ("dynamo", "torchscript")}

_OUTPUT = dict(mh_adapter=False, output_adapter=True, reduction_factor=4, non_linearity="relu")
_BOTH = dict(_OUTPUT, mh_adapter=True)
METHODS = {
    "seq_bn": _OUTPUT,
    "double_seq_bn": dict(_BOTH, non_linearity="swish"),
    "par_bn": dict(_OUTPUT, reduction_factor=2, is_parallel=True, scaling=4.0),
    "adapter_plus": dict(
        _BOTH,
        reduction_factor=8,
        non_linearity="gelu",
        original_ln_before=True,
        original_ln_after=False,
        residual_before_ln=False,
        scaling="channel",
    ),
    # AdapterFusion's way, Pfeiffer's in older files: the norm before and after.
    "norm_twice": dict(_OUTPUT, non_linearity="gelu_new", original_ln_before=True),
    "own_norms": dict(
        _BOTH, non_linearity="tanh", ln_before=True, ln_after=True, use_gating=True, scaling="learned"
    ),
    "residual_first": dict(
        _BOTH,
        non_linearity="leakyrelu",
        ln_after=True,
        adapter_residual_before_ln=True,
        original_ln_before=True,
        residual_before_ln=False,
    ),
    "parallel_norms": dict(
        _BOTH, is_parallel=True, ln_before=True, ln_after=True, non_linearity="quick_gelu"
    ),
    "by_layer": dict(_BOTH, reduction_factor={"1": 8, "default": 2}, non_linearity="mish"),
    "left_out": dict(_BOTH, leave_out=[0], non_linearity="relu2", reduction_factor=100),
    "wide": dict(_OUTPUT, reduction_factor=0.5, non_linearity="gelu_10"),
}
# Only where a norm follows the sum.
POST_NORM = {
    "post_add": dict(_BOTH, original_ln_before=True, residual_before_ln="post_add", non_linearity="relu6")
}

Adapted = collections.namedtuple("Adapted", "base_file folder outputs base")


class HubOracle:
    """Everything of one architecture is made by one process, when it is asked for first."""

    def __init__(self, root):
        self.root = root
        self.make = functools.cache(self._make)

    def methods(self, architecture):
        return METHODS | (POST_NORM if architecture == "bert" else {})

    def _make(self, architecture):
        folder = self.root / f"hub-{architecture}"
        adapters = {}
        for name, fields in self.methods(architecture).items():
            for seed in (1, 2):
                adapters[f"{name}_{seed}"] = dict(fields, seed=seed)
        exporters = EXPORTERS.get(architecture, ("dynamo",))
        order = dict(architecture=architecture, folder=str(folder), adapters=adapters, exporters=exporters)
        path = self.root / f"hub-{architecture}.json"
        path.write_text(json.dumps(order))
        script = pathlib.Path(__file__).parent / "adapterhub.py"
        done = subprocess.run([str(PYTHON), str(script), str(path)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
        return folder

    def adapter(self, architecture, method, seed=1, exporter="dynamo"):
        """The export, an adapter's folder, and the logits by feed with and without it."""
        folder = self.make(architecture)
        name = f"{method}_{seed}"
        outputs, base = (dict(np.load(folder / f"{each}.npz")) for each in (name, "base"))
        return Adapted(folder / f"{exporter}.onnx", folder / name, outputs, base)


def cases(architectures=ARCHITECTURES, turn=0):
    """pytest parameters (architecture, exporter, method): every method on two architectures."""
    parameters = []
    for m, method in enumerate({**METHODS, **POST_NORM}):
        for a, architecture in enumerate(architectures):
            if method in POST_NORM and architecture != "bert":
                continue
            for e, exporter in enumerate(EXPORTERS.get(architecture, ("dynamo",))):
                chosen = (a - m - turn) % len(architectures) < 2 and e == m % 2 * (architecture in EXPORTERS)
                marks = () if chosen or method in POST_NORM else pytest.mark.full
                name = f"{architecture}-{exporter}-{method}"
                parameters.append(pytest.param(architecture, exporter, method, marks=marks, id=name))
    return pytest.mark.parametrize("architecture, exporter, method", parameters)
