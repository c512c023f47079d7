"""A training whose rewards never differ within a group learns nothing: say so once, say why, and stop where asked to.

All is read off ``metrics.jsonl``, so a training that is resumed judges as one that was not.
Left out: mending it; the messages say what a user can do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rise_vlm.console import say
from rise_vlm.engine.metrics import METRICS
from rise_vlm.ranks import once
from rise_vlm.stages.files import Row, read_rows

STRETCH = 10
"""So many steps in a row without spread are told."""

Why = Callable[[Mapping[str, float]], str]
"""From the means of a stretch's metrics to the reason that they suggest, and a remedy."""


class Watch:
    """Looks at a training's rows. ``stop``: after so many steps without spread it is to end; None: never."""

    def __init__(self, stage: str, folder: Path, stop: int | None, why: Why) -> None:
        self.stage, self.path, self.stop, self.why = stage, folder / METRICS, stop, why

    def ends(self, step: int) -> bool:
        """Whether the training is to end after ``step``. The step that makes a stretch long enough to tell tells it."""
        rows = once(self._stretch, step)
        if len(rows) == STRETCH:
            key = f"{self.stage.replace(' ', '_')}.stop_without_spread"
            say(f"note: {self._told(rows)}." + (f" {key}={2 * STRETCH} would end it." if self.stop is None else ""))
        return self.stop is not None and len(rows) >= self.stop

    def notes(self, done: int, steps: int) -> list[str]:
        """For the results: the longest stretch, if it is long or all there is, and that the training stopped for it.

        ``done`` steps of ``steps`` were taken.
        """
        rows = once(self._longest)
        if done < steps:
            rows = once(self._stretch, done)
            stopped = f"; it stopped after step {done} of {steps} (stop_without_spread={self.stop})"
            say(f"{self.stage}: stopped after step {done} of {steps}: no spread in {len(rows)} steps.")
            return [self._told(rows) + stopped]
        return [self._told(rows)] if rows and len(rows) >= min(STRETCH, steps) else []

    def _told(self, rows: Sequence[Row]) -> str:
        first, last = rows[0]["step"], rows[-1]["step"]
        names = {name for row in rows for name, value in row.items() if isinstance(value, int | float)}
        means = {name: sum(row.get(name) or 0.0 for row in rows) / len(rows) for name in names}
        when = f"steps {first} to {last}" if last > first else f"step {first}"
        return f"{self.stage}: no group had any spread in {when}, so nothing was learned from scores: {self.why(means)}"

    def _stretch(self, step: int) -> list[Row]:
        """The rows without spread that end with that of ``step``."""
        rows = [row for row in read_rows(self.path) if row["step"] <= step]
        start = next((i + 1 for i in reversed(range(len(rows))) if not _flat(rows[i])), 0)
        return rows[start:]

    def _longest(self) -> list[Row]:
        found: list[Row] = []
        current: list[Row] = []
        for row in read_rows(self.path):
            current = [*current, row] if _flat(row) else []
            found = max(found, current, key=len)
        return found


def _flat(row: Mapping[str, Any]) -> bool:
    return row.get("zero_spread") == 1.0


def why_loop(means: Mapping[str, float]) -> str:
    """Of the closed loop."""
    if means.get("length") == 0:
        return "every rationale was empty; another base, or a warm-up of the role reason, may write some"
    if means.get("parsed") == 0:
        return (
            "no reconstruction could be read; see reconstruct.max_new_tokens, and warm up longer: the reconstructor "
            "does not know the form of an answer"
        )
    if means.get("reconstruction") == 0:
        return "every reconstruction scored 0; the reconstructor cannot do the task yet: warm up longer"
    if means.get("reconstruction") == 1:
        return "every reconstruction was right already; there is nothing for the loop to gain"
    leaks = "every rationale leaked, and " if means.get("leak_rate") == 1 else ""
    return (
        f"{leaks}each record's rationales were rebuilt alike (mean score {means.get('reconstruction', 0.0):.2f}); the "
        "reconstructor hardly reads them: warm up longer, or raise rollouts.group or rollouts.temperature"
    )


def why_grpo(means: Mapping[str, float]) -> str:
    """Of GRPO on think-and-answer."""
    if means.get("well_formed") == 0 and means.get("score") == 0:
        return (
            "no completion kept to the form, so none could score; see grpo.rollouts.max_new_tokens, and let an SFT "
            "teach the form first"
        )
    if means.get("score") == 0:
        return "every answer scored 0; let an SFT come first, or take a base that knows more of the task"
    if means.get("score") == 1:
        return "every answer was right already; there is nothing to gain"
    return (
        f"the completions of each record were rewarded alike (mean score {means.get('score', 0.0):.2f}); raise "
        "rollouts.temperature or rollouts.group"
    )
