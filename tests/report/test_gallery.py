from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from rise_vlm.report import gallery as module
from rise_vlm.report.gallery import SIDE, clip, gallery, is_right, show, thumbnail, total


def row(id: str, score: float, **more: Any) -> dict[str, Any]:
    return {"id": id, "image": f"{id}.png", "annotation": "cat", "value": "cat", "score": score} | more


@pytest.mark.parametrize(
    ("annotation", "value", "score", "right"),
    [
        ("cat", "cat", 1.0, True),
        ("cat", "dog", 0.0, False),
        ("cat", None, 0.0, False),
        ([0, 0, 9, 9], [0, 0, 9, 8], 0.89, True),
        ([0, 0, 9, 9], [5, 5, 9, 9], 0.2, False),
        ([{"label": "cat", "box": [0, 0, 9, 9]}], [{"label": "cat", "box": [0, 0, 9, 8]}], 0.9, True),
        ([{"label": "cat", "box": [0, 0, 9, 9]}], [{"label": "dog", "box": [0, 0, 9, 9]}], 0.0, False),
        ([], [], 1.0, True),
        ({"joy": 0.6, "fear": 0.4}, {"joy": 0.5, "fear": 0.5}, 0.9, True),
        ({"joy": 0.5, "fear": 0.5}, {"fear": 1.0}, 0.7, True),
        ({"joy": 0.6, "fear": 0.4}, {"fear": 1.0}, 0.7, False),
        ({"joy": 0.6, "fear": 0.4}, {}, 0.0, False),
    ],
)
def test_what_counts_as_right(annotation: Any, value: Any, score: float, right: bool) -> None:
    assert is_right(annotation, value, score) is right


def test_the_worst_come_first_by_the_judged_arm() -> None:
    predictions = {("a", "test"): [row("1", 0.9), row("2", 0.1)], ("b", "test"): [row("1", 0.2), row("2", 0.8)]}
    assert [item.id for item in gallery(predictions, ["a", "b"], "a", limit=9, roots=[])] == ["2", "1"]
    assert [item.id for item in gallery(predictions, ["a", "b"], "b", limit=9, roots=[])] == ["1", "2"]


def test_of_many_records_half_are_the_worst_and_the_best_is_among_them() -> None:
    rows = [row(str(index), index / 1000) for index in range(1000)]
    shown = [int(item.id) for item in gallery({("a", "test"): rows}, ["a"], "a", limit=20, roots=[])]
    assert shown[:10] == list(range(10)) and shown[-1] == 999 and len(set(shown)) == 20


def test_each_split_has_its_share() -> None:
    predictions = {("a", split): [row(str(i), i / 100) for i in range(100)] for split in ("test", "ood")}
    items = gallery(predictions, ["a"], "a", limit=20, roots=[])
    assert [sum(item.split == split for item in items) for split in ("test", "ood")] == [10, 10]
    assert total(predictions) == 200


def test_a_record_that_an_arm_has_not_answered_yet_comes_last() -> None:
    predictions = {("a", "test"): [row("1", 1.0), row("2", 0.3)], ("b", "test"): [row("1", 0.5)]}
    assert [item.id for item in gallery(predictions, ["a", "b"], "b", limit=9, roots=[])] == ["1", "2"]


def test_the_pictures_together_stay_within_the_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for index in range(6):
        Image.effect_noise((SIDE, SIDE), 90).save(tmp_path / f"{index}.png")
    one = len(thumbnail(Image.open(tmp_path / "0.png").convert("RGB")).uri)
    monkeypatch.setattr(module, "BYTES", int(one * 3.5))
    items = gallery({("a", "test"): [row(str(i), 0) for i in range(6)]}, ["a"], "a", limit=9, roots=[tmp_path])
    assert len(items) == 3


def test_a_thumbnail_is_a_small_jpeg_that_knows_the_size_of_the_original() -> None:
    made = thumbnail(Image.new("RGB", (2000, 1000), "red"))
    picture = Image.open(io.BytesIO(base64.b64decode(made.uri.removeprefix("data:image/jpeg;base64,"))))
    assert (picture.format, picture.size, made.width, made.height) == ("JPEG", (SIDE, SIDE // 2), 2000, 1000)


def test_a_missing_and_a_broken_picture_leave_their_record_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "2.png").write_text("no picture")
    items = gallery({("a", "test"): [row("1", 0.1), row("2", 0.2)]}, ["a"], "a", limit=9, roots=[tmp_path])
    assert [item.thumbnail for item in items] == [None, None]
    assert "1.png" in items[0].problem and "2.png" in items[1].problem


def test_bars_follow_the_order_of_the_classes_and_hold_every_arm() -> None:
    first = row("1", 0.5, annotation={"fear": 1.0}, value={"joy": 0.25, "fear": 0.75})
    second = row("1", 0.0, annotation={"fear": 1.0}, value=None)
    predictions = {("a", "test"): [first], ("b", "test"): [second]}
    (item,) = gallery(predictions, ["a", "b"], "a", limit=9, roots=[], classes=["joy", "calm", "fear"])
    assert [(bar.label, bar.truth, bar.dots) for bar in item.bars] == [
        ("joy", 0.0, {"a": 0.25}), ("calm", 0.0, {"a": 0.0}), ("fear", 1.0, {"a": 0.75}),
    ]  # fmt: skip


def test_of_many_classes_the_most_probable_are_shown() -> None:
    truth = {f"class {index:02d}": (0.5 if index in (7, 30) else 0.0) for index in range(40)}
    (item,) = gallery({("a", "test"): [row("1", 1.0, annotation=truth, value=truth)]}, ["a"], "a", limit=9, roots=[])
    assert len(item.bars) == module.FEW_CLASSES
    assert {bar.label for bar in item.bars if bar.truth} == {"class 07", "class 30"}


def test_values_are_shown_for_people() -> None:
    assert show({"joy": 0.271, "fear": 0.729, "calm": 0.0}) == "fear 0.73, joy 0.27"
    assert show([1.2, 3, 4.8, 5]) == "[1, 3, 5, 5]"
    assert show("T-shirt") == "T-shirt"
    assert show({"joy": "high"}) == ""


def test_long_text_is_cut_and_says_so() -> None:
    assert clip("x" * 5000).endswith("(3,000 more characters)")
    assert clip("short") == "short" and clip(None) == ""


def test_detections_are_drawn_box_by_box_and_told_by_class() -> None:
    things = [
        {"label": "dog", "box": [1, 2, 3, 4]},
        {"label": "cat", "box": [5, 6, 7, 8]},
        {"label": "dog", "box": [0, 0, 9, 9]},
    ]
    rows = [row("1", 0.5, annotation=things, value=things[:1]), row("2", 0.0, annotation=[], value=things)]
    empty, full = gallery({("a", "test"): rows}, ["a"], "a", limit=9, roots=[])
    assert (full.truth, full.boxes) == ("2 dog, 1 cat", ((1, 2, 3, 4), (5, 6, 7, 8), (0, 0, 9, 9)))
    assert (full.answers[0].text, full.answers[0].boxes) == ("1 dog", ((1, 2, 3, 4),))
    assert (empty.truth, empty.boxes, len(empty.answers[0].boxes)) == ("nothing", (), 3)


def test_a_transformation_shows_both_pictures_and_its_functions(tmp_path: Path) -> None:
    for name, colour in (("1.png", "red"), ("2.png", "blue")):
        Image.new("RGB", (640, 480), colour).save(tmp_path / name)
    truth = {"functions": ["change_color(0, cyan)", "change_size(1, small)"], "objects": [], "final": []}
    given = "change_size(1, small), change_color(0, cyan)"
    rows = [row("1", score, annotation=truth, value=given, more=["2.png"]) for score in (1.0, 0.5)]
    for one, right in zip(rows, (True, False), strict=True):
        (item,) = gallery({("a", "test"): [one]}, ["a"], "a", limit=9, roots=[tmp_path])
        assert (item.truth, item.answers[0].text) == ("change_color(0, cyan), change_size(1, small)", given)
        assert item.answers[0].right is right and item.bars == []
        assert item.thumbnail is not None and item.thumbnail.width > 2 * 640 and item.thumbnail.height == 480
    missing = row("1", 1.0, more=["3.png"])
    (item,) = gallery({("a", "test"): [missing]}, ["a"], "a", limit=9, roots=[tmp_path])
    assert item.thumbnail is None and item.problem == "3.png is not where it was."


def test_a_region_is_drawn_and_not_told() -> None:
    (item,) = gallery(
        {("a", "test"): [row("1", 0.5, annotation=[0, 0, 9, 9], value=[0, 0, 9, 5])]}, ["a"], "a", limit=9, roots=[]
    )
    assert (item.truth, item.boxes, item.answers[0].text) == ("", ((0, 0, 9, 9),), "")
