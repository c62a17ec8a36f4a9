# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Graphs and adapters drawn at random (drawn.py): each is applied as arithmetic says, or refused."""

import numpy as np
import onnxruntime
import product
import pytest
from drawn import Drawn


def answer_of(path, x):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"input": x})[0]


def close(got, want):
    return got.shape == want.shape and np.abs(got - want).max() <= 1e-4 * max(np.abs(want).max(), 1e-3)


def outcome(seed, folder, time="", run=None):
    """'holds', or the message of a refusal; raises where the answer is wrong."""
    model = Drawn(seed)
    model.write_graph(folder / "m.onnx")
    want = model.write_adapter(folder / "lora")
    model.write_base(folder / "base.safetensors")
    x = model.feed()
    what = f"seed {seed} ({model.naming}, base {model.base}, {', '.join(model.notes)})"
    base = answer_of(folder / "m.onnx", x)
    assert close(base, model.answer(x, model.parameters())), f"{what}: the graph itself is wrong"
    arguments = [folder / "m.onnx", "--adapter", f"x={folder / 'lora'}{time}"]
    if model.base != "none":
        arguments += ["--base", folder / "base.safetensors"]
    output = folder / ("model.adapt" if run else "merged.onnx")
    done = product.call("adapter-opt", *arguments, "-o", output)
    if done.returncode == 1:
        message = done.stderr.strip()
        assert message.startswith("adapter-opt: error: ") and "internal" not in message, f"{what}: {message}"
        assert not output.exists(), f"{what}: an output beside a refusal"
        return message
    assert done.returncode == 0, f"{what}: exit {done.returncode}: {done.stderr[-500:]}"
    got = run(output, x) if run else answer_of(output, x)
    assert close(got, model.answer(x, want)), f"{what}: a wrong answer without a word"
    assert model.base != "other" or not model.is_compared, (
        f"{what}: attached to a graph that is not the adapter's base"
    )
    return "holds"


def run_all(seeds, folder, **how):
    outcomes = []
    for seed in seeds:
        place = folder / str(seed)
        place.mkdir()
        outcomes.append(outcome(seed, place, **how))
    return outcomes


def test_nothing_goes_wrong_in_silence(tmp_path):
    outcomes = run_all(range(150), tmp_path)
    assert outcomes.count("holds") >= 60, outcomes


@pytest.mark.full
@pytest.mark.parametrize("first", range(1000, 3000, 250))
def test_nothing_goes_wrong_in_silence_at_length(tmp_path, first):
    outcomes = run_all(range(first, first + 250), tmp_path)
    assert outcomes.count("holds") >= 100, outcomes


def compiled(mode):
    def run(artifact, x):
        arguments = {"@switch": ["--adapter", "x"], "@row": ["--row-adapters", ",".join("x" * len(x))]}.get(
            mode, []
        )
        return product.run(artifact, {"input": x}, artifact.parent, *arguments)["y"]

    return run


@pytest.mark.parametrize("mode", ["@build", "@switch", "@row"])
def test_compiled_code_agrees(tmp_path, mode):
    outcomes = run_all(range(5000, 5012), tmp_path, time=mode, run=compiled(mode))
    assert "holds" in outcomes


@pytest.mark.full
@pytest.mark.parametrize("mode", ["@build", "@switch", "@row"])
def test_compiled_code_agrees_at_length(tmp_path, mode):
    outcomes = run_all(range(6000, 6060), tmp_path, time=mode, run=compiled(mode))
    assert outcomes.count("holds") > 10, outcomes
