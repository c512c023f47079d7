"""What a stage cost is what was spent on it: an interruption adds up, other settings start from zero."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from stage_kit import environment

from rise_vlm.stages import cost
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


def test_where_python_has_no_resource_module_the_stages_import_all_the_same() -> None:
    """Windows has none."""
    code = "import sys, rise_vlm.policy.policy; sys.modules['resource'] = None; import rise_vlm.stages.run"
    assert subprocess.run([sys.executable, "-c", code], env=environment(), check=False).returncode == 0


def test_windows_says_its_peak_itself(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cost, "Path", lambda path: tmp_path / "none")
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert cost.peak_mb() > 10  # without /proc, from the module resource
    process = SimpleNamespace(memory_info=lambda: SimpleNamespace(peak_wset=3_000_000))
    monkeypatch.setattr(psutil, "Process", lambda: process)
    monkeypatch.setattr(cost, "sys", SimpleNamespace(platform="win32"))
    assert cost.peak_mb() == 3.0
