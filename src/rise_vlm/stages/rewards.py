"""Rewards that a recipe names in ``grpo.rewards``: shipped ones by name, a user's own as ``module:function``.

A user's own (``rewards_own``) is looked up where the command runs, too, and its code is part of a stage's fingerprint.
Left out: asynchronous rewards, and rewards of the closed loop, whose reward is what the rationale is for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rise_vlm.data import Record
from rise_vlm.errors import UserError, nearest
from rise_vlm.policy.frames import Thousand
from rise_vlm.recipes.schema import RECONSTRUCTION
from rise_vlm.rewards.detection import Labelled
from rise_vlm.rewards.published_boxes import (
    Found,
    visual_rft_confidence,
    visual_rft_iou,
    vlm_r1_iou,
    vlm_r1_odlength,
    vlm_r1_weighted_sum,
)
from rise_vlm.rewards.text_form import (
    caption_format,
    cosine_length,
    reasoning_steps,
    repetition,
    shorter_is_better,
    think_format,
)
from rise_vlm.stages.rewarding import GroupReward, RewardError, Sampled
from rise_vlm.stages.rewards_own import load_own
from rise_vlm.stages.rewards_trl import TrlReward
from rise_vlm.tasks.base import Task, normal_name, think_answer
from rise_vlm.tasks.box_answers import found_boxes

__all__ = [
    "NEEDS", "SHIPPED", "Reward", "RewardError", "Sampled", "check_task", "load_rewards", "rewards_digest", "try_own"
]  # fmt: skip


BoxReward = Callable[[Sequence[Labelled], Sequence[Found]], float]


def _each(reward: Callable[[str], float]) -> GroupReward:
    return lambda group: [reward(text) for text in group.completions]


def _of_things(reward: BoxReward) -> GroupReward:
    """Of a detection's boxes. A box without a label is of the one class that the picture shows, if it is one."""

    def rewarded(group: Sampled) -> list[float]:
        truth = [Labelled(normal_name(one["label"]), one["box"]) for one in group.record.annotation]
        known = {one.label for one in truth}
        only = known.pop() if len(known) == 1 else None
        return [
            0.0 if found is None else reward(truth, [one._replace(label=one.label or only) for one in found])
            for found in _found(group)
        ]

    return rewarded


def _of_one_box(group: Sampled) -> list[float]:
    return [vlm_r1_iou(group.record.annotation, found or []) for found in _found(group)]


def _found(group: Sampled) -> list[list[Found] | None]:
    return [found_boxes(text, group.record, group.frame) for text in group.completions]


SHIPPED: dict[str, GroupReward] = {
    "reasoning_steps": _each(reasoning_steps),
    "repetition": _each(repetition),
    "cosine_length": lambda group: [
        cosine_length(len(text), right) for text, right in zip(group.completions, group.right, strict=True)
    ],
    "shorter_is_better": lambda group: shorter_is_better([len(text) for text in group.completions], group.right),
    "visual_rft_format": _each(think_format),
    "visual_rft_iou": _of_things(visual_rft_iou),
    "visual_rft_confidence": _of_things(visual_rft_confidence),
    "vlm_r1_iou": _of_one_box,
    "vlm_r1_odlength": _of_things(vlm_r1_odlength),
    "vlm_r1_weighted_sum": _of_things(vlm_r1_weighted_sum),
    "reason_rft_format": _each(think_format),
    "reason_rft_caption_format": _each(caption_format),
}
"""Rewards by name; lengths are in characters. See ``rewards.text_form`` and ``rewards.published_boxes``."""

NEEDS = {
    "visual_rft_iou": "detection",
    "visual_rft_confidence": "detection",
    "vlm_r1_iou": "grounding",
    "vlm_r1_odlength": "detection",
    "vlm_r1_weighted_sum": "detection",
}
"""The task whose annotations a shipped reward reads."""


@dataclass(frozen=True)
class Reward:
    """A named reward with its weight. ``function`` rewards a group; ``source`` is the file of a user's own."""

    name: str
    weight: float
    function: GroupReward
    source: Path | None = None


def load_rewards(named: Mapping[str, float]) -> list[Reward]:
    """The rewards of a recipe that have a weight, but ``RECONSTRUCTION``, which the stage asks for itself. Raises
    UserError naming the one that does not exist or cannot be used.
    """
    found = [_load(name, weight) for name, weight in named.items() if name != RECONSTRUCTION]
    return [reward for reward in found if reward.weight]


def check_task(named: Iterable[str], task: str) -> None:
    """Raise UserError for a shipped reward that reads annotations of another task than the dataset's."""
    for name in named:
        if NEEDS.get(name, task) != task:
            able = ", ".join(one for one in SHIPPED if NEEDS.get(one, task) == task)
            raise UserError(
                f"grpo.rewards: '{name}' rewards the boxes of {NEEDS[name]}, and the dataset's task is {task}; these "
                f"fit: {able}."
            )


def try_own(rewards: Iterable[Reward], task: Task, record: Record) -> None:
    """Ask each reward of the user's own for the true answer to a record, and those of TRL's form for other completions
    too, so that one that cannot be used is told before the work.

    Raises RewardError as in training; UserError for one that takes all messages for alike, but not all texts.
    """
    frame = Thousand()
    answer = task.render(record.annotation, record, frame)
    text = think_answer("", answer)
    tried = Sampled(record, task.prompt("think", record, frame), answer, [text, text], [[0], [0]], [1.0, 1.0], frame)
    apart = ["", answer, think_answer("First, I look.\nStep 2: I see 3 of them, or 4. " * 20, "none"), text]
    others = replace(tried, completions=apart, ids=[[0]] * len(apart), scores=[0.0, 0.0, 0.0, 1.0])
    for reward in rewards:
        if reward.name in SHIPPED:
            continue
        reward.function(tried)
        if isinstance(reward.function, TrlReward) and reward.function.wants_texts(others):
            raise UserError(
                f"grpo.rewards: '{reward.name}' gives every completion the same value where completions are messages, "
                "as in TRL, and different ones where they are plain texts: annotate it 'completions: list[str]'."
            )


def rewards_digest(named: Mapping[str, float]) -> dict[str, str]:
    """By name, a hash of the file that holds a user's own reward: other code is another reward."""
    return {
        reward.name: hashlib.sha256(reward.source.read_bytes()).hexdigest()
        for reward in load_rewards(named)
        if reward.source is not None and reward.source.is_file()
    }


def _load(name: str, weight: float) -> Reward:
    if name in SHIPPED:
        return Reward(name, weight, SHIPPED[name])
    if ":" not in name:
        listed = ", ".join([RECONSTRUCTION, *SHIPPED])
        raise UserError(
            f"grpo.rewards: there is no reward '{name}' (shipped: {listed}; your own: module:function)."
            f"{nearest(name, [RECONSTRUCTION, *SHIPPED])}"
        )
    function, source = load_own(name)
    return Reward(name, weight, function, source)
