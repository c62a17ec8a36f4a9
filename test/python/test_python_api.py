# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The Python package as its user meets it: what a model shows, what arguments may be, closing, saving,
swapping, Ctrl-C in a call."""

import collections
import os
import shutil
import subprocess
import sys
import textwrap

import linear_model
import numpy as np
import product
import pytest

ao = product.package()


@pytest.fixture(scope="module")
def linear(tmp_path_factory):
    return linear_model.make(tmp_path_factory.mktemp("linear"))


@pytest.fixture(scope="module")
def artifact(linear, tmp_path_factory):
    path = tmp_path_factory.mktemp("artifact") / "model.adapt"
    product.opt(
        linear.model,
        f"--adapter=a={linear.adapter}@row:scale=@call",
        "--adapter-slot=room:lora@row",
        "-o",
        path,
    )
    return path


@pytest.fixture
def model(artifact):
    return ao.load(artifact, threads=1)


def ones(model, rows=2):
    (name, port), *_ = model.inputs.items()
    return {name: np.ones([rows if isinstance(size, str) else size for size in port.shape], port.dtype)}


def test_a_model_shows_itself(model):
    assert list(model.inputs) and list(model.outputs)
    assert next(iter(model.inputs.values())).dtype == "float32"
    shown = repr(model)
    assert all(name in shown for name in [*model.inputs, *model.outputs])
    assert "model.adapt" in shown and "a (row)" in shown and "room (row)" in shown and "float32[" in shown


def test_closing(artifact):
    with ao.load(artifact, threads=1) as model:
        feed = ones(model)
        model(feed)
    assert "closed" in repr(model)
    for use in (lambda: model(feed), model.info, lambda: model.adapters, model.verify):
        with pytest.raises(ValueError, match="the model is closed"):
            use()
    model.close()


WRONG_ARGUMENTS = [
    (ValueError, "threads must be a whole number from 0 on, not -1", lambda path: ao.load(path, threads=-1)),
    (TypeError, "threads must be a whole number, not str '2'", lambda path: ao.load(path, threads="2")),
    (TypeError, "threads must be a whole number, not None", lambda path: ao.load(path, threads=None)),
    (TypeError, "threads must be a whole number, not bool True", lambda path: ao.load(path, threads=True)),
    (TypeError, "memory_limit must be", lambda path: ao.load(path, memory_limit=1.5)),
    (TypeError, "path must be a path", lambda path: ao.load(None)),
    (FileNotFoundError, "nowhere", lambda path: ao.load("nowhere.adapt")),
    (ValueError, "threads must be", lambda path: ao.compile("x.onnx", threads=-1)),
    (TypeError, "adapters must be a dict", lambda path: ao.compile("x.onnx", ["a"])),
    (TypeError, "slot 'x' must be an ao.Slot", lambda path: ao.compile("x.onnx", slots={"x": "lora"})),
    (ValueError, "time must be one of build, switch", lambda path: ao.Adapter("a", time="swich")),
    (TypeError, "scale must be a number", lambda path: ao.Adapter("a", scale="2")),
    (TypeError, "path must be a path", lambda path: ao.Adapter(3)),
    (ValueError, "bind must be of scale, rank", lambda path: ao.Adapter("a", time="row", bind=("rnk",))),
    (TypeError, "bind must be a tuple of str", lambda path: ao.Adapter("a", time="row", bind="scale")),
    (ValueError, "rank must be a whole number from 1 on", lambda path: ao.Slot("lora", rank=0)),
    (ValueError, "time must be one of load, switch", lambda path: ao.Slot("lora", time="build")),
]


@pytest.mark.parametrize("kind, message, use", WRONG_ARGUMENTS)
def test_wrong_arguments(artifact, kind, message, use):
    with pytest.raises(kind, match=message):
        use(artifact)


WRONG_CALLS = [
    (TypeError, "adapters must be a name", lambda model, feed: model(feed, adapters=3)),
    (TypeError, "an adapter of a row must be", lambda model, feed: model(feed, adapters=[1, None])),
    (TypeError, "the share of a must be a number", lambda model, feed: model(feed, adapters={"a": "x"})),
    (
        TypeError,
        "setting a.scale must be a number",
        lambda model, feed: model(feed, settings={"a.scale": "x"}),
    ),
    (TypeError, "settings must be a dict", lambda model, feed: model(feed, settings=["a.scale"])),
    (TypeError, "inputs must be a dict", lambda model, feed: model([1])),
    (TypeError, "must be an array of numbers", lambda model, feed: model(dict.fromkeys(feed, ["a"]))),
    (
        ValueError,
        "there is no graph 'other'; the model has main",
        lambda model, feed: model(feed, entry="other"),
    ),
    (
        ValueError,
        "there is no input 'other'; the model's inputs are",
        lambda model, feed: model(feed, other=1),
    ),
    (ValueError, "is missing; the model's inputs are", lambda model, feed: model()),
    (TypeError, "name must be a str", lambda model, feed: model.set(1, 2)),
    (TypeError, "value must be a number", lambda model, feed: model.set("a.scale", None)),
    (TypeError, "name must be a str or None", lambda model, feed: model.switch(1)),
    (FileNotFoundError, "nowhere", lambda model, feed: model.load_adapter("b", "nowhere")),
    (TypeError, "replace must be True or False", lambda model, feed: model.load_adapter("b", ".", replace=1)),
]


@pytest.mark.parametrize("kind, message, use", WRONG_CALLS)
def test_wrong_calls(model, kind, message, use):
    feed = ones(model)
    with pytest.raises(kind, match=message) as caught:
        use(model, feed)
    assert "incompatible function arguments" not in str(caught.value)
    model(feed)


def test_what_a_tokenizer_returns(model):
    """transformers' BatchEncoding is a UserDict."""
    feed = ones(model)
    got = model(collections.UserDict(feed))
    for name, value in model(**feed).items():
        np.testing.assert_array_equal(got[name], value)


def test_swapping_needs_to_be_said(model, linear):
    model.load_adapter("b", linear.adapter)
    with pytest.raises(ValueError, match="there is an adapter 'b'; replace=True"):
        model.load_adapter("b", linear.adapter)
    model.load_adapter("b", linear.adapter, replace=True)
    model.load_adapter("c", linear.adapter, replace=True)  # also where there is none
    assert set(model.adapters) == {"a", "b", "c"}


def test_any_model_can_be_saved(model, artifact, tmp_path):
    model.save(tmp_path / "copy.adapt")
    feed = ones(model)
    for name, value in ao.load(tmp_path / "copy.adapt", threads=1)(feed).items():
        np.testing.assert_array_equal(model(feed)[name], value)
    with pytest.raises(FileExistsError, match="copy.adapt exists"):
        model.save(tmp_path / "copy.adapt")
    assert os.listdir(tmp_path) == ["copy.adapt"]


def test_a_replaced_artifact_is_not_saved(linear, artifact, tmp_path):
    shutil.copytree(artifact, tmp_path / "m.adapt")
    model = ao.load(tmp_path / "m.adapt", threads=1)
    product.opt(linear.model, "-o", tmp_path / "m.adapt")
    with pytest.raises(ValueError, match="was replaced after the model was opened"):
        model.save(tmp_path / "copy.adapt")
    assert os.listdir(tmp_path) == ["m.adapt"]


def test_what_a_killed_process_left_is_removed(linear, tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(product.PACKAGE), "TMPDIR": str(tmp_path)}
    program = "import adapter_opt as ao, os, sys; model = ao.compile(sys.argv[1]); os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", program, linear.model], env=environment, timeout=300)
    assert len(os.listdir(tmp_path)) == 1
    (tmp_path / "adapter-opt-notes").mkdir()
    program = "import adapter_opt as ao, sys; model = ao.compile(sys.argv[1])"
    subprocess.run([sys.executable, "-c", program, linear.model], env=environment, timeout=300, check=True)
    assert os.listdir(tmp_path) == ["adapter-opt-notes"]


PROGRAM = """
import os, signal, sys, threading, time
import numpy as np
import adapter_opt as ao
model = ao.load(sys.argv[1], threads=1)
(name, port), *_ = model.inputs.items()
def feed(rows):
    return {name: np.ones([rows if isinstance(size, str) else size for size in port.shape], port.dtype)}
"""


def run(artifact, body):
    environment = {**os.environ, "PYTHONPATH": str(product.PACKAGE)}
    command = [sys.executable, "-c", PROGRAM + textwrap.dedent(body), artifact]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return done


@pytest.mark.parametrize("before", [0, 1], ids=["the first call", "a later call"])
def test_a_call_can_be_interrupted(artifact, before):
    """At once, although the call takes seconds; the model answers as before afterwards."""
    done = run(
        artifact,
        f"""
        want = model(feed(2)) if {before} else None
        rows = 1 << 12
        while True:  # rows enough for a second
            start = time.monotonic()
            other = ao.load(sys.argv[1], threads=1)
            other(feed(rows))
            if time.monotonic() - start > 1:
                break
            rows *= 2
        values = feed(rows)
        sent = []
        def send():
            sent.append(time.monotonic())
            os.kill(os.getpid(), signal.SIGINT)
        timer = threading.Timer(0.2, send)
        timer.start()
        try:
            model(values)
            raise SystemExit("not interrupted")
        except KeyboardInterrupt:
            print(time.monotonic() - sent[0])
        del values
        got = model(feed(2))
        for key, value in (want or got).items():
            np.testing.assert_array_equal(got[key], value)
        """,
    )
    # Within a tenth of a second; a busy machine may take longer.
    assert float(done.stdout) < 0.5


def test_no_reports_at_exit(artifact):
    done = run(
        artifact,
        """
        def forever():
            while True:
                model(feed(2))
        for _ in range(3):
            threading.Thread(target=forever, daemon=True).start()
        time.sleep(0.1)
        """,
    )
    assert done.stderr == ""
