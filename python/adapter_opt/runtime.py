# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Compiled models: opening them, calling them, and changing their adapters.

What is wrong with a value, an adapter or an artifact is a ValueError that says what was expected; with the
type of an argument a TypeError; a path at which nothing is a FileNotFoundError; what needs more memory than
there is a MemoryError.
"""

import collections.abc
import functools
import json
import os
import shutil
import threading
import typing

import numpy as np

from adapter_opt import _runtime, arguments, call_arguments, temporary
from adapter_opt.session import Session


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


class Port(typing.NamedTuple):
    """An input or output: its type's name in NumPy, and its sizes, a name for one that varies."""

    dtype: str
    shape: tuple[int | str, ...]


class Model:
    """An open model. Its methods may be called from several threads at the same time.

    As a context it is closed at the end: `with ao.load("model.adapt") as model: ...`.
    """

    def __init__(self, path, threads=0, memory_limit=0, check=True, allow_other_base=False):
        self._path = os.path.abspath(arguments.path("path", path))
        self._model = _runtime.Model(
            self._path,
            arguments.whole("threads", threads),
            arguments.whole("memory_limit", memory_limit),
            arguments.flag("check", check),
            arguments.flag("allow_other_base", allow_other_base),
        )
        self._manifest = _identity(self._path)
        self._loading, self._closed = threading.Lock(), False

    def __call__(
        self, inputs=None, /, *, adapters=None, settings=None, entry=None, **named
    ) -> dict[str, np.ndarray]:
        """Runs the model and returns its outputs as a dict of NumPy arrays by name.

        Inputs are NumPy arrays or anything with __dlpack__, given by keyword or, where names are no
        identifiers, as a dict; what a tokenizer returns can be given as it is. adapters is None, what acts on
        all rows, or a list with what acts on each: the name of an adapter, perhaps with a task of it
        ("poly:2"), None, or several with the share of each one's changes that comes to be, as in
        {"fr": 0.7, "sql": 0.3}; where adapters were compiled with time="row-token" it may be a list of such
        for each token of the row. settings are properties of these adapters for this call, as in
        {"sql.scale": 0.7, "sql.rank": 4}, of those that were compiled to come with the call; of an adapter of
        several tasks, "poly.task" too. entry is the graph that is meant, where the model has several; the
        first by itself.

        Ctrl-C raises KeyboardInterrupt at once; what the call was at ends in the background.
        """
        arguments.text("entry", entry, optional=True)
        if inputs is not None and not isinstance(inputs, collections.abc.Mapping):
            raise TypeError(f"inputs must be a dict of arrays by name, not {type(inputs).__name__}")
        given = {**(inputs or {}), **named}
        arrays = [
            (arguments.text("an input's name", name), call_arguments.array(name, value))
            for name, value in given.items()
        ]
        one, rows, tokens = call_arguments.rows(adapters)
        try:
            return dict(
                self._model.call(arrays, entry, one, rows, call_arguments.properties(settings), tokens)
            )
        except ValueError:
            self._check_names(given, entry)
            raise

    def session(self, max_length: int = 4096, batch: int = 1, entry: str | None = None) -> "Session":
        """Rows of text, `batch` of them, each with a cache of its own for up to max_length tokens. Memory is
        taken by rows as they begin.

        The model must be compiled with `--stateful`. entry: the graph, where the model has several."""
        self._check_session(entry)
        return Session(self, batch, max_length, entry)

    def _check_session(self, entry):
        arguments.text("entry", entry, optional=True)
        if self._closed:
            raise ValueError("the model is closed")
        if entry is not None and entry not in self._entries:
            raise ValueError(f"there is no graph '{entry}'; the model has {', '.join(self._entries)}")
        graph = self._entries[entry] if entry else next(iter(self._entries.values()))
        if "session" not in graph:
            raise ValueError(f"the graph '{graph['name']}' keeps no state; compile it with --stateful")

    def _check_names(self, given, entry):
        """Of a call that failed: whether names are what is wrong, in terms of all of them."""
        if self._closed:
            return
        known = self._entries.get(entry) if entry else next(iter(self._entries.values()))
        if known is None:
            raise ValueError(f"there is no graph '{entry}'; the model has {', '.join(self._entries)}")
        names = [each["name"] for each in known["inputs"]]
        call_arguments.check_names(given, names, "the model's inputs are")

    @functools.cached_property
    def _entries(self):
        """The graphs by name, the first first. Not looked at in opening, which is to be quick."""
        return {entry["name"]: entry for entry in self.info()["entries"]}

    @property
    def inputs(self) -> dict[str, Port]:
        """The inputs of the first graph by name."""
        return _ports(next(iter(self._entries.values()))["inputs"])

    @property
    def outputs(self) -> dict[str, Port]:
        """The outputs of the first graph by name."""
        return _ports(next(iter(self._entries.values()))["outputs"])

    def __repr__(self):
        name = os.path.basename(self._path)
        if self._closed:
            return f"<{type(self).__name__} {name}, closed>"
        info = self.info()
        adapters = [f"{each} ({what['time']})" for each, what in self.adapters.items()]
        rooms = [f"{slot['name']} ({slot['time']})" for slot in info["slots"]]
        lines = [f"<{type(self).__name__} {name} for {info['cpu']}"]
        for title, ports in (("inputs", self.inputs), ("outputs", self.outputs)):
            sizes = [f"{key} {port.dtype}[{', '.join(map(str, port.shape))}]" for key, port in ports.items()]
            lines.append(f"{title}: {', '.join(sizes)}")
        lines += [f"graphs: {', '.join(self._entries)}"] if len(self._entries) > 1 else []
        lines += [f"adapters: {', '.join(adapters)}"] if adapters else []
        lines += [f"room: {', '.join(rooms)}"] if rooms else []
        return "\n  ".join(lines) + ">"

    def close(self) -> None:
        """Gives back the model's memory, once calls under way are done. Every later use is a ValueError."""
        self._closed = True
        self._model.close()

    def __enter__(self) -> "Model":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def save(self, path: str | os.PathLike) -> None:
        """Copies the artifact to the folder `path`, which must not exist; a FileExistsError where it does.
        Adapters that were loaded and properties that were set meanwhile are no part of it."""
        path = os.path.abspath(arguments.path("path", path, exists=False))
        if os.path.lexists(path):
            raise FileExistsError(f"{path} exists; the artifact is saved to a new folder")
        beside = temporary.Folder(f"{os.path.basename(path)}.tmp", os.path.dirname(path))
        try:
            copy = shutil.copytree(self._path, os.path.join(beside.path, "copy"))
            if _identity(self._path) != self._manifest:
                raise ValueError(f"{self._path} was replaced after the model was opened; open it anew")
            os.rename(copy, path)
        finally:
            beside.remove()

    def switch(self, name: str | None) -> None:
        """Switches an adapter into the weights, or with None back to the base."""
        self._model.switch(arguments.text("name", name, optional=True))

    def load_adapter(
        self, name: str, path: str | os.PathLike, slot: str | None = None, replace: bool = False
    ) -> None:
        """Loads a PEFT folder under a name; slot is needed where the model has several. An adapter in a
        load-bound slot acts until it is unloaded.

        A name in use is a ValueError, unless `replace`: then the new adapter takes the place of the old one
        at once, for all calls that begin later, while calls under way end with the old one.
        """
        arguments.text("name", name)
        arguments.text("slot", slot, optional=True)
        arguments.flag("replace", replace)
        path = arguments.path("path", path)
        with self._loading:
            if not replace and name in self.adapters:
                raise ValueError(f"there is an adapter '{name}'; replace=True puts the new one in its place")
            self._model.load_adapter(name, path, slot)

    def unload_adapter(self, name: str) -> None:
        """Forgets an adapter; calls under way finish with it."""
        self._model.unload_adapter(arguments.text("name", name))

    def set(self, name: str, value: float) -> None:
        """Sets a property for all calls to come, as in set("sql.scale", 0.7) or set("sql.rank", 4)."""
        self._model.set(arguments.text("name", name), arguments.number("value", value))

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


def _identity(path):
    """Which file the manifest is: a new artifact comes with a new one."""
    status = os.stat(os.path.join(path, "manifest.pb"))
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _ports(ports):
    return {port["name"]: Port(port["dtype"], tuple(port["dims"])) for port in ports}
