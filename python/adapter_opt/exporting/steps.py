# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Models that answer in steps: an encoder that runs once, and a decoder that runs for every token."""

import dataclasses

import torch
from transformers.modeling_outputs import BaseModelOutput

from adapter_opt.exporting import caches
from adapter_opt.exporting import inputs as made_inputs
from adapter_opt.exporting.inputs import Input
from adapter_opt.exporting.part import Part, tensors_of, without_cache


def parts(model, folder, options):
    """An encoder, and a decoder that takes what it gives.

    Without a cache the decoder takes encoder_hidden_states. With one, what cross-attention makes of them is
    computed once, with the encoder, and the decoder takes that.
    """
    given = without_cache(model) if not options.cache else {}
    if options.inputs:
        raise ValueError("inputs are chosen for models of one graph; an encoder and a decoder have their own")
    of_encoder = [
        dataclasses.replace(each, dims=tuple("encoder_sequence" if d == "sequence" else d for d in each.dims))
        for each in made_inputs.of_model(folder, model)
    ]
    feed = dict(
        zip([e.name for e in of_encoder], made_inputs.samples(of_encoder, made_inputs.TRACED), strict=True)
    )
    states, has_mask, length = _encoded(model, feed, of_encoder)
    ids = Input("input_ids", ("batch", "sequence"), high=made_inputs.vocabulary(model.get_decoder()))
    mask = [Input("encoder_attention_mask", ("batch", length), high=made_inputs.MASK)] if has_mask else []
    cached = _layers(model, feed, states, length) if options.cache else []

    def encode(model, feed):
        encoder = model.get_encoder()
        taken = made_inputs.parameters(encoder.forward)
        output = encoder(**{name: each for name, each in feed.items() if name in taken}, return_dict=True)
        made = {"last_hidden_state": output[0]}
        if options.cache:
            # One token is decoded for the sake of what cross-attention keeps; the rest of it is dead code.
            start = feed[of_encoder[0].name].new_zeros(output[0].shape[0], 1, dtype=torch.int64)
            masks = {"attention_mask": feed["attention_mask"]} if has_mask else {}
            decoded = model(
                decoder_input_ids=start,
                encoder_outputs=BaseModelOutput(output[0]),
                use_cache=True,
                return_dict=True,
                **masks,
            )
            made |= caches.present(decoded.past_key_values, [each for each in cached if each.crosses])
        return made

    def decode(model, feed):
        past, rest = caches.split(feed)
        masks = {"attention_mask": rest["encoder_attention_mask"]} if has_mask else {}
        hidden, more = rest.get("encoder_hidden_states"), dict(given)
        if options.cache:
            keys = next(past[f"{each.name}.key"] for each in cached if each.crosses)
            # Cross-attention reads its part of the cache; of this only the size matters.
            hidden = keys.new_zeros(keys.shape[0], keys.shape[2], states.shape[2])
            more = {"past_key_values": caches.encoder_decoder(past, cached), "use_cache": True}
        output = model(
            decoder_input_ids=rest["input_ids"],
            encoder_outputs=BaseModelOutput(hidden),
            return_dict=True,
            **masks,
            **more,
        )
        made = {name: each for name, each in tensors_of(output).items() if not name.startswith("encoder_")}
        if options.cache:
            made |= caches.present(output.past_key_values, [each for each in cached if not each.crosses])
        return made

    hidden = Input("encoder_hidden_states", ("batch", length, states.shape[2]), states.dtype)
    rest = caches.inputs(cached) if options.cache else [hidden]
    return [Part("encoder_model", of_encoder, encode), Part("decoder_model", [ids, *mask, *rest], decode)]


def _encoded(model, feed, inputs):
    """(the encoder's states, whether the decoder reads the mask of its inputs, the dim of the states'
    length)."""
    encoder = model.get_encoder()
    taken = made_inputs.parameters(encoder.forward)
    with torch.no_grad():
        states = encoder(**{name: each for name, each in feed.items() if name in taken}, return_dict=True)[0]
    first = inputs[0]
    if "encoder_sequence" in first.dims:
        return states, "attention_mask" in feed, "encoder_sequence"
    # Sounds and images are shortened on the way; a mask of theirs has no meaning for the states.
    return states, False, "encoder_length" if len(first.dynamic) > 1 else states.shape[1]


def _layers(model, feed, states, length):
    """The layers of the cache after one token."""
    start = torch.zeros(states.shape[0], 1, dtype=torch.int64)
    with torch.no_grad():
        output = model(**feed, decoder_input_ids=start, use_cache=True, return_dict=True)
    return caches.layers_of(model, output, length)
