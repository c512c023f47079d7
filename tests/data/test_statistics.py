"""The numbers of a dataset are those that counting by hand gives."""

from __future__ import annotations

import statistics
from collections import Counter
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from rise_vlm.data import Card, Dataset, DatasetWriter
from rise_vlm.data.statistics import collect, summary


@given(st.lists(st.integers(-5, 500), min_size=1, max_size=50))
def test_summary(numbers: list[int]) -> None:
    found = summary(Counter(numbers))
    assert found["least"] == min(numbers) and found["most"] == max(numbers)
    assert found["median"] == statistics.median_low(numbers)
    assert abs(found["mean"] - statistics.mean(numbers)) <= 0.005 + 1e-9


def test_detection(tmp_path: Path) -> None:
    with DatasetWriter(tmp_path / "set", Card(name="x", task="detection", classes=["a", "b"])) as writer:
        boxes = [{"label": "a", "box": [0, 0, 100, 50]}, {"label": "a", "box": [180, 80, 200, 100]}]
        image = Image.new("RGB", (200, 100))
        writer.add("train", id="1", image=image, annotation=boxes, question="Where are the things?")
        writer.add("train", id="2", image=image, annotation=[], rationale="There is nothing.")
        writer.add("test", id="3", image=image, annotation=[{"label": "b", "box": [0, 0, 200, 100]}])
    with (tmp_path / "set" / "test.jsonl").open("a") as file:
        file.write("nonsense\n")
    found = collect(Dataset.open(tmp_path / "set"))
    assert found.to_dict()["splits"] == {
        "train": {
            "records": 2,
            "bad": 0,
            "classes": {"a": 2},
            "boxes": {"total": 2, "least": 0, "median": 0, "mean": 1.0, "most": 2, "areas": {"medium": 1, "small": 1}},
            "questions": {"records": 1, "words": {"least": 4, "median": 4, "mean": 4.0, "most": 4}},
            "rationales": {"records": 1, "words": {"least": 3, "median": 3, "mean": 3.0, "most": 3}},
            "widths": {"least": 200, "median": 200, "mean": 200.0, "most": 200},
            "heights": {"least": 100, "median": 100, "mean": 100.0, "most": 100},
        },
        "test": {
            "records": 1,
            "bad": 1,
            "classes": {"b": 1},
            "boxes": {"total": 1, "least": 1, "median": 1, "mean": 1.0, "most": 1, "areas": {"large": 1}},
            "widths": {"least": 200, "median": 200, "mean": 200.0, "most": 200},
            "heights": {"least": 100, "median": 100, "mean": 100.0, "most": 100},
        },
    }
    train = found.splits["train"]
    assert train.box_sizes[10] == 1 and train.box_sizes[2] == 1  # the roots of 1/4 and 1/50, in twentieths
    assert train.centres[5][5] == 1 and train.centres[18][19] == 1 and sum(train.box_shapes) == 2


def test_a_distribution_counts_in_parts(tmp_path: Path) -> None:
    with DatasetWriter(tmp_path / "set", Card(name="x", task="distribution", classes=["a", "b"])) as writer:
        for at, share in enumerate((0.75, 0.5)):
            shares = {"a": share, "b": 1 - share}
            writer.add("train", id=str(at), image=Image.new("RGB", (4, 4)), annotation=shares)
    assert collect(Dataset.open(tmp_path / "set")).splits["train"].classes == {"a": 1.25, "b": 0.75}
