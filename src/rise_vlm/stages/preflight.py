"""Checks before a run begins, so that a mistake costs seconds and not the hour after which it would show."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rise_vlm.errors import UserError
from rise_vlm.policy.loading import resolve
from rise_vlm.policy.lora import LoraSettings, adapter_base, choose_targets
from rise_vlm.recipes.schema import Recipe

SOME_MB = 50
"""Less free space than this is surely too little for any run."""


def check_model(recipe: Recipe) -> None:
    """Raise UserError unless the recipe's model exists and can be a vision-language model. Weights are not read.

    Any architecture that transformers knows as one passes, by hub id and from a folder alike: whether it computes here
    what it computes by itself is asked when it is loaded.
    """
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

    base = adapter_base(recipe.model)
    source, local = resolve(base or recipe.model)
    if local:  # of a hub id transformers says what is wrong, at the first load
        path = Path(source) / "config.json"
        try:
            config: Any = json.loads(path.read_text(encoding="utf-8"))
            family = config["model_type"]
        except (OSError, ValueError, KeyError, TypeError):
            hint = " The built-in model is not in this installation." if recipe.model == "tiny" else ""
            raise UserError(f"model {recipe.model}: {path} cannot be read.{hint}") from None
        if family not in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES:
            raise UserError(
                f"model {recipe.model}: its architecture is '{family}', which is no vision-language model. "
                "Give one such as Qwen/Qwen2-VL-2B-Instruct."
            )
    if recipe.policy.lora is not None and base is None and recipe.policy.lora.targets != "all-linear":
        _check_targets(recipe.policy.lora, source, local)


def _check_targets(lora: LoraSettings, source: str, local: bool) -> None:
    """Raise UserError for targets that the decoder lacks, by a model without weights."""
    import torch
    from transformers import AutoConfig, AutoModelForImageTextToText

    try:
        config = AutoConfig.from_pretrained(source, local_files_only=local)
        with torch.device("meta"):
            model: Any = AutoModelForImageTextToText.from_config(config)
    except Exception:
        return  # the load says why, better than could be said here
    choose_targets(model.model.get_decoder(), lora)


def short_limits(recipe: Recipe) -> list[str]:
    """Notes on stages whose rationales may not be as long as they are asked to be."""
    words = recipe.closed_loop.length.words
    limits = {
        "warm_up": recipe.warm_up.max_new_tokens,
        "closed_loop": recipe.closed_loop.rollouts.max_new_tokens,
        "harvest": recipe.harvest.max_new_tokens,
    }
    return [
        f"{stage}: {limit} new tokens cannot hold the {words} words that a rationale may have; longer ones are cut off "
        "and lost"
        for stage, limit in limits.items()
        if stage in recipe.stages and limit < words
    ]


@contextmanager
def alone(out: Path) -> Iterator[None]:
    """Keep a second process out of the run folder ``out``; the lock ends with the process, however that ends.

    Raises:
        UserError: another one is at work there.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    folder = os.open(out, os.O_RDONLY)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"--out {out}: another process is at work in this folder. Let it finish, or give another folder.",
                exit_code=1,
            ) from None
        except OSError:
            pass  # a file system without locks
        yield
    finally:
        os.close(folder)


def check_writable(out: Path) -> None:
    """Raise UserError unless ``out`` can be made and written to."""
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out} is a file; give a folder.")
    parent = out
    while not parent.exists():
        parent = parent.parent
    if not parent.is_dir():
        raise UserError(f"--out {out}: {parent} is a file, so no folder can be made in it.")
    probe = parent / f".rise-{os.getpid()}"
    try:
        with probe.open("w", encoding="utf-8") as file:
            file.write("x" * 4096)
        free = os.statvfs(parent).f_bavail * os.statvfs(parent).f_frsize / 1e6 if hasattr(os, "statvfs") else SOME_MB
    except OSError as error:
        raise UserError(f"--out {out} cannot be written: {error.strerror}.", exit_code=1) from None
    finally:
        probe.unlink(missing_ok=True)
    if free < SOME_MB:
        raise UserError(f"--out {out}: only {free:.0f} MB are free there.", exit_code=1)
