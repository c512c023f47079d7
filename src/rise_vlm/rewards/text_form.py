"""Rewards that read the form of a completion and not what it says: steps, tags, length, repetition. Pure functions.

Each can be earned without solving anything, which is why no recipe uses one alone. Lengths are whatever the caller
counts (characters in the official code). The tags here are those of other papers' rewards; what a task takes for well
formed is its own business (``Task.parse_completion``).
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

_STEP = re.compile(r"Step \d+:|^\d+\.(?!\d)|\n[-*]|First,|Second,|Next,|Finally,", re.MULTILINE)

_TAGGED = re.compile(r"<think>.*?</think>\s*<answer>.*?</answer>", re.DOTALL)
_CAPTIONED = re.compile(
    r"<summary>.*?</summary>\s*<caption>.*?</caption>\s*<think>.*?</think>\s*<answer>.*?</answer>", re.DOTALL
)


def think_format(text: str) -> float:
    """1 for ``<think>...</think><answer>...</answer>`` and nothing around it, else 0.

    Source: ``format_reward`` of Visual-RFT (``grpo.py``) and Reason-RFT (``reward.py``), the same
    expression. Nested and repeated tags pass, so it is laxer than our own form (``format_weight``).
    """
    return float(_TAGGED.fullmatch(text) is not None)


def caption_format(text: str) -> float:
    """1 for ``<summary>``, ``<caption>``, ``<think>`` and ``<answer>``, in this order, and nothing around them, else 0.

    Source: Reason-RFT, ``caption_format_reward`` (``reward.py``).
    """
    return float(_CAPTIONED.fullmatch(text) is not None)


def reasoning_steps(text: str, wanted: int = 3) -> float:
    """The share of ``wanted`` steps that a text marks (``Step 1:``, ``1.``, bullets, ``First,``), at most 1.

    Source: Reason-RFT, ``reasoning_steps_reward`` (``reward.py``). Ours, and no more: a number counts at the start of
    each line, there only as the very first characters of the completion; a decimal (``3.5 cm``) is no step. As there,
    three bare bullets earn all of it.
    """
    return min(1.0, len(_STEP.findall(text)) / wanted)


def shorter_is_better(lengths: Sequence[int], right: Sequence[bool], weight: float = 0.05) -> list[float]:
    """``weight`` x (0.5 to -0.5), from the shortest to the longest of a group; a wrong answer gains nothing by it.

    Source: Kimi k1.5, and Reason-RFT's ``len_reward`` (``reward.py``). Ours: it pays from the first step on, there
    nothing before step 800; ``lengths`` are those of one group, there of a whole batch of different questions; what is
    right the caller says, there the same text or number; any task, there not TRANCE. Zero where all are equally long.
    """
    low, high = min(lengths, default=0), max(lengths, default=0)
    if high == low:
        return [0.0] * len(lengths)
    shares = [0.5 - (length - low) / (high - low) for length in lengths]
    return [weight * (share if good else min(0.0, share)) for share, good in zip(shares, right, strict=True)]


def cosine_length(length: int, right: bool, longest: int = 1000) -> float:
    """0.5 to 1 for a right answer, more the shorter; -1 to -0.5 for a wrong one, more the longer (think on).

    Half a cosine between a length of 0 and ``longest``, beyond which nothing changes. Source: open-r1, where
    the cosine turns back past ``longest``.
    """
    turn = 0.5 * (1.0 + math.cos(math.pi * min(1.0, max(0.0, length / longest))))
    return 0.5 + 0.5 * turn if right else -0.5 - 0.5 * turn


def repetition(text: str, words: int = 6) -> float:
    """0 for a text without a run of ``words`` words that comes twice, down to -1 for nothing else.

    Source: VLM-R1, ``repetition_reward``: minus the share of runs that were seen before.
    """
    parts = text.casefold().split()
    runs = [tuple(parts[i : i + words]) for i in range(len(parts) - words + 1)]
    return len(set(runs)) / len(runs) - 1.0 if runs else 0.0
