"""The metrics of a training: ``metrics.jsonl``, one row per step, always; trackers (trackio, wandb, ...) when asked.

The file survives a killed process: rows after the last checkpoint are dropped when the training goes on, so each step
stands in it once. Trackers see the repeated steps again, as they cannot be taken back there.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from rise_vlm.atomic import write_text
from rise_vlm.engine.checkpoint import told
from rise_vlm.errors import UserError
from rise_vlm.ranks import main_only

METRICS = "metrics.jsonl"


class Metrics:
    """The rows of one training, on the disk and in the trackers of ``accelerator``."""

    def __init__(self, folder: Path, accelerator: Accelerator) -> None:
        self.folder, self.path, self._accelerator = folder, folder / METRICS, accelerator

    @main_only
    def start(self, step: int) -> None:
        """Keep the rows up to ``step``; later ones, and a torn last one, are about to be written again."""
        with told(f"cannot write {self.path}", self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            text = self.path.read_text(encoding="utf-8", errors="replace") if self.path.exists() else ""
            kept = [line for line in text.splitlines() if 0 < _step_of(line) <= step]
            write_text(self.path, "".join(f"{line}\n" for line in kept))

    @main_only
    def add(self, row: Mapping[str, Any]) -> None:
        """One more row, there for others to read at once. NaN and infinity, which JSON has not, become null."""
        plain = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()}
        with told(f"cannot write {self.path}", self.folder), self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(plain, ensure_ascii=False, allow_nan=False) + "\n")
        self._accelerator.log({k: v for k, v in plain.items() if isinstance(v, int | float)}, step=int(row["step"]))

    @main_only
    def sync(self) -> None:
        """Flush the rows to the disk: no checkpoint is without the rows before it, even after a power cut."""
        with told(f"cannot write {self.path}", self.folder), self.path.open("a", encoding="utf-8") as file:
            os.fsync(file.fileno())

    def close(self) -> None:
        """Let the trackers finish what they send. Not by ``end_training``, which takes leave of other processes too."""
        for tracker in self._accelerator.trackers:
            tracker.finish()


def start_trackers(accelerator: Accelerator, names: tuple[str, ...], project: str, settings: Mapping[str, Any]) -> None:
    """Open the trackers the user asked for. One that is unknown or not installed raises UserError."""
    if not names:
        return
    available = {str(getattr(tracker, "value", tracker)) for tracker in accelerator.log_with}
    if missing := [name for name in names if name not in available]:
        raise UserError(f"track: '{missing[0]}' is not installed: pip install {missing[0]}, or leave it out")
    scalars = {k: v for k, v in settings.items() if isinstance(v, str | int | float)}
    accelerator.init_trackers(project, config=scalars)


def _step_of(line: str) -> int:
    """The step of a row, 0 for a line that is none."""
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return 0
