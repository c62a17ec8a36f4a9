# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The loop that makes text: a batch of rows in which each prompt has its own adapter, and where the next
prompt takes the place of one that is done."""

import collections
import collections.abc
import dataclasses
import os

import numpy as np

from adapter_opt import arguments
from adapter_opt.call_arguments import widened
from adapter_opt.runtime import Model, load
from adapter_opt.text.sampling import Sampling
from adapter_opt.text.tokens import Stream, Texts


@dataclasses.dataclass(frozen=True)
class Generated:
    """What came of a prompt.

    ids: the new tokens, without one that ended it.
    text: of them, up to a stop string; None where there is no tokenizer.
    reason: why it ended, "end" (a token that ends texts), "stop" (a stop string) or "length".
    """

    ids: list
    text: str | None
    reason: str


def generate(
    model: Model | str | os.PathLike,
    prompts,
    adapters=None,
    *,
    tokenizer: str | os.PathLike | None = None,
    max_new_tokens: int = 128,
    temperature: float = 0.0,
    top_k: int = 0,
    top_p: float = 1.0,
    min_p: float = 0.0,
    repetition_penalty: float = 1.0,
    seed: int = 0,
    stop=(),
    end_ids=None,
    settings=None,
    stream=None,
    batch: int = 8,
):
    """Continues prompts; returns a Generated for each, or one for a single prompt.

    model: compiled with `--stateful`, or the path of one.
    prompts: a text, the ids of one, or messages ({"role": ..., "content": ...}) for the chat template; or a
        list of such.
    adapters: what acts on all prompts, or a list with what acts on each, as for a call of a model.
    tokenizer: the folder with tokenizer.json, as ao.export makes it; needed for texts and messages.
    max_new_tokens: of each prompt.
    temperature, top_k, top_p, min_p, repetition_penalty, seed: see adapter_opt.text.sampling.Sampling. By
        itself the best token is taken always.
    stop: a text or several at which a prompt's text ends; they are no part of it.
    end_ids: tokens that end a text; by themselves those of generation_config.json beside the tokenizer.
    settings: properties of adapters, as for a call of a model.
    stream: a function of a prompt's number and the text that came, a piece at a time.
    batch: prompts that are worked on at a time.

    What is wrong with an argument is a ValueError or TypeError.
    """
    sampling = Sampling(repetition_penalty, temperature, top_k, top_p, min_p, seed)
    arguments.whole("max_new_tokens", max_new_tokens, least=1)
    arguments.whole("batch", batch, least=1)
    texts = None if tokenizer is None else Texts(tokenizer)
    stops = _stops(stop, texts)
    if end_ids is None:
        end_ids = texts.end_ids if texts else ()
    one = _is_one(prompts)
    listed = [prompts] if one else list(prompts)
    encoded = [_ids(prompt, texts) for prompt in listed]
    if not encoded:
        return []
    if isinstance(adapters, (list, tuple)) and len(adapters) != len(encoded):
        raise ValueError(f"{len(adapters)} adapters for {len(encoded)} prompts; give one for each")
    each = list(adapters) if isinstance(adapters, (list, tuple)) else [adapters] * len(encoded)
    opened = model if isinstance(model, Model) else load(model)
    try:
        rows = [
            _Row(number, ids, adapter, texts and Stream(texts, stops))
            for number, (ids, adapter) in enumerate(zip(encoded, each, strict=True))
        ]
        _run(opened, rows, sampling, set(end_ids), max_new_tokens, settings, stream, batch)
        results = [row.result() for row in rows]
    finally:
        if opened is not model:
            opened.close()
    return results[0] if one else results


class _Row:
    """A prompt and what comes of it."""

    def __init__(self, number, prompt, adapter, stream):
        self.number, self.prompt, self.adapter, self.stream = number, prompt, adapter, stream
        self.ids, self.reason, self.source = [], None, None

    def result(self):
        return Generated(self.ids, self.stream.text if self.stream else None, self.reason)


def _run(model, rows, sampling, end_ids, most, settings, listener, batch):
    width = min(batch, len(rows))
    longest = max(len(row.prompt) for row in rows) + most
    session = model.session(max_length=longest, batch=width)
    waiting, free = collections.deque(rows), list(range(width))
    at_work = {}  # the session's row: its prompt, and the tokens that it has to read
    while waiting or at_work:
        while waiting and free:
            row, place = waiting.popleft(), free.pop(0)
            session.reset(place)
            row.source = sampling.source(row.number)
            at_work[place] = (row, row.prompt)
        places = list(at_work)
        outputs = session(
            [tokens for _, tokens in at_work.values()],
            rows=places,
            adapters=[row.adapter for row, _ in at_work.values()],
            settings=settings,
        )
        name = "logits" if "logits" in outputs else next(iter(outputs))
        scores = outputs[name]
        if model.outputs[name].dtype == "bfloat16":
            scores = widened(scores)
        for place, last in zip(places, scores[:, -1], strict=True):
            row = at_work[place][0]
            token = sampling.choose(last, row.prompt + row.ids, row.source)
            _advance(row, token, end_ids, most, listener)
            if row.reason:
                del at_work[place]
                free.append(place)
            else:
                at_work[place] = (row, [token])


def _advance(row, token, end_ids, most, listener):
    """Takes the next token; sets the reason where it is the last."""
    pieces = []
    if token in end_ids:
        row.reason = "end"
    else:
        row.ids.append(token)
        if row.stream:
            pieces.append(row.stream.add(token))
        if row.stream and row.stream.is_stopped:
            row.reason = "stop"
        elif len(row.ids) == most:
            row.reason = "length"
    if row.reason and row.stream:
        pieces.append(row.stream.end())
        if row.stream.is_stopped:
            row.reason = "stop"
    text = "".join(pieces)
    if listener and text:
        listener(row.number, text)


def _is_one(prompts):
    if isinstance(prompts, (str, np.ndarray)):
        return True
    if not isinstance(prompts, (list, tuple)):
        raise TypeError(
            f"prompts must be a text, ids, messages or a list of such, not {type(prompts).__name__}"
        )
    return bool(prompts) and isinstance(prompts[0], (int, np.integer, collections.abc.Mapping))


def _ids(prompt, texts):
    is_text = isinstance(prompt, str) or (len(prompt) > 0 and isinstance(prompt[0], collections.abc.Mapping))
    if is_text and texts is None:
        raise ValueError("prompts of text need a tokenizer: the folder with the model's tokenizer.json")
    ids = texts.encode(prompt) if is_text else [arguments.whole("a token", int(each)) for each in prompt]
    if not ids:
        raise ValueError("a prompt has no tokens")
    return ids


def _stops(stop, texts):
    stops = [stop] if isinstance(stop, str) else list(stop)
    if not all(isinstance(each, str) and each for each in stops):
        raise ValueError("stop must be a text or several, none of them empty")
    if stops and texts is None:
        raise ValueError("stop strings need a tokenizer")
    return stops
