# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Forms of users that together use every map, each beside what it computes in NumPy, and folders of
type ADAPTER_OPT_FORM."""

import dataclasses
import json
import typing

import numpy as np
import safetensors.numpy


@dataclasses.dataclass
class Form:
    text: str
    draw: typing.Callable  # (rng, out, cols): tensors by role, numbers of them in f32 or i64
    weight: typing.Callable  # (W, b, tensors): the new weight, in f64
    bias: typing.Callable = lambda W, b, t: b


def real(rng, *shape):
    return rng.standard_normal(shape).astype(np.float32)


def factor(count):
    """The smallest divisor of a size that is not prime."""
    return next(i for i in (2, 3, 5) if count % i == 0)


def block_diagonal(blocks, count):
    k, p, q = blocks.shape
    dense = np.zeros((count * p, count * q))
    for i in range(count):
        dense[i * p : (i + 1) * p, i * q : (i + 1) * q] = blocks[i % k]
    return dense


def shuffled(sizes, order):
    """The matrix that exchanges the dimensions of a vector seen as a tensor."""
    size = int(np.prod(sizes))
    return np.eye(size)[np.arange(size).reshape(sizes).transpose(order).reshape(-1)]


def scattered(t, out, cols):
    dense = np.zeros((out, cols))
    np.add.at(dense, tuple(t["indices"]), t["v"].astype(np.float64))
    return dense


def places(rng, out, cols, count=6):
    at = rng.choice(out * cols, count, replace=False)
    return np.stack([at // cols, at % cols]).astype(np.int64)


def order(rng, count):
    """A permutation that leaves nothing in its place, and is not its own inverse."""
    cycle = rng.permutation(count)
    made = np.empty(count, np.int64)
    made[cycle] = np.roll(cycle, 1)
    return made


END = "adapter.yield %u : !adapter.update<tensor<?x?xf64>>"
FORMS = {
    # matrix, diagonal, chain, add with a scale
    "product": Form(
        f"""adapter.form @product for [linear, embedding, convolution]
            roles(%l "l" : "out", %B "B" : "out, r", %A "A" : "r, cols") scalars(%s "scale" = 1.0) {{
          %d = adapter.diagonal %l : tensor<?xf64>
          %b = adapter.matrix %B : tensor<?x?xf64>
          %a = adapter.matrix %A : tensor<?x?xf64>
          %m = adapter.chain %d, %b, %a
          %u = adapter.add %m scale %s
          {END}
        }}""",
        lambda rng, out, cols: {"l": real(rng, out), "B": real(rng, out, 3), "A": real(rng, 3, cols)},
        lambda W, b, t: W + t["l"][:, None] * (t["B"] @ t["A"]),
    ),
    # blocks, of which one may stand for all, at the inputs
    "turned": Form(
        f"""adapter.form @turned for [linear] roles(%K "K" : "n | 1, q, q") where("n = cols / q") {{
          %n = adapter.symbol "n"
          %k = adapter.blocks %K of %n : tensor<?x?x?xf64>
          %u = adapter.right %k
          {END}
        }}""",
        lambda rng, out, cols: {"K": real(rng, cols // factor(cols), factor(cols), factor(cols))},
        lambda W, b, t: W @ block_diagonal(t["K"], W.shape[1] // t["K"].shape[1]),
    ),
    "turned_alike": Form(
        f"""adapter.form @turned_alike for [linear] roles(%K "K" : "1, q, q") where("n = cols / q") {{
          %n = adapter.symbol "n"
          %k = adapter.blocks %K of %n : tensor<?x?x?xf64>
          %t = adapter.adjoint %k
          %u = adapter.right %t
          {END}
        }}""",
        lambda rng, out, cols: {"K": real(rng, 1, factor(cols), factor(cols))},
        lambda W, b, t: W @ block_diagonal(t["K"], W.shape[1] // t["K"].shape[1]).T,
    ),
    # shuffle of three dimensions, and back by its adjoint
    "shuffling": Form(
        f"""adapter.form @shuffling for [linear] roles(%v "v" : "cols", %w "w" : "cols")
            where("p = 2 + cols mod 2", "a = cols / p") {{
          %a = adapter.symbol "a"
          %p = adapter.symbol "p"
          %one = arith.constant 1 : index
          %s = adapter.shuffle %a, %one, %p by [2, 0, 1]
          %t = adapter.adjoint %s
          %d = adapter.diagonal %v : tensor<?xf64>
          %e = adapter.diagonal %w : tensor<?xf64>
          %m = adapter.chain %s, %d, %s, %e, %t
          %u = adapter.right %m
          {END}
        }}""",
        lambda rng, out, cols: {"v": real(rng, cols), "w": real(rng, cols)},
        lambda W, b, t: W @ shuffle_product(W.shape[1], t),
    ),
    # permute, at the outputs and, adjoint, at the inputs
    "reordered": Form(
        f"""adapter.form @reordered for [linear] roles(%p "indices" : "out" index) {{
          %m = adapter.permute %p : tensor<?xi64>
          %u = adapter.left %m
          {END}
        }}""",
        lambda rng, out, cols: {"indices": order(rng, out)},
        lambda W, b, t: W[t["indices"]],
    ),
    "reordered_inputs": Form(
        f"""adapter.form @reordered_inputs for [linear] roles(%p "indices" : "cols" index) {{
          %x = adapter.permute %p : tensor<?xi64>
          %m = adapter.adjoint %x
          %u = adapter.right %m
          {END}
        }}""",
        lambda rng, out, cols: {"indices": order(rng, cols)},
        lambda W, b, t: W @ np.eye(W.shape[1])[t["indices"]].T,
    ),
    # gather, alone and adjoint within a chain
    "few": Form(
        f"""adapter.form @few for [linear] roles(%i "indices" : "2, n" index, %v "v" : "n")
            scalars(%s "scale" = 1.0) {{
          %out = adapter.symbol "out"
          %cols = adapter.symbol "cols"
          %g = adapter.gather %i, %v of %out, %cols : tensor<?x?xi64>, tensor<?xf64>
          %u = adapter.add %g scale %s
          {END}
        }}""",
        lambda rng, out, cols: {"indices": places(rng, out, cols), "v": real(rng, 6)},
        lambda W, b, t: W + scattered(t, *W.shape),
    ),
    "mixed": Form(
        f"""adapter.form @mixed for [linear] roles(%i "indices" : "2, n" index, %v "v" : "n") {{
          %out = adapter.symbol "out"
          %cols = adapter.symbol "cols"
          %g = adapter.gather %i, %v of %out, %cols : tensor<?x?xi64>, tensor<?xf64>
          %t = adapter.adjoint %g
          %m = adapter.chain %g, %t
          %same = adapter.identity
          %p = adapter.plus %same, %m
          %u = adapter.left %p
          {END}
        }}""",
        lambda rng, out, cols: {"indices": places(rng, out, cols), "v": real(rng, 6)},
        lambda W, b, t: W + scattered(t, *W.shape) @ scattered(t, *W.shape).T @ W,
    ),
    # plus, identity, adjoint of a matrix; then left after it
    "reflected": Form(
        f"""adapter.form @reflected for [linear]
            roles(%U "U" : "r, cols", %V "V" : "r, cols", %l "l" : "out") {{
          %a = adapter.matrix %U : tensor<?x?xf64>
          %b = adapter.matrix %V : tensor<?x?xf64>
          %t = adapter.adjoint %a
          %c = adapter.chain %t, %b
          %same = adapter.identity
          %m = adapter.plus %same, %c
          %d = adapter.diagonal %l : tensor<?xf64>
          %r = adapter.right %m
          %s = adapter.left %d
          %u = adapter.compose %r, %s : !adapter.update<tensor<?x?xf64>>
          {END}
        }}""",
        lambda rng, out, cols: {"U": real(rng, 2, cols), "V": real(rng, 2, cols), "l": real(rng, out)},
        lambda W, b, t: t["l"][:, None] * (W @ (np.eye(W.shape[1]) + t["U"].T @ t["V"])),
    ),
    # the weight; the bias
    "masked": Form(
        f"""adapter.form @masked for [linear] roles(%M "M" : "out, cols") {{
          %w = adapter.weight : tensor<?x?xf64>
          %p = arith.mulf %w, %M : tensor<?x?xf64>
          %m = adapter.matrix %p : tensor<?x?xf64>
          %u = adapter.add %m
          {END}
        }}""",
        lambda rng, out, cols: {"M": real(rng, out, cols)},
        lambda W, b, t: W + W * t["M"],
    ),
    "shifted": Form(
        """adapter.form @shifted for [linear] roles(%l "l" : "out", %c "c" : "out") {
          %d = adapter.diagonal %l : tensor<?xf64>
          %u = adapter.left %d
          %b = adapter.bias : tensor<?xf64>
          %p = arith.mulf %b, %l : tensor<?xf64>
          %n = arith.addf %p, %c : tensor<?xf64>
          adapter.yield %u, %n : !adapter.update<tensor<?x?xf64>>, tensor<?xf64>
        }""",
        lambda rng, out, cols: {"l": real(rng, out), "c": real(rng, out)},
        lambda W, b, t: t["l"][:, None] * W,
        lambda W, b, t: t["l"] * b + t["c"],
    ),
    # an optional tensor: rows of given lengths
    "measured": Form(
        f"""adapter.form @measured for [linear] roles(%V "V" : "out, cols", %m "m" : "out" optional) {{
          %a = adapter.matrix %V : tensor<?x?xf64>
          %p = adapter.add %a
          %u = adapter.if_given %m : tensor<?xf64> -> !adapter.update<tensor<?x?xf64>> {{
            %x = adapter.magnitude %p, %m axis 0 : !adapter.update<tensor<?x?xf64>>, tensor<?xf64>
            adapter.yield %x : !adapter.update<tensor<?x?xf64>>
          }} else {{
            adapter.yield %p : !adapter.update<tensor<?x?xf64>>
          }}
          {END}
        }}""",
        lambda rng, out, cols: {"V": real(rng, out, cols), "m": real(rng, out)},
        lambda W, b, t: t["m"][:, None] * (W + t["V"]) / np.linalg.norm(W + t["V"], axis=1, keepdims=True),
    ),
}


def shuffle_product(cols, t):
    p = 2 + cols % 2
    s = shuffled((cols // p, 1, p), (2, 0, 1))
    return s @ np.diag(t["v"].astype(np.float64)) @ s @ np.diag(t["w"].astype(np.float64)) @ s.T


def write(path, *names):
    """A file of definitions, of all of them unless some are named."""
    path.write_text("\n".join(FORMS[name].text for name in names or FORMS))
    return path


def save(folder, form, tensors, shared=(), **fields):
    """An adapter's folder; `tensors` by module and role, the `shared` ones alike in all modules."""
    folder.mkdir(parents=True, exist_ok=True)
    flat = {
        f"base_model.{role}" if role in shared else f"base_model.model.{module}.{role}": np.ascontiguousarray(
            value
        )
        for module, roles in tensors.items()
        for role, value in roles.items()
    }
    safetensors.numpy.save_file(flat, folder / "adapter_model.safetensors")
    config = {"peft_type": "ADAPTER_OPT_FORM", "form": form} | fields
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder
