"""How much is computed at once, and what becomes of it where memory runs out: a half of it, from then on.

Every policy has a `Room`. Sampling and scoring without gradient look for what fits by themselves, since how they are
cut does not matter; the trainer does it for the micro-batches of a step, which it repeats.
Left out: growing again. Whoever has more memory than before asks for another ``token_budget``.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import TypeVar

import torch

from rise_vlm.console import say

T = TypeVar("T")

TRAINED, SAMPLED, SCORED = "token_budget", "sampled_rows", "scored_tokens"
"""What can be limited: tokens of a micro-batch, sequences decoded at once, tokens scored at once without gradient."""


class Room:
    """The limits found so far, by name; none as long as memory has sufficed."""

    def __init__(self) -> None:
        self.limits: dict[str, int] = {}

    def of(self, name: str, asked: int) -> int:
        """``asked``, or the limit where that is lower."""
        return min(asked, self.limits.get(name, asked))

    def halve(self, name: str, limit: int, used: int) -> None:
        """Lower the limit to the first half, quarter, eighth, ... of ``limit`` that is below ``used``, and say so."""
        lower = limit // 2
        while lower >= used:
            lower //= 2
        self.limits[name] = max(lower, 1)
        say(f"out of memory: {name} is {self.limits[name]} from here on, it was {limit}.")

    def fit(self, name: str, asked: int, used: Callable[[], int], least: int, attempt: Callable[[int], T]) -> T:
        """``attempt(limit)``, again with less each time that memory runs out.

        ``used`` tells how much the whole work is, asked only then; ``least`` is what cannot be cut: there the error
        goes on.
        """
        while True:
            limit = self.of(name, asked)
            try:
                return attempt(limit)
            except (MemoryError, RuntimeError) as error:
                if not out_of_memory(error) or min(limit, used()) <= least:
                    raise
            free()  # not above: there the error still holds what was computed
            self.halve(name, limit, used())


def out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, of an accelerator or of the machine: torch's CPU allocator has no error of its own."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    signs = ("DefaultCPUAllocator: can't allocate memory", "CUBLAS_STATUS_ALLOC_FAILED", "MPS backend out of memory")
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in signs)


def free() -> None:
    """Let go of what a failed computation held."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
