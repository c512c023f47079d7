"""Checks before a run begins, so that a mistake costs seconds and not the hour after which it would show."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from rise_vlm.errors import UserError
from rise_vlm.policy.families import FAMILIES
from rise_vlm.policy.loading import resolve
from rise_vlm.policy.lora import adapter_base
from rise_vlm.recipes.schema import Recipe

SOME_MB = 50
"""Less free space than this is surely too little for any run."""


def check_model(recipe: Recipe) -> None:
    """Raise UserError unless the recipe's model exists and is of a supported family. Weights are not read."""
    source, local = resolve(adapter_base(recipe.model) or recipe.model)
    if not local:
        return  # a hub id: transformers says what is wrong, at the first load
    path = Path(source) / "config.json"
    try:
        config: Any = json.loads(path.read_text(encoding="utf-8"))
        family = config["model_type"]
    except (OSError, ValueError, KeyError, TypeError):
        hint = " The built-in model is not in this installation." if recipe.model == "tiny" else ""
        raise UserError(f"model {recipe.model}: {path} cannot be read.{hint}") from None
    if family not in FAMILIES:
        known = ", ".join(sorted(FAMILIES))
        raise UserError(f"model {recipe.model}: its architecture is '{family}'; rise-vlm trains {known}.")


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
