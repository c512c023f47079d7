"""What a stage cost is what was spent on it: an interruption adds up, other settings start from zero."""

from __future__ import annotations

from pathlib import Path

import pytest

from rise_vlm.stages.cost import Meter
from rise_vlm.stages.plan import Step, begin


def step(out: Path, fingerprint: str) -> Step:
    return Step("sft", out / "stages" / "01-sft", fingerprint, fingerprint, None, None)


def test_work_that_is_lost_and_done_again_counts_again(tmp_path: Path) -> None:
    for spent in (30, 60):
        begin(step(tmp_path, "same"), tmp_path)
        with pytest.raises(KeyboardInterrupt), Meter(tmp_path / "stages" / "01-sft") as meter:
            meter.add(rollouts=3, tokens=30)
            raise KeyboardInterrupt
        assert meter.cost["tokens"] == spent


def test_a_stage_with_other_settings_starts_from_zero(tmp_path: Path) -> None:
    begin(step(tmp_path, "one"), tmp_path)
    with Meter(tmp_path / "stages" / "01-sft") as meter:
        meter.add(tokens=30)
    begin(step(tmp_path, "another"), tmp_path)
    assert Meter(tmp_path / "stages" / "01-sft").cost["tokens"] == 0
