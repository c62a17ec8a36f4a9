# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""MoSA: masked modules become one plain adapter, which answers as the modules do and as the method's code."""

import mosa
import onnx
import onnxruntime
import product
import pytest
import safetensors.torch
import torch
from tolerance import assert_agrees, assert_rows_agree


@pytest.fixture(scope="module")
def exports(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mosa")
    return {
        exporter: mosa.export(exporter, folder / f"{exporter}.onnx") for exporter in ("dynamo", "torchscript")
    }


def answers(path, x):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(["logits"], {"x": x.numpy()})[0]


def reference(model, x):
    with torch.no_grad():
        return model(x).numpy()


X = torch.randn((3, 5, mosa.WIDTH), generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
@pytest.mark.parametrize("style", mosa.STYLES)
def test_merged_is_the_codes(exports, tmp_path, style, exporter):
    blocks = mosa.modules_of(style)
    folder = mosa.write(tmp_path / "mosa", style, blocks)
    product.opt(exports[exporter], f"--adapter=x={folder}", "-o", tmp_path / "merged.onnx")
    onnx.checker.check_model(str(tmp_path / "merged.onnx"), full_check=True)
    y, base = reference(mosa.adapted(style, blocks), X), reference(mosa.Model().eval(), X)
    assert_agrees(answers(tmp_path / "merged.onnx", X), y, base)


@pytest.mark.parametrize("style", mosa.STYLES)
def test_compiled(exports, tmp_path, style):
    blocks = mosa.modules_of(style)
    folder = mosa.write(tmp_path / "mosa", style, blocks)
    product.opt(exports["dynamo"], f"--adapter=x={folder}", "-o", tmp_path / "m.adapt")
    y = product.run(tmp_path / "m.adapt", {"x": X.numpy()}, tmp_path)["logits"]
    assert_agrees(y, reference(mosa.adapted(style, blocks), X), reference(mosa.Model().eval(), X))


@pytest.mark.parametrize("style", mosa.STYLES)
@pytest.mark.parametrize("time", ["row", "call", "switch"])
def test_later_than_the_build(exports, tmp_path, style, time):
    """Folded when it is attached: into rows, calls and, of the LoRA variant, weights."""
    folders = [mosa.write(tmp_path / f"mosa{i}", style, mosa.modules_of(style, i + 1)) for i in range(2)]
    if time == "switch" and style != "LoRA":
        given = [f"--adapter=x={folders[0]}@switch", "-o", tmp_path / "m.adapt"]
        product.refused("adapter-opt", exports["dynamo"], *given, mentions=["switch"])
        return
    given = [f"--adapter={name}={folder}@{time}" for name, folder in zip("xy", folders, strict=True)]
    product.opt(exports["dynamo"], *given, "-o", tmp_path / "m.adapt")
    model = product.package().load(str(tmp_path / "m.adapt"), threads=2)
    base = reference(mosa.Model().eval(), X)
    y = [reference(mosa.adapted(style, mosa.modules_of(style, i + 1)), X) for i in range(2)]
    if time == "row":
        logits = model(x=X.numpy(), adapters=["x", None, "y"])["logits"]
        assert_rows_agree(logits, [y[0][0], base[1], y[1][2]], [base[0], None, base[2]])
        return
    for i, name in enumerate("xy"):
        if time == "switch":
            model.switch(name)
        assert_agrees(model(x=X.numpy(), adapters=name if time == "call" else None)["logits"], y[i], base)


def test_epsilon_of_no_norm(exports, tmp_path):
    """Houlsby's modules have no norm, so that what a folder says of its epsilon does not tell them apart."""
    blocks = [mosa.modules_of("Houlsby", i + 1) for i in range(2)]
    given = zip(blocks, (1e-6, 1e-5), strict=True)
    folders = [mosa.write(tmp_path / f"mosa{e}", "Houlsby", each, norm_epsilon=e) for each, e in given]
    product.opt(exports["dynamo"], f"--adapter=x={folders[0]}@row", "-o", tmp_path / "m.adapt")
    model = product.package().load(str(tmp_path / "m.adapt"))
    model.load_adapter("y", str(folders[1]))
    y = reference(mosa.adapted("Houlsby", blocks[1]), X)
    logits = model(x=X.numpy(), adapters=["y", "y", "y"])["logits"]
    assert_agrees(logits, y, reference(mosa.Model().eval(), X))


@pytest.mark.parametrize("merge", ["add", "sum", "select"])
def test_into_a_slot(exports, tmp_path, merge):
    folder = mosa.write(tmp_path / "mosa", "LoRA", mosa.modules_of("LoRA"), merge=merge)
    product.opt(exports["dynamo"], "--adapter-slot=s:lora@row", "-o", tmp_path / "m.adapt")
    model = product.package().load(str(tmp_path / "m.adapt"))
    model.load_adapter("x", folder)
    y = reference(mosa.adapted("LoRA", mosa.modules_of("LoRA"), merge), X)
    assert_agrees(model(x=X.numpy(), adapters="x")["logits"], y, reference(mosa.Model().eval(), X))


@pytest.mark.parametrize("merge", ["add", "joint", "sum", "select"])
@pytest.mark.parametrize("style", ["AdaptFormer", "Houlsby"])
def test_before_is_after(exports, tmp_path, style, merge):
    """The graph with all modules and masks in it, and the one with a plain adapter."""
    blocks = mosa.modules_of(style)
    folder = mosa.write(tmp_path / "mosa", style, blocks, merge=merge)
    given = f"--adapter=x={folder}"
    product.opt(exports["dynamo"], given, "-o", tmp_path / "after.onnx")
    product.opt(exports["dynamo"], given, "--adapter-expand-modules", "-o", tmp_path / "before.onnx")
    before, after = (onnx.load(tmp_path / f"{name}.onnx").graph for name in ("before", "after"))
    assert any(".mask" in each.name for each in before.initializer)
    assert not any(".mask" in each.name or ".up.1" in each.name for each in after.initializer)
    assert len(after.node) < len(before.node)
    y = reference(mosa.adapted(style, blocks, merge), X)
    base = reference(mosa.Model().eval(), X)
    for name in ("before", "after"):
        assert_agrees(answers(tmp_path / f"{name}.onnx", X), y, base)


def test_lora_goes_into_the_weights(exports, tmp_path):
    """Its merged modules are a low-rank update, and that is merged on: the graph has the base's nodes."""
    blocks = mosa.modules_of("LoRA")
    folder = mosa.write(tmp_path / "mosa", "LoRA", blocks)
    product.opt(exports["dynamo"], f"--adapter=x={folder}", "-o", tmp_path / "merged.onnx")
    merged, base = (onnx.load(path).graph for path in (tmp_path / "merged.onnx", exports["dynamo"]))
    assert [node.op_type for node in merged.node] == [node.op_type for node in base.node]
    assert len(merged.initializer) == len(base.initializer)


def _overlap(tensors):
    key = "encoder.layer.1.adapter_up.%d.weight.mask"
    tensors[key % 2] = tensors[key % 2] | tensors[key % 0]


def _outside(tensors):
    tensors["encoder.layer.0.adapter_up.3.weight"] += 1


def _shape(tensors):
    tensors["encoder.layer.0.adapter_down.weight"] = torch.ones(mosa.NARROW + 1, mosa.WIDTH)


def _mask_shape(tensors):
    key = "encoder.layer.0.adapter_up.0.weight.mask"
    tensors[key] = tensors[key][:1]


def _two(tensors):
    key = "encoder.layer.0.adapter_up.0.weight.mask"
    tensors[key] = tensors[key] * 2


def _missing(tensors):
    del tensors["encoder.layer.0.adapter_up.3.weight"]


def _foreign(tensors):
    tensors["encoder.layer.0.adapter_down_ffn.weight"] = torch.ones(mosa.NARROW, mosa.WIDTH)


CHANGES = {
    _overlap: ["layer.1.adapter_up.2.weight.mask", "overlaps", "adapter_up.0.weight.mask", "disjoint"],
    _outside: ["adapter_up.3.weight", "outside of its mask"],
    _shape: ["expected"],
    _mask_shape: ["uint8 [1, 4]", "uint8 [16, 4]"],
    _two: ["another number than 0 and 1"],
    _missing: ["adapter_up.3.weight"],
    _foreign: ["adapter_down_ffn.weight", "no place"],
}


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_bad_tensor(exports, tmp_path, change):
    folder = mosa.write(tmp_path / "mosa", "AdaptFormer", mosa.modules_of("AdaptFormer"), change)
    given = [exports["dynamo"], f"--adapter=x={folder}", "--check"]
    product.refused("adapter-opt", *given, mentions=CHANGES[change])


@pytest.mark.parametrize(
    "fields, mentions",
    [
        (dict(style="Prefix"), ["'style'", "AdaptFormer"]),
        (dict(merge="vote"), ["'merge'"]),
        (dict(expert_num=0), ["'expert_num'"]),
        (dict(expert_num=3), ["adapter_up.3.", "no place"]),
        (dict(expert_num=5), ["adapter_up.4.weight"]),
        (dict(norm_epsilon=0.1), ["'norm_epsilon'"]),
        (dict(shared="down"), ["'shared'", "unknown"]),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_bad_field(exports, tmp_path, fields, mentions):
    fields = dict({"style": "AdaptFormer"}, **fields)
    style = fields.pop("style")
    folder = mosa.write(tmp_path / "mosa", style, mosa.modules_of("AdaptFormer"), **fields)
    product.refused("adapter-opt", exports["dynamo"], f"--adapter=x={folder}", "--check", mentions=mentions)


def mixture(folder, mode, parts, masks, flags=""):
    """adapter-merge-modules on a mixture in IR of its own; the finished process."""
    tensors = {f"w{i}": part for i, part in enumerate(parts)} | {
        f"m{i}": mask for i, mask in enumerate(masks)
    }
    safetensors.torch.save_file(tensors, folder / "x.safetensors")
    types = {name: f"tensor<6x5x{'ui8' if name[0] == 'm' else 'f32'}>" for name in tensors}
    lines = [f'%{name} = adapter.parameter "x"::"{name}" : {each}' for name, each in types.items()]
    names = [[name for name in tensors if name[0] == kind] for kind in "wm"]
    operands = [", ".join(f"%{name}" for name in each) for each in names]
    given = [", ".join(types[name] for name in each) for each in names]
    mix = f"adapter.mask_mix {mode} {operands[0]} masks {operands[1]} {flags}"
    text = f"""module attributes {{adapter.archives = {{x = {{file = "x.safetensors"}}}}}} {{
      func.func @f() -> tensor<6x5xf32> {{
        {chr(10).join(lines)}
        %y = {mix} : {given[0]} masks {given[1]} -> tensor<6x5xf32>
        return %y : tensor<6x5xf32>
      }}
    }}"""
    (folder / "in.mlir").write_text(text)
    return product.call(
        "adapter-opt", folder / "in.mlir", "--adapter-merge-modules", "-o", folder / "out.mlir"
    )


@pytest.mark.parametrize("mode", ["sum", "mean", "select"])
def test_mixture_by_the_formula(tmp_path, mode):
    generator = torch.Generator().manual_seed(2)
    masks = mosa.masks((6, 5), generator)[:3]  # no mask has the last quarter
    parts = [torch.randn((6, 5), generator=generator) for _ in masks]
    done = mixture(tmp_path, mode, parts, masks, "{disjoint}")
    assert done.returncode == 0, done.stderr
    y = safetensors.torch.load_file(tmp_path / "out.merged.safetensors")["w0"]
    wanted = sum(part.double() * mask for part, mask in zip(parts, masks, strict=True))
    assert torch.equal(y, (wanted / (3 if mode == "mean" else 1)).float())


@pytest.mark.parametrize("mode, flags, fails", [("sum", "", 0), ("sum", "{disjoint}", 1), ("select", "", 1)])
def test_overlapping_masks(tmp_path, mode, flags, fails):
    masks = [torch.ones((6, 5), dtype=torch.uint8), torch.eye(6, 5, dtype=torch.uint8)]
    done = mixture(tmp_path, mode, [torch.ones(6, 5), torch.ones(6, 5)], masks, flags)
    assert done.returncode == fails
    if fails:
        assert "'m0' and 'm1' overlap in element 0" in done.stderr
