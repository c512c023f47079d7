"""Several datasets become one: classes by name, ids of their own, the later answer counts, no picture in two splits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from rise_vlm.cli import run
from rise_vlm.data import Card, Dataset, DatasetWriter, Record
from rise_vlm.data.merging import merge
from rise_vlm.errors import DataError, UserError

Row = tuple[str, str, int, str]
"""Split, id, picture, class."""


def made(root: Path, *rows: Row, classes: str = "ab", rationale: str | None = None, **card: Any) -> Path:
    card = {"name": root.name, "task": "classification", "classes": list(classes)} | card
    with DatasetWriter(root, Card(**card)) as writer:
        for split, id_, picture, class_ in rows:
            image = Image.new("RGB", (8, 8), (picture, 0, 0))
            writer.add(split, id=id_, image=image, annotation=class_, rationale=rationale)
    return root


def records(root: Path) -> dict[str, list[Record]]:
    dataset = Dataset.open(root)
    found = {split: list(dataset.records(split)) for split in dataset.splits}
    assert not any(counts.quarantined for counts in dataset.counts.values())
    return found


def test_classes_are_joined_by_name_and_ids_are_made_unique(tmp_path: Path) -> None:
    one = made(tmp_path / "one", ("train", "1", 1, "a"), ("test", "2", 2, "b"), classes="ab", licence="MIT")
    two = made(tmp_path / "two", ("train", "1", 3, "c"), ("train", "2", 4, "b"), classes="cb", licence="CC0")
    merged = merge([one, two], tmp_path / "out")
    card = Dataset.open(tmp_path / "out").card
    assert (card.classes, card.licence, card.name) == (["a", "b", "c"], "MIT, CC0", "out")
    found = records(tmp_path / "out")
    told = [(record.id, record.annotation, record.meta["from"]) for record in found["train"]]
    assert told == [("1", "a", "one"), ("1 (two)", "c", "two"), ("2 (two)", "b", "two")]
    assert merged.renamed == 2 and merged.splits == {"train": 3, "test": 1} and merged.sources == {"one": 2, "two": 2}
    dataset = Dataset.open(tmp_path / "out")
    assert [dataset.image(record).getpixel((0, 0)) for record in found["train"]] == [(1, 0, 0), (3, 0, 0), (4, 0, 0)]


def test_the_later_dataset_counts_and_tests_stay_as_they_are(tmp_path: Path) -> None:
    one = made(tmp_path / "one", ("train", "1", 1, "a"), ("train", "2", 2, "a"), ("test", "3", 3, "b"))
    rows = ("train", "x", 1, "b"), ("train", "y", 3, "a"), ("train", "z", 9, "a")
    two = made(tmp_path / "two", *rows, rationale="It is so.")
    merged = merge([one, two], tmp_path / "out")
    found = records(tmp_path / "out")
    assert [(record.id, record.annotation) for record in found["train"]] == [("2", "a"), ("x", "b"), ("z", "a")]
    assert [(record.id, record.annotation) for record in found["test"]] == [("3", "b")]
    assert (merged.replaced, merged.shared) == (1, 1)
    assert [record.rationale for record in found["train"]] == [None, "It is so.", "It is so."]


def test_a_question_of_one_dataset_stays_with_its_records(tmp_path: Path) -> None:
    one = made(tmp_path / "one", ("train", "1", 1, "a"), question="Which?")
    two = made(tmp_path / "two", ("valid", "1", 2, "a"))
    merge([one, two], tmp_path / "out")
    assert Dataset.open(tmp_path / "out").card.question is None
    found = records(tmp_path / "out")
    assert [record.question for record in found["train"]] == ["Which?"] and found["val"][0].question is None


def test_what_does_not_fit_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    one = made(tmp_path / "one", ("train", "1", 1, "a"))
    other = made(tmp_path / "other", ("train", "1", 2, "a"), language="de")
    boxes = made(tmp_path / "boxes", task="detection")
    case = made(tmp_path / "case", ("train", "1", 2, "A"), classes="AB")
    for sources, told in (
        ([one, other], "other cannot be merged: its language is de"),
        ([one, boxes], "boxes cannot be merged: its task is detection"),
        ([one, case], "the same name"),
        ([one, one], "two or more datasets"),
        ([one], "two or more datasets"),
        ([one, tmp_path / "none"], "no folder"),
    ):
        with pytest.raises(UserError, match=told):
            merge(sources, tmp_path / "out")
    broken = made(tmp_path / "broken", ("train", "1", 5, "a"))
    next((broken / "images").rglob("*.png")).write_text("no image")
    with pytest.raises(DataError, match=r"--quarantine' puts such rows aside; then merge"):
        merge([one, broken], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_command_tells_what_became_of_the_records(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = made(tmp_path / "one", ("train", "1", 1, "a"), ("train", "2", 2, "b"))
    two = made(tmp_path / "two", ("train", "1", 1, "b"))
    command = ["data", "merge", str(one), str(two), "--out", str(tmp_path / "out")]
    assert run(command) == 0
    told = capsys.readouterr().out
    assert "train: 2 records\nfrom one: 1 records\nfrom two: 1 records\n1 records left out: a later dataset" in told
    assert run(command) == 2 and "--force" in capsys.readouterr().err
    assert run([*command, "--force", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["replaced"] == 1
