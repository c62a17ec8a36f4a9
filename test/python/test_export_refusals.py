# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Exports at the command line: options, what is copied, what is said, and what is refused in one sentence and
leaves nothing behind."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import folders
import onnx
import product
import pytest
import tolerance
import torch
from exported import run, text
from safetensors.torch import load_file, save_file

ao = product.package()
ENVIRONMENT = os.environ | {
    "PATH": f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}",
    "PYTHONPATH": str(product.PACKAGE),
}
INPUTS = ("input_ids", "attention_mask", "token_type_ids")


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    """(model, folder with a tokenizer) of a BERT that classifies."""
    model, folder = folders.save("bert-classes", tmp_path_factory.mktemp("bert"), num_hidden_layers=1)
    folders.add_tokenizer(folder)
    return model, folder


@pytest.fixture
def base(bert, tmp_path):
    """A copy of the folder, to be changed."""
    return shutil.copytree(bert[1], tmp_path / "base")


@pytest.fixture
def refused(capfd):
    """refused(*arguments, code, mentions): the command fails with one line. In this process: a start costs
    seconds."""
    from adapter_opt.export_command import main

    def call(*arguments, code=1, mentions=()):
        capfd.readouterr()
        try:
            got = main(list(map(str, arguments)))
        except SystemExit as end:  # wrong usage
            got = end.code
        out, said = capfd.readouterr()
        assert got == code and out == ""
        assert said.startswith("adapter-opt: error: ") and said.count("\n") == 1 and said.endswith("\n")
        assert all(each in said for each in mentions), said

    return call


def test_command(bert, tmp_path):
    """What is printed are the graphs, and nothing else; beside them lies what their user needs."""
    done = product.call("adapter-opt", "export", bert[1], "-o", tmp_path / "out", env=ENVIRONMENT)
    assert done.returncode == 0 and done.stderr == ""
    first, takes, gives = done.stdout.splitlines()
    assert first.startswith(f"{tmp_path}/out/model.onnx: differs by ")
    ids, mask, types = (f"{name} [batch, sequence]" for name in INPUTS)
    assert takes == f"  takes {ids}, {mask}, {types}"
    assert gives == "  gives logits [batch, 3]"
    copied = {"config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "vocab.txt"}
    assert set(os.listdir(tmp_path / "out")) == copied | {"model.onnx"}
    assert os.listdir(tmp_path) == ["out"]
    umask = os.umask(0)
    os.umask(umask)
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o777 & ~umask
    assert str(bert[1]).encode() not in (tmp_path / "out" / "model.onnx").read_bytes()
    assert b"site-packages" not in (tmp_path / "out" / "model.onnx").read_bytes()


def test_inputs_are_those_of_the_tokenizer(base, tmp_path):
    """The configuration knows of token types; this tokenizer makes none."""
    config = json.loads((base / "tokenizer_config.json").read_text())
    config["model_input_names"] = ["input_ids", "attention_mask"]
    (base / "tokenizer_config.json").write_text(json.dumps(config))
    (graph,) = ao.export(base, tmp_path / "out", check=False).graphs.values()
    assert [name for name, _ in graph.inputs] == ["input_ids", "attention_mask"] and graph.difference is None
    (graph,) = ao.export(base, tmp_path / "ids", inputs=["input_ids"], check=False).graphs.values()
    assert [name for name, _ in graph.inputs] == ["input_ids"]
    with pytest.raises(ValueError, match="BertForSequenceClassification takes no 'pixels'; it takes: "):
        ao.export(base, tmp_path / "none", inputs=["pixels"])


@torch.no_grad()
def test_types_and_weights_beside_the_graph(bert, tmp_path):
    exported = ao.export(bert[1], tmp_path / "half", dtype="float16", tensors="outside")
    (graph,) = exported.graphs.values()
    weights = onnx.load(graph.path).graph.initializer
    assert onnx.TensorProto.FLOAT not in {each.data_type for each in weights if len(each.dims) == 2}
    assert (tmp_path / "half" / "model.onnx.data").stat().st_size > 20000
    feed = text(3, 9)
    tolerance.assert_agrees(run(graph, feed)["logits"], bert[0](**feed).logits.half().numpy(), tolerance=1e-2)
    # Beyond what a file holds, weights go out by themselves.
    from adapter_opt.exporting import tracing

    limit, tracing.INSIDE_LIMIT = tracing.INSIDE_LIMIT, 10000
    try:
        (graph,) = ao.export(bert[1], tmp_path / "large", check=False).graphs.values()
        with pytest.raises(ValueError, match="do not fit into one file"):
            ao.export(bert[1], tmp_path / "no", tensors="inside")
    finally:
        tracing.INSIDE_LIMIT = limit
    assert (tmp_path / "large" / "model.onnx.data").is_file() and not (tmp_path / "no").exists()
    model = ao.compile(graph.path, threads=1)
    tolerance.assert_agrees(model(feed)["logits"], bert[0](**feed).logits.numpy())


def test_weights_keep_their_type(tmp_path):
    folders.save("llama", tmp_path / "in", torch.bfloat16, num_hidden_layers=1)
    (graph,) = ao.export(tmp_path / "in", tmp_path / "out").graphs.values()
    kinds = {each.data_type for each in onnx.load(graph.path).graph.initializer if len(each.dims) == 2}
    assert onnx.TensorProto.BFLOAT16 in kinds and onnx.TensorProto.FLOAT not in kinds


@torch.no_grad()
def test_heads(bert, tmp_path):
    """Another class than config.json names, as far as the checkpoint has its weights."""
    (graph,) = ao.export(bert[1], tmp_path / "base", head="AutoModel").graphs.values()
    feed = text(3, 9)
    wanted = bert[0].bert(**feed)
    for name, value in run(graph, feed).items():
        tolerance.assert_agrees(value, wanted[name].numpy())
    with pytest.raises(ValueError, match="BertForMaskedLM: the checkpoint lacks cls.predictions"):
        ao.export(bert[1], tmp_path / "masked", head="BertForMaskedLM")
    with pytest.raises(ValueError, match="class BertForNothing is asked for, and transformers .* has none"):
        ao.export(bert[1], tmp_path / "masked", head="BertForNothing")
    assert os.listdir(tmp_path) == ["base"]


@torch.no_grad()
def test_outputs_of_missing_weights_are_left_out(tmp_path):
    """A masked language model has no pooler; its body is exported without that, not with random numbers."""
    model, folder = folders.save("bert-masked", tmp_path / "in", num_hidden_layers=1)
    (graph,) = ao.export(folder, tmp_path / "out", head="BertModel").graphs.values()
    outputs = run(graph, text(2, 5))
    assert list(outputs) == ["last_hidden_state"]
    tolerance.assert_agrees(outputs["last_hidden_state"], model.bert(**text(2, 5)).last_hidden_state.numpy())


@pytest.mark.parametrize("which", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_leaves_nothing(bert, tmp_path, which):
    """But for SIGKILL, of which the next export removes what is left."""
    command = [product.BIN / "adapter-opt", "export", bert[1], "-o", tmp_path / "out"]
    process = subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not os.listdir(tmp_path):
        time.sleep(0.01)
    process.send_signal(which)
    said = process.communicate()[1]
    assert process.returncode and "Traceback" not in said
    assert bool(os.listdir(tmp_path)) == (which == signal.SIGKILL)
    if which == signal.SIGKILL:
        ao.export(bert[1], tmp_path / "out", check=False)
        assert os.listdir(tmp_path) == ["out"]


def test_a_model_of_the_hub_that_is_here(bert, tmp_path):
    """Found in the cache by its name. Nothing is asked for over the network, whatever it is called."""
    snapshot = tmp_path / "hub" / "models--some--bert" / "snapshots" / "0123"
    shutil.copytree(bert[1], snapshot)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("0123")
    environment = ENVIRONMENT | {"HF_HUB_CACHE": str(tmp_path / "hub"), "HF_ENDPOINT": "http://127.0.0.1:9"}
    command = ["export", "some/bert", "-o", tmp_path / "out", "--no-check"]
    done = product.call("adapter-opt", *command, env=environment)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "model.onnx").is_file()
    with pytest.raises(
        ValueError, match="some/gpt: no such folder, and no model of that name in this machine's"
    ):
        ao.export("some/gpt", tmp_path / "no")


def test_output_that_is_there(bert, tmp_path):
    out = tmp_path / "out"
    out.mkdir()  # an empty folder is as good as none
    ao.export(bert[1], out, check=False)
    before = (out / "model.onnx").read_bytes()
    with pytest.raises(ValueError, match="out: exists; choose another folder or ask for it to be replaced"):
        ao.export(bert[1], out)
    (out / "model.onnx").write_bytes(b"old")
    ao.export(bert[1], out, replace=True, check=False)
    assert (out / "model.onnx").read_bytes() == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "work.txt").write_text("dear")
    with pytest.raises(ValueError, match="mine: is no export, and so it is not replaced"):
        ao.export(bert[1], tmp_path / "mine", replace=True)
    with pytest.raises(ValueError, match="is the model's own folder"):
        ao.export(bert[1], bert[1], replace=True)
    with pytest.raises(ValueError, match="export makes a folder"):
        ao.export(bert[1], tmp_path / "model.onnx")
    assert sorted(os.listdir(tmp_path)) == ["mine", "out"]


def test_a_failed_replacement_leaves_the_old(base, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "model.onnx").write_bytes(b"old")
    (base / "model.safetensors").write_bytes(b"broken")
    with pytest.raises(
        ValueError, match="base: transformers cannot load it as BertForSequenceClassification"
    ):
        ao.export(base, tmp_path / "out", replace=True)
    assert (tmp_path / "out" / "model.onnx").read_bytes() == b"old"
    assert sorted(os.listdir(tmp_path)) == ["base", "out"]


def change_config(folder, **fields):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


FAULTS = {
    "no configuration": (lambda base: (base / "config.json").unlink(), "holds no config.json"),
    "broken configuration": (lambda base: (base / "config.json").write_text("{"), "config.json: is no JSON"),
    "unknown kind": (lambda base: change_config(base, model_type="x9"), "cannot read model_type 'x9'"),
    "unknown class": (
        lambda base: change_config(base, architectures=["NoModel"]),
        "class NoModel is named by",
    ),
    "quantised": (
        lambda base: change_config(base, quantization_config={"quant_method": "gptq", "bits": 4}),
        "its weights are quantised",
    ),
    "other shapes": (
        lambda base: change_config(base, num_labels=3, vocab_size=50),
        "embeddings.weight has shape .96, 32., and .50, 32. is what config.json says",
    ),
    "no weights": (lambda base: (base / "model.safetensors").unlink(), "cannot load it"),
    "lacking weights": (
        lambda base: drop(base, "classifier.weight"),
        "the checkpoint lacks classifier.weight",
    ),
}


def drop(folder, name):
    weights = load_file(folder / "model.safetensors")
    del weights[name]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


@pytest.mark.parametrize("fault", FAULTS)
def test_faulty_folders(base, tmp_path, fault):
    change, said = FAULTS[fault]
    change(base)
    with pytest.raises(ValueError, match=said) as caught:
        ao.export(base, tmp_path / "out")
    assert "\n" not in str(caught.value) and str(base) in str(caught.value)
    assert os.listdir(tmp_path) == ["base"]


def test_what_cannot_be_exported(bert, tmp_path, refused):
    """At the command line: one line, exit code 1, and no folder."""
    _, folder = folders.save("mamba", tmp_path / "mamba", num_hidden_layers=1)
    refused(folder, "-o", tmp_path / "out", mentions=["MambaForCausalLM", "with a dynamic sequence"])
    refused(folder, "-o", tmp_path / "out", "--cache", mentions=["MambaForCausalLM keeps another state"])
    refused(bert[1], "-o", tmp_path / "out", "--cache", mentions=["generates nothing"])
    refused(bert[1], "-o", tmp_path / "out", "--dtype", "int8", mentions=["float32, float16, bfloat16"])
    refused(tmp_path / "none", "-o", tmp_path / "out", mentions=["none: no such folder"])
    refused(bert[1] / "config.json", "-o", tmp_path / "out", mentions=["is a file"])
    refused(bert[1], code=2, mentions=["required: -o"])
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text('{"base_model_name_or_path": "some/bert"}')
    refused(adapter, "-o", tmp_path / "out", mentions=["is an adapter", "(some/bert)"])
    assert sorted(os.listdir(tmp_path)) == ["adapter", "mamba"]


@pytest.mark.parametrize("package", ["torch", "transformers", "onnxscript"])
def test_without_a_package(bert, tmp_path, package):
    (tmp_path / f"{package}.py").write_text('raise ImportError("not here")')
    environment = ENVIRONMENT | {"PYTHONPATH": f"{product.PACKAGE}:{tmp_path}"}
    said = product.refused("adapter-opt", "export", bert[1], "-o", tmp_path / "out", env=environment)
    assert "pip install torch transformers onnx onnxscript" in said
    assert not (tmp_path / "out").exists()


def test_a_wrong_graph_is_noticed(bert, tmp_path, monkeypatch):
    """A computation that depends on sizes in Python, as traced models may: the file holds for one size."""
    from adapter_opt.exporting import part

    def wrong(self, *tensors):
        made = self.named(*tensors)
        scale = 2.0 if torch.compiler.is_exporting() else 1.0
        return tuple(made[name] * scale for name in self.outputs)

    monkeypatch.setattr(part.Traced, "forward", wrong)
    with pytest.raises(ValueError, match="output logits of the exported graph differs .* by 1.0e.00"):
        ao.export(bert[1], tmp_path / "out")
    assert os.listdir(tmp_path) == []
