# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Which token comes next."""

import dataclasses

import numpy as np

from adapter_opt import arguments


@dataclasses.dataclass(frozen=True)
class Sampling:
    """How tokens are chosen. Filters act in the order of the fields below, which is that of transformers.

    repetition_penalty: scores of tokens that were there before, the prompt's too, are divided by it where
        they are positive and multiplied where they are negative; 1: off.
    temperature: 0: the best token always; else scores are divided by it and a token is drawn.
    top_k: the k best tokens alone; 0: off.
    top_p: the fewest tokens that have this probability together; 1: off.
    min_p: tokens that have this share of the best one's probability; 0: off.
    seed: of what is drawn. Equal prompts of a batch differ, and no prompt's text depends on those beside it.
    """

    repetition_penalty: float = 1.0
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    seed: int = 0

    def __post_init__(self):
        for name in ("repetition_penalty", "temperature", "top_p", "min_p"):
            arguments.number(name, getattr(self, name))
        arguments.whole("top_k", self.top_k)
        arguments.whole("seed", self.seed)
        if not 0 < self.repetition_penalty < float("inf"):
            raise ValueError(f"repetition_penalty must be above 0, not {self.repetition_penalty}")
        if not 0 <= self.temperature < float("inf"):
            raise ValueError(f"temperature must be 0 or more, not {self.temperature}")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must be above 0 and at most 1, not {self.top_p}")
        if not 0 <= self.min_p <= 1:
            raise ValueError(f"min_p must lie from 0 to 1, not {self.min_p}")

    def source(self, prompt):
        """Random numbers for the prompt of that number."""
        return np.random.default_rng([self.seed, prompt])

    def choose(self, scores, earlier, source):
        """The next token.

        scores: logits, [vocabulary].
        earlier: ids of all tokens so far.
        source: of random numbers.
        """
        scores = np.asarray(scores, np.float32)
        if np.isnan(scores).any():
            raise ValueError("the model's logits are not numbers (NaN)")
        if self.repetition_penalty != 1:
            scores = _penalized(scores, earlier, self.repetition_penalty)
        if not self.temperature:
            return int(scores.argmax())
        scores = scores / np.float32(self.temperature)
        if self.top_k:
            scores = _best(scores, self.top_k)
        if self.top_p < 1:
            scores = _likely(scores, self.top_p)
        if self.min_p:
            shares = _probabilities(scores)
            scores = np.where(shares < self.min_p * shares.max(), -np.inf, scores)
        # The running sum may end a little below 1.
        sums = np.cumsum(_probabilities(scores))
        return int(np.searchsorted(sums, source.random() * sums[-1], side="right"))


def _penalized(scores, earlier, penalty):
    seen = np.unique(np.asarray(earlier, np.int64))
    scores = scores.copy()
    of_seen = scores[seen]
    scores[seen] = np.where(of_seen < 0, of_seen * penalty, of_seen / penalty)
    return scores


def _best(scores, count):
    if count >= len(scores):
        return scores
    least = np.partition(scores, -count)[-count]
    return np.where(scores < least, -np.inf, scores)


def _likely(scores, share):
    """From the least likely token on, those go that have 1 - share together; the best one stays."""
    order = np.argsort(scores, kind="stable")
    gone = order[np.cumsum(_probabilities(scores)[order]) <= 1 - share]
    scores = scores.copy()
    scores[gone[gone != order[-1]]] = -np.inf
    return scores


def _probabilities(scores):
    """In f64."""
    shifted = np.exp(scores.astype(np.float64) - scores.max())
    return shifted / shifted.sum()
