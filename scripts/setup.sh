#!/usr/bin/env bash
# Installs what building and testing need: Debian packages, virtual environments in .venv and .venv-adapters and
# the ONNX C++ library in .deps. Idempotent: a step whose stamp is current is skipped. Without root it
# names the missing Debian packages and stops. `setup.sh demo` leaves the PyTorch oracles out; `setup.sh bench`
# adds .venv-bench, with what only benchmarks compare with.
set -euo pipefail
cd "$(dirname "$0")/.."
what=${1:-test}
jobs=$(nproc)

packages=$(grep -v '^#' scripts/debian-packages.txt)
missing=()
for package in $packages; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
  if [ "$(id -u)" != 0 ]; then
    echo "setup: these Debian packages are missing; install them as root and run this again:" >&2
    echo "  apt-get install ${missing[*]}" >&2
    exit 1
  fi
  echo "setup: installing ${#missing[@]} Debian packages"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

# A stamp holds the hash of the requirements that were installed.
install_requirements() {
  local file=$1 stamp=.venv/.stamp-$(basename "$1")
  local hash
  hash=$(sha256sum <"$file")
  if [ ! -f "$stamp" ] || [ "$(cat "$stamp")" != "$hash" ]; then
    echo "setup: installing $file into .venv"
    .venv/bin/python -m pip install -q --disable-pip-version-check -r "$file"
    printf '%s\n' "$hash" >"$stamp"
  fi
}
[ -x .venv/bin/python ] || python3 -m venv .venv
install_requirements scripts/requirements-build.txt
[ "$what" = demo ] || install_requirements scripts/requirements-test.txt

# An environment that adds to the main one's packages, or has other versions of some: $1 for requirements-$1.txt.
beside_main() {
  local venv=.venv-$1 requirements=scripts/requirements-$1.txt
  local stamp=$venv/.stamp
  if [ ! -f "$stamp" ] || [ "$(cat "$stamp")" != "$(sha256sum <"$requirements")" ]; then
    echo "setup: installing $requirements into $venv"
    [ -x "$venv/bin/python" ] || python3 -m venv "$venv"
    packages_of() { "$1"/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))'; }
    packages_of .venv >"$(packages_of "$venv")/main.pth"
    "$venv/bin/python" -m pip install -q --disable-pip-version-check --no-deps -r "$requirements"
    sha256sum <"$requirements" >"$stamp"
  fi
}
# AdapterHub's adapters needs an older transformers; torch and the rest are the main environment's.
[ "$what" = demo ] || beside_main adapters
[ "$what" != bench ] || beside_main bench

onnx_version=$(sed -n 's/^onnx==\([0-9.]*\).*/\1/p' scripts/onnx-source.txt)
onnx_prefix=.deps/onnx-$onnx_version
if [ ! -f "$onnx_prefix/.complete" ]; then
  echo "setup: building the ONNX $onnx_version C++ library"
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  # --require-hashes checks the archive against scripts/onnx-source.txt.
  .venv/bin/python -m pip download -q --disable-pip-version-check --no-deps --no-binary onnx \
    --require-hashes -r scripts/onnx-source.txt -d "$work"
  tar -xzf "$work/onnx-$onnx_version.tar.gz" -C "$work"
  .venv/bin/cmake -S "$work/onnx-$onnx_version" -B "$work/build" -G Ninja \
    -DCMAKE_BUILD_TYPE=Release -DCMAKE_C_COMPILER=clang-22 -DCMAKE_CXX_COMPILER=clang++-22 \
    -DCMAKE_C_COMPILER_LAUNCHER=ccache -DCMAKE_CXX_COMPILER_LAUNCHER=ccache \
    -DCMAKE_POSITION_INDEPENDENT_CODE=ON -DCMAKE_INSTALL_PREFIX="$PWD/$onnx_prefix" \
    -DONNX_USE_PROTOBUF_SHARED_LIBS=ON -DONNX_BUILD_PYTHON=OFF -DONNX_ML=ON >"$work/log" 2>&1 &&
    .venv/bin/cmake --build "$work/build" -j "$jobs" >>"$work/log" 2>&1 &&
    .venv/bin/cmake --install "$work/build" >>"$work/log" 2>&1 || {
    tail -n 30 "$work/log" >&2
    echo "setup: the ONNX library did not build" >&2
    exit 1
  }
  touch "$onnx_prefix/.complete"
fi
echo "setup: done"
