# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Exports of transformers and sentence-transformers folders, in ONNX Runtime, beside the models themselves:
other sizes than those of the trace, padding included."""

import dataclasses
import types

import folders
import numpy as np
import peft
import product
import pytest
import tolerance
import torch
import transformers
from exported import agree, names, run, text

ao = product.package()

SIZES = [(3, 9), (1, 1)]  # batch, sequence


@dataclasses.dataclass
class Made:
    """A model, its folder and what was exported."""

    model: torch.nn.Module
    folder: object
    exported: object


@pytest.fixture(scope="module")
def export(tmp_path_factory):
    """export(name, cache=False): a Made of folders.py, exported once."""
    made = {}

    def get(name, cache=False):
        if (name, cache) not in made:
            model, folder = folders.save(name, tmp_path_factory.mktemp(name))
            exported = ao.export(folder, tmp_path_factory.mktemp("out") / name, cache=cache)
            made[name, cache] = Made(model, folder, exported)
        return made[name, cache]

    return get


BERT = ["input_ids", "attention_mask", "token_type_ids"]
TEXTS = [
    ("bert", BERT, ["last_hidden_state", "pooler_output"]),
    ("bert-answers", BERT, ["start_logits", "end_logits"]),
    ("llama", BERT[:2], ["logits"]),
    pytest.param("bert-classes", BERT, ["logits"], marks=pytest.mark.full),
    pytest.param("bert-tokens", BERT, ["logits"], marks=pytest.mark.full),
    pytest.param("bert-masked", BERT, ["logits"], marks=pytest.mark.full),
    pytest.param("roberta", BERT[:2], ["logits"], marks=pytest.mark.full),
    pytest.param("llama-classes", BERT[:2], ["logits"], marks=pytest.mark.full),
    pytest.param("gpt2", BERT[:2], ["logits"], marks=pytest.mark.full),
    pytest.param("t5-encoder", BERT[:2], ["last_hidden_state"], marks=pytest.mark.full),
]


@pytest.mark.parametrize(("name", "inputs", "outputs"), TEXTS)
@torch.no_grad()
def test_text(export, name, inputs, outputs):
    made = export(name)
    graph = made.exported.graphs["model"]
    assert names(graph.inputs) == inputs and names(graph.outputs) == outputs
    assert all(dims == ("batch", "sequence") for _, dims in graph.inputs)
    assert graph.difference < 1e-5
    for size in SIZES:
        feed = {key: value for key, value in text(*size).items() if key in inputs}
        agree(run(graph, feed), made.model(**feed), outputs)


@pytest.mark.parametrize(
    "name", ["llama", "gpt2", *(pytest.param(name, marks=pytest.mark.full) for name in ("gemma2", "mixtral"))]
)
@torch.no_grad()
def test_decoder_with_cache(export, name):
    """A prompt behind nothing, then tokens one by one and two at a time, beside transformers' own cache."""
    made = export(name, cache=True)
    graph, model = made.exported.graphs["model"], made.model
    past = [end for end in names(graph.inputs) if end.startswith("past_key_values.")]
    assert past == [f"past_key_values.{i}.{kind}" for i in range(2) for kind in ("key", "value")]
    assert names(graph.outputs) == ["logits", *(end.replace("past_key_values", "present") for end in past)]
    dims = dict(graph.inputs)
    for batch in (1, 3):
        feed = {end: np.zeros((batch, dims[end][1], 0, dims[end][3]), np.float32) for end in past}
        tokens, cache, at = text(batch, 12)["input_ids"], transformers.DynamicCache(), 0
        for step in (6, 1, 1, 2):
            feed["input_ids"] = tokens[:, at : at + step]
            feed["position_ids"] = torch.arange(at, at + step).expand(batch, step)
            at += step
            feed["attention_mask"] = torch.ones(batch, at, dtype=torch.int64)
            outputs = run(graph, feed)
            wanted = model(
                input_ids=feed["input_ids"], attention_mask=feed["attention_mask"], past_key_values=cache
            )
            tolerance.assert_agrees(outputs["logits"], wanted.logits.numpy())
            for i, layer in enumerate(cache.layers):
                tolerance.assert_agrees(outputs[f"present.{i}.key"], layer.keys.numpy())
                tolerance.assert_agrees(outputs[f"present.{i}.value"], layer.values.numpy())
            feed |= {end: outputs[end.replace("past_key_values", "present")] for end in past}


@pytest.mark.full
@torch.no_grad()
def test_positions_of_padded_prompts(tmp_path):
    """Prompts of different lengths in one batch: each row gives what it gives alone."""
    model, folder = folders.save("gpt2", tmp_path / "in")
    inputs = ["input_ids", "attention_mask", "position_ids"]
    (graph,) = ao.export(folder, tmp_path / "out", cache=True, inputs=inputs).graphs.values()
    assert names(graph.inputs)[:3] == inputs
    rows = [text(1, length, seed=length)["input_ids"] for length in (7, 4)]
    padded = torch.nn.functional.pad(rows[1], (3, 0), value=9)
    feed = {"input_ids": torch.cat([rows[0], padded]), "attention_mask": torch.ones(2, 7, dtype=torch.int64)}
    feed["attention_mask"][1, :3] = 0
    feed["position_ids"] = (feed["attention_mask"].cumsum(1) - 1).clamp(min=0)
    feed |= {
        name: np.zeros((2, dims[1], 0, dims[3]), np.float32) for name, dims in graph.inputs if "past" in name
    }
    outputs = run(graph, feed)["logits"]
    for got, ids in zip(outputs, rows, strict=True):
        tolerance.assert_agrees(got[-ids.shape[1] :], model(input_ids=ids).logits[0].numpy())


@pytest.mark.full
@torch.no_grad()
def test_choices(export):
    made = export("bert-choices")
    graph = made.exported.graphs["model"]
    assert dict(graph.inputs)["input_ids"] == ("batch", "choices", "sequence")
    for batch, choices, length in ((3, 2, 9), (1, 4, 5)):
        feed = {k: v.view(batch, choices, length) for k, v in text(batch * choices, length).items()}
        agree(run(graph, feed), made.model(**feed), ["logits"])


def encoder_feed(name, batch, length):
    if name == "whisper":
        return {"input_features": torch.randn(batch, 8, 40, generator=torch.Generator().manual_seed(3))}
    feed = text(batch, length)
    return {"input_ids": feed["input_ids"], "attention_mask": feed["attention_mask"]}


@pytest.mark.parametrize(
    ("name", "cache"),
    [
        ("t5", True),
        ("whisper", False),
        *(
            pytest.param(*each, marks=pytest.mark.full)
            for each in (("t5", False), ("bart", False), ("bart", True), ("whisper", True))
        ),
    ],
)
@torch.no_grad()
def test_encoder_and_decoder(export, name, cache):
    made = export(name, cache)
    encoder, decoder = made.exported.graphs["encoder_model"], made.exported.graphs["decoder_model"]
    assert names(encoder.inputs) == list(encoder_feed(name, 1, 1))
    assert [end for end in names(decoder.outputs) if not end.startswith("present.")] == ["logits"]
    assert any(end.startswith("present.1.decoder.") for end in names(decoder.outputs)) == cache
    for batch, length in ((3, 9), (1, 4)):
        feed = encoder_feed(name, batch, length)
        encoded = run(encoder, feed)
        states = made.model.get_encoder()(**feed).last_hidden_state
        tolerance.assert_agrees(encoded["last_hidden_state"], states.numpy())
        given = {"encoder_attention_mask": feed.get("attention_mask")}
        given["encoder_hidden_states"] = encoded["last_hidden_state"]
        for end, dims in decoder.inputs:
            if end.startswith("past_key_values.") and ".decoder." in end:
                given[end] = np.zeros((batch, dims[1], 0, dims[3]), np.float32)
            elif end.startswith("past_key_values."):
                given[end] = encoded[end.replace("past_key_values", "present")]
        tokens, at = text(batch, 6, seed=9)["input_ids"], 0
        for step in (3, 1, 2):
            at += step
            given["input_ids"] = tokens[:, at - step : at] if cache else tokens[:, :at]
            outputs = run(decoder, given)
            wanted = made.model(**feed, decoder_input_ids=tokens[:, :at], use_cache=False).logits
            tolerance.assert_agrees(outputs["logits"], (wanted[:, -step:] if cache else wanted).numpy())
            given |= {
                end.replace("present", "past_key_values"): value
                for end, value in outputs.items()
                if end.startswith("present.")
            }


DATA = [
    ("vit", "pixel_values", [(3, 3, 12, 12), (1, 3, 12, 12)], ["logits"]),
    ("wav2vec2", "input_values", [(3, 700), (1, 251)], ["logits"]),
    pytest.param(
        "swin", "pixel_values", [(3, 3, 16, 16), (1, 3, 16, 16)], ["logits"], marks=pytest.mark.full
    ),
]


@pytest.mark.parametrize(("name", "key", "shapes", "outputs"), DATA)
@torch.no_grad()
def test_images_and_sound(export, name, key, shapes, outputs):
    made = export(name)
    for shape in shapes:
        feed = {key: torch.randn(shape, generator=torch.Generator().manual_seed(1))}
        agree(run(made.exported.graphs["model"], feed), made.model(**feed), outputs)


@pytest.mark.full
@torch.no_grad()
def test_inputs_as_preprocessors_make_them(tmp_path):
    """Sizes of images come from the image processor, a mask of sounds from the feature extractor."""
    model, folder = folders.save("resnet", tmp_path / "resnet")
    transformers.ViTImageProcessorPil(size={"height": 20, "width": 24}).save_pretrained(folder)
    (graph,) = ao.export(folder, tmp_path / "images").graphs.values()
    assert graph.inputs == (("pixel_values", ("batch", 3, 20, 24)),)
    assert "preprocessor_config.json" in {path.name for path in (tmp_path / "images").iterdir()}
    feed = {"pixel_values": torch.randn(3, 3, 20, 24)}
    agree(run(graph, feed), model(**feed), ["logits"])
    model, folder = folders.save("wav2vec2", tmp_path / "wav2vec2", feat_extract_norm="layer")
    transformers.Wav2Vec2FeatureExtractor(return_attention_mask=True).save_pretrained(folder)
    (graph,) = ao.export(folder, tmp_path / "sounds").graphs.values()
    dims = ("batch", "samples")
    assert dict(graph.inputs) == {"input_values": dims, "attention_mask": dims}
    feed = {"input_values": torch.randn(2, 700), "attention_mask": torch.ones(2, 700, dtype=torch.int64)}
    feed["attention_mask"][1, 400:] = 0
    agree(run(graph, feed), model(**feed), ["logits"])


@torch.no_grad()
def test_clip_whole_and_by_halves(export):
    made = export("clip")
    assert list(made.exported.graphs) == ["model", "text_model", "vision_model"]
    whole, of_text, of_image = made.exported.graphs.values()
    for texts, images, length in ((3, 2, 9), (1, 4, 5)):
        feed = text(texts, length)
        del feed["token_type_ids"]
        feed["pixel_values"] = torch.randn(images, 3, 12, 12, generator=torch.Generator().manual_seed(2))
        wanted = made.model(**feed)
        agree(
            run(whole, feed), wanted, ["logits_per_image", "logits_per_text", "text_embeds", "image_embeds"]
        )
        # The whole model gives directions; a half gives what they are of.
        for graph, name, half in (
            (of_text, "text_embeds", wanted.text_model_output),
            (of_image, "image_embeds", wanted.vision_model_output),
        ):
            outputs = run(graph, feed)
            tolerance.assert_agrees(outputs["last_hidden_state"], half.last_hidden_state.numpy())
            direction = outputs[name] / np.linalg.norm(outputs[name], axis=1, keepdims=True)
            tolerance.assert_agrees(direction, wanted[name].numpy())


@torch.no_grad()
def test_compiled(export):
    """What is exported compiles, with a cache, too: adapter-opt's code beside the model."""
    made = export("bert")
    model, feed = ao.compile(made.exported, threads=1), text(3, 9)
    outputs, wanted = model(feed), made.model(**feed)
    for name in ("last_hidden_state", "pooler_output"):
        tolerance.assert_agrees(outputs[name], wanted[name].numpy())
    made = export("llama", cache=True)
    model, tokens = ao.compile(made.exported, threads=1), text(2, 6)["input_ids"]
    past = {
        name: np.zeros((2, dims[1], 0, dims[3]), np.float32)
        for name, dims in made.exported.graphs["model"].inputs
        if name.startswith("past_key_values.")
    }
    for at in range(1, 7):
        mask = torch.ones(2, at, dtype=torch.int64)
        positions = torch.full((2, 1), at - 1)
        outputs = model(past, input_ids=tokens[:, at - 1 : at], attention_mask=mask, position_ids=positions)
        wanted = made.model(input_ids=tokens[:, :at], attention_mask=mask).logits[:, -1:]
        tolerance.assert_agrees(outputs["logits"], wanted.numpy())
        past = {name: outputs[name.replace("past_key_values", "present")] for name in past}


def test_a_path_where_one_is_taken(export):
    exported = export("bert").exported
    assert str(exported) == exported.graphs["model"].path and exported.graphs["model"].path.endswith(
        "model.onnx"
    )
    several = ao.Exported("out", {name: types.SimpleNamespace(path=name) for name in ("encoder", "decoder")})
    with pytest.raises(ValueError, match="out holds several graphs .encoder, decoder.; take one"):
        str(several)


@pytest.mark.full
@torch.no_grad()
def test_adapter_across_encoder_and_decoder(export, tmp_path):
    """One LoRA, whose modules lie in two graphs: the export's folder is an input like a file."""
    made = export("t5")
    config = peft.LoraConfig(task_type="SEQ_2_SEQ_LM", r=4, lora_alpha=16, target_modules=["q", "v", "wi"])
    model = peft.get_peft_model(folders.make("t5"), config).eval()
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.copy_(
                torch.randn(parameter.shape, generator=torch.Generator().manual_seed(len(name))) * 0.2
            )
    model.save_pretrained(tmp_path / "lora")
    product.opt(made.exported.folder, "--adapter", f"x={tmp_path / 'lora'}", "-o", tmp_path / "merged")
    encoder, decoder = (
        types.SimpleNamespace(path=tmp_path / "merged" / f"{name}_model.onnx")
        for name in ("encoder", "decoder")
    )
    feed, tokens = encoder_feed("t5", 3, 9), text(3, 4, seed=9)["input_ids"]
    states = run(encoder, feed)["last_hidden_state"]
    given = {
        "input_ids": tokens,
        "encoder_attention_mask": feed["attention_mask"],
        "encoder_hidden_states": states,
    }
    wanted = model(**feed, decoder_input_ids=tokens).logits.numpy()
    base = made.model(**feed, decoder_input_ids=tokens).logits.numpy()
    tolerance.assert_agrees(run(decoder, given)["logits"], wanted, base)
