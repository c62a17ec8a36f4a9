# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""That a tensor of a graph is a parameter of a module is a claim: by which evidence it is taken, and when it
is refused."""

import shutil

import numpy as np
import onnx
import product
import pytest
import tiny
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save_file

X = tiny.numbers(3, 4, seed=9)


def merged(tmp_path, graph, folder, *arguments, feed=None):
    product.opt(graph, "--adapter", f"x={folder}", *arguments, "-o", tmp_path / "merged.onnx")
    return tiny.answer(tmp_path / "merged.onnx", feed or {"x": X})


def refused(graph, folder, *arguments, mentions=()):
    return product.refused(
        "adapter-opt", graph, "--adapter", f"x={folder}", *arguments, "--check", mentions=mentions
    )


# ------------------------------------------------------------------------------------ two modules, one node


@pytest.fixture
def halves(tmp_path):
    """A graph of one half, and an adapter of an encoder and a decoder."""
    w = tiny.numbers(4, 4)
    encoder, encoder_delta = tiny.lora("encoder.layers.0.q", 4, 4, seed=1)
    decoder, decoder_delta = tiny.lora("decoder.layers.0.q", 4, 4, seed=5)
    folder = tiny.adapter(tmp_path / "lora", encoder | decoder, target_modules=["q"])
    graph = tiny.graph(tmp_path / "m.onnx", [tiny.matmul("/layers.0/q/MatMul", "w")], {"w": w})
    return graph, folder, X @ (w + encoder_delta.T), X @ (w + decoder_delta.T)


def test_two_modules_never_share_a_node(halves):
    graph, folder, _, _ = halves
    refused(graph, folder, mentions=["encoder.layers.0.q", "decoder.layers.0.q", "--map", "--ignore-missing"])


def test_modules_are_taken_out_before_matching(halves, tmp_path):
    graph, folder, encoder, decoder = halves
    tiny.close(merged(tmp_path, graph, folder, "--ignore-missing", "decoder.*"), encoder)
    tiny.close(merged(tmp_path, graph, folder, "--ignore-missing", "encoder.*"), decoder)


def test_a_renaming_says_which_is_meant(halves, tmp_path):
    graph, folder, _, decoder = halves
    arguments = ["--map", "decoder.*=*", "--ignore-missing", "encoder.*"]
    tiny.close(merged(tmp_path, graph, folder, *arguments), decoder)


def test_a_renaming_of_nothing_is_refused(halves):
    graph, folder, _, _ = halves
    refused(graph, folder, "--map", "decodr.*=*", mentions=["--map 'decodr.*=*'"])


def test_contents_decide(halves, tmp_path):
    graph, folder, _, decoder = halves
    w = tiny.numbers(4, 4)
    save_file(
        {
            "encoder.layers.0.q.weight": tiny.numbers(4, 4, seed=3),
            "decoder.layers.0.q.weight": np.ascontiguousarray(w.T),
        },
        tmp_path / "base.safetensors",
    )
    arguments = ["--base", tmp_path / "base.safetensors", "--ignore-missing", "nothing"]
    message = refused(graph, folder, *arguments)
    assert "encoder.layers.0.q" in message and "'decoder' of the adapter's model" in message
    tiny.close(merged(tmp_path, graph, folder, *arguments[:2], "--ignore-missing", "encoder.*"), decoder)


@pytest.mark.parametrize("names", [("encoder_model", "decoder_model"), ("encoder", "b")])
def test_each_module_goes_to_its_own_graph(halves, tmp_path, names):
    graph, folder, encoder, decoder = halves
    (tmp_path / "in").mkdir()
    for name in names:
        shutil.copy(graph, tmp_path / "in" / f"{name}.onnx")
    product.opt(tmp_path / "in", "--adapter", f"x={folder}", "-o", tmp_path / "out")
    tiny.close(tiny.answer(tmp_path / "out" / f"{names[0]}.onnx", {"x": X}), encoder)
    tiny.close(tiny.answer(tmp_path / "out" / f"{names[1]}.onnx", {"x": X}), decoder)


def test_a_slot_matches_all_modules_together(halves, tmp_path):
    graph, folder, _, _ = halves
    artifact = tmp_path / "m.adapt"
    product.opt(graph, "--adapter-slot", "s:lora@row", "-o", artifact)
    np.save(tmp_path / "x.npy", X)
    product.refused(
        "adapter-run",
        artifact,
        "--load",
        f"a={folder}",
        "--row-adapters",
        "a,-,a",
        "--input",
        f"x={tmp_path}/x.npy",
        mentions=["encoder.layers.0.q", "decoder.layers.0.q"],
    )


def test_a_parameter_has_one_value(tmp_path):
    """Two graphs whose modules are called alike and hold different numbers: not both are the adapter's."""
    tensors, _ = tiny.lora("q", 4, 4)
    folder = tiny.adapter(tmp_path / "lora", tensors, target_modules=["q"])
    (tmp_path / "in").mkdir()
    for name, seed in (("a", 0), ("b", 1)):
        tiny.graph(
            tmp_path / "in" / f"{name}.onnx",
            [tiny.matmul("/q/MatMul", "w")],
            {"w": tiny.numbers(4, 4, seed=seed)},
        )
    refused(tmp_path / "in", folder, mentions=["different numbers"])


# ----------------------------------------------------------------------------------------------- small things


def test_one_output_saved(tmp_path):
    w, b, w2, b2 = tiny.numbers(4, 1), np.float32([5]), tiny.numbers(1, 4, seed=1), np.float32([7])
    nodes = [tiny.matmul("/head/MatMul", "w", y="t"), tiny.node("Add", ["t", "b"], "y", "/head/Add")]
    graph = tiny.graph(tmp_path / "m.onnx", nodes, {"w": w, "b": b})
    folder = tiny.adapter(tmp_path / "lora", {"head.weight": w2, "head.bias": b2}, modules_to_save=["head"])
    tiny.close(merged(tmp_path, graph, folder), X @ w2.T + b2)


@pytest.mark.parametrize("mode", ["@build", "@switch", "@row"])
def test_one_output_saved_compiled(tmp_path, mode):
    w, b, w2, b2 = tiny.numbers(1, 4), np.float32([5]), tiny.numbers(1, 4, seed=1), np.float32([7])
    nodes = [tiny.node("Gemm", ["x", "head.weight", "head.bias"], "y", "/head/Gemm", transB=1)]
    graph = tiny.graph(tmp_path / "m.onnx", nodes, {"head.weight": w, "head.bias": b})
    folder = tiny.adapter(tmp_path / "lora", {"head.weight": w2, "head.bias": b2}, modules_to_save=["head"])
    product.opt(graph, "--adapter", f"x={folder}{mode}", "-o", tmp_path / "m.adapt")
    arguments = {"@switch": ["--adapter", "x"], "@row": ["--row-adapters", "x,x,x"]}.get(mode, [])
    tiny.close(product.run(tmp_path / "m.adapt", {"x": X}, tmp_path, *arguments)["y"], X @ w2.T + b2)


def test_a_bias_that_the_graph_lacks_of_one_output(tmp_path):
    w = tiny.numbers(1, 4)
    graph = tiny.graph(
        tmp_path / "m.onnx", [tiny.node("Gemm", ["x", "w"], "y", "/h/Gemm", transB=1)], {"w": w}
    )
    tensors, delta = tiny.lora("h", 1, 4)
    folder = tiny.adapter(
        tmp_path / "lora",
        tensors | {"h.lora_B.bias": np.float32([0.5])},
        target_modules=["h"],
        lora_bias=True,
    )
    tiny.close(merged(tmp_path, graph, folder), X @ (w + delta).T + np.float32([0.5]))


# --------------------------------------------------------------------------------------------- names of tools


@pytest.mark.parametrize("name", ["fc.kernel", "fc.weight_t", "onnx::MatMul_7", "val_3", "w"])
def test_the_only_product_reads_the_weight(tmp_path, name):
    w = tiny.numbers(4, 4)
    graph = tiny.graph(tmp_path / "m.onnx", [tiny.matmul("/fc/MatMul", name)], {name: w})
    tensors, delta = tiny.lora("fc", 4, 4)
    folder = tiny.adapter(tmp_path / "lora", tensors, target_modules=["fc"])
    tiny.close(merged(tmp_path, graph, folder), X @ (w + delta.T))


def test_a_builders_copy_is_transposed(tmp_path):
    key = "model.layers.0.attn.o_proj.MatMul.weight"
    w, w2 = tiny.numbers(4, 4), tiny.numbers(4, 4, seed=1)
    graph = tiny.graph(
        tmp_path / "m.onnx", [tiny.matmul("/model/layers.0/attn/o_proj/MatMul", key)], {key: w}
    )
    folder = tiny.adapter(
        tmp_path / "lora", {"model.layers.0.self_attn.o_proj.weight": w2}, modules_to_save=["o_proj"]
    )
    tiny.close(merged(tmp_path, graph, folder), X @ w2.T)


@pytest.mark.parametrize("stored", ["transposed", "as it is"])
def test_a_square_weight_under_its_own_name(tmp_path, stored):
    """Nothing but the base tells whether a tool transposed it."""
    w, w2 = tiny.numbers(4, 4), tiny.numbers(4, 4, seed=1)
    graph = tiny.graph(tmp_path / "m.onnx", [tiny.matmul("/fc/MatMul", "fc.weight")], {"fc.weight": w})
    folder = tiny.adapter(tmp_path / "lora", {"fc.weight": w2}, modules_to_save=["fc"])
    refused(graph, folder, mentions=["fc", "transpose", "--base"])
    save_file(
        {"fc.weight": np.ascontiguousarray(w.T if stored == "transposed" else w)}, tmp_path / "b.safetensors"
    )
    want = X @ (w2.T if stored == "transposed" else w2)
    tiny.close(merged(tmp_path, graph, folder, "--base", tmp_path / "b.safetensors"), want)


def test_the_default_domain_spelled_out(tmp_path):
    w = tiny.numbers(4, 4)
    model = onnx.load(tiny.graph(tmp_path / "m.onnx", [tiny.matmul("/fc/MatMul", "w")], {"w": w}))
    model.graph.node[0].domain = model.opset_import[0].domain = "ai.onnx"
    onnx.save(model, tmp_path / "m.onnx")
    tensors, delta = tiny.lora("fc", 4, 4)
    folder = tiny.adapter(tmp_path / "lora", tensors, target_modules=["fc"])
    tiny.close(merged(tmp_path, tmp_path / "m.onnx", folder), X @ (w + delta.T))
    assert onnx.load(tmp_path / "merged.onnx").graph.node[0].domain == "ai.onnx"
    product.opt(tmp_path / "m.onnx", "--adapter", f"x={folder}@row", "-o", tmp_path / "m.adapt")
    got = product.run(tmp_path / "m.adapt", {"x": X}, tmp_path, "--row-adapters", "x,-,x")["y"]
    tiny.close(got, np.stack([X[0] @ (w + delta.T), X[1] @ w, X[2] @ (w + delta.T)]))


@pytest.mark.parametrize("mode", ["@build", "@row"])
def test_a_weight_in_a_constant_node(tmp_path, mode):
    w = tiny.numbers(4, 4)
    constant = helper.make_node("Constant", [], ["w"], value=numpy_helper.from_array(w, "w"))
    graph = tiny.graph(tmp_path / "m.onnx", [constant, tiny.matmul("/fc/MatMul", "w")], {})
    tensors, delta = tiny.lora("fc", 4, 4)
    folder = tiny.adapter(tmp_path / "lora", tensors, target_modules=["fc"])
    tiny.close(merged(tmp_path, graph, folder), X @ (w + delta.T))
    product.opt(graph, "--adapter", f"x={folder}{mode}", "-o", tmp_path / "m.adapt")
    arguments = ["--row-adapters", "x,x,x"] if mode == "@row" else []
    tiny.close(product.run(tmp_path / "m.adapt", {"x": X}, tmp_path, *arguments)["y"], X @ (w + delta.T))


@pytest.mark.parametrize("shared", [False, True])
def test_branches_with_a_bias_that_they_lack(tmp_path, shared):
    w = tiny.numbers(4, 4)

    def branch(name):
        weight = "w" if shared else f"{name}_w"
        own = [] if shared else [numpy_helper.from_array(w, weight)]
        output = helper.make_tensor_value_info(f"{name}_y", TensorProto.FLOAT, None)
        return helper.make_graph([tiny.matmul("/q/MatMul", weight, y=f"{name}_y")], name, [], [output], own)

    choice = helper.make_node("If", ["c"], ["y"], name="if", then_branch=branch("t"), else_branch=branch("e"))
    graph = tiny.graph(
        tmp_path / "m.onnx",
        [choice],
        {"w": w} if shared else {},
        inputs=(("x", ["n", 4]), ("c", [])),
        kinds={"c": TensorProto.BOOL},
    )
    tensors, delta = tiny.lora("q", 4, 4)
    bias = tiny.numbers(4, seed=3)
    folder = tiny.adapter(
        tmp_path / "lora", tensors | {"q.lora_B.bias": bias}, target_modules=["q"], lora_bias=True
    )
    for which in (True, False):
        got = merged(tmp_path, graph, folder, feed={"x": X, "c": np.array(which)})
        tiny.close(got, X @ (w + delta.T) + bias)


def test_a_hub_caches_links_are_followed(tmp_path):
    w, x = tiny.numbers(64, 64), tiny.numbers(3, 64, seed=9)
    tiny.graph(tmp_path / "m.onnx", [tiny.matmul("/fc/MatMul", "w")], {"w": w}, inputs=(("x", ["n", 64]),))
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "0"
    blobs.mkdir(), snapshot.mkdir(parents=True)
    onnx.save(
        onnx.load(tmp_path / "m.onnx"),
        tmp_path / "e.onnx",
        save_as_external_data=True,
        location="e.data",
        size_threshold=0,
    )
    for file, blob in (("e.onnx", "aa"), ("e.data", "bb")):
        shutil.move(tmp_path / file, blobs / blob)
        (snapshot / file).symlink_to(blobs / blob)
    tensors, delta = tiny.lora("fc", 64, 64)
    folder = tiny.adapter(tmp_path / "lora", tensors, target_modules=["fc"])
    tiny.close(merged(tmp_path, snapshot / "e.onnx", folder, feed={"x": x}), x @ (w + delta.T))
    # A link to elsewhere stays refused.
    (snapshot / "e.data").unlink()
    shutil.move(blobs / "bb", tmp_path / "outside")
    (snapshot / "e.data").symlink_to(tmp_path / "outside")
    refused(snapshot / "e.onnx", folder, mentions=["outside the model's folder"])
