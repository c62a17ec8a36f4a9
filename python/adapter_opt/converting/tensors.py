# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Files of tensors, safetensors and .npz, with NumPy alone. Pickles are never read: they can run any code."""

import json
import math
import os
import zipfile

import numpy as np

# What safetensors calls them. bfloat16, which NumPy does not have, is widened to float32.
_TYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "<u2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "i1",
    "U8": "u1",
    "BOOL": "?",
}
_NAMES = {np.dtype(text): name for name, text in _TYPES.items() if name != "BF16"}
_LONGEST_HEADER = 100_000_000
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


def is_pickle(path):
    """Whether a file is what torch.save or pickle.dump writes, by its contents."""
    with open(path, "rb") as file:
        start = file.read(1 << 16)
    if start[:4] == b"PK\x03\x04":
        return b"data.pkl" in start
    return start[:1] == b"\x80" and start[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05")


def pickle_error(path, target, how=None):
    """Why a pickle is not read, and the line that converts it."""
    name = os.path.basename(path)
    line = how or (
        "safetensors.torch.save_file({{k: v.clone() for k, v in torch.load('{name}', "
        "weights_only=True).items()}}, '{target}')"
    )
    return ValueError(
        f"{path}: a pickle, which can run any code and is never read; convert it where it is trusted: "
        + line.format(name=name, target=target)
    )


def read(path, how=None):
    """The tensors of a file by name; `how` is the line that makes one of the method's pickle.

    Raises ValueError for what is no such file, or is broken.
    """
    if is_pickle(path):
        stem = os.path.splitext(os.path.basename(path))[0]
        raise pickle_error(path, f"{stem}.safetensors", how)
    try:
        return _read_npz(path) if zipfile.is_zipfile(path) else _read_safetensors(path)
    except (ValueError, KeyError, TypeError, OverflowError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path}: neither safetensors nor .npz that can be read: {error}") from None


def _read_npz(path):
    with np.load(path, allow_pickle=False) as archive:
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise ValueError("one array, and names of arrays are needed")
        return {name: _narrow(archive[name]) for name in archive.files}


def _narrow(array):
    """An array of a type that safetensors has."""
    array = array.astype(array.dtype.newbyteorder("<"), copy=False)
    if array.dtype not in _NAMES:
        raise ValueError(f"an array is of {array.dtype}")
    return array


def _read_safetensors(path):
    data = np.memmap(path, dtype=np.uint8, mode="r") if os.path.getsize(path) else np.zeros(0, np.uint8)
    size = int.from_bytes(data[:8].tobytes(), "little")
    if len(data) < 8 or size > min(len(data) - 8, _LONGEST_HEADER):
        raise ValueError("its header ends behind the file")
    header = json.loads(data[8 : 8 + size].tobytes())
    body = data[8 + size :]
    if not isinstance(header, dict):
        raise ValueError("its header is no object")
    header.pop("__metadata__", None)
    return {name: _tensor(name, entry, body) for name, entry in header.items()}


def _tensor(name, entry, body):
    type, shape, (begin, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
    if type not in _TYPES:
        raise ValueError(f"tensor '{name}' is of {type}")
    counts = [*shape, begin, end]
    if not all(isinstance(each, int) and each >= 0 for each in counts):
        raise ValueError(f"tensor '{name}' has no sizes")
    dtype = np.dtype(_TYPES[type])
    if end > len(body) or end - begin != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"tensor '{name}' has a shape that does not fit its bytes")
    array = np.frombuffer(body[begin:end].tobytes(), dtype).reshape(shape)
    if type == "BF16":
        array = (array.astype(np.uint32) << 16).view(np.float32)
    return array


def write(path, tensors):
    """Writes arrays as safetensors, in the order of their names."""
    header, chunks, at = {}, [], 0
    for name, array in sorted(tensors.items()):
        # Of a scalar, ascontiguousarray makes an array of one dimension.
        array = np.ascontiguousarray(array).reshape(np.shape(array))
        header[name] = {
            "dtype": _NAMES[array.dtype.newbyteorder("<")],
            "shape": list(array.shape),
            "data_offsets": [at, at + array.nbytes],
        }
        chunks.append(array)
        at += array.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for array in chunks:
            file.write(array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes())
