# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The models of test_claims_architectures.py, two layers each, and the parts that are exported as graphs."""

import torch
import transformers
from claimed import Part

_TOWER = dict(hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2)
_TEXT = _TOWER | dict(
    vocab_size=64,
    num_key_value_heads=1,
    max_position_embeddings=40,
    pad_token_id=0,
    bos_token_id=1,
    eos_token_id=2,
)
_BART = dict(
    vocab_size=64,
    d_model=16,
    encoder_layers=2,
    decoder_layers=2,
    encoder_attention_heads=2,
    decoder_attention_heads=2,
    encoder_ffn_dim=24,
    decoder_ffn_dim=24,
    max_position_embeddings=20,
    pad_token_id=0,
    bos_token_id=1,
    eos_token_id=2,
    decoder_start_token_id=2,
    forced_eos_token_id=None,
)
_T5 = dict(
    vocab_size=64,
    d_model=16,
    d_kv=8,
    d_ff=24,
    num_layers=2,
    num_decoder_layers=2,
    num_heads=2,
    relative_attention_num_buckets=8,
    pad_token_id=0,
    eos_token_id=1,
    decoder_start_token_id=0,
)
_CLIP_TEXT = dict(vocab_size=64, max_position_embeddings=16, eos_token_id=2, bos_token_id=1, pad_token_id=0)
_WAV2VEC2 = _TOWER | dict(
    vocab_size=12,
    conv_dim=(8, 8),
    conv_kernel=(8, 3),
    conv_stride=(4, 2),
    num_feat_extract_layers=2,
    num_conv_pos_embeddings=8,
    num_conv_pos_embedding_groups=2,
    apply_spec_augment=False,
)
_RESNET = dict(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", num_labels=3)


def _maker(model, config, **fields):
    return lambda: getattr(transformers, model)(getattr(transformers, config)(**fields))


def _resnet():
    """With the statistics of a trained model: those of a fresh one are zeros and ones."""
    model = transformers.ResNetForImageClassification(transformers.ResNetConfig(**_RESNET))
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 1.5)
    return model


def _clip():
    vision = _TOWER | dict(image_size=8, patch_size=4)
    towers = dict(text_config=_TOWER | _CLIP_TEXT, vision_config=vision, projection_dim=12)
    return transformers.CLIPModel(transformers.CLIPConfig(**towers))


MAKERS = {
    "bart": _maker("BartForConditionalGeneration", "BartConfig", **_BART),
    "t5": _maker("T5ForConditionalGeneration", "T5Config", **_T5),
    "clip": _clip,
    "gemma": _maker("GemmaForCausalLM", "GemmaConfig", **_TEXT, head_dim=8),
    "gemma2": _maker("Gemma2ForCausalLM", "Gemma2Config", **_TEXT, head_dim=8, sliding_window=4),
    "gemma3": _maker("Gemma3ForCausalLM", "Gemma3TextConfig", **_TEXT, head_dim=8, sliding_window=4),
    "nemotron": _maker("NemotronForCausalLM", "NemotronConfig", **_TEXT),
    "llama": _maker("LlamaForCausalLM", "LlamaConfig", **_TEXT, tie_word_embeddings=False),
    "tied": _maker("LlamaForCausalLM", "LlamaConfig", **_TEXT, tie_word_embeddings=True),
    "phi3": _maker("Phi3ForCausalLM", "Phi3Config", **_TEXT),
    "qwen2": _maker("Qwen2ForCausalLM", "Qwen2Config", **_TEXT),
    "resnet": _resnet,
    "wav2vec2": _maker("Wav2Vec2ForCTC", "Wav2Vec2Config", **_WAV2VEC2),
    "bert": _maker("BertForSequenceClassification", "BertConfig", **_TOWER, vocab_size=64, num_labels=5),
    "gpt2": _maker(
        "GPT2LMHeadModel",
        "GPT2Config",
        vocab_size=64,
        n_embd=16,
        n_layer=2,
        n_head=2,
        n_positions=32,
        bos_token_id=0,
        eos_token_id=0,
    ),
}


def _generator(seed):
    return torch.Generator().manual_seed(seed)


_IDS, _NEXT = (torch.randint(3, 60, (2, n), generator=_generator(n)) for n in (6, 5))
_STATES = torch.randn(2, 6, 16, generator=_generator(9))
_LENGTHS = {0: "batch", 1: "sequence"}


def _self(model):
    return model


def _decoded(module, ids, states):
    return module(input_ids=ids, encoder_hidden_states=states, use_cache=False, return_dict=False)[0]


def _answered(model, ids, mask):
    options = {"use_cache": False} if hasattr(model, "lm_head") else {}
    return model(input_ids=ids, attention_mask=mask, **options, return_dict=False)[0]


def _of(name):
    """A model of one input."""
    return lambda model, data: model(**{name: data}, return_dict=False)[0]


_SPEECH, _IMAGE, _SMALL = (
    torch.randn(2, *shape, generator=_generator(8)) for shape in ((200,), (3, 16, 16), (3, 8, 8))
)
_ENCODER = Part(lambda m: m.get_encoder(), _of("input_ids"), {"input_ids": _IDS}, _LENGTHS)
_DECODER_INPUTS = {"input_ids": _NEXT, "encoder_hidden_states": _STATES}
_DECODER = Part(lambda m: m.get_decoder(), _decoded, _DECODER_INPUTS)
# The decoder behind the path that it has in the whole model.
_PREFIXED = Part(_self, lambda m, *inputs: _decoded(m.get_decoder(), *inputs), _DECODER_INPUTS)
_BOTH = Part(
    _self,
    lambda m, i, d: m(input_ids=i, decoder_input_ids=d, use_cache=False, return_dict=False)[0],
    {"input_ids": _IDS, "decoder_input_ids": _NEXT},
)
_TOWERS = {
    "text": Part(lambda m: m.text_model, _of("input_ids"), {"input_ids": _IDS}, _LENGTHS),
    "vision": Part(lambda m: m.vision_model, _of("pixel_values"), {"pixel_values": _SMALL}),
    "whole": Part(
        _self,
        lambda m, i, p: m(input_ids=i, pixel_values=p, return_dict=False)[0],
        {"input_ids": _IDS, "pixel_values": _SMALL},
    ),
}
_SEQUENCES = {"encoder": _ENCODER, "decoder": _DECODER, "prefixed": _PREFIXED, "whole": _BOTH}
_PARTS = {
    "bart": _SEQUENCES,
    "t5": _SEQUENCES,
    "clip": _TOWERS,
    "resnet": {"whole": Part(_self, _of("pixel_values"), {"pixel_values": _IMAGE})},
    "wav2vec2": {"whole": Part(_self, _of("input_values"), {"input_values": _SPEECH})},
}
_LANGUAGE = {
    "whole": Part(_self, _answered, {"input_ids": _IDS, "attention_mask": torch.ones_like(_IDS)}, _LENGTHS)
}


def part(model, name="whole"):
    return _PARTS.get(model, _LANGUAGE)[name]


# Linears, and the parts that are graphs of their own, with the path of each in the whole model.
SPLIT = {
    "bart": (["q_proj", "v_proj", "fc1"], ("encoder", "decoder")),
    "t5": (["q", "v", "wi"], ("encoder", "decoder")),
    "clip": (["q_proj", "v_proj", "out_proj", "fc1"], ("text", "vision")),
}
PLACES = {"encoder": "encoder", "decoder": "decoder", "text": "text_model", "vision": "vision_model"}


def side(model, half):
    """Linears of one half, or of both."""
    linears, halves = SPLIT[model]
    if half == "both":
        return {"target_modules": linears}
    return {"target_modules": rf".*\b{PLACES[halves[half == 'second']]}\..*\.({'|'.join(linears)})"}
