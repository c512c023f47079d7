"""Class names that look like slips of the hand are told, at the import and at the check; others are not."""

from __future__ import annotations

from pathlib import Path

import pytest
from format_kit import put, put_text

from rise_vlm.cli import run
from rise_vlm.data import Dataset
from rise_vlm.data.inspecting import inspect
from rise_vlm.data.typos import alike, distance, typos


@pytest.mark.parametrize(
    ("one", "other"),
    [("shoess", "shoes"), ("jakcet", "jacket"), ("T-Shirt", "t shirt"), ("longslevee", "longsleeve"), ("hatt", "hats")],
)
def test_a_slip_or_two_are_alike(one: str, other: str) -> None:
    assert alike(one, other) and alike(other, one)


@pytest.mark.parametrize(
    ("one", "other"), [("cat", "car"), ("route 1", "route 2"), ("hat", "shoes"), ("shirt", "shorts"), ("7H", "7S")]
)
def test_short_names_numbers_and_other_words_are_not_alike(one: str, other: str) -> None:
    assert not alike(one, other)


@pytest.mark.parametrize(("a", "b", "steps"), [("", "ab", 2), ("kitten", "sitting", 3), ("ab", "ba", 1), ("a", "a", 0)])
def test_the_distance_counts_slips(a: str, b: str, steps: int) -> None:
    assert distance(a, b) == distance(b, a) == steps


def test_only_a_rare_class_is_doubted_and_the_fullest_like_it_is_named() -> None:
    assert list(typos({"shoe": 2, "shoes": 40, "shoess": 1, "hats": 9})) == [
        "'shoe' (2) is like 'shoes' (40): a typo?",
        "'shoess' (1) is like 'shoes' (40): a typo?",
    ]
    assert not list(typos({"shoes": 3, "shoess": 3})) and not list(typos({"shoes": 1, "shoess": 1}))


def table(folder: Path, *labels: str) -> Path:
    for at in range(len(labels)):
        put(folder, f"{at}.png")
    rows = "".join(f"{at}.png,{label}\n" for at, label in enumerate(labels))
    return put_text(folder / "labels.csv", f"image,label\n{rows}")


def test_an_import_ends_with_its_classes_and_a_doubt(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = table(tmp_path / "source", *["hat"] * 3, *["shoes"] * 5, "shoess")
    assert run(["data", "import", "csv", str(source), "--out", str(tmp_path / "out"), "--val", "0", "--test", "0"]) == 0
    assert capsys.readouterr().out.splitlines()[-2:] == [
        "Classes (3): shoes 5, hat 3, shoess 1",
        "Note: 'shoess' (1) is like 'shoes' (5): a typo?",
    ]
    (found,) = [each for each in inspect(Dataset.open(tmp_path / "out")).findings if each.kind == "class-typo"]
    assert found.detail == "'shoess' (1) is like 'shoes' (5): a typo?"


def test_of_many_classes_the_fullest_and_the_rarest_are_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [chr(ord("A") + at) + "xyz"[at % 3] for at in range(26)] + [f"{at}st" for at in range(6)]
    source = table(tmp_path / "source", "Ax", *names)
    assert run(["data", "import", "csv", str(source), "--out", str(tmp_path / "out")]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("Classes")]
    assert line.startswith("Classes (32): Ax 2, By 1, ") and ", ... 2 more ..., " in line and line.count(",") == 30


CARD = """<annotation><filename>{name}.png</filename><object><name>{label}</name><bndbox>
<xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></object>{more}</annotation>"""
SECOND = "<object><name>queen</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>9</xmax><ymax>8</ymax></bndbox></object>"


def test_boxes_are_imported_for_detection_and_say_that_there_is_grounding(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = tmp_path / "cards", tmp_path / "out"
    for at, label in enumerate(["queen", "queen", "queen", "quen", "queen"]):
        put(source, f"{at}.png")
        put_text(source / f"{at}.xml", CARD.format(name=at, label=label, more=SECOND if at == 4 else ""))
    assert run(["data", "import", "voc", str(source), "--out", str(out)]) == 0
    told = capsys.readouterr().out
    assert "\nTask: detection. For grounding (a record for each class with one box) give --task grounding.\n" in told
    assert "'quen' (1) is like 'queen' (5): a typo?" in told
    assert "class-typo" in {each.kind for each in inspect(Dataset.open(out)).findings}
    assert run(["data", "import", "voc", str(source), "--out", str(out), "--task", "grounding", "--force"]) == 0
    told = capsys.readouterr().out
    assert "\nTask: grounding.\n" in told
    assert "\nSkipped: 1 x a class with 2 boxes in one image: grounding takes one\n" in told
