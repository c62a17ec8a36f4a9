# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Fixtures of the end-to-end tests. `pytest test/python` needs the tools in build/bin (see product.py)."""

import claimed
import claimed_models
import pytest
import torch
from modules import PYTHON, HubOracle
from oracle import Oracle

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def oracle(tmp_path_factory):
    """Exports, adapters and references of this session."""
    return Oracle(tmp_path_factory.mktemp("oracle"))


@pytest.fixture(scope="session")
def exports(oracle):
    """exports(architecture, exporter="dynamo"): the path of an ONNX file."""
    return lambda architecture, exporter="dynamo": oracle.export(architecture, exporter)


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


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """Exports and checkpoints of the models in claimed_models.py."""
    return claimed.Session(tmp_path_factory.mktemp("claims"), claimed_models.MAKERS, claimed_models.part)
