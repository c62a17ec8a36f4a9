# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Caches of keys and values: as tensors of a graph, and as transformers' own objects."""

import dataclasses

import torch
from transformers.cache_utils import (
    DynamicCache,
    DynamicLayer,
    EncoderDecoderCache,
    LinearAttentionCacheLayerMixin,
)

from adapter_opt.exporting.inputs import Input

_PREFIX = "past_key_values."


@dataclasses.dataclass(frozen=True)
class Layer:
    """Keys and values of one layer.

    name: "3", or "3.decoder" and "3.encoder" where there are two.
    index: in transformers' cache.
    key, value: number of heads and width of each.
    length: the dim of their length.
    crosses: whether they are made of what an encoder gave.
    """

    name: str
    index: int
    key: tuple
    value: tuple
    dtype: torch.dtype
    length: str | int = "past_sequence"
    crosses: bool = False


def layers_of(model, output, encoder_length=None):
    """The layers of the cache that a model returned with an output; a ValueError where it keeps anything but
    keys and values."""
    cache, kind = output.get("past_key_values"), type(model).__name__
    if isinstance(cache, EncoderDecoderCache):
        own = _layers(kind, cache.self_attention_cache, "{}.decoder")
        crossing = _layers(
            kind, cache.cross_attention_cache, "{}.encoder", length=encoder_length, crosses=True
        )
        return [layer for pair in zip(own, crossing, strict=True) for layer in pair]
    if not isinstance(cache, DynamicCache):
        kept = "keeps another state" if cache is None else f"keeps a {type(cache).__name__}"
        raise ValueError(f"{kind} {kept}; export with a cache needs keys and values")
    return _layers(kind, cache, "{}")


def _layers(kind, cache, name, **more):
    found = []
    for index, layer in enumerate(cache.layers):
        if not isinstance(layer, DynamicLayer) or isinstance(layer, LinearAttentionCacheLayerMixin):
            raise ValueError(
                f"{kind} keeps a {type(layer).__name__} in layer {index}; export with a cache needs keys and "
                f"values"
            )
        if layer.keys is None:
            continue  # the layer reads an earlier one's
        sizes = [(each.shape[1], each.shape[3]) for each in (layer.keys, layer.values)]
        found.append(Layer(name.format(index), index, *sizes, layer.keys.dtype, **more))
    return found


def split(feed):
    """(tensors of the cache by "LAYER.key" and "LAYER.value", the other inputs)."""
    past = {name.removeprefix(_PREFIX): each for name, each in feed.items() if name.startswith(_PREFIX)}
    return past, {name: each for name, each in feed.items() if not name.startswith(_PREFIX)}


def decoder(past, layers):
    """transformers' cache of these tensors. Layers with a window keep everything, and the mask is what bounds
    them: then the number of earlier tokens is the length of the cache."""
    cache = DynamicCache()
    for layer in layers:
        cache.update(past[f"{layer.name}.key"], past[f"{layer.name}.value"], layer.index)
    return cache


def encoder_decoder(past, layers):
    """The same for a decoder beside an encoder, whose part is complete."""
    own = decoder(past, [layer for layer in layers if not layer.crosses])
    crossing = decoder(past, [layer for layer in layers if layer.crosses])
    cache = EncoderDecoderCache(own, crossing)
    cache.is_updated = {layer.index: True for layer in layers if layer.crosses}
    return cache


def present(cache, layers):
    """The tensors of a cache that a model returned, as outputs by name."""
    made = {}
    for layer in layers:
        half = cache
        if isinstance(cache, EncoderDecoderCache):
            half = cache.cross_attention_cache if layer.crosses else cache.self_attention_cache
        made[f"present.{layer.name}.key"] = half.layers[layer.index].keys
        made[f"present.{layer.name}.value"] = half.layers[layer.index].values
    return made


def inputs(layers):
    """What a graph takes of the cache."""
    return [
        Input(f"{_PREFIX}{layer.name}.{kind}", ("batch", heads, layer.length, width), layer.dtype)
        for layer in layers
        for kind, (heads, width) in (("key", layer.key), ("value", layer.value))
    ]
