# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""docs/recipes.md and the README's export, as they stand: their commands in a shell, their programs in this
process, their answers beside transformers' and PEFT's. In `make test` test_wheel.py runs this file, from the
wheels."""

import concurrent.futures
import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
import threading
import types
import urllib.error
import urllib.request

import folders
import numpy as np
import peft
import product
import pytest
import tolerance
import torch
import transformers
import zoo
from exported import run

ao = product.package()
BLOCK = re.compile(
    r"^```python\n(?P<program>.*?)^```|(?P<commands>(?:^    [^\n]*\n)+)", re.DOTALL | re.MULTILINE
)


def section(document, heading):
    """(programs, commands) of a section of a document, each as a list of texts in their order."""
    text = (product.ROOT / document).read_text()
    found = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)
    assert found, f"{document} has no section '{heading}'"
    blocks = list(BLOCK.finditer(found[1]))
    programs = [each["program"] for each in blocks if each["program"]]
    return programs, [textwrap.dedent(each["commands"]) for each in blocks if each["commands"]]


def shell(commands, folder):
    """Runs commands as a user does; returns what they print."""
    path = f"{product.BIN}:{os.path.dirname(sys.executable)}:{os.environ['PATH']}"
    for tool in ("adapter-opt", "adapter-run"):
        assert shutil.which(tool, path=path) == str(product.BIN / tool)
    packages = [str(product.PACKAGE), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PATH": path, "PYTHONPATH": os.pathsep.join(packages)}
    script = ["bash", "-euc", commands]
    done = subprocess.run(script, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def spread(model, seed):
    """Gives an adapter weights that act."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name or "modules_to_save" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
    return model.eval()


@pytest.fixture(scope="module")
def classify(tmp_path_factory):
    """(working folder of the recipe, a PEFT model with the adapters mood, topic and mood-2)."""
    folder = tmp_path_factory.mktemp("classify")
    body, _ = folders.save("bert", folder / "bert-folder")
    folders.add_tokenizer(folder / "bert-folder")
    # What PEFT's user has in memory while training: the body and a new classifier.
    base = transformers.AutoModelForSequenceClassification.from_pretrained(
        folder / "bert-folder", num_labels=3
    )
    config = dict(task_type="SEQ_CLS", r=4, lora_alpha=8, target_modules=["query", "value"])
    model = peft.get_peft_model(base, peft.LoraConfig(**config), adapter_name="mood")
    for name in ("topic", "mood-2"):
        model.add_adapter(name, peft.LoraConfig(**config))
    spread(model, 1)
    for name, saved in (("mood", "mood-lora"), ("topic", "topic-lora"), ("mood-2", "mood-lora-2")):
        model.save_pretrained(folder / "saved", selected_adapters=[name])
        os.rename(folder / "saved" / name, folder / saved)
    (commands,) = section("docs/recipes.md", "Classify")[1]
    shell(commands, folder)
    return folder, model


@torch.no_grad()
def logits(model, adapter, texts):
    """PEFT's answers for texts, one by one, so that none is padded."""
    model.set_adapter(adapter)
    rows = []
    for text in texts:
        ids = torch.tensor([[2, *(int(word[1:]) + 5 for word in text.split()), 3]])
        rows.append(model(input_ids=ids).logits[0].numpy())
    return np.stack(rows)


def test_classify(classify, monkeypatch):
    folder, model = classify
    monkeypatch.chdir(folder)
    (program,) = section("docs/recipes.md", "Classify")[0]
    names = {}
    exec(program, names)
    wanted = np.stack(
        [logits(model, name, [text])[0] for name, text in (("mood", "w1 w2 w3 w4"), ("topic", "w5 w6"))]
    )
    tolerance.assert_agrees(names["logits"], wanted)
    assert names["classes"].tolist() == wanted.argmax(-1).tolist()


def ask(port, **asked):
    request = urllib.request.Request(f"http://127.0.0.1:{port}", json.dumps(asked).encode())
    with urllib.request.urlopen(request, timeout=60) as answer:
        return np.array(json.load(answer), np.float32)


def test_serve_and_swap(classify, monkeypatch):
    """Many at once, a bad one among them; then another generation of an adapter while calls run."""
    folder, model = classify
    monkeypatch.chdir(folder)
    (program,) = section("docs/recipes.md", "Serve over HTTP")[0]
    assert '"127.0.0.1", 8000' in program
    names, fault = {}, []

    def serve():
        try:
            exec(program.replace("8000", "0"), names)  # a port that is free
        except BaseException as error:
            fault.append(error)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    while "server" not in names and thread.is_alive():
        thread.join(0.05)
    assert not fault, fault
    port = names["server"].server_address[1]
    texts = [f"w{i} w{i + 1} w{i + 2}" for i in range(8)]
    wanted = {name: logits(model, name, texts) for name in ("mood", "topic", "mood-2")}
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(lambda text: ask(port, texts=[text, text], adapters=["mood", "topic"]), texts)
        )
    for i, answer in enumerate(answers):
        tolerance.assert_agrees(answer, np.stack([wanted["mood"][i], wanted["topic"][i]]))
    with pytest.raises(urllib.error.HTTPError, match="400") as caught:
        ask(port, texts=["w1"], adapters=["nobody"])
    assert "nobody" in caught.value.read().decode()
    (swap,) = section("docs/recipes.md", "Swap an adapter under load")[0]
    seen, swapped = [], threading.Event()

    def call(text, i):
        late = swapped.is_set()  # asked for after the swap
        seen.append((i, late, ask(port, texts=[text], adapters=["mood"])[0]))

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(call, texts[i % 8], i % 8) for i in range(60)]
        exec(swap, names)
        swapped.set()
        calls += [pool.submit(call, texts[i], i) for i in range(8)]
        for each in calls:
            each.result()
    for i, late, answer in seen:
        fits = [
            name for name in ("mood", "mood-2") if tolerance.disagreement(answer, wanted[name][i]) is None
        ]
        assert fits == ["mood-2"] if late else len(fits) == 1
    names["server"].shutdown()
    names["server"].server_close()
    thread.join(10)
    assert not thread.is_alive()


def test_generate(tmp_path, monkeypatch):
    base, folder = folders.save("llama", tmp_path / "llama-folder")
    folders.add_tokenizer(folder)
    config = peft.LoraConfig(
        task_type="CAUSAL_LM", r=4, lora_alpha=32, target_modules=["q_proj", "v_proj", "up_proj"]
    )
    model = spread(peft.get_peft_model(base, config), 3)
    model.save_pretrained(tmp_path / "sql-lora")
    (program,), (commands,) = section("docs/recipes.md", "Generate text")
    shell(commands, tmp_path)
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(program, names)
    made = names["made"]
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "exported")

    def wanted(prompt):
        ids = tokenizer(prompt, return_tensors="pt")["input_ids"]
        mask = torch.ones_like(ids)
        whole = model.generate(input_ids=ids, attention_mask=mask, do_sample=False, max_new_tokens=12)
        return [each for each in whole[0, ids.shape[1] :].tolist() if each != 2]

    adapted = wanted(names["prompts"][0])
    with model.disable_adapter():
        plain = [wanted(prompt) for prompt in names["prompts"]]
    assert made[0].ids == adapted and made[1].ids == plain[1]
    assert plain[0] != adapted, "the adapter changes nothing, the test is void"


def test_portable(classify):
    folder, model = classify
    (commands,) = section("docs/recipes.md", "Carry an artifact to another machine")[1]
    assert "x86-64-v3" in shell(commands, folder)
    portable = ao.load(folder / "portable.adapt")
    assert portable.info()["cpu"] == "x86-64-v3"
    assert not [feature for feature in portable.info()["cpu_features"] if "avx512" in feature]
    portable.load_adapter("mood", folder / "mood-lora")
    ids = np.array([[2, 6, 7, 3]])
    outputs = portable(
        input_ids=ids, attention_mask=np.ones_like(ids), token_type_ids=0 * ids, adapters="mood"
    )
    tolerance.assert_agrees(outputs["logits"], logits(model, "mood", ["w1 w2"]))


@torch.no_grad()
def test_export_by_hand(tmp_path, monkeypatch):
    """The README's call of torch's exporter, for a Llama and an adapter on it."""
    programs = section("README.md", "Use it on your model")[0]
    program = next(each for each in programs if "torch.onnx.export(" in each)
    base = zoo.make("llama")
    feed = zoo.inputs("llama", (2, 7))
    config = peft.LoraConfig(r=4, target_modules=["q_proj", "v_proj"])
    peft_model = spread(peft.get_peft_model(zoo.make("llama"), config), 4)
    monkeypatch.chdir(tmp_path)
    with zoo.quiet():
        exec(
            program,
            {
                "model": base,
                "ids": feed["input_ids"],
                "mask": feed["attention_mask"],
                "peft_model": peft_model,
            },
        )
    product.opt("base.onnx", "--adapter", "sql=sql-lora", "-o", "merged.onnx")
    for shape in ((3, 9), (1, 1)):
        feed = zoo.inputs("llama", shape)
        for path, model in (("base.onnx", base), ("merged.onnx", peft_model)):
            outputs = run(types.SimpleNamespace(path=path), feed)
            tolerance.assert_agrees(outputs["logits"], model(**feed, use_cache=False).logits.numpy())


def test_export_command(tmp_path):
    """The README's first command."""
    commands = section("README.md", "Use it on your model")[1]
    command = next(each for each in commands if each.startswith("adapter-opt export "))
    model, _ = folders.save("llama", tmp_path / "hf-folder")
    shell(command.splitlines()[0], tmp_path)
    feed = zoo.inputs("llama", (3, 9))
    outputs = run(types.SimpleNamespace(path=tmp_path / "exported" / "model.onnx"), feed)
    with torch.no_grad():
        tolerance.assert_agrees(outputs["logits"], model(**feed).logits.numpy())
