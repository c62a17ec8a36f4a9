# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""An export from beginning to end: the model is loaded, its parts are traced, written to a folder of another
name, checked, and only then is the folder there."""

import contextlib
import dataclasses
import os
import shutil

from adapter_opt import temporary
from adapter_opt.exporting import Exported, parts, sentences, source, tracing
from adapter_opt.exporting.quiet import quiet


@dataclasses.dataclass(frozen=True)
class Options:
    """The keywords of ao.export."""

    cache: bool = False
    dtype: str | None = None
    head: str | None = None
    labels: int | None = None
    untrained: bool = False
    inputs: list | None = None
    tensors: str | None = None
    replace: bool = False
    check: bool = True
    last_logits: bool = False


def export(folder, output, options):
    """See ao.export."""
    if options.tensors not in (None, "inside", "outside"):
        raise ValueError(f"tensors '{options.tensors}': expected inside or outside")
    found = source.find(folder)
    _refuse_output(output, found, options.replace)
    with _new_folder(output, options.replace) as unfinished, quiet():
        model, made = _parts(found, folder, options)
        graphs = {}
        for part in made:
            path = os.path.join(unfinished, f"{part.name}.onnx")
            graph = tracing.write(model, part, path, options.tensors, options.check)
            graphs[part.name] = dataclasses.replace(graph, path=os.path.join(output, f"{part.name}.onnx"))
        source.copy_files(found, unfinished)
    return Exported(output, graphs)


def _parts(folder, name, options):
    modules = None if options.head else sentences.modules_of(folder)
    if modules is None:
        model = source.load(folder, name, options)
        return model, parts.of_model(model, options)
    if options.cache or options.inputs:
        raise ValueError(f"{name}: is of sentence-transformers, which have no cache and inputs of their own")
    path = sentences.transformer_folder(modules, name)
    model = source.load(path, name, dataclasses.replace(options, head="AutoModel"))
    return model, sentences.parts(model, modules)


def _refuse_output(output, folder, replace):
    if output.endswith((".onnx", ".adapt")):
        raise ValueError(f"{output}: export makes a folder; the graph is model.onnx in it")
    if not os.path.lexists(output):
        return
    if os.path.realpath(output) == os.path.realpath(folder):
        raise ValueError(f"{output}: is the model's own folder; choose another for the export")
    if not os.path.isdir(output) or os.path.islink(output):
        raise ValueError(f"{output}: exists and is no folder")
    entries = list(os.scandir(output))
    if not entries:
        return
    if not replace:
        raise ValueError(f"{output}: exists; choose another folder or ask for it to be replaced")
    # An export is flat and holds graphs. Whatever else lies there is not thrown away.
    if not any(each.name.endswith(".onnx") for each in entries) or any(each.is_dir() for each in entries):
        raise ValueError(f"{output}: is no export, and so it is not replaced")


@contextlib.contextmanager
def _new_folder(output, replace):
    """A folder beside `output` that takes its name if all goes well, and is gone if not."""
    output = os.path.abspath(output)
    parent, name = os.path.split(output)
    os.makedirs(parent, exist_ok=True)
    new = temporary.Folder(f".{name}.new", parent)
    unfinished, old = new.path, f"{new.path}.old"
    os.chmod(unfinished, 0o777 & ~temporary.umask())
    try:
        yield unfinished
        if replace and os.path.isdir(output):
            os.rename(output, old)
        os.rename(unfinished, output)  # over an empty folder, too
    except BaseException:
        if os.path.isdir(old) and not os.path.lexists(output):
            os.rename(old, output)
        raise
    finally:
        new.remove()
        shutil.rmtree(old, ignore_errors=True)
