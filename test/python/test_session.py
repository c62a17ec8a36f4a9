# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Sessions: rows that begin, grow, go back and end at different times give what each text gives alone in
transformers and PEFT."""

import decoders
import numpy as np
import product
import pytest
from decoders import Decoder, assert_ends_agree, prompts

ao = product.package()


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    """Three adapters of different kinds by row."""
    kinds = {"lora": decoders.lora, "loha": decoders.loha, "oft": decoders.oft}
    made = Decoder("llama", tmp_path_factory.mktemp("llama"), kinds)
    adapters = {name: ao.Adapter(folder, time="row") for name, (folder, _) in made.adapters.items()}
    made.session_model = made.compiled(adapters=adapters, slots={"more": ao.Slot("lora", rank=8)}, threads=2)
    return made


class Script:
    """Calls of a session, each checked against the texts that its rows hold."""

    def __init__(self, decoder, model, batch=4, max_length=48):
        self.decoder, self.session = decoder, model.session(max_length=max_length, batch=batch)
        self.held, self.adapter = {}, {}

    def call(self, rows, parts, adapters=None):
        logits = self.session(parts, rows=rows, adapters=adapters)["logits"]
        assert logits.shape[:2] == (len(rows), max(map(len, parts)))
        for i, (row, part) in enumerate(zip(rows, parts, strict=True)):
            if adapters is not None:
                self.adapter[row] = adapters[i]
            self.held[row] = self.held.get(row, []) + part
            wanted = self.decoder.logits(self.held[row], self.adapter.get(row))
            base = self.decoder.logits(self.held[row]) if self.adapter.get(row) else None
            assert_ends_agree(logits[i], wanted, len(part), base)
            assert not logits[i, : -len(part)].any()
            assert self.session.length(row) == len(self.held[row])
        return logits

    def reset(self, row):
        self.session.reset(row)
        self.held.pop(row, None)
        self.adapter.pop(row, None)


def play(decoder, model, adapters=None):
    """Rows of unequal length, in any order, one by one and several, beginning anew."""
    script = Script(decoder, model)
    named = adapters or {row: None for row in range(4)}
    first = prompts(7, 3, 5, 3)
    script.call([0, 1, 2], first[:3], [named[row] for row in (0, 1, 2)] if adapters else None)
    script.call([2, 0, 1], [[5], [6], [7]])
    script.call([3, 1], [first[3], [8, 9]], [named[3], named[1]] if adapters else None)
    script.call([0, 1, 2, 3], prompts(2, 2, 2, 2, seed=3))
    script.reset(0)
    script.call([0, 3], [first[1], [4]], [named[0], named[3]] if adapters else None)
    script.session.rewind(1, 3)
    del script.held[1][-3:]
    script.call([1, 0], [[11], [12]])
    script.session.fork(1, 2)
    script.held[2], script.adapter[2] = list(script.held[1]), script.adapter.get(1)
    script.call([2, 1], [[13], [14]])


KINDS = ["gpt2", "gemma2", "qwen3", "phi3"]
MORE = ["qwen2", "gemma3", "mistral", "opt", "bloom", "gptneox", "mixtral"]


@pytest.mark.parametrize("name", [*KINDS, *(pytest.param(name, marks=pytest.mark.full) for name in MORE)])
def test_architectures(tmp_path, name):
    decoder = Decoder(name, tmp_path)
    play(decoder, decoder.compiled(threads=2))


def test_adapters_by_row(llama):
    play(llama, llama.session_model, {0: "lora", 1: None, 2: "oft", 3: "loha"})


@pytest.mark.parametrize("time", ["build", "switch", "call"])
def test_adapters_of_all_rows(llama, time):
    folder, _ = llama.adapters["lora"]
    model = llama.compiled(adapters={"lora": ao.Adapter(folder, time=time)}, threads=2)
    if time == "switch":
        model.switch("lora")
    session = model.session(max_length=20, batch=2)
    texts = prompts(6, 4)
    first = session(texts, adapters="lora" if time == "call" else None)["logits"]
    second = session([[5], [6]])["logits"]
    for row, text in enumerate(texts):
        whole = text + [[5], [6]][row]
        wanted, base = llama.logits(whole, "lora"), llama.logits(whole)
        assert_ends_agree(first[row], wanted[:-1], len(text), base[:-1])
        assert_ends_agree(second[row], wanted, 1, base)


def test_inputs_in_every_shape(llama):
    """Arrays, lists, and names of inputs."""
    session = llama.session_model.session(max_length=16, batch=2)
    text = prompts(5)[0]
    wanted = llama.logits(text)
    for given in (np.array([text]), [text], {"input_ids": [text]}):
        session.reset()
        assert_ends_agree(session(given)["logits"][0], wanted, 5)
    session.reset()
    assert_ends_agree(session(input_ids=np.array([text]))["logits"][0], wanted, 5)
    assert session.lengths == [5, 0]


@pytest.mark.parametrize("lengths", [(6, 6, 6), (3, 11, 40)])
def test_alone_and_in_a_batch_to_the_bit(llama, lengths):
    """What stands beside a row, of its length or another, changes no bit of it, nor do threads."""
    texts, named = prompts(*lengths), ["lora", None, "loha"]
    path = llama.folder / f"bits-{lengths[0]}.adapt"
    llama.session_model.save(path)
    answers = []
    for threads in (1, 2):
        model = ao.load(path, threads=threads)
        session = model.session(max_length=48, batch=3)
        whole = [session(texts, adapters=named)["logits"], session([[7], [8], [9]])["logits"]]
        for row in range(3):
            session.reset(row)
            alone = session([texts[row]], rows=[row], adapters=[named[row]])["logits"]
            assert np.array_equal(alone[0], whole[0][row][-lengths[row] :])
            alone = session([[7 + row]], rows=[row])["logits"]
            assert np.array_equal(alone[0], whole[1][row])
        answers.append(whole)
    assert all(np.array_equal(a, b) for a, b in zip(*answers, strict=True))


def refused(*mentions):
    return pytest.raises(ValueError, match="(?s)" + "".join(f"(?=.*{each})" for each in mentions))


def test_rows_keep_what_acts_on_them(llama):
    model = llama.session_model
    session = model.session(max_length=16, batch=2)
    text = prompts(4)[0]
    session([text, text], adapters=["lora", None])
    with refused("row 0 was begun with other weights", "reset"):
        session([[5], [6]], adapters=["oft", None])
    with refused("row 1 was begun with other weights"):
        session([[5], [6]], adapters=["lora", "lora"])
    model.set("lora.scale", 0.5)
    try:
        with refused("row 0 was begun", "scale 0.5"):
            session([[5], [6]])
    finally:
        model.set("lora.scale", 1.0)
    assert session.lengths == [4, 4]
    session([[5], [6]])
    assert session.lengths == [5, 5]


def test_adapter_that_is_loaded_anew(llama):
    """The same contents are the same adapter; other ones make the row stale."""
    model, text = llama.session_model, prompts(4)[0]
    folder, _ = llama.adapters["lora"]
    other, _ = Decoder._train(llama, "another", decoders.lora)
    session = model.session(max_length=16)
    model.load_adapter("tenant", folder)
    session([text], adapters="tenant")
    model.load_adapter("tenant", folder, replace=True)
    assert_ends_agree(session([[5]])["logits"][0], llama.logits([*text, 5], "lora"), 1)
    model.load_adapter("tenant", other, replace=True)
    with refused("row 0 was begun with other weights"):
        session([[6]])
    model.unload_adapter("tenant")
    with refused("tenant"):
        session([[6]])
    session.reset(0)
    session([text])


def test_nothing_moves_when_a_call_fails(llama):
    session = llama.session_model.session(max_length=8, batch=3)
    texts = prompts(6, 3, 2)
    session(texts)
    before = session.lengths
    with refused("row 0 holds 6 of 8 tokens", "3 more do not fit"):
        session([[1], [1, 2, 3]], rows=[1, 0])
    with refused("index"):  # of a token beyond the vocabulary, in the second of two groups
        session([[5], [1000, 5]], rows=[0, 1])
    assert session.lengths == before
    assert_ends_agree(session([[5]], rows=[0])["logits"][0], llama.logits([*texts[0], 5]), 1)


def test_wrong_calls(llama):
    model = llama.session_model
    session = model.session(max_length=8, batch=2)
    for inputs, options, mentions in [
        ([[1, 2]], dict(rows=[2]), ["no row 2", "2 rows"]),
        ([[1], [2]], dict(rows=[0, 0]), ["row 0 is named twice"]),
        ([[1], [2]], dict(rows=[0]), ["2 rows", "1 row"]),
        ([[1], [2], [3]], {}, ["no row 2"]),
        ([[1], []], {}, ["no tokens"]),
        ({"input_ids": [[1]], "attention_mask": [[1]]}, {}, ["attention_mask", "takes input_ids"]),
        ({}, {}, ["input 'input_ids' is missing"]),
        ([[1]], dict(adapters=["lora", None]), ["2 adapters for 1 row"]),
        ([[1]], dict(adapters=["nobody"]), ["nobody"]),
    ]:
        with refused(*mentions):
            session(inputs, **options)
    with refused("cannot be taken back"):
        session.rewind(0, 1)
    with refused("copy of itself"):
        session.fork(0, 0)
    with refused("from 1 on"):
        model.session(max_length=0)
    with pytest.raises(TypeError):
        session([[1]], rows=["a"])
    with refused("no graph 'x'"):
        model.session(entry="x")


def test_memory_limit(llama):
    path = llama.folder / "limited.adapt"
    llama.session_model.save(path)
    model = ao.load(path, memory_limit=8 << 20)
    session = model.session(max_length=1 << 20)
    with pytest.raises(MemoryError):
        session([[1, 2]])
    with refused("beyond all memory"):
        model.session(max_length=1 << 39)


def test_closed_model(llama):
    path = llama.folder / "closed.adapt"
    llama.session_model.save(path)
    model = ao.load(path)
    session = model.session(max_length=8)
    session([[3]])
    model.close()
    with refused("closed"):
        session([[4]])
