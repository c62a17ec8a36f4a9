# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What is exported: the folder, the class of the model, its weights and its preprocessors."""

import dataclasses
import fnmatch
import json
import os
import shutil

import torch
import transformers

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
# What lies beside a model and is of no use beside a graph: weights in any format, programs, the model's card.
_LEFT_BEHIND = (
    "*.safetensors *.bin *.pt *.pth *.h5 *.msgpack *.ot *.gguf *.onnx *.onnx.data *.onnx_data *.ckpt *.pkl "
    "*.index.json *.py *.md .*"
).split()


@dataclasses.dataclass
class Source:
    """A model in memory and what belongs to it.

    name: for messages. folder: of its files. missing: names of weights that its checkpoint lacks.
    """

    name: str
    folder: str
    model: torch.nn.Module
    missing: tuple


def find(folder):
    """The local folder of a model: a path, or a name on the Hub that is in this machine's cache."""
    if os.path.isdir(folder):
        return folder
    if os.path.exists(folder):
        raise ValueError(f"{folder}: is a file; export takes a model's folder")
    if folder.count("/") > 1 or folder.startswith((".", "/", "~")):
        raise ValueError(f"{folder}: no such folder")
    from huggingface_hub import snapshot_download
    from huggingface_hub.utils import HFValidationError, LocalEntryNotFoundError

    try:
        return snapshot_download(folder, local_files_only=True)
    except (HFValidationError, LocalEntryNotFoundError, OSError):
        raise ValueError(
            f"{folder}: no such folder, and no model of that name in this machine's Hugging Face cache; "
            f"nothing is downloaded (huggingface-cli download {folder} does)"
        ) from None


def read_json(folder, name):
    """The contents of a JSON file, or None where there is no such file."""
    path = os.path.join(folder, name)
    if not os.path.isfile(path):
        return None
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except ValueError as error:
        raise ValueError(f"{path}: is no JSON: {error}") from None


def _configuration(folder, name):
    raw = read_json(folder, "config.json")
    if raw is None:
        adapter = read_json(folder, "adapter_config.json")
        if adapter is not None:
            base = adapter.get("base_model_name_or_path") or "its base model"
            raise ValueError(f"{name}: is an adapter; export the model that it is for ({base})")
        raise ValueError(f"{name}: holds no config.json, so it is no model's folder")
    if raw.get("quantization_config"):
        raise ValueError(
            f"{name}: its weights are quantised, which cannot be exported; export the model unquantised"
        )
    try:
        return transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
    except Exception as error:
        if raw.get("auto_map"):
            raise ValueError(f"{name}: its model is a program of its own, which is not run") from None
        kind = raw.get("model_type")
        known = f"model_type '{kind}'" if kind else "a model without a model_type"
        raise ValueError(
            f"{name}: transformers {transformers.__version__} cannot read {known}: {short(error)}"
        ) from None


def _class(config, head, name):
    wanted = head or next(iter(config.architectures or ()), "AutoModel")
    found = getattr(transformers, wanted, None)
    if found is None or not hasattr(found, "from_pretrained"):
        where = "is asked for" if head else "is named by config.json"
        raise ValueError(
            f"{name}: class {wanted} {where}, and transformers {transformers.__version__} has none"
        )
    return found


def short(error):
    """The first line of an error that came from elsewhere, without what only announces the next one."""
    text = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    text = " ".join(text.split())
    if text.endswith(":") and ". " in text:
        text = text[: text.rindex(". ")]
    return text if len(text) <= 240 else text[:237] + "..."


def load(folder, name, options):
    """The model of a folder, in evaluation mode, as the options of ao.export want it."""
    dtype, head = options.dtype, options.head
    if dtype is not None and dtype not in DTYPES:
        raise ValueError(f"dtype '{dtype}': expected one of {', '.join(DTYPES)}")
    config = _configuration(folder, name)
    if options.labels is not None:
        config.num_labels = options.labels
    found = _class(config, head, name)
    try:
        # Tensors of other shapes are refused below, by name.
        model, info = found.from_pretrained(
            folder,
            config=config,
            dtype=DTYPES.get(dtype, "auto"),
            local_files_only=True,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    except Exception as error:
        raise ValueError(f"{name}: transformers cannot load it as {found.__name__}: {short(error)}") from None
    for key, there, needed in info.get("mismatched_keys") or ():
        raise ValueError(
            f"{name}: {key} has shape {list(there)}, and {list(needed)} is what config.json says"
        )
    missing = tuple(sorted(info.get("missing_keys") or ()))
    _fill(model, missing, options.untrained)
    if getattr(model, "_can_set_experts_implementation", lambda: False)():
        model.set_experts_implementation(
            "batched_mm"
        )  # the others are no operators of ONNX (docs/experts.md)
    return Source(name, folder, model.eval(), () if options.untrained else missing)


def _fill(model, missing, untrained):
    """Fills weights that the checkpoint lacks: with NaN, so that outputs which depend on them are told from
    those that do not; or with small numbers, the same on every run and no two vectors alike, so that no
    exporter takes one for another or a bias of zeros for none."""
    tensors = dict(model.named_parameters()) | dict(model.named_buffers())
    generator = torch.Generator().manual_seed(0)
    for name in missing:
        if name in tensors and tensors[name].is_floating_point():
            numbers = torch.randn(tensors[name].shape, generator=generator) * 0.02
            tensors[name].data.copy_(numbers if untrained else numbers * float("nan"))


def tokenizer_names(folder):
    """What the folder's tokenizer makes, as ["input_ids", ...]; None where there is no tokenizer."""
    files = os.listdir(folder)
    if not any(name.startswith(("tokenizer", "vocab", "spiece", "sentencepiece")) for name in files):
        return None
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception:
        return None  # a tokenizer that needs a package that is not here; the signature has to do
    return list(tokenizer.model_input_names)


def preprocessed(folder, data):
    """What the folder's image processor or feature extractor makes of `data` (images or sounds as NumPy
    arrays), as tensors by name; None where there is none, or it is for something else."""
    if not os.path.isfile(os.path.join(folder, "preprocessor_config.json")):
        return None
    for auto in (transformers.AutoFeatureExtractor, transformers.AutoImageProcessor):
        try:
            processor = auto.from_pretrained(folder, local_files_only=True)
            rate = {"sampling_rate": processor.sampling_rate} if hasattr(processor, "sampling_rate") else {}
            return dict(processor(data, return_tensors="pt", **rate))
        except Exception:
            continue  # the other kind, or one that needs a package that is not here
    return None


def copy_files(folder, output):
    """Copies what a graph's user needs of a model's folder: configuration, tokenizer, chat template,
    processors."""
    for entry in sorted(os.listdir(folder)):
        path = os.path.join(folder, entry)
        if os.path.isfile(path) and not any(fnmatch.fnmatch(entry, each) for each in _LEFT_BEHIND):
            shutil.copyfile(path, os.path.join(output, entry))
