# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Small decoders of random weights as GenAI builder writes them (f32 or int4, for CPUs), with LoRAs."""

import json
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
import product
import torch
import transformers
import zoo
from peft import LoraConfig, get_peft_model

# The builder takes a linear with as many outputs as there are words for the head: none else may have 160.
TEXT = dict(
    hidden_size=64,
    intermediate_size=96,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    vocab_size=160,
    max_position_embeddings=64,
    bos_token_id=1,
    eos_token_id=2,
    pad_token_id=0,
)
GEMMA = TEXT | dict(head_dim=16, query_pre_attn_scalar=24, sliding_window=8)
APART = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
WHOLE = ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"]
# Class, configuration, settings, linears.
MODELS = {
    "llama": ("LlamaForCausalLM", "LlamaConfig", TEXT, APART),
    "qwen2": ("Qwen2ForCausalLM", "Qwen2Config", TEXT, APART),
    "qwen3": ("Qwen3ForCausalLM", "Qwen3Config", TEXT | dict(head_dim=16), APART),
    "gemma2": ("Gemma2ForCausalLM", "Gemma2Config", GEMMA, APART),
    "mistral": ("MistralForCausalLM", "MistralConfig", TEXT | dict(sliding_window=8), APART),
    "phi3": ("Phi3ForCausalLM", "Phi3Config", TEXT | dict(original_max_position_embeddings=64), WHOLE),
}


def make(name):
    kind, config, settings, _ = MODELS[name]
    torch.manual_seed(7)
    with zoo.quiet():
        model = getattr(transformers, kind)(getattr(transformers, config)(**settings))
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            about = 1.0 if "norm" in key and "gemma" not in name else 0.0
            parameter.copy_(about + torch.randn(parameter.shape) * 0.15)
    return model.float().eval()


class Built:
    """One model: transformers' own, the builder's graph, adapters by name with PEFT's model."""

    def __init__(self, name, folder, precision="fp32"):
        from tokenizers import Tokenizer, models

        self.name, self.folder, self.adapters = name, folder, {}
        self.model = make(name)
        self.model.save_pretrained(folder / "in")
        # The builder writes a tokenizer beside the graph.
        words = models.WordLevel({f"t{i}": i for i in range(128)}, unk_token="t3")
        transformers.PreTrainedTokenizerFast(tokenizer_object=Tokenizer(words)).save_pretrained(folder / "in")
        # Its own process: it looks for modules of its own by short names.
        command = [sys.executable, "-m", "onnxruntime_genai.models.builder", "-p", precision, "-e", "cpu"]
        places = ["-i", folder / "in", "-o", folder / "out", "-c", folder / "cache"]
        done = subprocess.run([*command, *places], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2000:]
        self.graph = folder / "out" / "model.onnx"
        self.theirs = onnxruntime.InferenceSession(str(self.graph), providers=["CPUExecutionProvider"])
        settings = json.loads((folder / "out" / "genai_config.json").read_text())["model"]["decoder"]
        window = settings.get("sliding_window", {})
        self.window, self.sliding = window.get("window_size", 0), window.get("layers", [])

    def adapter(self, name, rank, **options):
        """Trains an adapter of random numbers, whose folder does not say where its base is."""
        made = get_peft_model(
            make(self.name), LoraConfig(r=rank, target_modules=MODELS[self.name][3], **options)
        )
        torch.manual_seed(rank)
        with torch.no_grad():
            for key, parameter in made.named_parameters():
                if "lora_" in key:
                    parameter.copy_(torch.randn(parameter.shape) * 0.1)
        folder = self.folder / name
        made.save_pretrained(folder)
        config = json.loads((folder / "adapter_config.json").read_text())
        (folder / "adapter_config.json").write_text(json.dumps(config | {"base_model_name_or_path": None}))
        self.adapters[name] = (folder, made.eval())
        return self

    def compile(self, time="", names=("a", "b")):
        """With adapters bound at that time, or with none."""
        names = names if time else ()
        target = self.folder / f"{time or 'plain'}-{''.join(names)}.adapt"
        if not target.exists():
            adapters = [f"--adapter={name}={self.adapters[name][0]}@{time}" for name in names]
            product.opt(self.graph, *adapters, "-o", target)
        return product.package().load(str(target), threads=2)

    def feed(self, ids, mask=None, past=None):
        """Inputs of a call: a prompt, or what goes behind the caches of another call's results."""
        rows = len(ids)
        made = {"input_ids": ids, "attention_mask": np.ones_like(ids) if mask is None else mask}
        for entry in self.theirs.get_inputs():
            if not entry.name.startswith("past"):
                continue
            layer = int(entry.name.split(".")[1])
            empty = np.zeros((rows, 2, self.window if layer in self.sliding else 0, 16), np.float32)
            made[entry.name] = past[entry.name.replace("past_key_values", "present")] if past else empty
        names = {entry.name for entry in self.theirs.get_inputs()}
        assert set(made) == names, set(made) ^ names
        return made

    def reference(self, feed):
        """ONNX Runtime's results, by name."""
        names = [entry.name for entry in self.theirs.get_outputs()]
        return dict(zip(names, self.theirs.run(names, feed), strict=True))

    def logits(self, adapter, ids):
        """PEFT's, or the base's where the adapter is None."""
        model = self.adapters[adapter][1] if adapter else self.model
        with torch.no_grad():
            return model(input_ids=torch.tensor(ids)).logits.numpy()

    def over_weights_of_file(self, adapter, ids):
        """PEFT's logits and the base's, with the weights that the file's integers stand for."""
        if not hasattr(self, "dequantised"):
            self.dequantised = dequantised(onnx.load(self.graph))
        results = []
        for model in (self.adapters[adapter][1], self.model):
            before = {}
            with torch.no_grad():
                for key, weight in model.named_parameters():
                    name = key.replace("base_model.model.", "").replace(".base_layer", "")
                    if name in self.dequantised and "lora_" not in key:
                        before[key] = weight.clone()
                        weight.copy_(torch.tensor(self.dequantised[name]))
                results.append(model(input_ids=torch.tensor(ids)).logits.numpy())
                for key, weight in model.named_parameters():
                    if key in before:
                        weight.copy_(before[key])
        return results


def dequantised(model):
    """Weights [out, in] of the MatMulNBits of a graph, by the names that they have in checkpoints."""
    tensors = {each.name: onnx.numpy_helper.to_array(each) for each in model.graph.initializer}
    made = {}
    for node in model.graph.node:
        if node.op_type != "MatMulNBits":
            continue
        packed, scales = tensors[node.input[1]], tensors[node.input[2]].astype(np.float64)
        outputs, blocks, _ = packed.shape
        codes = np.stack([packed & 15, packed >> 4], -1).reshape(outputs, blocks, -1).astype(np.float64)
        weight = ((codes - 8) * scales.reshape(outputs, blocks, 1)).reshape(outputs, -1)
        layer = node.name.strip("/").replace("/", ".").rsplit(".MatMul", 1)[0]
        layer = layer.replace(".attn.", ".self_attn.")
        parts = {"": weight}
        if layer.endswith("qkv_proj"):
            layer = layer.removesuffix("qkv_proj")
            ends = np.cumsum([heads * 16 for heads in (4, 2)])
            parts = dict(zip(("q_proj", "k_proj", "v_proj"), np.split(weight, ends), strict=True))
        for name, part in parts.items():
            made[f"{layer}{name}.weight"] = part.astype(np.float32)
    return made
