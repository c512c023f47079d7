"""What differs between model families: preprocessing, image tokens, rope positions, box frame.

Left out: families whose features reach past the embedding layer (Qwen3-VL's deepstack); they are refused at load.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from rise_vlm.errors import UserError
from rise_vlm.policy.prompt import ImageInput

MAX_ASPECT = 200
"""Qwen's own limit of the longer over the shorter side of a picture."""


class QwenFamily:
    """Qwen2-VL and Qwen2.5-VL: patches merged 2 x 2, M-RoPE with a time, a height and a width axis."""

    packs = True

    def __init__(self, model_type: str, config: Any, image_processor: Any) -> None:
        self.model_type = model_type
        self.image_processor = image_processor
        self.image_token_id: int = config.image_token_id
        self.merge: int = config.vision_config.spatial_merge_size

    def image(self, image: Image.Image, where: str) -> ImageInput:
        """Preprocess one RGB picture; ``where`` names it in the error.

        Raises:
            UserError: a side is more than 200 times the other.
        """
        long, short = max(image.size), min(image.size)
        if long > MAX_ASPECT * short:
            raise UserError(
                f"{where} is {image.width} x {image.height} pixels: the model takes no picture with a side more than "
                f"{MAX_ASPECT} times the other. Crop it."
            )
        made = self.image_processor(images=[image], return_tensors="pt", input_data_format=None)
        grid = made["image_grid_thw"][0]
        return ImageInput.of(made["pixel_values"], grid, int(grid.prod()) // self.merge**2)

    def positions(self, input_ids: Tensor, images: Sequence[ImageInput]) -> tuple[Tensor, int]:
        """M-RoPE positions (3, P) of a prompt and the position that follows it.

        Text counts on all three axes alike; a picture spans one time step and its merged rows and columns, and the
        text after it goes on from the larger of the two (Qwen2-VL, arXiv 2409.12191, section 2.1).
        """
        pieces: list[Tensor] = []
        done, here = 0, 0
        starts = (input_ids == self.image_token_id).nonzero().flatten().tolist()
        used = 0
        for image in images:
            start = starts[used]
            used += image.tokens
            pieces.append(torch.arange(here, here + start - done).expand(3, -1))
            here += start - done
            time, height, width = int(image.grid[0]), int(image.grid[1]) // self.merge, int(image.grid[2]) // self.merge
            axes = torch.meshgrid(torch.arange(time), torch.arange(height), torch.arange(width), indexing="ij")
            pieces.append(torch.stack(axes).reshape(3, -1) + here)
            here += max(height, width)
            done = start + image.tokens
        rest = len(input_ids) - done
        pieces.append(torch.arange(here, here + rest).expand(3, -1))
        return torch.cat(pieces, dim=1), here + rest

    def tower(self, base: Any) -> nn.Module:
        """The vision tower with its merger."""
        return base.model.visual

    def language_model(self, base: Any) -> nn.Module:
        """The decoder: embeddings in, hidden states out."""
        return base.model.language_model

    def features(self, base: Any, images: Sequence[ImageInput], device: torch.device) -> list[Tensor]:
        """Image features, one (tokens, H) tensor for each picture."""
        pixels = torch.cat([image.pixel_values for image in images]).to(device)
        grids = torch.stack([image.grid for image in images])
        return list(base.model.get_image_features(pixels, grids.to(device), return_dict=True).pooler_output)


FAMILIES: dict[str, type[QwenFamily]] = {"qwen2_vl": QwenFamily, "qwen2_5_vl": QwenFamily}
"""``model_type`` of a configuration -> family."""
