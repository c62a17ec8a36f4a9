# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The wheels of `make wheel`, in empty virtual environments that have no way to anything else. They are
looked for in $ADAPTER_OPT_WHEELS, else in build/wheels."""

import ast
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile

import linear_model
import numpy as np
import product
import pytest

WHEELS = pathlib.Path(os.environ.get("ADAPTER_OPT_WHEELS", product.ROOT / "build" / "wheels"))
# What wheels may expect of a machine, as manylinux has it.
SYSTEM = {"libc", "libm", "libstdc++", "libgcc_s", "libz", "ld-linux-x86-64"}
# An environment in which neither the build's tools nor its package are found.
CLEAN = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}
# What pip reads of a checkout before it builds.
DESCRIPTION = (
    *("pyproject.toml", "scripts/wheel_backend.py", "README.md", "LICENSE", "CMakeLists.txt"),
    *("python/runtime/pyproject.toml", "python/runtime/README.md"),
)


def _wheel(name):
    found = sorted(WHEELS.glob(f"{name}-[0-9]*.whl"))
    assert len(found) == 1, f"{len(found)} wheels of {name} in {WHEELS}: make wheel"
    return found[0]


def _version():
    text = (product.ROOT / "CMakeLists.txt").read_text()
    return re.search(r"project\(adapter-opt VERSION ([0-9.]+)", text).group(1)


def _environment(folder, distribution):
    """The bin folder of a new environment with a distribution in it."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    sources = [f"--find-links={WHEELS}", f"--find-links={WHEELS / 'numpy'}"]
    command = [folder / "bin" / "pip", "install", "-q", "--disable-pip-version-check", "--no-index", *sources]
    done = subprocess.run([*command, distribution], capture_output=True, text=True, env=CLEAN)
    assert done.returncode == 0, done.stderr
    return folder / "bin"


@pytest.fixture(scope="module")
def compiler(tmp_path_factory):
    return _environment(tmp_path_factory.mktemp("compiler"), "adapter-opt")


@pytest.fixture(scope="module")
def runtime(tmp_path_factory):
    return _environment(tmp_path_factory.mktemp("runtime"), "adapter-opt-runtime")


@pytest.fixture(scope="module")
def linear(tmp_path_factory):
    return linear_model.make(tmp_path_factory.mktemp("linear"))


@pytest.fixture(scope="module")
def artifact(compiler, linear, tmp_path_factory):
    """Compiled by the command, with an adapter to choose by row."""
    path = tmp_path_factory.mktemp("artifact") / "model.adapt"
    _call(compiler / "adapter-opt", linear.model, f"--adapter=up={linear.adapter}@row", "-o", path)
    return path


def _call(*command, code=0):
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, env=CLEAN, cwd="/", timeout=300
    )
    assert done.returncode == code, f"{command} exited with {done.returncode}: {done.stderr[-3000:]}"
    return done.stdout if code == 0 else done.stderr


def _python(environment, program, *arguments, code=0):
    return _call(environment / "python", "-c", program, *arguments, code=code)


def _close(got, want):
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-5 * np.abs(want).max())


def test_the_compiler(compiler, linear, tmp_path):
    """Compile, run, merge and check, all in the process of Python."""
    np.save(tmp_path / "x.npy", linear.x)
    _python(
        compiler,
        """
import sys
import numpy as np
import adapter_opt as ao
graph, adapter, folder = sys.argv[1:]
x = np.load(folder + "/x.npy")
model = ao.compile(graph, {"up": ao.Adapter(adapter, time="row")}, threads=1)
rows = model(x=x, adapters=["up"] * len(x))["y"]
ao.merge(graph, {"up": adapter}, folder + "/merged.onnx")
merged = ao.compile(folder + "/merged.onnx", threads=1)(x=x)["y"]
np.savez(folder + "/y.npz", base=model(x=x)["y"], rows=rows, merged=merged)
assert ao.check(graph, {"up": adapter})
try:
    ao.compile(graph, target="z80")
except ValueError as error:
    assert "z80" in str(error)
else:
    raise AssertionError
""",
        linear.model,
        linear.adapter,
        tmp_path,
    )
    outputs = np.load(tmp_path / "y.npz")
    _close(outputs["base"], linear.base)
    _close(outputs["rows"], linear.updated)
    _close(outputs["merged"], linear.updated)


def test_the_runtime_alone(runtime, artifact, linear, tmp_path):
    np.save(tmp_path / "x.npy", linear.x)
    program = """
import sys
import numpy as np
import adapter_opt as ao
x = np.load(sys.argv[2])
np.save(sys.argv[3], ao.load(sys.argv[1])(x=x, adapters=["up"] * len(x))["y"])
assert "compile" in dir(ao) and not hasattr(ao, "nothing")
for name in ("compile", "merge", "check"):
    try:
        getattr(ao, name)
    except ImportError as error:
        assert "pip install adapter-opt" in str(error), error
    else:
        raise AssertionError(name)
"""
    _python(runtime, program, artifact, tmp_path / "x.npy", tmp_path / "y.npy")
    _close(np.load(tmp_path / "y.npy"), linear.updated)


def test_what_runs_needs_no_more_than_numpy(runtime):
    listed = _call(runtime / "pip", "list", "--disable-pip-version-check", "--format=freeze").split()
    assert {each.split("==")[0] for each in listed} <= {"adapter-opt-runtime", "numpy", "pip", "setuptools"}


def test_console_scripts(compiler, runtime, artifact, linear, tmp_path):
    version = _version()
    assert _call(compiler / "adapter-opt", "--version").startswith(f"adapter-opt {version}\nLLVM 22.")
    assert not (runtime / "adapter-opt").exists()
    np.save(tmp_path / "x.npy", linear.x)
    for environment in (compiler, runtime):
        assert _python(environment, "import adapter_opt; print(adapter_opt.__version__)").strip() == version
        said = _call(environment / "adapter-run", "--version")
        assert re.fullmatch(rf"adapter-run {re.escape(version)}\nartifact ABI \d+\n", said)
        call = [environment / "adapter-run", artifact, "--input", f"x={tmp_path / 'x.npy'}"]
        _call(*call, "--row-adapters", "up,-,up,-,-", "--output", tmp_path / "y.npz")
        chosen = np.array([True, False, True, False, False])[:, None]
        _close(np.load(tmp_path / "y.npz")["y"], np.where(chosen, linear.updated, linear.base))
    refused = _call(
        compiler / "adapter-opt", linear.model, "--target=z80", "-o", tmp_path / "m.adapt", code=1
    )
    assert refused.startswith("adapter-opt: error: --target z80: unknown")
    assert "--samples" in _call(compiler / "adapter-opt", "verify", artifact, code=2)
    assert "--bad" in _call(compiler / "adapter-opt", "--bad", code=2)


def test_recipes(compiler, tmp_path):
    """All of test_recipes.py, with the package and the commands of the wheels (product.py holds it to them).
    What else recipes import, torch and transformers, is of this environment, which has no adapter_opt."""
    packages = _python(compiler, "import sysconfig; print(sysconfig.get_path('platlib'))").strip()
    others = sysconfig.get_path("platlib")
    assert not (pathlib.Path(others) / "adapter_opt").exists()
    environment = {"ADAPTER_OPT_BIN": compiler, "ADAPTER_OPT_PYTHON": packages, "PYTHONPATH": others}
    options = ["-q", f"--basetemp={tmp_path / 'recipes'}"]
    done = subprocess.run(
        [compiler / "python", "-m", "pytest", *options, product.ROOT / "test/python/test_recipes.py"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=CLEAN | environment,
    )
    passed = re.search(r"^\d+ passed(, \d+ warnings?)? in ", done.stdout, re.M)  # none skipped
    assert done.returncode == 0 and passed, done.stdout


@pytest.mark.parametrize("name", ["adapter_opt", "adapter_opt_runtime"])
def test_what_libraries_need(name, request):
    """Nothing but what every Linux has or the wheel brings along."""
    environment = request.getfixturevalue("compiler" if name == "adapter_opt" else "runtime")
    packages = _python(environment, "import sysconfig; print(sysconfig.get_path('platlib'))").strip()
    libraries = [path for path in pathlib.Path(packages).rglob("*.so*") if "adapter_opt" in str(path)]
    assert len(libraries) >= 2
    for library in libraries:
        for line in _call("ldd", library).splitlines():
            assert "not found" not in line, (library, line)
            needed = re.match(r"\s*(\S+)(?: => (\S+))?", line).groups()
            stem = pathlib.Path(needed[0]).name.split(".so")[0]
            at = str(pathlib.Path(needed[1]).resolve()) if needed[1] and needed[1].startswith("/") else ""
            assert stem in SYSTEM | {"linux-vdso"} or at.startswith(packages), (library.name, line)


def test_sizes_and_metadata():
    assert _wheel("adapter_opt_runtime").stat().st_size < 2_000_000
    assert _wheel("adapter_opt").stat().st_size < 60_000_000
    version = _version()
    for name, needs in {
        "adapter_opt_runtime": ["numpy"],
        "adapter_opt": [f"adapter-opt-runtime=={version}"],
    }.items():
        with zipfile.ZipFile(_wheel(name)) as wheel:
            metadata = wheel.read(f"{name}-{version}.dist-info/METADATA").decode()
            for each in wheel.namelist():
                assert f"{product.ROOT}/python".encode() not in wheel.read(each), f"{each} names a folder"
        required = re.findall(r"^Requires-Dist: ([^;\n]*)$", metadata, re.M)
        assert [each.replace(" ", "") for each in required] == needs
        assert "Requires-Python: >=3.10" in metadata


def _plan(checkout):
    """What pip would install for a checkout: the finished process, its report on stdout."""
    options = ["--dry-run", "--ignore-installed", "--no-build-isolation", "--report=-", "-q"]
    sources = ["--no-index", f"--find-links={WHEELS / 'numpy'}"]
    command = [sys.executable, "-m", "pip", "install", *options, *sources, checkout]
    return subprocess.run(command, capture_output=True, text=True, env=CLEAN)


def test_pip_builds_both_from_a_checkout(tmp_path):
    """`make wheel` builds the wheels by this; a source distribution needs what an index has."""
    checkout = tmp_path / "a checkout"
    for name in DESCRIPTION:
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(product.ROOT / name, checkout / name)
    done = _plan(checkout)
    assert done.returncode == 0, done.stderr
    planned = json.loads(done.stdout)["install"]
    urls = {each["metadata"]["name"]: each["download_info"]["url"] for each in planned}
    assert set(urls) == {"adapter-opt", "adapter-opt-runtime", "numpy"}
    assert urls["adapter-opt-runtime"] == (checkout / "python" / "runtime").as_uri()
    (checkout / "PKG-INFO").touch()
    done = _plan(checkout)
    assert done.returncode != 0 and f"adapter-opt-runtime=={_version()}" in done.stderr, done.stderr


def test_the_package_is_one():
    """No file is in both wheels, and all there is in the source is in one of them."""
    files = []
    for name in ("adapter_opt", "adapter_opt_runtime"):
        with zipfile.ZipFile(_wheel(name)) as wheel:
            files += [each for each in wheel.namelist() if re.match("adapter_opt/.", each)]
    assert len(files) == len(set(files))
    source = product.ROOT / "python" / "adapter_opt"
    sources = [path for suffix in ("py", "pyi", "typed") for path in source.rglob(f"*.{suffix}")]
    assert {f"adapter_opt/{path.relative_to(source)}" for path in sources} <= set(files)
    for path in sources:
        ast.parse(path.read_text(), feature_version=(3, 10))


def test_stubs_say_what_there_is(compiler):
    """Every name of the extensions' stubs, and no other, is in the extensions."""
    for name in ("_runtime", "_compiler"):
        stub = ast.parse((product.ROOT / "python" / "adapter_opt" / f"{name}.pyi").read_text())
        written = {"Model": []} if name == "_runtime" else {}
        for node in stub.body:
            if isinstance(node, ast.ClassDef):
                written[node.name] = [each.name for each in node.body if each.name != "__init__"]
            elif isinstance(node, ast.FunctionDef):
                written[node.name] = []
            elif isinstance(node, ast.AnnAssign):
                written[node.target.id] = []
        program = f"""
from adapter_opt import {name} as module
for each in sorted(vars(module)):
    if not each.startswith("__") or each == "__version__":
        inside = vars(getattr(module, each)) if isinstance(getattr(module, each), type) else ()
        print(each, *sorted(name for name in inside if not name.startswith("_")))
"""
        there = {line.split()[0]: line.split()[1:] for line in _python(compiler, program).splitlines()}
        assert there == {key: sorted(value) for key, value in written.items()}
