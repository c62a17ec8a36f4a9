# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Published methods in the files that their authors' code writes, which ao.convert reads. Each case makes the
adapter `x` in a folder, and returns the outputs that NumPy makes of the method's formula."""

import json
import math

import numpy as np
import product
from own_forms import real
from published import case, save
from safetensors.numpy import load_file

ao = product.package()


def product_of(b, a):
    return b.astype(np.float64) @ a


@case("U03", "`convert corda`, form `corda`")
def corda_of_its_authors(world, folder):
    """U03: a whole model's checkpoint, before and after; BLinear comes first, and a bias was trained."""
    rng, states = world.rng, []
    rest = {
        "one.weight_residual": real(rng, 10, 16),
        "other.weight_residual": real(rng, 14, 16),
        "norm.weight": world.params["norm.weight"],
    }
    for _ in range(2):
        states.append(rest | {"one.ALinear.bias": real(rng, 10)})
        for name, out in (("one", 10), ("other", 14)):
            states[-1][f"{name}.BLinear.weight"] = real(rng, 3, 16)
            states[-1][f"{name}.ALinear.weight"] = real(rng, out, 3)
    initial, trained = states
    files = [save(folder / f"{i}.safetensors", each) for i, each in enumerate((trained, initial))]
    ao.convert("corda", files, folder / "x")
    changed = {"one.bias": trained["one.ALinear.bias"]}
    for name in ("one", "other"):
        a, b = (f"{name}.BLinear.weight", f"{name}.ALinear.weight")
        change = product_of(trained[b], trained[a]) - product_of(initial[b], initial[a])
        changed[f"{name}.weight"] = world.weight(name) + change
    return world.outputs(changed)


@case("U03", "`convert corda`, form `corda`")
def corda_of_peft(world, folder):
    """U03: PEFT's folders, whose configuration has the scale, ranks of a rank r each."""
    rng, states = world.rng, []
    for i in range(2):
        states.append(
            {
                "base_model.model.one.lora_A.weight": real(rng, 4, 16),
                "base_model.model.one.lora_B.weight": real(rng, 10, 4),
            }
        )
        (folder / f"{i}").mkdir()
        save(folder / f"{i}" / "adapter_model.safetensors", states[-1])
        config = {"peft_type": "LORA", "r": 4, "lora_alpha": 6}
        (folder / f"{i}" / "adapter_config.json").write_text(json.dumps(config))
    ao.convert("corda", [folder / "1", folder / "0"], folder / "x")
    new, old = (product_of(*list(each.values())[::-1]) for each in states[::-1])
    return world.outputs({"one.weight": world.weight("one") + 1.5 * (new - old)})


@case("U12", "`convert resadapter`")
def resadapter(world, folder):
    """U12: LoRA of a convolution, and the norm's weight and bias whole, in two files of diffusers."""
    rng = world.rng
    down, up = real(rng, 2, 4, 3, 3), real(rng, 8, 2, 1, 1)
    norms = {"norm.weight": real(rng, 16), "norm.bias": real(rng, 16)}
    factors = {"unet.conv.lora.down.weight": down, "unet.conv.lora.up.weight": up}
    factors["unet.conv.alpha"] = np.float32(3)
    files = [save(folder / "lora.safetensors", factors), save(folder / "norms.safetensors", norms)]
    ao.convert("resadapter", files, folder / "x")
    change = np.einsum("or,rikl->oikl", up[:, :, 0, 0].astype(np.float64), down)
    return world.outputs(norms | {"conv.weight": world.weight("conv") + 1.5 * change})


def hadamard(size):
    H = np.ones((1, 1))
    while len(H) < size:
        H = np.block([[H, H], [H, -H]])
    return H


@case("U20", "`convert qwha`, form `qwha`")
def qwha(world, folder):
    """U20: coefficients times the Walsh-Hadamard matrix of the inputs."""
    rng, tensors, changed = world.rng, {}, {}
    for name, out in (("one", 10), ("other", 14)):
        flat = rng.choice(out * 16, 7, replace=False)
        spectrum, indices = real(rng, 7), np.stack([flat // 16, flat % 16])
        tensors |= {
            f"base_model.model.{name}.qwha_spectrum": spectrum,
            f"base_model.model.{name}.qwha_indices_default": indices,
            f"base_model.model.{name}.qwha_scaling_default": np.float32(150),
            f"base_model.model.{name}.qwha_n_frequency_default": np.int64(7),
            f"base_model.model.{name}.qwha_random_loc_seed_default": np.int64(777),
        }
        F = np.zeros((out, 16))
        F[tuple(indices)] = spectrum
        changed[f"{name}.weight"] = world.weight(name) + 150 / math.sqrt(out) * F @ hadamard(16) / 16
    ao.convert("qwha", save(folder / "f.safetensors", tensors), folder / "x")
    return world.outputs(changed)


def _compeft(world, folder, planes):
    rng, initial, changes, now = world.rng, {}, {}, {}
    for name, shape in (("lora_A.weight", (3, 16)), ("lora_B.weight", (10, 3))):
        key = f"base_model.model.one.{name}"
        initial[key] = real(rng, *shape) if "A" in name else np.zeros(shape, np.float32)
        ternary = rng.integers(-1, 2, shape)
        changes[f"{key}.scale"] = np.float32(0.3)
        if planes:
            changes[f"{key}.positive"] = np.packbits(ternary.reshape(-1) > 0)
            changes[f"{key}.negative"] = np.packbits(ternary.reshape(-1) < 0)
        else:
            changes[f"{key}.ternary"] = ternary.astype(np.int8)
        now[name] = initial[key] + np.float64(np.float32(0.3)) * ternary
    (folder / "initial").mkdir()
    save(folder / "initial" / "adapter_model.safetensors", initial)
    config = {"peft_type": "LORA", "r": 3, "lora_alpha": 3}
    (folder / "initial" / "adapter_config.json").write_text(json.dumps(config))
    ao.convert("compeft", [save(folder / "f.safetensors", changes), folder / "initial"], folder / "x")
    change = product_of(now["lora_B.weight"], now["lora_A.weight"])
    return world.outputs({"one.weight": world.weight("one") + change})


@case("U08", "`convert lora-xs`, form `lora_sb`")
def lora_xs(world, folder):
    """U08: a matrix between factors that stay, under both names that PEFT's versions save."""
    rng, tensors, changed = world.rng, {}, {}
    for name, out, mark in (("one", 10, "."), ("other", 14, ".default_")):
        a, b, core = real(rng, 4, 16), real(rng, out, 4), real(rng, 4, 4)
        stem = f"base_model.model.{name}"
        tensors |= {f"{stem}.lora_A.weight": a, f"{stem}.lora_B.weight": b}
        tensors[f"{stem}{'_' if mark == '.' else mark}lora_latent_mapping.weight"] = core
        changed[f"{name}.weight"] = world.weight(name) + 2.0 * b.astype(np.float64) @ core @ a
    (folder / "f").mkdir()
    save(folder / "f" / "adapter_model.safetensors", tensors)
    config = {"peft_type": "LORA", "r": 4, "lora_alpha": 8}
    (folder / "f" / "adapter_config.json").write_text(json.dumps(config))
    ao.convert("lora-xs", folder / "f", folder / "x")
    return world.outputs(changed)


@case("U14", "`convert sora`, form `adalora`")
def sora(world, folder):
    """U14: directions whose gate is closed are not there."""
    rng, tensors, changed = world.rng, {}, {}
    for name, out in (("one", 10), ("other", 14)):
        a, b, gate = real(rng, 5, 16), real(rng, out, 5), real(rng, 1, 5)
        gate[0, [1, 3]] = 0
        stem = f"{name}.lora."
        tensors |= {f"{stem}lora_A": a, f"{stem}lora_B": b, f"{stem}gate": gate}
        changed[f"{name}.weight"] = world.weight(name) + 2.0 * (b.astype(np.float64) * gate) @ a
    ao.convert("sora", save(folder / "f.safetensors", tensors), folder / "x", scale=2.0)
    made = load_file(folder / "x" / "adapter_model.safetensors")
    assert made["base_model.model.one.A"].shape == (3, 16)
    return world.outputs(changed)


@case("U26", "`convert paca`, form `paca`")
def paca(world, folder):
    """U26: columns in the place of the weight's, in no order, times alpha / r."""
    rng, tensors, changed = world.rng, {}, {}
    for name, out in (("one", 10), ("other", 14)):
        columns, places = real(rng, out, 4), rng.permutation(16)[:4]
        stem = f"base_model.model.{name}."
        tensors |= {f"{stem}paca_w": columns, f"{stem}paca_indices": places}
        W = changed[f"{name}.weight"] = world.weight(name)
        W[:, places] = 0.5 * columns.astype(np.float64)
    (folder / "f").mkdir()
    save(folder / "f" / "adapter_model.safetensors", tensors)
    config = {"peft_type": "PACA", "r": 4, "paca_alpha": 2}
    (folder / "f" / "adapter_config.json").write_text(json.dumps(config))
    ao.convert("paca", folder / "f", folder / "x")
    return world.outputs(changed)


@case("U35", "`convert ssf`, forms `ssf`, `scale_shift`")
def ssf(world, folder):
    """U35: behind the last norm; the head whole."""
    gamma, beta = real(world.rng, 16), real(world.rng, 16)
    head = {"head.weight": real(world.rng, 5, 16), "head.bias": real(world.rng, 5)}
    tensors = head | {"ssf_scale_1": gamma, "ssf_shift_1": beta}
    ao.convert("ssf", save(folder / "f.safetensors", tensors), folder / "x")
    weight, bias = (world.params[f"norm.{each}"].astype(np.float64) for each in ("weight", "bias"))
    return world.outputs(head | {"norm.weight": gamma * weight, "norm.bias": gamma * bias + beta})


@case("U23", "`convert compeft`")
def compeft(world, folder):
    """U23: a ternary change of LoRA's factors as training began with them."""
    return _compeft(world, folder, planes=False)


@case("U23", "`convert compeft`")
def compeft_of_bits(world, folder):
    """U23: the same as two planes of bits."""
    return _compeft(world, folder, planes=True)


def write_lt_sft(rng, path, sizes, head=()):
    """A file of LT-SFT's layout, and the dense differences."""
    tensors, dense = {f"head.{name}": value for name, value in dict(head).items()}, {}
    for name, size in sizes.items():
        flat = np.sort(rng.choice(math.prod(size), 5, replace=False))
        values = real(rng, 5)
        tensors[f"body.{name}.size"] = np.array(size)
        tensors[f"body.{name}.index_steps"] = np.diff(flat, prepend=0).astype(np.int32)
        tensors[f"body.{name}.values"] = values
        change = np.zeros(math.prod(size))
        change[flat] = values
        # The first axis counts fastest.
        dense[name] = change.reshape(size[::-1]).T
    return save(path, tensors), dense


@case("U25", "`convert lt-sft`")
def lt_sft(world, folder):
    """U25: differences of a linear, a table, a norm and a bias, and a head in the place of the base's."""
    sizes = {"one.weight": (10, 16), "table.weight": (11, 6), "norm.weight": (16,), "other.bias": (14,)}
    head = {"head.weight": real(world.rng, 5, 16), "head.bias": real(world.rng, 5)}
    file, changes = write_lt_sft(world.rng, folder / "f.safetensors", sizes, head)
    ao.convert("lt-sft", file, folder / "x")
    changed = {name: world.params[name] + change for name, change in changes.items()} | head
    return world.outputs(changed)


@case("U29", "`convert lt-sft` of several")
def sums_of_sparse_updates(world, folder):
    """U29: language and ranking, added when they are converted; each is in a folder of its own, too."""
    sizes = {"one.weight": (10, 16), "norm.bias": (16,)}
    files, sums = [], {}
    for name in ("language", "ranking"):
        file, changes = write_lt_sft(world.rng, folder / f"{name}.safetensors", sizes)
        files.append(file)
        ao.convert("lt-sft", file, folder / name)
        for key, change in changes.items():
            sums[key] = sums.get(key, world.params[key].astype(np.float64)) + change
    ao.convert("lt-sft", files, folder / "x")
    return world.outputs(sums)


@case("U28", "`convert spiel`")
def spiel(world, folder):
    """U28: places in the flattened weights, with the adapter's name in the keys or without."""
    tensors, changed = {}, {}
    for name, out, mark in (("one", 10, ""), ("other", 14, ".default")):
        flat = np.sort(world.rng.choice(out * 16, 9, replace=False)).astype(np.int32)
        values = real(world.rng, 9)
        tensors[f"base_model.model.{name}.sft_delta{mark}.indices"] = flat
        tensors[f"base_model.model.{name}.sft_delta{mark}.values"] = values
        change = np.zeros(out * 16)
        change[flat] = values
        changed[f"{name}.weight"] = world.weight(name) + change.reshape(out, 16)
    ao.convert("spiel", save(folder / "f.safetensors", tensors), folder / "x")
    return world.outputs(changed)


@case("U31", "`convert sltrain`, form `sltrain`")
def sltrain(world, folder):
    """U31: a model whose linears are products and few elements, with a scale that was trained, or given."""
    rng, tensors, changed = world.rng, {}, {"norm.weight": real(world.rng, 16)}
    for name, out in (("one", 10), ("other", 14)):
        flat, values = np.sort(rng.choice(out * 16, 9, replace=False)), real(rng, 9)
        a, b = real(rng, 3, 16), real(rng, out, 3)
        tensors |= {f"{name}.lora_A": a, f"{name}.lora_B": b}
        tensors |= {f"{name}.sparse_index": flat, f"{name}.sparse_value": values}
        scale = 0.25
        if name == "one":
            tensors["one.scaling"], scale = np.array([0.7], np.float32), math.tanh(np.float32(0.7))
        W = scale * product_of(b, a).reshape(-1)
        W[flat] += values
        changed[f"{name}.weight"] = W.reshape(out, 16)
    tensors |= {"norm.weight": changed["norm.weight"], "one.bias": real(rng, 10)}
    changed["one.bias"] = tensors["one.bias"]
    ao.convert("sltrain", save(folder / "f.safetensors", tensors), folder / "x", scale=0.25)
    return world.outputs(changed)


@case("U17", "`convert loldu`, form `loldu`")
def loldu(world, folder):
    """U17: the factors of W = P L D U, of which the diagonal and a scale were trained; W's rest stays."""
    import scipy.linalg

    rng, rank, states, changed = world.rng, 4, [{}, {}], {}
    for name in ("one", "other"):
        W = world.weight(name)
        P, L, U = scipy.linalg.lu(W)
        D = np.diag(U).copy()
        U = U[: len(D)] / D[:, None]
        factors = {"P": P, "lora_B": L[:, :rank], "lora_A": U[:rank], "lora_dropout_mask": np.ones((1, 16))}
        z, scales = (real(rng, rank), D[:rank].astype(np.float32)), (np.float32(0.4), np.float32(0.5))
        products = []
        for state, diagonal, scale in zip(states, z, scales, strict=True):
            stem = f"{name}.parametrizations.weight."
            state |= {f"{stem}0.{key}": each.astype(np.float32) for key, each in factors.items()}
            state |= {f"{stem}0.vector_z": diagonal, f"{stem}0.scaling_factor": scale}
            made = {key: state[f"{stem}0.{key}"].astype(np.float64) for key in factors}
            products.append(scale * made["P"] @ made["lora_B"] @ np.diag(diagonal) @ made["lora_A"])
        for state in states:
            state[f"{stem}original"] = (W - products[1]).astype(np.float32)
        changed[f"{name}.weight"] = W + products[0] - products[1]
    files = [save(folder / f"{i}.safetensors", each) for i, each in enumerate(states)]
    ao.convert("loldu", files, folder / "x")
    return world.outputs(changed)
