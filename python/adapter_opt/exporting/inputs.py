# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Which inputs a model has, with their dims and values to trace and to check it with.

A dim is a size or a name, and names are dynamic. Which inputs there are say, in this order: the caller, the
folder's tokenizer or processor, the configuration; always within what the model's forward takes.
"""

import dataclasses
import inspect

import numpy as np
import torch
from transformers.models.auto import modeling_auto

from adapter_opt.exporting import source

# Sizes of dynamic dims: where graphs are made, and where they are checked. All differ, so that none stands
# for another.
_NAMES = "batch sequence past_sequence encoder_sequence encoder_length samples frames choices".split()
TRACED = dict(zip(_NAMES, (2, 7, 5, 11, 13, 4000, 120, 4), strict=True))
CHECKED = tuple(
    dict(zip(_NAMES, sizes, strict=True))
    for sizes in ((3, 5, 4, 6, 8, 4801, 97, 2), (1, 1, 9, 3, 4, 3217, 140, 5))
)
_CHOOSERS = set(modeling_auto.MODEL_FOR_MULTIPLE_CHOICE_MAPPING_NAMES.values())
MASK = 0  # ones and zeros, of which zeros hide what is padding
_SUMS = {"total_sequence": ("past_sequence", "sequence")}
_TEXT_DEFAULTS = ("input_ids", "attention_mask", "token_type_ids")


@dataclasses.dataclass(frozen=True)
class Input:
    """An input of a graph. high: integers lie below it, or it is a MASK; None means numbers of a normal
    distribution."""

    name: str
    dims: tuple
    dtype: torch.dtype = torch.int64
    high: int | None = None

    @property
    def dynamic(self):
        """Its dynamic dims by axis."""
        return {axis: dim for axis, dim in enumerate(self.dims) if isinstance(dim, str)}

    def sample(self, sizes, generator):
        """A tensor of it. Masks hide the end of all rows but the first, as padding does."""
        shape = [size_of(dim, sizes) for dim in self.dims]
        if self.high is None:
            return torch.randn(shape, generator=generator).to(self.dtype)
        if self.high != MASK:
            return torch.randint(0, self.high, shape, generator=generator, dtype=self.dtype)
        mask = torch.ones(shape, dtype=self.dtype)
        if len(shape) > 1 and shape[-1] > 3:
            mask[1:, ..., -2:] = 0
        return mask


def size_of(dim, sizes):
    """The size of a dim under sizes by name. A name that sizes lack is another's with something before it."""
    if not isinstance(dim, str):
        return dim
    if dim in _SUMS:
        return sum(sizes[part] for part in _SUMS[dim])
    if dim.endswith("_batch"):  # of texts and images, which need not be as many
        return sizes["batch"] + (dim == "image_batch")
    return sizes[dim]


def samples(inputs, sizes, seed=0):
    """Tensors of the inputs, the same on every call."""
    generator = torch.Generator().manual_seed(seed)
    return tuple(each.sample(sizes, generator) for each in inputs)


def parameters(callable_):
    """Names of the parameters that a function declares."""
    return set(inspect.signature(callable_).parameters)


def text(folder, model, taken, wanted=None, batch="batch"):
    """Inputs of text that `taken`, names of parameters, has room for.

    wanted: names that the caller chose.
    """
    names = wanted or source.tokenizer_names(folder) or _without_tokenizer(model.config)
    dims = (batch, "choices", "sequence") if type(model).__name__ in _CHOOSERS else (batch, "sequence")
    config = model.config.get_text_config()
    found = []
    for name in names:
        if name not in taken and not wanted:
            continue
        if name.endswith("mask"):
            high = MASK
        elif name == "input_ids":
            high = vocabulary(model)
        elif name == "token_type_ids":
            high = getattr(config, "type_vocab_size", None) or 2
        elif name == "position_ids":
            high = positions(model).high
        elif name.endswith("ids"):
            high = 2
        else:
            continue
        found.append(Input(name, dims, high=high))
    return sorted(
        found, key=lambda each: _TEXT_DEFAULTS.index(each.name) if each.name in _TEXT_DEFAULTS else 3
    )


def positions(model, batch="batch"):
    """Where tokens stand in their row."""
    config = model.config.get_text_config()
    high = getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", None) or 512
    return Input("position_ids", (batch, "sequence"), high=high)


def vocabulary(model):
    """How many tokens there are."""
    embeddings = None
    try:
        embeddings = model.get_input_embeddings()
    except (NotImplementedError, AttributeError):
        pass
    size = getattr(embeddings, "num_embeddings", None)
    return size or getattr(model.config.get_text_config(), "vocab_size", None) or 2


def _without_tokenizer(config):
    kinds = getattr(config.get_text_config(), "type_vocab_size", None) or 0
    return _TEXT_DEFAULTS if kinds > 1 else _TEXT_DEFAULTS[:2]


def pixels(folder, model, taken, batch="batch"):
    """Inputs of images: as the image processor makes them, else of the size that the configuration names."""
    generator = np.random.default_rng(0)
    made = source.preprocessed(folder, [generator.integers(0, 255, (480, 480, 3), dtype=np.uint8)])
    if made and "pixel_values" in made:
        return [
            _like(value, name, (batch, *value.shape[1:]), model)
            for name, value in made.items()
            if name in taken and isinstance(value, torch.Tensor)
        ]
    config = (
        getattr(model.config, "vision_config", None) or getattr(model.config, "encoder", None) or model.config
    )
    size = getattr(config, "image_size", None) or 224
    size = tuple(size) if isinstance(size, (list, tuple)) else (size, size)
    frames = (config.num_frames,) if hasattr(config, "num_frames") else ()
    channels = getattr(config, "num_channels", None) or 3
    return [Input("pixel_values", (batch, *frames, channels, *size), model.dtype)]


def sound(folder, model, taken, name):
    """Inputs of sound. A dim of what the feature extractor makes is dynamic if it follows the sound's
    length."""
    generator = np.random.default_rng(0)
    short, long = (
        source.preprocessed(folder, [generator.standard_normal(n).astype(np.float32)]) for n in (16000, 24000)
    )
    if short and name in short:
        moving = "samples" if name == "input_values" else "frames"
        found = []
        for key, value in short.items():
            if key not in taken or not isinstance(value, torch.Tensor):
                continue
            dims = [moving if a != b else a for a, b in zip(value.shape, long[key].shape, strict=True)]
            found.append(_like(value, key, ("batch", *dims[1:]), model))
        return found
    config = model.config
    bins = getattr(config, "num_mel_bins", None) or getattr(config, "input_feat_per_channel", None)
    if name == "input_values" and bins is None:
        dims = ("samples",)
    elif name == "input_values":
        dims = (getattr(config, "max_length", None) or "frames", bins)
    elif hasattr(config, "max_source_positions") and bins and "conv1" in _child_names(model):
        # Whisper takes thirty seconds and no less: two convolutions, the second of stride 2, give the
        # positions.
        dims = (bins, 2 * config.max_source_positions)
    else:
        dims = ("frames", bins or getattr(config, "feature_projection_input_dim", None) or 80)
    return [Input(name, ("batch", *dims), model.dtype)]


def _like(value, name, dims, model):
    """The input that a tensor of a preprocessor's is for: numbers in the model's type, or a mask."""
    return Input(name, dims, model.dtype) if value.is_floating_point() else Input(name, dims, high=MASK)


def _child_names(model):
    encoder = model.get_encoder() if hasattr(model, "get_encoder") else model
    return {name for name, _ in encoder.named_children()}


def of_model(folder, model, wanted=None):
    """The inputs of a model as its forward takes them, without those of a decoder's side."""
    taken = parameters(model.forward)
    apart = is_contrastive(model)
    main = getattr(model, "main_input_name", "input_ids")
    found = []
    if "input_ids" in taken and (main == "input_ids" or "pixel_values" in taken or "input_features" in taken):
        found += text(folder, model, taken, wanted, "text_batch" if apart else "batch")
    if "pixel_values" in taken:
        found += pixels(folder, model, taken, "image_batch" if apart else "batch")
    for name in ("input_values", "input_features"):
        if name in taken and (main == name or "input_ids" in taken):
            found += sound(folder, model, taken, name)
    if wanted:
        if unknown := sorted(set(wanted) - taken):
            raise ValueError(
                f"{type(model).__name__} takes no '{unknown[0]}'; it takes: {', '.join(sorted(taken))}"
            )
        if unmade := sorted(set(wanted) - {each.name for each in found}):
            raise ValueError(f"input '{unmade[0]}': nothing says which shape it has")
        found = [each for each in found if each.name in wanted]
    if not found:
        raise ValueError(
            f"{type(model).__name__} takes neither text nor images nor sound: no inputs can be made up"
        )
    return found


def is_contrastive(model):
    """Whether the model holds texts beside images, as CLIP does, each of which can be run alone."""
    has_towers = hasattr(model, "get_text_features") and hasattr(model, "get_image_features")
    return has_towers and not model.can_generate()
