"""``rise evaluate``: figures, predictions, and mistakes told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rise_vlm.cli import run
from rise_vlm.stages.files import read_rows


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_model_is_scored_on_a_split(classes: Path, model: Path, capsys) -> None:
    assert (
        run(["evaluate", str(model), str(classes), "--split", "val", "--role", "answer", "--out", "e", "--json"]) == 0
    )
    results = json.loads(capsys.readouterr().out)
    (arm,) = results["arms"]
    assert (arm["split"], arm["role"], arm["n"]) == ("val", "answer", 2)
    rows = list(read_rows(Path("e/predictions/evaluate-val.jsonl")))
    assert arm["metrics"]["score"] == pytest.approx(sum(row["score"] for row in rows) / 2)
    assert all(row["rationale"] is None for row in rows)


def test_the_table_names_where_the_predictions_are(classes: Path, model: Path, capsys) -> None:
    assert run(["evaluate", str(model), str(classes), "--limit", "1"]) == 0
    out = capsys.readouterr().out
    assert "evaluate" in out and "predictions" in out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["{model}", "nowhere"], "There is no folder nowhere"),
        (["{model}", "{data}", "--split", "tset"], "Did you mean 'test'"),
        (["{model}", "{data}", "--role", "thinks"], "--role is think or answer"),
        (["nowhere", "{data}"], "no such folder"),
    ],
)
def test_a_mistake_is_one_line_with_exit_code_2(classes: Path, model: Path, capsys, arguments, says) -> None:
    assert run(["evaluate", *(argument.format(model=model, data=classes) for argument in arguments)]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and says in captured.err
