# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What a method is, stands in its definition and in what reads its checkpoints: no other code names one."""

import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Definitions, what reads and writes checkpoints of methods, and texts for people.
NAMING = ("lib/Forms/", "lib/Checkpoint/", "lib/Diff/", "lib/Pipelines/Help.cpp", "lib/Pipelines/Options.cpp")
STRING = re.compile(r'"((?:[^"\\\n]|\\.)*)"')
# English words are names only where a form is compared with them.
WORDS = {"add", "replace", "rows", "sparse", "overwrite"}
COMPARED = re.compile(r'[fF]orm\w*(?:\(\))?\s*(?:==|!=|\.starts_with\(|\.rfind\()\s*"([^"]*)"')


def names():
    found = set()
    for text in (ROOT / "lib" / "Forms" / "Library").glob("*.mlir"):
        found |= set(re.findall(r"^adapter\.form @([\w]+)", text.read_text(), re.MULTILINE))
        found |= set(re.findall(r'optional "([^"]+)"', text.read_text()))
    return found


def sources():
    for folder in ("lib", "dialects", "tools", "include", "python"):
        for path in sorted((ROOT / folder).rglob("*")):
            relative = path.relative_to(ROOT).as_posix()
            # Descriptions of ops hold examples.
            if path.suffix in (".cpp", ".h", ".c") and not relative.startswith(NAMING):
                yield relative, path.read_text()


def named(text, methods):
    """The lines of a text that name a method, with the string in which they do."""
    for number, line in enumerate(text.splitlines(), 1):
        code = line.split("//")[0]
        if code.lstrip().startswith("#include"):
            continue
        own = methods - WORDS
        for string in STRING.findall(code):
            if own & set(re.split(r"[^a-z0-9_]+", string)):
                yield number, string
        for string in COMPARED.findall(code):
            if string.split("+")[0] in methods & WORDS:
                yield number, string


def test_methods_are_found():
    assert names() >= {"lora", "dora", "oft", "ia3", "replace", "rows"}
    assert list(named('if (form == "replace")\nx = "a lora here";', names())) == [
        (1, "replace"),
        (2, "a lora here"),
    ]


def test_converters_alone_name_theirs_in_python():
    """Methods of authors' files stand in python/adapter_opt/converting, and nowhere else of the package."""
    package = ROOT / "python" / "adapter_opt"
    table = (package / "converting" / "__init__.py").read_text()
    methods = set(re.findall(r'^    "([a-z-]+)": (?:Method\(|")', table, re.MULTILINE))
    assert methods >= {"corda", "lt-sft", "clr"}
    found = [
        f"{path.relative_to(ROOT)}: {word}"
        for path in sorted(package.rglob("*.py"))
        if "converting" not in path.parts
        for word in re.findall(r"[a-z]+(?:-[a-z]+)*", path.read_text())
        if word in methods
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("folder", ["lib", "dialects", "tools", "include", "python"])
def test_no_code_names_a_method(folder):
    methods = names()
    found = [
        f"{path}:{number}: {string}"
        for path, text in sources()
        if path.startswith(folder + "/")
        for number, string in named(text, methods)
    ]
    assert not found, "\n".join(found)
