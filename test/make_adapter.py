# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""make_adapter.py TEXT FOLDER: writes a PEFT folder. TEXT holds JSON between the comments ADAPTER and END,
{"config": {...}, "tensors": {key: shape}}. Tensors get small numbers, keys get PEFT's prefix. With
{"hub": {...}} in place of the configuration it is a folder of AdapterHub's adapters, whose fields those are;
the adapter's name is x."""

import json
import math
import pathlib
import struct
import sys

text, folder = pathlib.Path(sys.argv[1]).read_text(), pathlib.Path(sys.argv[2])
text = text.split("ADAPTER\n", 1)[1].split("END\n", 1)[0]
text = "\n".join(line.lstrip("/# ") for line in text.splitlines())
spec = json.loads(text)
prefix = "" if "hub" in spec else "base_model.model."
header, data = {}, b""
for key, shape in spec["tensors"].items():
    count = math.prod(shape)
    body = struct.pack(f"<{count}f", *[(i % 7 - 3) / 4 for i in range(count)])
    header[prefix + key] = {
        "dtype": "F32",
        "shape": shape,
        "data_offsets": [len(data), len(data) + len(body)],
    }
    data += body
config = {"peft_type": "LORA", "r": 2, "lora_alpha": 2, "target_modules": "all-linear"} | spec.get(
    "config", {}
)
if "hub" in spec:
    config = {"config": spec["hub"], "name": "x", "version": "adapters.1.3.0"}
folder.mkdir(parents=True, exist_ok=True)
(folder / "adapter_config.json").write_text(json.dumps(config))
encoded = json.dumps(header).encode()
encoded += b" " * (-len(encoded) % 8)
file = "adapter.safetensors" if "hub" in spec else "adapter_model.safetensors"
(folder / file).write_bytes(struct.pack("<Q", len(encoded)) + encoded + data)
