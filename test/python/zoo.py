# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Small random models of four real architectures, their exports by both of torch's exporters, and inputs.

Every export has dynamic axes and is made at (batch 2, sequence 7), so that a size which leaks into the graph
shows at any other. Weights are random but norms' weights and biases too: all ones and all zeros would hide a
missing update, and exporters merge equal initialisers (`merged_initialisers` keeps them for that test).
"""

import contextlib
import io
import logging
import warnings

import torch
import transformers

VOCABULARY = 96
EXPORTERS = ("dynamo", "torchscript")
EXPORT_SHAPE = (2, 7)
# Feeds by name: (batch, sequence) of text; images take the batch alone.
FEEDS = {"wide": (3, 12), "one": (1, 1), "thin": (1, 5), "tall": (5, 1)}

_TEXT = dict(
    vocab_size=VOCABULARY,
    hidden_size=32,
    intermediate_size=80,
    num_hidden_layers=2,
    num_attention_heads=4,
    max_position_embeddings=32,
)


def _bert():
    config = transformers.BertConfig(**_TEXT, num_labels=5)
    return transformers.BertForSequenceClassification(config)


def _gpt2():
    config = transformers.GPT2Config(vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4, n_positions=32)
    config.bos_token_id = config.eos_token_id = 0
    return transformers.GPT2LMHeadModel(config)


def _llama():
    config = transformers.LlamaConfig(**_TEXT, num_key_value_heads=2, tie_word_embeddings=False)
    return transformers.LlamaForCausalLM(config)


def _vit():
    config = transformers.ViTConfig(
        hidden_size=32,
        intermediate_size=80,
        num_hidden_layers=2,
        num_attention_heads=4,
        image_size=12,
        patch_size=4,
        num_labels=5,
    )
    return transformers.ViTForImageClassification(config)


_MAKERS = {"bert": _bert, "gpt2": _gpt2, "llama": _llama, "vit": _vit}
ARCHITECTURES = tuple(_MAKERS)


def make(architecture, spread_vectors=True):
    """The base model, in evaluation mode, with the same weights on every call."""
    torch.manual_seed(0)
    model = _MAKERS[architecture]().eval()
    if spread_vectors:
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.dim() == 1:
                    parameter.add_(torch.randn(parameter.shape) * 0.1)
    return model


def inputs(architecture, shape, seed=7):
    """Inputs by name, as torch tensors. Text: input_ids and attention_mask, int64 [batch, sequence], row 1
    padded on the right where there is room. Images: pixel_values, f32 [batch, 3, 12, 12]."""
    batch, sequence = shape
    generator = torch.Generator().manual_seed(seed)
    if architecture == "vit":
        return {"pixel_values": torch.randn(batch, 3, 12, 12, generator=generator)}
    ids = torch.randint(0, VOCABULARY, (batch, sequence), generator=generator)
    mask = torch.ones_like(ids)
    if batch > 1 and sequence > 3:
        mask[1, -2:] = 0
    return {"input_ids": ids, "attention_mask": mask}


def forward(model, feed):
    """The model's logits for inputs by name."""
    options = {"use_cache": False} if "input_ids" in feed and hasattr(model.config, "use_cache") else {}
    if "bert" in model.config.model_type:
        options = {}
    return model(**feed, **options, return_dict=True).logits


class Logits(torch.nn.Module):
    """Plain tensors in and out. Its attribute's name becomes a prefix of all module paths in the export."""

    def __init__(self, model, names):
        super().__init__()
        self.model, self.names = model, names

    def forward(self, *tensors):
        return forward(self.model, dict(zip(self.names, tensors, strict=True)))


@contextlib.contextmanager
def quiet():
    """Swallows what exporters and PEFT print and warn."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)


def export(model, architecture, exporter, path):
    """Writes the model with dynamic axes to `path`, one file with its weights inside."""
    feed = inputs(architecture, EXPORT_SHAPE)
    names = list(feed)
    wrapper = Logits(model, names).eval()
    axes = {0: "batch"} if architecture == "vit" else {0: "batch", 1: "sequence"}
    common = dict(input_names=names, output_names=["logits"])
    with quiet():
        if exporter == "dynamo":
            dims = {axis: torch.export.Dim(name, min=1, max=32) for axis, name in axes.items()}
            torch.onnx.export(
                wrapper,
                tuple(feed.values()),
                str(path),
                dynamic_shapes=(tuple(dims for _ in names),),
                dynamo=True,
                external_data=False,
                verbose=False,
                **common,
            )
        else:
            torch.onnx.export(
                wrapper,
                tuple(feed.values()),
                str(path),
                dynamic_axes={name: axes for name in names} | {"logits": {0: "batch"}},
                dynamo=False,
                **common,
            )
    return path
