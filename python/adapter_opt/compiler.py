# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The compiler from Python: merging, checking and compiling, within this process.

What the compiler refuses is a ValueError with its message, one line for each fault; a file that is not there
a FileNotFoundError; what does not fit into memory a MemoryError. Its warnings are Python's.
"""

import collections.abc
import dataclasses
import json
import os
import warnings
import weakref

from adapter_opt import _compiler, arguments, temporary
from adapter_opt.runtime import Model

ADAPTER_TIMES = ("build", "switch", "call", "row", "row-token", "auto")
SLOT_TIMES = ("load", "switch", "call", "row", "row-token")
PROPERTIES = ("scale", "rank", "task")


def _check_bind(bind):
    for each in arguments.texts("bind", bind):
        if each not in PROPERTIES:
            raise ValueError(f"bind must be of {', '.join(PROPERTIES)}, not '{each}'")


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

    def __post_init__(self):
        arguments.path("path", self.path, exists=False)
        arguments.one_of("time", self.time, ADAPTER_TIMES)
        arguments.number("scale", self.scale)
        _check_bind(self.bind)
        if self.task is not None:
            arguments.whole("task", self.task)


@dataclasses.dataclass(frozen=True)
class Combination:
    """An adapter made of others among those to compile in, which then do not act by themselves.

    method: one of docs/combining.md, "ties_svd" say.
    adapters: weights by the names of adapters, or their names alone, for weights of 1.
    settings: of the method, as in {"density": 0.3, "rank": 8}.
    time, scale, bind: as of an Adapter.
    """

    method: str
    adapters: dict[str, float] | tuple[str, ...]
    settings: dict[str, float | int | str] = dataclasses.field(default_factory=dict)
    time: str = "build"
    scale: float = 1.0
    bind: tuple[str, ...] = ()

    def __post_init__(self):
        arguments.text("method", self.method)
        if not isinstance(self.adapters, collections.abc.Mapping):
            arguments.texts("adapters", self.adapters)
        for name, weight in self._weights().items():
            arguments.number(f"the weight of '{name}'", weight)
        for name, value in _checked("settings", self.settings).items():
            if not isinstance(value, str):
                arguments.number(f"the setting {name}", value)
        arguments.one_of("time", self.time, ADAPTER_TIMES)
        arguments.number("scale", self.scale)
        _check_bind(self.bind)

    def _weights(self):
        if isinstance(self.adapters, collections.abc.Mapping):
            return _checked("adapters", self.adapters)
        return dict.fromkeys(self.adapters, 1.0)

    def _text(self):
        words = [f"{name}={float(weight)!r}" for name, weight in self._weights().items()]
        words += [f"{name}={value}" for name, value in self.settings.items()]
        scale = "" if self.scale == 1.0 else f":scale={self.scale!r}"
        return f"{self.method}:{','.join(words)}@{self.time}{scale}"


@dataclasses.dataclass(frozen=True)
class Slot:
    """Room for adapters that arrive later, by Model.load_adapter.

    forms: of their updates, as in "lora+dora+replace": names of methods, your own too, joined by "+".
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

    def __post_init__(self):
        arguments.text("forms", self.forms)
        arguments.one_of("time", self.time, SLOT_TIMES)
        if self.rank is not None:
            arguments.whole("rank", self.rank, least=1)
        arguments.texts("modules", self.modules)
        _check_bind(self.bind)


def run(*words, needed=(), folder=""):
    """Runs the compiler with the arguments of the command adapter-opt; returns what it prints.

    needed: paths of which one that does not exist is a FileNotFoundError, where the run fails.
    folder: removed, with all that is in it, unless the run succeeds.

    Other threads run meanwhile, and may compile, too. Ctrl-C calls the run off: KeyboardInterrupt is raised
    at once, and a run that cannot end as fast cleans up on its own.
    """
    encoded = [os.fsencode(word) for word in words]
    status, *texts = _compiler.run(encoded, os.fsencode(folder))
    message, output, said = (text.decode("utf-8", "replace") for text in texts)
    for line in said.splitlines():
        warnings.warn(line, stacklevel=3)
    if status == _compiler.OK:
        return output
    message = message or "the compiler failed without a word"
    if status == _compiler.INVALID and not all(os.path.exists(path) for path in needed):
        raise FileNotFoundError(message)
    kinds = {_compiler.INVALID: ValueError, _compiler.OUT_OF_MEMORY: MemoryError}
    raise kinds.get(status, RuntimeError)(message)


def _slot_arguments(slots):
    words = []
    for name, slot in _checked("slots", slots).items():
        if not isinstance(slot, Slot):
            raise TypeError(f"slot '{name}' must be an ao.Slot, not {type(slot).__name__}")
        rank = "" if slot.rank is None else f",rank={slot.rank}"
        modules = f",modules={','.join(slot.modules)}" if slot.modules else ""
        words += ["--adapter-slot", f"{name}:{slot.forms}{rank}{modules}@{slot.time}"]
        words += [f"--bind={name}.{each}@call" for each in slot.bind]
    return words


def _checked(name, adapters):
    """A dict by name, or nothing."""
    if adapters is not None and not isinstance(adapters, collections.abc.Mapping):
        raise TypeError(f"{name} must be a dict by name, not {type(adapters).__name__}")
    return {arguments.text(f"a name in {name}", key): value for key, value in (adapters or {}).items()}


def _adapter_arguments(adapters, combine=None):
    words = []
    for name, adapter in _checked("adapters", adapters).items():
        if not isinstance(adapter, Adapter):
            adapter = Adapter(adapter)
        scale = "" if adapter.scale == 1.0 else f":scale={adapter.scale!r}"
        words += ["--adapter", f"{name}={os.fspath(adapter.path)}@{adapter.time}{scale}"]
        words += [f"--bind={name}.{each}@call" for each in adapter.bind]
        if adapter.task is not None:
            words.append(f"--bind={name}.task={adapter.task}")
    for name, combination in _checked("combine", combine).items():
        if not isinstance(combination, Combination):
            raise TypeError(f"'{name}' must be an ao.Combination, not {type(combination).__name__}")
        words += ["--combine", f"{name}={combination._text()}"]
        words += [f"--bind={name}.{each}@call" for each in combination.bind]
    return words


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
    words = [f"--ignore-missing={glob}" for glob in ignore_missing]
    words += [f"--map={old}={new}" for old, new in (renamed or {}).items()]
    if checkpoint is not None:
        words.append(f"--base={os.fspath(checkpoint)}")
    flags = {"--no-base": no_base, "--allow-other-base": allow_other_base, "--require-proof": require_proof}
    return words + [flag for flag, wanted in flags.items() if wanted]


def _form_arguments(forms):
    if isinstance(forms, (str, bytes, os.PathLike)):
        raise TypeError("forms must be a list of paths")
    return [arguments.path("a file of forms", file, exists=False) for file in forms]


def _needed(base, adapters, claims):
    """The paths that must exist."""
    paths = [
        arguments.path("base", base, exists=False),
        *(each.path if isinstance(each, Adapter) else each for each in (adapters or {}).values()),
    ]
    return [*paths, claims["checkpoint"]] if claims.get("checkpoint") is not None else paths


def compile(
    base: str | os.PathLike,
    adapters: dict[str, Adapter | str | os.PathLike] | None = None,
    target: str = "cpu:native",
    threads: int = 0,
    slots: dict[str, Slot] | None = None,
    forms=(),
    stateful: bool = False,
    weights: str | None = None,
    activations: str | None = None,
    combine: dict[str, Combination] | None = None,
    **claims,
) -> "CompiledModel":
    """Compiles an ONNX file with its adapters (a dict of Adapter or paths by name) and room for more (a dict
    of Slot by name); returns the model, open. forms are files with definitions of methods of your own
    (docs/own-method.md), combine is a dict by name of adapters that are made of others (docs/combining.md).

    stateful: the graph's caches are state, for Model.session and ao.generate (docs/text.md).
    weights: how weights of products are stored, as in "bf16", "int8" or "int4:group=64"; activations: what
    they are multiplied with, "int8", "bf16" or "f32" (docs/text.md).

    Its method save(path) keeps the artifact. target is adapter-opt's option; threads work on one call of the
    model, 0 means as many as there are processors. claims are the keywords ignore_missing, renamed,
    checkpoint, no_base, allow_other_base and require_proof: how adapters find their modules (docs/attach.md).
    """
    words = [*_adapter_arguments(adapters, combine), *_slot_arguments(slots), *_claim_arguments(**claims)]
    files = _form_arguments(forms)
    words += [f"--forms={file}" for file in files]
    needed = [*_needed(base, adapters, claims), *files]
    words += ["--stateful"] if arguments.flag("stateful", stateful) else []
    for option, value in (("weights", weights), ("activations", activations)):
        words += [] if value is None else [f"--{option}={arguments.text(option, value)}"]
    arguments.whole("threads", threads)
    arguments.text("target", target)
    folder = temporary.Folder()
    artifact = os.path.join(folder.path, "model.adapt")
    try:
        run(base, *words, f"--target={target}", "-o", artifact, needed=needed, folder=folder.path)
        return CompiledModel(folder, artifact, threads)
    except BaseException:
        folder.remove()
        raise


class CompiledModel(Model):
    """A model whose artifact lies in a temporary folder until it is saved."""

    def __init__(self, folder, artifact, threads):
        super().__init__(artifact, threads)
        weakref.finalize(self, folder.remove)


def merge(
    base: str | os.PathLike,
    adapters: dict[str, Adapter | str | os.PathLike],
    output: str | os.PathLike,
    forms=(),
    combine: dict[str, Combination] | None = None,
    **claims,
) -> None:
    """Writes `output`, an ONNX file with the adapters (a dict of paths or Adapter by name) folded in. A file
    of that name is replaced once the new one is complete.

    forms, combine and claims: as for compile.
    """
    words = [*_adapter_arguments(adapters, combine), *_claim_arguments(**claims)]
    files = _form_arguments(forms)
    words += [f"--forms={file}" for file in files]
    needed = [*_needed(base, adapters, claims), *files, os.path.dirname(os.path.abspath(output))]
    run(base, *words, "-o", output, needed=needed)


def check(
    base: str | os.PathLike,
    adapters: dict[str, Adapter | str | os.PathLike],
    forms=(),
    combine: dict[str, Combination] | None = None,
    **claims,
) -> dict:
    """Where each update of the adapters goes and what proves it, as a dict; a ValueError where something is
    left over.

    forms, combine and claims: as for compile.
    """
    words = [*_adapter_arguments(adapters, combine), *_claim_arguments(**claims)]
    files = _form_arguments(forms)
    words += [f"--forms={file}" for file in files]
    needed = [*_needed(base, adapters, claims), *files]
    return json.loads(run(base, *words, "--check", "--report=json", needed=needed))
