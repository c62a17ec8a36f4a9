# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The command adapter-generate: text from a compiled language model, on the terminal."""

import os
import signal
import sys

from adapter_opt import _runtime
from adapter_opt.command_line import Parser, fail
from adapter_opt.text.generation import generate

DESCRIPTION = """\
Continues prompts with a language model that adapter-opt compiled with --stateful. One prompt's text appears
as it comes; those of several one after the other, each behind its number."""

EPILOG = """\
adapter-generate model.adapt --tokenizer model -p "Once upon a time"
adapter-generate model.adapt --tokenizer model -p "Bonjour" --adapter fr -p "SELECT" --adapter sql

Exit codes: 0 done, 1 that is not possible, 2 wrong usage."""


def _parser():
    parser = Parser(
        prog="adapter-generate",
        description=DESCRIPTION,
        epilog=EPILOG,
    )
    parser.add_argument("model", metavar="MODEL", help="the artifact, model.adapt")
    parser.add_argument(
        "--tokenizer",
        metavar="FOLDER",
        required=True,
        help="the folder with tokenizer.json, as export makes it",
    )
    parser.add_argument(
        "-p", "--prompt", action="append", required=True, metavar="TEXT", help="one for each row"
    )
    parser.add_argument(
        "--chat", action="store_true", help="prompts are what a user says, for the chat template"
    )
    parser.add_argument(
        "--adapter",
        action="append",
        metavar="NAME",
        help="what acts on all prompts; or one for each prompt, '-' for none",
    )
    parser.add_argument(
        "--load",
        action="append",
        default=[],
        metavar="NAME=FOLDER",
        help="an adapter for a slot of the model",
    )
    parser.add_argument("--switch", metavar="NAME", help="an adapter to switch into the weights first")
    parser.add_argument("-n", "--max-new-tokens", type=int, default=128, metavar="N")
    parser.add_argument(
        "--temperature", type=float, default=0.0, metavar="T", help="0: the best token always"
    )
    parser.add_argument("--top-k", type=int, default=0, metavar="K")
    parser.add_argument("--top-p", type=float, default=1.0, metavar="P")
    parser.add_argument("--min-p", type=float, default=0.0, metavar="P")
    parser.add_argument("--repetition-penalty", type=float, default=1.0, metavar="X")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument("--stop", action="append", default=[], metavar="TEXT", help="where a text ends")
    parser.add_argument("--batch", type=int, default=8, metavar="N", help="prompts at a time")
    parser.add_argument(
        "--threads", type=int, default=0, metavar="N", help="0: as many as there are processors"
    )
    return parser


def _adapters(names, prompts):
    """What ao.generate takes."""
    if not names:
        return None
    listed = [None if name == "-" else name for name in names]
    if len(listed) == 1:
        return listed * prompts
    if len(listed) != prompts:
        raise ValueError(f"{len(listed)} adapters for {prompts} prompts; give one, or one for each")
    return listed


def _run(options):
    from adapter_opt.runtime import load

    with load(options.model, threads=options.threads) as model:
        for each in options.load:
            name, _, folder = each.partition("=")
            if not name or not folder:
                raise ValueError(f"--load {each}: expected NAME=FOLDER")
            model.load_adapter(name, os.path.expanduser(folder))
        if options.switch:
            model.switch(options.switch)
        prompts = options.prompt
        if options.chat:
            prompts = [[{"role": "user", "content": text}] for text in prompts]
        alone = len(prompts) == 1

        def show(_, text):
            sys.stdout.write(text)
            sys.stdout.flush()

        results = generate(
            model,
            prompts,
            _adapters(options.adapter, len(prompts)),
            tokenizer=options.tokenizer,
            max_new_tokens=options.max_new_tokens,
            temperature=options.temperature,
            top_k=options.top_k,
            top_p=options.top_p,
            min_p=options.min_p,
            repetition_penalty=options.repetition_penalty,
            seed=options.seed,
            stop=options.stop,
            stream=show if alone else None,
            batch=options.batch,
        )
    if alone:
        print()
        return
    for number, result in enumerate(results):
        print(f"[{number}] {result.text}")


def main():
    """Runs the command with the arguments of this process; returns its exit code."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    parser = _parser()
    parser.add_argument("--version", action="version", version=f"adapter-generate {_runtime.__version__}")
    options = parser.parse_args()
    try:
        _run(options)
    except (ValueError, TypeError, OSError, MemoryError) as error:
        return fail(error, program="adapter-generate")
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    return 0


if __name__ == "__main__":
    sys.exit(main())
