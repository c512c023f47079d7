"""Records of several pictures: none of their pictures is dealt to two splits, and what is said of it is so."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from format_kit import put_text
from PIL import Image

from rise_vlm.cli import run
from rise_vlm.data import Dataset

Row = tuple[str, tuple[str, ...]]
"""An id and the names of its pictures."""


def written(root: Path, rows: list[Row], name: str = "all.json") -> Path:
    """Rows of Reason-RFT, each picture a noise of its own."""
    root.mkdir(parents=True)
    for picture in {picture for _, pictures in rows for picture in pictures}:
        Image.frombytes("RGB", (16, 16), random.Random(picture).randbytes(768)).save(root / picture)
    told = [{"id": id_, "image": list(pictures), "problem": "How many?", "answer": "3"} for id_, pictures in rows]
    put_text(root / name, told)
    return root


def imported(
    capsys: pytest.CaptureFixture[str], source: Path, out: Path, *more: Any
) -> tuple[dict[str, Any], dict[str, str]]:
    """What the import tells, and the split of each record."""
    words = ["data", "import", "reasonrft", source, "--task", "counting", "--out", out, "--json", *more]
    assert run([*map(str, words)]) == 0
    dataset = Dataset.open(out)
    homes = {record.id: split for split in dataset.splits for record in dataset.records(split)}
    return json.loads(capsys.readouterr().out), homes


def doubts(capsys: pytest.CaptureFixture[str], folder: Path) -> list[str]:
    """What ``rise data check`` says of pictures in several splits."""
    run(["data", "check", str(folder), "--json"])
    return [note for note in json.loads(capsys.readouterr().out)["notes"] if "more than one split" in note]


def test_records_are_dealt_together_whichever_picture_they_share(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One picture is the second of two records, another the first of one and the second of the next."""
    rows: list[Row] = []
    for at in range(20):
        rows += [(f"{at}a", (f"{at}-1.png", f"{at}-0.png")), (f"{at}b", (f"{at}-2.png", f"{at}-0.png"))]
        rows += [(f"{at}c", (f"{at}-3.png", f"{at}-2.png")), (f"{at}d", (f"{at}-3.png",))]
    told, homes = imported(capsys, written(tmp_path / "in", rows), tmp_path / "out")
    assert told["splits"] == {"train": 56, "val": 8, "test": 16}
    assert all(len({homes[f"{at}{letter}"] for letter in "abcd"}) == 1 for at in range(20))
    assert "20 groups" in told["dealt"] and "no image is in two splits" in told["dealt"]
    assert doubts(capsys, tmp_path / "out") == []


def test_one_picture_in_all_records_leaves_nothing_to_deal_and_it_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [(str(at), (f"{at}.png", "legend.png")) for at in range(20)]
    told, homes = imported(capsys, written(tmp_path / "in", rows), tmp_path / "out")
    assert set(homes.values()) == {"train"} and not told["dealt"]
    assert any("tie them into 1 group" in note for note in told["notes"]), told["notes"]


def test_a_group_too_large_for_a_split_does_not_go_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    large = [(f"large{at}", (f"large{at}.png", "shared.png")) for at in range(50)]
    small = [(f"small{at}", (f"small{at}.png",)) for at in range(50)]
    told, homes = imported(capsys, written(tmp_path / "in", large + small), tmp_path / "out")
    assert {homes[id_] for id_, _ in large} == {"train"}
    assert told["splits"] == {"train": 85, "val": 5, "test": 10}


def test_a_row_that_lacks_its_second_picture_ties_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = written(tmp_path / "in", [(str(at), (f"{at}.png",)) for at in range(20)])
    rows = json.loads((source / "all.json").read_text())
    bad = [row | {"id": f"bad{row['id']}", "image": [*row["image"], "gone.png"]} for row in rows]
    put_text(source / "all.json", rows + bad)
    told, _ = imported(capsys, source, tmp_path / "out")
    assert told["splits"] == {"train": 14, "val": 2, "test": 4} and told["quarantined"] == 20


def test_what_the_source_itself_has_in_two_splits_is_not_denied(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = written(tmp_path / "in", [(str(at), (f"{at}.png", f"{at}-b.png")) for at in range(20)], "train.json")
    own = [{"id": "own", "image": ["3.png", "5-b.png"], "problem": "How many?", "answer": "3"}]
    put_text(source / "val.json", own)
    told, homes = imported(capsys, source, tmp_path / "out", "--test", "0.2")
    assert homes["own"] == "val" and told["splits"] == {"train": 16, "val": 1, "test": 4}
    assert "no image is in two splits" not in told["dealt"]
    assert "2 of them are in the source's own splits too" in told["dealt"]
    assert doubts(capsys, tmp_path / "out") == ["in more than one split: 2 images; a test on them flatters the model."]


def test_pictures_of_one_record_each_are_dealt_as_ever(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By the hash of the first one's name, whatever other pictures the record has; who imports again gets the same."""
    alone = written(tmp_path / "one", [(str(at), (f"{at}.png",)) for at in range(20)])
    pairs = written(tmp_path / "two", [(str(at), (f"{at}.png", f"{at}-after.png")) for at in range(20)])
    for source in (alone, pairs):
        _, homes = imported(capsys, source, tmp_path / "out" / source.name)
        chosen = {split: {id_ for id_, home in homes.items() if home == split} for split in ("val", "test")}
        assert chosen == {"val": {"10", "13"}, "test": {"1", "15", "16", "19"}}
