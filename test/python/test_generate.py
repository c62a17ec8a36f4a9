# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""ao.generate and adapter-generate: tokens of transformers and PEFT, and what ends a text."""

import json
import os
import subprocess
import sys

import decoders
import folders
import numpy as np
import product
import pytest
import torch
import transformers
from decoders import Decoder, prompts

ao = product.package()


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    kinds = {"lora": decoders.lora, "oft": decoders.oft}
    made = Decoder("llama", tmp_path_factory.mktemp("llama"), kinds)
    tokenizer = folders.add_tokenizer(made.folder / "in")
    made.tokenizer = tokenizer
    (made.folder / "in" / "generation_config.json").write_text(json.dumps({"eos_token_id": [2, 3]}))
    adapters = {name: ao.Adapter(folder, time="row") for name, (folder, _) in made.adapters.items()}
    made.artifact = made.folder / "model.adapt"
    made.compiled(adapters=adapters).save(made.artifact)
    made.session_model = ao.load(made.artifact, threads=2)
    return made


def test_greedy_is_transformers_own(llama):
    for ids in prompts(4, 9):
        with torch.no_grad():
            mask = torch.ones(1, len(ids), dtype=torch.int64)
            wanted = llama.model.generate(
                torch.tensor([ids]),
                attention_mask=mask,
                max_new_tokens=12,
                do_sample=False,
                eos_token_id=None,
            )
        assert ao.generate(llama.session_model, ids, max_new_tokens=12).ids == wanted[0, len(ids) :].tolist()


def test_each_prompt_has_its_adapter(llama):
    """More prompts than rows, of unequal length."""
    texts = prompts(5, 3, 8, 3, 6)
    named = ["lora", None, "oft", "lora", None]
    made = ao.generate(llama.session_model, texts, named, max_new_tokens=6, batch=2)
    for ids, adapter, each in zip(texts, named, made, strict=True):
        assert each.ids == llama.greedy(ids, 6, adapter)
        assert (each.text, each.reason) == (None, "length")


def test_end_tokens(llama):
    ids = prompts(4)[0]
    wanted = llama.greedy(ids, 8)
    made = ao.generate(llama.session_model, ids, max_new_tokens=8, end_ids=[wanted[3]])
    cut = wanted[: wanted.index(wanted[3])]
    assert (made.ids, made.reason) == (cut, "end")


def test_texts(llama):
    """Prompts as text and as messages; the stream is what the results say."""
    pieces = {}

    def listen(number, text):
        pieces[number] = pieces.get(number, "") + text

    given = ["w5 w6 w7", [{"role": "user", "content": "w9 w10"}]]
    made = ao.generate(
        llama.session_model, given, tokenizer=llama.folder / "in", max_new_tokens=7, stream=listen
    )
    encoded = [
        llama.tokenizer(given[0])["input_ids"],
        llama.tokenizer("w9 w10", add_special_tokens=False)["input_ids"],
    ]
    for number, (ids, each) in enumerate(zip(encoded, made, strict=True)):
        assert each.ids == llama.greedy(ids, 7, ends={2, 3})
        assert each.text == llama.tokenizer.decode(each.ids, skip_special_tokens=True)
        assert pieces.get(number, "") == each.text


def test_stop_strings(llama):
    options = dict(tokenizer=llama.folder / "in", max_new_tokens=8, end_ids=[])
    whole = ao.generate(llama.session_model, "w5 w6 w7", **options).text
    words = whole.split()
    stop = f"{words[2]} {words[3]}"
    pieces = []
    made = ao.generate(
        llama.session_model,
        "w5 w6 w7",
        stop=[stop, "not there"],
        stream=lambda _, text: pieces.append(text),
        **options,
    )
    assert (made.text, made.reason) == (whole[: whole.index(stop)], "stop")
    assert "".join(pieces) == made.text


def test_sampled_texts(llama):
    """Seeds decide, and what stands beside a prompt does not."""
    texts = prompts(5, 5, 7)
    options = dict(temperature=1.5, top_k=40, top_p=0.9, min_p=0.01, max_new_tokens=10, seed=7)
    first = ao.generate(llama.session_model, texts, **options)
    again = ao.generate(llama.session_model, texts, **options, batch=1)
    assert [each.ids for each in first] == [each.ids for each in again]
    other = ao.generate(llama.session_model, texts, **(options | {"seed": 8}))
    assert [each.ids for each in first] != [each.ids for each in other]
    same = ao.generate(llama.session_model, [texts[0], texts[0]], **options)
    assert same[0].ids != same[1].ids


class _Source:
    """Random numbers that are given."""

    def __init__(self, value):
        self.value = value

    def random(self):
        return self.value


WARPERS = transformers.generation
CASES = {
    "temperature": (dict(temperature=0.7), [WARPERS.TemperatureLogitsWarper(0.7)]),
    "top_k": (dict(temperature=1.0, top_k=5), [WARPERS.TopKLogitsWarper(5)]),
    "top_k_of_more": (dict(temperature=1.0, top_k=500), [WARPERS.TopKLogitsWarper(500)]),
    "top_p": (dict(temperature=1.0, top_p=0.6), [WARPERS.TopPLogitsWarper(0.6)]),
    "top_p_of_one": (dict(temperature=1.0, top_p=1e-6), [WARPERS.TopPLogitsWarper(1e-6)]),
    "min_p": (dict(temperature=1.0, min_p=0.2), [WARPERS.MinPLogitsWarper(0.2)]),
    "penalty": (
        dict(temperature=1.0, repetition_penalty=1.7),
        [WARPERS.RepetitionPenaltyLogitsProcessor(1.7)],
    ),
    "all": (
        dict(temperature=1.3, top_k=20, top_p=0.8, min_p=0.03, repetition_penalty=1.2),
        [
            WARPERS.RepetitionPenaltyLogitsProcessor(1.2),
            WARPERS.TemperatureLogitsWarper(1.3),
            WARPERS.TopKLogitsWarper(20),
            WARPERS.TopPLogitsWarper(0.8),
            WARPERS.MinPLogitsWarper(0.03),
        ],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_distribution_is_transformers_own(case):
    """Which token each share of [0, 1) leads to, against the probabilities of transformers' processors."""
    sampling = product.module("text.sampling").Sampling
    options, processors = CASES[case]
    generator = np.random.default_rng(3)
    scores = (generator.standard_normal(60) * 2).astype(np.float32)
    earlier = generator.integers(0, 60, 12).tolist()
    wanted = torch.tensor(scores)[None]
    for processor in processors:
        wanted = processor(torch.tensor([earlier]), wanted)
    wanted = torch.softmax(wanted.double(), -1)[0].numpy()
    grid = (np.arange(4000) + 0.5) / 4000
    drawn = [sampling(**options).choose(scores, earlier, _Source(value)) for value in grid]
    shares = np.bincount(drawn, minlength=60) / len(grid)
    assert np.abs(shares - wanted).max() < 1 / 2000


def test_greedy_with_a_penalty(llama):
    ids = prompts(6)[0]
    with torch.no_grad():
        wanted = llama.model.generate(
            torch.tensor([ids]),
            attention_mask=torch.ones(1, 6, dtype=torch.int64),
            max_new_tokens=12,
            do_sample=False,
            repetition_penalty=1.4,
            eos_token_id=None,
        )[0, 6:].tolist()
    assert ao.generate(llama.session_model, ids, max_new_tokens=12, repetition_penalty=1.4).ids == wanted


@pytest.mark.parametrize(
    "prompt, options, mentions",
    [
        ("text", {}, "need a tokenizer"),
        ([], {}, None),
        ([[]], {}, "no tokens"),
        ([1, 2], dict(top_p=0), "top_p"),
        ([1, 2], dict(temperature=-1), "temperature"),
        ([1, 2], dict(max_new_tokens=0), "max_new_tokens"),
        ([1, 2], dict(stop="a"), "need a tokenizer"),
        ([1, 2], dict(tokenizer="missing"), "missing"),
        ([[1, 2]], dict(adapters=["lora", "lora"]), "2 adapters for 1 prompts"),
        ([1, 2], dict(adapters="nobody"), "nobody"),
    ],
)
def test_wrong_arguments(llama, prompt, options, mentions):
    if mentions is None:
        assert ao.generate(llama.session_model, prompt, **options) == []
        return
    with pytest.raises((ValueError, FileNotFoundError), match=mentions):
        ao.generate(llama.session_model, prompt, **options)


def test_model_without_state(llama):
    model = ao.compile(llama.export)
    with pytest.raises(ValueError, match="keeps no state; compile it with --stateful"):
        ao.generate(model, [1, 2])


def command(*words):
    environment = os.environ | {"PYTHONPATH": str(product.PACKAGE)}
    return subprocess.run(
        [sys.executable, "-m", "adapter_opt.text.command", *map(str, words)],
        capture_output=True,
        text=True,
        env=environment,
        timeout=120,
    )


def test_command(llama):
    folder = llama.folder / "in"
    options = [llama.artifact, "--tokenizer", folder, "-n", "6"]
    texts = ao.generate(
        llama.session_model, ["w5 w6", "w7"], ["lora", None], tokenizer=folder, max_new_tokens=6
    )
    done = command(*options, "-p", "w5 w6", "--adapter", "lora", "-p", "w7", "--adapter", "-")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"[0] {texts[0].text}\n[1] {texts[1].text}\n"
    done = command(*options, "-p", "w5 w6", "--adapter", "lora")
    assert done.stdout == f"{texts[0].text}\n"


@pytest.mark.parametrize(
    "words, code, mentions",
    [
        (["-p", "w5", "--adapter", "nobody"], 1, "nobody"),
        (["-p", "w5", "--adapter", "lora", "--adapter", "oft"], 1, "2 adapters for 1 prompts"),
        (["-p", "w5", "--top-p", "2"], 1, "top_p"),
        ([], 2, "-p/--prompt"),
    ],
)
def test_command_refuses(llama, words, code, mentions):
    done = command(llama.artifact, "--tokenizer", llama.folder / "in", *words)
    assert done.returncode == code
    assert done.stderr.startswith("adapter-generate: error: ") and mentions in done.stderr
    assert len(done.stderr.splitlines()) == 1


def generated(*words):
    done = product.call("adapter-run", "generate", *words)
    assert done.returncode == 0, done.stderr
    return [[int(each) for each in line.split(",")] for line in done.stdout.splitlines()]


def test_adapter_run(llama):
    texts = prompts(5, 3)
    words = [llama.artifact, "--max-new-tokens", 6]
    for text in texts:
        words += ["--ids", ",".join(map(str, text))]
    wanted = [llama.greedy(texts[0], 6, "lora"), llama.greedy(texts[1], 6)]
    assert generated(*words, "--row-adapters", "lora,-") == wanted
    cut = wanted[0].index(wanted[0][2])
    ended = generated(*words[:-2], "--adapter", "lora", "--end", wanted[0][2])
    assert ended == ([wanted[0][:cut]] if cut else [])


@pytest.mark.parametrize(
    "words, code, mentions",
    [
        ([], 2, ["--ids"]),
        (["--ids", "1,x"], 2, ["'x' is no token"]),
        (["--ids", "1,,2"], 2, ["'' is no token"]),
        (["--ids", "5000"], 1, ["5000"]),
        (["--ids", "1", "--row-adapters", "lora,lora"], 1, ["2 adapters", "1 texts"]),
        (["--ids", "1", "--row-adapters", "lora/lora"], 1, ["not for each token"]),
        (["--ids", "1", "--adapter", "nobody"], 1, ["nobody"]),
    ],
)
def test_adapter_run_refuses(llama, words, code, mentions):
    product.refused("adapter-run", "generate", llama.artifact, *words, code=code, mentions=mentions)
