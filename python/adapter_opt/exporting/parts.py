# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Which graphs a model is exported as."""

import dataclasses

import torch
from transformers.models.auto import modeling_auto

from adapter_opt.exporting import caches, steps
from adapter_opt.exporting import inputs as made_inputs
from adapter_opt.exporting.part import Part, tensors_of, without_cache


def of_model(source, options):
    """The parts of a model. options are those of the export; a ValueError where they ask for what there is
    not."""
    model, folder = source.model, source.folder
    if model.config.is_encoder_decoder and _runs_in_steps(model):
        return steps.parts(model, folder, options)
    if model.can_generate() and _reads_more_than_text(model):
        raise ValueError(
            f"{type(model).__name__} generates text from text beside images or sound; such models cannot be "
            f"exported"
        )
    if options.cache:
        if not model.can_generate():
            raise ValueError(f"{type(model).__name__} generates nothing, so it has no cache; leave cache out")
        return [_cached_decoder(model, folder, options)]
    if options.last_logits:
        raise ValueError("the last logits alone are of use with a cache; ask for that, too")
    parts = [_whole(model, folder, options.inputs)]
    if made_inputs.is_contrastive(model) and not options.inputs:
        parts += _towers(model, folder)
    return parts


def _runs_in_steps(model):
    """Whether its decoder runs again and again on what the encoder gives. Heads that answer at once do
    not."""
    if "decoder_input_ids" not in made_inputs.parameters(model.forward):
        return False
    return model.can_generate() or type(model).__name__ in set(modeling_auto.MODEL_MAPPING_NAMES.values())


def _reads_more_than_text(model):
    taken = made_inputs.parameters(model.forward)
    return "input_ids" in taken and bool(taken & {"pixel_values", "input_features", "input_values"})


def _whole(model, folder, wanted):
    given = without_cache(model)

    def function(model, feed):
        return tensors_of(model(**feed, **given, return_dict=True))

    return Part("model", made_inputs.of_model(folder, model, wanted), function)


def _towers(model, folder):
    """The text's and the image's half of a model that compares them."""

    def tower(kind, method, inputs):
        def function(model, feed):
            made = getattr(model, method)(**feed)
            if isinstance(made, torch.Tensor):
                return {f"{kind}_embeds": made}
            named = tensors_of(made)
            # The projection that texts and images are compared in goes by the name that the whole model has
            # for it.
            return {f"{kind}_embeds": named.pop("pooler_output")} | named

        return inputs, function

    taken = {
        name: made_inputs.parameters(getattr(model, f"get_{name}_features")) for name in ("text", "image")
    }
    text = tower("text", "get_text_features", made_inputs.text(folder, model, taken["text"]))
    image = tower("image", "get_image_features", made_inputs.pixels(folder, model, taken["image"]))
    return [Part("text_model", *text), Part("vision_model", *image)]


def _cached_decoder(model, folder, options):
    """A decoder that reads any number of tokens behind any number of earlier ones, none included."""
    inputs = made_inputs.of_model(folder, model, options.inputs)
    given = {}
    if options.last_logits:
        if "logits_to_keep" not in made_inputs.parameters(model.forward):
            raise ValueError(
                f"{type(model).__name__} gives the logits of all positions only; leave last_logits out"
            )
        given["logits_to_keep"] = 1
    plain = {each.name: each for each in inputs if each.name != "attention_mask"}
    feed = dict(zip(plain, made_inputs.samples(plain.values(), made_inputs.TRACED), strict=True))
    with torch.no_grad():
        layers = caches.layers_of(model, model(**feed, use_cache=True, return_dict=True))
        if not options.inputs and "position_ids" not in plain and _counts_positions(model, feed):
            inputs.append(made_inputs.positions(model))
    # The mask speaks of the earlier tokens, too.
    inputs = [
        dataclasses.replace(each, dims=("batch", "total_sequence")) if each.name == "attention_mask" else each
        for each in inputs
    ]

    def function(model, feed):
        past, rest = caches.split(feed)
        output = model(
            **rest, **given, past_key_values=caches.decoder(past, layers), use_cache=True, return_dict=True
        )
        return tensors_of(output) | caches.present(output.past_key_values, layers)

    return Part("model", inputs + caches.inputs(layers), function)


def _counts_positions(model, feed):
    """Whether a decoder takes the positions of tokens, 0 and up, as what it makes up by itself. Rows of
    different lengths need them beside the mask."""
    if "position_ids" not in made_inputs.parameters(model.forward) or "input_ids" not in feed:
        return False
    positions = torch.arange(feed["input_ids"].shape[1]).expand_as(feed["input_ids"])
    plain, given = (
        model(**feed, **more, use_cache=False, return_dict=True) for more in ({}, {"position_ids": positions})
    )
    first, second = (next(iter(tensors_of(each).values())) for each in (plain, given))
    return torch.allclose(first, second, rtol=1e-3, atol=1e-5)
