"""From a name to a model, a tokenizer and an image processor, with one clear message for whatever can be wrong.

A folder is never looked up on the network; a hub id is, unless it is cached. Left out: remote code, quantised weights.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from rise_vlm.errors import UserError, nearest
from rise_vlm.policy.families import FAMILIES, QwenFamily

BUILT_IN = Path(__file__).parent / "tiny" / "model"
DType = Literal["auto", "float32", "bfloat16"]


@dataclass(frozen=True)
class Loaded:
    """The parts of a checkpoint."""

    model: Any
    tokenizer: Any
    image_processor: Any
    family: QwenFamily


def resolve(name: str) -> tuple[str, bool]:
    """What transformers should open for ``name``, and whether it is a local folder.

    Raises:
        UserError: ``name`` is neither ``tiny``, a folder with a checkpoint, nor a possible hub id.
    """
    if name == "tiny":
        return str(BUILT_IN), True
    path = Path(name).expanduser()
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise UserError(f"model {name}: the folder holds no config.json, so it is no checkpoint.")
        return str(path), True
    looks_like_id = name.count("/") == 1 and not name.startswith((".", "/", "~")) and not name.endswith("/")
    if path.exists() or not looks_like_id:
        raise UserError(
            f"model {name}: no such folder. Give a folder, a hub id such as Qwen/Qwen2-VL-2B-Instruct, or 'tiny'."
            + nearest(name, ["tiny"])
        )
    return name, False


def pick_dtype(dtype: DType, device: torch.device) -> torch.dtype:
    """``auto`` is bfloat16 where matrix products in it are fast (CUDA, CPUs with bf16 instructions), else float32."""
    if dtype != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16}[dtype]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    return torch.bfloat16 if device.type == "cpu" and cpu_has_bf16() else torch.float32


def cpu_has_bf16() -> bool:
    """Whether this CPU multiplies bfloat16 matrices in hardware (AVX512-BF16 or AMX)."""
    amx = getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)()
    avx = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)()
    return bool(amx or avx)


def load_checkpoint(name: str, *, dtype: torch.dtype, max_pixels: int | None) -> Loaded:
    """Open model, tokenizer and image processor of ``name``.

    Raises:
        UserError: missing, of another architecture, or with weights that do not fit its configuration.
    """
    source, local = resolve(name)
    config = _config(name, source, local)
    family_class = FAMILIES.get(config.model_type)
    if family_class is None:
        raise UserError(
            f"model {name}: its architecture is '{config.model_type}', which rise-vlm cannot train yet. "
            f"Supported: {', '.join(sorted(FAMILIES))}."
        )
    tokenizer = _tokenizer(name, source, local)
    image_processor = _image_processor(name, source, local, max_pixels)
    model = _model(name, source, local, config, dtype)
    return Loaded(model, tokenizer, image_processor, family_class(config.model_type, config, image_processor))


def _config(name: str, source: str, local: bool) -> Any:
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(source, local_files_only=local)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"model {name}: its configuration cannot be read ({_short(error)}).") from None


def _tokenizer(name: str, source: str, local: bool) -> Any:
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(source, local_files_only=local)
    except Exception as error:
        raise UserError(f"model {name}: its tokenizer cannot be read ({_short(error)}).") from None
    if tokenizer.chat_template is None:
        template = Path(source) / "chat_template.json"
        if not template.is_file():
            raise UserError(f"model {name}: it has no chat template; rise-vlm needs an instruction-tuned checkpoint.")
        tokenizer.chat_template = json.loads(template.read_text(encoding="utf-8"))["chat_template"]
    return tokenizer


def _image_processor(name: str, source: str, local: bool, max_pixels: int | None) -> Any:
    from transformers import AutoImageProcessor

    try:
        # The PIL backend: the other one needs torchvision, and resizes a little differently.
        processor = AutoImageProcessor.from_pretrained(source, local_files_only=local, backend="pil")
    except Exception as error:
        raise UserError(f"model {name}: its image processor cannot be read ({_short(error)}).") from None
    if max_pixels is not None:
        if max_pixels < 1:
            raise UserError(f"max_pixels: {max_pixels} is no number of pixels.")
        size = dict(processor.size)
        size["longest_edge"] = max_pixels
        size["shortest_edge"] = min(size["shortest_edge"], max_pixels)
        processor.size = type(processor.size)(**size) if not isinstance(processor.size, dict) else size
    return processor


def _model(name: str, source: str, local: bool, config: Any, dtype: torch.dtype) -> Any:
    from transformers import AutoModelForImageTextToText

    try:
        model, info = AutoModelForImageTextToText.from_pretrained(
            source, config=config, local_files_only=local, dtype=dtype, attn_implementation="sdpa", output_loading_info=True
        )
    except Exception as error:
        raise UserError(f"model {name}: its weights cannot be loaded ({_short(error)}).") from None
    for what in ("missing_keys", "mismatched_keys"):
        if keys := info.get(what):
            shown = ", ".join(str(key) for key in sorted(keys, key=str)[:3])
            raise UserError(f"model {name}: its weights do not fit its configuration ({len(keys)} {what[:-5]}: {shown}).")
    return model


def _short(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:300]
