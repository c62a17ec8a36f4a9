# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Builds the wheel of adapter-opt (pyproject.toml): scikit-build-core, and a word to pip about the runtime.

adapter-opt needs adapter-opt-runtime of its own version, which may be on no index. So pip, which asks a
checkout what it needs before it builds it, is given the folder of the runtime beside, and builds that too.
The wheel names the version alone: other machines have no such folder.
"""

import pathlib
import re

from scikit_build_core import build
from scikit_build_core.build import *  # noqa: F403


def prepare_metadata_for_build_wheel(metadata_directory, config_settings=None):
    name = build.prepare_metadata_for_build_wheel(metadata_directory, config_settings)
    checkout = pathlib.Path.cwd()  # by the standard of backends
    # A source distribution comes from where the runtime is too, and on an index may not name folders.
    if not (checkout / "PKG-INFO").exists():
        path = pathlib.Path(metadata_directory, name, "METADATA")
        runtime = (checkout / "python" / "runtime").as_uri()
        need = rb"^(Requires-Dist: adapter-opt-runtime)==.*$"
        text, count = re.subn(need, rb"\1 @ " + runtime.encode(), path.read_bytes(), count=1, flags=re.M)
        assert count == 1, f"adapter-opt does not need its runtime: {path}"
        path.write_bytes(text)
    return name


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    # Without the metadata from above, which scikit-build-core would hold against the wheel's.
    return build.build_wheel(wheel_directory, config_settings)
