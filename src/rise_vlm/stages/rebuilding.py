"""Rebuilding answers: each is asked for again from its own rationale, and scored against what comes (``--check``).

The prompt is that of training (role ``reconstruct``): the rationale in place of the question or of the picture. It is
answered greedily. Left out: whether a rationale is true; one that names its answer leads back to it trivially, which
``leaks`` tells.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from rise_vlm.data import Record
from rise_vlm.engine.sample import sample
from rise_vlm.errors import UserError
from rise_vlm.policy import ImageInput, Policy, Prompt
from rise_vlm.tasks.base import Task

ENOUGH = 5
"""Rationales that are rebuilt to one value before that is told; fewer may do so by chance."""


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
    """The task's score (0..1) of what came back, None where the rationale is too long to be asked about; what the leak
    rules find in it; and what came back, None where no answer could be read.
    """

    reconstruction: float | None
    leaks: list[str]
    rebuilt: Any | None


def rebuild(policy: Policy, task: Task, given: Sequence[Given], max_new_tokens: int) -> list[Rebuilt]:
    """What comes back of each answer; one batch."""
    prompts = [
        reconstruct_prompt(policy, task, one.record, [one.image], one.rationale, max_new_tokens) for one in given
    ]
    found: list[Rebuilt] = []
    for one, text in zip(given, greedily(policy, prompts, max_new_tokens), strict=True):
        worth, value = None, None
        if text is not None:
            value = task.parse_completion(text, one.record, policy.frame, "reconstruct").parsed.value
            worth = round(task.score(one.record.annotation, value), 6)
        found.append(Rebuilt(worth, task.leaks(one.rationale, one.record, policy.frame, one.prompt), value))
    return found


def all_alike(rows: Iterable[Mapping[str, Any]]) -> str | None:
    """What to say where each rationale of ENOUGH rows or more was rebuilt to the same value; None where they differ."""
    values: set[str] = set()
    number = 0
    for row in rows:
        if row.get("reconstruction") is not None and "rebuilt" in row:
            number += 1
            values.add(json.dumps(row["rebuilt"], ensure_ascii=False, sort_keys=True))
            if len(values) > 1:
                return None
    if number < ENOUGH:
        return None
    (value,) = values
    told = f"all {number} rationales lead back to the same answer, {value[:80]}"
    none = f"no answer could be read of what came back from {number} rationales"
    return f"{none if value == 'null' else told}: here --check says nothing of an answer"


def reconstruct_prompt(
    policy: Policy, task: Task, record: Record, images: Sequence[ImageInput], rationale: str, max_new_tokens: int
) -> Prompt | None:
    """The rationale to be rebuilt from, with the images where the task wants to see them; None where it is too long."""
    text = task.prompt("reconstruct", record, policy.frame, rationale)
    try:
        prompt = policy.encode(text, images if task.sees_image else [])
    except UserError:
        return None
    return prompt if len(prompt) + max_new_tokens <= policy.context else None


def greedily(policy: Policy, prompts: Sequence[Prompt | None], max_new_tokens: int) -> list[str | None]:
    """The most likely completion of each prompt, None of those that are None; one batch."""
    asked = [prompt for prompt in prompts if prompt is not None]
    nothing_drawn = torch.Generator().manual_seed(0)
    sampled = iter(sample(policy, asked, 1, max_new_tokens=max_new_tokens, temperature=0.0, generator=nothing_drawn))
    return [None if prompt is None else next(sampled)[0].text for prompt in prompts]
