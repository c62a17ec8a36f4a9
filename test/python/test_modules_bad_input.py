# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""AdapterHub folders that cannot be right: one message that names what is wrong, exit code 1."""

import json
import shutil

import product
import pytest
import safetensors.numpy

FIELDS = {
    "inv_adapter": ("nice", ["'inv_adapter'", "invertible"]),
    "cross_adapter": (True, ["'cross_adapter'"]),
    "phm_layer": (True, ["'phm_layer'"]),
    "non_linearity": ("prelu", ["'non_linearity'", "'prelu'"]),
    "scaling": ("twice", ["'scaling'"]),
    "residual_before_ln": ("post_add", ["'residual_before_ln'", "original_ln_before"]),
    "reduction_factor": (8, ["reduction_factor", "[8, 32]"]),
    "leave_out": ([1], ["leave_out", "layer 1"]),
    "output_adapter": (False, ["output_adapter is false"]),
    "mh_adapter": (True, ["'mh_adapter'", "no module"]),
    "ln_before": (True, ["adapter_down.0.weight"]),
    "use_gating": (True, ["'gate'"]),
    "architecture": ("lora", ["'architecture'", "'lora'"]),
    "is_parallel": ("yes", ["'is_parallel'"]),
    "attention_scale": (2, ["'attention_scale'", "unknown"]),
}


@pytest.fixture
def broken(hub, tmp_path):
    """(graph, folder to break)."""
    adapted = hub.adapter("bert", "seq_bn")
    shutil.copytree(adapted.folder, tmp_path / "hub")
    return adapted.base_file, tmp_path / "hub"


def refused(base, folder, *mentions):
    return product.refused("adapter-opt", base, f"--adapter=x={folder}", "--check", mentions=mentions)


@pytest.mark.parametrize("field", FIELDS)
def test_field(broken, field):
    base, folder = broken
    value, mentions = FIELDS[field]
    config = json.loads((folder / "adapter_config.json").read_text())
    config["config"][field] = value
    (folder / "adapter_config.json").write_text(json.dumps(config))
    refused(base, folder, *mentions)


PREFIX = "bert.encoder.layer.0.output.adapters.seq_bn_1."
UP, BIAS = PREFIX + "adapter_up.weight", PREFIX + "adapter_up.bias"


def _missing(tensors):
    del tensors[BIAS]


def _shape(tensors):
    tensors[UP] = tensors[UP].T.copy()


def _misspelt(tensors):
    tensors[PREFIX + "adapter_upp.weight"] = tensors.pop(UP)


def _foreign(tensors):
    tensors["bert.invertible_adapters.seq_bn_1.F.0.weight"] = tensors[UP]


def _integers(tensors):
    tensors[BIAS] = tensors[BIAS].astype("int32")


def _nan(tensors):
    tensors[BIAS] = tensors[BIAS] * float("nan")


def _nowhere(tensors):
    for key in [key for key in tensors if "layer.1" in key]:
        tensors[key.replace("layer.1", "layer.7")] = tensors.pop(key)


CHANGES = {
    _missing: ["'up_bias'", "layer.0.output"],
    _shape: ["[8, 32]", "[32, 8]"],
    _misspelt: ["adapter_upp.weight", "no place"],
    _foreign: ["invertible_adapters"],
    _integers: ["int32"],
    _nan: ["NaN"],
    _nowhere: ["layer.7", "--ignore-missing"],
}


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_tensor(broken, change):
    base, folder = broken
    tensors = safetensors.numpy.load_file(folder / "adapter.safetensors")
    change(tensors)
    safetensors.numpy.save_file(tensors, folder / "adapter.safetensors")
    refused(base, folder, *CHANGES[change])


def test_pickle_is_never_read(broken):
    base, folder = broken
    (folder / "adapter.safetensors").unlink()
    refused(base, folder, "adapter.safetensors")
    (folder / "pytorch_adapter.bin").write_bytes(b"\x80\x02")
    refused(base, folder, "pickle", "torch.load('pytorch_adapter.bin', weights_only=True)")


def test_fusion(broken):
    base, folder = broken
    (folder / "adapter_fusion_config.json").write_text("{}")
    refused(base, folder, "fusion")


def test_without_a_name(broken):
    base, folder = broken
    config = json.loads((folder / "adapter_config.json").read_text())
    del config["name"]
    (folder / "adapter_config.json").write_text(json.dumps(config))
    refused(base, folder, "'name'")


def test_another_width(broken, hub):
    """An adapter of a wider model: the sum it is for is not there."""
    base, folder = broken
    tensors = safetensors.numpy.load_file(folder / "adapter.safetensors")
    for key, value in tensors.items():
        if key.endswith("adapter_down.0.weight"):
            tensors[key] = value.repeat(2, 1).repeat(2, 0)
        elif key.endswith("adapter_up.weight"):
            tensors[key] = value.repeat(2, 1).repeat(2, 0)
        else:
            tensors[key] = value.repeat(2, 0)
    safetensors.numpy.save_file(tensors, folder / "adapter.safetensors")
    refused(base, folder, "width 64", "layer.0.output")
