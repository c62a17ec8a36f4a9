# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Published methods that are modules beside weights, and adapters of codes of few bits: converted and run in
each mode that they have, against NumPy from their formulas."""

import json
import math
import os
import struct
import subprocess

import numpy as np
import product
import pytest
import scipy.stats
from modules import PYTHON
from own_forms import real
from published import ao, check, check_all, run, save
from published_blocks import BLOCKS, CLASSES, ROWS, WIDTH, Blocks
from tolerance import assert_agrees

MODES = ("onnx", "call", "row")  # a module has no weight to switch


@pytest.fixture(scope="module")
def blocks(tmp_path_factory):
    return Blocks(tmp_path_factory.mktemp("blocks"))


def hub(folder, name, tensors, **fields):
    """A folder of AdapterHub; tensors by the part of their names behind the adapter's, or whole names."""
    folder.mkdir()
    save(folder / "adapter.safetensors", tensors)
    config = dict(mh_adapter=False, output_adapter=True, non_linearity="relu", scaling=1.0) | fields
    text = json.dumps({"name": name, "version": "adapters.1.3.0", "config": config})
    (folder / "adapter_config.json").write_text(text)
    return folder


def bottleneck(rng, name, size):
    """Tensors of a plain one in each block, by their keys, and by block."""
    keys, parts = {}, []
    for i in range(BLOCKS):
        part = {
            "adapter_down.0.weight": real(rng, size, WIDTH),
            "adapter_down.0.bias": real(rng, size),
            "adapter_up.weight": real(rng, WIDTH, size),
            "adapter_up.bias": real(rng, WIDTH),
        }
        parts.append(tuple(each.astype(np.float64) for each in part.values()))
        keys |= {f"blocks.{i}.output_adapters.adapters.{name}.{key}": each for key, each in part.items()}
    return keys, parts


def applied(part, x):
    down, bias, up, shift = part
    return np.maximum(x @ down.T + bias, 0) @ up.T + shift


@pytest.mark.parametrize("rule", ["shared", "of each", "factors"])
def test_compacter(blocks, tmp_path, rule):
    """U15: projections sum kron(S_k, s_k t_k) over k, S shared by all modules, or not, or of rank one."""
    rng, n, size = blocks.rng, 2, 4
    shared, keys, parts = real(rng, n, n, n), {}, []
    if rule == "shared":
        keys["blocks.shared_parameters.c.phm_rule"] = shared
    for i in range(BLOCKS):
        part = []
        for layer, read, made in (("adapter_down.0", WIDTH, size), ("adapter_up", size, WIDTH)):
            stem = f"blocks.{i}.output_adapters.adapters.c.{layer}."
            left, right = real(rng, n, read // n, 1), real(rng, n, 1, made // n)
            bias, S = real(rng, made), shared
            if rule == "of each":
                S = keys[f"{stem}phm_rule"] = real(rng, n, n, n)
            elif rule == "factors":
                s, t = real(rng, n, n, 1), real(rng, n, 1, n)
                keys |= {f"{stem}phm_rule_left": s, f"{stem}phm_rule_right": t}
                S = s.astype(np.float64) @ t
            keys |= {f"{stem}W_left": left, f"{stem}W_right": right, f"{stem}b": bias}
            dense = sum(
                np.kron(S[k].astype(np.float64), left[k].astype(np.float64) @ right[k]) for k in range(n)
            )
            part += [dense.T, bias]
        parts.append(part)
    fields = {"phm_layer": True, "phm_dim": n, "reduction_factor": WIDTH / size}
    ao.convert("compacter", hub(tmp_path / "f", "c", keys, **fields), tmp_path / "x")
    want = blocks.forward(module=lambda i, t, h: h + applied(parts[i], h))
    modes = MODES if rule == "shared" else ("onnx",)
    check_all("U15", "`convert compacter`", blocks, tmp_path, want, modes)


def test_compacter_of_adapterhub(tmp_path):
    """U15: against AdapterHub's own answers."""
    if not PYTHON.exists():
        pytest.skip(f"{PYTHON} is not there; scripts/setup.sh makes it")
    fields = dict(
        mh_adapter=True, output_adapter=True, reduction_factor=4, non_linearity="gelu", phm_layer=True
    )
    order = dict(architecture="bert", folder=str(tmp_path), adapters={"c": fields}, exporters=["torchscript"])
    (tmp_path / "order.json").write_text(json.dumps(order))
    script = product.ROOT / "test" / "python" / "adapterhub.py"
    command = [str(PYTHON), str(script), str(tmp_path / "order.json")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    ao.convert("compacter", tmp_path / "c", tmp_path / "x")
    merged = tmp_path / "merged.onnx"
    product.opt(tmp_path / "torchscript.onnx", "--adapter", f"x={tmp_path / 'x'}", "-o", merged)
    import onnxruntime
    import zoo

    session = onnxruntime.InferenceSession(merged)
    answers, plain = (dict(np.load(tmp_path / f"{name}.npz")) for name in ("c", "base"))
    for name, shape in zoo.FEEDS.items():
        feed = {key: np.asarray(each) for key, each in zoo.inputs("bert", shape).items()}
        (got,) = session.run(None, feed)
        check("U15", "`convert compacter`", "onnx", {"y": got}, {"y": answers[name]}, {"y": plain[name]})


@pytest.mark.parametrize("shape", ["vector", "scalar", "shared"])
def test_scalearn(blocks, tmp_path, shape):
    """U34: frozen adapters' outputs, summed by omega; residual once."""
    rng, sizes, scales = blocks.rng, {"rte": 3, "mnli": 5}, {"rte": 1.0, "mnli": 2.0}
    folders, parts = [], {}
    for name, size in sizes.items():
        keys, parts[name] = bottleneck(rng, name, size)
        fields = {"reduction_factor": WIDTH / size, "scaling": scales[name]}
        folders.append(hub(tmp_path / name, name, keys, **fields))
    columns = WIDTH if shape == "vector" else 1
    omegas = [real(rng, 2, columns) for _ in range(BLOCKS)]
    if shape == "shared":
        omegas = omegas[:1] * BLOCKS
        keys = {"shared_parameters.mnli,rte.omega": omegas[0]}
    else:
        keys = {f"blocks.{i}.output_adapters.scalearn_layer.mnli,rte.omega": omegas[i] for i in range(BLOCKS)}
    ao.convert("scalearn", [*folders, save(tmp_path / "omega.safetensors", keys)], tmp_path / "x")

    def module(i, t, h):
        each = zip(("mnli", "rte"), omegas[i].astype(np.float64), strict=True)
        return h + sum(omega * scales[name] * applied(parts[name][i], h) for name, omega in each)

    modes = MODES if shape == "vector" else ("onnx",)
    check_all("U34", "`convert scalearn`", blocks, tmp_path, blocks.forward(module=module), modes)


def test_adapters_one_behind_the_other(blocks, tmp_path):
    """U29: a ranking adapter reads what a language adapter makes."""
    folders, parts = {}, []
    for name in ("language", "ranking"):
        keys, part = bottleneck(blocks.rng, name, 4)
        folders[name] = hub(tmp_path / name, name, keys, reduction_factor=2)
        parts.append(part)

    def module(i, t, h):
        for part in parts:
            h = h + applied(part[i], h)
        return h

    got, _ = run(blocks.path, folders, blocks.feed, "onnx", tmp_path)
    check("U29", "AdapterHub's, two in a row", "onnx", got, blocks.forward(module=module), blocks.plain)


def codes(bits):
    """The authors' iteration, by SciPy's functions."""
    values = np.zeros(2**bits)
    for _ in range(500):
        edges = scipy.stats.norm.cdf((values[1:] + values[:-1]) / 2)
        edges = np.concatenate([[0], edges, [1]])
        values = scipy.stats.norm.ppf((edges[1:] + edges[:-1]) / 2)
    return values.astype(np.float32)


def packed(rng, shape, bits):
    """Bytes of one layer of the authors' file, and the weight."""
    digits, per_byte = rng.integers(0, 2**bits, math.prod(shape)), 8 // bits
    data = bytearray()
    for i in range(0, len(digits), per_byte):
        data.append(sum(int(digit) << (bits * j) for j, digit in enumerate(digits[i : i + per_byte])))
    mean, deviation = np.float32(0.05), np.float32(0.4)
    weight = codes(bits)[digits].astype(np.float64) * deviation + mean
    return bytes(data) + struct.pack("ff", mean, deviation), weight.reshape(shape)


def bi_file(blocks, path, names, bits, dim, bihead=False):
    """The file, factors (down, up) by block and name, and the head."""
    data, factors = b"", []
    for _ in range(BLOCKS):
        factors.append({})
        for name in names:
            pair = [packed(blocks.rng, shape, bits) for shape in ((dim, WIDTH), (WIDTH, dim))]
            data += pair[0][0] + pair[1][0]
            factors[-1][name] = (pair[0][1], pair[1][1])
    if bihead:
        more, weight = packed(blocks.rng, (CLASSES, WIDTH), 1)
        head = {"head.weight": weight, "head.bias": np.zeros(CLASSES)}
        data += more
    else:
        head = {"head.weight": real(blocks.rng, CLASSES, WIDTH), "head.bias": real(blocks.rng, CLASSES)}
        data += b"".join(each.astype("<f4").tobytes() for each in head.values())
    path.write_bytes(data)
    return factors, head


OPTIONS = {"width": WIDTH, "blocks": BLOCKS, "classes": CLASSES, "scale": 0.5}


@pytest.mark.parametrize("bits, bihead", [(1, False), (2, True), (4, False)])
def test_lora_of_codes(blocks, tmp_path, bits, bihead):
    """U36 (Bi-LoRA): of queries and values, which are rows of one weight, and a head."""
    factors, head = bi_file(blocks, tmp_path / "f.bin", ("q", "v"), bits, 2, bihead)
    options = OPTIONS | {"bits": bits, "dim": 2, "bihead": bihead}
    ao.convert("bi-lora", tmp_path / "f.bin", tmp_path / "x", **options)
    changed = dict(head)
    for i, pairs in enumerate(factors):
        W = blocks.params[f"blocks.{i}.attn.qkv.weight"].astype(np.float64)
        W[:WIDTH] += 0.5 * pairs["q"][1] @ pairs["q"][0]
        W[2 * WIDTH :] += 0.5 * pairs["v"][1] @ pairs["v"][0]
        changed[f"blocks.{i}.attn.qkv.weight"] = W
    modes = ("onnx", "switch", "call", "row") if bits == 1 else ("onnx",)
    check_all("U36", "`convert bi-lora`", blocks, tmp_path, blocks.forward(changed), modes)


def test_adapter_of_codes(blocks, tmp_path):
    """U36 (Bi-Adapter): beside the feed-forward network."""
    factors, head = bi_file(blocks, tmp_path / "f.bin", ("adapter",), 1, 3)
    options = OPTIONS | {"dim": 3, "kind": "adaptformer"}
    ao.convert("bi-lora", tmp_path / "f.bin", tmp_path / "x", **options)

    def module(i, t, h):
        down, up = factors[i]["adapter"]
        return h + 0.5 * np.maximum(t @ down.T, 0) @ up.T

    want = blocks.forward(head, module)
    check_all("U36", "`convert bi-lora`", blocks, tmp_path, want, ("onnx", "call", "row"))


def test_channelwise_convolutions_are_refused(tmp_path):
    """U33 (CLR): a 3 x 3 convolution of each channel behind a convolution is no update of its weight."""
    save(tmp_path / "f.safetensors", {"conv.clr.weight": np.zeros((8, 1, 3, 3), np.float32)})
    words = ["convert", "clr", tmp_path / "f.safetensors", "-o", tmp_path / "x"]
    path = os.pathsep.join([str(product.ROOT / ".venv" / "bin"), os.environ["PATH"]])
    env = os.environ | {"PATH": path}
    product.refused("adapter-opt", *words, mentions=["clr", "at the borders", "graph"], env=env)
    assert not (tmp_path / "x").exists()


def test_rows_of_several_adapters(blocks, tmp_path):
    """U15, U34, U36 in one batch."""
    keys, parts = bottleneck(blocks.rng, "a", 4)
    plain = hub(tmp_path / "a", "a", keys, reduction_factor=2)
    omega = {
        f"blocks.{i}.output_adapters.scalearn_layer.a.omega": real(blocks.rng, 1, 1) for i in range(BLOCKS)
    }
    ao.convert("scalearn", [plain, save(tmp_path / "o.safetensors", omega)], tmp_path / "scaled")
    factors, head = bi_file(blocks, tmp_path / "f.bin", ("q", "v"), 1, 2)
    ao.convert("bi-lora", tmp_path / "f.bin", tmp_path / "codes", **OPTIONS | {"dim": 2})
    words = [f"--adapter={name}={tmp_path / name}@row" for name in ("scaled", "codes")]
    product.opt(blocks.path, *words, "-o", tmp_path / "m.adapt")
    model = ao.Model(tmp_path / "m.adapt")
    alone = {name: model(blocks.feed, adapters=[name] * ROWS)["y"] for name in ("scaled", "codes")}
    alone[None] = model(blocks.feed)["y"]
    rows = ["scaled", None, "codes", "scaled"]
    got = model(blocks.feed, adapters=rows)["y"]
    for row, name in enumerate(rows):
        np.testing.assert_array_equal(got[row], alone[name][row])
    omegas = [float(each.reshape(())) for each in omega.values()]
    want = blocks.forward(module=lambda i, t, h: h + omegas[i] * applied(parts[i], h))
    assert_agrees(alone["scaled"], want["y"], blocks.plain["y"])
