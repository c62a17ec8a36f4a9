# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""One flipped bit anywhere in an artifact: no way of using it gives an answer."""

import os
import shutil

import numpy as np
import product
import pytest

SEED = 20


# Artifacts with adapters of every time, {a} and {b} standing for their folders, and calls of each.
KINDS = [
    ("vit", ["--adapter=a={a}@switch", "--adapter=b={b}@switch"], [[], ["--adapter", "b"]]),
    ("bert", ["--adapter=a={a}@row", "--adapter=b={b}@row"], [[], ["--row-adapters", "a,-,b"]]),
    ("llama", ["--adapter-slot=tenant:lora,rank=8@row"], [[], ["--load=x={a}", "--row-adapters", "x,-,x"]]),
    ("gpt2", ["--adapter=a={a}@call", "--adapter=b={b}@switch"], [["--adapter", "a"], ["--adapter", "b"]]),
]


@pytest.fixture(scope="module")
def artifacts(oracle, tmp_path_factory):
    """[(artifact, arguments of adapter-run, by use)]; each of them answers."""
    folder = tmp_path_factory.mktemp("whole")
    result = []
    for architecture, build, uses in KINDS:
        base = oracle.export(architecture, "dynamo")
        adapters = {
            name: oracle.adapter(architecture, "plain", seed).folder for name, seed in (("a", 1), ("b", 2))
        }
        path = folder / f"{architecture}.adapt"
        product.opt(base, *[word.format(**adapters) for word in build], "-o", path)
        inputs = []
        for name, array in oracle.feed_of(base, architecture, "wide").items():
            np.save(folder / f"{architecture}-{name}.npy", array)
            inputs += ["--input", f"{name}={folder}/{architecture}-{name}.npy"]
        calls = [[*(word.format(**adapters) for word in use), *inputs] for use in uses]
        for call in calls:
            done = product.call("adapter-run", path, *call, "--output", folder / "out.npz")
            assert done.returncode == 0, done.stderr
        result.append((path, calls))
    return result


def damaged(path, rng, to):
    """A copy of the artifact with one bit of one file flipped; what was flipped."""
    files = sorted(file for file in path.rglob("*") if file.is_file())
    chosen = files[rng.integers(len(files))]
    content = bytearray(chosen.read_bytes())
    at, bit = int(rng.integers(len(content))), int(rng.integers(8))
    content[at] ^= 1 << bit
    shutil.copytree(path, to, copy_function=os.link)
    copy = to / chosen.relative_to(path)
    copy.unlink()
    copy.write_bytes(content)
    return f"{path.name}/{chosen.relative_to(path)}, byte {at}, bit {bit}"


def assert_no_answer(artifacts, tmp_path, case):
    rng = np.random.default_rng([SEED, case])
    path, calls = artifacts[rng.integers(len(artifacts))]
    what = damaged(path, rng, tmp_path / "model.adapt")
    call = calls[rng.integers(len(calls))]
    output = tmp_path / "out.npz"
    done = product.call("adapter-run", tmp_path / "model.adapt", *call, "--output", output)
    assert done.returncode == 1, f"{what}: exit code {done.returncode}, {done.stderr[-500:]}"
    assert done.stderr.startswith("adapter-run: error: "), f"{what}: {done.stderr[-500:]}"
    assert len(done.stderr.splitlines()) == 1, f"{what}: {done.stderr[-500:]}"
    assert not output.exists(), what
    shutil.rmtree(tmp_path / "model.adapt")


@pytest.mark.parametrize("part", range(4))
def test_some_flipped_bits(artifacts, tmp_path, part):
    for case in range(part * 10, part * 10 + 10):
        assert_no_answer(artifacts, tmp_path, case)


@pytest.mark.full
@pytest.mark.parametrize("part", range(20))
def test_a_thousand_flipped_bits(artifacts, tmp_path, part):
    for case in range(part * 50, part * 50 + 50):
        assert_no_answer(artifacts, tmp_path, case)


def damaged_weight(path, to):
    """A copy with a bit flipped in the middle of its weights."""
    shutil.copytree(path, to)
    content = bytearray((to / "parameters.safetensors").read_bytes())
    content[len(content) // 2] ^= 64
    (to / "parameters.safetensors").write_bytes(content)
    return to


def test_from_python(artifacts, tmp_path):
    ao = product.package()
    feed = {"pixel_values": np.zeros((1, 3, 12, 12), np.float32)}
    whole = ao.load(artifacts[0][0])
    expected = whole(feed)["logits"]
    model = ao.load(damaged_weight(artifacts[0][0], tmp_path / "x.adapt"))
    message = r"parameters\.safetensors: tensor '.*' was changed since it was compiled"
    with pytest.raises(ValueError, match=message):
        model.finish_check()
    assert model.check_progress == "failed"
    for use in (
        lambda: model(feed),
        lambda: model.switch("a"),
        lambda: model.switch(None),
        lambda: model.set("a.scale", 0.5),
        model.verify,
    ):
        with pytest.raises(ValueError, match=message):
            use()
    whole.finish_check()
    assert whole.check_progress == "passed"
    np.testing.assert_array_equal(whole(feed)["logits"], expected)


def test_no_check(artifacts, tmp_path):
    """What --no-check and check=False say is that damage may go unseen."""
    path, calls = artifacts[0]
    bad = damaged_weight(path, tmp_path / "x.adapt")
    assert product.call("adapter-run", bad, *calls[0], "--no-check").returncode == 0
    product.refused("adapter-run", bad, *calls[0], mentions=["parameters.safetensors"])
    for command in (["bench"], ["info"], ["switch", "--adapter", "a"]):
        inputs = calls[0] if command[0] == "bench" else []
        product.refused("adapter-run", command[0], bad, *command[1:], *inputs, mentions=["damaged"])
    model = product.package().load(bad, check=False)
    assert model.check_progress == "off"
    model(pixel_values=np.zeros((1, 3, 12, 12), np.float32))
    with pytest.raises(ValueError, match="damaged"):
        model.verify()
