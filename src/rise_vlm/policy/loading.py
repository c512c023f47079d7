"""From a name to a model, a tokenizer and a processor, with one clear message for whatever can be wrong.

A folder is never looked up on the network; a hub id is, unless it is cached. Left out: remote code, quantised weights.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import transformers
from torch import nn

from rise_vlm.errors import UserError
from rise_vlm.policy.families import Family, family_of
from rise_vlm.policy.names import resolve
from rise_vlm.policy.traits import traits_of

QUIET_BELOW = 1 << 30
"""Checkpoints of fewer bytes load without a progress bar."""
TOKENIZER_FILES = ("tokenizer.json", "vocab.json", "tokenizer.model")
DType = Literal["auto", "float32", "bfloat16"]


@dataclass(frozen=True)
class Loaded:
    """The parts of a checkpoint."""

    model: Any
    tokenizer: Any
    family: Family


def pick_dtype(dtype: DType, device: torch.device) -> torch.dtype:
    """``auto`` is bfloat16 where matrix products in it are fast (CUDA, CPUs with bf16 instructions), else float32."""
    if dtype != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16}[dtype]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    return torch.bfloat16 if device.type == "cpu" and cpu_has_bf16() else torch.float32


def cpu_has_bf16() -> bool:
    """Whether this CPU multiplies bfloat16 matrices in hardware (AVX512-BF16 or AMX)."""
    asked = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, name, lambda: False)() for name in asked)


def load_checkpoint(name: str, *, dtype: torch.dtype, max_pixels: int | None) -> Loaded:
    """Open model, tokenizer and processor of ``name``.

    Raises:
        UserError: missing, of another architecture, or with weights that do not fit its configuration.
    """
    source, local = resolve(name)
    with _quiet(source, local):
        config = _config(name, source, local)
        tokenizer = _tokenizer(name, source, local)
        processor = _processor(name, source, local, config.model_type, tokenizer)
        tokenizer.chat_template = _chat_template(name, source, tokenizer, processor)
        if max_pixels is not None:
            _bound(processor, max_pixels, config.model_type)
        model = _model(name, source, local, config, dtype)
    _check_decoder(name, model)
    return Loaded(model, tokenizer, family_of(config, tokenizer, processor))


def load_frame(name: str, *, max_pixels: int | None) -> Any:
    """The frame in which a model writes boxes, told without its weights. Raises UserError as ``load_checkpoint``."""
    source, local = resolve(name)
    with _quiet(source, local):
        config = _config(name, source, local)
        tokenizer = _tokenizer(name, source, local)
        processor = _processor(name, source, local, config.model_type, tokenizer)
        if max_pixels is not None:
            _bound(processor, max_pixels, config.model_type)
        return family_of(config, tokenizer, processor).frame


@contextmanager
def _quiet(source: str, local: bool) -> Iterator[None]:
    """transformers' warnings off (ours say more), and its progress bar too for small local checkpoints."""
    from transformers.utils import logging

    level = logging.get_verbosity()
    bar = logging.is_progress_bar_enabled()
    small = local and sum(f.stat().st_size for f in Path(source).glob("*.safetensors")) < QUIET_BELOW
    logging.set_verbosity_error()
    if small:
        logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()


def _config(name: str, source: str, local: bool) -> Any:
    from transformers import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING, AutoConfig

    try:
        config = AutoConfig.from_pretrained(source, local_files_only=local)
    except Exception as error:
        what = "its configuration cannot be read" if local else "it cannot be found"
        raise UserError(f"model {name}: {what} ({_short(error)}).") from None
    if type(config) not in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING:
        raise UserError(
            f"model {name}: its architecture '{config.model_type}' is no vision-language model. "
            "Give one such as Qwen/Qwen2-VL-2B-Instruct."
        )
    return config


def _tokenizer(name: str, source: str, local: bool) -> Any:
    from transformers import AutoTokenizer

    # Without any file transformers would make up an empty tokenizer.
    if local and not any((Path(source) / file).is_file() for file in TOKENIZER_FILES):
        raise UserError(f"model {name}: its tokenizer cannot be read (none of {', '.join(TOKENIZER_FILES)}).")
    try:
        return AutoTokenizer.from_pretrained(source, local_files_only=local)
    except Exception as error:
        raise UserError(f"model {name}: its tokenizer cannot be read ({_short(error)}).") from None


def _chat_template(name: str, source: str, tokenizer: Any, processor: Any) -> str:
    """The tokenizer's, the processor's, or that of the file in which older checkpoints keep it."""
    from transformers.utils.hub import cached_file

    stated = tokenizer.chat_template or getattr(processor, "chat_template", None)
    if stated is None:
        file = cached_file(source, "chat_template.json", _raise_exceptions_for_missing_entries=False)
        stated = None if file is None else json.loads(Path(file).read_text(encoding="utf-8")).get("chat_template")
    if stated is None:
        raise UserError(f"model {name}: it has no chat template. Take the instruction-tuned version of the model.")
    return stated


def _processor(name: str, source: str, local: bool, model_type: str, tokenizer: Any) -> Any:
    """The image processor where that suffices, else the family's processor without the part for videos."""
    from transformers import AutoImageProcessor
    from transformers.models.auto.processing_auto import PROCESSOR_MAPPING

    traits = traits_of(model_type)
    try:
        # The PIL backend: the other one needs torchvision, and resizes a little differently.
        images = AutoImageProcessor.from_pretrained(source, local_files_only=local, backend="pil")
        if traits.patches:
            return images
        own = PROCESSOR_MAPPING._model_mapping[model_type]
        assert own is not None
        kind = getattr(transformers, traits.processor or own)
        # Processors of videos need torchvision, and no processor asks for its own before it meets a video.
        stills = type(own, (kind,), {"get_attributes": classmethod(lambda _: ["image_processor", "tokenizer"])})
        settings, _ = kind.get_processor_dict(source, local_files_only=local)
        return stills.from_args_and_dict([images, tokenizer], settings)  # type: ignore[attr-defined]
    except Exception as error:
        raise UserError(f"model {name}: its image processor cannot be read ({_short(error)}).") from None


def _bound(processor: Any, max_pixels: int, model_type: str) -> None:
    """Scale pictures down to at most ``max_pixels``."""
    if max_pixels < 1:
        raise UserError(f"max_pixels: {max_pixels} is no number of pixels.")
    size = getattr(processor, "size", None)  # of processors that scale by the number of pixels
    if size is None or "longest_edge" not in size or "shortest_edge" not in size:
        raise UserError(f"max_pixels: models of architecture '{model_type}' have no such setting. Leave it out.")
    processor.size = {"shortest_edge": min(size["shortest_edge"], max_pixels), "longest_edge": max_pixels}


def _model(name: str, source: str, local: bool, config: Any, dtype: torch.dtype) -> Any:
    from transformers import AutoModelForImageTextToText

    try:
        loaded: Any = AutoModelForImageTextToText.from_pretrained(
            source,
            config=config,
            local_files_only=local,
            dtype=dtype,
            attn_implementation="sdpa",
            output_loading_info=True,
        )
    except Exception as error:
        raise UserError(f"model {name}: its weights cannot be loaded ({_short(error)}).") from None
    model, info = loaded
    for what in ("missing_keys", "mismatched_keys"):
        if keys := info.get(what):
            shown = ", ".join(str(key) for key in sorted(keys, key=str)[:3])
            raise UserError(
                f"model {name}: its weights do not fit its configuration ({len(keys)} {what[:-5]}: {shown})."
            )
    return model


def _check_decoder(name: str, model: Any) -> None:
    """Refuse what the engine would compute wrongly: layers with a state, output layers that are not one matrix."""
    text = model.config.get_text_config()
    others = set(getattr(text, "layer_types", None) or ()) - {"full_attention", "sliding_attention"}
    if others:
        raise UserError(
            f"model {name}: its decoder has layers of kind {', '.join(sorted(others))}; rise-vlm needs full attention."
        )
    head = model.get_output_embeddings()
    if not isinstance(head, nn.Linear) or head.bias is not None or getattr(text, "final_logit_softcapping", None):
        raise UserError(f"model {name}: its output layer is not a single matrix; rise-vlm cannot train it.")


def refuse_windows(name: str, model: Any) -> None:
    """Refuse decoders that see only a window, which takes a family that shares its prompts.

    Raises:
        UserError: some layers of the decoder do.
    """
    text = model.config.get_text_config()
    window = getattr(text, "sliding_window", None)
    sliding = "sliding_attention" in (getattr(text, "layer_types", None) or ["sliding_attention"])
    if window is not None and sliding and window < text.max_position_embeddings:
        raise UserError(
            f"model {name}: its decoder sees only a window of {window} tokens; rise-vlm needs full attention."
        )


def _short(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:300].rstrip(".")
