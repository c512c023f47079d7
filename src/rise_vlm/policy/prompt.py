"""One encoded prompt: token ids, rope positions and preprocessed pictures, all on the CPU.

Left out: videos, several turns and system prompts (the chat template's own default stands).
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from rise_vlm.errors import UserError

_MARK = "\u2063rise-text\u2063"


@dataclass(frozen=True)
class ImageInput:
    """One preprocessed picture.

    ``pixel_values`` is what the family's tower takes (Qwen: (patches, D) float32), ``extras`` its other inputs (Qwen:
    ``image_grid_thw`` (1, 3)). ``text`` stands for the picture in a prompt; each image token in it becomes as many as
    ``runs`` says, and each of those takes a feature. ``key`` hashes pixels and extras: equal keys, equal features.
    """

    key: str
    pixel_values: Tensor
    extras: Mapping[str, Tensor]
    text: str
    runs: tuple[int, ...]

    @classmethod
    def of(cls, pixel_values: Tensor, extras: Mapping[str, Tensor], text: str, runs: tuple[int, ...]) -> ImageInput:
        """Build one and hash its content."""
        digest = hashlib.blake2b(digest_size=16)
        for name, tensor in {"pixel_values": pixel_values, **extras}.items():
            digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
            digest.update(tensor.contiguous().flatten().view(torch.uint8).numpy().data)
        return cls(digest.hexdigest(), pixel_values, dict(extras), text, runs)

    @property
    def tokens(self) -> int:
        """How many tokens of a prompt take a feature of the picture."""
        return sum(self.runs)

    @property
    def grid(self) -> Tensor:
        """Patches in time, height and width (3,) int64; Qwen families only."""
        return self.extras["image_grid_thw"][0]


@dataclass(frozen=True)
class Prompt:
    """One encoded prompt.

    ``input_ids`` (P,) int64; ``positions`` (3, P) int64 for families with M-RoPE and (1, P) otherwise;
    ``next_position`` is the position of the first completion token on every axis; ``text`` is the user's turn.
    ``blocks`` (P,) int64 numbers the picture each token belongs to, -1 for text, where the tokens of a picture see each
    other both ways; None where every token sees those before it. The last token of a picture is before
    ``pictures_end``. ``record`` is the id of the record it is made of, for messages; empty for none.
    """

    input_ids: Tensor
    positions: Tensor
    next_position: int
    images: tuple[ImageInput, ...]
    text: str
    blocks: Tensor | None = None
    pictures_end: int = 0
    record: str = ""

    def __len__(self) -> int:
        return len(self.input_ids)

    @property
    def identity(self) -> tuple[bytes, tuple[str, ...]]:
        """Equal for two prompts exactly when the model sees the same thing."""
        return self._seen(len(self))

    @property
    def head(self) -> tuple[bytes, tuple[str, ...]]:
        """Equal for two prompts exactly when the model sees the same thing up to the last token of a picture."""
        return self._seen(self.pictures_end)

    def followed_by(self, ids: Tensor) -> Prompt:
        """The prompt with ``ids`` (C,) int64, the start of a completion, behind it."""
        behind = self.next_position + torch.arange(len(ids)).expand(len(self.positions), -1)
        return replace(
            self,
            input_ids=torch.cat([self.input_ids, ids]),
            positions=torch.cat([self.positions, behind], dim=1),
            next_position=self.next_position + len(ids),
            blocks=None if self.blocks is None else torch.cat([self.blocks, torch.full_like(ids, -1)]),
        )

    def _seen(self, end: int) -> tuple[bytes, tuple[str, ...]]:
        return self.input_ids[:end].numpy().tobytes(), tuple(image.key for image in self.images)


def special_tokens(tokenizer: Any) -> frozenset[str]:
    """All strings that the tokenizer reads as one special token."""
    added = (str(token) for token in tokenizer.added_tokens_decoder.values() if token.special)
    return frozenset(tokenizer.all_special_tokens) | frozenset(added)


def user_turn(
    tokenizer: Any,
    text: str,
    images: Sequence[ImageInput],
    marker: str,
    image_token_id: int,
    special: Collection[str],
) -> Tensor:
    """Token ids (P,) of one user turn, pictures first, and the opening of the assistant's turn.

    ``marker`` is what the chat template writes for a picture. Tokens of ``special`` spelled out in ``text``
    (``<|image_pad|>``) are read as plain text: a question cannot smuggle in a picture or end its turn.

    Raises:
        UserError: the chat template does not write one place for each picture, or the text makes up more.
    """
    content = [{"type": "image"} for _ in images] + [{"type": "text", "text": _MARK}]
    turns = [{"role": "user", "content": content}]
    rendered = tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
    *between, last = rendered.split(marker)
    if len(between) != len(images):
        raise UserError(
            f"the model's chat template writes {len(between)} places for {len(images)} pictures; "
            "rise-vlm needs one for each."
        )
    # As text and not as ids, since what surrounds a picture may merge with what the template writes beside it.
    rendered = "".join(before + image.text for before, image in zip(between, images, strict=True)) + last
    if any(token in text for token in special):
        head, tail = rendered.split(_MARK)
        plain = tokenizer(text, add_special_tokens=False, split_special_tokens=True, verbose=False)["input_ids"]
        ids = _ids(tokenizer, head) + plain + _ids(tokenizer, tail)
    else:
        ids = _ids(tokenizer, rendered.replace(_MARK, text))
    runs = [run for image in images for run in image.runs]
    if ids.count(image_token_id) != len(runs):
        raise UserError(f"the prompt '{text[:60]}...' makes up pictures. Leave the model's image token out of it.")
    waiting = iter(runs)
    pieces = [[i] * next(waiting) if i == image_token_id else [i] for i in ids]
    return torch.tensor([i for piece in pieces for i in piece], dtype=torch.long)


def _ids(tokenizer: Any, text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]  # too long: `stages.limits` tells


def stop_ids(model: Any, tokenizer: Any) -> tuple[int, ...]:
    """The tokens that end a completion: what the tokenizer and the checkpoint's generation settings name."""
    stops: set[int] = set()
    for stated in (tokenizer.eos_token_id, model.generation_config.eos_token_id):
        stops.update([stated] if isinstance(stated, int) else stated or [])
    return tuple(sorted(stops))
