# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Limits of the machine for text.py, measured right beside what is measured: a processor of a shared machine
gives half as much at one moment as at the next."""

import ctypes

import bench


class Limits:
    """rates(width): (operations per second, bytes per second) at this moment. Where f32 is faster than
    the dot product of a width, or the processor has none, that of f32 counts."""

    def __init__(self, build, threads):
        library = ctypes.CDLL(str(bench.compiled_limits(build, "-shared", "-fPIC", name="limits.so")))
        self._threads, self._calls, self.seen = threads, {}, {}
        for name in ("f32_gflops", "bf16_gflops", "int8_gops", "read_gbs"):
            self._calls[name] = getattr(library, f"limits_{name}")
            self._calls[name].restype = ctypes.c_double

    def _rate(self, name):
        rate = self._calls[name](self._threads)
        self.seen.setdefault(name, []).append(rate)
        return 1e9 * rate

    def rates(self, width):
        names = {"f32": (), "bf16": ("bf16_gflops",)}.get(width, ("int8_gops",))
        peak = max(self._rate(name) for name in ("f32_gflops", *names))
        read = self._rate("read_gbs")
        if not read:
            raise MemoryError("no memory for measuring how fast it is read")
        return peak, read

    def seconds(self, work, before, after):
        """The least time for the work at the mean of two rates."""
        peak, read = ((a + b) / 2 for a, b in zip(before, after, strict=True))
        return max(work.operations / peak, work.bytes / read)
