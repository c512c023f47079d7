"""Rebuilding answers: each is asked for again from its own rationale, and scored against what comes (``--check``).

The prompt is that of training (role ``reconstruct``): the rationale in place of the question or of the picture. It is
answered greedily. Left out: whether a rationale is true; one that names its answer leads back to it trivially, which
``leaks`` tells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from rise_vlm.data import Record
from rise_vlm.engine.sample import sample
from rise_vlm.errors import UserError
from rise_vlm.policy import ImageInput, Policy, Prompt
from rise_vlm.tasks.base import Task


@dataclass(frozen=True)
class Given:
    """An answer, as the annotation of ``record``, and the rationale it is to be rebuilt from. ``prompt`` is the text
    that the rationale was sampled from.
    """

    record: Record
    image: ImageInput
    rationale: str
    prompt: str


@dataclass(frozen=True)
class Rebuilt:
    """The task's score (0..1) of what came back, None where the rationale is too long to be asked about; and what the
    leak rules find in it.
    """

    reconstruction: float | None
    leaks: list[str]


def rebuild(policy: Policy, task: Task, given: Sequence[Given], max_new_tokens: int) -> list[Rebuilt]:
    """What comes back of each answer; one batch."""
    found = [Rebuilt(None, task.leaks(one.rationale, one.record, policy.frame, one.prompt)) for one in given]
    numbers: list[int] = []
    prompts: list[Prompt] = []
    for number, one in enumerate(given):
        text = task.prompt("reconstruct", one.record, policy.frame, one.rationale)
        try:
            again = policy.encode(text, [one.image] if task.sees_image else [])
        except UserError:
            continue
        if len(again) + max_new_tokens <= policy.context:
            numbers.append(number)
            prompts.append(again)
    greedy = torch.Generator().manual_seed(0)  # nothing is drawn
    sampled = sample(policy, prompts, 1, max_new_tokens=max_new_tokens, temperature=0.0, generator=greedy)
    for number, (rollout,) in zip(numbers, sampled, strict=True):
        record = given[number].record
        read = task.parse_completion(rollout.text, record, policy.frame, "reconstruct")
        worth = round(task.score(record.annotation, read.parsed.value), 6)
        found[number] = Rebuilt(worth, found[number].leaks)
    return found
