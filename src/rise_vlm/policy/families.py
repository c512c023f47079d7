"""What differs between model families: preprocessing, image tokens, rope positions, box frame.

``QwenFamily`` is written out and proven by tests; ``OtherFamily`` covers models whose decoder takes features in place
of image tokens and counts positions one by one. Whether a model is such a one is checked at load (``probe``).
Left out: families whose features reach deeper layers (Qwen3-VL) or whose image tokens see each other both ways.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from rise_vlm.errors import UserError
from rise_vlm.policy.frames import frame_for
from rise_vlm.policy.prompt import ImageInput

MAX_ASPECT = 200
"""Qwen's own limit of the longer over the shorter side of a picture."""
TOWER_ROWS = 1 << 14
"""Rows of pixel values that go through the tower at once."""


class Family(ABC):
    """How one kind of model takes pictures and positions.

    ``packs``: completions may share a row with their prompt. ``proven``: by this project's tests, so no probe at load.
    ``placeholder_id`` is what the chat template writes for a picture, ``image_token_id`` what a feature replaces.
    """

    packs: bool
    proven: bool
    placeholder_id: int
    image_token_id: int

    def __init__(self, config: Any, tokenizer: Any, processor: Any) -> None:
        self.model_type: str = config.model_type
        self.tokenizer, self.processor = tokenizer, processor

    @property
    @abstractmethod
    def frame(self) -> Any:
        """The box frame that the family was trained to write."""

    @abstractmethod
    def prepare(self, image: Image.Image, where: str) -> ImageInput:
        """Preprocess one RGB picture; ``where`` names it in a UserError."""

    @abstractmethod
    def positions(self, input_ids: Tensor, images: Sequence[ImageInput]) -> tuple[Tensor, int]:
        """Rope positions (axes, P) of a prompt and the position that follows it."""

    @abstractmethod
    def tower(self, base: Any) -> nn.Module:
        """All that turns pixels into features."""

    @abstractmethod
    def features(self, base: Any, images: Sequence[ImageInput], device: torch.device) -> list[Tensor]:
        """One (tokens, H) tensor for each picture."""

    def language_model(self, base: Any) -> nn.Module:
        """The decoder: embeddings in, hidden states out."""
        return base.model.language_model


class QwenFamily(Family):
    """Qwen2-VL and Qwen2.5-VL: patches merged 2 x 2, M-RoPE with a time, a height and a width axis."""

    packs = True
    proven = True

    def __init__(self, config: Any, tokenizer: Any, processor: Any) -> None:
        super().__init__(config, tokenizer, processor)
        self.image_token_id = self.placeholder_id = config.image_token_id
        self.merge: int = config.vision_config.spatial_merge_size

    @property
    def frame(self) -> Any:
        size = self.processor.size
        return frame_for(
            self.model_type,
            factor=self.processor.patch_size * self.merge,
            min_pixels=size["shortest_edge"],
            max_pixels=size["longest_edge"],
        )

    def prepare(self, image: Image.Image, where: str) -> ImageInput:
        if max(image.size) > MAX_ASPECT * min(image.size):
            raise UserError(
                f"{where} is {image.width} x {image.height} pixels: the model takes no picture with one side more than "
                f"{MAX_ASPECT} times the other. Crop it."
            )
        made = self.processor(images=[image], return_tensors="pt", input_data_format="channels_last")
        grid = made["image_grid_thw"]
        ids = torch.full((int(grid.prod()) // self.merge**2,), self.image_token_id)
        return ImageInput.of(made["pixel_values"], {"image_grid_thw": grid}, ids, self.image_token_id)

    def positions(self, input_ids: Tensor, images: Sequence[ImageInput]) -> tuple[Tensor, int]:
        """Text counts on all three axes alike; a picture spans one time step and its merged rows and columns, and the
        text after it goes on from the larger of the two (Qwen2-VL, arXiv 2409.12191, section 2.1).
        """
        places = (input_ids == self.image_token_id).nonzero().flatten().tolist()
        pieces: list[Tensor] = []
        done, here, used = 0, 0, 0
        for image in images:
            before = places[used] - done
            pieces.append(torch.arange(here, here + before).expand(3, -1))
            here += before
            sizes = (image.grid // torch.tensor([1, self.merge, self.merge])).tolist()
            axes = torch.meshgrid(*(torch.arange(size) for size in sizes), indexing="ij")
            pieces.append(torch.stack(axes).reshape(3, -1) + here)
            here += max(sizes[1:])
            done = places[used] + image.tokens
            used += image.tokens
        rest = len(input_ids) - done
        pieces.append(torch.arange(here, here + rest).expand(3, -1))
        return torch.cat(pieces, dim=1), here + rest

    def tower(self, base: Any) -> nn.Module:
        return base.model.visual

    def features(self, base: Any, images: Sequence[ImageInput], device: torch.device) -> list[Tensor]:
        found: list[Tensor] = []
        waiting = list(images)
        while waiting:
            rows, count = 0, 0
            while count < len(waiting) and (count == 0 or rows + len(waiting[count].pixel_values) <= TOWER_ROWS):
                rows += len(waiting[count].pixel_values)
                count += 1
            batch, waiting = waiting[:count], waiting[count:]
            pixels = torch.cat([image.pixel_values for image in batch]).to(device)
            grids = torch.cat([image.extras["image_grid_thw"] for image in batch]).to(device)
            found += base.model.get_image_features(pixels, grids, return_dict=True).pooler_output
        return found


class OtherFamily(Family):
    """Any model with ``get_image_features``, one image token per feature, and positions that count tokens."""

    packs = False
    proven = False

    def __init__(self, config: Any, tokenizer: Any, processor: Any) -> None:
        super().__init__(config, tokenizer, processor)
        marker = getattr(processor, "boi_token", None) or getattr(processor, "image_token", None)
        self.image_token_id = getattr(config, "image_token_id", None)  # type: ignore[assignment]
        if self.image_token_id is None or marker is None:
            raise UserError(f"models of architecture '{config.model_type}' have no single image token; not supported.")
        self.marker: str = str(marker)
        self.placeholder_id = tokenizer.convert_tokens_to_ids(self.marker)

    @property
    def frame(self) -> Any:
        return frame_for(self.model_type)

    def inputs(self, text: str, image: Image.Image) -> dict[str, Tensor]:
        """What the model's own processor makes of a text with one picture."""
        # The chat template writes a begin token where there is one.
        return dict(self.processor(text=[text], images=[image], return_tensors="pt", add_special_tokens=False))

    def prepare(self, image: Image.Image, where: str) -> ImageInput:
        try:
            made = self.inputs(self.marker, image)
        except Exception as error:
            size = f"{image.width} x {image.height} pixels"
            raise UserError(f"{where} ({size}): the model's processor refuses it ({error}).") from None
        text = {"input_ids", "attention_mask", "token_type_ids", "mm_token_type_ids", "pixel_values"}
        extras = {name: tensor for name, tensor in made.items() if name not in text}
        return ImageInput.of(made["pixel_values"], extras, made["input_ids"][0], self.image_token_id)

    def positions(self, input_ids: Tensor, images: Sequence[ImageInput]) -> tuple[Tensor, int]:
        return torch.arange(len(input_ids))[None], len(input_ids)

    def tower(self, base: Any) -> nn.Module:
        # All but the decoder: tower, projector, and whatever lies between.
        return nn.ModuleList([child for name, child in base.model.named_children() if name != "language_model"])

    def features(self, base: Any, images: Sequence[ImageInput], device: torch.device) -> list[Tensor]:
        known = inspect.signature(base.model.get_image_features).parameters
        found: list[Tensor] = []
        for image in images:
            extras = {name: tensor.to(device) for name, tensor in image.extras.items() if name in known}
            made = base.model.get_image_features(
                image.pixel_values.to(device), return_dict=True, **extras
            ).pooler_output
            found.append(torch.cat([part.flatten(0, -2) for part in made]))
        return found


FAMILIES: dict[str, type[Family]] = {"qwen2_vl": QwenFamily, "qwen2_5_vl": QwenFamily}
"""``model_type`` of a configuration -> family; what is not named here is an ``OtherFamily``."""
