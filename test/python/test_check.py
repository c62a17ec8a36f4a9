# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""--check: does an adapter fit a graph? A table of where all of it goes, or exit code 1 and what is left."""

import html.parser
import json
import shutil

import matrix
import product
import pytest
import safetensors
import safetensors.torch
import torch


def modules(folder):
    """Paths of the modules that a PEFT folder holds LoRA factors for, as the base model names them."""
    keys = safetensors.safe_open(folder / "adapter_model.safetensors", "pt").keys()
    return sorted(
        {key.split(".lora_")[0].removeprefix("base_model.model.") for key in keys if ".lora_A" in key}
    )


@pytest.mark.parametrize("method", ["plain", "dora", "regex", "head_saved"])
@matrix.exports
def test_table_names_every_module(oracle, architecture, exporter, method):
    folder = oracle.adapter(architecture, method).folder
    table = product.opt(oracle.export(architecture, exporter), "--adapter", f"x={folder}", "--check")
    missing = [module for module in modules(folder) if module not in table]
    assert not missing, f"not in the table: {missing}"


def test_rank_and_scale_are_shown(oracle):
    """Rank 4, alpha 6: scale 1.5."""
    folder = oracle.adapter("llama", "regex").folder
    table = product.opt(oracle.export("llama", "dynamo"), "--adapter", f"x={folder}", "--check")
    rows = [line for line in table.splitlines() if "v_proj" in line]
    assert len(rows) == 1 and "4" in rows[0].split() and "1.5" in rows[0], table


class Page(html.parser.HTMLParser):
    """The cells of a page's table, row by row, and whether each tag that was opened is closed."""

    def __init__(self, text):
        super().__init__()
        self.rows, self.open = [], []
        self.feed(text)
        self.close()
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag, attributes):
        if tag != "meta":
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data


def test_the_page_shows_what_the_table_shows(oracle):
    base, folder = oracle.export("llama", "dynamo"), oracle.adapter("llama", "plain").folder
    arguments = [base, "--adapter", f"x={folder}", "--check"]
    page = product.opt(*arguments, "--report=html")
    *table, proof = product.opt(*arguments).splitlines()
    assert [" ".join(row).split() for row in Page(page).rows] == [line.split() for line in table]
    assert "parameters proved by contents" in proof and html.escape(proof) in page


def test_the_page_escapes_what_adapters_name(small, tmp_path):
    base, source = small
    tensors = safetensors.torch.load_file(source / "adapter_model.safetensors")
    tensors["base_model.model.<script>.lora_A.weight"] = torch.zeros(2, 2)
    safetensors.torch.save_file(tensors, tmp_path / "adapter_model.safetensors")
    shutil.copy(source / "adapter_config.json", tmp_path)
    done = product.call("adapter-opt", base, "--adapter", f"x={tmp_path}", "--check", "--report=html")
    assert done.returncode == 1
    assert "<script>" not in done.stdout


def test_writes_nothing(small, tmp_path):
    base, adapter = small
    product.opt(base, "--adapter", f"x={adapter}", "--check", cwd=tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.fixture
def stray(oracle, tmp_path):
    """An adapter for modules of a layer that the graph does not have, next to ones that it has."""
    folder = tmp_path / "stray"
    source = oracle.adapter("vit", "plain").folder
    tensors = safetensors.torch.load_file(source / "adapter_model.safetensors")
    extra = {
        k.replace("layers.1", "layers.7"): v.clone() for k, v in tensors.items() if "layers.1.mlp.fc1" in k
    }
    folder.mkdir()
    safetensors.torch.save_file({**tensors, **extra}, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_bytes((source / "adapter_config.json").read_bytes())
    return folder


@pytest.mark.parametrize("arguments", [["--check"], ["-o", "merged.onnx"], ["-o", "model.adapt"]])
def test_left_over_module_is_named(small, stray, tmp_path, arguments):
    """With the nearest candidate."""
    mentions = ["vit.layers.7.mlp.fc1", "mlp.fc1"]
    product.refused(
        "adapter-opt", small[0], "--adapter", f"x={stray}", *arguments, mentions=mentions, cwd=tmp_path
    )
    assert [p.name for p in tmp_path.iterdir()] == ["stray"]


def test_left_over_module_can_be_ignored(small, stray):
    arguments = [small[0], "--adapter", f"x={stray}", "--check"]
    product.opt(*arguments, "--ignore-missing", "*.layers.7.*")
    product.refused("adapter-opt", *arguments, "--ignore-missing", "*.layers.8.*", mentions=["layers.7"])


def test_adapter_of_another_model(oracle):
    product.refused(
        "adapter-opt",
        oracle.export("llama", "dynamo"),
        "--adapter",
        f"x={oracle.adapter('bert', 'plain').folder}",
        "--check",
    )


def test_wrong_shape_is_named(oracle, small, tmp_path):
    folder = tmp_path / "wide"
    source = oracle.adapter("vit", "plain").folder
    tensors = safetensors.torch.load_file(source / "adapter_model.safetensors")
    key = next(k for k in tensors if "layers.0.mlp.fc1.lora_A" in k)
    tensors[key] = tensors[key][:, :-1].contiguous()
    folder.mkdir()
    safetensors.torch.save_file(tensors, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_bytes((source / "adapter_config.json").read_bytes())
    mentions = ["layers.0.mlp.fc1", "31", "32"]
    product.refused("adapter-opt", small[0], "--adapter", f"x={folder}", "--check", mentions=mentions)


@pytest.mark.parametrize(
    "field, value", [("layer_replication", [[0, 1]]), ("peft_type", "SOMETHING"), ("r", "four")]
)
def test_configuration_that_is_not_understood_is_named(oracle, small, tmp_path, field, value):
    folder = tmp_path / "odd"
    source = oracle.adapter("vit", "plain").folder
    folder.mkdir()
    (folder / "adapter_model.safetensors").write_bytes((source / "adapter_model.safetensors").read_bytes())
    config = json.loads((source / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps(config | {field: value}))
    product.refused("adapter-opt", small[0], "--adapter", f"x={folder}", "--check", mentions=[field])
