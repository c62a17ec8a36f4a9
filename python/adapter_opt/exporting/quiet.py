# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Silence for as long as something is exported: PyTorch and transformers say a lot that no user can act
on."""

import contextlib
import io
import logging
import warnings

import huggingface_hub.constants
import torch
import transformers


@contextlib.contextmanager
def quiet():
    """Swallows warnings, log lines, progress bars and what is printed, and keeps the Hub's library off the
    network. Everything is as before afterwards."""
    bars, offline = (
        transformers.utils.logging.is_progress_bar_enabled(),
        huggingface_hub.constants.HF_HUB_OFFLINE,
    )
    level, disabled = transformers.logging.get_verbosity(), logging.root.manager.disable
    transformers.logging.set_verbosity(logging.CRITICAL)
    transformers.utils.logging.disable_progress_bar()
    huggingface_hub.constants.HF_HUB_OFFLINE = True
    logging.disable(logging.CRITICAL)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
            torch.no_grad(),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
        huggingface_hub.constants.HF_HUB_OFFLINE = offline
        transformers.logging.set_verbosity(level)
        if bars:
            transformers.utils.logging.enable_progress_bar()
