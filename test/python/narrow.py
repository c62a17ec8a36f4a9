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
