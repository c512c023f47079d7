"""A tiny random checkpoint of each family, laid out as real ones are, made without network and without torchvision.

``save_family(folder, kind)`` writes one; ``KINDS`` names them. Weights are drawn wide, so that a wrong mask, position
or feature changes the output plainly.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tiny_models import CHAT_TEMPLATE, save_tiny, tiny_tokenizer
from transformers import AutoModelForImageTextToText

WIDTH = 0.25
"""Standard deviation of the weights."""
PICTURE = "<|vision_start|><|image_pad|><|vision_end|>"


def text_config(vocabulary: int, **more: Any) -> dict[str, Any]:
    """A decoder of two layers, width 32."""
    return {
        "vocab_size": vocabulary,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 1024,
        "initializer_range": WIDTH,
        "bos_token_id": None,
        "eos_token_id": 2,
        "pad_token_id": 0,
        **more,
    }


def vision_config(**more: Any) -> dict[str, Any]:
    """A tower of two layers, width 16, 14 pixels to a patch."""
    return {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 28,
        "patch_size": 14,
        "initializer_range": WIDTH,
        **more,
    }


def write(
    folder: Path,
    config: Any,
    image_processor: Any,
    processor: dict[str, Any],
    tokens: dict[str, str],
    picture: str,
    other_tokens: tuple[str, ...] = (),
) -> None:
    """Model, tokenizer (with ``tokens`` as named special tokens), image processor and the processor's settings."""
    tokenizer = tokenizer_of(tokens, other_tokens)
    tokenizer.chat_template = CHAT_TEMPLATE.replace(PICTURE, picture)
    torch.manual_seed(0)
    model = AutoModelForImageTextToText.from_config(config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "norm" not in name.lower():
                torch.nn.init.normal_(weight, std=WIDTH)
    model.generation_config.eos_token_id, model.generation_config.pad_token_id = 2, 0
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    image_processor.save_pretrained(folder)
    (folder / "processor_config.json").write_text(json.dumps(processor), encoding="utf-8")


def tokenizer_of(tokens: dict[str, str], other_tokens: tuple[str, ...] = ()) -> Any:
    """The byte tokenizer with more tokens: special in angle brackets, ``tokens`` by the names processors ask for."""
    from transformers import PreTrainedTokenizerFast

    base = tiny_tokenizer()
    special = [*tokens.values(), *(token for token in other_tokens if token.startswith("<"))]
    base.add_special_tokens({"additional_special_tokens": special}, replace_extra_special_tokens=False)
    base.add_tokens([token for token in other_tokens if token not in special])
    return PreTrainedTokenizerFast(
        tokenizer_object=base._tokenizer,
        eos_token=base.eos_token,
        pad_token=base.pad_token,
        extra_special_tokens=tokens,
        clean_up_tokenization_spaces=False,
    )


def ids_of(tokens: dict[str, str], other_tokens: tuple[str, ...] = ()) -> tuple[dict[str, int], int]:
    """The id of each named token, and the size of the vocabulary."""
    tokenizer = tokenizer_of(tokens, other_tokens)
    return {name: tokenizer.convert_tokens_to_ids(token) for name, token in tokens.items()}, len(tokenizer)


def save_qwen3_vl(folder: Path) -> None:
    """Deepstack: features of two tower layers go into the first two decoder layers."""
    from transformers import Qwen3VLConfig
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    ids = {name: tiny_tokenizer().convert_tokens_to_ids(f"<|{name}|>") for name in ("image_pad", "video_pad")}
    rope = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 1, 1], "mrope_interleaved": True}
    config = Qwen3VLConfig(
        text_config=text_config(264, head_dim=8, rope_parameters=rope),
        vision_config={
            "depth": 3,
            "hidden_size": 16,
            "intermediate_size": 32,
            "num_heads": 2,
            "patch_size": 14,
            "out_hidden_size": 32,
            "num_position_embeddings": 16,
            "deepstack_visual_indexes": [0, 1],
            "initializer_range": WIDTH,
        },
        image_token_id=ids["image_pad"],
        video_token_id=ids["video_pad"],
        vision_start_token_id=3,
        vision_end_token_id=4,
    )
    processor = Qwen2VLImageProcessorPil(min_pixels=28 * 28, max_pixels=84 * 84, patch_size=14)
    write(folder, config, processor, {"processor_class": "Qwen3VLProcessor"}, {}, PICTURE)


def save_idefics3(folder: Path, kind: str = "Idefics3") -> None:
    """Pictures are cut into tiles, and one of the whole follows; SmolVLM is the same with another decoder."""
    import transformers
    from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil
    from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil

    tokens = {"image_token": "<image>"}
    cells = tuple(f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7))
    others = ("<fake_token_around_image>", "<end_of_utterance>", "<global-img>", *cells)
    ids, size = ids_of(tokens, others)
    config = getattr(transformers, f"{kind}Config")(
        text_config=text_config(size, model_type="llama"),
        vision_config=vision_config(),
        image_token_id=ids["image_token"],
        scale_factor=2,
    )
    image_processor = {"Idefics3": Idefics3ImageProcessorPil, "SmolVLM": SmolVLMImageProcessorPil}[kind]
    made = image_processor(size={"longest_edge": 56}, max_image_size={"longest_edge": 28})
    write(folder, config, made, {"processor_class": f"{kind}Processor", "image_seq_len": 1}, tokens, "<image>", others)


def save_smolvlm(folder: Path) -> None:
    """See ``save_idefics3``."""
    save_idefics3(folder, "SmolVLM")


def save_internvl(folder: Path) -> None:
    """Tiles of 56 pixels, four features each, and a thumbnail."""
    from transformers import InternVLConfig
    from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil

    tokens = {
        "start_image_token": "<img>",
        "end_image_token": "</img>",
        "context_image_token": "<IMG_CONTEXT>",
        "video_token": "<video>",
    }
    ids, size = ids_of(tokens)
    config = InternVLConfig(
        text_config=text_config(size, model_type="qwen2"),
        vision_config=vision_config(image_size=[56, 56], patch_size=[14, 14]),
        image_token_id=ids["context_image_token"],
        image_seq_length=4,
    )
    image_processor = GotOcr2ImageProcessorPil(size={"height": 56, "width": 56}, max_patches=2)
    settings = {"processor_class": "InternVLProcessor", "image_seq_length": 4}
    write(folder, config, image_processor, settings, tokens, "<IMG_CONTEXT>")


def save_llava_onevision(folder: Path) -> None:
    """A picture alone is cut into tiles, with a token after each row; one of several is not."""
    from transformers import LlavaOnevisionConfig
    from transformers.models.llava_onevision.image_processing_pil_llava_onevision import (
        LlavaOnevisionImageProcessorPil,
    )

    tokens = {"image_token": "<image>", "video_token": "<video>"}
    ids, size = ids_of(tokens)
    grid = [[28, 28], [28, 56], [56, 28], [56, 56]]
    config = LlavaOnevisionConfig(
        text_config=text_config(size, model_type="qwen2"),
        vision_config=vision_config(model_type="siglip_vision_model", vision_use_head=False),
        image_token_index=ids["image_token"],
        video_token_index=ids["video_token"],
        image_grid_pinpoints=grid,
    )
    image_processor = LlavaOnevisionImageProcessorPil(size={"height": 28, "width": 28}, image_grid_pinpoints=grid)
    settings = {
        "processor_class": "LlavaOnevisionProcessor",
        "num_image_tokens": 4,
        "vision_feature_select_strategy": "full",
    }
    write(folder, config, image_processor, settings, tokens, "<image>")


def save_llava(folder: Path, **text: Any) -> None:
    """A CLIP tower, 4 features per picture, plain positions; ``text`` may name another decoder."""
    from transformers import LlavaConfig
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    tokens = {"image_token": "<image>"}
    ids, size = ids_of(tokens)
    config = LlavaConfig(
        text_config=text_config(size, **{"model_type": "llama", **text}),
        vision_config=vision_config(model_type="clip_vision_model", projection_dim=16),
        image_token_index=ids["image_token"],
        image_seq_length=4,
    )
    image_processor = CLIPImageProcessorPil(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28})
    settings = {
        "processor_class": "LlavaProcessor",
        "patch_size": 14,
        "vision_feature_select_strategy": "default",
        "num_additional_image_tokens": 1,
    }
    write(folder, config, image_processor, settings, tokens, "<image>")


def save_glm4v(folder: Path) -> None:
    """Patches and M-RoPE as in Qwen2-VL, in another tower and decoder."""
    from transformers import Glm4vConfig
    from transformers.models.glm4v.image_processing_pil_glm4v import Glm4vImageProcessorPil

    names = ("image", "video", "begin_of_image", "end_of_image", "begin_of_video", "end_of_video")
    tokens = {name: f"<|{name}|>" for name in names}
    ids, size = ids_of(tokens)
    rope = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [1, 1, 2], "partial_rotary_factor": 1.0}
    config = Glm4vConfig(
        text_config=text_config(size, rope_parameters=rope),
        vision_config={
            "depth": 2,
            "hidden_size": 16,
            "num_heads": 2,
            "image_size": 84,
            "out_hidden_size": 32,
            "intermediate_size": 32,
            "initializer_range": WIDTH,
        },
        image_token_id=ids["image"],
        video_token_id=ids["video"],
        image_start_token_id=ids["begin_of_image"],
        image_end_token_id=ids["end_of_image"],
        video_start_token_id=ids["begin_of_video"],
        video_end_token_id=ids["end_of_video"],
    )
    image_processor = Glm4vImageProcessorPil(size={"shortest_edge": 56 * 56, "longest_edge": 2 * 84 * 84})
    settings = {"processor_class": "Glm4vProcessor"}
    write(folder, config, image_processor, settings, tokens, "<|begin_of_image|><|image|><|end_of_image|>")


def save_mistral3(folder: Path) -> None:
    """A Pixtral tower, whose processor needs torchvision: no entry of ``SAVE``."""
    from transformers import Mistral3Config
    from transformers.models.pixtral.image_processing_pil_pixtral import PixtralImageProcessorPil

    tokens = {"image_token": "[IMG]", "image_break_token": "[IMG_BREAK]", "image_end_token": "[IMG_END]"}
    ids, size = ids_of(tokens)
    config = Mistral3Config(
        text_config=text_config(size, model_type="mistral", head_dim=8, sliding_window=None),
        vision_config=vision_config(model_type="pixtral", image_size=112, head_dim=8),
        image_token_index=ids["image_token"],
    )
    image_processor = PixtralImageProcessorPil(size={"longest_edge": 84}, patch_size={"height": 28, "width": 28})
    settings = {"processor_class": "PixtralProcessor", "patch_size": 14, "spatial_merge_size": 2, **tokens}
    write(folder, config, image_processor, settings, tokens, "[IMG]")


def save_llava_next(folder: Path) -> None:
    """Every picture is cut into tiles, with a token after each row."""
    from transformers import LlavaNextConfig
    from transformers.models.llava_next.image_processing_pil_llava_next import LlavaNextImageProcessorPil

    tokens = {"image_token": "<image>"}
    ids, size = ids_of(tokens)
    grid = [[28, 56], [56, 28], [56, 56]]
    config = LlavaNextConfig(
        text_config=text_config(size, model_type="mistral", sliding_window=None),
        vision_config=vision_config(model_type="clip_vision_model", projection_dim=16),
        image_token_index=ids["image_token"],
        image_grid_pinpoints=grid,
    )
    sides = {"height": 28, "width": 28}
    image_processor = LlavaNextImageProcessorPil(size={"shortest_edge": 28}, crop_size=sides, image_grid_pinpoints=grid)
    settings = {
        "processor_class": "LlavaNextProcessor",
        "patch_size": 14,
        "vision_feature_select_strategy": "default",
        "num_additional_image_tokens": 1,
    }
    write(folder, config, image_processor, settings, tokens, "<image>")


def save_gemma3(folder: Path) -> None:
    """Tokens of one picture see each other both ways; every other layer sees a window of 12 tokens."""
    from transformers import Gemma3Config
    from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil

    tokens = {"boi_token": "<start_of_image>", "eoi_token": "<end_of_image>", "image_token": "<image_soft_token>"}
    # As in the real vocabulary, the line ends before a picture and those of the template make one token.
    merged = ("\n\n\n",)
    ids, size = ids_of(tokens, merged)
    config = Gemma3Config(
        text_config=text_config(
            size,
            head_dim=8,
            query_pre_attn_scalar=8,
            sliding_window=12,
            layer_types=["sliding_attention", "full_attention"],
        ),
        vision_config=vision_config(model_type="siglip_vision_model", image_size=84, vision_use_head=False),
        boi_token_index=ids["boi_token"],
        eoi_token_index=ids["eoi_token"],
        image_token_index=ids["image_token"],
        mm_tokens_per_image=9,
    )
    image_processor = Gemma3ImageProcessorPil(size={"height": 84, "width": 84})
    settings = {"processor_class": "Gemma3Processor", "image_seq_length": 9}
    write(folder, config, image_processor, settings, tokens, "<start_of_image>", merged)


SAVE: dict[str, Callable[[Path], Any]] = {
    "qwen2_vl": lambda folder: save_tiny(folder, "qwen2_vl"),
    "qwen2_5_vl": lambda folder: save_tiny(folder, "qwen2_5_vl"),
    "qwen2_vl with windows": lambda folder: save_tiny(
        folder, "qwen2_vl", use_sliding_window=True, sliding_window=10, max_window_layers=1
    ),
    "qwen3_vl": save_qwen3_vl,
    "smolvlm": save_smolvlm,
    "idefics3": save_idefics3,
    "internvl": save_internvl,
    "llava_onevision": save_llava_onevision,
    "llava": save_llava,
    "llava_next": save_llava_next,
    "glm4v": save_glm4v,
    "gemma3": save_gemma3,
}
KINDS = tuple(SAVE)


def save_family(folder: Path, kind: str) -> Path:
    """Write the checkpoint of one family; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    SAVE[kind](folder)
    return folder
