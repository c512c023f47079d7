"""What is exported in a format and imported again is the same: annotations, classes, and all that the format keeps."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from rise_vlm.data import Card, Dataset, DatasetWriter, Record
from rise_vlm.data.exporting import Exported, export_dataset
from rise_vlm.data.formats import FEATURES, FORMATS
from rise_vlm.data.formats.base import Options
from rise_vlm.data.formats.guessing import guess
from rise_vlm.data.importing import import_dataset
from rise_vlm.data.outcome import Outcome

CLASSES = ["traffic light", "Käfer 虫", "dog", 'it\'s "5" & 6, or 7']
SHARES = [*CLASSES[:3], "it's 5 & 6"]
"""Classes of a distribution, whose answers use commas and quotes themselves."""

THING = {"shape": "cube", "size": "small", "color": "red", "material": "metal", "position": [0, 5]}
STATES = {"functions": "change_size(0, large)", "objects": [THING], "final": [THING | {"size": "large"}]}
"""A transformation that knows what was there before and after."""

CASES = [(name, task) for name, form in FORMATS.items() for task in form.writes]
WORDS = st.text("abc \n\"'&<é虫🐞,;:#[]{}", min_size=1, max_size=20).map(str.strip).filter(bool)
QUESTIONS = WORDS.filter(lambda text: "<" not in text)  # angle brackets would be marks in a conversation

Row = dict[str, Any]


def boxes(width: int, height: int) -> st.SearchStrategy[list[float]]:
    """A box of at least one pixel, on hundredths of a pixel."""

    def side(length: int) -> st.SearchStrategy[list[int]]:
        ends = st.lists(st.integers(0, length * 100), min_size=2, max_size=2)
        return ends.map(sorted).filter(lambda pair: pair[1] - pair[0] >= 100)

    return st.tuples(side(width), side(height)).map(
        lambda sides: [sides[0][0] / 100, sides[1][0] / 100, sides[0][1] / 100, sides[1][1] / 100]
    )


def annotations(task: str, width: int, height: int) -> st.SearchStrategy[Any]:
    if task == "classification":
        return st.sampled_from(CLASSES[:3])
    if task == "counting":
        return st.integers(0, 99)
    if task == "structure":
        return st.sampled_from(["A", "E", "12.5"])
    if task == "transformation":
        return st.sampled_from(["change_color(2, cyan), change_position(0, front_left, 2)", STATES])
    if task == "distribution":
        parts = st.lists(st.integers(0, 9), min_size=4, max_size=4).filter(any)
        return parts.map(lambda p: {c: n / sum(p) for c, n in zip(SHARES, p, strict=True) if n})
    if task == "grounding":
        return boxes(width, height)
    thing = st.fixed_dictionaries({"label": st.sampled_from(CLASSES), "box": boxes(width, height)})
    return st.lists(thing, max_size=3, unique_by=lambda each: (each["label"], *each["box"]))


@st.composite
def datasets(draw: st.DrawFn, task: str) -> list[Row]:
    rows: list[Row] = []
    for number in range(draw(st.integers(1, 3))):
        width, height = draw(st.integers(5, 40)), draw(st.integers(5, 40))
        annotation = draw(annotations(task, width, height))
        asked = task in ("grounding", "structure", "counting", "transformation")
        meta: dict[str, Any] = draw(st.sampled_from([{}, {"from": "é"}]))
        if draw(st.booleans()):
            score = st.integers(0, 100).map(lambda n: n / 100)
            if task != "detection":
                meta = meta | {"score": draw(score)}
            elif annotation:
                meta = meta | {"scores": [draw(score) for _ in annotation]}
        rows.append(
            {
                "split": draw(st.sampled_from(["train", "val", "test", "ood"])),
                "id": f"{number}-{draw(st.text('aé#/.', max_size=3))}",
                "image": (number, width, height),
                "annotation": annotation,
                "question": draw(QUESTIONS if asked else st.none() | QUESTIONS),
                "rationale": draw(st.none() | QUESTIONS),
                "meta": meta,
            }
        )
    return rows


def picture(number: int, width: int, height: int) -> Image.Image:
    return Image.new("RGB", (width, height), (number * 40, width, height))


def write(folder: Path, task: str, rows: list[Row]) -> Dataset:
    classes = {"classification": CLASSES, "detection": CLASSES, "distribution": SHARES}.get(task, [])
    with DatasetWriter(folder, Card(name="made", task=task, classes=classes)) as writer:
        for row in rows:
            number, *size = row["image"]
            more = [picture(number + 5, *size)] if task == "transformation" else []
            rest = {k: row[k] for k in row.keys() - {"split", "image"}}
            writer.add(row["split"], image=picture(number, *size), more=more, **rest)
    return Dataset.open(folder)


def records(dataset: Dataset) -> dict[str, tuple[str, Record]]:
    """Image content -> split and record."""
    found = {}
    for split in dataset.splits:
        for record in dataset.records(split):
            content = hashlib.sha256((dataset.root / record.images[0]).read_bytes()).hexdigest()
            found[content] = split, record
    return found


def pixels(dataset: Dataset, record: Record) -> list[bytes]:
    """The contents of a record's images, in their order."""
    return [(dataset.root / image).read_bytes() for image in record.images]


def there_and_back(name: str, dataset: Dataset, folder: Path) -> tuple[Exported, Outcome, Dataset]:
    exported = export_dataset(name, FORMATS[name], dataset, folder / "out")
    assert guess(folder / "out")[0] == name
    options = Options(task=dataset.card.task)
    outcome = import_dataset(FORMATS[name], folder / "out", folder / "again", options, shares={"val": 0, "test": 0})
    return exported, outcome, Dataset.open(folder / "again")


def usable(name: str, task: str, rows: list[Row]) -> bool:
    """Whether the drawn rows can become a dataset again: classes enough, something to write."""
    if task == "classification":
        return len({row["annotation"] for row in rows}) > 1
    if task == "distribution":
        return len({name for row in rows for name in row["annotation"]}) > 1
    if task == "detection" and "classes" not in FORMATS[name].keeps:
        return any(row["annotation"] for row in rows)
    return True


def same(task: str, ours: Any, theirs: Any) -> bool:
    if task == "grounding":
        return theirs == pytest.approx(ours, abs=1e-3)
    if task == "distribution":
        return theirs == pytest.approx(ours, abs=1e-5)
    if task == "detection":
        pairs = list(zip(ours, theirs, strict=True))
        return all(a["label"] == b["label"] and b["box"] == pytest.approx(a["box"], abs=1e-3) for a, b in pairs)
    return ours == theirs


def flat(text: str | None) -> str:
    """Text without what trimming takes away."""
    return " ".join((text or "").split())


@pytest.mark.parametrize(("name", "task"), CASES)
@settings(max_examples=8, suppress_health_check=list(HealthCheck), database=None)
@given(data=st.data())
def test_what_is_exported_is_imported_the_same(name: str, task: str, data: st.DataObject) -> None:
    rows = data.draw(datasets(task).filter(lambda rows: usable(name, task, rows)))
    folder = Path(tempfile.mkdtemp())
    try:
        dataset = write(folder / "made", task, rows)
        exported, outcome, again = there_and_back(name, dataset, folder)
        assert not outcome.quarantined.first, outcome.quarantined.first
        check(name, records(dataset), records(again), dataset, again)
        check_told(name, rows, exported)
    finally:
        shutil.rmtree(folder)


def check(name: str, ours: dict[str, Any], theirs: dict[str, Any], dataset: Dataset, again: Dataset) -> None:
    keeps, task = FORMATS[name].keeps, dataset.card.task
    if "empty" not in keeps:
        ours = {key: pair for key, pair in ours.items() if pair[1].annotation != []}
    assert theirs.keys() == ours.keys()
    if "classes" in keeps and task == "detection":
        assert again.card.classes == dataset.card.classes
    for key, (split, record) in ours.items():
        their_split, their = theirs[key]
        assert same(task, record.annotation, their.annotation), (record.annotation, their.annotation)
        assert their_split == split or "split" not in keeps
        assert their.id == record.id or "id" not in keeps
        assert pixels(dataset, record) == pixels(again, their)
        assert flat(their.rationale) == (flat(record.rationale) if "rationale" in keeps else "")
        if "question" in keeps:
            assert flat(again.task.ask(their)) == flat(dataset.task.ask(record))
        if "score" in keeps:
            mine = record.meta.get("scores", record.meta.get("score"))
            back = their.meta.get("scores", their.meta.get("score"))
            assert back == (mine if mine != [] else None)
        if "meta" in keeps:
            assert their.meta == record.meta


def check_told(name: str, rows: list[Row], exported: Exported) -> None:
    """What the format does not keep is counted, and nothing else is."""
    has = {
        "id": len(rows),
        "split": len(rows),
        "empty": sum(row["annotation"] == [] for row in rows),
        "question": sum(row["question"] is not None for row in rows),
        "rationale": sum(row["rationale"] is not None for row in rows),
        "score": sum(bool({"score", "scores"} & row["meta"].keys()) for row in rows),
        "meta": sum("from" in row["meta"] for row in rows),
    }
    told = {FEATURES[key]: n for key, n in has.items() if n and key not in FORMATS[name].keeps}
    assert {what: n for what, n in exported.lost.items() if what != FEATURES["classes"]} == told


@pytest.mark.parametrize("name", [name for name, form in FORMATS.items() if "detection" in form.writes])
def test_two_questions_about_one_image_stay_two_records(name: str, tmp_path: Path) -> None:
    shown, told = picture(1, 40, 30), {"Where is the cup?": [1, 2, 9, 9], "Where is the pot?": [20, 2, 30, 9]}
    with DatasetWriter(tmp_path / "made", Card(name="made", task="detection", classes=["target"])) as writer:
        for id_, (question, box) in enumerate(told.items()):
            annotation = [{"label": "target", "box": box}]
            writer.add("train", id=str(id_), image=shown, annotation=annotation, question=question)
    exported, outcome, again = there_and_back(name, Dataset.open(tmp_path / "made"), tmp_path)
    found = list(again.records("train", strict=True))
    assert sorted(record.annotation[0]["box"][0] for record in found) == pytest.approx([1, 20], abs=1e-3)
    assert not outcome.skipped and all(len(record.annotation) == 1 for record in found)
    assert {record.question for record in found} == ({None} if exported.lost["questions"] else set(told))


def test_a_table_without_ids_tells_questions_of_one_image_apart(tmp_path: Path) -> None:
    picture(1, 40, 30).save(tmp_path / "a.png")
    rows = ["a.png,cup,1,2,9,9,Where is it?", "a.png,pot,20,2,30,9,And the pot?", "a.png,cup,11,2,19,9,Where is it?"]
    (tmp_path / "a.csv").write_text("\n".join(["image,label,x1,y1,x2,y2,question", *rows]))
    options = Options(task="detection")
    import_dataset(FORMATS["csv"], tmp_path / "a.csv", tmp_path / "out", options, shares={"val": 0, "test": 0})
    found = {record.id: record for record in Dataset.open(tmp_path / "out").records("train", strict=True)}
    assert {id_: (record.question, len(record.annotation)) for id_, record in found.items()} == {
        "a.png#2": ("Where is it?", 2),
        "a.png#3": ("And the pot?", 1),
    }
