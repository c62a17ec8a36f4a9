# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Forms of users that yield a bias: beside a weight that they read, on a linear that has none, and where the
weight is stored as [in, out]. Also whole weights and places in them of a linear that is stored so."""

import numpy as np
import onnx
import onnxruntime
import own_forms
import product
import pytest
from onnx import TensorProto, helper, numpy_helper
from own_forms import END, FORMS, Form, real
from tolerance import assert_agrees

ao = product.package()
ROWS, INPUTS, SIZES = 6, 12, {"one": 7, "other": 5, "plain": 4}
BIAS = "adapter.yield %u, %n : !adapter.update<tensor<?x?xf64>>, tensor<?xf64>"
OWN = {
    "shifted": FORMS["shifted"],
    # The update reads the weight, the bias does not.
    "masked_shift": Form(
        f"""adapter.form @masked_shift for [linear] roles(%M "M" : "out, cols", %c "c" : "out") {{
          %w = adapter.weight : tensor<?x?xf64>
          %p = arith.mulf %w, %M : tensor<?x?xf64>
          %m = adapter.matrix %p : tensor<?x?xf64>
          %u = adapter.add %m
          %b = adapter.bias : tensor<?xf64>
          %n = arith.addf %b, %c : tensor<?xf64>
          {BIAS}
        }}""",
        lambda rng, out, cols: {"M": real(rng, out, cols), "c": real(rng, out)},
        lambda W, b, t: W + W * t["M"],
        lambda W, b, t: b + t["c"],
    ),
    # b' = b + W c, so that the layer is one of the shifted input; with a whole weight beside it.
    "centred": Form(
        f"""adapter.form @centred for [linear] roles(%V "V" : "weight", %c "c" : "cols") {{
          %v = adapter.matrix %V : tensor<?x?xf64>
          %u = adapter.add %v
          %w = adapter.weight : tensor<?x?xf64>
          %s = arith.addf %w, %V : tensor<?x?xf64>
          %cols = adapter.symbol "cols"
          %one = tensor.expand_shape %c [[0, 1]] output_shape [%cols, 1] : tensor<?xf64> into tensor<?x1xf64>
          %x = tensor.cast %one : tensor<?x1xf64> to tensor<?x?xf64>
          %y = func.call @matmul(%s, %x) : (tensor<?x?xf64>, tensor<?x?xf64>) -> tensor<?x?xf64>
          %z = tensor.collapse_shape %y [[0, 1]] : tensor<?x?xf64> into tensor<?xf64>
          %b = adapter.bias : tensor<?xf64>
          %n = arith.addf %b, %z : tensor<?xf64>
          {BIAS}
        }}""",
        lambda rng, out, cols: {"V": real(rng, out, cols), "c": real(rng, cols)},
        lambda W, b, t: W + t["V"],
        lambda W, b, t: b + (W + t["V"]) @ t["c"],
    ),
    # Elements by their places in the checkpoint's weight.
    "placed": Form(
        f"""adapter.form @placed for [linear] roles(%i "at" : "coordinates", %v "v" : "n") {{
          %out = adapter.symbol "out"
          %cols = adapter.symbol "cols"
          %g = adapter.gather %i, %v of %out, %cols : tensor<?x?xi64>, tensor<?xf64>
          %u = adapter.add %g
          {END}
        }}""",
        lambda rng, out, cols: {"at": ascending(rng, out, cols), "v": real(rng, 6)},
        lambda W, b, t: W + dense(t, *W.shape),
    ),
    # The same where the values are of the weight: nothing that is changed in place.
    "doubled": Form(
        f"""adapter.form @doubled for [linear] roles(%i "at" : "coordinates", %v "v" : "n") {{
          %out = adapter.symbol "out"
          %cols = adapter.symbol "cols"
          %w = adapter.weight : tensor<?x?xf64>
          %zero = arith.constant 0 : index
          %x = tensor.extract %w[%zero, %zero] : tensor<?x?xf64>
          %g = adapter.gather %i, %v of %out, %cols : tensor<?x?xi64>, tensor<?xf64>
          %u = adapter.add %g scale %x
          {END}
        }}""",
        lambda rng, out, cols: {"at": ascending(rng, out, cols), "v": real(rng, 6)},
        lambda W, b, t: W + W[0, 0] * dense(t, *W.shape),
    ),
}


def ascending(rng, rows, columns):
    at = np.sort(rng.choice(rows * columns, 6, replace=False))
    return np.stack([at // columns, at % columns]).astype(np.int64)


def dense(t, out, cols):
    made = np.zeros((out, cols))
    made[tuple(t["at"])] = t["v"].astype(np.float64)
    return made


class Linears:
    """`one` is a Gemm of [out, in], `other` one of [in, out] as transformers' Conv1D has it, `plain` a MatMul
    of that."""

    def __init__(self, path, has_bias):
        rng = np.random.default_rng(11)
        self.path, self.rng = path, rng
        self.weights = {name: real(rng, out, INPUTS) for name, out in SIZES.items()}
        self.biases = {name: real(rng, out) * has_bias for name, out in SIZES.items()}
        self.feed = {"x": real(rng, ROWS, INPUTS)}
        nodes, made, stored = [], [], []
        for name, out in SIZES.items():
            weight = self.weights[name] if name == "one" else np.ascontiguousarray(self.weights[name].T)
            stored.append(numpy_helper.from_array(weight, f"{name}.weight"))
            stored.extend([numpy_helper.from_array(self.biases[name], f"{name}.bias")] * has_bias)
            bias = [f"{name}.bias"] * has_bias
            if name == "plain":
                last = "product" if has_bias else "y_plain"
                nodes.append(helper.make_node("MatMul", ["x", "plain.weight"], [last], name="/plain/MatMul"))
                if has_bias:
                    nodes.append(helper.make_node("Add", [last, *bias], ["y_plain"], name="/plain/Add"))
            else:
                fields = {"name": f"/{name}/Gemm", "transB": int(name == "one")}
                nodes.append(
                    helper.make_node("Gemm", ["x", f"{name}.weight", *bias], [f"y_{name}"], **fields)
                )
            made.append(helper.make_tensor_value_info(f"y_{name}", TensorProto.FLOAT, ["rows", out]))
        read = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", INPUTS])]
        graph = helper.make_graph(nodes, "linears", read, made, stored)
        versions = [helper.make_opsetid("", 17)]
        # An exporter's name says that a Gemm of [in, out] is a Conv1D, not a linear.
        model = helper.make_model(graph, opset_imports=versions, ir_version=8, producer_name="pytorch")
        onnx.save(model, path)

    def outputs(self, tensors=None, form=None):
        made, x = {}, self.feed["x"].astype(np.float64)
        for name in SIZES:
            W, b = self.weights[name].astype(np.float64), self.biases[name].astype(np.float64)
            if tensors:
                W, b = form.weight(W, b, tensors[name]), form.bias(W, b, tensors[name])
            made[f"y_{name}"] = (x @ W.T + b).astype(np.float32)
        return made


# Of `other` and `plain` the checkpoint has [in, out].
def stored(name, tensors):
    if name == "one":
        return tensors
    made = dict(tensors)
    if "V" in made and "c" in made:
        made["V"] = made["V"].T
    if "at" in made:
        order = np.lexsort((made["at"][0], made["at"][1]))
        made |= {"at": made["at"][::-1, order], "v": made["v"][order]}
    return made


class World:
    def __init__(self, folder, has_bias):
        self.folder = folder
        self.model = Linears(folder / "model.onnx", has_bias)
        self.forms = folder / "forms.mlir"
        self.forms.write_text("\n".join(each.text for each in OWN.values()))
        self.plain, self.folders, self.wanted = self.model.outputs(), {}, {}
        for name, form in OWN.items():
            tensors = {each: form.draw(self.model.rng, out, INPUTS) for each, out in SIZES.items()}
            self.wanted[name] = self.model.outputs(tensors, form)
            kept = {each: stored(each, t) for each, t in tensors.items()}
            self.folders[name] = own_forms.save(folder / name, name, kept)
        self.models = {}

    def compiled(self, key, *words):
        if key not in self.models:
            path = self.folder / f"{key}.adapt"
            product.opt(self.model.path, "--forms", self.forms, *words, "-o", path)
            self.models[key] = ao.Model(path)
        return self.models[key]

    def bound(self, time):
        return self.compiled(time, *(f"--adapter={name}={at}@{time}" for name, at in self.folders.items()))


@pytest.fixture(scope="module", params=[True, False], ids=["bias", "no-bias"])
def world(request, tmp_path_factory):
    return World(tmp_path_factory.mktemp("own-bias"), request.param)


def check(got, wanted, plain, rows=slice(None)):
    for key in wanted:
        assert_agrees(got[key][rows], wanted[key][rows], plain[key][rows])


@pytest.mark.parametrize("name", OWN)
def test_merged(world, name, tmp_path):
    words = ["--forms", world.forms, "--adapter", f"x={world.folders[name]}", "-o", tmp_path / "merged.onnx"]
    product.opt(world.model.path, *words)
    session = onnxruntime.InferenceSession(tmp_path / "merged.onnx")
    got = session.run(list(world.wanted[name]), world.model.feed)
    check(dict(zip(world.wanted[name], got, strict=True)), world.wanted[name], world.plain)


@pytest.mark.parametrize("name", OWN)
def test_switched_and_back(world, name):
    model = world.bound("switch")
    before = model(world.model.feed)
    model.switch(name)
    check(model(world.model.feed), world.wanted[name], world.plain)
    model.switch(None)
    after = model(world.model.feed)
    assert all(np.array_equal(before[key], after[key]) for key in before)


@pytest.mark.parametrize("name", OWN)
def test_rows(world, name):
    model = world.bound("row")
    got = model(world.model.feed, adapters=[name, None, {name: 0.5}] * (ROWS // 3))
    check(got, world.wanted[name], world.plain, slice(0, None, 3))
    for key, plain in world.plain.items():
        assert_agrees(got[key][1::3], plain[1::3])
    wanted = world.wanted[name]
    half = {key: plain + np.float32(0.5) * (wanted[key] - plain) for key, plain in world.plain.items()}
    check(got, half, world.plain, slice(2, None, 3))


@pytest.mark.parametrize("time", ["switch", "row"])
@pytest.mark.parametrize("name", OWN)
def test_slots(world, name, time):
    model = world.compiled(f"slot-{time}", f"--adapter-slot=s:{'+'.join(OWN)}@{time}")
    model.load_adapter(name, world.folders[name])
    if time == "switch":
        model.switch(name)
    got = model(world.model.feed, adapters=[name] * ROWS if time == "row" else None)
    check(got, world.wanted[name], world.plain)
    if time == "switch":
        model.switch(None)
