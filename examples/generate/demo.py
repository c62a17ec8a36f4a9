# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""One batch of prompts, each with an adapter of its own, in weights of several widths; see README.md."""

import os
import sys
import tempfile

import adapter_opt as ao
import torch
import train
import transformers
from peft import PeftModel

PROMPT, TOKENS = "The ", 24


def greedy(folder, tokenizer, adapter):
    """The tokens that PEFT gives."""
    model = transformers.LlamaForCausalLM.from_pretrained(os.path.join(folder, "model"))
    if adapter:
        model = PeftModel.from_pretrained(model, os.path.join(folder, adapter))
    ids = tokenizer(PROMPT, return_tensors="pt")["input_ids"]
    mask = torch.ones_like(ids)
    with torch.no_grad():
        made = model.eval().generate(
            input_ids=ids, attention_mask=mask, do_sample=False, max_new_tokens=TOKENS, pad_token_id=0
        )
    return [each for each in made[0, ids.shape[1] :].tolist() if each != tokenizer.eos_token_id]


def main():
    """Prints what each adapter makes of the prompt; the exit code says whether PEFT agrees."""
    folder = sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp()
    if not os.path.exists(os.path.join(folder, "date", "adapter_config.json")):
        train.make(folder)
    exported = os.path.join(folder, "exported")
    graph = ao.export(os.path.join(folder, "model"), exported, cache=True, replace=True)
    adapters = {name: ao.Adapter(os.path.join(folder, name), time="row") for name in train.ADAPTERS}
    named = [None, *adapters]
    tokenizer = transformers.AutoTokenizer.from_pretrained(exported)
    agrees = True
    for weights in (None, "bf16", "int4"):
        model = ao.compile(graph, adapters, stateful=True, weights=weights)
        made = ao.generate(model, [PROMPT] * len(named), named, tokenizer=exported, max_new_tokens=TOKENS)
        print(f"\nweights of {weights or 'f32'}:")
        for name, each in zip(named, made, strict=True):
            print(f"  {name or 'no adapter':10} {PROMPT + each.text!r}")
        if weights is None:
            wanted = [greedy(folder, tokenizer, name) for name in named]
            agrees = [each.ids for each in made] == wanted
            print("  PEFT gives the same tokens" if agrees else "  PEFT gives other tokens")
    return 0 if agrees else 1


if __name__ == "__main__":
    sys.exit(main())
