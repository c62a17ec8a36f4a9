# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Trains a small Llama on Python's own documentation, and adapters on other text; see README.md."""

import calendar
import os
import pathlib
import pydoc_data.topics
import sysconfig

import tokenizers
import torch
import transformers
from peft import LoHaConfig, LoraConfig, OFTConfig, get_peft_model

LENGTH, BATCH = 96, 16
TARGETS = ["q_proj", "v_proj", "o_proj", "up_proj", "down_proj"]
ADAPTERS = {
    "licence": LoraConfig(r=16, lora_alpha=32, target_modules=TARGETS),
    "program": OFTConfig(r=0, oft_block_size=16, target_modules=TARGETS, use_cayley_neumann=False),
    "date": LoHaConfig(r=8, alpha=16, target_modules=TARGETS),
}


def texts():
    """What the model and each adapter learn."""
    library = pathlib.Path(sysconfig.get_path("stdlib"))
    licences = [
        path for path in (library / "LICENSE.txt", *library.parents[1].glob("**/LICENSE*")) if path.is_file()
    ]
    programs = sorted(library.glob("*.py"), key=lambda path: path.name)[:60]
    days = [
        f"{day:02} {calendar.month_name[month]} {year}"
        for year in range(1950, 2000)
        for month in range(1, 13)
        for day in (1, 9, 17, 25)
    ]
    return {
        "model": "\n".join(pydoc_data.topics.topics.values()),
        "licence": "\n".join(path.read_text(errors="replace") for path in licences[:40])[:200_000],
        "program": "\n".join(path.read_text(errors="replace") for path in programs),
        "date": "\n".join(days),
    }


def make_tokenizer(folder, text):
    """A tokenizer of 1,024 pieces of bytes, as a folder."""
    made = tokenizers.ByteLevelBPETokenizer()
    made.train_from_iterator([text], vocab_size=1024, special_tokens=["<end>"], show_progress=False)
    wrapped = transformers.PreTrainedTokenizerFast(tokenizer_object=made._tokenizer, eos_token="<end>")
    wrapped.save_pretrained(folder)
    return wrapped


def train(model, ids, steps, rate):
    """Some steps on pieces of a text."""
    torch.manual_seed(0)
    parameters = [each for each in model.parameters() if each.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=rate)
    model.train()
    for _ in range(steps):
        starts = torch.randint(0, max(len(ids) - LENGTH, 1), (BATCH,))
        batch = torch.stack([ids[start : start + LENGTH] for start in starts])
        loss = model(input_ids=batch, labels=batch).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
    print(f"  {steps} steps, loss {loss.item():.2f}", flush=True)
    model.eval()


def make(folder, steps=400):
    """The model in FOLDER/model and the adapters in FOLDER/<name>."""
    transformers.logging.set_verbosity_error()
    read = texts()
    tokenizer = make_tokenizer(os.path.join(folder, "model"), "\n".join(read.values()))
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=192,
        intermediate_size=512,
        num_hidden_layers=4,
        num_attention_heads=6,
        num_key_value_heads=2,
        max_position_embeddings=512,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )
    model = transformers.LlamaForCausalLM(config)

    def encoded(name):
        return torch.tensor(tokenizer(read[name])["input_ids"])

    print("the model", flush=True)
    train(model, encoded("model"), steps, 2e-3)
    model.save_pretrained(os.path.join(folder, "model"))
    for name, config in ADAPTERS.items():
        print(f"the adapter '{name}' ({config.peft_type.value})", flush=True)
        adapted = get_peft_model(
            transformers.LlamaForCausalLM.from_pretrained(os.path.join(folder, "model")), config
        )
        train(adapted, encoded(name), steps // 2, 3e-3)
        adapted.save_pretrained(os.path.join(folder, name))
