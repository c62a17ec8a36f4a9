# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Published methods that PEFT has, by their numbers: PEFT's own adapters in each mode against PEFT's forward
(test_weight_methods.py has all of PEFT's methods)."""

import pytest
from published import check
from test_weight_methods import World
from tolerance import assert_agrees
from weight_methods import METHODS

# AdaLoRA, KaSA, RandLoRA, SHiRA.
NUMBERS = {"U01": "adalora-alpha", "U16": "kasa", "U21": "randlora", "U30": "shira"}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return World(tmp_path_factory.mktemp("peft"))


@pytest.mark.parametrize("mode", ["onnx", "switch", "call", "row"])
@pytest.mark.parametrize("number", NUMBERS)
def test_agrees_with_peft(world, number, mode):
    name = NUMBERS[number]
    (_, want), (_, _, _, plain) = world.adapter(name), world.model_of(METHODS[name].kinds)
    got, without = world.run(name, mode)
    check(number, f"PEFT's {METHODS[name].type}", mode, got, want, plain)
    for kind in without or ():
        assert_agrees(without[kind], plain[kind])
