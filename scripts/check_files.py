#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Checks every tracked file: length, licence line, no paths of the author's machine.

A source file aims at 300 lines; more is a warning, more than 500 (150 for headers outside include/ is a
warning) an error. Exits with 1 if there is an error.
"""

import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
AIM, LIMIT, HEADER_AIM = 300, 500, 180
SOURCES = {".cpp", ".h", ".c", ".td", ".py"}
# Files whose first lines carry the licence.
LICENSED = SOURCES | {".proto"}
SPDX = "SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception"
# Folders of people and of build machines; system folders such as /usr are no secret.
HOME = re.compile(rb"/(?:home|root|work|Users|tmp|mnt|builds|workspace)/[A-Za-z0-9_.]")
BINARY = {".npz", ".npy", ".onnx", ".safetensors", ".png"}


def tracked():
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True)
    return [ROOT / name for name in done.stdout.split("\0") if name]


def check(path):
    """(errors, warnings) about one file."""
    name, content = path.relative_to(ROOT), path.read_bytes()
    errors, warnings = [], []
    if path.suffix in SOURCES:
        lines = content.count(b"\n")
        aim = HEADER_AIM if path.suffix == ".h" else AIM
        if lines > LIMIT:
            errors.append(f"{name}: {lines} lines; the limit is {LIMIT}")
        elif lines > aim:
            warnings.append(f"{name}: {lines} lines; aim at {aim}")
    if path.suffix in LICENSED and SPDX not in "".join(content.decode().splitlines(True)[:3]):
        errors.append(f"{name}: no line '{SPDX}' at the top")
    if path.suffix not in BINARY:
        for number, line in enumerate(content.splitlines(), 1):
            if path != pathlib.Path(__file__).resolve() and HOME.search(line):
                errors.append(f"{name}:{number}: a path of one machine")
            if line.rstrip() != line and path.suffix not in {".md", ".test"}:
                errors.append(f"{name}:{number}: white space at the end")
    elif HOME.search(content):
        errors.append(f"{name}: holds a path of one machine")
    return errors, warnings


def main():
    errors, warnings = [], []
    for path in tracked():
        if path.is_file():
            found = check(path)
            errors += found[0]
            warnings += found[1]
    for line in warnings:
        print(f"warning: {line}")
    for line in errors:
        print(f"error: {line}", file=sys.stderr)
    sys.exit(1 if errors else 0)


if __name__ == "__main__":
    main()
