# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Compiled code against ONNX's backend node tests: as they are, with dynamic sizes, and with constants.

A case that compiled code does not cover must be refused, for a reason of REFUSED. By default each operator
runs a few cases, the variants in turn; `-m full` runs all of them, and the bodies of ONNX's functions too.
"""

import re
import shutil

import node_cases
import pytest

DEFAULT_CASES = 3
FEW = 3  # cases of an operator that run in every variant by default

# What is refused: operators (or "" for graphs of several nodes), variants, and how the message reads. That an
# operand must be constant is no excuse where it is one.
REFUSED = [
    (r"Reduce\w+|Unsqueeze|Squeeze", "plain dynamic", "axes must be constant"),
    ("CumSum", "plain dynamic", "the axis must be constant"),
    ("Trilu", "plain dynamic", "k must be constant"),
    ("Slice", "plain dynamic", "axes and steps must be constant"),
    ("Range", "plain dynamic", "must be computable from constants|delta must be a constant other than 0"),
    ("Range", "constants", r"start, limit and delta \(integers\) must be computable"),  # of floats
    ("GatherND", "dynamic", "the last size of the indices must be static"),
    ("ScatterND", "dynamic", "needs static index depth"),
    ("ScatterND", "plain constants", "needs static index depth and reduction none or add"),  # mul, min, max
    ("Conv", "dynamic", "convolutions are compiled for f32 and static kernels only"),
    ("MaxPool", "dynamic", "auto_pad needs static sizes"),
    ("MaxPool", "plain dynamic", "needs kernel_shape, one result and floats"),
    ("Pow", "plain dynamic constants", "powers of integers are supported for constant exponents 1 to 4"),
    ("Pad", "plain dynamic constants", "mode 'wrap' is not supported"),
    ("Resize", "plain dynamic constants", "antialias, cropping and keep_aspect_ratio_policy"),
    ("(Instance|Group)Normalization", "dynamic", "a static number of channels"),
    ("Resize", "dynamic", "sizes or scales must be one for each axis"),
    ("AveragePool", "dynamic", "auto_pad needs static sizes"),
    ("Pad", "plain dynamic", "pads must be two for each axis"),
    ("OneHot", "plain dynamic constants", "depth must be one integer known from sizes"),
    ("BatchNormalization|Dropout", "plain dynamic constants", "training mode is not supported"),
    ("MatMul|Gemm|Attention", "plain dynamic constants", "products are compiled for f32 only"),
    ("Attention", "plain dynamic constants", "attribute 'softmax_precision' = 1[016] is not supported"),
    ("Attention", "dynamic", "the numbers of heads must be known"),
    ("RotaryEmbedding", "dynamic", "must be known"),
    ("TensorScatter", "plain dynamic constants", "mode 'circular' is not supported"),
    ("", "plain dynamic constants", "must be constant|must be computable|static kernels|for f32 only"),
    ("", "plain dynamic constants", "of integers are supported|depth and reduction|kernel_shape, one result"),
]


def is_meant(operator, variant, message):
    return any(
        re.fullmatch(name, operator) and variant in variants.split() and re.search(text, message)
        for name, variants, text in REFUSED
    )


def run(operator, cases, folder):
    """What is wrong, one line per case and variant; how many ran, and how many of them were refused."""
    wrong, count, refused = [], 0, 0
    for case, variant in cases:
        model = node_cases.variant(case, variant)
        if model is None:
            continue
        count += 1
        place = folder / f"{case.name}-{variant}"
        said = node_cases.outcome(model, place)
        shutil.rmtree(place)
        if said and said.startswith("refused: ") and is_meant(operator, variant, said):
            refused += 1
        elif said:
            wrong.append(f"{case.name}, {variant}: {said[:300]}")
    return wrong, count, refused


def selection(cases):
    """A few cases from the whole list. Where there are few they run in every variant, else in turn."""
    few = cases[:: max(1, len(cases) // DEFAULT_CASES)][:DEFAULT_CASES]
    variants = node_cases.VARIANTS
    if len(cases) <= FEW // 2 + 1:
        return [(case, variant) for case in few for variant in variants]
    return [(case, variants[i % len(variants)]) for i, case in enumerate(few)]


@pytest.mark.parametrize("operator", node_cases.lowered_operators())
def test_operator(operator, tmp_path):
    cases = node_cases.cases()[operator]
    if not cases:
        pytest.skip(f"ONNX has no case of {operator} alone with numeric tensors")
    wrong, count, _ = run(operator, selection(cases), tmp_path)
    assert count and not wrong, "\n".join(wrong)


@pytest.mark.full
@pytest.mark.parametrize("operator", node_cases.lowered_operators())
def test_operator_in_full(operator, tmp_path):
    cases = [(case, variant) for case in node_cases.cases()[operator] for variant in node_cases.VARIANTS]
    if not cases:
        pytest.skip(f"ONNX has no case of {operator} alone with numeric tensors")
    wrong, count, refused = run(operator, cases, tmp_path)
    assert not wrong, f"{len(wrong)} of {count} are wrong ({refused} refused):\n" + "\n".join(wrong)


@pytest.mark.full
@pytest.mark.parametrize("part", range(8))
def test_bodies_of_functions(part, tmp_path):
    cases = [(case, variant) for case in node_cases.cases()[""][part::8] for variant in node_cases.VARIANTS]
    wrong, count, refused = run("", cases, tmp_path)
    assert not wrong, f"{len(wrong)} of {count} are wrong ({refused} refused):\n" + "\n".join(wrong)
