# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Methods that PEFT does not have, by the library's definitions of them: tensors for a linear, and what its
weight and bias become, in NumPy from the papers' formulas."""

import numpy as np
from own_forms import Form, order, real

RANK = 3


def _draw_mos(rng, out, cols):
    pools = {"pool_A": real(np.random.default_rng(77), 9, 1), "pool_B": real(np.random.default_rng(78), 7, 1)}
    return pools | {
        "indices_A": rng.integers(0, 9, (RANK, cols)),
        "indices_B": rng.integers(0, 7, (RANK, out)),
    }


def _mos(W, b, t):
    A = t["pool_A"].astype(float)[t["indices_A"]].reshape(RANK, -1)
    B = t["pool_B"].astype(float)[t["indices_B"]].reshape(RANK, -1)
    return W + B.T @ A


def _draw_nola(rng, out, cols):
    return {
        "alpha": real(rng, 4),
        "beta": real(rng, 5),
        "A": real(rng, 4, RANK, cols),
        "B": real(rng, 5, out, RANK),
    }


def _nola(W, b, t):
    A = np.einsum("k,kij->ij", t["alpha"].astype(float), t["A"])
    return W + np.einsum("k,kij->ij", t["beta"].astype(float), t["B"]) @ A


def _draw_hydra(rng, out, cols):
    return {
        "A_s": real(rng, 2, out),
        "B_s": real(rng, out, 2),
        "A_p": real(rng, RANK, cols),
        "B_p": real(rng, out, RANK),
        "shift": real(rng, out),
    }


def _hydra(W, b, t):
    return (np.eye(len(W)) + t["B_s"].astype(float) @ t["A_s"]) @ W + t["B_p"].astype(float) @ t["A_p"]


def _hydra_bias(W, b, t):
    return (np.eye(len(W)) + t["B_s"].astype(float) @ t["A_s"]) @ b + t["shift"]


def _few(rng, count, size):
    return np.sort(rng.choice(size, count, replace=False))


def _put_columns(W, b, t):
    W = W.copy()
    W[:, t["indices"]] = t["columns"]
    return W


def _add_rows(W, b, t):
    W = W.copy()
    W[t["indices"]] += t["rows"]
    return W


def _add_columns(W, b, t):
    W = W.copy()
    W[:, t["indices"]] += t["columns"]
    return W


def _draw_dsee(rng, out, cols):
    flat = _few(rng, 5, out * cols)
    return {
        "mask": (rng.random((out, cols)) < 0.7).astype(np.float32),
        "U": real(rng, out, RANK),
        "V": real(rng, RANK, cols),
        "indices": np.stack([flat // cols, flat % cols]),
        "values": real(rng, 5),
    }


def _dsee(W, b, t):
    W = W * t["mask"] + t["U"].astype(float) @ t["V"]
    np.add.at(W, tuple(t["indices"]), t["values"])
    return W


def _draw_loldu(rng, out, cols):
    return {
        "permutation": order(rng, out),
        "L": real(rng, out, RANK),
        "U": real(rng, RANK, cols),
        "z": real(rng, RANK),
        "z0": real(rng, RANK),
    }


def _loldu(W, b, t):
    change = t["L"].astype(float) @ np.diag(t["z"].astype(float) - t["z0"]) @ t["U"]
    return W + change[t["permutation"]]


def _draw_sltrain(rng, out, cols):
    return {
        "A": real(rng, RANK, cols),
        "B": real(rng, out, RANK),
        "indices": rng.choice(out * cols, 8, replace=False),
        "values": real(rng, 8),
    }


def _sltrain(W, b, t):
    W = t["B"].astype(float) @ t["A"]
    W.reshape(-1)[t["indices"]] += t["values"]
    return W


def _draw_corda(rng, out, cols):
    return {
        "A": real(rng, RANK, cols),
        "B": real(rng, out, RANK),
        "A0": real(rng, 2, cols),
        "B0": real(rng, out, 2),
    }


def _draw_qwha(rng, out, cols):
    return {"spectrum": real(rng, 7), "indices": rng.integers(0, (out, cols), (7, 2)).T.copy()}


def _qwha(W, b, t):
    out, cols = W.shape
    F = np.zeros((out, cols))
    np.add.at(F, tuple(t["indices"]), t["spectrum"])
    j = np.arange(cols)
    H = 1.0 - 2.0 * (np.bitwise_count(j[:, None] & j) % 2)
    return W + F @ H / (cols * np.sqrt(out))


# The number that the list of methods gives them, and the form.
PUBLISHED = {
    "corda": (
        "U03",
        Form(
            "",
            _draw_corda,
            lambda W, b, t: W + t["B"].astype(float) @ t["A"] - t["B0"].astype(float) @ t["A0"],
        ),
    ),
    "qwha": ("U20", Form("", _draw_qwha, _qwha)),
    "hydra": ("U06", Form("", _draw_hydra, _hydra, _hydra_bias)),
    "lora_sb": (
        "U05, U08, U11",
        Form(
            "",
            lambda rng, out, cols: {
                "A": real(rng, 2, cols),
                "B": real(rng, out, RANK),
                "R": real(rng, RANK, 2),
            },
            lambda W, b, t: W + t["B"].astype(float) @ t["R"] @ t["A"],
        ),
    ),
    "adalora": (
        "U07, U14",
        Form(
            "",
            lambda rng, out, cols: {
                "A": real(rng, RANK, cols),
                "B": real(rng, out, RANK),
                "E": real(rng, RANK, 1),
            },
            lambda W, b, t: W + t["B"].astype(float) @ (t["E"] * t["A"]),
        ),
    ),
    "loldu": ("U17", Form("", _draw_loldu, _loldu)),
    "mos": ("U18", Form("", _draw_mos, _mos)),
    "nola": ("U19", Form("", _draw_nola, _nola)),
    "svfit": (
        "U22",
        Form(
            "",
            lambda rng, out, cols: {
                "U": real(rng, out, RANK),
                "V": real(rng, RANK, cols),
                "sigma": real(rng, RANK),
                "sigma0": real(rng, RANK),
            },
            lambda W, b, t: (
                W + t["U"].astype(float) @ np.diag(t["sigma"].astype(float) - t["sigma0"]) @ t["V"]
            ),
        ),
    ),
    "dsee": ("U24", Form("", _draw_dsee, _dsee)),
    "paca": (
        "U26",
        Form(
            "",
            lambda rng, out, cols: {"indices": _few(rng, 4, cols), "columns": real(rng, out, 4)},
            _put_columns,
        ),
    ),
    "s2ft_rows": (
        "U27",
        Form(
            "", lambda rng, out, cols: {"indices": _few(rng, 4, out), "rows": real(rng, 4, cols)}, _add_rows
        ),
    ),
    "s2ft_columns": (
        "U27",
        Form(
            "",
            lambda rng, out, cols: {"indices": _few(rng, 4, cols), "columns": real(rng, out, 4)},
            _add_columns,
        ),
    ),
    "sltrain": ("U31", Form("", _draw_sltrain, _sltrain)),
    "ssf": (
        "U35",
        Form(
            "",
            lambda rng, out, cols: {"gamma": real(rng, out), "beta": real(rng, out)},
            lambda W, b, t: t["gamma"].astype(float)[:, None] * W,
            lambda W, b, t: t["gamma"].astype(float) * b + t["beta"],
        ),
    ),
}
SHARED = {"mos": ("pool_A", "pool_B")}
