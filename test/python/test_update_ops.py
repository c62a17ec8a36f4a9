# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Updates evaluated by adapter-merge from IR written by hand, against NumPy from their formula."""

import numpy as np
import product
import pytest
from safetensors.numpy import load_file, save_file

ROWS, COLUMNS = 12, 6
TYPES = {"float32": "f32", "float16": "f16", "int64": "i64", "int8": "i8"}


def mlir_type(array):
    return f"tensor<{''.join(f'{n}x' for n in array.shape)}{TYPES[array.dtype.name]}>"


def merged(folder, tensors, body, shape=(ROWS, COLUMNS)):
    """The weight `w` of `tensors` with update %u, which `body` makes of the tensors, %name each."""
    save_file(
        {name: np.ascontiguousarray(array) for name, array in tensors.items()}, folder / "base.safetensors"
    )
    weight = f"tensor<{shape[0]}x{shape[1]}xf32>"
    lines = [
        f'%{name} = adapter.parameter "base"::"{name}" : {mlir_type(array)}'
        for name, array in tensors.items()
    ]
    text = f"""module attributes {{adapter.archives = {{base = {{file = "base.safetensors"}}}}}} {{
      func.func @f() -> {weight} {{
        {chr(10).join(lines)}
        {body}
        %result = adapter.materialize %w, %u : {weight}
        return %result : {weight}
      }}
    }}"""
    (folder / "in.mlir").write_text(text)
    product.opt(folder / "in.mlir", "--adapter-merge", "-o", folder / "out.mlir")
    return load_file(folder / "out.merged.safetensors")["w"]


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def sparse_case(support, rng):
    """(indices, values, positions): `positions` holds the update's value of an element, or NaN."""
    at = np.full((ROWS, COLUMNS), np.nan, np.float32)
    if support == "rows":
        indices, values = np.array([9, 0, 4]), rng.standard_normal((3, COLUMNS))
        at[indices] = values
    elif support == "columns":
        indices, values = np.array([5, 2]), rng.standard_normal((ROWS, 2))
        at[:, indices] = values
    elif support == "coordinates":
        indices, values = np.array([[0, 3, 11, 3], [5, 1, 0, 2]]), rng.standard_normal(4)
        at[tuple(indices)] = values
    elif support == "blocks":
        indices, values = np.array([[0, 2, 3], [1, 0, 1]]), rng.standard_normal((3, 3, 2))
        for (row, column), block in zip(indices.T, values, strict=True):
            at[3 * row : 3 * row + 3, 2 * column : 2 * column + 2] = block
    else:
        mask = rng.random((ROWS, COLUMNS)) < 0.3
        indices = np.packbits(mask.reshape(-1), bitorder="little").view(np.int8)
        values = rng.standard_normal(int(mask.sum()))
        at[mask] = values
    return indices, values.astype(np.float32), at


def expected_sparse(weight, at, mode, factor):
    weight, at = weight.astype(np.float64), at.astype(np.float64)
    new = weight + at if mode == "add" else at
    return np.where(np.isnan(at), weight, weight + factor * (new - weight))


SUPPORTS = ["rows", "columns", "coordinates", "blocks", "bitmask"]


@pytest.mark.parametrize("factor", [1.0, -0.75])
@pytest.mark.parametrize("mode", ["add", "overwrite"])
@pytest.mark.parametrize("support", SUPPORTS)
def test_sparse(tmp_path, rng, support, mode, factor):
    indices, values, at = sparse_case(support, rng)
    weight = rng.standard_normal((ROWS, COLUMNS)).astype(np.float32)
    update = f"!adapter.update<tensor<{ROWS}x{COLUMNS}xf32>>"
    operands = f"%i, %v : {mlir_type(indices)}, {mlir_type(values)}"
    body = f"""%s = adapter.sparse {mode} {support} {operands} -> {update}
      %factor = arith.constant {factor} : f64
      %u = adapter.scale %s, %factor : {update}"""
    got = merged(tmp_path, {"w": weight, "i": indices, "v": values}, body)
    np.testing.assert_array_equal(got, expected_sparse(weight, at, mode, factor).astype(np.float32))


@pytest.mark.parametrize("support", SUPPORTS)
def test_sparse_of_a_transposed_part(tmp_path, rng, support):
    indices, values, at = sparse_case(support, rng)
    weight = rng.standard_normal((COLUMNS + 4, ROWS)).astype(np.float32)
    inner = f"!adapter.update<tensor<{ROWS}x{COLUMNS}xf32>>"
    turned = f"!adapter.update<tensor<{COLUMNS}x{ROWS}xf32>>"
    whole = f"!adapter.update<tensor<{COLUMNS + 4}x{ROWS}xf32>>"
    body = f"""%s = adapter.sparse add {support} %i, %v : {mlir_type(indices)}, {mlir_type(values)} -> {inner}
      %t = adapter.transpose %s [1, 0] : {inner} -> {turned}
      %u = adapter.place %t at 3 axis 0 : {turned} -> {whole}"""
    got = merged(tmp_path, {"w": weight, "i": indices, "v": values}, body, shape=weight.shape)
    expected = weight.copy()
    expected[3 : 3 + COLUMNS] = expected_sparse(weight[3 : 3 + COLUMNS].T, at, "add", 1.0).T
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("op", ["sum", "compose"])
@pytest.mark.parametrize("order", ["%s, %l", "%l, %s"])
def test_sparse_and_low_rank_in_either_order(tmp_path, rng, op, order):
    indices, values, at = sparse_case("coordinates", rng)
    weight, a, b = (
        rng.standard_normal(shape).astype(np.float32) for shape in ((ROWS, COLUMNS), (2, COLUMNS), (ROWS, 2))
    )
    update = f"!adapter.update<tensor<{ROWS}x{COLUMNS}xf32>>"
    operands = f"%i, %v : {mlir_type(indices)}, {mlir_type(values)}"
    body = f"""%s = adapter.sparse add coordinates {operands} -> {update}
      %l = adapter.low_rank %a, %b : {mlir_type(a)}, {mlir_type(b)} -> {update}
      %u = adapter.{op} {order} : {update}"""
    got = merged(tmp_path, {"w": weight, "i": indices, "v": values, "a": a, "b": b}, body)
    expected = weight.astype(np.float64) + b.astype(np.float64) @ a + np.nan_to_num(at.astype(np.float64))
    np.testing.assert_allclose(got, expected, rtol=1e-7, atol=1e-7)
