# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Export of transformers and sentence-transformers folders to ONNX: behind `ao.export` and `adapter-opt
export`.

PyTorch and transformers are imported when something is exported, and not before.
"""

import dataclasses
import os


@dataclasses.dataclass(frozen=True)
class Graph:
    """One ONNX file of an export.

    path: of the file.
    inputs, outputs: names and dims of each, (("input_ids", ("batch", "sequence")), ...).
    difference: from the model's own answers, as a share of the largest magnitude, at other sizes than those
        of the export; None where it was not measured.
    """

    path: str
    inputs: tuple
    outputs: tuple
    difference: float | None = None


class Exported(os.PathLike):
    """What an export wrote. It stands for the path of its graph wherever a path is taken:
    `ao.compile(exported)`.

    folder: that holds the graphs, and the tokenizer's and configuration's files beside them.
    graphs: by name, as in {"model": Graph(...)} or {"encoder_model": ..., "decoder_model": ...}.
    """

    def __init__(self, folder, graphs):
        self.folder, self.graphs = folder, graphs

    def __fspath__(self):
        if "model" not in self.graphs and len(self.graphs) > 1:
            names = ", ".join(self.graphs)
            raise ValueError(f"{self.folder} holds several graphs ({names}); take one: .graphs[NAME].path")
        return self.graphs.get("model", next(iter(self.graphs.values()))).path

    def __str__(self):
        return os.fspath(self)

    def __repr__(self):
        return f"Exported({self.folder!r}, {list(self.graphs)})"


def export(
    folder,
    output,
    *,
    cache=False,
    dtype=None,
    head=None,
    labels=None,
    untrained=False,
    inputs=None,
    tensors=None,
    replace=False,
    check=True,
    last_logits=False,
):
    """Exports a model to ONNX with dynamic sizes of batches and sequences.

    folder: of transformers or sentence-transformers; or the name of a model on the Hugging Face Hub that is
        in this machine's cache. Nothing is downloaded.
    output: the folder to make. It holds one graph, model.onnx, or several where a model is called in steps
        (encoder_model.onnx and decoder_model.onnx; text_model.onnx and vision_model.onnx beside a CLIP), and
        copies of the tokenizer's and configuration's files. After a failure there is no such folder.
    cache: decoders take past_key_values.N.key and .value and give present.N.key and .value; and position_ids,
        where they count tokens from 0 as every row's own.
    last_logits: with a cache: logits of the last position alone, which is all that generating text looks at.
    dtype: "float32", "float16" or "bfloat16"; by itself the one that the weights are stored in.
    head: a class of transformers, such as "AutoModelForTokenClassification" or "BertModel"; by itself the one
        that the configuration names.
    labels: how many classes a classifying head tells apart, if not as many as the configuration says.
    untrained: weights that the checkpoint lacks are made up, for an adapter to bring them: a classifier's, in
        most cases. Otherwise outputs that depend on them are left out, or refused if there are no others.
    inputs: names of forward's parameters that become inputs; by themselves those that the tokenizer or
        processor makes.
    tensors: where weights lie: "inside" the .onnx file or "outside", in model.onnx.data; by itself outside
        only where they would not fit (2 GB).
    replace: an export that lies at `output` is replaced; anything else is left alone.
    check: run the graphs in ONNX Runtime, if it is installed, at other sizes and compare with the model.

    Returns an Exported, which is also the path of the graph. What cannot be exported is a ValueError that
    says why.
    """
    try:
        from adapter_opt.exporting import run
    except ImportError as error:
        raise ValueError(
            f"export needs PyTorch and transformers 5 or later ({error}): pip install torch transformers "
            f"onnx onnxscript"
        ) from None
    return run.export(
        os.fspath(folder),
        os.fspath(output),
        run.Options(cache, dtype, head, labels, untrained, inputs, tensors, replace, check, last_logits),
    )
