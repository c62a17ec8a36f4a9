# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What arguments must be, in the caller's terms: a wrong type is a TypeError, a wrong value a ValueError."""

import errno
import numbers
import os


def _named(value):
    return "None" if value is None else f"{type(value).__name__} {value!r}"


def whole(name, value, least=0):
    """A whole number that is not below `least`, as an int."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} must be a whole number, not {_named(value)}")
    if value < least or value >= 1 << 63:
        raise ValueError(f"{name} must be a whole number from {least} on, not {value}")
    return int(value)


def number(name, value):
    """A number, as a float."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a number, not {_named(value)}")
    return float(value)


def text(name, value, optional=False):
    """A str, or None where that may be."""
    if not isinstance(value, str) and not (optional and value is None):
        raise TypeError(f"{name} must be a str{' or None' if optional else ''}, not {_named(value)}")
    return value


def texts(name, value):
    """A tuple or list of str."""
    if not isinstance(value, (tuple, list)) or not all(isinstance(each, str) for each in value):
        raise TypeError(f"{name} must be a tuple of str, not {_named(value)}")
    return value


def flag(name, value):
    """True or False."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, not {_named(value)}")
    return value


def path(name, value, exists=True):
    """A path as a str; a FileNotFoundError where nothing is there."""
    if not isinstance(value, (str, os.PathLike)):
        raise TypeError(f"{name} must be a path, a str or os.PathLike, not {_named(value)}")
    value = os.fsdecode(os.fspath(value))
    if exists and not os.path.exists(value):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), value)
    return value


def one_of(name, value, words):
    """One of some words."""
    if text(name, value) not in words:
        raise ValueError(f"{name} must be one of {', '.join(words)}, not '{value}'")
    return value
