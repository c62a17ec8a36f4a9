# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Sessions: rows of text that grow call by call, each with a cache of keys and values of its own."""

import collections.abc

import numpy as np

from adapter_opt import _runtime, arguments, call_arguments


class Session:
    """Rows of a model that was compiled with `--stateful` (`ao.compile(..., stateful=True)`); made by
    `Model.session`. Rows begin, grow and end independently of each other.

    The session makes the caches, the mask and the positions that the graph takes; calls give the rest.
    """

    def __init__(self, model, rows, max_length, entry):
        self._model = model
        self._session = _runtime.Session(
            model._model,
            arguments.text("entry", entry, optional=True),
            arguments.whole("batch", rows, least=1),
            arguments.whole("max_length", max_length, least=1),
        )
        self._rows = rows
        graph = model._entries[entry] if entry else next(iter(model._entries.values()))
        self._tokens = graph["row_input"]
        own = graph["session"]
        states = {each["past"] for each in own["states"]} | {own.get("mask"), own.get("positions")}
        self._inputs = [each["name"] for each in graph["inputs"] if each["name"] not in states]

    def __call__(
        self, inputs=None, /, *, rows=None, adapters=None, settings=None, **named
    ) -> dict[str, np.ndarray]:
        """Puts tokens behind those that rows hold; returns the outputs but for the caches.

        inputs: a list with the tokens of each row, of equal length or not, or an array [rows, tokens]; or a
            dict of such by the names of the graph's inputs, which can be keywords, too.
        rows: which ones these are, numbers of the session's; by itself the first ones.
        adapters: what acts on all of them, or a list with what acts on each, as for a call of a model. None:
            what acted on them before. A row that holds tokens keeps its adapters, with their contents, scale
            and rank; a call that would change that is a ValueError, until the row is reset.
        settings: properties of adapters, as for a call of a model; None: those of before.

        Outputs are as long as the longest row's new tokens and aligned to the right: of logits [:, -1] is
        always the last position. What stands for tokens that a row does not have is 0. Rows advance all, or,
        where anything fails, none.
        """
        self._check_open()
        given = dict(inputs) if isinstance(inputs, collections.abc.Mapping) else {}
        if inputs is not None and not isinstance(inputs, collections.abc.Mapping):
            given[self._tokens] = inputs
        given.update(named)
        arrays, lengths = self._aligned(given)
        count = len(lengths) if lengths is not None else len(dict(arrays).get(self._tokens, ()))
        if rows is None:
            rows = range(count)
        rows = [arguments.whole("a row", row) for row in rows]
        one, each, tokens = call_arguments.rows(adapters)
        if tokens:
            raise ValueError("a session takes one adapter for each row, not for each token")
        call_arguments.check_names(given, self._inputs, "a session takes")
        settings = call_arguments.properties(settings)
        return dict(self._session.call(arrays, rows, lengths, one, each, settings))

    def length(self, row: int) -> int:
        """How many tokens a row holds."""
        self._check_open()
        return self._session.length(arguments.whole("row", row))

    @property
    def lengths(self) -> list[int]:
        """How many tokens each row holds."""
        return [self.length(row) for row in range(self._rows)]

    def reset(self, row: int | None = None) -> None:
        """Forgets a row's tokens and what acts on it; all rows' with None."""
        self._check_open()
        for each in range(self._rows) if row is None else [arguments.whole("row", row)]:
            self._session.reset(each)

    def rewind(self, row: int, tokens: int) -> None:
        """Forgets the last tokens of a row."""
        self._check_open()
        self._session.rewind(arguments.whole("row", row), arguments.whole("tokens", tokens))

    def fork(self, row: int, into) -> None:
        """Makes `into`, a row or several, copies of a row with what acts on it; what they held is
        forgotten."""
        self._check_open()
        row = arguments.whole("row", row)
        for each in [into] if isinstance(into, int) else into:
            self._session.fork(row, arguments.whole("into", each))

    def __repr__(self):
        return f"<Session of {self._rows} rows, {sum(self.lengths)} tokens>"

    def _check_open(self):
        if self._model._closed:
            raise ValueError("the model is closed")

    def _aligned(self, given):
        """The inputs as arrays, lists of unequal length aligned to the right; and the rows' lengths, None
        where all are equal."""
        lengths = None
        for name, value in given.items():
            if not isinstance(value, (list, tuple)) or not value or not _is_ragged(value):
                continue
            sizes = [len(row) for row in value]
            if lengths is not None and sizes != lengths:
                raise ValueError(f"input '{name}' has rows of {sizes} tokens, and another one of {lengths}")
            lengths = sizes
        arrays = []
        for name, value in given.items():
            arguments.text("an input's name", name)
            if isinstance(value, (list, tuple)) and value and _is_ragged(value):
                value = _padded(name, value)
            elif isinstance(value, (list, tuple)):
                value = np.asarray(value)
            arrays.append((name, call_arguments.array(name, value)))
        return arrays, lengths


def _is_ragged(rows):
    if not all(hasattr(row, "__len__") for row in rows):
        return False
    return len({len(row) for row in rows}) > 1


def _padded(name, rows):
    parts = [np.asarray(row) for row in rows]
    if any(part.ndim < 1 or part.shape[1:] != parts[0].shape[1:] for part in parts):
        raise ValueError(f"input '{name}': its rows must be alike but for their length")
    if any(not len(part) for part in parts):
        raise ValueError(f"input '{name}': a row has no tokens")
    longest = max(len(part) for part in parts)
    padded = np.zeros((len(parts), longest, *parts[0].shape[1:]), np.result_type(*parts))
    for row, part in zip(padded, parts, strict=True):
        row[longest - len(part) :] = part
    return padded
