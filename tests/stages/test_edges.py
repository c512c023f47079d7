"""Data at its edges, through whole runs: one class, nothing to find, three hundred things, boxes at the border."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from stage_kit import small_recipe
from tiny_models import picture

from rise_vlm.data import Card, Dataset, DatasetWriter
from rise_vlm.errors import UserError
from rise_vlm.policy.frames import FRAMES
from rise_vlm.recipes import load_recipe
from rise_vlm.stages.preflight import prepare
from rise_vlm.stages.run import run_recipe
from rise_vlm.tasks import make_task

SIZE = 56
"""Of the pictures, in pixels."""


def make(root: Path, task: str, classes: list[str], truths: list[Any]) -> Path:
    """A dataset whose three splits have a picture for each of ``truths``."""
    with DatasetWriter(root, Card(name="edge", task=task, classes=classes)) as writer:
        for number, split in enumerate(("train", "val", "test")):
            writer.split(split)
            for i, truth in enumerate(truths):
                writer.add(split, id=f"{split}-{i}", image=picture(10 * number + i), annotation=truth)
    return root


def car(*box: float) -> dict[str, Any]:
    return {"label": "car", "box": list(box)}


def test_a_detection_of_one_class_and_empty_pictures_runs_to_its_end(tmp_path: Path, model: Path) -> None:
    root = make(tmp_path / "cars", "detection", ["car"], [[], [car(0, 0, SIZE, SIZE)]])
    results = run_recipe(small_recipe("rise", root, model), tmp_path / "run", report=False)
    assert results["arms"][0]["n"] == 2 and 0 <= results["arms"][0]["metrics"]["f1"] <= 1


def test_where_every_picture_is_empty_the_answer_none_is_right(tmp_path: Path, model: Path) -> None:
    root = make(tmp_path / "empty", "detection", ["car", "dog"], [[], []])
    results = run_recipe(small_recipe("rise", root, model), tmp_path / "run")
    (arm,) = results["arms"]
    assert "ap" not in arm["metrics"]  # undefined, nothing being there
    assert arm["metrics"]["score"] == arm["metrics"]["parsed"] == arm["metrics"]["f1"]
    assert {floor["name"]: floor["metrics"]["score"] for floor in results["floors"]}["nothing"] == 1.0
    assert (tmp_path / "run" / "report.html").is_file()


def test_one_class_is_nothing_to_classify(tmp_path: Path, model: Path) -> None:
    root = tmp_path / "one"
    with pytest.raises(UserError, match=r"one/dataset.yaml: classes: .* needs at least two classes, and there are 1;"):
        make(root, "classification", ["car"], ["car"])
        prepare(small_recipe("ans_sft", root, model), tmp_path / "run")


def test_three_hundred_things_in_a_picture(tmp_path: Path) -> None:
    """Their answer is longer than the model takes: that is told with the record, and so are COCO's hundred boxes."""
    crowd = [car(i % 20, i // 20, i % 20 + 30, i // 20 + 30) for i in range(300)]
    root = make(tmp_path / "crowd", "detection", ["car", "dog"], [crowd, [car(0, 0, 20, 20)]])
    notes = prepare(load_recipe("zero_shot", [f"data={root}"]), tmp_path / "run").material.notes
    (coco,) = [note for note in notes if "COCO" in note]
    assert "1 of 2 records of 'test' have more than 100 boxes of a class (record 'test-0' has 300)" in coco
    assert any(note.startswith("evaluate.max_new_tokens") and "'test-0'" in note for note in notes)
    too_long = (
        r"sft: the answer prompt .*1 of 2 annotations take .* of record 'train-0' \d+ tokens: take such records out"
    )
    with pytest.raises(UserError, match=too_long):
        prepare(load_recipe("ans_sft", [f"data={root}"]), tmp_path / "run")
    task = make_task(Dataset.open(root).card)
    assert task.score(crowd, crowd) == pytest.approx(1.0)
    figures = task.split_metrics([(crowd, crowd)])
    assert figures["ar100"] == pytest.approx(100 / 300, abs=1e-6)


@pytest.mark.parametrize(
    ("task", "truth", "shown"), [("classification", "car", ", 'car':"), ("detection", [], ", nothing to find:")]
)
def test_records_that_are_all_annotated_alike_are_noted(tmp_path: Path, task: str, truth: Any, shown: str) -> None:
    root = make(tmp_path / "alike", task, ["car", "dog"], [truth, truth])
    notes = prepare(load_recipe("rise", [f"data={root}"]), tmp_path / "run").material.notes
    assert [note for note in notes if f"all 2 training records have the same annotation{shown}" in note]
    more = make(tmp_path / "more", "classification", ["car", "dog"], ["car", "dog"])
    notes = prepare(load_recipe("rise", [f"data={more}"]), tmp_path / "run").material.notes
    assert not any("same annotation" in note for note in notes)


@pytest.mark.parametrize("frame", ["thousand", "resized_pixels"])
def test_boxes_at_the_border_are_written_and_read_back(tmp_path: Path, frame: str) -> None:
    boxes = [(0, 0, SIZE, SIZE), (0, 0, 1, 1), (SIZE - 1, SIZE - 1, SIZE, SIZE), (0, 20, SIZE, 21)]
    root = make(tmp_path / "border", "detection", ["car"], [[car(*box) for box in boxes]])
    dataset = Dataset.open(root)
    task, made = make_task(dataset.card), FRAMES[frame]()
    (record,) = dataset.records("train")
    assert len(record.annotation) == len(boxes)
    read = task.parse(task.render(record.annotation, record, made), record, made)
    assert read.reason is None and task.score(record.annotation, read.value) > 0.7


def test_the_same_true_box_twice_is_put_aside_with_the_reason(tmp_path: Path) -> None:
    root = make(tmp_path / "twice", "detection", ["car"], [[car(0, 0, 9, 9)], [car(5, 5, 20, 20)]])
    path = root / "train.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines()
    one = '{"label": "car", "box": [0, 0, 9, 9]}'
    assert one in lines[0]
    path.write_text("\n".join([lines[0].replace(one, f"{one}, {one}"), *lines[1:]]) + "\n", encoding="utf-8")
    dataset = Dataset.open(root)
    assert [record.id for record in dataset.records("train")] == ["train-1"]
    assert "listed twice" in str(dataset.counts["train"].first)


def test_a_harvest_that_keeps_nothing_says_what_would_keep_how_many(tmp_path: Path, classes: Path, model: Path) -> None:
    recipe = small_recipe("rise", classes, model, "stages=[harvest, sft, evaluate]", "harvest.threshold=9")
    notes = run_recipe(recipe, tmp_path / "run", report=False)["notes"]
    (note,) = [note for note in notes if "no rationale passed" in note]
    assert "threshold 9" in note and "instead" in note
    found = re.search(r"harvest\.threshold=([\d.]+) would keep some of (\d+) of the 4 records", note.split(", ")[-1])
    assert found is not None, note
    lower = small_recipe("rise", classes, model, "stages=[harvest]", f"harvest.threshold={found[1]}")
    kept = run_recipe(lower, tmp_path / "lower", report=False)["harvest"]
    assert (kept["records"], kept["fallback"]) == (int(found[2]), False)
