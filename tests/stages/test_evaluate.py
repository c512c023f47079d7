"""What an evaluation makes of answers, those that cannot be read among them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tiny_models import picture

from rise_vlm.data import Card, DatasetWriter, Record
from rise_vlm.policy import Policy
from rise_vlm.recipes import load_recipe
from rise_vlm.recipes.schema import Evaluate
from rise_vlm.stages import evaluate, predictions
from rise_vlm.stages.cost import Meter
from rise_vlm.stages.material import Material
from rise_vlm.tasks.transformation import Transformation

CALL, OTHER = "change_color(0, red)", "change_color(0, blue)"
CAR = {"label": "car", "box": [0, 0, 28, 28]}


def test_boxes_behind_an_unreadable_answer_are_missed(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of two cars one is found and one answer breaks off: by hand, recall 1/2 and mAP 51 of COCO's 101 points."""
    with DatasetWriter(tmp_path / "cars", Card(name="cars", task="detection", classes=["car"])) as writer:
        writer.split("test")
        for i in range(2):
            writer.add("test", id=f"t{i}", image=picture(i), annotation=[CAR])
    material = Material.open(load_recipe("zero_shot", [f"data={tmp_path / 'cars'}"]))
    policy = Policy.load(str(model), dtype="float32")
    records = material.tests["test"]
    right = material.task.render([CAR], records[0], policy.frame)
    said = [f"<think>a hood</think><answer>{right}</answer>", f"<think>a hood</think><answer>{right[:-4]}"]
    monkeypatch.setattr(
        predictions, "sample", lambda *_, **__: [[SimpleNamespace(text=t, ids=[0], finished=True)] for t in said]
    )
    how = (policy, material, records, "think", Evaluate(), tmp_path / "p" / "rows.jsonl", Meter(tmp_path))
    rows = predictions.predict(*how)
    assert "evaluate: rows: 2/2" in capsys.readouterr().err
    assert predictions.predict(*how) == rows and not capsys.readouterr().err, "nothing asked, nothing told"
    assert [row["score"] for row in rows] == pytest.approx([1.0, 0.0], abs=0.1) and rows[1]["value"] is None
    figures = evaluate.judge(material, records, rows, resamples=10, seed=0)
    metrics = figures["metrics"]
    assert (figures["n"], metrics["parsed"], metrics["recall"], metrics["precision"]) == (2, 0.5, 0.5, 1.0)
    assert metrics["f1"] == pytest.approx(2 / 3, abs=1e-6)
    assert metrics["ap50"] == pytest.approx(51 / 101, abs=1e-6)
    assert metrics["score"] == pytest.approx(rows[0]["score"] / 2, abs=1e-6)


@pytest.mark.parametrize("shared", ["first", "second"])
def test_an_interval_draws_records_of_one_picture_together(classes: Path, shared: str) -> None:
    """Of four records to a picture, all right or all wrong, it is that of one record to each."""
    material = replace(Material.open(load_recipe("zero_shot", [f"data={classes}"])), task=Transformation())

    def record(i: int, picture: str) -> Record:
        images = (picture, f"own-{i}.png")
        images = images if shared == "first" else images[::-1]
        return Record(id=f"{i}", images=images, annotation=CALL, width=8, height=8)

    def interval(records: list[Record], rows: list[dict[str, Any]]) -> list[float]:
        return evaluate.judge(material, records, rows, resamples=500, seed=0)["intervals"]["exact_set"]

    rows = [{"value": CALL if i // 4 < 2 else OTHER} for i in range(20)]
    whole = interval([record(i, f"{i // 4}.png") for i in range(20)], rows)
    assert whole == interval([record(i, f"{i}.png") for i in range(5)], rows[::4])
    low, high = interval([record(i, f"{i}.png") for i in range(20)], rows)
    assert high - low < whole[1] - whole[0]
