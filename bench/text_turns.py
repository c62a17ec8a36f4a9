# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Engines of text.py in turns on the same prompts: first whether they agree, then times beside limits."""

import dataclasses
import gc
import statistics
import time

import numpy as np

import bench

# The largest difference of logits, as a share of the largest one, at which two engines count as running the
# same model: one file, but sums in another order, and rows of activations rounded in ways of their own.
AGREE = {"f32": 1e-3, "bf16": 0.1, "int8": 0.1, "int4": 0.1}


@dataclasses.dataclass
class Side:
    """What is measured. `same`: sides with the same word compute the same, in any width. `reference`: the
    label of an earlier side that runs the same file, or has the same adapter on row 0. `adapters`: how many
    different ones act on 8 rows."""

    label: str
    engine: object = None
    same: str = "base"
    reference: str = ""
    adapters: int = 0
    peer: bool = False
    megabytes: float = 0
    failure: str = ""
    rows: object = None


@dataclasses.dataclass(frozen=True)
class Case:
    """A prompt of `context` tokens for each of `count` rows, or (step) one more token behind it."""

    name: str
    count: int
    context: int
    step: bool


def side(label, make, **fields):
    """A side whose engine make() gives, or why there is none: a peer that is not installed, say."""
    try:
        engine, megabytes = make()
        return Side(label, engine, megabytes=megabytes, **fields)
    except ImportError as error:
        return Side(label, failure=f"not installed: {error.name}", **fields)
    except Exception as error:  # One that fails is a row of the table.
        return Side(label, failure=reason(error), **fields)


def reason(error):
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[-1] if lines else ''}"[:300]


def difference(got, want):
    if not np.isfinite(got).all():
        return float("inf")
    return float(np.abs(got - want).max() / np.abs(want).max())


class Turns:
    """Measures sides of one width; `exact` keeps the logits of f32, by what is computed, for other widths."""

    def __init__(self, width, decoder, limits, runs, exact):
        self.width, self.decoder, self.limits, self.runs, self.exact = width, decoder, limits, runs, exact

    def measure(self, sides, cases, ids):
        """A list of records, one for each side and case. Cases of the same rows come one after the other."""
        records = []
        for key in dict.fromkeys((case.count, case.context) for case in cases):
            count, context = key
            there = [each for each in sides if not each.failure and (each.same != "eight" or count > 1)]
            agreement = self._open(there, ids[:count, :context])
            there = [each for each in there if not each.failure]
            stepped = False
            for case in cases:
                if (case.count, case.context) != key:
                    continue
                if stepped:
                    for each in there:
                        each.rows.prompt()
                records += self._case(there, case, agreement)
                stepped = case.step
            for each in sides:
                each.rows = None
            gc.collect()
        return records

    def _open(self, sides, ids):
        """Opens rows of all sides, with their prompts and one token more; {label: what of them agrees}."""
        length = ids.shape[1] + 2 * self.runs + 8
        seen, agreement = {}, {}
        for each in sides:
            try:
                each.rows = each.engine.open(ids, length)
                each.rows.prompt()
                first = np.array(each.rows.logits)
                each.rows.step()
                seen[each.label] = (first, np.array(each.rows.logits))
            except Exception as error:
                each.failure = reason(error)
                continue
            agreement[each.label] = self._agreement(each, seen, ids)
        return agreement

    def _agreement(self, side, seen, ids):
        got, found = seen[side.label], {}
        key = (side.same, *ids.shape)
        if self.width == "f32":
            self.exact.setdefault(key, got[0])
        if key in self.exact:
            found["off_f32"] = difference(got[0], self.exact[key])
        if side.adapters and "base" in seen and difference(got[0], seen["base"][0]) < 1e-3:
            side.failure = "the adapter does nothing"
        if side.reference not in seen:
            return found
        want = seen[side.reference]
        # Adapters of other rows than the first are others.
        count = 1 if side.same == "eight" else len(ids)
        got, want = [part[:count] for part in got], [part[:count] for part in want]
        tokens = [list(part.argmax(-1)) for part in (got[0], want[0], got[1], want[1])]
        found["tokens_equal"] = tokens[0] == tokens[1] and tokens[2] == tokens[3]
        found["off_reference"] = difference(got[0], want[0])
        # Where another first token was chosen, the second one's logits are of another text.
        alike = [i for i in range(count) if tokens[0][i] == tokens[1][i]]
        if alike:
            second = difference(got[1][alike], want[1][alike])
            found["off_reference"] = max(found["off_reference"], second)
        found["reference"] = side.reference
        if found["off_reference"] > AGREE[self.width]:
            side.failure = (
                f"differs from {side.reference} by {found['off_reference']:.2g} of the largest logit"
            )
        return found

    def _case(self, sides, case, agreement):
        seconds, shares = {each.label: [] for each in sides}, {each.label: [] for each in sides}
        after = self.limits.rates(self.width)
        for _ in range(self.runs):
            for each in sides:
                call = each.rows.step if case.step else each.rows.prompt
                time.sleep(bench.PAUSE)
                before = after
                if case.step:  # wakes threads and fills caches, which is nothing to a prompt's time
                    call()
                took = bench.timed(call)
                after = self.limits.rates(self.width)
                least = self.limits.seconds(self._work(each, case), before, after)
                seconds[each.label].append(took)
                shares[each.label].append(least / took)
        return [
            {
                "width": self.width,
                "engine": each.label,
                "version": each.engine.name,
                "peer": each.peer,
                "same": each.same,
                "case": case.name,
                "seconds": bench.summary(seconds[each.label]),
                "share_of_limit": statistics.median(shares[each.label]),
                "megabytes": each.megabytes,
                **agreement[each.label],
            }
            for each in sides
        ]

    def _work(self, side, case):
        adapters = min(side.adapters, case.count)
        tokens, context = (1, case.context) if case.step else (case.context, 0)
        return self.decoder.work(self.width, case.count, tokens, context, adapters)
