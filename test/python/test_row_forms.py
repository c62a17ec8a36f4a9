# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""PEFT's methods that are more than a low-rank sum, by row: what is rotated before a product, added beside it
in blocks or scaled behind it, alone and mixed in one call, with shares and by token, against PEFT itself."""

import copy

import numpy as np
import peft
import product
import pytest
import torch

MODULES = ["a", "b", "c", "d"]
METHODS = {
    "oft": peft.OFTConfig(target_modules=MODULES, oft_block_size=4),
    "oft_shared": peft.OFTConfig(target_modules=MODULES, oft_block_size=4, block_share=True),
    "oft_exact": peft.OFTConfig(target_modules=MODULES, oft_block_size=4, use_cayley_neumann=False),
    "hra": peft.HRAConfig(target_modules=MODULES, r=4),
    "hra_orthogonal": peft.HRAConfig(target_modules=MODULES, r=4, apply_GS=True),
    "lokr": peft.LoKrConfig(target_modules=MODULES, r=2, alpha=4),
    "lokr_whole": peft.LoKrConfig(target_modules=MODULES, r=32, alpha=32),
    "lokr_factored": peft.LoKrConfig(
        target_modules=MODULES, r=1, alpha=2, decompose_both=True, decompose_factor=4
    ),
    "ia3": peft.IA3Config(target_modules=MODULES, feedforward_modules=["b"]),
    "loha": peft.LoHaConfig(target_modules=MODULES, r=2, alpha=4),
    "loha_high": peft.LoHaConfig(target_modules=MODULES, r=6, alpha=4),
    "lora": peft.LoraConfig(target_modules=MODULES, r=3, lora_alpha=6),
}
ROWS, TOKENS = 13, 7


class Net(torch.nn.Module):
    """Linears with a bias and without, a convolution, and a linear whose input is no row's."""

    def __init__(self):
        super().__init__()
        self.a = torch.nn.Linear(24, 16)
        self.b = torch.nn.Linear(16, 24, bias=False)
        self.c = torch.nn.Conv2d(4, 8, 3, padding=1)
        self.d = torch.nn.Linear(24, 16)
        self.positions = torch.nn.Parameter(torch.randn(TOKENS, 24))

    def forward(self, x, image):
        return self.a(x), self.b(torch.tanh(x[..., :16])), self.c(image), x[..., :16] * self.d(self.positions)


def adapted(base, config):
    """A model of PEFT with every parameter of its adapter drawn anew, around what it begins as."""
    model = peft.get_peft_model(copy.deepcopy(base), copy.deepcopy(config)).eval()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model


def outputs_of(model, inputs):
    with torch.no_grad():
        return [y.numpy() for y in model(*inputs)]


@pytest.fixture(scope="module", params=["row", "row-token"])
def case(request, tmp_path_factory):
    """The loaded model, its inputs, and what each adapter makes of them, by name; None is the base."""
    where = tmp_path_factory.mktemp(request.param)
    torch.manual_seed(0)
    base = Net().eval()
    inputs = torch.randn(ROWS, TOKENS, 24), torch.randn(ROWS, 4, 6, 6)
    modules = MODULES if request.param == "row" else MODULES[:2]
    torch.onnx.export(
        base,
        inputs,
        where / "net.onnx",
        dynamo=False,
        input_names=["x", "image"],
        output_names=MODULES,
        dynamic_axes={"x": {0: "batch", 1: "sequence"}, "image": {0: "batch"}},
    )
    makes = {None: outputs_of(base, inputs)}
    for name, config in METHODS.items():
        # A bias cannot differ by token, so that by token IA3 scales inputs alone.
        config.target_modules = {"b"} if name == "ia3" and len(modules) < 4 else set(modules)
        model = adapted(base, config)
        model.save_pretrained(where / name)
        makes[name] = outputs_of(model, inputs)
        if name.startswith("oft"):  # PEFT's forward of a convolution is not what it merges
            makes[name][2] = outputs_of(model.merge_and_unload(), inputs)[2]
    given = [f"--adapter={name}={where / name}@{request.param}" for name in METHODS]
    product.opt(where / "net.onnx", *given, "-o", where / "net.adapt")
    feed = {"x": inputs[0].numpy(), "image": inputs[1].numpy()}
    return product.package().load(str(where / "net.adapt"), threads=2), feed, makes, len(modules)


def agrees(y, expected):
    error = np.abs(y.astype(np.float64) - expected).max() / np.abs(expected).max()
    assert error <= 5e-6, f"off by {error:.2e}"


def check(case, rows):
    """One entry of `rows` for each row: a name, None, or shares by name."""
    model, feed, makes, count = case
    outputs = model(feed, adapters=rows)
    for i, module in enumerate(MODULES[:count]):
        for row, who in enumerate(rows):
            base = makes[None][i][row].astype(np.float64)
            shares = who if isinstance(who, dict) else {} if who is None else {who: 1.0}
            changes = [share * (makes[name][i][row] - base) for name, share in shares.items()]
            agrees(outputs[module][row], base + sum(changes))


@pytest.mark.parametrize("name", METHODS)
def test_one_on_all_rows(case, name):
    assert np.abs(case[2][name][1] - case[2][None][1]).max() > 0.01, "the adapter does nothing"
    check(case, [name] * ROWS)


def test_all_in_one_call(case):
    names = [None, *METHODS]
    check(case, (names * 2)[:ROWS])
    check(case, names[::-1][:ROWS])


def test_shares(case):
    names = list(METHODS)
    check(case, [{name: 0.6} for name in names] + [None] * (ROWS - len(names)))
    check(case, [{name: float(i % 2)} for i, name in enumerate(names)] + [None] * (ROWS - len(names)))


def test_two_on_one_row(case):
    names = list(METHODS)
    pairs = [{name: 0.7, names[(i + 3) % len(names)]: -0.4} for i, name in enumerate(names)]
    check(case, [*pairs, "oft"])


def test_a_row_does_not_depend_on_its_neighbours(case):
    model, feed, _, count = case
    names = [*METHODS, {"oft": 0.5, "lokr": 0.5}]
    together = model(feed, adapters=names)
    for row in range(ROWS):
        alone = model({k: v[row : row + 1] for k, v in feed.items()}, adapters=[names[row]])
        for module in MODULES[:count]:
            assert np.array_equal(alone[module][0], together[module][row]), f"row {row}, {module}"


def test_by_token(case):
    model, feed, makes, count = case
    if count == len(MODULES):
        pytest.skip("adapters of rows")
    names = [None, *METHODS]
    who = [[names[(5 * row + token) % len(names)] for token in range(TOKENS)] for row in range(ROWS)]
    outputs = model(feed, adapters=who)
    for i, module in enumerate(MODULES[:count]):
        for row in range(ROWS):
            for token in range(TOKENS):
                expected = makes[who[row][token]][i][row, token]
                agrees(outputs[module][row, token], expected.astype(np.float64))
