# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Runs adapter-run in several processes, under mpirun."""

import os
import shutil
import subprocess

import numpy as np
import product
import pytest

# Open MPI refuses root, as which containers run, unless both are set.
ENVIRONMENT = {**os.environ, "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
needs_mpirun = pytest.mark.skipif(
    not shutil.which("mpirun"), reason="no mpirun: scripts/setup.sh installs it"
)


def command(ranks, *arguments):
    """More processes than processors are fine."""
    return [
        "mpirun",
        "--oversubscribe",
        "-n",
        str(ranks),
        str(product.BIN / "adapter-run"),
        *map(str, arguments),
    ]


def call(ranks, *arguments, timeout=120):
    """The finished mpirun; a hang fails the test."""
    return subprocess.run(
        command(ranks, *arguments), capture_output=True, text=True, timeout=timeout, env=ENVIRONMENT
    )


def inputs_of(feed, folder, name="input"):
    """--input arguments for arrays by name."""
    arguments = []
    for key, array in feed.items():
        np.save(folder / f"{name}-{key}.npy", array)
        arguments += ["--input", f"{key}={folder / name}-{key}.npy"]
    return arguments


def run(ranks, artifact, feed, folder, *arguments):
    """Outputs by name."""
    output = folder / "outputs.npz"
    output.unlink(missing_ok=True)
    done = call(ranks, artifact, *inputs_of(feed, folder), "--output", output, *arguments)
    assert done.returncode == 0, f"mpirun exited with {done.returncode}: {done.stderr[-2000:]}"
    return dict(np.load(output))
