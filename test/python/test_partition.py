# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Experts that several processes share: the same results as one process, profiles, placements, failures."""

import collections
import itertools
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import time

import numpy as np
import peft
import processes
import product
import pytest
import test_experts as experts
import torch
import zoo
from processes import needs_mpirun
from test_experts import exported  # noqa: F401 (a fixture)
from tolerance import assert_agrees

RANKS = [2, 4]


def plan_of(text):
    """[(layer, placement, balance, bytes)] of --plan."""
    rows, layer = [], ""
    for line in text.splitlines()[2:]:
        words = line.split()
        layer = words.pop(0) if not line.startswith(" ") else layer
        rows.append((layer, words[2], float(words[3]), float(words[4])))
    return rows


def placements_of(text):
    return [json.loads(found) for found in re.findall(r"placement (\[[^]]*\])", text)]


#
# Models
#


@needs_mpirun
@pytest.mark.parametrize("exporter", zoo.EXPORTERS)
@pytest.mark.parametrize("name", ["mixtral", "qwen3"])
def test_models(exported, tmp_path, name, exporter):  # noqa: F811
    """Bit for bit what one process gives, with experts in order and as a profile places them."""
    path = exported(name, exporter)
    product.opt(path, "-o", tmp_path / "one.adapt")
    feeds = {shape: experts.numpy_feed(experts.feed(zoo.FEEDS[shape])) for shape in zoo.FEEDS}
    batches = [word for key, feed in feeds.items() for word in processes.inputs_of(feed, tmp_path, key)]
    done = product.call("adapter-run", "profile", tmp_path / "one.adapt", *batches, "-o", tmp_path / "p.json")
    assert done.returncode == 0, done.stderr
    ones = {key: product.run(tmp_path / "one.adapt", feed, tmp_path)["logits"] for key, feed in feeds.items()}
    model = experts.make(name)
    for ranks, profile in itertools.product(RANKS, ["", f",profile={tmp_path / 'p.json'}"]):
        artifact = tmp_path / f"{ranks}{'p' if profile else ''}.adapt"
        product.opt(path, f"--partition-experts=ranks={ranks}{profile}", "-o", artifact)
        for key, feed in list(feeds.items())[:: 3 if profile else 1]:
            y = processes.run(ranks, artifact, feed, tmp_path, "--threads", 1)["logits"]
            assert np.array_equal(y, ones[key]), (ranks, profile, key)
        logits, margins = experts.reference(model, experts.feed(zoo.FEEDS[key]))
        assert_agrees(y[margins > experts.MARGIN], logits[margins > experts.MARGIN])


@needs_mpirun
def test_rows(exported, tmp_path):  # noqa: F811
    """LoRA on the attention, row by row, in two processes."""
    path = exported("mixtral", "dynamo")
    config = peft.LoraConfig(r=4, target_modules=["q_proj"], init_lora_weights=False)
    torch.manual_seed(1)
    peft.get_peft_model(experts.make("mixtral"), config).save_pretrained(tmp_path / "a")
    adapter = f"--adapter=a={tmp_path / 'a'}@row"
    product.opt(path, adapter, "-o", tmp_path / "one.adapt")
    product.opt(path, adapter, "--partition-experts=ranks=2", "-o", tmp_path / "two.adapt")
    feed = experts.numpy_feed(experts.feed(zoo.FEEDS["wide"]))
    arguments = ["--row-adapters", "a,-,a"]
    y = processes.run(2, tmp_path / "two.adapt", feed, tmp_path, *arguments)["logits"]
    one = product.run(tmp_path / "one.adapt", feed, tmp_path, *arguments, "--threads", 1)["logits"]
    base = product.run(tmp_path / "one.adapt", feed, tmp_path)["logits"]
    assert np.array_equal(y, one) and abs(y - base).max() > 1e-2


@needs_mpirun
def test_mixture(tmp_path):
    """LoRA experts of a mixture are experts like any other."""
    from test_routers import settled

    zoo.export(zoo.make("llama"), "llama", "dynamo", tmp_path / "x.onnx")
    mixture, _ = settled("llama", ["q_proj"], [8] * 24, top=2, normalise="after")
    adapter = f"--adapter=x={mixture.write(tmp_path / 'mixture')}"
    options = ["--partition-experts=ranks=2"]
    product.opt(tmp_path / "x.onnx", adapter, "-o", tmp_path / "one.adapt")
    text = product.opt(tmp_path / "x.onnx", adapter, *options, "--compile-to=optimise", "-o", "-")
    assert len(placements_of(text)) == 2
    product.opt(tmp_path / "x.onnx", adapter, *options, "-o", tmp_path / "two.adapt")
    feed = experts.numpy_feed(zoo.inputs("llama", zoo.FEEDS["wide"]))
    y = processes.run(2, tmp_path / "two.adapt", feed, tmp_path, "--threads", 1)["logits"]
    assert np.array_equal(y, product.run(tmp_path / "one.adapt", feed, tmp_path, "--threads", 1)["logits"])


#
# Networks without experts
#


@needs_mpirun
@pytest.mark.parametrize("exporter", zoo.EXPORTERS)
@pytest.mark.parametrize("name", ["llama", "bert"])
def test_networks(tmp_path, name, exporter):
    """Feed-forward networks in slices, which sum to the whole but for rounding."""
    model, path = zoo.make(name), tmp_path / "x.onnx"
    zoo.export(model, name, exporter, path)
    product.opt(path, "-o", tmp_path / "one.adapt")
    for ranks in RANKS:
        artifact = tmp_path / f"{ranks}.adapt"
        product.opt(path, f"--partition-experts=ranks={ranks}", "-o", artifact)
        for shape in ("wide", "one"):
            inputs = zoo.inputs(name, zoo.FEEDS[shape])
            feed = experts.numpy_feed(inputs)
            y = processes.run(ranks, artifact, feed, tmp_path)["logits"]
            one = product.run(tmp_path / "one.adapt", feed, tmp_path)["logits"]
            assert abs(y - one).max() <= 1e-6 * abs(one).max()
            with torch.no_grad():
                assert_agrees(y, zoo.forward(model, inputs).numpy())


def test_network_of_odd_size(tmp_path):
    zoo.export(zoo.make("llama"), "llama", "dynamo", tmp_path / "x.onnx")
    option = "--partition-experts=ranks=3"
    mentions = ["3 ranks do not divide the 80 neurons", "MatMul"]
    product.refused("adapter-opt", tmp_path / "x.onnx", option, "-o", tmp_path / "x.adapt", mentions=mentions)


#
# Experts whose routes are inputs
#


@pytest.fixture(scope="module")
def block(tmp_path_factory):
    folder = tmp_path_factory.mktemp("partition")
    experts.export_block(folder / "block.onnx")
    product.opt(folder / "block.onnx", "-o", folder / "one.adapt")
    return folder


def feed_of(ids, seed=1):
    generator = np.random.default_rng(seed)
    x = generator.standard_normal((len(ids), experts.HIDDEN), np.float32)
    return dict(x=x, ids=ids, weights=generator.standard_normal(ids.shape, np.float32))


def skewed(tokens, seed=0):
    """Three experts in four of the choices, and 0 with 5, 1 with 6, 2 with 7 more often than not."""
    generator = np.random.default_rng(seed)
    first = generator.choice(8, tokens, p=[0.3, 0.25, 0.2, 0.05, 0.05, 0.05, 0.05, 0.05])
    other = generator.integers(0, 8, tokens)
    together = np.where((first < 3) & (generator.random(tokens) < 0.7), first + 5, other)
    return np.stack([first, np.where(together == first, (first + 1) % 8, together)], 1)


def profile_of(block, tmp_path, *batches):
    arguments = []
    for i, ids in enumerate(batches):
        arguments += processes.inputs_of(feed_of(ids), tmp_path, f"batch{i}")
    path = tmp_path / "profile.json"
    done = product.call("adapter-run", "profile", block / "one.adapt", *arguments, "-o", path)
    assert done.returncode == 0, done.stderr
    return path


@needs_mpirun
@pytest.mark.parametrize("ranks", RANKS)
def test_forced_routes(block, tmp_path, ranks):
    """Nothing for some processes, everything for one, an expert twice, fewer tokens than processes, none."""
    profile = profile_of(block, tmp_path, skewed(200))
    artifact = tmp_path / "n.adapt"
    product.opt(block / "block.onnx", f"--partition-experts=ranks={ranks},profile={profile}", "-o", artifact)
    routes = [ids for _, ids in experts.routes()] + [
        np.zeros((0, 2), np.int64),
        skewed(100) - experts.EXPERTS,
    ]
    for ids in routes:
        feed = feed_of(ids)
        y = processes.run(ranks, artifact, feed, tmp_path)["y"]
        assert np.array_equal(y, product.run(block / "one.adapt", feed, tmp_path)["y"])


@needs_mpirun
@pytest.mark.parametrize("wrong", [experts.EXPERTS, -experts.EXPERTS - 1, 2**40])
def test_no_such_expert(block, tmp_path, wrong):
    profile = profile_of(block, tmp_path, skewed(200))
    artifact = tmp_path / "n.adapt"
    product.opt(block / "block.onnx", f"--partition-experts=ranks=2,profile={profile}", "-o", artifact)
    feed = feed_of(np.array([[0, 1], [2, wrong]]))
    done = processes.call(2, artifact, *processes.inputs_of(feed, tmp_path))
    assert done.returncode == 1
    assert re.search(r"adapter-run: error: experts: expert -?\d+ is outside \d+ experts", done.stderr)


def test_profile(block, tmp_path):
    """Counts, pairs and sample as NumPy has them, over two batches."""
    batches = [skewed(150), np.array([[4, 4], [7, 2]]) - experts.EXPERTS]
    [layer] = json.loads(profile_of(block, tmp_path, *batches).read_text())["layers"]
    ids = np.concatenate(batches) % experts.EXPERTS
    assert layer["tokens"] == len(ids) and layer["top"] == 2 and layer["experts"] == experts.EXPERTS
    assert layer["counts"] == np.bincount(ids.ravel(), minlength=experts.EXPERTS).tolist()
    pairs = collections.Counter(tuple(sorted(row)) for row in ids.tolist())
    assert {(a, b): count for a, b, count in layer["pairs"]} == pairs
    assert layer["sample"] == ids.tolist()
    assert layer["name"] and len(layer["identity"]) == 32


def test_batches_at_fault(block, tmp_path):
    """Every batch has every input; only profile takes several."""
    ids = tmp_path / "ids.npy"
    np.save(ids, skewed(3))
    twice = ["--input", f"ids={ids}", "--input", f"ids={ids}"]
    once = ["--input", f"x={ids}"]
    product.refused("adapter-run", block / "one.adapt", *twice, code=2, mentions=["ids is given twice"])
    profile = ["profile", block / "one.adapt", "-o", tmp_path / "p.json"]
    product.refused("adapter-run", *profile, *twice, *once, code=2, mentions=["each batch needs both"])
    product.refused("adapter-run", *profile, *twice, mentions=["is missing"])
    product.refused("adapter-run", *profile[:2], code=2, mentions=["-o"])
    product.refused(
        "adapter-run", block / "one.adapt", "--collectives", "x", code=2, mentions=["collectives"]
    )
    assert not (tmp_path / "p.json").exists()


def test_plan(block, tmp_path):
    """Balance and traffic as NumPy has them; what is chosen costs no more than what others choose."""
    ids = skewed(4000)
    profile = profile_of(block, tmp_path, ids)
    for ranks in RANKS:
        options = [f"--partition-experts=ranks={ranks},profile={profile}"]
        rows = plan_of(product.opt(block / "block.onnx", *options, "--plan"))
        text = product.opt(block / "block.onnx", *options, "--compile-to=optimise", "-o", "-")
        [chosen] = placements_of(text)
        assert [row[1] for row in rows] == ["chosen", "round-robin", "EPLB"]
        counts = np.bincount(ids.ravel(), minlength=8)
        greedy, loads, room = [0] * 8, [0] * ranks, [8 // ranks] * ranks
        for expert in np.argsort(-counts, kind="stable"):
            rank = min((r for r in range(ranks) if room[r]), key=lambda r: loads[r])
            greedy[expert], loads[rank], room[rank] = rank, loads[rank] + counts[expert], room[rank] - 1
        costs = []
        for (_, _, balance, traffic), placement in zip(
            rows, [chosen, [e % ranks for e in range(8)], greedy], strict=True
        ):
            assert sorted(placement) == [r for r in range(ranks) for _ in range(8 // ranks)]
            loads = np.bincount(placement, weights=counts, minlength=ranks)
            assert abs(balance - loads.max() / loads.mean()) < 1e-3
            copies = np.mean([len(set(row)) for row in np.array(placement)[ids]])
            width = 4 * experts.HIDDEN
            wanted = (ranks - 1) / ranks * (copies * width + 2 * (width + 8))
            assert abs(traffic - wanted) < 0.1
            costs.append(balance + copies / 2)
        assert costs[0] <= min(costs[1:]) + 1e-6


#
# What is refused
#


def test_wrong_profiles(block, exported, tmp_path):  # noqa: F811
    profile = profile_of(block, tmp_path, skewed(20))
    arguments = [block / "block.onnx", "-o", tmp_path / "x.adapt"]

    def refused(path, *mentions, of=arguments):
        option = f"--partition-experts=ranks=2,profile={path}"
        product.refused("adapter-opt", *of, option, mentions=[path, *mentions])
        assert not (tmp_path / "x.adapt").exists()

    text, changed = profile.read_text(), tmp_path / "changed.json"
    refused(tmp_path / "none.json")
    for end in (0, 1, 40, len(text) // 2, len(text) - 4):
        changed.write_text(text[:end])
        refused(changed)
    for wrong in ("[]", "{}", '{"format": "adapter-profile 2", "layers": []}', "\0\xff"):
        changed.write_text(wrong)
        refused(changed)
    layer = json.loads(text)["layers"][0]

    def with_changes(**changes):
        changed.write_text(json.dumps({"format": "adapter-profile 1", "layers": [{**layer, **changes}]}))
        return changed

    refused(with_changes(name="other"), "another model", "lacks the layer")
    refused(with_changes(identity="0" * 32), "another model", "other weights")
    for name, value in [
        ("experts", 4),
        ("experts", 2**40),
        ("tokens", 21),
        ("tokens", -1),
        ("top", 3),
        ("top", 0),
        ("counts", [40]),
        ("counts", [-1] * 8),
        ("counts", ["a"] * 8),
        ("counts", [2**62] * 8),
        ("pairs", [[0, 8, 1]]),
        ("pairs", [[1, 0, 1]]),
        ("pairs", [[0, 1, 1], [0, 1, 1]]),
        ("pairs", 7),
        ("sample", []),
        ("sample", [[0, 1, 2]]),
        ("sample", [[0, 1e9]]),
        ("name", 7),
    ]:
        refused(with_changes(**{name: value}))
    model = [exported("mixtral", "dynamo"), "-o", tmp_path / "x.adapt"]
    refused(profile, "another model", of=model)


@pytest.mark.parametrize("ranks, mention", [(3, "3 ranks do not divide 8 experts"), (16, "16 ranks for 8")])
def test_wrong_ranks(block, tmp_path, ranks, mention):
    option = f"--partition-experts=ranks={ranks}"
    product.refused(
        "adapter-opt", block / "block.onnx", option, "-o", tmp_path / "x.adapt", mentions=[mention]
    )


def test_one_process(block, tmp_path):
    """Where no mpirun started it; the Python package has no processes either."""
    artifact, feed = tmp_path / "two.adapt", feed_of(skewed(5))
    product.opt(block / "block.onnx", "--partition-experts=ranks=2", "-o", artifact)
    arguments = processes.inputs_of(feed, tmp_path)
    said = product.refused("adapter-run", artifact, *arguments, mentions=["2 processes", "mpirun -n 2"])
    with pytest.raises(Exception, match="2 processes"):
        product.package().load(str(artifact))(**feed)
    product.refused(
        "adapter-run", "profile", artifact, *arguments, "-o", tmp_path / "p", mentions=["partitioned"]
    )
    assert json.loads(product.call("adapter-run", "info", artifact).stdout)["ranks"] == 2
    assert "--partition" not in said


def test_no_library(block, tmp_path):
    """A program without its library under some launcher."""
    alone = tmp_path / "adapter-run"
    shutil.copy(product.BIN / "adapter-run", alone)
    arguments = [block / "one.adapt", *processes.inputs_of(feed_of(skewed(5)), tmp_path)]
    environment = {**os.environ, "PMIX_RANK": "0"}
    done = subprocess.run([alone, *arguments], capture_output=True, text=True, env=environment)
    assert done.returncode == 1 and "libadapter_mpi.so cannot be loaded" in done.stderr
    done = subprocess.run([alone, *arguments, "--collectives", "none"], text=True, env=environment)
    assert done.returncode == 0


@needs_mpirun
def test_wrong_number_of_processes(block, tmp_path):
    product.opt(block / "block.onnx", "--partition-experts=ranks=2", "-o", tmp_path / "two.adapt")
    arguments = processes.inputs_of(feed_of(skewed(5)), tmp_path)
    for artifact, ranks, mention in [
        (tmp_path / "two.adapt", 3, "over 2 processes, and there are 3"),
        (block / "one.adapt", 2, "compiled for one process, and there are 2"),
    ]:
        done = processes.call(ranks, artifact, *arguments)
        assert done.returncode == 1 and mention in done.stderr


def test_no_mpi_in_code(block, tmp_path):
    """MPI is in its own library alone."""
    product.opt(block / "block.onnx", "--partition-experts=ranks=2", "-o", tmp_path / "two.adapt")
    files = [tmp_path / "two.adapt" / "code.so", product.BIN.parent / "lib" / "libadapter_rt.so"]
    for path in [*files, product.BIN / "adapter-run"]:
        dynamic = subprocess.run(["readelf", "-d", path], capture_output=True, text=True, check=True).stdout
        symbols = subprocess.run(["nm", "-D", "-u", path], capture_output=True, text=True, check=True).stdout
        assert "mpi" not in dynamic.lower() and "MPI_" not in symbols


#
# Processes that fail
#


@needs_mpirun
def test_one_process_fails(block, tmp_path):
    """One that cannot read its input ends all of them, with its message."""
    product.opt(block / "block.onnx", "--partition-experts=ranks=2", "-o", tmp_path / "two.adapt")
    arguments = processes.inputs_of(feed_of(skewed(5)), tmp_path)
    good = processes.command(1, tmp_path / "two.adapt", *arguments)
    bad = processes.command(1, tmp_path / "two.adapt", *arguments[:-1], f"weights={tmp_path / 'none.npy'}")[
        2:
    ]
    done = subprocess.run(
        [*good, ":", *bad], capture_output=True, text=True, timeout=60, env=processes.ENVIRONMENT
    )
    assert done.returncode == 1 and f"adapter-run: error: {tmp_path / 'none.npy'}" in done.stderr


@needs_mpirun
def test_other_inputs(block, tmp_path):
    """Two processes with inputs of their own say so; nothing hangs."""
    product.opt(block / "block.onnx", "--partition-experts=ranks=2", "-o", tmp_path / "two.adapt")
    first = processes.inputs_of(feed_of(skewed(5)), tmp_path)
    good = processes.command(1, tmp_path / "two.adapt", *first)
    for other in (feed_of(skewed(6)), feed_of(skewed(5), seed=2)):
        second = processes.inputs_of(other, tmp_path, "other")
        command = [*good, ":", *processes.command(1, tmp_path / "two.adapt", *second)[2:]]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=processes.ENVIRONMENT)
        assert done.returncode == 1 and "process 1 has another model, other inputs" in done.stderr


@needs_mpirun
def test_one_process_has_a_damaged_model(block, tmp_path):
    """None answers, also where the others' copies are whole."""
    product.opt(block / "block.onnx", "--partition-experts=ranks=2", "-o", tmp_path / "two.adapt")
    shutil.copytree(tmp_path / "two.adapt", tmp_path / "bad.adapt")
    weights = tmp_path / "bad.adapt" / "parameters.safetensors"
    content = bytearray(weights.read_bytes())
    content[-200] ^= 1
    weights.write_bytes(content)
    arguments = [*processes.inputs_of(feed_of(skewed(5)), tmp_path), "--output", tmp_path / "out.npz"]
    good = processes.command(1, tmp_path / "two.adapt", *arguments)
    bad = processes.command(1, tmp_path / "bad.adapt", *arguments)[2:]
    done = subprocess.run(
        [*good, ":", *bad], capture_output=True, text=True, timeout=60, env=processes.ENVIRONMENT
    )
    assert done.returncode == 1 and f"adapter-run: error: {weights}: tensor '" in done.stderr
    assert not (tmp_path / "out.npz").exists()


def is_running(pid):
    """Not so if all that is left is an exit code that nobody has fetched."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@needs_mpirun
def test_one_process_dies(block, tmp_path):
    """Killed in the middle of calls: mpirun says so and ends the others."""
    product.opt(block / "block.onnx", "--partition-experts=ranks=2", "-o", tmp_path / "two.adapt")
    arguments = processes.inputs_of(feed_of(skewed(200)), tmp_path)
    command = processes.command(2, "bench", tmp_path / "two.adapt", *arguments, "--runs", 1000000)
    started = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=processes.ENVIRONMENT
    )

    def children():
        text = subprocess.run(["pgrep", "-P", str(started.pid)], capture_output=True, text=True).stdout
        return [int(word) for word in text.split()]

    try:
        deadline = time.monotonic() + 30
        while len(children()) < 2 and time.monotonic() < deadline:
            time.sleep(0.1)
        time.sleep(1)  # until they talk
        victims = children()
        assert len(victims) == 2, "the processes did not start"
        os.kill(victims[1], signal.SIGKILL)
        _, said = started.communicate(timeout=60)
    finally:
        started.kill()
    assert started.returncode != 0 and "signal 9" in said
    deadline = time.monotonic() + 20
    while any(is_running(pid) for pid in victims):
        assert time.monotonic() < deadline, "a process goes on"
        time.sleep(0.1)
