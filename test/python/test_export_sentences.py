# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Exports of sentence-transformers folders, beside the arithmetic of its modules in NumPy."""

import json
import os

import folders
import numpy as np
import product
import pytest
import tolerance
import torch
from exported import names, run, text

ao = product.package()


@torch.no_grad()
def pooled(mode, tokens, mask):
    """What sentence-transformers' Pooling gives, row by row."""
    rows = []
    for row, kept in zip(tokens.numpy().astype(np.float64), mask.numpy().astype(bool), strict=True):
        there = row[kept]
        weights = np.arange(1, len(row) + 1)[kept][:, None]
        rows.append(
            {
                "cls_token": row[0],
                "max_tokens": there.max(0),
                "mean_tokens": there.mean(0),
                "mean_sqrt_len_tokens": there.sum(0) / np.sqrt(len(there)),
                "weightedmean_tokens": (there * weights).sum(0) / weights.sum(),
                "lasttoken": there[-1],
            }[mode]
        )
    return np.stack(rows)


MODES = ["cls_token", "max_tokens", "mean_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken"]


@pytest.mark.parametrize(("modes", "dense"), [(["mean_tokens"], True), (MODES, False)])
@torch.no_grad()
def test_sentence_transformers(tmp_path, modes, dense):
    model, layer = folders.sentence_transformer(tmp_path / "in", modes, dense, normalize=dense)
    exported = ao.export(tmp_path / "in", tmp_path / "out")
    (graph,) = exported.graphs.values()
    assert names(graph.outputs) == ["token_embeddings", "sentence_embedding"]
    for size in ((3, 9), (1, 1)):
        feed = text(*size)
        tokens = model(**feed).last_hidden_state
        outputs = run(graph, feed)
        tolerance.assert_agrees(outputs["token_embeddings"], tokens.numpy())
        wanted = np.concatenate([pooled(mode, tokens, feed["attention_mask"]) for mode in modes], 1)
        if dense:
            wanted = np.tanh(wanted @ layer[0].numpy().T + layer[1].numpy())
            wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
        tolerance.assert_agrees(outputs["sentence_embedding"], wanted.astype(np.float32))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda modules: modules[1].update(type="sentence_transformers.models.CNN"), "a module CNN cannot"),
        (lambda modules: modules.pop(1), "names no Pooling"),
        (lambda modules: modules.pop(0), "its first module is Pooling"),
        (lambda modules: modules[0].pop("path"), "is no list of modules"),
    ],
)
def test_faulty_sentence_transformers(tmp_path, change, said):
    folders.sentence_transformer(tmp_path / "in", normalize=False)
    path = tmp_path / "in" / "modules.json"
    modules = json.loads(path.read_text())
    change(modules)
    path.write_text(json.dumps(modules))
    with pytest.raises(ValueError, match=said):
        ao.export(tmp_path / "in", tmp_path / "out")
    assert os.listdir(tmp_path) == ["in"]
