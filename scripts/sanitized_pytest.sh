#!/usr/bin/env bash
# Runs test/python on a build with sanitizers: sanitized_pytest.sh <asan|tsan> [pytest arguments].
# Python itself has none, so the address sanitizer's runtime is loaded before all else. The thread sanitizer's cannot be;
# tests that load the runtime into Python's process are skipped there, the tools are tested all the same.
set -euo pipefail
cd "$(dirname "$0")/.."
preset=$1
shift
export ADAPTER_OPT_BIN=$PWD/build-$preset/bin ADAPTER_OPT_PYTHON=$PWD/build-$preset/python
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
if [ "$preset" = asan ]; then
  runtime=$(clang++-22 -print-file-name=libclang_rt.asan-"$(uname -m)".so)
  # Leaks: Python never frees everything. The order of libraries: other programs are started with the same environment.
  # The other two as in test/lit.cfg.py.
  options=detect_leaks=0:verify_asan_link_order=0:allow_user_poisoning=0:detect_container_overflow=0
  export ASAN_OPTIONS=$options
  # Exceptions are looked up when the sanitizer starts, so the library that throws comes along.
  export LD_PRELOAD="$runtime $(clang++-22 -print-file-name=libstdc++.so.6)"
else
  export ADAPTER_TESTS_TOOLS_ONLY=1 TSAN_OPTIONS=suppressions=$PWD/scripts/tsan-suppressions.txt
fi
# Wheels have no sanitizer in them, and a sanitizer ends the process where memory runs out.
exec .venv/bin/python -m pytest test/python -q -rs --ignore=test/python/test_wheel.py \
  --deselect test_interrupt.py::test_out_of_memory "$@"
