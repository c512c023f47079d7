"""The grounding term: does a rationale fit its picture better than another picture?

The reasoner of the closed loop sees the annotation, so it could signal it by inventing facts, which no leak rule
catches. An invented fact is about as likely under any picture; a true one is likelier under its own. So, per token,
log p(rationale | picture) - log p(rationale | another picture) under the frozen base model with a prompt that knows no
label, clipped to [-clip, clip] and averaged over the tokens. The stop token does not count.
This term is ours: the official code has none (``grounding.weight=0`` leaves it out).
Left out: any other judge of truth, such as a detector or a larger model.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import torch
from PIL import Image
from torch import Tensor

from rise_vlm import ranks
from rise_vlm.data import Record
from rise_vlm.engine.sample import Rollout
from rise_vlm.engine.score import Group, completion_logprobs
from rise_vlm.policy import Policy, Prompt
from rise_vlm.recipes.schema import Grounding
from rise_vlm.stages.prompter import Prompter
from rise_vlm.tasks.base import DESCRIBE

GREY = (128, 128, 128)


class Grounder:
    """Scores rationales under ``base``, which is never trained. The other picture is another record's, drawn at random.

    With one picture in all the training set, plain grey stands in for another.
    """

    def __init__(self, base: Policy, prompter: Prompter, pool: Sequence[Record], settings: Grounding) -> None:
        self.base, self.prompter, self.settings = base, prompter, settings
        self.pool = list({record.images: record for record in pool}.values())

    def gains(
        self, records: Sequence[Record], rationales: Sequence[Sequence[Rollout]], rng: random.Random
    ) -> list[list[float]]:
        """The clipped mean gain of each rationale of each record, in [-clip, clip]; an empty rationale gains 0."""
        stops = set(self.base.stop_ids)
        bodies = [[_body(rollout.ids, stops) for rollout in group] for group in rationales]
        right: list[Group] = []
        wrong: list[Group] = []
        for record, group in zip(records, bodies, strict=True):
            completions = [ids for ids in group if len(ids)]
            if completions:
                right.append(Group(self.prompter.describe(record), completions))
                wrong.append(Group(self._other(record, rng), completions))
        found = iter(self._compare(right, wrong))
        return [[next(found) if len(ids) else 0.0 for ids in group] for group in bodies]

    def _compare(self, right: list[Group], wrong: list[Group]) -> list[float]:
        mine = ranks.share([group.tokens for group in right])
        right, wrong = right[mine], wrong[mine]
        # One call: both halves share a batch, and the pictures common to them their features.
        with self.base.in_step():
            scores = completion_logprobs(self.base, [*right, *wrong], grad=False) if right else []
        gains: list[float] = []
        for group, own, other in zip(right, scores[: len(right)], scores[len(right) :], strict=True):
            gain = (own - other).clamp(-self.settings.clip, self.settings.clip)
            gains += [float(gain[i, : len(ids)].mean()) for i, ids in enumerate(group.completions)]
        return ranks.gather(gains)

    def _other(self, record: Record, rng: random.Random) -> Prompt:
        others = len(self.pool) - any(one.images == record.images for one in self.pool)
        if others < 1:
            grey = Image.new("RGB", (record.width, record.height), GREY)
            return self.base.encode(DESCRIBE, [grey])
        while True:
            other = rng.choice(self.pool)
            if other.images != record.images:
                return self.prompter.describe(other)


def _body(ids: Tensor, stops: set[int]) -> Tensor:
    return ids[:-1] if len(ids) and int(ids[-1]) in stops else ids


def draw_rng(generator: torch.Generator) -> random.Random:
    """Python's generator, seeded from torch's."""
    return random.Random(int(torch.randint(1 << 62, (), generator=generator)))
