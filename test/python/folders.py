# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Small random models as folders, as save_pretrained leaves them: what test_export.py exports. Beside zoo.py,
whose models are exported by the tests themselves."""

import json

import torch
import transformers
from safetensors.torch import save_file

VOCABULARY = 96
_TEXT = dict(
    vocab_size=VOCABULARY,
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=2,
    num_attention_heads=4,
    max_position_embeddings=64,
    pad_token_id=0,
    bos_token_id=1,
    eos_token_id=2,
)
_LABELS = dict(num_labels=3)
_T5 = dict(
    vocab_size=VOCABULARY, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4, decoder_start_token_id=0
)
_BART = dict(
    vocab_size=VOCABULARY,
    d_model=32,
    encoder_layers=2,
    decoder_layers=2,
    encoder_attention_heads=4,
    decoder_attention_heads=4,
    encoder_ffn_dim=48,
    decoder_ffn_dim=48,
)
_TOKENS = dict(pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1)
_WHISPER = dict(
    max_source_positions=20,
    max_target_positions=40,
    num_mel_bins=8,
    suppress_tokens=[],
    begin_suppress_tokens=[],
)
_VISION = dict(
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=2,
    num_attention_heads=4,
    image_size=12,
    patch_size=4,
)
_WAV2VEC2 = dict(
    conv_dim=(16, 16),
    conv_kernel=(8, 3),
    conv_stride=(4, 2),
    num_feat_extract_layers=2,
    num_conv_pos_embeddings=8,
    num_conv_pos_embedding_groups=2,
    apply_spec_augment=False,
)
_CLIP_TEXT = {key: value for key, value in _TEXT.items() if not key.endswith("token_id")}
_MAMBA = dict(vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2, state_size=4, time_step_rank=4)
_RESNET = dict(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", num_labels=3)
_SWIN = dict(
    image_size=16, patch_size=2, embed_dim=16, depths=[1, 2], num_heads=[2, 4], window_size=2, num_labels=3
)

# (class of the model, of its configuration, fields of that)
MODELS = {
    "bert": ("BertModel", "BertConfig", _TEXT),
    "bert-classes": ("BertForSequenceClassification", "BertConfig", _TEXT | _LABELS),
    "bert-tokens": ("BertForTokenClassification", "BertConfig", _TEXT | _LABELS),
    "bert-masked": ("BertForMaskedLM", "BertConfig", _TEXT),
    "bert-answers": ("BertForQuestionAnswering", "BertConfig", _TEXT),
    "bert-choices": ("BertForMultipleChoice", "BertConfig", _TEXT),
    "roberta": (
        "RobertaForSequenceClassification",
        "RobertaConfig",
        _TEXT | _LABELS | {"type_vocab_size": 1},
    ),
    "llama": ("LlamaForCausalLM", "LlamaConfig", _TEXT | {"num_key_value_heads": 2}),
    "llama-classes": ("LlamaForSequenceClassification", "LlamaConfig", _TEXT | _LABELS),
    "gemma2": (
        "Gemma2ForCausalLM",
        "Gemma2Config",
        _TEXT | {"num_key_value_heads": 2, "head_dim": 8, "sliding_window": 4},
    ),
    "mixtral": (
        "MixtralForCausalLM",
        "MixtralConfig",
        _TEXT | {"num_key_value_heads": 2, "num_local_experts": 4},
    ),
    "gpt2": ("GPT2LMHeadModel", "GPT2Config", dict(vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4)),
    "t5": ("T5ForConditionalGeneration", "T5Config", _T5),
    "t5-encoder": ("T5EncoderModel", "T5Config", _T5),
    "bart": ("BartForConditionalGeneration", "BartConfig", _BART | _TOKENS),
    "whisper": ("WhisperForConditionalGeneration", "WhisperConfig", _BART | _TOKENS | _WHISPER),
    "vit": ("ViTForImageClassification", "ViTConfig", _VISION | _LABELS),
    "resnet": ("ResNetForImageClassification", "ResNetConfig", _RESNET),
    "swin": ("SwinForImageClassification", "SwinConfig", _SWIN),
    "clip": (
        "CLIPModel",
        "CLIPConfig",
        dict(
            text_config=_CLIP_TEXT | {"eos_token_id": 2, "num_hidden_layers": 1},
            vision_config=_VISION | {"num_hidden_layers": 1},
            projection_dim=24,
        ),
    ),
    "wav2vec2": ("Wav2Vec2ForCTC", "Wav2Vec2Config", _TEXT | _WAV2VEC2),
    "mamba": ("MambaForCausalLM", "MambaConfig", _MAMBA),
}


def make(name, **changes):
    """A model in evaluation mode, with the same weights on every call; no vector is constant. changes: fields
    of its configuration."""
    torch.manual_seed(0)
    model, config, fields = MODELS[name]
    made = getattr(transformers, model)(getattr(transformers, config)(**(fields | changes))).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.dim() == 1:
                parameter.add_(torch.randn(parameter.shape) * 0.1)
    return made


def save(name, folder, dtype=torch.float32, **changes):
    """Saves a model to a folder; returns (model, folder)."""
    made = make(name, **changes).to(dtype)
    made.save_pretrained(folder)
    return made, folder


def add_tokenizer(folder, kind="BertTokenizerFast"):
    """A tokenizer of as many words as the models know, with what goes by it."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{i}" for i in range(VOCABULARY - 5))]
    (folder / "vocab.txt").write_text("\n".join(words))
    tokenizer = getattr(transformers, kind)(str(folder / "vocab.txt"))
    tokenizer.chat_template = "{{ messages[0].content }}"
    tokenizer.save_pretrained(folder)
    return tokenizer


def sentence_transformer(folder, modes=("mean_tokens",), dense=False, normalize=True):
    """A folder as sentence-transformers writes it; returns (transformer, weight and bias of Dense or
    None)."""
    model, _ = save("bert", folder)
    add_tokenizer(folder)
    listed = [("Transformer", ""), ("Pooling", "1_Pooling")]
    (folder / "1_Pooling").mkdir()
    config = {"word_embedding_dimension": 32} | {f"pooling_mode_{mode}": True for mode in modes}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(config))
    layer = None
    if dense:
        width = 32 * len(modes)
        layer = torch.randn(24, width) / width**0.5, torch.randn(24)
        (folder / "2_Dense").mkdir()
        listed.append(("Dense", "2_Dense"))
        save_file(
            {"linear.weight": layer[0], "linear.bias": layer[1]}, folder / "2_Dense" / "model.safetensors"
        )
        tanh = {"activation_function": "torch.nn.modules.activation.Tanh"}
        sizes = {"in_features": width, "out_features": 24, "bias": True}
        (folder / "2_Dense" / "config.json").write_text(json.dumps(sizes | tanh))
    if normalize:
        listed.append(("Normalize", f"{len(listed)}_Normalize"))
    types = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (kind, path) in enumerate(listed)
    ]
    (folder / "modules.json").write_text(json.dumps(types))
    return model, layer
