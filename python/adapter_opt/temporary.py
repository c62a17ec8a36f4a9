# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Folders for what is not complete or not saved yet. Those of a killed process the next one removes."""

import fcntl
import os
import pathlib
import re
import shutil
import tempfile


class Folder:
    """A new folder with a name that says whose it is, STEM-PROCESS-RANDOM; removed by remove().

    parent: where; None means the folder of the system for such things.
    """

    def __init__(self, stem="adapter-opt", parent=None):
        parent = parent or tempfile.gettempdir()
        _remove_stale(parent, stem)
        self.path = tempfile.mkdtemp(prefix=f"{stem}-{os.getpid()}-", dir=parent)
        # Held while the process lives: numbers of processes mean nothing to other containers.
        self._lock = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def remove(self):
        shutil.rmtree(self.path, ignore_errors=True)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def umask():
    """What new files and folders are not given; it can only be asked for by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _is_dead(path, process):
    try:
        os.kill(process, 0)
        return False
    except ProcessLookupError:
        pass
    except OSError:  # somebody else's
        return False
    try:
        lock = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except OSError:
        return False
    finally:
        os.close(lock)


def _remove_stale(folder, stem):
    for path in pathlib.Path(folder).iterdir():
        named = re.match(re.escape(stem) + r"-(\d+)-", path.name)
        if named and _is_dead(path, int(named[1])):
            shutil.rmtree(path, ignore_errors=True)
