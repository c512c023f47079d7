"""A group as rewards are told of it, the numbers that they return, and the one line for a reward that fails."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rise_vlm.data import Record
from rise_vlm.errors import UserError
from rise_vlm.policy.frames import Thousand
from rise_vlm.tasks.base import Frame


@dataclass(frozen=True)
class Sampled:
    """What the rewards of one group are told: the record, the prompt's text, and of each completion its text, token ids
    and score. ``answer`` is the annotation as the model would write it, boxes in its ``frame``."""

    record: Record
    prompt: str
    answer: str
    completions: list[str]
    ids: list[list[int]]
    scores: list[float]
    frame: Frame = field(default_factory=Thousand)

    @property
    def right(self) -> list[bool]:
        """Which completions score more than a half."""
        return [score > 0.5 for score in self.scores]


GroupReward = Callable[[Sampled], list[float]]


class RewardError(UserError):
    """A reward that failed in the midst of a training: its code or what it returned. ``reward`` is its name."""

    def __init__(self, reward: str, message: str) -> None:
        super().__init__(message, exit_code=1)
        self.reward = reward


def finite(name: str, record: Record, value: Any) -> float:
    """What a user's reward returned, as a number. Raises RewardError where it is none, or too large for one."""
    try:
        number = float(value)
    except Exception:  # the value's class is the user's, too
        number = math.nan
    if not math.isfinite(number):
        raise RewardError(
            name,
            f"reward '{name}' must return a finite number for record '{record.id}'; it returned {shown(value)}.",
        )
    return number


def failed(name: str, record: Record, error: BaseException) -> RewardError:
    """The error for a reward whose code raised, with the line of the code."""
    trace, line = error.__traceback__, ""
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is not None:
        line = f" ({Path(trace.tb_frame.f_code.co_filename).name}, line {trace.tb_lineno})"
    return RewardError(name, f"reward '{name}' failed on record '{record.id}': {told(error)}{line}.")


def told(error: BaseException) -> str:
    """An error in one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__


def shown(value: Any) -> str:
    """A value in at most 60 characters."""
    try:
        return repr(value)[:60]
    except Exception:  # an int of more than 4,300 digits has no repr
        return f"a value of type {type(value).__name__}"
