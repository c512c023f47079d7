from __future__ import annotations

import json
from pathlib import Path

import pytest

from rise_vlm import cli


def test_report_writes_the_page_and_prints_where(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "recipe.yaml").write_text("name: rise\n")
    assert cli.run(["report", str(tmp_path)]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "report.html")
    assert "<!doctype html>" in (tmp_path / "report.html").read_text()


def test_report_as_json_is_one_object(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "recipe.yaml").write_text("name: rise\n")
    assert cli.run(["report", str(tmp_path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["bytes"] == Path(told["report"]).stat().st_size


def test_a_folder_that_is_no_run_is_wrong_use(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["report", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith(f"rise: {tmp_path} is not a run folder")
