"""One case: a model, pictures of a known number of tokens, groups and lengths. Both sides compute the same.

Completions have equal lengths, since no side may sample a stop token. Pictures are new in each round, so nothing kept
of the round before helps. The learning rate is too small to move a weight: both sides stay the same model, at the full
cost of an update. Left out: real tasks, whose rewards would have no spread on forced lengths.
"""

from __future__ import annotations

import zlib
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image

from rise_vlm.errors import UserError
from rise_vlm.policy import Policy
from rise_vlm.policy.families import Family, PatchFamily
from rise_vlm.policy.features import FeatureCache

STILL = 1e-30
"""A learning rate that is lost in the rounding of any weight."""
WHOLE_STEP = 1 << 30
"""A token budget that no step exceeds: one micro-batch, as on the other side."""

THINK = (
    "Look at the picture. Which of these fits it best: anger, disgust, fear, joy, sadness, surprise, neutral? Think "
    "first, in at most 100 words, then answer. Write <think>your reasons</think><answer>one of them</answer>."
)
REASON = (
    "The picture was annotated with {annotation}. Explain in at most 100 words which visual evidence supports this: "
    "objects, colours, light, faces, context. Do not name the annotation, any probability or coordinate."
)
ANNOTATION = "anger 0.05, disgust 0.0, fear 0.1, joy 0.6, sadness 0.05, surprise 0.1, neutral 0.1"
RECONSTRUCT = (
    "Someone wrote of the picture: {rationale}\nWhich probabilities fit: anger, disgust, fear, joy, sadness, surprise, "
    "neutral? They add up to 1. Answer with the seven and nothing else."
)


@dataclass(frozen=True)
class Case:
    """What both sides compute in a step.

    ``prompts`` pictures, each with a group of ``group`` completions of ``completion_tokens`` tokens; in the loop also a
    reconstruction of ``answer_tokens`` from each, which sees the picture if ``sees_image``. ``tower`` and ``beta`` hold
    on both sides. ``checkpointing`` is gradient checkpointing on the other side, TRL's default; ours has none.
    ``credit`` says which tokens of our loop are trained; the official code trains the answer's.
    """

    image_tokens: int
    group: int = 8
    prompts: int = 2
    completion_tokens: int = 64
    answer_tokens: int = 32
    model: str = "tiny"
    precision: Literal["float32", "bfloat16"] = "float32"
    tower: Literal["frozen", "trained"] = "frozen"
    beta: float = 0.0
    checkpointing: bool = False
    credit: Literal["rationale", "answer"] = "rationale"
    sees_image: bool = True
    seed: int = 0

    def to_dict(self) -> dict[str, Any]:
        """All settings by name."""
        return asdict(self)

    @property
    def dtype(self) -> torch.dtype:
        """The type of the weights."""
        return {"float32": torch.float32, "bfloat16": torch.bfloat16}[self.precision]


def load(case: Case) -> Policy:
    """Our policy for a case, which never stops a completion early.

    Raises:
        UserError: the model cannot be loaded, or its pictures have no number of tokens to choose (not of Qwen's kind).
    """
    frozen = case.tower == "frozen"
    policy = Policy.load(case.model, freeze_tower=frozen, dtype=case.precision, keep_reference=case.beta > 0)
    fit_pictures(case, policy.family)
    if case.image_tokens + case.completion_tokens >= policy.context:
        raise UserError(f"image_tokens {case.image_tokens}: model {case.model} takes {policy.context} tokens in all.")
    stops = torch.tensor(policy.stop_ids, dtype=torch.long, device=policy.device)
    policy.banned_ids = torch.cat([policy.banned_ids, stops]).unique()
    policy.stop_ids = ()
    policy.feature_cache = FeatureCache()  # its own: a case before this one may have seen the same pictures
    return policy


def fit_pictures(case: Case, family: Family) -> int:
    """Make a family's processor scale every picture to the case's number of tokens; returns a token's side in pixels.

    Raises:
        UserError: the family's pictures are not cut into patches of a fixed size.
    """
    if not isinstance(family, PatchFamily):
        raise UserError(f"model {case.model}: rise bench needs a model of Qwen's kind, whose pictures have any size.")
    side = int(family.processor.patch_size * family.merge)
    pixels = case.image_tokens * side**2
    family.processor.size = {"shortest_edge": pixels, "longest_edge": pixels}
    return side


def pictures(case: Case, number: int, side: int) -> list[Image.Image]:
    """The pictures of round ``number``: smooth random colours, as near to square as the number of tokens allows."""
    down = next(n for n in range(int(case.image_tokens**0.5), 0, -1) if case.image_tokens % n == 0)
    size = (case.image_tokens // down * side, down * side)
    made: list[Image.Image] = []
    for prompt in range(case.prompts):
        rng = np.random.default_rng([case.seed, number, prompt])
        coarse = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        made.append(Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC))
    return made


def reward(text: str) -> float:
    """A fixed number in [0, 1) for each text: free to compute, and groups have spread."""
    return zlib.crc32(text.encode()) / 2**32
