# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Fixtures of the end-to-end tests. `pytest test/python` needs the tools in build/bin (see product.py)."""

import functools
import tempfile

import product
import pytest
import torch
from modules import PYTHON, HubOracle
from oracle import Oracle

torch.set_num_threads(1)

# What compiling with an adapter at a time, or with room for one, ends with as long as it is not there.
NOT_YET = {
    "switch": ("--adapter=a={lora}@switch", "an op 'adapter.select' stands in the graph"),
    "row": ("--adapter=a={lora}@row", "an op 'adapter.select' stands in the graph"),
    "slot": ("--adapter-slot=a:lora,rank=8@row", "Unknown command line argument '--adapter-slot"),
}


@functools.cache
def not_yet(feature):
    """The message with which this build of adapter-opt says that it has no `feature`, or None. Any other
    failure is no reason to skip a test."""
    data = product.ROOT / "examples" / "digits" / "data"
    option, message = NOT_YET[feature]
    option = option.format(lora=data / "turned-lora")
    with tempfile.TemporaryDirectory() as folder:
        done = product.call("adapter-opt", data / "digits.onnx", option, "-o", f"{folder}/probe.adapt")
    return done.stderr.strip() if message in done.stderr else None


@pytest.fixture(autouse=True)
def _skip_what_is_not_there(request):
    """@pytest.mark.needs("switch") skips a test, with adapter-opt's own words, until compilation has it."""
    for mark in request.node.iter_markers("needs"):
        for feature in mark.args:
            if reason := not_yet(feature):
                pytest.skip(f"adapter-opt has no '{feature}' yet: {reason}")


@pytest.fixture(scope="session")
def oracle(tmp_path_factory):
    """Exports, adapters and references of this session."""
    return Oracle(tmp_path_factory.mktemp("oracle"))


@pytest.fixture(scope="session")
def hub(tmp_path_factory):
    """The same of AdapterHub's adapters."""
    if not PYTHON.exists():
        pytest.skip(f"{PYTHON} is not there; scripts/setup.sh makes it")
    return HubOracle(tmp_path_factory.mktemp("hub"))


@pytest.fixture(scope="session")
def small(oracle):
    """(path of a small ONNX export, folder of an adapter that fits it), for tests about other things."""
    return oracle.export("vit", "torchscript"), oracle.adapter("vit", "plain").folder
