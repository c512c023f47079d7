from __future__ import annotations

import json
from pathlib import Path

import pytest

from rise_vlm import cli
from rise_vlm.commands import doctor


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Only two quick checks, of which one may be replaced."""
    monkeypatch.setattr(doctor, "CHECKS", {"python": doctor._python, "disk": lambda: "plenty"})
    return monkeypatch


def test_a_healthy_installation_exits_with_0(checks: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [["ok", "python"], ["ok", "disk"]]


@pytest.mark.parametrize("error", [doctor.Broken("2 bytes free"), RuntimeError("2 bytes free")])
def test_whatever_breaks_is_a_finding_and_exits_with_1(
    checks: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    def broken() -> str:
        raise error

    checks.setitem(doctor.CHECKS, "disk", broken)
    assert cli.run(["doctor", "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["ok"] is False
    assert [check["ok"] for check in told["checks"]] == [True, False]
    assert "2 bytes free" in told["checks"][1]["found"]


def test_too_little_disk_and_memory_are_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "DISK_NEEDED", 2**80)
    monkeypatch.setattr(doctor, "MEMORY_NEEDED", 2**80)
    for check in (doctor._disk, doctor._memory):
        with pytest.raises(doctor.Broken, match="demo needs"):
            check()


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "PACKAGES", ("numpy", "no-such-package"))
    with pytest.raises(doctor.Broken, match=r"missing: no-such-package\. Install"):
        doctor._packages()


def test_the_built_in_model_loads_and_scores_what_it_samples() -> None:
    size, told, _ = doctor._model().partition(" M parameters")
    page = Path(__file__).parents[2] / "docs" / "tiny-model.md"
    assert told and f"{size} million parameters" in page.read_text(encoding="utf-8")
    assert "log-probs agree" in doctor._self_check()


def test_a_gap_between_sampling_and_scoring_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "GAP_ALLOWED", -1.0)
    with pytest.raises(doctor.Broken, match="differ by"):
        doctor._self_check()
