# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""When two outputs agree. All bounds are on largest magnitudes over finite entries; infinities and NaNs must
stand in the same places.

- |y - ref| <= tolerance |ref|, 1e-5 in f32;
- with an adapter also |y - ref| <= 1e-3 |ref - base| + 3e-6 |ref|: the error against what the adapter
  changes, which an adapter that was not applied, or half applied, cannot meet.
"""

import numpy as np


def disagreement(y, reference, base=None, tolerance=1e-5):
    """Why `y` is not `reference`, in words, or None. `base` is the output without the adapter."""
    y, reference = np.asarray(y), np.asarray(reference)
    if y.shape != reference.shape:
        return f"shape {y.shape}, expected {reference.shape}"
    if y.dtype != reference.dtype:
        return f"element type {y.dtype}, expected {reference.dtype}"
    finite = np.isfinite(reference)
    if not np.array_equal(np.where(finite, 0, reference), np.where(np.isfinite(y), 0, y), equal_nan=True):
        return "infinities or NaNs in different places"
    if not finite.any():
        return None
    wide = reference[finite].astype(np.float64)
    difference = np.abs(y[finite] - wide).max()
    magnitude = np.abs(wide).max()
    if difference > tolerance * magnitude:
        return f"off by {difference:.2e}, {difference / max(magnitude, 1e-300):.2e} of the largest magnitude"
    if base is not None:
        effect = np.abs(wide - np.asarray(base)[finite]).max()
        if effect == 0:
            return "the reference equals the base: the adapter does nothing, the test is void"
        if difference > 1e-3 * effect + 3e-6 * magnitude:
            return f"off by {difference:.2e}, {difference / effect:.2e} of the adapter's effect"
    return None


def assert_agrees(y, reference, base=None, tolerance=1e-5):
    problem = disagreement(y, reference, base, tolerance)
    assert problem is None, problem


def assert_rows_agree(y, references, bases):
    """Each row against its own reference; a base of None means that the row carries no adapter."""
    assert len(y) == len(references), f"{len(y)} rows, expected {len(references)}"
    for i, (reference, base) in enumerate(zip(references, bases, strict=True)):
        problem = disagreement(y[i], reference, base)
        assert problem is None, f"row {i}: {problem}"
