# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Methods that are definitions (lib/Forms/Library): eight kinds in one batch against PEFT, folders that are
damaged or do not fit, and slots. Each method in each mode: test_weight_methods.py."""

import copy
import json
import shutil

import numpy as np
import peft
import product
import pytest
import torch
from tolerance import assert_agrees

ao = product.package()

ALL, LINEARS = ["a", "b", "c"], ["a", "b"]
# A form's slot, PEFT's configuration.
METHODS = {
    "oft": ("oft", lambda: peft.OFTConfig(target_modules=LINEARS, oft_block_size=4)),
    "ia3": ("ia3+ia3_input", lambda: peft.IA3Config(target_modules=ALL, feedforward_modules=["b"])),
    "hra": ("hra", lambda: peft.HRAConfig(r=4, target_modules=ALL)),
    "vera": ("vera", lambda: peft.VeraConfig(r=4, target_modules=LINEARS)),
    "lokr": ("lokr", lambda: peft.LoKrConfig(r=4, target_modules=ALL)),
    "loha": ("loha", lambda: peft.LoHaConfig(r=4, target_modules=ALL)),
    "lora": ("lora", lambda: peft.LoraConfig(r=4, target_modules=LINEARS)),
    "dora": ("lora+dora", lambda: peft.LoraConfig(r=3, use_dora=True, target_modules=LINEARS)),
    "shira": ("sparse", lambda: peft.ShiraConfig(r=2, target_modules=LINEARS)),
}
EIGHT = ["lora", "dora", "oft", "ia3", "shira", "vera", "hra", "lokr"]


class Three(torch.nn.Module):
    """Linears with and without a bias, in and out of different sizes, and a convolution."""

    def __init__(self):
        super().__init__()
        self.a = torch.nn.Linear(24, 16)
        self.b = torch.nn.Linear(16, 24, bias=False)
        self.c = torch.nn.Conv2d(4, 8, 3, padding=1)

    def forward(self, x, image):
        # In a concatenation the rows of a product are strided.
        return torch.cat([self.b(torch.relu(self.a(x))), x], -1), self.c(image)


def trained(base, name, seed):
    """PEFT's model with random adapters, none of their tensors at its no-op value."""
    torch.manual_seed(seed)
    model = peft.get_peft_model(copy.deepcopy(base), METHODS[name][1]())
    for key, parameter in model.named_parameters():
        if parameter.requires_grad or "vera" in key:
            parameter.data = parameter.data + 0.3 * torch.randn_like(parameter)
    return model.eval()


class World:
    """The model, its graph, and what each method's adapter makes of the inputs."""

    def __init__(self, folder):
        self.folder, self.known = folder, {}
        torch.manual_seed(0)
        self.base = Three().eval()
        self.x, self.image = torch.randn(8, 24), torch.randn(8, 4, 6, 5)
        self.feed = {"x": self.x.numpy(), "image": self.image.numpy()}
        self.graph = folder / "model.onnx"
        axes = {"x": {0: "rows"}, "image": {0: "rows"}}
        torch.onnx.export(
            self.base,
            (self.x, self.image),
            self.graph,
            input_names=["x", "image"],
            output_names=["y", "z"],
            dynamic_axes=axes,
            dynamo=False,
        )
        self.plain = self.outputs(self.base)

    def outputs(self, model):
        with torch.no_grad():
            return dict(zip(["y", "z"], [t.numpy() for t in model(self.x, self.image)], strict=True))

    def adapter(self, name):
        """Its folder and outputs."""
        if name not in self.known:
            model, folder = trained(self.base, name, seed=1), self.folder / name
            model.save_pretrained(folder)
            self.known[name] = (folder, self.outputs(model))
        return self.known[name]

    def compiled(self, name, *options):
        path = self.folder / f"{name}.adapt"
        shutil.rmtree(path, ignore_errors=True)
        product.opt(self.graph, *options, "-o", path)
        return ao.Model(path)

    def check(self, got, want):
        """`z` has no effect of its own where the method leaves the convolution alone."""
        for key in ("y", "z"):
            changed = not np.array_equal(want[key], self.plain[key])
            assert_agrees(got[key], want[key], self.plain[key] if changed else None)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return World(tmp_path_factory.mktemp("forms"))


def test_eight_kinds_in_one_batch(world):
    options = []
    for name in EIGHT:
        options += ["--adapter", f"{name}={world.adapter(name)[0]}@row"]
    with world.compiled("eight", *options) as model:
        got = model(world.feed, adapters=EIGHT)
        for row, name in enumerate(EIGHT):
            alone = model(world.feed, adapters=[name] * 8)
            for key in ("y", "z"):
                assert_agrees(got[key][row], world.adapter(name)[1][key][row])
                assert_agrees(alone[key], world.adapter(name)[1][key])
        # A share of 0 is the base, one of 1 is the adapter.
        none = model(world.feed, adapters=[{"oft": 0.0, "ia3": 0.0}] * 8)
        whole = model(world.feed, adapters=[{"oft": 1.0}] * 8)
    for key in ("y", "z"):
        assert_agrees(none[key], world.plain[key])
        assert_agrees(whole[key], world.adapter("oft")[1][key])


# What is damaged or does not fit, and what the message names.
def _resave(source, target, change):
    from safetensors.torch import load_file, save_file

    shutil.copytree(source, target)
    tensors = load_file(target / "adapter_model.safetensors")
    config = json.loads((target / "adapter_config.json").read_text())
    change(tensors, config)
    save_file({k: v.contiguous() for k, v in tensors.items()}, target / "adapter_model.safetensors")
    (target / "adapter_config.json").write_text(json.dumps(config))


BAD = {
    "oft-shape": (
        "oft",
        lambda t, c: t.update({"base_model.model.a.oft_R.weight": torch.zeros(5, 6)}),
        ["a.oft_R.weight", "[5, 6]", "[6 | 1, 6]", "b = 4", "linear [16, 24]"],
    ),
    "oft-size": (
        "oft",
        lambda t, c: t.update({"base_model.model.a.oft_R.weight": torch.zeros(6, 7)}),
        ["form 'oft' requires", "p = 7"],
    ),
    "oft-version": (
        "oft",
        lambda t, c: c.update({"peft_version": "0.15.2"}),
        ["peft_version", "0.15.2"],
    ),
    "oft-terms": (
        "oft",
        lambda t, c: c.update({"num_cayley_neumann_terms": 0}),
        ["num_cayley_neumann_terms"],
    ),
    "vera-role": ("vera", lambda t, c: t.pop("base_model.vera_B"), ["'B' is missing", "vera"]),
    "vera-narrow": (
        "vera",
        lambda t, c: t.update({"base_model.vera_A": torch.zeros(4, 20)}),
        ["requires widest >= cols", "widest = 20"],
    ),
    "lokr-choice": (
        "lokr",
        lambda t, c: t.pop("base_model.model.a.lokr_w1"),
        ["needs either w1, or w1_a and w1_b"],
    ),
    "lokr-product": (
        "lokr",
        lambda t, c: t.update({"base_model.model.a.lokr_w1": torch.zeros(3, 4)}),
        ["requires a1 * a2 == out", "a1 = 3"],
    ),
    "hra-field": ("hra", lambda t, c: c.update({"hra_alpha": 2}), ["hra_alpha", "unknown"]),
    "hra-tensor": (
        "hra",
        lambda t, c: t.update({"base_model.model.a.hra_v": torch.zeros(24, 4)}),
        ["a.hra_v"],
    ),
    "loha-rank": (
        "loha",
        lambda t, c: t.update({"base_model.model.a.hada_w2_a": torch.zeros(16, 3)}),
        ["a.hada_w2_a", "[16, 3]", "[out, r] = [16, 4]"],
    ),
    "ia3-integers": (
        "ia3",
        lambda t, c: t.update({"base_model.model.a.ia3_l": torch.zeros(16, 1, dtype=torch.int32)}),
        ["a.ia3_l", "int32"],
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_refuses(world, case):
    name, change, mentions = BAD[case]
    target = world.folder / f"bad-{case}"
    _resave(world.adapter(name)[0], target, change)
    product.refused("adapter-opt", world.graph, "--adapter", f"x={target}", "--check", mentions=mentions)


def test_slot_without_the_form_says_what_it_has(world):
    with world.compiled("other", "--adapter-slot", "s:oft@row") as model:
        with pytest.raises(ValueError, match="'hra'.*takes: oft"):
            model.load_adapter("x", world.adapter("hra")[0])


def test_unknown_form_is_named_with_those_that_are(world):
    with pytest.raises(ValueError, match="no form 'lroa'.*the forms are adalora, .*did you mean 'lora'"):
        ao.compile(world.graph, slots={"s": ao.Slot("lroa")})
