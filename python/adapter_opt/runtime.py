# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Compiled models: opening them, calling them, and changing their adapters.

What is wrong with an argument, an adapter or an artifact is a ValueError that says what was expected.
"""

import json
import os

import numpy as np

from adapter_opt import _runtime


def load(
    path: str | os.PathLike,
    threads: int = 0,
    memory_limit: int = 0,
    check: bool = True,
    allow_other_base: bool = False,
) -> "Model":
    """Opens an artifact (`model.adapt`). It is native code: open only what comes from a trusted source.

    threads: that work on one call; 0 means as many as there are processors.
    memory_limit: bytes that calls may use beside the weights; 0 means no limit.
    check: compare the files with their hashes in the background. Once damage is found every call is a
        ValueError that names it; finish_check() waits for the result.
    allow_other_base: adapters may be loaded that say they were made of another base than the model's.
    """
    return Model(path, threads, memory_limit, check, allow_other_base)


class Model:
    """An open model. Its methods may be called from several threads at the same time."""

    def __init__(self, path, threads=0, memory_limit=0, check=True, allow_other_base=False):
        self._model = _runtime.Model(os.fspath(path), threads, memory_limit, check, allow_other_base)

    def __call__(self, inputs=None, /, *, adapters=None, settings=None, **named) -> dict[str, np.ndarray]:
        """Runs the model and returns its outputs as a dict of NumPy arrays by name.

        Inputs are NumPy arrays or anything with __dlpack__, given by keyword or, where names are no
        identifiers, as a dict. adapters is None, what acts on all rows, or a list with what acts on each:
        the name of an adapter, perhaps with a task of it ("poly:2"), None, or several with the share of
        each one's changes that comes to be, as in {"fr": 0.7, "sql": 0.3}; where adapters were compiled
        with time="row-token" it may be a list of such for each token of the row. settings are properties of
        these adapters for this call, as in {"sql.scale": 0.7, "sql.rank": 4}, of those that were compiled to
        come with the call; of an adapter of several tasks, "poly.task" too.
        """
        given = {**(inputs or {}), **named}
        arrays = [(name, _array(value)) for name, value in given.items()]
        one = _mix(adapters) if isinstance(adapters, (str, dict)) else None
        rows = None if adapters is None or one is not None else list(adapters)
        tokens = 0
        if rows and all(isinstance(row, (list, tuple)) for row in rows):
            tokens = len(rows[0])
            if any(len(row) != tokens for row in rows) or not tokens:
                raise ValueError("adapters by token: the rows must have the same number of tokens")
            rows = [token for row in rows for token in row]
        rows = None if rows is None else [_mix(each) for each in rows]
        return dict(self._model.call(arrays, None, one, rows, list((settings or {}).items()), tokens))

    def switch(self, name: str | None) -> None:
        """Switches an adapter into the weights, or with None back to the base."""
        self._model.switch(name)

    def load_adapter(self, name: str, path: str | os.PathLike, slot: str | None = None) -> None:
        """Loads a PEFT folder under a name; slot is needed where the model has several. An adapter in a
        load-bound slot acts until it is unloaded."""
        self._model.load_adapter(name, os.fspath(path), slot)

    def unload_adapter(self, name: str) -> None:
        """Forgets an adapter; calls under way finish with it."""
        self._model.unload_adapter(name)

    def set(self, name: str, value: float) -> None:
        """Sets a property for all calls to come, as in set("sql.scale", 0.7) or set("sql.rank", 4)."""
        self._model.set(name, value)

    @property
    def adapters(self) -> dict[str, dict]:
        """The adapters by name: a dict of {"time", "origin", "scale", "rank"}."""
        return {each.pop("name"): each for each in json.loads(self._model.adapters())}

    def info(self) -> dict:
        """What the model is made of, as a dict."""
        return json.loads(self._model.info())

    @property
    def check_progress(self) -> str:
        """How far comparing the files with their hashes is: "off", "running", "passed" or "failed"."""
        return self._model.check_progress()

    def finish_check(self) -> None:
        """Returns once every file has been compared with its hashes; damage is a ValueError. What the model
        answered before is then made of files as they were compiled."""
        self._model.finish_check()

    def verify(self) -> None:
        """The same, with every file read anew."""
        self._model.verify()


def _mix(adapters):
    """The adapters of a row as the runtime reads them: "0.7*fr+0.3*sql"."""
    if not isinstance(adapters, dict):
        return adapters
    if not adapters:
        return None
    return "+".join(f"{float(share)!r}*{name}" for name, share in adapters.items())


def _array(value):
    """The value as a contiguous array on the CPU that the extension can view."""
    if isinstance(value, np.ndarray) or not hasattr(value, "__dlpack__"):
        array = np.asarray(value)
        native = array.astype(array.dtype.newbyteorder("="), copy=False)
        return native if native.flags.c_contiguous else np.ascontiguousarray(native)
    # torch refuses to export tensors that require a gradient.
    value = value.detach() if hasattr(value, "detach") else value
    return value.contiguous() if hasattr(value, "contiguous") else value
