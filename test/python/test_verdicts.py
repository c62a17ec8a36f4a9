# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What adapter-opt says when it is done: verdicts of --check, reports, the line about an output, progress."""

import json
import os
import pty
import re
import subprocess

import numpy as np
import onnx
import product
import pytest
import safetensors.numpy
from onnx import TensorProto, helper, numpy_helper


def graph(path, modules, width=8):
    """A chain of linears, called as `modules` are."""
    rng, tensors, nodes, value = np.random.default_rng(1), [], [], "x"
    for i, module in enumerate(modules):
        weight = rng.standard_normal((width, width), dtype=np.float32) / width**0.5
        tensors.append(numpy_helper.from_array(weight, f"{module}.weight"))
        name = "/" + module.replace(".", "/") + "/Gemm"
        nodes.append(helper.make_node("Gemm", [value, f"{module}.weight"], [f"h{i}"], transB=1, name=name))
        value = f"h{i}"
    sides = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["batch", width]) for n in ("x", value)]
    made = helper.make_graph(nodes, "model", sides[:1], sides[1:], tensors)
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return path


def lora(folder, modules, width=8, **fields):
    folder.mkdir()
    factors = {
        f"base_model.model.{module}.lora_{side}.weight": np.ones(shape, np.float32)
        for module in modules
        for side, shape in (("A", (2, width)), ("B", (width, 2)))
    }
    safetensors.numpy.save_file(factors, folder / "adapter_model.safetensors")
    targets = sorted({module.rpartition(".")[2] for module in modules})
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 2, "target_modules": targets} | fields
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


BERT = [f"bert.encoder.layer.{i}.attention.self.{name}" for i in range(3) for name in ("query", "value")]
LLAMA = [f"model.layers.{i}.self_attn.{name}" for i in range(3) for name in ("q_proj", "v_proj")]


@pytest.fixture
def bert(tmp_path):
    return graph(tmp_path / "bert.onnx", BERT)


def check(model, *adapters):
    done = product.call("adapter-opt", model, *[f"--adapter={each}" for each in adapters], "--check")
    return done, done.stdout.splitlines()


def test_all_placed(bert, tmp_path):
    done, lines = check(bert, lora(tmp_path / "x", BERT))
    assert done.returncode == 0
    assert lines[-1].startswith("6 of 6 modules placed, 0 of 6 parameters proved by contents")


def test_some_placed(bert, tmp_path):
    more = [f"bert.encoder.layer.{i}.attention.self.key" for i in range(3)]
    done, lines = check(bert, lora(tmp_path / "x", BERT + more))
    assert done.returncode == 1
    left = [line for line in lines if line.startswith("left over")]
    assert len(left) == 1
    assert "3 modules 'bert.encoder.layer.*.attention.self.key' (weight, lora)" in left[0]
    assert "--ignore-missing 'bert.encoder.layer.*.attention.self.key'" in left[0]
    assert lines[-1].startswith("6 of 9 modules placed")
    ignored = "--ignore-missing=bert.encoder.layer.*.attention.self.key"
    assert "6 of 6 modules placed" in product.opt(bert, f"--adapter=x={tmp_path / 'x'}", ignored, "--check")


STRANGERS = {
    "class": (
        dict(
            auto_mapping={"base_model_class": "LlamaForCausalLM"}, base_model_name_or_path="org/Llama-3.2-1B"
        ),
        LLAMA,
        "the adapter is for LlamaForCausalLM (org/Llama-3.2-1B), the graph looks like BERT",
    ),
    "family": (
        {},
        [f"transformer.h.{i}.attn.c_attn" for i in range(3)],
        "the adapter is for a model like GPT-2, the graph looks like BERT",
    ),
    "neither": (
        {},
        [f"net.blocks.{i}.w" for i in range(3)],
        "the adapter has modules like 'net.blocks.*.w', the graph like "
        "'bert.encoder.layer.*.attention.self.query'; export its base model, or say with --map",
    ),
}


@pytest.mark.parametrize("kind", STRANGERS)
def test_none_placed(bert, tmp_path, kind):
    """No advice to ignore what a wrong model lacks, in one line instead of one for each module."""
    fields, modules, verdict = STRANGERS[kind]
    done, lines = check(bert, lora(tmp_path / "x", modules, **fields))
    assert done.returncode == 1
    assert verdict in lines[-1] and lines[-1].startswith(f"0 of {len(modules)} modules found: ")
    assert f"adapter 'x': 0 of {len(modules)} modules found: {verdict}" in done.stderr
    assert "--ignore-missing" not in done.stdout + done.stderr
    assert len(lines) == 1 + len({re.sub(r"\d+", "*", module) for module in modules})


def test_modules_of_other_names_in_one_family(tmp_path):
    """Names that end alike are another part's, and are told apart as such."""
    model = graph(tmp_path / "m.onnx", [f"decoder.layers.{i}.self_attn.q_proj" for i in range(2)])
    done, lines = check(
        model, lora(tmp_path / "x", [f"encoder.layers.{i}.self_attn.q_proj" for i in range(2)])
    )
    assert done.returncode == 1 and lines[-1].startswith("0 of 2 modules found")
    assert "--map" in done.stderr


def test_reports_in_files(bert, tmp_path):
    adapter = f"--adapter={lora(tmp_path / 'x', BERT)}"
    assert product.opt(bert, adapter, "--check", "-o", tmp_path / "r.json") == ""
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["verdicts"] == [
        {"adapter": "x", "path": str(tmp_path / "x"), "modules": 6, "placed": 6, "why_none": ""}
    ]
    product.opt(bert, adapter, "--check", "-o", tmp_path / "r.html")
    assert (tmp_path / "r.html").read_text().startswith("<!DOCTYPE html>")
    product.opt(bert, adapter, "--check", "--report=text", "-o", tmp_path / "r.txt")
    assert "6 of 6 modules placed" in (tmp_path / "r.txt").read_text()
    product.refused("adapter-opt", bert, "--report=json", code=2, mentions=["add --check"])


def test_ranks_and_norms_are_drawn(bert, tmp_path):
    """The page names model and adapter; norms are those of NumPy."""
    folder = lora(tmp_path / "x", BERT, base_model_name_or_path="org/<bert>")
    page = product.opt(bert, f"--adapter={folder}:scale=-2", "--check", "--report=html", "--no-base")
    assert "<h1>x in bert</h1>" in page and "made of org/&lt;bert&gt;" in page
    assert page.count("<svg") == 2 and page.count("<rect") == 2 * len(BERT)
    report = json.loads(
        product.opt(bert, f"--adapter={folder}:scale=-2", "--check", "--report=json", "--no-base")
    )
    weights = {each.name: numpy_helper.to_array(each) for each in onnx.load(bert).graph.initializer}
    for row in report["updates"]:
        assert row["weight_norm"] == pytest.approx(
            np.linalg.norm(weights[row["module"] + ".weight"]), rel=1e-5
        )
        assert row["update_norm"] == pytest.approx(2 * np.linalg.norm(np.full((8, 8), 2.0)), rel=1e-5)
    saved = lora(tmp_path / "y", BERT[:1], modules_to_save=["value"])
    tensors = safetensors.numpy.load_file(saved / "adapter_model.safetensors")
    value = np.ones((8, 8), np.float32)
    tensors[f"base_model.model.{BERT[1]}.weight"] = value
    safetensors.numpy.save_file(tensors, saved / "adapter_model.safetensors")
    report = json.loads(product.opt(bert, f"--adapter={saved}", "--check", "--report=json"))
    row = next(each for each in report["updates"] if each["form"] == "replace")
    assert row["update_norm"] == pytest.approx(np.linalg.norm(value - weights[BERT[1] + ".weight"]), rel=1e-5)


def test_what_was_written(bert, tmp_path):
    adapter = lora(tmp_path / "x", BERT)
    done = product.call("adapter-opt", bert, f"--adapter={adapter}", "-o", tmp_path / "m.onnx")
    line = rf"adapter-opt: wrote {tmp_path}/m.onnx, \d+\.\d MB in \d+\.\d s; adapters: x \(build\)\n"
    assert done.returncode == 0 and re.fullmatch(line, done.stderr)
    done = product.call(
        "adapter-opt", bert, f"--adapter={adapter}@row", "--adapter-slot=t:lora", "-o", tmp_path / "m.adapt"
    )
    assert "; adapters: x (row); room: t (row)\n" in done.stderr
    done = product.call("adapter-opt", bert, f"--adapter={adapter}", "--quiet", "-o", tmp_path / "m.onnx")
    assert done.returncode == 0 and done.stderr == ""


def test_merging_again_warns(bert, tmp_path):
    first, second = lora(tmp_path / "x", BERT), lora(tmp_path / "y", BERT, lora_alpha=4)
    product.opt(bert, f"--adapter={first}", "-o", tmp_path / "m.onnx")
    twice = product.call("adapter-opt", tmp_path / "m.onnx", f"--adapter=z={first}", "--check")
    assert "warning: adapter 'z' is merged into m already, as 'x'" in twice.stderr
    other = product.call("adapter-opt", tmp_path / "m.onnx", f"--adapter={second}", "-o", tmp_path / "n.onnx")
    assert other.returncode == 0
    assert "warning: m has adapters merged into it ('x'); 'y' comes on top" in other.stderr
    # What was merged stays known, in a graph and in an artifact of it.
    product.opt(tmp_path / "n.onnx", "-o", tmp_path / "n.adapt")
    info = json.loads(product.call("adapter-run", "info", tmp_path / "n.adapt").stdout)
    attached = [each for entry in info["entries"] for each in entry.get("attachments", [])]
    attached += info.get("attachments", [])
    assert sorted({each["adapter"] for each in attached}) == ["x", "y"]


def on_terminal(*arguments):
    """Exit code and what a terminal shows."""
    main, other = pty.openpty()
    command = [product.BIN / "adapter-opt", *arguments]
    process = subprocess.Popen(command, stdout=other, stderr=other, stdin=subprocess.DEVNULL)
    os.close(other)
    shown = b""
    while True:
        try:
            part = os.read(main, 4096)
        except OSError:  # the other side is closed
            break
        if not part:
            break
        shown += part
    os.close(main)
    return process.wait(), shown.decode()


def test_on_a_terminal_no_module_is_printed(bert):
    code, shown = on_terminal(bert)
    assert code == 2 and "there is no output; -o merged.onnx" in shown
    code, shown = on_terminal(bert, "-o", "-")
    assert code == 0 and "onnx.model" in shown
    assert "onnx.model" in product.opt(bert)  # in a pipe


def test_progress_is_shown_on_a_terminal_alone(tmp_path):
    model = graph(tmp_path / "m.onnx", [f"layers.{i}.fc" for i in range(8)], width=3000)
    code, shown = on_terminal(model, "-o", tmp_path / "m.adapt")
    assert code == 0
    seconds = float(re.search(r"MB in (\d+\.\d) s", shown)[1])
    assert ("\x1b[K" in shown) == (seconds > 1.2) or 1.0 <= seconds <= 1.5
    assert shown.rstrip().splitlines()[-1].endswith(" s")
    piped = product.call("adapter-opt", model, "-o", tmp_path / "m.adapt")
    assert "\x1b" not in piped.stderr and len(piped.stderr.splitlines()) == 1
