# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Small random models of architectures beside those of zoo.py: what each does to an export that others
do not. A maker gives (model, inputs by name); the linears that adapters go on stand beside it."""

import torch
import transformers
import zoo

_TEXT = dict(
    vocab_size=96,
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=2,
    num_attention_heads=4,
    max_position_embeddings=40,
    pad_token_id=0,
    bos_token_id=1,
    eos_token_id=2,
)
_VISION = dict(
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=2,
    num_attention_heads=4,
    image_size=16,
    patch_size=4,
    num_labels=3,
)
_SWIN = dict(image_size=16, patch_size=2, embed_dim=16, depths=[1, 2], num_heads=[2, 4], window_size=2)
_WAV2VEC2 = dict(
    conv_dim=(16, 16),
    conv_kernel=(8, 3),
    conv_stride=(4, 2),
    num_feat_extract_layers=2,
    num_conv_pos_embeddings=8,
    num_conv_pos_embedding_groups=2,
    apply_spec_augment=False,
)
_DEBERTA = dict(
    relative_attention=True,
    position_buckets=8,
    pos_att_type=["p2c", "c2p"],
    norm_rel_ebd="layer_norm",
    share_att_key=True,
    max_relative_positions=-1,
    position_biased_input=False,
    type_vocab_size=0,
)
_RESNET = dict(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", num_labels=3)
_ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
_BERT = ["query", "key", "value", "dense"]
_GROUPED = dict(num_key_value_heads=2)


def _text(model, config, **fields):
    def make():
        ids = torch.randint(3, 95, (2, 6), generator=torch.Generator().manual_seed(7))
        configuration = getattr(transformers, config)(**(_TEXT | fields))
        feed = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        return getattr(transformers, model)(configuration), feed

    return make


def _data(model, config, name, shape, **fields):
    def make():
        data = torch.randn(2, *shape, generator=torch.Generator().manual_seed(7))
        return getattr(transformers, model)(getattr(transformers, config)(**fields)), {name: data}

    return make


def _vision(model, config, size=16, **fields):
    return _data(model, config, "pixel_values", (3, size, size), **(fields or _VISION))


ARCHITECTURES = {
    # Layers shared by the whole encoder.
    "albert": (
        _text("AlbertForSequenceClassification", "AlbertConfig", embedding_size=16),
        [*_BERT, "ffn"],
    ),
    # Projections of positions without a batch, by the modules that project tokens.
    "deberta": (
        _text("DebertaV2Model", "DebertaV2Config", **_DEBERTA),
        ["query_proj", "value_proj", "dense"],
    ),
    # Windows: rows lie in front of them in one dimension.
    "swin": (
        _vision("SwinForImageClassification", "SwinConfig", **_SWIN),
        ["query", "key", "value", "dense", "reduction"],
    ),
    # Resize of position embeddings.
    "dinov2": (
        _vision("Dinov2Model", "Dinov2Config", size=20, **(_VISION | {"mlp_ratio": 2})),
        ["query", "value", "q_proj", "v_proj", "fc1", "fc2"],
    ),
    # Norms of groups of channels, grouped one-dimensional convolutions.
    "wav2vec2": (
        _data("Wav2Vec2Model", "Wav2Vec2Config", "input_values", (200,), **(_TEXT | _WAV2VEC2)),
        ["q_proj", "v_proj", "out_proj"],
    ),
    # Batch norms folded into convolutions.
    "resnet": (_vision("ResNetForImageClassification", "ResNetConfig", **_RESNET), ["convolution"]),
    "roberta": (_text("RobertaForSequenceClassification", "RobertaConfig"), _BERT),
    "electra": (_text("ElectraForSequenceClassification", "ElectraConfig", embedding_size=16), _BERT),
    "modernbert": (
        _text("ModernBertModel", "ModernBertConfig", global_attn_every_n_layers=2, local_attention=8),
        ["Wqkv", "Wo", "Wi"],
    ),
    "neox": (_text("GPTNeoXForCausalLM", "GPTNeoXConfig"), ["query_key_value", "dense", "dense_h_to_4h"]),
    "falcon": (_text("FalconForCausalLM", "FalconConfig", alibi=False), ["query_key_value", "dense"]),
    "mistral": (_text("MistralForCausalLM", "MistralConfig", sliding_window=4, **_GROUPED), _ALL),
    "phi": (_text("PhiForCausalLM", "PhiConfig"), ["q_proj", "v_proj", "dense", "fc1", "fc2"]),
    "phi3": (_text("Phi3ForCausalLM", "Phi3Config", **_GROUPED), ["qkv_proj", "gate_up_proj", "down_proj"]),
    "gemma2": (_text("Gemma2ForCausalLM", "Gemma2Config", head_dim=8, sliding_window=4, **_GROUPED), _ALL),
    "qwen2": (_text("Qwen2ForCausalLM", "Qwen2Config", **_GROUPED), _ALL),
    "qwen3": (_text("Qwen3ForCausalLM", "Qwen3Config", head_dim=8, **_GROUPED), _ALL),
    "olmo2": (_text("Olmo2ForCausalLM", "Olmo2Config", **_GROUPED), _ALL),
    "beit": (_vision("BeitForImageClassification", "BeitConfig"), ["q_proj", "v_proj", "fc1", "query"]),
}


def make(name):
    """(model in evaluation mode, inputs by name); the same weights on every call, no vector all equal."""
    torch.manual_seed(0)
    model, feed = ARCHITECTURES[name][0]()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(torch.randn(parameter.shape) * 0.1)
    return model.eval(), feed


class First(torch.nn.Module):
    """The first output, of plain tensors."""

    def __init__(self, model, names):
        super().__init__()
        self.model, self.names = model, names
        self.options = {"use_cache": False} if "ForCausalLM" in type(model).__name__ else {}

    def forward(self, *tensors):
        feed = dict(zip(self.names, tensors, strict=True))
        return self.model(**feed, **self.options, return_dict=False)[0]


def export(name, exporter, path):
    """Writes the model to `path` with a dynamic batch, and a dynamic sequence of texts."""
    model, feed = make(name)
    axes = {0: "batch", 1: "sequence"} if "input_ids" in feed else {0: "batch"}
    common = dict(input_names=list(feed), output_names=["y"], verbose=False)
    wrapper, inputs = First(model, list(feed)).eval(), tuple(feed.values())
    with zoo.quiet():
        if exporter == "dynamo":
            dims = {axis: torch.export.Dim(axis_name, min=1, max=32) for axis, axis_name in axes.items()}
            shapes = (tuple(dims for _ in feed),)
            torch.onnx.export(
                wrapper, inputs, str(path), dynamic_shapes=shapes, dynamo=True, external_data=False, **common
            )
        else:
            dynamic = {each: axes for each in feed} | {"y": {0: "batch"}}
            torch.onnx.export(wrapper, inputs, str(path), dynamic_axes=dynamic, dynamo=False, **common)
    return path
