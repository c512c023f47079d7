"""What a check of a whole dataset finds: every kind of damage under its own name, and nothing in a sound dataset."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw

from rise_vlm.data import Card, Dataset, DatasetWriter
from rise_vlm.data.checking import read_quarantine
from rise_vlm.data.doubles import ranks_of
from rise_vlm.data.findings import ASIDE, KINDS, counted, known_kinds
from rise_vlm.data.inspecting import inspect, quarantine
from rise_vlm.errors import DataError, UserError

SIZE = (80, 60)


def picture(seed: int) -> Image.Image:
    """Stripes and a disc: pictures of different seeds do not look the same."""
    image = Image.new("RGB", SIZE, (250, 250, 250))
    pen = ImageDraw.Draw(image)
    for bit in range(8):
        if (seed * 37 + 11) >> bit & 1:
            pen.rectangle((bit * 10, 0, bit * 10 + 9, 59), fill=(20 * bit, 90, 30))
    pen.ellipse((seed * 5 % 60, seed * 3 % 40, seed * 5 % 60 + 25, seed * 3 % 40 + 20), fill=(200, 30, 30))
    return image


@pytest.fixture
def boxed(tmp_path: Path) -> Path:
    """A sound detection dataset: 12 records in train, 3 in val, 3 in test."""
    with DatasetWriter(tmp_path / "set", Card(name="x", task="detection", classes=["a", "b"])) as writer:
        seed = 0
        for split, number in (("train", 12), ("val", 3), ("test", 3)):
            for at in range(number):
                seed += 1
                boxes = [{"label": "a", "box": [5, 5, 70, 25]}, {"label": "b", "box": [10, 30, 75, 50]}]
                writer.add(split, id=f"{split}{at}", image=picture(seed), annotation=boxes)
    return tmp_path / "set"


def edit(root: Path, number: int, split: str = "train", **values: Any) -> None:
    path = root / f"{split}.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows[number] |= values
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\n")


def image(root: Path, number: int, split: str = "train") -> Path:
    return root / "images" / split / f"{split}{number}.png"


def box(*corners: float) -> dict[str, Any]:
    return {"annotation": [{"label": "a", "box": list(corners)}]}


def kinds(root: Path) -> dict[str, int]:
    return counted(inspect(Dataset.open(root)).findings)


def turn(path: Path, orientation: int) -> None:
    picture = Image.open(path)
    picture.load()
    exif = picture.getexif()
    exif[0x0112] = orientation
    picture.save(path, exif=exif)


def shrink(source: Path, target: Path) -> None:
    Image.open(source).resize((79, 60)).save(target)


DAMAGE: dict[str, Callable[[Path], Any]] = {
    "bad-row": lambda root: (root / "train.jsonl").open("a").write("{nonsense\n"),
    "duplicate-id": lambda root: edit(root, 1, id="train0"),
    "id-in-two-splits": lambda root: edit(root, 1, "test", id="train0"),
    "bad-path": lambda root: edit(root, 1, images=["../out.png"]),
    "missing-image": lambda root: image(root, 1).unlink(),
    "unreadable-image": lambda root: image(root, 1).write_text("no image"),
    "truncated-image": lambda root: image(root, 1).write_bytes(image(root, 1).read_bytes()[:150]),
    "wrong-size": lambda root: edit(root, 1, width=90),
    "unturned-size": lambda root: turn(image(root, 1), 6),
    "box-outside": lambda root: edit(root, 1, **box(5, 5, 95, 30)),
    "box-empty": lambda root: edit(root, 1, **box(5, 5, 5, 30)),
    "box-reversed": lambda root: edit(root, 1, **box(70, 30, 5, 5)),
    "box-transposed": lambda root: edit(root, 1, **box(5, 40, 20, 75)),
    "box-twice": lambda root: edit(root, 1, annotation=[{"label": "a", "box": [1, 1, 9, 9]}] * 2),
    "unknown-class": lambda root: edit(root, 1, annotation=[{"label": "c", "box": [1, 1, 9, 9]}]),
    "bad-annotation": lambda root: edit(root, 1, annotation="a"),
    "empty-split": lambda root: (root / "test.jsonl").write_text(""),
    "leak": lambda root: shutil.copy(image(root, 1), image(root, 1, "test")),
    "similar-leak": lambda root: (shrink(image(root, 1), image(root, 1, "test")), edit(root, 1, "test", width=79)),
    "same-image": lambda root: shutil.copy(image(root, 1), image(root, 2)),
    "similar-image": lambda root: (shrink(image(root, 1), image(root, 2)), edit(root, 2, width=79)),
    "record-twice": lambda root: edit(root, 2, images=["images/train/train1.png"]),
    "tagged-rationale": lambda root: edit(root, 1, rationale="<think>It is long.</think>"),
    "turned-image": lambda root: turn(image(root, 1), 3),
    "flat-image": lambda root: Image.new("RGB", SIZE, "red").save(image(root, 1)),
    "box-tiny": lambda root: edit(root, 1, **box(5, 5, 6, 40)),
    "box-fraction": lambda root: edit(root, 1, **box(0.1, 0.2, 0.5, 0.9)),
    "box-nearly-twice": lambda root: edit(
        root, 1, annotation=[{"label": "a", "box": [5, 5, 70, 25]}, {"label": "a", "box": [5, 5, 70.5, 25]}]
    ),
}
ALONG = {"same-image": {"record-twice"}}
"""What some damage brings with it."""


def test_a_sound_dataset_has_no_finding(boxed: Path) -> None:
    report = inspect(Dataset.open(boxed))
    assert report.findings == [] and report.problems == [] and report.notes == [] and report.images == 18


@pytest.mark.parametrize("kind", DAMAGE)
def test_each_damage_is_found_under_its_name(boxed: Path, kind: str) -> None:
    DAMAGE[kind](boxed)
    report = inspect(Dataset.open(boxed))
    expected = {kind} | ALONG.get(kind, set())
    assert set(counted(report.findings)) == expected
    assert bool(report.problems) == any(KINDS[name].refused for name in expected)
    assert all(finding.where and finding.detail for finding in report.findings)


def mirror(source: Path, target: Path) -> None:
    Image.open(source).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(target)


@pytest.mark.parametrize(("split", "kind"), [("test", "similar-leak"), ("train", "similar-image")])
def test_mirrored_copies_are_found(split: str, kind: str, boxed: Path) -> None:
    mirror(image(boxed, 1), image(boxed, 2, split))
    (found,) = inspect(Dataset.open(boxed)).findings
    assert found.kind == kind and "looks like the mirror image of" in found.detail


def test_a_wrong_size_is_called_so_where_the_boxes_leave_it_and_fit_the_image(boxed: Path) -> None:
    edit(boxed, 1, width=7)
    edit(boxed, 2, width=7, **box(5, 5, 500, 30))  # leaves both
    report = inspect(Dataset.open(boxed))
    first, second = report.findings
    assert (first.kind, second.kind) == ("wrong-size", "box-outside")
    assert (
        "leaves the image" in first.detail and "says 7 x 60, but 'images/train/train1.png' has 80 x 60" in first.detail
    )
    assert first.size == SIZE


def test_a_dataset_of_x_y_width_height_is_told_as_a_whole(boxed: Path) -> None:
    for split, number in (("train", 12), ("val", 3), ("test", 3)):
        for at in range(number):
            edit(boxed, at, split, annotation=[{"label": "a", "box": [40, 21 + at, 30, 20]}])
    found = kinds(boxed)
    assert found["box-as-size"] == 18 and found["boxes-as-size"] == 1 and "box-reversed" not in found


def test_classes_without_examples_are_found(boxed: Path) -> None:
    card = (boxed / "dataset.yaml").read_text()
    (boxed / "dataset.yaml").write_text(card.replace("- b\n", "- b\n- c\n- d\n"))
    edit(boxed, 0, "test", annotation=[{"label": "c", "box": [1, 1, 9, 9]}])
    for at in range(5):
        edit(boxed, at, annotation=[])
    assert kinds(boxed) == {"class-few": 2, "class-not-in-train": 1, "class-unused": 1}
    edit(boxed, 5, annotation=[{"label": "a", "box": [1, 1, 9, 9 + at]} for at in range(40)])
    edit(boxed, 6, annotation=[{"label": "a", "box": [1, 1, 9, 9 + at]} for at in range(40)])
    for at in range(7, 11):
        edit(boxed, at, annotation=[])
    assert kinds(boxed)["class-imbalance"] == 1


def test_the_same_image_with_another_class_is_a_contradiction(tmp_path: Path) -> None:
    with DatasetWriter(tmp_path / "set", Card(name="x", task="classification", classes=["a", "Hüte"])) as writer:
        for at in range(12):
            writer.add("train", id=f"a{at}", image=picture(at), annotation="a")
            writer.add("train", id=f"b{at}", image=picture(at + 12 if at else 0), annotation="Hüte")
    report = inspect(Dataset.open(tmp_path / "set"))
    assert counted(report.findings) == {"same-image": 1, "contradiction": 1}
    assert report.findings[-1].detail == '"Hüte" here, "a" in row 1 (\'a0\')'


def test_a_leak_names_the_rows_of_train_and_val_never_those_of_test(boxed: Path) -> None:
    for at, split in ((0, "val"), (1, "test"), (2, "test")):
        shutil.copy(image(boxed, at), image(boxed, at, split))
    shutil.copy(image(boxed, 0, "test"), image(boxed, 1, "val"))
    report = inspect(Dataset.open(boxed))
    assert {(f.id, f.other) for f in report.findings if f.kind == "leak"} == {
        ("train0", "images/val/val0.png"),
        ("train1", "images/test/test1.png"),
        ("train2", "images/test/test2.png"),
        ("val1", "images/test/test0.png"),
    }
    assert report.notes == ["in more than one split: 4 images; a test on them flatters the model."]


def test_rows_put_aside_stay_aside_until_their_lines_are_deleted(boxed: Path) -> None:
    DAMAGE["leak"](boxed)
    DAMAGE["box-empty"](boxed)  # the row of the leak is refused now: what is refused is not compared
    assert "leak" not in kinds(boxed)
    edit(boxed, 1, **box(1, 1, 9, 9))
    edit(boxed, 4, **box(5, 5, 5, 30))
    rows = (boxed / "train.jsonl").read_bytes()
    opened = Dataset.open(boxed)
    assert quarantine(opened, inspect(opened), ["leak"]) == 1
    assert {(p.row, p.kind) for p in read_quarantine(boxed)} == {(2, "put aside"), (5, "annotation")}
    assert (boxed / "train.jsonl").read_bytes() == rows
    assert len(list(Dataset.open(boxed).records("train"))) == 10
    again = inspect(Dataset.open(boxed))
    assert "leak" not in counted(again.findings) and [p.id for p in again.aside] == ["train1"] and again.notes == []
    assert quarantine(Dataset.open(boxed), again) == 0 and len(read_quarantine(boxed)) == 2
    edit(boxed, 1, **box(5, 5, 5, 30))  # refused for a while, by either kind of pass
    opened = Dataset.open(boxed)
    assert len(list(opened.records("train"))) == 10 and quarantine(opened, inspect(opened)) == 0
    edit(boxed, 1, **box(1, 1, 9, 9))
    assert len(list(Dataset.open(boxed).records("train"))) == 10
    (boxed / "quarantine.jsonl").unlink()
    assert len(list(Dataset.open(boxed).records("train"))) == 11


def test_a_validation_split_of_any_name_is_worth_less_than_a_test() -> None:
    ranks = ranks_of(["test", "valid", "ood", "train", "dev"])
    assert ranks["train"] < min(ranks["valid"], ranks["dev"])
    assert max(ranks["valid"], ranks["dev"]) < ranks["ood"] < ranks["test"]


def test_putting_all_doubles_aside_leaves_none(boxed: Path) -> None:
    for at in (1, 2, 3):
        shutil.copy(image(boxed, 0), image(boxed, at))
    shutil.copy(image(boxed, 0), image(boxed, 0, "test"))
    shrink(image(boxed, 0), image(boxed, 4))
    edit(boxed, 4, width=79)
    opened = Dataset.open(boxed)
    assert quarantine(opened, inspect(opened), list(ASIDE)) == 5
    assert kinds(boxed) == {"class-few": 2}  # 7 of each are left


def test_strict_stops_at_the_first_problem_in_the_order_of_the_rows(boxed: Path) -> None:
    edit(boxed, 5, annotation="a")
    image(boxed, 3).write_text("no image")
    edit(boxed, 2, width=90)
    with pytest.raises(DataError, match=r"train.jsonl row 3: the row says 90 x 60"):
        inspect(Dataset.open(boxed), strict=True)


def test_aside_takes_doubtful_kinds_only() -> None:
    assert known_kinds(["leak,same-image", "turned-image"]) == ["leak", "same-image", "turned-image"]
    assert known_kinds(["all"]) == list(ASIDE)
    with pytest.raises(UserError, match="Did you mean 'leak'"):
        known_kinds(["leek"])
    for kind in ("wrong-size", "class-few"):
        with pytest.raises(UserError, match=f"'{kind}' cannot be put aside"):
            known_kinds([kind])
