# The front door. Every target sets up what it needs first (scripts/setup.sh; Debian packages need root once).
#
#   make demo     build, then five adapters of a small model in every way of running them, eight methods in one batch; no PyTorch
#   make build    build/bin/adapter-opt, build/bin/adapter-run, build/python
#   make test     all tests: GoogleTest, lit, pytest against PyTorch, PEFT and ONNX Runtime; wheels are built and tested
#   make test-full   pytest with every combination, not only the default selection
#   make methods     docs/methods.md: every method at every time, measured
#   make sanitize SANITIZE=asan   all tests in a build with sanitizers (asan: address, undefined; tsan: thread)
#   make wheel    adapter-opt and adapter-opt-runtime for pip, into build/wheels
#   make lint     formatting, static checks of Python, file lengths, licence lines, paths
#   make tidy     clang-tidy on the C++ files that differ from BASE (main)
#   make bench    benchmarks into bench/results
#   make docs     reference of ops and passes, generated into build/docs
#   make clean    removes the build folder; what setup installed stays
BUILD := build
JOBS ?= $(shell nproc)
BASE ?= main
PYTHON := .venv/bin/python
CMAKE := .venv/bin/cmake
NINJA := ninja -C $(BUILD) -j $(JOBS)
# Arguments for pytest, as in: make test PYTEST="-k row"
PYTEST ?=

.PHONY: demo build wheel methods test test-full sanitize lint tidy bench docs clean setup setup-demo unit lit pytest configure
.DEFAULT_GOAL := build

setup:
	@scripts/setup.sh

setup-demo:
	@scripts/setup.sh demo

configure: setup-demo
	@[ -f $(BUILD)/build.ninja ] || $(CMAKE) --preset release

build: configure
	$(NINJA) adapter-opt adapter-run AdapterRuntimeExtension AdapterCompilerExtension AdapterPythonPackage

# Objects come from ccache once the build has made them; what is linked again is LLVM, statically. Libraries that wheels
# may not expect on a machine (protobuf) are copied into them, under names of their own.
WHEELS := $(BUILD)/wheels
NUMPY := $(shell grep ^numpy== scripts/requirements-build.txt)
wheel: setup-demo
	rm -rf $(WHEELS)
	CMAKE_BUILD_PARALLEL_LEVEL=$(JOBS) $(PYTHON) -m pip wheel -q --disable-pip-version-check --no-build-isolation \
	  -w $(WHEELS)/raw . $(NUMPY)
	PATH=$(CURDIR)/.venv/bin:$$PATH $(PYTHON) -m auditwheel repair -w $(WHEELS) $(WHEELS)/raw/adapter_opt*.whl \
	  >$(WHEELS)/log 2>&1 || { cat $(WHEELS)/log >&2; exit 1; }
	mkdir $(WHEELS)/numpy
	mv $(WHEELS)/raw/numpy-*.whl $(WHEELS)/numpy
	@ls -sh $(WHEELS)/*.whl

demo: build
	$(PYTHON) examples/digits/demo.py --build $(BUILD)

# In this order, so that the last line is pytest's count.
test: unit lit pytest

unit: configure
	$(NINJA)
	$(CMAKE) -E chdir $(BUILD) ../.venv/bin/ctest -j $(JOBS) --output-on-failure --no-tests=error

lit: unit
	$(NINJA) check-lit

# Files of tests side by side; each process has its own exports, and about 1 GB.
WORKERS ?= -n auto --maxprocesses=4 --dist=loadfile
# The recipes run from the wheels, by test_wheel.py.
TESTS := test/python --ignore=test/python/test_recipes.py
pytest: setup unit lit wheel
	$(PYTHON) -m pytest $(TESTS) -q -rs --durations=10 $(WORKERS) $(PYTEST)

test-full: setup unit wheel
	$(PYTHON) -m pytest $(TESTS) -q -rs -m "full or not full" $(WORKERS) $(PYTEST)

SANITIZE ?= asan
sanitize: setup
	$(CMAKE) --preset $(SANITIZE)
	ninja -C build-$(SANITIZE) -j $(JOBS)
	UBSAN_OPTIONS=halt_on_error=1 $(CMAKE) -E chdir build-$(SANITIZE) ../.venv/bin/ctest --output-on-failure
	ninja -C build-$(SANITIZE) check-lit
	scripts/sanitized_pytest.sh $(SANITIZE) $(WORKERS) $(PYTEST)

lint: setup-demo
	git ls-files '*.cpp' '*.h' '*.c' | xargs clang-format-22 --dry-run -Werror
	$(PYTHON) -m ruff check --no-cache .
	$(PYTHON) -m ruff format --no-cache --check .
	$(PYTHON) scripts/check_files.py

tidy: build
	@files=$$(git diff --name-only --diff-filter=d $(BASE) -- '*.cpp'); \
	  [ -z "$$files" ] || clang-tidy-22 --quiet -p $(BUILD) $$files

bench: build
	@scripts/setup.sh bench
	$(PYTHON) bench/bench.py --build $(BUILD)
	.venv-bench/bin/python bench/text.py --build $(BUILD) --long

# Measures every method of PEFT at every time on every layer, and the published ones, and writes docs/methods.md.
methods: setup build
	rm -f $(BUILD)/methods.json $(BUILD)/published.json
	ADAPTER_OPT_METHODS=$(abspath $(BUILD))/methods.json $(PYTHON) -m pytest test/python/test_weight_methods.py -q -m "full or not full" $(WORKERS)
	ADAPTER_OPT_PUBLISHED=$(abspath $(BUILD))/published.json $(PYTHON) -m pytest test/python/test_published_*.py -q -m "full or not full" $(WORKERS)
	$(PYTHON) scripts/methods_table.py $(BUILD)/methods.json $(BUILD)/published.json docs/methods.md

docs: configure
	$(NINJA) mlir-doc
	@echo "Reference: $(BUILD)/docs"

clean:
	rm -rf $(BUILD) build-compiler-* build-runtime-*
