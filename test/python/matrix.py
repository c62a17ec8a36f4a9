# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Which combinations of architecture, exporter and method a mode is tested with.

The cross product is too much for every run. By default `onnx` meets every method on every architecture, the
exporter alternating; the compiled modes meet every method on one architecture, another one for each mode, and
`plain` on all. The rest is marked `full`: run it with `pytest -m "full or not full"`.
"""

import methods
import pytest
import zoo

MODES = ("onnx", "build", "switch", "row", "slot")


def cases(mode, skip=()):
    """pytest parameters (architecture, exporter, method) of a mode; `skip`: methods it does not have."""
    turn = MODES.index(mode)
    parameters = []
    for m, method in enumerate(methods.METHODS):
        if method in skip:
            continue
        having = [a for a in zoo.ARCHITECTURES if method in methods.methods_of(a)]
        for a, architecture in enumerate(having):
            for e, exporter in enumerate(zoo.EXPORTERS):
                chosen = (m + a + turn) % 2 == e
                if mode != "onnx" and method != "plain":
                    chosen = chosen and (m + turn) % len(having) == a
                marks = () if chosen else pytest.mark.full
                name = f"{architecture}-{exporter}-{method}"
                parameters.append(pytest.param(architecture, exporter, method, marks=marks, id=name))
    return pytest.mark.parametrize("architecture, exporter, method", parameters)


exports = pytest.mark.parametrize(
    "architecture, exporter",
    [pytest.param(a, e, id=f"{a}-{e}") for a in zoo.ARCHITECTURES for e in zoo.EXPORTERS],
)
