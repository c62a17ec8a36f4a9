# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The decoder that text.py measures, and its files: checkpoint, graph of ao.export, graphs of GenAI's
builder, LoRA adapters. What is made stays in a folder, for the next run."""

import dataclasses
import os
import pathlib
import shutil
import subprocess
import sys

import rows

# Llama's shape, 0.39 billion parameters with 24 layers.
SHAPE = dict(
    vocab_size=32000,
    hidden_size=896,
    intermediate_size=4864,
    num_hidden_layers=24,
    num_attention_heads=14,
    num_key_value_heads=2,
    head_dim=64,
    max_position_embeddings=8192,
)
ADAPTERS, RANK = rows.ADAPTERS, rows.RANK
# Of one weight, with the scale of f16 that a block of 32 integers has at the least.
BYTES = {"f32": 4, "bf16": 2, "int8": 1 + 2 / 32, "int4": 0.5 + 2 / 32}


@dataclasses.dataclass(frozen=True)
class Work:
    """What a call cannot do without: multiply-adds counted as two operations, bytes read."""

    operations: float
    bytes: float


class Decoder:
    """The decoder with `layers` layers in `folder`."""

    def __init__(self, ao, folder, layers):
        self.ao, self.shape = ao, SHAPE | {"num_hidden_layers": layers}
        self.folder = os.path.join(folder, f"decoder-{layers}")
        os.makedirs(self.folder, exist_ok=True)
        self.linears = rows.llama_linears(self.shape)

    def _made(self, name, make):
        """The path of a folder in which make(path) has put something, in this run or an earlier one."""
        path = os.path.join(self.folder, name)
        if not os.path.exists(path):
            part = f"{path}.part"
            shutil.rmtree(part, ignore_errors=True)
            make(part)
            os.rename(part, path)
        return path

    def checkpoint(self):
        """A folder of transformers, with random weights."""

        def make(path):
            import torch
            import transformers
            from tokenizers import Tokenizer, models

            torch.manual_seed(0)
            transformers.LlamaForCausalLM(transformers.LlamaConfig(**self.shape)).save_pretrained(path)
            # The builder wants a tokenizer, which nothing here uses.
            words = models.WordLevel({f"t{i}": i for i in range(128)}, unk_token="t3")
            transformers.PreTrainedTokenizerFast(tokenizer_object=Tokenizer(words)).save_pretrained(path)

        return self._made("torch", make)

    def exported(self):
        """The graph of ao.export, with caches and the last position's logits."""

        def make(path):
            self.ao.export(self.checkpoint(), path, cache=True, last_logits=True, check=False)

        return os.path.join(self._made("onnx", make), "model.onnx")

    def built(self, width):
        """The folder that GenAI's builder makes, with logits of the last position only; integers in blocks
        of 32."""

        def make(path):
            # Its own process: it looks for modules of its own by short names.
            command = [sys.executable, "-m", "onnxruntime_genai.models.builder", "-e", "cpu"]
            command += ["-p", {"f32": "fp32"}.get(width, width), "-i", self.checkpoint(), "-o", path]
            command += ["-c", os.path.join(self.folder, "cache"), "--extra_options", "prune_lm_head=true"]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                raise RuntimeError(f"the builder failed: {done.stderr[-1000:]}")

        return self._made(f"builder-{width}", make)

    def artifact(self, compiler, name, graph, width, flags):
        """What adapter-opt makes of a graph: always anew, by the compiler that there is now."""
        path = os.path.join(self.folder, f"{name}-{width}.adapt")
        command = [str(compiler), graph, "--stateful", *flags, "-o", path]
        command += [] if width == "f32" else [f"--weights={width}"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(done.stderr)
        return path

    def adapters(self):
        """Paths by name of LoRAs of rank 16 on every linear of the layers."""
        return {
            f"a{i}": str(rows.write_adapter(pathlib.Path(self.folder) / f"lora{i}", self.linears, i + 1))
            for i in range(ADAPTERS)
        }

    def work(self, width, count, tokens, context, adapters=0):
        """Of a call with `tokens` new tokens of each of `count` rows behind `context`; `adapters`: how many
        different ones act, one on each row."""
        weights = sum(outer * inner for outer, inner in self.linears.values())
        head = self.shape["vocab_size"] * self.shape["hidden_size"]
        factors = RANK * sum(outer + inner for outer, inner in self.linears.values())
        acting = factors if adapters else 0
        heads = self.shape["num_hidden_layers"] * self.shape["num_key_value_heads"]
        cache = 2 * heads * self.shape["head_dim"]
        operations = 2 * count * (tokens * (weights + acting) + head)
        read = (weights + head) * BYTES[width] + 4 * adapters * factors + 4 * count * context * cache
        return Work(operations, read)
