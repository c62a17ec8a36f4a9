# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Which combinations of architecture, exporter and method a mode is tested with.

The cross product is too much for every run. By default `onnx` meets every method on two architectures, the
exporter alternating; the compiled modes meet every method on one architecture, another one for each mode, and
all meet `plain` on all. The rest is marked `full`: run it with `pytest -m "full or not full"`.
"""

import methods
import pytest
import zoo

MODES = ("onnx", "build", "switch", "row", "slot", "call")


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
                if method != "plain":
                    # Merging meets every method on two architectures, the compiled modes on one.
                    meets = (m + turn, m + turn + 1) if mode == "onnx" else (m + turn,)
                    chosen = chosen and a in {i % len(having) for i in meets}
                marks = () if chosen else pytest.mark.full
                name = f"{architecture}-{exporter}-{method}"
                parameters.append(pytest.param(architecture, exporter, method, marks=marks, id=name))
    return pytest.mark.parametrize("architecture, exporter, method", parameters)


def _exports(every):
    parameters = []
    for a, architecture in enumerate(zoo.ARCHITECTURES):
        for e, exporter in enumerate(zoo.EXPORTERS):
            marks = () if every or (a + e) % 2 == 0 else pytest.mark.full
            parameters.append(
                pytest.param(architecture, exporter, marks=marks, id=f"{architecture}-{exporter}")
            )
    return pytest.mark.parametrize("architecture, exporter", parameters)


# Each architecture by both exporters, and by one of them unless all tests are asked for.
every_export = _exports(every=True)
exports = _exports(every=False)
