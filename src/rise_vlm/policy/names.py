"""What a model's name stands for, told without torch, without the network and without reading weights.

Left out: opening what is there (``loading``).
"""

from __future__ import annotations

import re
from pathlib import Path

from rise_vlm.errors import UserError, nearest
from rise_vlm.policy.lora import adapter_base

_TINY = Path(__file__).parent / "tiny"
BUILT_IN = {"tiny": _TINY / "model", "tiny_fine": _TINY / "model_fine"}
"""The built-in models: one for drawn scenes, one for drawings with small things in them, which it sees at twice the
size (docs/tiny-model.md).
"""
FINE_WORLDS = ("blocks", "figures", "moves")
"""The worlds that ``tiny_fine`` was taught to see; ``tiny`` was taught the others."""


def called(name: str) -> str:
    """A model as the reports call it."""
    return f"built-in ({name})" if name in BUILT_IN else name


def resolve(name: str) -> tuple[str, bool]:
    """What transformers should open for ``name``, and whether it is a local folder.

    Raises:
        UserError: ``name`` is neither built in nor a folder with a checkpoint, nor a possible hub id.
    """
    if name in BUILT_IN:
        return str(BUILT_IN[name]), True
    path = Path(name).expanduser()
    if name.strip() and path.is_dir():
        if not (path / "config.json").is_file():
            raise UserError(f"model {name}: the folder holds no config.json, so it is no checkpoint.")
        return str(path), True
    if path.exists() or not re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", name) or _a_run_is_meant(path):
        raise UserError(
            f"model {name}: no such folder. Give a folder, a hub id such as Qwen/Qwen2-VL-2B-Instruct, or "
            f"{' or '.join(BUILT_IN)}." + nearest(name, [*BUILT_IN, *map(str, path.parent.glob("*/"))])
        )
    return name, False


def _a_run_is_meant(path: Path) -> bool:
    """Whether a folder beside ``path`` is a run's or a demo's: then it is a mistyped one, and no hub id."""
    return any((folder / mark).is_file() for folder in path.parent.glob("*") for mark in ("recipe.yaml", "demo.json"))


def config_file(name: str) -> Path | None:
    """The ``config.json`` of a model, of an adapter that of its base: in a folder or in the hub's cache.

    None for a hub id that is not in the cache. Raises UserError as ``resolve`` does.
    """
    source, local = resolve(adapter_base(name) or name)
    if local:
        return Path(source) / "config.json"
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(source, "config.json")
    return Path(cached) if isinstance(cached, str) else None


def weights_of(name: str) -> int | None:
    """Bytes of a model's weights, of an adapter its base's; None where they are not here. Raises UserError as
    ``resolve`` does."""
    config = config_file(name)
    return None if config is None else sum(file.stat().st_size for file in config.parent.glob("*.safetensors")) or None


def whereabouts(name: str) -> str:
    """Where a model comes from, for people. Raises UserError as ``resolve`` does."""
    base = adapter_base(name)
    if base is not None:
        return f"an adapter of {base}, {whereabouts(base)}"
    if name in BUILT_IN:
        return "the built-in model" if name == "tiny" else "the built-in model for small things"
    if resolve(name)[1]:
        return "a folder"
    if config_file(name) is not None:
        return "in the hub's cache on this machine"
    return "not on this machine: the first run fetches it from the Hugging Face hub, if it is there"
