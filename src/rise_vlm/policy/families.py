"""What differs between model families: preprocessing, image tokens, rope positions, sight inside a picture, box frame.

Nearly all of it is read off the model and its processor; what cannot be stands in ``traits``. A model of a family
that is not there gets the default traits, and is compared with its own forward pass at load (``probe``).
Left out: videos, families whose pictures reach the decoder otherwise than as embeddings (cross-attention).
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from itertools import groupby
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from rise_vlm.errors import UserError
from rise_vlm.policy.frames import frame_for
from rise_vlm.policy.prompt import ImageInput
from rise_vlm.policy.traits import FAMILIES, traits_of

MAX_ASPECT = 200
"""Qwen's own limit of the longer over the shorter side of a picture."""
TOWER_ROWS = 1 << 14
"""Rows of pixel values that go through the tower at once."""


def family_of(config: Any, tokenizer: Any, processor: Any) -> Family:
    """The family of a model with this configuration.

    Raises:
        UserError: its pictures are not written as one kind of token.
    """
    kind = PatchFamily if traits_of(config.model_type).patches else Family
    return kind(config, tokenizer, processor)


class Family:
    """How one kind of model takes pictures and positions, through the model's own processor and methods.

    ``proven``: by this project's tests, so no probe at load. ``marker`` is what the chat template writes for a picture,
    ``image_token_id`` what a feature replaces.
    """

    def __init__(self, config: Any, tokenizer: Any, processor: Any) -> None:
        self.model_type: str = config.model_type
        self.traits = traits_of(self.model_type)
        self.proven = self.model_type in FAMILIES
        self.config, self.tokenizer, self.processor = config, tokenizer, processor
        self.image_token_id: int = getattr(config, "image_token_id", None)  # type: ignore[assignment]
        marker = self._marker()
        if self.image_token_id is None or marker is None:
            raise UserError(f"models of architecture '{self.model_type}' have no single image token; not supported.")
        self.marker = str(marker)

    def _marker(self) -> str | None:
        return getattr(self.processor, "boi_token", None) or getattr(self.processor, "image_token", None)

    @property
    def frame(self) -> Any:
        """The box frame that the family was trained to write."""
        return frame_for(self.model_type)

    def inputs(self, text: str, images: Sequence[Image.Image]) -> dict[str, Tensor]:
        """What the model's own processor makes of a text with pictures."""
        # The chat template writes a begin token where there is one.
        made = self.processor(text=[text], images=[list(images)], return_tensors="pt", add_special_tokens=False)
        return dict(made)

    def prepare(self, image: Image.Image, where: str, alone: bool = True) -> ImageInput:
        """Preprocess one RGB picture, ``alone`` in its prompt or one of several; ``where`` names it in a UserError."""
        # Two of it, of which one is taken, where the processor does otherwise with several.
        count = 2 if self.traits.finer_alone and not alone else 1
        try:
            made = self.inputs(self.marker * count, [image] * count)
        except Exception as error:
            size = f"{image.width} x {image.height} pixels"
            raise UserError(f"{where} ({size}): the model's processor refuses it ({error}).") from None
        ids = made["input_ids"][0].tolist()
        if count == 2:
            ids, made = ids[: len(ids) // 2], {name: tensor[:1] for name, tensor in made.items()}
        text = {"input_ids", "attention_mask", "token_type_ids", "mm_token_type_ids", "pixel_values"}
        extras = {name: tensor for name, tensor in made.items() if name not in text}
        return ImageInput.of(made["pixel_values"], extras, *self._written(ids))

    def blank(self, width: int, height: int, alone: bool = True) -> ImageInput:
        """A picture of this size as far as a prompt's length goes: its pixels mean nothing."""
        return self.prepare(Image.new("RGB", (width, height)), "a blank picture", alone)

    def refusal(self, width: int, height: int) -> str | None:
        """Why the model takes no picture of this size, as far as known beforehand; None where it may."""
        return None

    def _written(self, ids: Sequence[int]) -> tuple[str, tuple[int, ...]]:
        """The text that stands for a picture, each run of image tokens as one, and how long the runs are."""
        runs = [(token, len(list(same))) for token, same in groupby(ids)]
        short = [i for token, count in runs for i in ([token] if token == self.image_token_id else [token] * count)]
        text = self.tokenizer.decode(short, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        return text, tuple(count for token, count in runs if token == self.image_token_id)

    def markup_ids(self, special: frozenset[str]) -> set[int]:
        """Ids of the special tokens in and around a picture: nothing that a completion may hold."""
        names = ("image", "video", "vision_start", "vision_end", "image_start", "image_end", "boi", "eoi")
        found = {getattr(self.config, f"{name}_token_id", None) for name in names}
        sample = self.prepare(Image.new("RGB", (64, 64), "grey"), "a sample picture")
        written = {self.tokenizer.convert_tokens_to_ids(token) for token in special if token in sample.text}
        return {i for i in found | written if i is not None}

    def positions(self, base: Any, input_ids: Tensor, images: Sequence[ImageInput]) -> tuple[Tensor, int]:
        """Rope positions (axes, P) of a prompt and the position that follows it."""
        rope_index = getattr(base.model, "get_rope_index", None)
        if rope_index is None:
            return torch.arange(len(input_ids))[None], len(input_ids)
        grids = torch.cat([image.extras["image_grid_thw"] for image in images]) if images else None
        is_image = (input_ids == self.image_token_id).int()
        positions, delta = rope_index(input_ids=input_ids[None], mm_token_type_ids=is_image[None], image_grid_thw=grids)
        return positions[:, 0], len(input_ids) + int(delta)

    def blocks(self, input_ids: Tensor) -> Tensor | None:
        """The number (P,) of the picture that each token belongs to, -1 for text; None where sight is causal."""
        if not self.traits.both_ways:
            return None
        is_image = input_ids == self.image_token_id
        starts = is_image & ~nn.functional.pad(is_image, (1, -1))
        return torch.where(is_image, starts.cumsum(0) - 1, -1)

    def language_model(self, base: Any) -> nn.Module:
        """The decoder: embeddings in, hidden states out."""
        return base.model.get_decoder()

    def packs(self, base: Any) -> bool:
        """Whether the decoder attends by a registered function, so that completions can share a row with a prompt."""
        return bool(getattr(self.language_model(base), "_supports_attention_backend", False))

    def tower(self, base: Any) -> nn.Module:
        """All that turns pixels into features: tower, projector, and whatever lies between."""
        decoder = self.language_model(base)
        parts = [child for child in base.model.children() if child is not decoder]
        loose = list(base.model.named_parameters(recurse=False))
        if len(parts) == 1 and not loose:
            return parts[0]
        tower = nn.ModuleList(parts)
        for name, weight in loose:
            tower.register_parameter(name, weight)
        return tower

    def features(self, base: Any, images: Sequence[ImageInput], device: torch.device) -> list[Tensor]:
        """One (tokens, H) tensor for each picture; (tokens, H + depth x H) where features reach deeper layers too."""
        known = inspect.signature(base.model.get_image_features).parameters
        found: list[Tensor] = []
        for batch in self._batches(images):
            pixels = torch.cat([image.pixel_values for image in batch]).to(device)
            names = [name for name in batch[0].extras if name in known]
            extras = {name: torch.cat([image.extras[name] for image in batch]).to(device) for name in names}
            made = base.model.get_image_features(pixels, return_dict=True, **extras)
            parts = [part.flatten(0, -2) for part in made.pooler_output]
            parts = parts if len(parts) == len(batch) else [torch.cat(parts)]
            if deeper := getattr(made, "deepstack_features", None):
                parts = [torch.cat([part, *(layer[i] for layer in deeper)], -1) for i, part in enumerate(parts)]
            found += parts
        return found

    def _batches(self, images: Sequence[ImageInput]) -> list[list[ImageInput]]:
        return [[image] for image in images]

    def deeper(self, added: Tensor, width: int) -> dict[str, Any]:
        """The decoder's arguments for (R, L, depth x ``width``) that its first layers add to their hidden states."""
        everywhere = torch.ones(added.shape[:2], dtype=torch.bool, device=added.device)
        layers = [layer.flatten(0, 1) for layer in added.split(width, dim=-1)]
        return {"visual_pos_masks": everywhere, "deepstack_visual_embeds": layers}


class PatchFamily(Family):
    """Qwen-VL: rows of patches, merged 2 x 2, from the image processor alone."""

    def __init__(self, config: Any, tokenizer: Any, processor: Any) -> None:
        super().__init__(config, tokenizer, processor)
        self.merge: int = config.vision_config.spatial_merge_size

    def _marker(self) -> str | None:
        return self.tokenizer.convert_ids_to_tokens(self.image_token_id)

    @property
    def frame(self) -> Any:
        size = self.processor.size
        return frame_for(
            self.model_type,
            factor=self.processor.patch_size * self.merge,
            min_pixels=size["shortest_edge"],
            max_pixels=size["longest_edge"],
        )

    def refusal(self, width: int, height: int) -> str | None:
        if max(width, height) <= MAX_ASPECT * min(width, height):
            return None
        return (
            f"is {width} x {height} pixels: the model takes no picture with one side more than {MAX_ASPECT} times the "
            "other. Crop it."
        )

    def blank(self, width: int, height: int, alone: bool = True) -> ImageInput:
        if self.refusal(width, height) or not hasattr(self.processor, "get_number_of_image_patches"):
            return super().blank(width, height, alone)
        count = int(self.processor.get_number_of_image_patches(height, width)) // self.merge**2
        return ImageInput("", torch.empty(0), {}, self.marker, (count,))

    def prepare(self, image: Image.Image, where: str, alone: bool = True) -> ImageInput:
        if problem := self.refusal(*image.size):
            raise UserError(f"{where} {problem}")
        made = self.processor(images=[image], return_tensors="pt", input_data_format="channels_last")
        grid = made["image_grid_thw"]
        count = int(grid.prod()) // self.merge**2
        return ImageInput.of(made["pixel_values"], {"image_grid_thw": grid}, self.marker, (count,))

    def _batches(self, images: Sequence[ImageInput]) -> list[list[ImageInput]]:
        batches: list[list[ImageInput]] = []
        rows = 0
        for image in images:
            if not batches or rows + len(image.pixel_values) > TOWER_ROWS:
                batches.append([])
                rows = 0
            batches[-1].append(image)
            rows += len(image.pixel_values)
        return batches
