# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Ctrl-C, and memory that runs out, while the compiler runs in Python's process."""

import os
import subprocess
import sys
import textwrap

import linear_model
import product
import pytest

ao = product.package()

# Reactions are to be there within a tenth of a second; a busy machine may take longer.
PROMPT = 0.5

PROGRAM = """
import os, resource, signal, sys, tempfile, threading, time
import adapter_opt as ao
graph, adapter, folder = sys.argv[1:4]
tempfile.tempdir = folder

def compiled():
    return ao.compile(graph, {"a": ao.Adapter(adapter, time="row")}, threads=1)

def left():
    return os.listdir(folder)

def interrupted(function, delay):
    '''Seconds from Ctrl-C to KeyboardInterrupt; None where the function was done before.'''
    sent = []
    def send():
        sent.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)
    timer = threading.Timer(delay, send)
    try:
        timer.start()
        function()
        timer.cancel()
        timer.join()
        time.sleep(0)  # a signal that came last
    except KeyboardInterrupt:
        return time.monotonic() - sent[0]
"""


def _run(linear, folder, body):
    environment = {**os.environ, "PYTHONPATH": str(product.PACKAGE)}
    command = [sys.executable, "-c", PROGRAM + textwrap.dedent(body), linear.model, linear.adapter, folder]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return done


@pytest.fixture(scope="module")
def linear(tmp_path_factory):
    return linear_model.make(tmp_path_factory.mktemp("linear"))


def test_compile_is_interrupted_anywhere(linear, tmp_path):
    """At every tenth of the way; afterwards nothing is left, and the next call is like any."""
    _run(
        linear,
        tmp_path,
        f"""
        begin = time.monotonic()
        compiled()
        whole = time.monotonic() - begin
        taken = [interrupted(compiled, whole * tenth / 10) for tenth in range(10)]
        came = [seconds for seconds in taken if seconds is not None]
        assert len(came) >= 5, taken
        assert max(came) < {PROMPT}, taken
        deadline = time.monotonic() + 60
        while left() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not left(), left()
        model = compiled()
        assert len(left()) == 1
        del model
        assert not left()
        """,
    )


def test_merge_leaves_all_or_nothing(linear, tmp_path):
    _run(
        linear,
        tmp_path,
        """
        output = os.path.join(folder, "merged.onnx")
        merge = lambda: ao.merge(graph, {"a": adapter}, output)
        begin = time.monotonic()
        merge()
        whole, size = time.monotonic() - begin, os.path.getsize(output)
        os.remove(output)
        for tenth in range(12):
            interrupted(merge, whole * tenth / 10)
            time.sleep(whole)
            assert left() in ([], ["merged.onnx"]), left()
            if left():
                assert os.path.getsize(output) == size
                os.remove(output)
        """,
    )


def test_the_process_ends_while_a_run_cleans_up(linear, tmp_path):
    done = _run(linear, tmp_path, "interrupted(compiled, 0.05)")
    assert done.stderr == ""
    assert list(tmp_path.iterdir()) == []


def test_out_of_memory(tmp_path):
    """A weight of 128 MiB, and not enough for a merged one."""
    big = linear_model.make(tmp_path, 8192, 4096)
    folder = tmp_path / "work"
    folder.mkdir()
    _run(
        big,
        folder,
        """
        ao.check(graph, {"a": adapter})
        output = os.path.join(folder, "merged.onnx")
        pages = int(open("/proc/self/statm").read().split()[0])
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        used = pages * os.sysconf("SC_PAGESIZE")
        resource.setrlimit(resource.RLIMIT_AS, (used + (200 << 20), hard))
        try:
            ao.merge(graph, {"a": adapter}, output)
            raise AssertionError("it fits")
        except MemoryError:
            pass
        assert left() == [], left()
        resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
        ao.merge(graph, {"a": adapter}, output)
        assert left() == ["merged.onnx"]
        """,
    )
