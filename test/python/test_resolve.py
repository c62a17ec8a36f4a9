# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""ao.resolve: what PEFT's folders leave out is written along; the folder then does what the model does."""

import warnings

import onnxruntime
import peft
import product
import pytest
import torch
import weight_methods
from tolerance import assert_agrees

ao = product.package()
KINDS = ("linear", "unbiased")
# PEFT's configuration, and whether its own folder is refused.
CONFIGS = {
    "psoft": lambda: peft.PsoftConfig(r=4, psoft_alpha=8, target_modules=KINDS),
    "psoft-neumann": lambda: peft.PsoftConfig(
        r=4, use_cayley_neumann=True, psoft_orth=True, psoft_mag_a=False, target_modules=KINDS
    ),
    "adamss": lambda: peft.AdamssConfig(r=6, num_subspaces=2, subspace_rank=2, target_modules=KINDS),
    "unilora": lambda: peft.UniLoraConfig(r=4, target_modules=KINDS),
    "vera": lambda: peft.VeraConfig(r=4, save_projection=False, target_modules=KINDS),
    "randlora": lambda: peft.RandLoraConfig(r=4, save_projection=False, target_modules=KINDS),
    "frod": lambda: peft.FrodConfig(
        save_projection=False, sparse_rate=0.05, progressbar=False, target_modules=KINDS
    ),
    "supertuning": lambda: peft.SupertuningConfig(
        sparsity=0.9, save_precomputed_indices=False, target_modules=KINDS
    ),
}


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    torch.manual_seed(0)
    base = weight_methods.Layers(KINDS).eval()
    path, x = tmp_path_factory.mktemp("resolve") / "model.onnx", weight_methods.inputs()["x"]
    torch.onnx.export(base, (x,), path, input_names=["x"], output_names=list(KINDS), dynamo=False)
    return base, path, x


def outputs(model, x):
    with torch.no_grad():
        return [y.numpy() for y in model(x)]


def drawn(base, name):
    """The base with a random adapter."""
    weight_methods.METHODS[name] = weight_methods.Case("", "", CONFIGS[name], KINDS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return weight_methods.trained(base, name)
        finally:
            del weight_methods.METHODS[name]


@pytest.mark.parametrize("name", CONFIGS)
def test_a_resolved_folder_does_what_the_model_does(exported, tmp_path, name):
    base, graph, x = exported
    model = drawn(base, name)
    model.save_pretrained(tmp_path / "own")
    product.refused("adapter-opt", graph, "--adapter", f"x={tmp_path / 'own'}", "--check")
    assert ao.resolve(model, tmp_path / "x") == tmp_path / "x"
    product.opt(graph, "--adapter", f"x={tmp_path / 'x'}", "-o", tmp_path / "merged.onnx")
    got = onnxruntime.InferenceSession(tmp_path / "merged.onnx").run(None, {"x": x.numpy()})
    for y, want, plain in zip(got, outputs(model, x), outputs(base, x), strict=True):
        assert_agrees(y, want, plain)


def test_mistakes_are_named(exported, tmp_path):
    base, _, _ = exported
    model = drawn(base, "psoft")
    with pytest.raises(TypeError, match="takes a PeftModel, not Layers"):
        ao.resolve(base, tmp_path / "x")
    with pytest.raises(ValueError, match="no adapter 'other'; it has: default"):
        ao.resolve(model, tmp_path / "x", adapter="other")
    (tmp_path / "there").mkdir()
    with pytest.raises(FileExistsError, match="there"):
        ao.resolve(model, tmp_path / "there")
    assert [each.name for each in tmp_path.iterdir()] == ["there"]
