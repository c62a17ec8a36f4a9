# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""One adapter in every format: a small model with Llama's module names, a random LoRA of PEFT's on it, and
writers of the formats' own libraries or after their definitions."""

import json

import numpy as np
import onnxruntime
import peft
import safetensors.torch
import torch
import zoo

WIDTH, HEADS, KEY_HEADS, RANK, ALPHA = 16, 4, 2, 3, 7.0
TARGETS = ["q_proj", "k_proj", "o_proj", "up_proj", "down_proj"]


class Block(torch.nn.Module):
    def __init__(self):
        super().__init__()
        linear = torch.nn.Linear
        keys = WIDTH // HEADS * KEY_HEADS
        self.self_attn, self.mlp = torch.nn.Module(), torch.nn.Module()
        self.self_attn.q_proj, self.self_attn.k_proj = linear(WIDTH, WIDTH), linear(WIDTH, keys)
        self.self_attn.o_proj = linear(WIDTH + keys, WIDTH)
        self.mlp.up_proj, self.mlp.down_proj = linear(WIDTH, 24), linear(24, WIDTH)

    def forward(self, x):
        a = self.self_attn
        x = x + a.o_proj(torch.cat([a.q_proj(x), torch.tanh(a.k_proj(x))], -1))
        return x + self.mlp.down_proj(torch.sigmoid(self.mlp.up_proj(x)))


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.model = torch.nn.Module()
        self.model.layers = torch.nn.ModuleList([Block(), Block()])

    def forward(self, x):
        for layer in self.model.layers:
            x = layer(x)
        return x


def export(path):
    names = dict(input_names=["x"], output_names=["y"])
    batch = torch.export.Dim("batch", min=1, max=32)
    with zoo.quiet():
        torch.onnx.export(
            Model().eval(),
            (torch.randn(3, WIDTH),),
            str(path),
            dynamic_shapes=({0: batch},),
            dynamo=True,
            external_data=False,
            verbose=False,
            **names,
        )
    return path


def adapted(seed=1, **settings):
    """A PEFT model whose factors are random."""
    settings = dict(r=RANK, lora_alpha=ALPHA, target_modules=TARGETS, init_lora_weights=False) | settings
    torch.manual_seed(seed)
    return peft.get_peft_model(Model(), peft.LoraConfig(**settings)).eval()


def factors(model):
    """A [r, in] and B [out, r] of each module, by its path."""
    found = {}
    for name, module in model.base_model.model.named_modules():
        if hasattr(module, "lora_A") and "default" in module.lora_A:
            found[name] = [
                getattr(module, x)["default"].weight.detach().clone() for x in ("lora_A", "lora_B")
            ]
    return found


def scale(model):
    return ALPHA / RANK


def save(path, tensors, metadata=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    safetensors.torch.save_file({k: v.contiguous() for k, v in tensors.items()}, path, metadata)
    return path


def kohya(model, folder):
    tensors = {}
    for path, (a, b) in factors(model).items():
        key = "lora_unet_" + path.replace(".", "_")
        tensors |= {
            f"{key}.lora_down.weight": a,
            f"{key}.lora_up.weight": b,
            f"{key}.alpha": torch.tensor(ALPHA),
        }
    return save(folder / "kohya.safetensors", tensors, {"ss_network_module": "networks.lora"})


def diffusers(model, folder):
    tensors = {}
    for path, (a, b) in factors(model).items():
        tensors |= {f"transformer.{path}.lora_A.weight": a, f"transformer.{path}.lora_B.weight": b}
    config = {"r": RANK, "lora_alpha": ALPHA, "target_modules": TARGETS}
    metadata = {"lora_adapter_metadata": json.dumps({f"transformer.{k}": v for k, v in config.items()})}
    return save(folder / "pytorch_lora_weights.safetensors", tensors, metadata).parent


def diffusers_old(model, folder):
    """Without a scale of its own: it is in B."""
    tensors = {}
    for path, (a, b) in factors(model).items():
        key = f"text_encoder.{path}.lora_linear_layer"
        tensors |= {f"{key}.down.weight": a, f"{key}.up.weight": b * scale(model)}
    return save(folder / "old.safetensors", tensors)


def mlx(model, folder):
    tensors = {}
    for path, (a, b) in factors(model).items():
        tensors |= {f"{path}.lora_a": a.T, f"{path}.lora_b": b.T}
    save(folder / "adapters.safetensors", tensors)
    parameters = {"rank": RANK, "scale": scale(model), "dropout": 0.0}
    config = {"fine_tune_type": "lora", "num_layers": 2, "lora_parameters": parameters}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


def onnx_adapter(model, folder):
    parameters = {}
    for path, (a, b) in factors(model).items():
        for letter, factor in (("A", a.T), ("B", b.T * scale(model))):
            array = np.ascontiguousarray(factor.numpy())
            parameters[f"{path}.lora_{letter}.MatMul.weight"] = onnxruntime.OrtValue.ortvalue_from_numpy(
                array
            )
    folder.mkdir(parents=True, exist_ok=True)
    file = onnxruntime.AdapterFormat()
    file.set_adapter_version(1)
    file.set_model_version(1)
    file.set_parameters(parameters)
    file.export_adapter(str(folder / "a.onnx_adapter"))
    return folder / "a.onnx_adapter"


GGUF_NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.o_proj": "attn_output",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def permuted(b, heads):
    """llama.cpp's order of a projection's rows: halves of a head interleaved."""
    return b.reshape(heads, 2, -1, b.shape[1]).transpose(1, 2).reshape(b.shape)


def gguf(model, folder, architecture="qwen2"):
    import gguf as library

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "lora.gguf"
    writer = library.GGUFWriter(str(path), architecture)
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", ALPHA)
    for name, (a, b) in factors(model).items():
        _, _, layer, module = name.split(".", 3)
        if architecture == "llama" and module in ("self_attn.q_proj", "self_attn.k_proj"):
            b = permuted(b, HEADS if "q_proj" in module else KEY_HEADS)
        for letter, factor in (("a", a), ("b", b)):
            writer.add_tensor(f"blk.{layer}.{GGUF_NAMES[module]}.weight.lora_{letter}", factor.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def gguf_llama(model, folder):
    folder.mkdir(parents=True, exist_ok=True)
    config = {"num_attention_heads": HEADS, "num_key_value_heads": KEY_HEADS}
    (folder / "config.json").write_text(json.dumps(config))
    return gguf(model, folder, "llama")


WRITERS = [diffusers, diffusers_old, mlx, onnx_adapter, gguf, gguf_llama]
