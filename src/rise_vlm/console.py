"""Talking to the person at the terminal: messages and progress on stderr, so that stdout stays clean for ``--json``."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager


def say(text: str) -> None:
    """Print one message on stderr."""
    print(text, file=sys.stderr, flush=True)


class Progress:
    """Counts steps and shows rate, time left and named fields (``reward=0.53``)."""

    def __init__(self, description: str, total: int | None = None) -> None:
        self.description, self.total, self.done = description, total, 0
        self._start = self._last = time.monotonic()

    def update(self, advance: int = 1, **fields: float | str) -> None:
        """Advance by ``advance`` steps; ``fields`` are shown beside the bar."""
        self.done += advance
        now = time.monotonic()
        if now - self._last >= 10 or self.done == self.total:
            self._last = now
            shown = " ".join(f"{k}={v:.3f}" if isinstance(v, float) else f"{k}={v}" for k, v in fields.items())
            say(f"{self.description}: {self.done}/{self.total or '?'} {shown} ({now - self._start:.0f} s)")


@contextmanager
def progress(description: str, total: int | None = None) -> Iterator[Progress]:
    """Show progress while the block runs."""
    yield Progress(description, total)
