"""Geometry3K's logic forms by the commands that a user gives: pictures drawn anew, and archives that are broken."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from format_kit import put_text

from rise_vlm.cli import run
from rise_vlm.data import Dataset
from rise_vlm.data.formats.geometry3k import DIAGRAMS, TEXTS

Find = Callable[[str], Path]

FORM: dict[str, Any] = {
    "point_positions": {"A": [0, 0], "B": [40, 0], "C": [0, 30]},
    "line_instances": ["AB", "BC", "CA"],
    "circle_instances": [""],
    "diagram_logic_forms": ["Equals(LengthOf(Line(A, B)), 40)"],
}
UNASKED = FORM | {"diagram_logic_forms": []}
UNPLACED = FORM | {"point_positions": {"A": [0, 0], "B": [40, 0], "C": [-1, -1]}}


def archive(path: Path, packed: int = zipfile.ZIP_STORED, **members: str) -> Path:
    """A zip archive with those texts in its folder logic_forms."""
    with zipfile.ZipFile(path, "w", packed) as file:
        for name, text in members.items():
            file.writestr(f"logic_forms/{name}.json", text)
    return path


def forms(path: Path, diagrams: Any, texts: Any = ()) -> Path:
    """An archive with both files of logic forms; values that are no text are written as JSON."""
    told = [value if isinstance(value, str) else json.dumps(value) for value in (diagrams, dict(texts))]
    return archive(path, **dict(zip((Path(DIAGRAMS).stem, Path(TEXTS).stem), told, strict=True)))


def test_an_archive_becomes_records_of_what_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = {"2100": FORM, "2101": FORM, "3001": FORM, "7": UNASKED, "8": UNPLACED, "9": "no form", "../10": FORM}
    source = forms(tmp_path / "forms.zip", told, {"2100": {"text_logic_forms": ["Find(x)"]}})
    assert run(["data", "import", str(source), "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert f"Taken for 'geometry3k': a zip archive with {DIAGRAMS}" in said
    assert "1 x a figure in which nothing is written that can be asked for: 7" in said
    assert "1 x a logic form that is not drawn: a line with a point that has no place: 8" in said
    assert "1 x a logic form that is not drawn: a form without lists of lines, circles and predicates: 9" in said
    dataset = Dataset.open(tmp_path / "out")
    found = {split: list(dataset.records(split, strict=True)) for split in dataset.splits}
    assert {split: {record.id for record in records} for split, records in found.items()} == {
        "train": {"2100", "../10"},
        "val": {"2101"},
        "test": {"3001"},
    }
    first = next(record for record in found["train"] if record.id == "2100")
    assert (first.question, first.annotation) == ("What number is written at side AB?", 40)
    assert first.meta["picture"] == "redrawn from the logic form"
    assert first.meta["logic_form"]["text_logic_form"] == ["Find(x)"]
    assert dataset.image(first).size == (448, 448)
    assert not (tmp_path / "10").exists() and not list(tmp_path.glob("*.png"))


def test_a_problem_may_be_called_by_anything_that_json_can_say(tmp_path: Path) -> None:
    source = forms(tmp_path / "forms.zip", {"\ud800": FORM, "?": FORM | {"line_instances": ["AB"]}})
    assert run(["data", "import", str(source), "--out", str(tmp_path / "out")]) == 0
    dataset = Dataset.open(tmp_path / "out")
    first, second = dataset.records("train")
    assert dataset.image(first).tobytes() != dataset.image(second).tobytes()


def test_real_problems_are_redrawn_and_ask_what_they_asked(tmp_path: Path, shared_data: Find) -> None:
    source = str(shared_data("geo-geometry3k-samples"))
    plain, anew = tmp_path / "plain", tmp_path / "anew"
    assert run(["data", "import", "geometry3k", source, "--out", str(plain)]) == 0
    assert run(["data", "import", "geometry3k", source, "--redraw", "--out", str(anew)]) == 0
    before, after = (
        {record.id: record for split in dataset.splits for record in dataset.records(split, strict=True)}
        for dataset in (Dataset.open(plain), Dataset.open(anew))
    )
    assert before.keys() == after.keys() and len(after) == 10
    for number, record in after.items():
        assert (record.question, record.annotation) == (before[number].question, before[number].annotation)
        assert record.meta == before[number].meta | {"picture": "redrawn from the logic form"}
        image = np.asarray(Dataset.open(anew).image(record))
        assert image.shape == (448, 448, 3) and image.mean() > 200


def test_a_problem_that_cannot_be_redrawn_is_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    problem = json.dumps({"problem_text": "Find x.", "choices": ["1", "2"], "answer": "B"})
    for number, form in {"1": FORM, "2": UNPLACED, "3": None}.items():
        put_text(tmp_path / "in" / "train" / number / "data.json", problem)
        if form is not None:
            put_text(tmp_path / "in" / "train" / number / "logic_form.json", json.dumps(form))
    put_text(tmp_path / "in" / "train" / "4" / "data.json", problem)
    put_text(tmp_path / "in" / "train" / "4" / "logic_form.json", "{")
    assert run(["data", "import", "geometry3k", str(tmp_path / "in"), "--redraw", "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "1 x a problem without logic_form.json, so it cannot be redrawn: 3" in said
    assert "1 x a logic form that is not drawn: a line with a point that has no place: 2" in said
    assert "Quarantined: 1 bad" in said and "logic_form.json is no JSON" in said
    assert [record.id for record in Dataset.open(tmp_path / "out").records("train")] == ["1"]


def deep(path: Path) -> Path:
    return forms(path, '{"1": ' + "[" * 10_000 + "]" * 10_000 + "}")


def unfolding(path: Path) -> Path:
    """Nothing but blanks, which fill a thousand times the room that a reader could set aside."""
    return archive(path, zipfile.ZIP_BZIP2, **{Path(DIAGRAMS).stem: " " * (1 << 24)})


def leading_out(path: Path) -> Path:
    with zipfile.ZipFile(forms(path, {"1": FORM}), "a") as file:
        file.writestr("../../evil.json", "{}")
    return path


def cut(path: Path) -> Path:
    forms(path, {"1": FORM})
    content = bytearray(path.read_bytes())
    content[60:90] = bytes(30)  # within the first member
    path.write_bytes(bytes(content))
    return path


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda path: put_text(path, "no archive"), "cannot be read as a zip archive"),
        (lambda path: put_text(path, ""), "cannot be read as a zip archive"),
        (lambda path: path, "is missing"),
        (cut, "cannot be read as a zip archive|is no JSON"),
        (lambda path: archive(path, other="{}"), f"holds no {DIAGRAMS}"),
        (lambda path: forms(path, '{"1": '), f"{DIAGRAMS} is no JSON"),
        (lambda path: forms(path, [1]), f"{DIAGRAMS} holds no object"),
        (deep, "nested too deeply"),
        (unfolding, "is packed in a way that is not read"),
        (leading_out, "'../../evil.json', which leads out of it"),
        (lambda path: forms(path, {}), "gave no record"),
        (lambda path: forms(path, {"1": UNPLACED}), "a line with a point that has no place"),
    ],
)
def test_a_broken_archive_gets_one_message_that_names_it(
    make: Callable[[Path], Path], why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = make(tmp_path / "forms.zip")
    assert run(["data", "import", "geometry3k", str(source), "--out", str(tmp_path / "out")]) in (1, 2)
    said = capsys.readouterr()
    lines = [line for line in said.err.splitlines() if line.strip()]
    text = " ".join(lines)
    assert "forms.zip" in text and "Traceback" not in text and len(lines) <= 3, text
    assert re.search(why, text), text
    assert not (tmp_path / "out").exists()


def test_redraw_means_nothing_to_other_formats(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["data", "import", "nlvr", str(tmp_path), "--redraw", "--out", str(tmp_path / "out")]) == 2
    assert "--redraw means nothing to the format 'nlvr'" in capsys.readouterr().err
