"""The fixtures of the stages' tests, for this folder too."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "stages"))

from stage_fixtures import classes, model, moods, places

__all__ = ["classes", "model", "moods", "places"]
