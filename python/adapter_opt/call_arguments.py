# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What calls of models and of sessions are given, as the runtime takes it."""

import collections.abc

import numpy as np

from adapter_opt import arguments


def properties(settings):
    """Pairs of the properties that a call sets, in the order given."""
    if settings is not None and not isinstance(settings, collections.abc.Mapping):
        raise TypeError(f"settings must be a dict of numbers by name, not {type(settings).__name__}")
    return [
        (arguments.text("a setting's name", name), arguments.number(f"setting {name}", value))
        for name, value in (settings or {}).items()
    ]


def rows(adapters):
    """What acts on all rows, what on each, and the tokens of a row that this is for."""
    if adapters is None:
        return None, None, 0
    if isinstance(adapters, (str, collections.abc.Mapping)):
        return mix(adapters), None, 0
    if not isinstance(adapters, (list, tuple)):
        raise TypeError(
            f"adapters must be a name, a dict of shares, a list with one for each row or None, not "
            f"{type(adapters).__name__}"
        )
    each, tokens = list(adapters), 0
    if each and all(isinstance(row, (list, tuple)) for row in each):
        tokens = len(each[0])
        if any(len(row) != tokens for row in each) or not tokens:
            raise ValueError("adapters by token: the rows must have the same number of tokens")
        each = [token for row in each for token in row]
    return None, [mix(row) for row in each], tokens


def mix(adapters):
    """The adapters of a row as the runtime reads them: "0.7*fr+0.3*sql"."""
    if not isinstance(adapters, collections.abc.Mapping):
        return arguments.text("an adapter of a row", adapters, optional=True)
    if not adapters:
        return None
    shares = {
        arguments.text("an adapter's name", name): arguments.number(f"the share of {name}", share)
        for name, share in adapters.items()
    }
    return "+".join(f"{share!r}*{name}" for name, share in shares.items())


def array(name, value):
    """The value as a contiguous array on the CPU that the extension can view."""
    if isinstance(value, np.ndarray) or not hasattr(value, "__dlpack__"):
        made = np.asarray(value)
        if made.dtype.kind not in "biufc":
            raise TypeError(f"input '{name}' must be an array of numbers, not of {made.dtype}")
        native = made.astype(made.dtype.newbyteorder("="), copy=False)
        return native if native.flags.c_contiguous else np.ascontiguousarray(native)
    # torch refuses to export tensors that require a gradient.
    value = value.detach() if hasattr(value, "detach") else value
    if value.__dlpack_device__()[0] != 1:
        raise TypeError(f"input '{name}' must be in the memory of the processor, not of another device")
    return value.contiguous() if hasattr(value, "contiguous") else value


def check_names(given, names, these_are):
    """A ValueError where inputs are unknown or missing; these_are comes before the list of all of them."""
    unknown = [name for name in given if name not in names]
    missing = [name for name in names if name not in given]
    if unknown or missing:
        parts = [f"there is no input {', '.join(map(repr, unknown))}"] * bool(unknown)
        parts += [f"input {', '.join(map(repr, missing))} is missing"] * bool(missing)
        raise ValueError(f"{'; '.join(parts)}; {these_are} {', '.join(names)}")


def widened(bits):
    """bfloat16, which NumPy lacks and which comes as its bits, as float32."""
    return (bits.astype(np.uint32) << 16).view(np.float32)
