# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The Python runtime on the tiny artifact of test/unit/Runtime."""

import threading

import numpy as np
import product
import pytest
from product import TINY

ao = product.package()


def sequence(shape, seed):
    return np.sin(seed * 7.0 + np.arange(np.prod(shape)) * 1.3).astype(np.float32).reshape(shape)


X = sequence((5, 3), 20)
W0, W1 = sequence((4, 3), 10), sequence((2, 4), 11)
R1 = W0 + 2 * sequence((4, 2), 2) @ sequence((2, 3), 1)
S1 = W1 + 2 * sequence((2, 1), 4) @ sequence((1, 4), 3)


@pytest.fixture
def model():
    return ao.load(TINY, threads=2)


def test_outputs_by_name(model):
    out = model(x=X)
    assert list(out) == ["y", "a sum"]
    np.testing.assert_allclose(out["y"], X @ W0.T @ W1.T, rtol=0, atol=1e-5)
    np.testing.assert_array_equal(model({"x": X})["y"], out["y"])


def test_rows(model):
    y = model(x=X[:3], adapters=["r1", None, "r1"])["y"]
    np.testing.assert_allclose(y[[0, 2]], X[[0, 2]] @ R1.T @ W1.T, rtol=0, atol=1e-5)
    np.testing.assert_allclose(y[1], X[1] @ W0.T @ W1.T, rtol=0, atol=1e-5)
    np.testing.assert_allclose(model(x=X, adapters="r1")["y"], X @ R1.T @ W1.T, rtol=0, atol=1e-5)


def test_switch(model):
    base = model(x=X)["y"]
    model.switch("s1")
    np.testing.assert_allclose(model(x=X)["y"], X @ W0.T @ S1.T, rtol=0, atol=1e-5)
    with pytest.raises(ValueError, match="switched in"):
        model(x=X[:1], adapters=["r1"])
    model.switch(None)
    np.testing.assert_array_equal(model(x=X)["y"], base)


def test_outputs_outlive_the_model():
    y = ao.load(TINY)(x=X)["y"]
    np.testing.assert_allclose(y, X @ W0.T @ W1.T, rtol=0, atol=1e-5)


def test_strided_arrays_lists_and_dlpack(model):
    y = model(x=X)["y"]
    np.testing.assert_array_equal(model(x=np.asfortranarray(X))["y"], y)
    np.testing.assert_array_equal(model(x=X.astype(">f4"))["y"], y)

    class OnlyDlpack:
        def __dlpack__(self, **options):
            return X.__dlpack__(**options)

        def __dlpack_device__(self):
            return X.__dlpack_device__()

    np.testing.assert_array_equal(model(x=OnlyDlpack())["y"], y)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "input 'x' is missing"),
        ({"x": X.astype(np.float64)}, "got float64"),
        ({"x": X[:, :2]}, r"expected float32 \[batch, 3\]"),
        ({"x": X, "z": X}, "no input 'z'"),
        ({"x": X, "adapters": ["r1"]}, "1 adapters are named for 5 rows"),
        ({"x": X, "adapters": []}, "0 adapters are named for 5 rows"),
        ({"x": X, "adapters": "none"}, "no adapter 'none'"),
    ],
)
def test_faults_of_the_input(model, arguments, message):
    with pytest.raises(ValueError, match=message):
        model(**arguments)


def test_other_faults(model, tmp_path):
    with pytest.raises(FileNotFoundError, match="none"):
        ao.load(tmp_path / "none")
    with pytest.raises(ValueError, match=r"adapter_config\.json"):
        model.load_adapter("x", tmp_path, slot="tenant")
    with pytest.raises(ValueError, match="no adapter 'x'"):
        model.unload_adapter("x")


def test_adapters_and_info(model):
    assert model.adapters["r1"] == {"time": "row", "origin": "artifact", "scale": 1.0, "rank": 2}
    model.set("r1.scale", 0.5)
    model.unload_adapter("s1")
    assert list(model.adapters) == ["r1"]
    assert model.info()["entries"][0]["inputs"][0] == {"name": "x", "dtype": "float32", "dims": ["batch", 3]}
    model.verify()


def test_threads(model):
    want = model(x=X, adapters="r1")["y"]
    wrong = []

    def work():
        for _ in range(200):
            if not np.array_equal(model(x=X, adapters="r1")["y"], want):
                wrong.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
