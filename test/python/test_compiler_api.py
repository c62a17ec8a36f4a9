# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The compiler from Python, over a model of one linear and a LoRA made by hand."""

import concurrent.futures
import json
import re
import threading
import time

import linear_model
import numpy as np
import product
import pytest

ao = product.package()


@pytest.fixture(scope="module")
def linear(tmp_path_factory):
    return linear_model.make(tmp_path_factory.mktemp("linear"))


def _close(got, want):
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-5 * np.abs(want).max())


def test_compile_by_row_and_save(linear, tmp_path):
    model_path, adapter, x, base, updated = linear
    model = ao.compile(model_path, adapters={"up": ao.Adapter(adapter, time="row")}, threads=1)
    names = ["up", None, "up", None, None]
    rows = np.array([name is not None for name in names])[:, None]
    _close(model(x=x, adapters=names)["y"], np.where(rows, updated, base))
    model.save(tmp_path / "kept.adapt")
    _close(ao.load(tmp_path / "kept.adapt")(x=x, adapters="up")["y"], updated)


def test_switch_and_back(linear):
    model_path, adapter, x, base, updated = linear
    model = ao.compile(model_path, adapters={"up": ao.Adapter(adapter, time="switch")}, threads=1)
    before = model(x=x)["y"]
    _close(before, base)
    model.switch("up")
    _close(model(x=x)["y"], updated)
    model.switch(None)
    np.testing.assert_array_equal(model(x=x)["y"], before)


def test_merge_and_check(linear, tmp_path):
    import onnxruntime

    model_path, adapter, x, _, updated = linear
    ao.merge(model_path, {"up": adapter}, tmp_path / "merged.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "merged.onnx"), providers=["CPUExecutionProvider"])
    _close(session.run(None, {"x": x})[0], updated)
    assert "proj" in json.dumps(ao.check(model_path, {"up": adapter}))


def test_what_is_refused(linear, tmp_path):
    """Again and again: a run leaves nothing behind for the next one."""
    model_path, adapter, *_ = linear
    before = sorted(tmp_path.iterdir())
    for _ in range(2):
        with pytest.raises(FileNotFoundError, match="nowhere"):
            ao.merge(model_path, {"up": tmp_path / "nowhere"}, tmp_path / "merged.onnx")
        with pytest.raises(FileNotFoundError, match="nothing.onnx"):
            ao.compile(tmp_path / "nothing.onnx")
        with pytest.raises(FileNotFoundError, match="cannot write"):
            ao.merge(model_path, {"up": adapter}, tmp_path / "no folder" / "merged.onnx")
        with pytest.raises(ValueError, match="--target z80: unknown"):
            ao.compile(model_path, target="z80")
        with pytest.raises(ValueError, match="can only be merged"):
            ao.merge(model_path, {"up": ao.Adapter(adapter, time="row")}, tmp_path / "merged.onnx")
        with pytest.raises(ValueError, match="expected OLD=NEW"):
            ao.check(model_path, {"up": adapter}, renamed={"": "proj"})
    assert sorted(tmp_path.iterdir()) == before


def test_an_open_artifact_is_compiled_again(linear, tmp_path):
    """Each model runs the code that was there when it was opened."""
    base, adapter, x, without, adapted = linear
    artifact, models = tmp_path / "model.adapt", []
    for given in ([], [f"--adapter=a={adapter}"], []):
        product.opt(base, *given, "-o", artifact)
        models.append(ao.load(str(artifact)))
    for model, expected in zip(models, (without, adapted, without), strict=True):
        np.testing.assert_allclose(model(x=x)["y"], expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_nothing_is_printed(linear, tmp_path, capfd):
    with pytest.raises(ValueError):
        ao.compile(linear.model, target="z80")
    ao.merge(linear.model, {"up": linear.adapter}, tmp_path / "merged.onnx")
    assert capfd.readouterr() == ("", "")


def test_equal_calls_give_equal_files(linear, tmp_path):
    """Whatever was compiled or refused in between, and as the command makes them."""
    for name in ("first", "second"):
        ao.compile(linear.model, {"up": ao.Adapter(linear.adapter, time="row")}).save(tmp_path / name)
        with pytest.raises(ValueError):
            ao.compile(linear.model, slots={"s": ao.Slot("lora", time="never")})
        ao.compile(
            linear.model, slots={"s": ao.Slot("lora", rank=8, bind=("scale",))}, target="cpu:x86-64-v3"
        )
    product.opt(linear.model, f"--adapter=up={linear.adapter}@row", "-o", tmp_path / "command.adapt")
    files = sorted(path.relative_to(tmp_path / "first") for path in (tmp_path / "first").rglob("*"))
    assert files
    for path in (each for each in files if (tmp_path / "first" / each).is_file()):
        contents = {(tmp_path / name / path).read_bytes() for name in ("first", "second", "command.adapt")}
        assert len(contents) == 1, path


def test_several_threads(linear, tmp_path):
    """Compiling, merging and refusing side by side."""

    def compiled(i):
        model = ao.compile(linear.model, {f"a{i}": ao.Adapter(linear.adapter, time="call")}, threads=1)
        return model(x=linear.x, adapters=f"a{i}")["y"]

    def merged(i):
        path = tmp_path / f"{i}.onnx"
        ao.merge(linear.model, {"up": linear.adapter}, path)
        return ao.compile(path, threads=1)(x=linear.x)["y"]

    def refused(i):
        with pytest.raises(ValueError, match=f"z{i}"):
            ao.compile(linear.model, target=f"z{i}")
        return linear.updated

    work = [function for _ in range(3) for function in (compiled, merged, refused)]
    with concurrent.futures.ThreadPoolExecutor(len(work)) as pool:
        for future in [pool.submit(function, i) for i, function in enumerate(work)]:
            _close(future.result(), linear.updated)


def test_other_threads_run_meanwhile(linear):
    ticks, stop = [], threading.Event()

    def tick():
        while not stop.wait(0.005):
            ticks.append(time.monotonic())

    thread = threading.Thread(target=tick)
    thread.start()
    begin = time.monotonic()
    ao.compile(linear.model, {"up": linear.adapter})
    end = time.monotonic()
    stop.set()
    thread.join()
    within = [begin, *(each for each in ticks if begin < each < end), end]
    assert max(b - a for a, b in zip(within, within[1:], strict=False)) < max(0.1, 0.5 * (end - begin))


def test_versions():
    assert re.fullmatch(r"\d+\.\d+\.\d+", ao.__version__)
    assert product.opt("--version").startswith(f"adapter-opt {ao.__version__}\nLLVM 22.")
    assert product.call("adapter-run", "--version").stdout.startswith(f"adapter-run {ao.__version__}\n")


def test_warnings_are_pythons(linear, monkeypatch):
    from adapter_opt import compiler

    result = (compiler._compiler.OK, b"", b"{}", b"this is odd\nthat, too")
    monkeypatch.setattr(compiler._compiler, "run", lambda words, folder: result)
    with pytest.warns(UserWarning, match="this is odd|that, too") as caught:
        assert ao.check(linear.model, {}) == {}
    assert [each.filename for each in caught] == [__file__, __file__]
