# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The compiler from Python: merging, checking and compiling, by the adapter-opt command.

The command is found beside the package (a build's bin/ folder), by the environment variable ADAPTER_OPT_BIN
(a folder), or on the path. What it refuses is a ValueError with its message.
"""

import dataclasses
import json
import os
import pathlib
import shutil
import subprocess
import tempfile

from adapter_opt.runtime import Model


@dataclasses.dataclass(frozen=True)
class Adapter:
    """An adapter to compile in.

    path: a PEFT folder or its safetensors file.
    time: when it is bound, one of "build", "switch", "call", "row" and "row-token"; see
        docs/binding-times.md.
    scale: multiplies the adapter's own scale.
    bind: properties that each call may set, of "scale" and "rank"; at "call" and "row" only.
    task: of an adapter of several tasks, the one that is meant; at "build" one must be.
    """

    path: str | os.PathLike
    time: str = "build"
    scale: float = 1.0
    bind: tuple[str, ...] = ()
    task: int | None = None


@dataclasses.dataclass(frozen=True)
class Slot:
    """Room for adapters that arrive later, by Model.load_adapter.

    forms: of their updates, of "lora", "dora", "embedding", "rows", "add" and "replace", joined by "+".
    time: when they are bound, one of "load", "switch", "call", "row" and "row-token".
    rank: the highest that is taken; None means any.
    modules: globs over the paths of modules, or over their ends; none means all modules.
    bind: properties that each call may set, of "scale" and "rank".
    """

    forms: str
    time: str = "row"
    rank: int | None = None
    modules: tuple[str, ...] = ()
    bind: tuple[str, ...] = ()


def _command():
    folders = [pathlib.Path(__file__).resolve().parents[2] / "bin"]
    if "ADAPTER_OPT_BIN" in os.environ:
        folders.insert(0, pathlib.Path(os.environ["ADAPTER_OPT_BIN"]))
    for folder in folders:
        if (folder / "adapter-opt").is_file():
            return str(folder / "adapter-opt")
    found = shutil.which("adapter-opt")
    if not found:
        raise FileNotFoundError("adapter-opt is neither beside the package nor on the path")
    return found


def run(*arguments):
    """Runs adapter-opt; returns what it prints."""
    done = subprocess.run([_command(), *map(os.fspath, arguments)], capture_output=True, text=True)
    if done.returncode:
        lines = [line.removeprefix("adapter-opt: error: ") for line in done.stderr.splitlines()]
        raise ValueError("\n".join(lines) or f"adapter-opt ended with {done.returncode}")
    return done.stdout


def _slot_arguments(slots):
    arguments = []
    for name, slot in (slots or {}).items():
        rank = "" if slot.rank is None else f",rank={slot.rank}"
        modules = f",modules={','.join(slot.modules)}" if slot.modules else ""
        arguments += ["--adapter-slot", f"{name}:{slot.forms}{rank}{modules}@{slot.time}"]
        arguments += [f"--bind={name}.{each}@call" for each in slot.bind]
    return arguments


def _adapter_arguments(adapters):
    arguments = []
    for name, adapter in (adapters or {}).items():
        if not isinstance(adapter, Adapter):
            adapter = Adapter(adapter)
        scale = "" if adapter.scale == 1.0 else f":scale={adapter.scale!r}"
        arguments += ["--adapter", f"{name}={os.fspath(adapter.path)}@{adapter.time}{scale}"]
        arguments += [f"--bind={name}.{each}@call" for each in adapter.bind]
        if adapter.task is not None:
            arguments.append(f"--bind={name}.task={adapter.task}")
    return arguments


def _claim_arguments(
    ignore_missing=(),
    renamed=None,
    checkpoint=None,
    no_base=False,
    allow_other_base=False,
    require_proof=False,
):
    """How adapters find their modules (docs/attach.md).

    ignore_missing: globs of modules that the graph is known not to hold.
    renamed: a dict of paths of modules, or of their first names, as the adapters and as the graph have them.
    checkpoint: the base model's checkpoint, a .safetensors file or a folder, with which claims are compared;
        by itself the one that an adapter names is, where it is on this machine, unless no_base.
    allow_other_base: attach to a graph that holds other numbers than the checkpoint.
    require_proof: refuse what the checkpoint does not prove.
    """
    arguments = [f"--ignore-missing={glob}" for glob in ignore_missing]
    arguments += [f"--map={old}={new}" for old, new in (renamed or {}).items()]
    if checkpoint is not None:
        arguments.append(f"--base={os.fspath(checkpoint)}")
    flags = {"--no-base": no_base, "--allow-other-base": allow_other_base, "--require-proof": require_proof}
    return arguments + [flag for flag, wanted in flags.items() if wanted]


def compile(base, adapters=None, target="cpu:native", threads=0, slots=None, **claims):
    """Compiles an ONNX file with its adapters (a dict of Adapter or paths by name) and room for more (a dict
    of Slot by name); returns the model, open.

    Its method save(path) keeps the artifact. target is adapter-opt's option, claims are the keywords
    ignore_missing, renamed, checkpoint, no_base, allow_other_base and require_proof: how adapters find
    their modules (docs/attach.md).
    """
    folder = tempfile.TemporaryDirectory(prefix="adapter-opt-")
    artifact = os.path.join(folder.name, "model.adapt")
    arguments = [*_adapter_arguments(adapters), *_slot_arguments(slots), *_claim_arguments(**claims)]
    run(base, *arguments, f"--target={target}", "-o", artifact)
    return CompiledModel(folder, artifact, threads)


class CompiledModel(Model):
    """A model whose artifact lies in a temporary folder until it is saved."""

    def __init__(self, folder, artifact, threads):
        super().__init__(artifact, threads)
        self._folder, self._artifact = folder, artifact

    def save(self, path):
        """Copies the artifact to the folder `path`, which must not exist."""
        shutil.copytree(self._artifact, path)


def merge(base, adapters, output, **claims):
    """Writes `output`, an ONNX file with the adapters (a dict of paths or Adapter by name) folded in.

    claims: as for compile.
    """
    run(base, *_adapter_arguments(adapters), *_claim_arguments(**claims), "-o", output)


def check(base, adapters, **claims):
    """Where each update of the adapters goes and what proves it, as a dict; a ValueError where something is
    left over.

    claims: as for compile.
    """
    return json.loads(
        run(base, *_adapter_arguments(adapters), *_claim_arguments(**claims), "--check", "--report=json")
    )
