# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What text.py measures: adapter-opt and its peers, each as an engine that opens rows of a decoder.

An engine has a name, and open(ids, length) makes rows of as many prompts as there are ids [rows, tokens],
with room for `length` tokens. Rows have prompt(), which forgets what they hold and reads the ids again;
step(), which puts one more token behind each row, the most likely one; logits [rows, vocabulary] of the last
call."""

import json
import os
import pathlib

import numpy as np

# Longer prompts are read in parts, so that no engine holds scores of all positions with all.
PART = 512


def parts(ids):
    return [ids[:, at : at + PART] for at in range(0, ids.shape[1], PART)]


class Ours:
    """adapter-opt; `adapters`: one's name, for all rows, a list of what acts on each, in turn, or None."""

    name = "adapter-opt"

    def __init__(self, model, adapters=None):
        self.model, self.adapters = model, adapters

    def open(self, ids, length):
        return OurRows(self.model.session(max_length=length, batch=len(ids)), ids, self.adapters)


class OurRows:
    def __init__(self, session, ids, adapters):
        self._session, self._ids = session, ids
        self._adapters = (adapters * len(ids))[: len(ids)] if isinstance(adapters, list) else adapters

    def prompt(self):
        self._session.reset()
        for ids in parts(self._ids):
            self.logits = self._session(ids, adapters=self._adapters)["logits"][:, -1]

    def step(self):
        tokens = self.logits.argmax(-1)[:, None]
        self.logits = self._session(tokens, adapters=self._adapters)["logits"][:, -1]


class GenAI:
    """onnxruntime-genai on a folder of its builder."""

    def __init__(self, folder, threads):
        import onnxruntime_genai as genai

        self._genai = genai
        self.name = f"onnxruntime-genai {genai.__version__}"
        path = os.path.join(folder, "genai_config.json")
        config = json.loads(pathlib.Path(path).read_text())
        config["model"]["decoder"]["session_options"]["intra_op_num_threads"] = threads
        pathlib.Path(path).write_text(json.dumps(config, indent=4))
        self._model = genai.Model(folder)

    def open(self, ids, length):
        settings = self._genai.GeneratorParams(self._model)
        settings.set_search_options(batch_size=len(ids), max_length=length, do_sample=False)
        return GenAIRows(self._genai.Generator(self._model, settings), ids.astype(np.int32))


class GenAIRows:
    def __init__(self, generator, ids):
        self._generator, self._ids = generator, ids

    def prompt(self):
        self._generator.rewind_to(0)
        # Several rows cannot be read in parts.
        for ids in parts(self._ids) if len(self._ids) == 1 else [self._ids]:
            self._generator.append_tokens(ids)
        self._chosen = False

    def step(self):
        if not self._chosen:  # behind a prompt the first call chooses a token and runs nothing
            self._generator.generate_next_token()
            self._chosen = True
        self._generator.generate_next_token()

    @property
    def logits(self):
        return np.array(self._generator.get_output("logits"))[:, -1]


class Torch:
    """transformers, without compiling."""

    def __init__(self, folder, width, threads):
        import torch
        import transformers

        self._torch, self._transformers = torch, transformers
        torch.set_num_threads(threads)
        self.name = f"torch {torch.__version__}, transformers {transformers.__version__}"
        dtype = {"f32": torch.float32, "bf16": torch.bfloat16}[width]
        self._model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).eval()

    def open(self, ids, length):
        return TorchRows(self._torch, self._transformers, self._model, ids)


class TorchRows:
    def __init__(self, torch, transformers, model, ids):
        self._torch, self._model, self._ids = torch, model, torch.from_numpy(ids)
        self._cache = lambda: transformers.DynamicCache(config=model.config)

    def _call(self, ids):
        with self._torch.inference_mode():
            made = self._model(ids, past_key_values=self._past, use_cache=True, logits_to_keep=1)
        self._logits = made.logits[:, -1]

    def prompt(self):
        self._past = self._cache()
        for ids in parts(self._ids):
            self._call(ids)

    def step(self):
        self._call(self._logits.argmax(-1, keepdim=True))

    @property
    def logits(self):
        return self._logits.float().numpy()
