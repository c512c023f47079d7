from __future__ import annotations

import json
from pathlib import Path

import pytest

from rise_vlm.errors import UserError
from rise_vlm.report.read import Stage, read_rows, read_run


def test_a_folder_without_any_piece_of_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a run folder"):
        read_run(tmp_path)


def test_a_mistyped_folder_is_told_with_the_nearest_name(tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    with pytest.raises(UserError, match="no run folder .*dmo.*Did you mean 'demo'"):
        read_run(tmp_path / "dmo")


def test_a_row_cut_off_by_a_kill_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}\n{"step"')
    assert read_rows(path) == [{"step": 1}, {"step": 2}]


@pytest.mark.parametrize("bad", ['{"step"', "[1, 2]"])
def test_any_other_bad_row_is_told_with_file_and_line(tmp_path: Path, bad: str) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(f'{{"step": 1}}\n{bad}\n{{"step": 2}}\n')
    with pytest.raises(UserError, match=r"metrics\.jsonl, line 2"):
        read_rows(path)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "is not JSON"),
        ('{"arms": [{"arm": "rise"}]}', r"arms\.0\.split"),
        ('{"arms": [{"arm": "rise", "split": "test", "metrics": {"score": "high"}}]}', r"metrics\.score"),
    ],
)
def test_broken_results_are_told_with_file_and_key(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "results.json").write_text(text)
    with pytest.raises(UserError, match=rf"results\.json.*{told}"):
        read_run(tmp_path)


def test_keys_that_are_not_known_yet_do_no_harm(tmp_path: Path) -> None:
    entry = {"arm": "rise", "split": "test", "novelty": 1}
    (tmp_path / "results.json").write_text(json.dumps({"arms": [entry], "later": {}}))
    assert read_run(tmp_path).results.arms[0].arm == "rise"


def test_arms_with_an_underscore_and_splits_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "predictions").mkdir()
    (tmp_path / "predictions" / "visual_rft-ood.jsonl").write_text('{"id": "1"}\n')
    assert list(read_run(tmp_path).predictions) == [("visual_rft", "ood")]


def test_a_stage_shared_between_arms_is_read_once(tmp_path: Path) -> None:
    shared = tmp_path / "arms/rise/stages/01-sft"
    shared.mkdir(parents=True)
    (shared / "metrics.jsonl").write_text('{"step": 1, "loss": 2.0}\n')
    (tmp_path / "arms/zz/stages").mkdir(parents=True)
    (tmp_path / "arms/zz/stages/01-sft").symlink_to(shared)
    assert [(stage.arm, stage.name) for stage in read_run(tmp_path).stages] == [("rise", "sft")]


def test_a_series_holds_only_finite_numbers() -> None:
    rows = [{"x": 1.0}, {"x": float("nan")}, {"x": None}, {}, {"x": True}, {"x": 2}]
    rows = [{"step": step, **row} for step, row in enumerate(rows, 1)]
    assert Stage("", "s", rows).series("x") == [(1.0, 1.0), (6.0, 2.0)]


@pytest.mark.parametrize(
    "bad",
    [
        {},
        {"edges": [0, 1], "counts": [1, 2]},
        {"edges": [0, "x"], "counts": [1]},
        {"edges": [0, 1], "counts": [1], "kept": [1, 1]},
        {"edges": [0, 1], "counts": [1], "kept": [2]},
        {"edges": [0, 1], "counts": [1], "kept": "all"},
    ],
)
def test_a_broken_histogram_is_told(tmp_path: Path, bad: dict[str, object]) -> None:
    (tmp_path / "stages/01-harvest").mkdir(parents=True)
    (tmp_path / "stages/01-harvest/histogram.json").write_text(json.dumps(bad))
    with pytest.raises(UserError, match=r"histogram\.json"):
        read_run(tmp_path)


def test_the_mean_iou_of_older_results_is_read_by_its_present_name(tmp_path: Path) -> None:
    old = {"arm": "rise", "split": "test", "metrics": {"score": 0.4, "giou": 0.4}, "intervals": {"giou": [0.3, 0.5]}}
    (tmp_path / "results.json").write_text(json.dumps({"arms": [old]}))
    (read,) = read_run(tmp_path).results.arms
    assert read.metrics == {"score": 0.4, "miou": 0.4} and read.intervals == {"miou": (0.3, 0.5)}
