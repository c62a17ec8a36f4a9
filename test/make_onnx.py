# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""make_onnx.py TEXT MODEL: writes a ModelProto given as protobuf text; `#` lines are comments.
make_onnx.py --print MODEL prints one."""

import sys

import onnx
from google.protobuf import text_format

first, second = sys.argv[1:]
if first == "--print":
    with open(second, "rb") as file:
        print(text_format.MessageToString(onnx.ModelProto.FromString(file.read())))
else:
    with open(first) as file:
        model = text_format.Parse(file.read(), onnx.ModelProto())
    with open(second, "wb") as file:
        file.write(model.SerializeToString())
