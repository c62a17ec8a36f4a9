# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Runs exported graphs in ONNX Runtime and holds them against transformers."""

import folders
import numpy as np
import onnxruntime
import tolerance
import torch


def run(graph, feed):
    """A graph's outputs by name, in ONNX Runtime; the feed may be of torch and hold more."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(graph.path), options, providers=["CPUExecutionProvider"])
    arrays = {each.name: np.asarray(feed[each.name]) for each in session.get_inputs()}
    return dict(zip([each.name for each in session.get_outputs()], session.run(None, arrays), strict=True))


def agree(outputs, reference, names):
    """Outputs that bear these names and agree with the attributes of a reference."""
    assert list(outputs) == names
    for name, value in outputs.items():
        tolerance.assert_agrees(value, reference[name].detach().numpy())


def text(batch, sequence, seed=5):
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(3, folders.VOCABULARY, (batch, sequence), generator=generator)
    mask = torch.ones_like(ids)
    if batch > 1 and sequence > 3:
        mask[1, -3:] = 0
    types = torch.randint(0, 2, (batch, sequence), generator=generator)
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}


def names(ends):
    return [name for name, _ in ends]
