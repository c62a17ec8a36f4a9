# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Text as tokens and back, by the files that lie in a model's folder: tokenizer.json, chat templates,
generation_config.json."""

import json
import os

from adapter_opt import arguments


class Texts:
    """The tokenizer of a model's folder.

    end_ids: of the tokens that end a text.
    """

    def __init__(self, folder):
        self.folder = arguments.path("tokenizer", folder)
        path = os.path.join(self.folder, "tokenizer.json")
        if not os.path.isfile(path):
            raise ValueError(
                f"{self.folder}: holds no tokenizer.json; give the folder of the model that does"
            )
        try:
            import tokenizers
        except ImportError:
            raise ValueError("text needs the package tokenizers: pip install tokenizers jinja2") from None
        try:
            self._tokenizer = tokenizers.Tokenizer.from_file(path)
        except Exception as error:  # the package raises plain Exception
            raise ValueError(f"{path}: {error}") from None
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._settings = _read(self.folder, "tokenizer_config.json")
        self.end_ids = self._end_ids()

    def encode(self, prompt):
        """The ids of a text, or of a list of messages, {"role": ..., "content": ...}, by the chat
        template."""
        if isinstance(prompt, str):
            return self._tokenizer.encode(prompt).ids
        return self._tokenizer.encode(self._rendered(prompt), add_special_tokens=False).ids

    def decode(self, ids):
        """The text of ids, without special tokens."""
        return self._tokenizer.decode(list(ids), skip_special_tokens=True)

    def _end_ids(self):
        named = _read(self.folder, "generation_config.json").get("eos_token_id")
        if named is None:
            named = _read(self.folder, "config.json").get("eos_token_id")
        found = set(named if isinstance(named, list) else [] if named is None else [named])
        if not found and (text := self._special("eos_token")):
            found = {self._tokenizer.token_to_id(text)} - {None}
        if not all(isinstance(each, int) for each in found):
            raise ValueError(f"{self.folder}: eos_token_id is {named!r}, expected numbers of tokens")
        return found

    def _special(self, name):
        value = self._settings.get(name) or _read(self.folder, "special_tokens_map.json").get(name)
        return value.get("content") if isinstance(value, dict) else value

    def _template(self):
        path = os.path.join(self.folder, "chat_template.jinja")
        if os.path.isfile(path):
            with open(path, encoding="utf-8") as file:
                return file.read()
        found = self._settings.get("chat_template")
        if isinstance(found, list):  # several by name
            found = {each.get("name"): each.get("template") for each in found}.get("default")
        if not isinstance(found, str):
            raise ValueError(f"{self.folder}: has no chat template; give prompts as text")
        return found

    def _rendered(self, messages):
        try:
            import jinja2.sandbox
        except ImportError:
            raise ValueError("chat templates need the package jinja2: pip install jinja2") from None

        def fail(message):
            raise jinja2.TemplateError(message)

        # The template is a stranger's: it runs in jinja2's sandbox.
        environment = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        environment.filters["tojson"] = lambda value, indent=None: json.dumps(
            value, ensure_ascii=False, indent=indent
        )
        environment.globals["raise_exception"] = fail
        special = {
            name: self._special(name) or "" for name in ("bos_token", "eos_token", "unk_token", "pad_token")
        }
        try:
            template = environment.from_string(self._template())
            return template.render(messages=list(messages), add_generation_prompt=True, **special)
        except jinja2.TemplateError as error:
            raise ValueError(f"{self.folder}: chat template: {error}") from None


class Stream:
    """Text that grows token by token, without the end of a character that is not complete or of what may
    become a stop string."""

    def __init__(self, texts, stops):
        self._texts, self._stops = texts, stops
        self._ids, self._from, self._to = [], 0, 0
        self._decoded = ""  # all but an incomplete character
        self._given = 0  # of it
        self.is_stopped = False

    def add(self, token):
        """Takes a token; returns what can be read now."""
        self._ids.append(token)
        before = self._texts.decode(self._ids[self._from : self._to])
        after = self._texts.decode(self._ids[self._from :])
        if len(after) > len(before) and not after.endswith("\ufffd"):
            self._decoded += after[len(before) :]
            self._from, self._to = self._to, len(self._ids)
        return self._take(is_end=False)

    def end(self):
        """What is left, once nothing comes any more."""
        if not self.is_stopped:
            before = self._texts.decode(self._ids[self._from : self._to])
            self._decoded += self._texts.decode(self._ids[self._from :])[len(before) :]
            self._to = len(self._ids)
        return self._take(is_end=True)

    @property
    def text(self):
        """All that was given so far."""
        return self._decoded[: self._given]

    def _take(self, is_end):
        if self.is_stopped:
            return ""
        places = [place for stop in self._stops if (place := self._decoded.find(stop)) >= 0]
        if places:
            self.is_stopped = True
            end = max(min(places), self._given)
        else:
            end = len(self._decoded) - (0 if is_end else self._held())
        piece, self._given = self._decoded[self._given : end], end
        return piece

    def _held(self):
        """How much at the end may be the beginning of a stop string."""
        longest = max(map(len, self._stops), default=0)
        for size in range(min(longest - 1, len(self._decoded)), 0, -1):
            tail = self._decoded[-size:]
            if any(stop.startswith(tail) for stop in self._stops):
                return size
        return 0


def _read(folder, name):
    path = os.path.join(folder, name)
    if not os.path.isfile(path):
        return {}
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from None
    if not isinstance(found, dict):
        raise ValueError(f"{path}: is not a dict")
    return found
