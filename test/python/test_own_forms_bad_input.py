# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Files of forms and folders of type ADAPTER_OPT_FORM that are wrong: exit code 1, one line that says why."""

import numpy as np
import own_forms
import product
import pytest
from own_forms import END, FORMS
from own_linears import MODULES, Linears

HEAD = """adapter.form @f for [linear]
    roles(%A "A" : "r, cols", %B "B" : "out, r") scalars(%s "scale" = 1.0) """
BODY = f"""%b = adapter.matrix %B : tensor<?x?xf64>
  %a = adapter.matrix %A : tensor<?x?xf64>
  %m = adapter.chain %b, %a
  %u = adapter.add %m scale %s
  {END}
}}"""


def holding(line):
    return f"{HEAD} {{\n  {line}\n  {BODY}"


def with_roles(roles, clauses=""):
    return f'adapter.form @f for [linear] roles({roles}) scalars(%s "scale" = 1.0) {clauses} {{\n  {BODY}'


class World:
    def __init__(self, folder):
        self.folder = folder
        self.model = Linears(folder / "model.onnx", 12, (7, 5), seed=4)

    def tensors(self):
        made = self.model.draw("product")
        return {name: {role: made[name][role] for role in "AB"} for name in MODULES}

    def refused(self, forms, mentions, tensors=None, form="f", **fields):
        """What adapter-opt says of a text of forms (None: no such file) and an adapter."""
        path = self.folder / "forms.mlir"
        path.unlink(missing_ok=True)
        if forms is not None:
            path.write_text(forms)
        adapter = own_forms.save(self.folder / "x", form, tensors or self.tensors(), **fields)
        words = [self.model.path, "--forms", path, "--adapter", f"x={adapter}", "-o", self.folder / "o.onnx"]
        return product.refused("adapter-opt", *words, mentions=mentions, timeout=30)


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


GOOD = f"{HEAD} {{ {BODY}"
FILES = {
    "missing": (None, ["forms.mlir", "No such file"]),
    "not-mlir": ("this is not MLIR", ["forms.mlir:1:1", "unknown"]),
    "a-function": ("func.func @f() { return }", ["forms.mlir:1:1", "holds nothing else"]),
    "taken": (f"{HEAD.replace('@f', '@lora')} {{ {BODY}", ["'lora'", "already"]),
    "twice": (f"{HEAD} {{ {BODY}\n{HEAD} {{ {BODY}", ["'f'", "already"]),
    "while": (
        holding("%t = arith.constant true scf.while : () -> () { scf.condition(%t) } do { scf.yield }"),
        ["is not allowed in a form"],
    ),
    "memory": (holding("%x = memref.alloc() : memref<4xf64>"), ["forms.mlir:3:8", "memref.alloc"]),
    "llvm": (holding("%x = llvm.mlir.constant(1 : i64) : i64"), ["forms.mlir:3:8", "llvm.mlir.constant"]),
    "unregistered": (holding('%x = "foo.bar"() : () -> f64'), ["'foo.bar'", "is not allowed in a form"]),
    "unregistered-outside": ('"foo.bar"() : () -> ()', ["'foo.bar'", "holds nothing else"]),
    "parameter": (
        holding('%x = adapter.parameter "base"::"w" : tensor<2x2xf32>'),
        ["adapter.parameter", "is not allowed"],
    ),
    "unknown-helper": (holding("func.call @nothing() : () -> ()"), ["@nothing", "not a helper"]),
    "helper-of-other-types": (
        holding("%x = func.call @transposed(%A, %A) : (tensor<?x?xf64>, tensor<?x?xf64>) -> tensor<?x?xf64>"),
        ["@transposed", "other types"],
    ),
    "symbol": (holding('%x = adapter.symbol "k"'), ["forms.mlir:3:8", "'k'"]),
    "deep": (with_roles(f'%A "A" : "{"(" * 60}r{")" * 60}, cols", %B "B" : "out, r"'), ["nested too deeply"]),
    "long": (with_roles(f'%A "A" : "{"1 * " * 300}r, cols", %B "B" : "out, r"'), ["longer than"]),
    "empty-size": (with_roles('%A "A" : "", %B "B" : "out, r"'), ["ends where a size is expected"]),
    "chain-of-wrong-sizes": (GOOD.replace("chain %b, %a", "chain %a, %b"), ["sizes do not fit"]),
    "left-of-wrong-size": (GOOD.replace("adapter.add %m scale %s", "adapter.left %b"), ["sizes do not fit"]),
    "element-out-of-bounds": (
        holding(
            "%far = arith.constant 100000000000 : index\n  "
            "%q = tensor.extract %A[%far, %far] : tensor<?x?xf64>"
        ).replace("scale %s", "scale %q"),
        ["beyond a tensor"],
    ),
    "divided-by-zero": (
        with_roles('%A "A" : "r, cols", %B "B" : "out, r"', 'where("k = r div (r - r)")'),
        ["cannot be divided by 0"],
    ),
    "overflow": (
        with_roles('%A "A" : "r, cols", %B "B" : "out, r"', 'where("k = r * 4611686018427387904")'),
        ["overflows"],
    ),
}


@pytest.mark.parametrize("case", FILES)
def test_file(world, case):
    text, mentions = FILES[case]
    world.refused(text, mentions)


def changed(**roles):
    """Tensors of module `one` set, or, where None, left out."""

    def change(tensors):
        for role, value in roles.items():
            tensors["one"].pop(role, None)
            if value is not None:
                tensors["one"][role] = value
        return tensors

    return change


FOLDERS = {
    "no-form": (changed(), {"form": ""}, ["'form' is missing"]),
    "unknown-form": (changed(), {"form": "g"}, ["'g' is not defined", "--forms", "lora", "oft"]),
    "hash": (changed(), {"form_hash": "0" * 32}, ["form_hash", "made for another one"]),
    "attribute": (changed(), {"attributes": {"k": 1}}, ["no attribute 'k'"]),
    "attribute-of-fractions": (changed(), {"attributes": {"k": 1.5}}, ["'k'", "not a whole number"]),
    "scalar-text": (changed(), {"scalars": {"scale": "1"}}, ["'scale'", "not a finite number"]),
    "scalar-infinite": (changed(), {"scalars": {"scale": 1e999}}, ["adapter_config.json"]),
    "scalar-nan": (changed(), {"scalars": {"scale": float("nan")}}, ["adapter_config.json"]),
    "module": (changed(), {"modules": {"two": {"scalars": {}}}}, ["'two'", "no tensors"]),
    "field": (changed(), {"alpha": 3}, ["'alpha'"]),
    "extra-tensor": (changed(C=np.zeros(3, np.float32)), {}, ["one.C", "no place", "A, B"]),
    "missing-tensor": (changed(A=None), {}, ["'A' is missing", "one.B"]),
    "shape": (changed(B=np.zeros((7, 4), np.float32)), {}, ["one.B", "[7, 4]", "[out, r] = [7, 3]"]),
    "axes": (changed(B=np.zeros((7, 3, 1), np.float32)), {}, ["one.B", "[7, 3, 1]"]),
    "integers": (changed(B=np.zeros((7, 3), np.int64)), {}, ["one.B", "holds integers"]),
}


@pytest.mark.parametrize("case", FOLDERS)
def test_folder(world, case):
    change, fields, mentions = FOLDERS[case]
    form = fields.pop("form", "f") if "form" in fields else "f"
    world.refused(GOOD, mentions, change(world.tensors()), form, **fields)


CALL_OUT = f"""{HEAD.replace('%s "scale" = 1.0', '%s "factor"')} {{ {BODY}"""
MAP_OF_A_LOOP = holding(
    """%c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %x = adapter.matrix %A : tensor<?x?xf64>
  %q = scf.for %i = %c0 to %c1 step %c1 iter_args(%v = %x) -> !adapter.map {
    scf.yield %v : !adapter.map
  }"""
).replace("chain %b, %a", "chain %b, %q")
BRANCH = holding(
    """%t = arith.constant true
  %x = adapter.matrix %A : tensor<?x?xf64>
  %q = scf.if %t -> !adapter.map {
    scf.yield %x : !adapter.map
  } else {
    scf.yield %x : !adapter.map
  }"""
).replace("chain %b, %a", "chain %b, %q")
CHOSEN = holding(
    """%t = arith.constant true
  %x = adapter.matrix %A : tensor<?x?xf64>
  %q = arith.select %t, %x, %x : !adapter.map"""
).replace("chain %b, %a", "chain %b, %q")
ROLE_B = ', %B "B" : "out, r"'


def looping(count, inner="", step=1):
    """A loop whose result is the scale, so that it stays."""
    return holding(
        f"""%c0 = arith.constant 0 : index
  %n = arith.constant {count} : index
  %c1 = arith.constant {step} : index
  %q = scf.for %i = %c0 to %n step %c1 iter_args(%v = %s) -> f64 {{
    {inner or "%w = arith.mulf %v, %v : f64"}
    scf.yield %w : f64
  }}"""
    ).replace("scale %s", "scale %q")


INNER = """%w = scf.for %j = %c0 to %n step %c1 iter_args(%y = %v) -> f64 {
      %z = arith.mulf %y, %y : f64
      scf.yield %z : f64
    }"""
REFUSED = {
    "unknown-scalar": (GOOD, {"scalars": {"scael": 2.0}}, ["no scalar 'scael'", "scale"]),
    "scalar-not-given": (CALL_OUT, {}, ["needs the scalar 'factor'"]),
    "scale-of-none": (CALL_OUT, {"scalars": {"factor": 1.0, "scale": 2.0}}, ["no scalar 'scale'"]),
    "scalar-of-a-module": (GOOD, {"modules": {"one": {"scalars": {"k": 1.0}}}}, ["no scalar 'k'"]),
    "sliceable": (HEAD + 'sliceable("k") {\n' + BODY, {}, ["'k'", "sliceable"]),
    "map-of-a-loop": (MAP_OF_A_LOOP, {}, ["forms.mlir:6:8", "'scf.for'", "carries a map"]),
    "map-of-a-branch": (BRANCH, {}, ["forms.mlir:5:8", "'scf.if'", "carries a map"]),
    "map-of-a-choice": (CHOSEN, {}, ["forms.mlir:5:8", "'arith.select'", "carries a map"]),
    "scalar-nan": (GOOD.replace("= 1.0", "= 0x7FF8000000000000"), {}, ["'scale'", "not a finite number"]),
    "role-without-a-name": (with_roles(f'%A "" : "r, cols"{ROLE_B}'), {}, ["a role ''"]),
    "role-of-two": (with_roles(f'%A "A,B" : "r, cols"{ROLE_B}'), {}, ["a role 'A,B'"]),
    "where-in-another-order": (
        with_roles(f'%A "A" : "r, cols"{ROLE_B}', 'where("k = l + 1", "l = r")'),
        {},
        ["'k'", "reads 'l'", "defined behind it"],
    ),
    "where-of-itself": (with_roles(f'%A "A" : "r, cols"{ROLE_B}', 'where("k = k + 1")'), {}, ["reads 'k'"]),
    "update-of-the-bias": (
        holding("%x = adapter.bias : tensor<?xf64>\n  %d = adapter.diagonal %x : tensor<?xf64>").replace(
            "chain %b, %a", "chain %d, %b, %a"
        ),
        {},
        ["forms.mlir:3:8", "adapter.bias", "the new bias alone"],
    ),
    "endless-loop": (looping(10**15), {}, ["form 'f'", "steps"]),
    "endless-loops": (looping(10**6, INNER), {}, ["form 'f'", "steps"]),
    "loop-that-stands": (looping(10, step=0), {}, ["step"]),
    "loop-of-i64": (
        holding(
            "%c0 = arith.constant 0 : i64 %c1 = arith.constant 1 : i64\n"
            "  scf.for %i = %c0 to %c1 step %c1 : i64 { scf.yield }"
        ),
        {},
        ["forms.mlir:4:3", "by index"],
    ),
    "sizes-of-a-chain": (GOOD.replace("chain %b, %a", "chain %a, %b"), {}, ["form 'f'", "do not fit"]),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(world, case):
    text, fields, mentions = REFUSED[case]
    world.refused(text, mentions, **fields)


def test_scale_of_none_is_not_set(world):
    (world.folder / "forms.mlir").write_text(CALL_OUT)
    folder = own_forms.save(world.folder / "x", "f", world.tensors(), scalars={"factor": 2.0})
    words = [world.model.path, "--forms", world.folder / "forms.mlir"]
    words += ["--adapter", f"x={folder}:scale=2", "-o", world.folder / "o.onnx"]
    product.refused("adapter-opt", *words, mentions=["'f' has no scalar 'scale'"])


def test_names_of_forms_once(world):
    said = world.refused(GOOD, ["'g' is not defined"], form="g")
    names = said.split("Defined are ")[1].split(", ")
    assert "rows" in names and sorted(set(names)) == sorted(names)


@pytest.mark.parametrize("value", [-1, 7, 10**12])
@pytest.mark.parametrize("form", ["reordered", "few"])
def test_indices(world, form, value):
    tensors = world.model.draw(form)
    tensors["one"]["indices"].flat[0] = value
    world.refused(FORMS[form].text, ["beyond a tensor"], tensors, form)


def test_order_that_is_not_a_permutation(world):
    tensors = world.model.draw("reordered")
    tensors["one"]["indices"][:] = 0
    world.refused(FORMS["reordered"].text, ["indices", "twice"], tensors, "reordered")


def test_file_is_read_without_adapters(world):
    words = [world.model.path, "--forms", world.folder / "nothing.mlir", "-o", world.folder / "o.onnx"]
    product.refused("adapter-opt", *words, mentions=["nothing.mlir"])


def test_message_of_an_endless_text_is_short(world):
    said = world.refused(with_roles(f'%A "A" : "{"(" * 100000}r", %B "B" : "out, r"'), ["longer than"])
    assert len(said) < 2000
