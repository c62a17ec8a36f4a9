# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ruff: noqa: F821 (lit defines config)
"""Tests of adapter-opt: IR and models in, FileCheck on what comes out."""

import os

import lit.formats
from lit.llvm import llvm_config

config.name = "adapter-opt"
config.test_format = lit.formats.ShTest(not llvm_config.use_lit_shell)
config.suffixes = [".mlir", ".test"]
config.excludes = ["Inputs", "unit", "python"]
config.test_source_root = os.path.dirname(__file__)
config.test_exec_root = os.path.join(config.adapter_obj_root, "test")
config.environment["FILECHECK_OPTS"] = "-enable-var-scope"
# LLVM's library is not instrumented, so what its headers poison and annotate in our code does not add up.
if config.adapter_sanitize:
    config.environment["ASAN_OPTIONS"] = "detect_leaks=0:allow_user_poisoning=0:detect_container_overflow=0"
    config.environment["UBSAN_OPTIONS"] = "halt_on_error=1:print_stacktrace=1"
llvm_config.add_tool_substitutions(
    ["adapter-opt", "FileCheck", "not", "split-file"], [config.adapter_tools_dir, config.llvm_tools_dir]
)
# ONNX models of tests are text, made into files by protoc's schema of the onnx package.
config.substitutions.append(("%make-onnx", f"{config.adapter_python} {config.test_source_root}/make_onnx.py"))
config.substitutions.append(
    ("%make-adapter", f"{config.adapter_python} {config.test_source_root}/make_adapter.py")
)
if os.path.exists(config.adapter_python):
    config.available_features.add("onnx")
config.substitutions.append(("%tools", config.adapter_tools_dir))
