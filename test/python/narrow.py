# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What weights become in narrow formats, in NumPy from #kernel.format's description."""

import ml_dtypes
import numpy as np

FORMATS = ["bf16", "f16", "int8", "int4", "int8:group=64", "int4:group=16", "int4:group=128"]


def rounded(weight, text):
    """A weight [in, out] as the format has it, in f32."""
    number, _, group = text.partition(":group=")
    weight = np.asarray(weight, np.float32)
    if number == "bf16":
        return weight.astype(ml_dtypes.bfloat16).astype(np.float32)
    if number == "f16":
        return weight.astype(np.float16).astype(np.float32)
    parts = weight.reshape(-1, int(group or 32), weight.shape[1])
    if number == "int8":
        scale = np.abs(parts).max(1, keepdims=True) / np.float32(127)
        least, most = -127, 127
    else:
        place = np.abs(parts).argmax(1)[:, None]
        scale = np.take_along_axis(parts, place, 1) / np.float32(-8)
        least, most = -8, 7
    scale = scale.astype(np.float16).astype(np.float32)
    whole = np.divide(parts, scale, out=np.zeros_like(parts), where=scale != 0)
    whole = np.clip(np.rint(whole), least, most).astype(np.float32)
    return (whole * scale).reshape(weight.shape)


def takes_integers(text):
    """Whether products with such a weight round what they multiply it with."""
    number, _, group = text.partition(":group=")
    return number in ("int8", "int4") and int(group or 32) % 32 == 0


def rounded_rows(x):
    """Rows as integers of 8 bits with a scale for each 32 numbers, in f32."""
    parts = np.asarray(x, np.float32).reshape(*x.shape[:-1], -1, 32)
    most = np.abs(parts).max(-1, keepdims=True)
    inverse = np.divide(np.float32(127), most, out=np.zeros_like(most), where=most != 0)
    return (np.rint(parts * inverse) * (most / np.float32(127))).astype(np.float32).reshape(x.shape)


def product(x, weight, text, activations=None):
    """x [.., in] times a weight [in, out] in that format, in f64 of the rounded numbers."""
    if activations == "bf16":
        x = rounded(x, "bf16")
    elif takes_integers(text):
        x = rounded_rows(x)
    return x.astype(np.float64) @ rounded(weight, text).astype(np.float64)
