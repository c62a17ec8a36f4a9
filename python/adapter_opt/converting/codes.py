# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Weights as codes of few bits: Bi-LoRA and Bi-Adapter, the file that their authors' code writes."""

import statistics

import numpy as np

from adapter_opt.converting.folder import Folder, Forms, narrow


def code_book(bits):
    """The values of 2^bits codes, which part a normal distribution, by the authors' iteration."""
    normal = statistics.NormalDist()
    values = [0.0] * 2**bits
    for _ in range(500):
        middles = [(a + b) / 2 for a, b in zip(values[1:], values[:-1], strict=True)]
        edges = [0.0, *map(normal.cdf, middles), 1.0]
        updated = [normal.inv_cdf((a + b) / 2) for a, b in zip(edges[1:], edges[:-1], strict=True)]
        if updated == values:
            break
        values = updated
    return np.array(values, np.float32).astype(np.float64)


class _Bytes:
    """The file: for each layer its codes, the first in a byte's lowest bits, then mean and deviation."""

    def __init__(self, path, data):
        self.path, self.data, self.at = path, data, 0

    def _next(self, count, what):
        part = self.data[self.at : self.at + count]
        if len(part) != count:
            raise ValueError(f"{self.path}: ends at byte {len(self.data)}, within {what}")
        self.at += count
        return part

    def layer(self, bits, shape, what):
        per_byte, count = 8 // bits, int(np.prod(shape))
        if count % per_byte:
            raise ValueError(f"{self.path}: {what}, {list(shape)}, does not fill bytes with {bits} bits each")
        packed = np.frombuffer(self._next(count // per_byte, what), np.uint8)
        digits = packed[:, None] >> (bits * np.arange(per_byte)) & (2**bits - 1)
        mean, deviation = self.floats(2, what).astype(np.float64)
        return narrow(code_book(bits)[digits.reshape(shape)] * deviation + mean)

    def floats(self, count, what):
        values = np.frombuffer(self._next(4 * count, what), "<f4").astype(np.float32)
        if not np.isfinite(values).all():
            raise ValueError(f"{self.path}: {what} holds what is no number")
        return values

    def finish(self):
        if self.at != len(self.data):
            raise ValueError(
                f"{self.path}: has {len(self.data) - self.at} bytes behind the head; it is of another kind, "
                "or of other bits, dim, width, blocks or classes"
            )


def bi_lora(
    sources, kind="lora", bits=1, dim=32, scale=1.0, classes=None, bihead=False, width=768, blocks=12
):
    """Bi-LoRA and Bi-Adapter: the authors' file, which has no names: blocks in order, then the head."""
    (source,) = sources
    if kind not in ("lora", "adaptformer"):
        raise ValueError(f"kind is '{kind}'; expected lora or adaptformer")
    if bits not in (1, 2, 4, 8) or min(dim, width, blocks) < 1 or classes is None or classes < 1:
        raise ValueError("bits are 1, 2, 4 or 8, and dim, width, blocks and classes positive")
    data = _Bytes(source.path, source.raw)
    source.raw = None
    names = ("attn.lora_q", "attn.lora_v") if kind == "lora" else ("adapter_mlp",)
    pairs = []
    for path in (f"blocks.{block}.{name}" for block in range(blocks) for name in names):
        down = data.layer(bits, (dim, width), f"{path}.adapter_down")
        pairs.append((down, data.layer(bits, (width, dim), f"{path}.adapter_up")))
    # A head of codes has no bias, and takes the place of one that has.
    head = data.layer(1, (classes, width), "the head") if bihead else data.floats(classes * width, "the head")
    bias = np.zeros(classes, np.float32) if bihead else data.floats(classes, "the head's bias")
    data.finish()
    head = {"head.weight": head.reshape(classes, width), "head.bias": bias}
    return _lora(pairs, head, scale, width) if kind == "lora" else _adapter(pairs, head, scale, dim, width)


def _lora(pairs, head, scale, width):
    """The factors of queries and values as those of the weight that has keys between them."""
    adapter = Forms()
    for block, (query, value) in enumerate(zip(pairs[::2], pairs[1::2], strict=True)):
        rank = len(query[0])
        up = np.zeros((3 * width, 2 * rank), np.float32)
        up[:width, :rank], up[2 * width :, rank:] = query[1], value[1]
        factors = {"A": np.concatenate([query[0], value[0]]), "B": up}
        adapter.add("lora", f"blocks.{block}.attn.qkv", factors, scale=scale)
    for name, array in head.items():
        adapter.add("replace", "head", {"value": array}, name.removeprefix("head."))
    return adapter.folder()


def _adapter(pairs, head, scale, dim, width):
    arrays = {}
    for block, (down, up) in enumerate(pairs):
        stem = f"blocks.{block}.output_adapters.adapters.bi."
        arrays |= {
            f"{stem}adapter_down.0.weight": down,
            f"{stem}adapter_down.0.bias": np.zeros(dim, np.float32),
            f"{stem}adapter_up.weight": up,
            f"{stem}adapter_up.bias": np.zeros(width, np.float32),
        }
    fields = {
        "mh_adapter": False,
        "output_adapter": True,
        "is_parallel": True,
        "non_linearity": "relu",
        "reduction_factor": width / (dim + 0.5),
        "scaling": scale,
    }
    config = {"name": "bi", "version": "adapters.1.3.0", "config": fields}
    more = {"model_head.safetensors": head, "head_config.json": {"config": None}}
    return Folder(config, arrays, "adapter.safetensors", more)
