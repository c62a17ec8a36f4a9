# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Which graphs a model is exported as, and what each computes: a function of tensors that calls the model itself."""

import dataclasses
from collections.abc import Callable

import torch
from transformers.modeling_outputs import BaseModelOutput
from transformers.models.auto import modeling_auto

from adapter_opt.exporting import caches
from adapter_opt.exporting import inputs as made_inputs
from adapter_opt.exporting.inputs import Input


@dataclasses.dataclass
class Part:
    """A graph to be made.

    name: of its file. inputs: that it takes. function: of the model and the inputs' tensors by name, gives the outputs
    by name. modules: beside the model, that the function uses.
    """

    name: str
    inputs: list[Input]
    function: Callable
    modules: dict = dataclasses.field(default_factory=dict)


class Traced(torch.nn.Module):
    """A part as exporters take it: tensors in and out. The attribute's name becomes a prefix of all module paths in
    the graph, and adapters match by what is behind it."""

    def __init__(self, model, part, outputs=None):
        super().__init__()
        self.model, self.part, self.outputs = model, part, outputs
        for name, module in part.modules.items():
            setattr(self, name, module)

    def named(self, *tensors):
        """All outputs by name."""
        names = [each.name for each in self.part.inputs]
        return self.part.function(self.model, dict(zip(names, tensors, strict=True)))

    def forward(self, *tensors):
        made = self.named(*tensors)
        return tuple(made[name] for name in self.outputs)


def tensors_of(output):
    """The tensors among a model's outputs, under the names that transformers gives them."""
    if isinstance(output, torch.Tensor):
        return {"output": output}
    if isinstance(output, (tuple, list)):
        return {f"output_{i}": each for i, each in enumerate(output) if isinstance(each, torch.Tensor)}
    return {name: each for name, each in output.items() if isinstance(each, torch.Tensor)}


def _without_cache(model):
    """Turns caches off, wherever the switch is: most models look at their configuration, some take an argument."""
    for config in (model.config, model.config.get_text_config()):
        if hasattr(config, "use_cache"):
            config.use_cache = False
    return {"use_cache": False} if "use_cache" in made_inputs.parameters(model.forward) else {}


def of_model(source, options):
    """The parts of a model. options are those of the export; a ValueError where they ask for what there is not."""
    model, folder = source.model, source.folder
    if model.config.is_encoder_decoder and _runs_in_steps(model):
        return _encoder_and_decoder(model, folder, options)
    if model.can_generate() and _reads_more_than_text(model):
        raise ValueError(
            f"{type(model).__name__} generates text from images or sound beside text; such models cannot be exported"
        )
    if options.cache:
        if not model.can_generate():
            raise ValueError(f"{type(model).__name__} generates nothing, so it has no cache; leave cache out")
        return [_cached_decoder(model, folder, options.inputs)]
    parts = [_whole(model, folder, options.inputs)]
    if made_inputs.is_contrastive(model) and not options.inputs:
        parts += _towers(model, folder)
    return parts


def _runs_in_steps(model):
    """Whether its decoder runs again and again on what the encoder gives. Heads that answer at once do not."""
    if "decoder_input_ids" not in made_inputs.parameters(model.forward):
        return False
    return model.can_generate() or type(model).__name__ in set(modeling_auto.MODEL_MAPPING_NAMES.values())


def _reads_more_than_text(model):
    taken = made_inputs.parameters(model.forward)
    return "input_ids" in taken and bool(taken & {"pixel_values", "input_features", "input_values"})


def _whole(model, folder, wanted):
    given = _without_cache(model)

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
            # The projection that texts and images are compared in goes by the name that the whole model has for it.
            return {f"{kind}_embeds": named.pop("pooler_output")} | named

        return inputs, function

    taken = {name: made_inputs.parameters(getattr(model, f"get_{name}_features")) for name in ("text", "image")}
    text = tower("text", "get_text_features", made_inputs.text(folder, model, taken["text"]))
    image = tower("image", "get_image_features", made_inputs.pixels(folder, model, taken["image"]))
    return [Part("text_model", *text), Part("vision_model", *image)]


def _past_inputs(layers, batch="batch"):
    return [
        Input(f"past_key_values.{layer.name}.{kind}", (batch, heads, layer.length, width), layer.dtype)
        for layer in layers
        for kind, (heads, width) in (("key", layer.key), ("value", layer.value))
    ]


def _cached_decoder(model, folder, wanted):
    """A decoder that reads any number of tokens behind any number of earlier ones, none included."""
    inputs = made_inputs.of_model(folder, model, wanted)
    # The mask speaks of the earlier tokens, too.
    inputs = [
        dataclasses.replace(each, dims=("batch", "total_sequence")) if each.name == "attention_mask" else each
        for each in inputs
    ]
    plain = {each.name: each for each in inputs if each.name != "attention_mask"}
    feed = dict(zip(plain, made_inputs.samples(plain.values(), made_inputs.TRACED), strict=True))
    layers = caches.layers_of(_answer(model, feed, use_cache=True).get("past_key_values"))

    def function(model, feed):
        past, rest = caches.split(feed)
        output = model(**rest, past_key_values=caches.decoder(past, layers), use_cache=True, return_dict=True)
        return tensors_of(output) | caches.present(output.past_key_values, layers)

    return Part("model", inputs + _past_inputs(layers), function)


def _answer(model, feed, **given):
    with torch.no_grad():
        return model(**feed, **given, return_dict=True)


def _encoder_and_decoder(model, folder, options):
    """An encoder, and a decoder that takes what it gives.

    Without a cache the decoder takes encoder_hidden_states. With one, what cross-attention makes of them is computed
    once, with the encoder, and the decoder takes that.
    """
    given = _without_cache(model) if not options.cache else {}
    if options.inputs:
        raise ValueError("inputs are chosen for models of one graph; an encoder and a decoder have their own")
    of_encoder = [
        dataclasses.replace(each, dims=tuple("encoder_sequence" if d == "sequence" else d for d in each.dims))
        for each in made_inputs.of_model(folder, model)
    ]
    feed = dict(zip([e.name for e in of_encoder], made_inputs.samples(of_encoder, made_inputs.TRACED), strict=True))
    states, has_mask, length = _encoded(model, feed, of_encoder)
    ids = Input("input_ids", ("batch", "sequence"), high=made_inputs.vocabulary(model.get_decoder()))
    mask = [Input("encoder_attention_mask", ("batch", length), high=1)] if has_mask else []
    cached = []
    if options.cache:
        start = torch.zeros(states.shape[0], 1, dtype=torch.int64)
        cached = caches.layers_of(_answer(model, feed, decoder_input_ids=start).get("past_key_values"), length)

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
                decoder_input_ids=start, encoder_outputs=BaseModelOutput(output[0]), use_cache=True, return_dict=True, **masks
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
    rest = _past_inputs(cached) if options.cache else [hidden]
    return [Part("encoder_model", of_encoder, encode), Part("decoder_model", [ids, *mask, *rest], decode)]


def _encoded(model, feed, inputs):
    """(the encoder's states, whether the decoder reads the mask of its inputs, the dim of the states' length)."""
    encoder = model.get_encoder()
    taken = made_inputs.parameters(encoder.forward)
    with torch.no_grad():
        states = encoder(**{name: each for name, each in feed.items() if name in taken}, return_dict=True)[0]
    first = inputs[0]
    if "encoder_sequence" in first.dims:
        return states, "attention_mask" in feed, "encoder_sequence"
    # Sounds and images are shortened on the way; a mask of theirs has no meaning for the states.
    return states, False, "encoder_length" if len(first.dynamic) > 1 else states.shape[1]
