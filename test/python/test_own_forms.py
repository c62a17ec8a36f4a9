# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Forms of users (own_forms.py): merged, switched, called and chosen by row they are the formula in NumPy."""

import re

import numpy as np
import onnx
import onnxruntime
import own_forms
import product
import pytest
from own_forms import FORMS
from own_linears import MODULES, Linears
from tolerance import assert_agrees

ao = product.package()
ROWS = 6
# Sizes of the input and of the two outputs.
SIZES = [(12, (7, 5)), (9, (13, 4)), (14, (3, 11))]


def merged_weights(path):
    """[out, in] of each module."""
    made = {each.name: onnx.numpy_helper.to_array(each) for each in onnx.load(path).graph.initializer}
    return {name: made[f"{name}.weight"] if name == "one" else made[f"{name}.weight"].T for name in MODULES}


@pytest.mark.parametrize("seed", range(len(SIZES)))
@pytest.mark.parametrize("name", FORMS)
def test_merged_weights_are_the_formula(tmp_path, name, seed):
    inputs, outputs = SIZES[seed]
    model = Linears(tmp_path / "model.onnx", inputs, outputs, seed)
    tensors = model.draw(name)
    folder = own_forms.save(tmp_path / "x", name, tensors)
    forms = own_forms.write(tmp_path / "forms.mlir", name)
    product.opt(model.path, "--forms", forms, "--adapter", f"x={folder}", "-o", tmp_path / "merged.onnx")
    weights = merged_weights(tmp_path / "merged.onnx")
    for module, (wanted, _) in model.updated(name, tensors).items():
        assert_agrees(weights[module], wanted.astype(np.float32), model.weights[module], tolerance=1e-6)
    got = onnxruntime.InferenceSession(tmp_path / "merged.onnx").run(None, {"x": model.x})
    plain = model.outputs()
    for (key, wanted), y in zip(model.outputs(name, tensors).items(), got, strict=True):
        assert_agrees(y, wanted, plain[key])


def test_form_may_have_the_name_of_a_helper(tmp_path):
    """Helpers (lib/Forms/Library/helpers*.mlir) have names of their own: `matmul` is one."""
    model = Linears(tmp_path / "model.onnx", *SIZES[0], seed=3)
    tensors = model.draw("product")
    folder = own_forms.save(tmp_path / "x", "matmul", tensors)
    forms = tmp_path / "forms.mlir"
    forms.write_text(FORMS["product"].text.replace("@product", "@matmul"))
    product.opt(model.path, "--forms", forms, "--adapter", f"x={folder}", "-o", tmp_path / "merged.onnx")
    weights = merged_weights(tmp_path / "merged.onnx")
    for module, (wanted, _) in model.updated("product", tensors).items():
        assert_agrees(weights[module], wanted.astype(np.float32), model.weights[module], tolerance=1e-6)


class World:
    """A model, two adapters of each form, and artifacts that hold the first ones."""

    def __init__(self, folder):
        self.folder, self.artifacts = folder, {}
        self.model = Linears(folder / "model.onnx", *SIZES[0], seed=9)
        self.forms = own_forms.write(folder / "forms.mlir")
        self.feed, self.plain = {"x": self.model.x}, self.model.outputs()
        self.folders, self.wanted = {}, {}
        for name in FORMS:
            for i in (1, 2):
                tensors = self.model.draw(name)
                self.folders[name, i] = own_forms.save(folder / f"{name}-{i}", name, tensors)
                self.wanted[name, i] = self.model.outputs(name, tensors)

    def compiled(self, key, *options):
        if key not in self.artifacts:
            path = self.folder / f"{key}.adapt"
            product.opt(self.model.path, "--forms", self.forms, *options, "-o", path)
            self.artifacts[key] = ao.Model(path)
        return self.artifacts[key]

    def bound(self, time):
        """All forms' first adapters, bound at a time."""
        words = [f"--adapter={name}={self.folders[name, 1]}@{time}" for name in FORMS]
        return self.compiled(time, *words)

    def room(self, time):
        """A slot for all forms, into which the second adapters are loaded."""
        key = f"slot-{time}"
        is_new = key not in self.artifacts
        model = self.compiled(key, f"--adapter-slot=s:{'+'.join(FORMS)}@{time}")
        for name in FORMS if is_new else ():
            model.load_adapter(name, self.folders[name, 2])
        return model


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return World(tmp_path_factory.mktemp("own-forms"))


def check(got, wanted, base=None, rows=slice(None)):
    for key in wanted:
        assert_agrees(got[key][rows], wanted[key][rows], None if base is None else base[key][rows])


@pytest.mark.parametrize("name", FORMS)
def test_rows(world, name):
    """Every other row, alone or beside another one; shares of 0, 1 and a half."""
    model, wanted, plain = world.bound("row"), world.wanted[name, 1], world.plain
    got = model(world.feed, adapters=[name, None] * (ROWS // 2))
    check(got, wanted, plain, slice(0, None, 2))
    check(got, plain, None, slice(1, None, 2))
    got = model(world.feed, adapters=[{name: 0.0}, {name: 1.0}, {name: 0.5}] * (ROWS // 3))
    check(got, plain, None, slice(0, None, 3))
    check(got, wanted, plain, slice(1, None, 3))
    half = {key: plain[key] + np.float32(0.5) * (wanted[key] - plain[key]) for key in plain}
    check(got, half, plain, slice(2, None, 3))
    other = next(each for each in FORMS if each != name)
    got = model(world.feed, adapters=[name, other] * (ROWS // 2))
    check(got, wanted, plain, slice(0, None, 2))
    check(got, world.wanted[other, 1], plain, slice(1, None, 2))


def test_all_forms_in_one_batch(world):
    names = list(FORMS)
    for start in range(0, len(names), ROWS):
        part = (names[start:] + names)[:ROWS]
        got = world.bound("row")(world.feed, adapters=part)
        for row, name in enumerate(part):
            check(got, world.wanted[name, 1], world.plain, slice(row, row + 1))


@pytest.mark.parametrize("name", FORMS)
def test_switch_and_back(world, name):
    model = world.bound("switch")
    before = model(world.feed)
    check(before, world.plain)
    model.switch(name)
    check(model(world.feed), world.wanted[name, 1], world.plain)
    model.switch(None)
    after = model(world.feed)
    assert all(np.array_equal(before[key], after[key]) for key in before)


@pytest.mark.parametrize("time", ["row", "call"])
@pytest.mark.parametrize("name", FORMS)
def test_slots(world, name, time):
    model = world.room(time)
    got = model(world.feed, adapters=[name] * ROWS if time == "row" else name)
    check(got, world.wanted[name, 2], world.plain)


@pytest.mark.parametrize("name", FORMS)
def test_printed_text_is_the_same_form(tmp_path, name):
    """Its hash and its result; comments and names of values do not count."""
    model = Linears(tmp_path / "model.onnx", *SIZES[0], seed=3)
    tensors = model.draw(name)
    own = own_forms.write(tmp_path / "own.mlir", name)
    own.write_text("// A comment.\n" + own.read_text().replace("%u", "%another"))
    printed = tmp_path / "printed.mlir"
    printed.write_text(product.opt(own))
    made, hashes = [], []
    for forms in (own, printed):
        folder = own_forms.save(tmp_path / "x", name, tensors, form_hash="?")
        words = [model.path, "--forms", forms, "--adapter", f"x={folder}"]
        said = product.refused("adapter-opt", *words, "--check", mentions=["form_hash is '?'"])
        hashes.append(re.search(r"has the hash '(\w+)'", said)[1])
        own_forms.save(tmp_path / "x", name, tensors, form_hash=hashes[-1])
        product.opt(*words, "-o", tmp_path / "merged.onnx")
        made.append(merged_weights(tmp_path / "merged.onnx"))
    assert hashes[0] == hashes[1]
    assert all(np.array_equal(made[0][module], made[1][module]) for module in MODULES)


VARIANT = FORMS["measured"].text.replace("optional", 'optional "length"')


@pytest.mark.parametrize("time", ["build", "switch", "row"])
@pytest.mark.parametrize("kind", [np.int64, np.int32])
def test_indices_of_another_name(world, tmp_path, kind, time):
    (tmp_path / "forms.mlir").write_text(FORMS["reordered"].text.replace('"indices"', '"order"'))
    tensors = world.model.draw("reordered")
    renamed = {module: {"order": t["indices"].astype(kind)} for module, t in tensors.items()}
    folder = own_forms.save(tmp_path / "x", "reordered", renamed)
    words = ["--forms", tmp_path / "forms.mlir", "--adapter", f"x={folder}@{time}"]
    product.opt(world.model.path, *words, "-o", tmp_path / "x.adapt")
    with ao.Model(tmp_path / "x.adapt") as model:
        if time == "switch":
            model.switch("x")
        got = model(world.feed, adapters=["x"] * ROWS if time == "row" else None)
    check(got, world.model.outputs("reordered", tensors), world.plain)


@pytest.mark.parametrize("words", ["measured+length", "lora+length+measured+dora"])
def test_slot_for_a_variant(world, tmp_path, words):
    """Adapters with the variant's tensor and without it."""
    (tmp_path / "forms.mlir").write_text(VARIANT)
    options = ["--forms", tmp_path / "forms.mlir", f"--adapter-slot=s:{words}@row"]
    product.opt(world.model.path, *options, "-o", tmp_path / "x.adapt")
    tensors = {module: {"V": t["V"]} for module, t in world.model.draw("measured").items()}
    with ao.Model(tmp_path / "x.adapt") as model:
        model.load_adapter("with", world.folders["measured", 1])
        model.load_adapter("without", own_forms.save(tmp_path / "x", "measured", tensors))
        got = model(world.feed, adapters=["with", "without"] * (ROWS // 2))
    check(got, world.wanted["measured", 1], world.plain, slice(0, None, 2))
    x = world.feed["x"].astype(np.float64)
    added = {f"y_{name}": world.plain[f"y_{name}"] + x @ t["V"].T for name, t in tensors.items()}
    wanted = {key: value.astype(np.float32) for key, value in added.items()}
    check(got, wanted, world.plain, slice(1, None, 2))


def test_default_of_the_scale(world, tmp_path):
    """It counts where the adapter says none."""
    (tmp_path / "forms.mlir").write_text(FORMS["product"].text.replace('"scale" = 1.0', '"scale" = 0.5'))
    words = ["--forms", tmp_path / "forms.mlir", "--adapter", f"x={world.folders['product', 1]}"]
    product.opt(world.model.path, *words, "-o", tmp_path / "x.onnx")
    got = onnxruntime.InferenceSession(tmp_path / "x.onnx").run(list(world.plain), world.feed)
    for y, (key, plain) in zip(got, world.plain.items(), strict=True):
        half = plain + np.float32(0.5) * (world.wanted["product", 1][key] - plain)
        assert_agrees(y, half, plain)


def test_ops_of_forms_within_loops(world, tmp_path):
    """A symbol, the weight and a choice in a loop's body."""
    text = FORMS["measured"].text
    start = text.index("%a = adapter.matrix")
    body = """%c0 = arith.constant 0 : index
          %c1 = arith.constant 1 : index
          %c3 = arith.constant 3 : index
          %one = arith.constant 1 : index
          %t = scf.for %i = %c0 to %c3 step %c1 iter_args(%x = %V) -> tensor<?x?xf64> {
            %out = adapter.symbol "out"
            %w = adapter.weight : tensor<?x?xf64>
            %y = arith.addf %x, %w : tensor<?x?xf64>
            %z = adapter.if_given %m : tensor<?xf64> -> tensor<?x?xf64> {
              adapter.yield %y : tensor<?x?xf64>
            } else {
              adapter.yield %x : tensor<?x?xf64>
            }
            scf.yield %z : tensor<?x?xf64>
          }
          %a = adapter.matrix %t : tensor<?x?xf64>
          %u = adapter.add %a
          adapter.yield %u : !adapter.update<tensor<?x?xf64>>
        }"""
    (tmp_path / "forms.mlir").write_text(text[:start] + body)
    words = ["--forms", tmp_path / "forms.mlir", "--adapter", f"x={world.folders['measured', 1]}"]
    product.opt(world.model.path, *words, "-o", tmp_path / "x.onnx")
    weights = merged_weights(tmp_path / "x.onnx")
    from safetensors.numpy import load_file

    tensors = load_file(world.folders["measured", 1] / "adapter_model.safetensors")
    for name in MODULES:
        wanted = 4 * world.model.weights[name] + tensors[f"base_model.model.{name}.V"]
        assert_agrees(weights[name], wanted, world.model.weights[name])
