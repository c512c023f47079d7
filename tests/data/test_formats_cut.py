"""Files that end too early, in every format: told, and what was read before the cut is as it was."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lookalikes
import pytest

from rise_vlm.cli import run
from rise_vlm.data import Card, Dataset, DatasetWriter
from rise_vlm.data.class_list import WORDNET_ID
from rise_vlm.data.exporting import export_dataset
from rise_vlm.data.formats import FORMATS
from rise_vlm.data.formats.places import IMAGE_SUFFIXES

LABELS = ("zebra", "umbrella", "kangaroo")
BY_LINE = frozenset({"csv", "openimages", "yolo", "emotion6", "imagenet"})
"""Formats of bare lines: where the last one ends too early nothing tells, be it in a number, a name or a list."""

LOOKALIKES: dict[str, Callable[[Path], Any]] = {
    "imagenet": lookalikes.ilsvrc,
    "emotion6": lookalikes.emotion6,
    "superclevr": lookalikes.super_clevr,
    "geometry3k": lookalikes.geometry3k,
    "trance": lookalikes.trance,
    "nlvr": lookalikes.nlvr,
}
Truth = dict[tuple[str, str | None], Any]


def source(format: str, root: Path) -> tuple[Path, str]:
    """A sound source of the format, and the task to read it for."""
    form, made = FORMATS[format], root / "source"
    if format in LOOKALIKES:
        LOOKALIKES[format](made)
        return made, form.tasks[0]
    task = next((task for task in ("detection", "grounding", "classification") if task in form.writes), "detection")
    dataset = drawn(root / "drawn", task)
    if form.writes:
        export_dataset(format, form, dataset, made)
    elif format == "imagefolder":
        rows = [
            {
                "file_name": record.images[0],
                "objects": [{"bbox": thing["box"], "category": thing["label"]} for thing in record.annotation],
            }
            for record in dataset.records("train")
        ]
        lookalikes.write(made / "metadata.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
        shutil.copytree(dataset.root / "images", made / "images")
    else:
        datasets = pytest.importorskip("datasets", reason="datasets is not installed (extra hub)")
        export_dataset("parquet", FORMATS["parquet"], dataset, root / "parquet")
        (file,) = (root / "parquet").rglob("*.parquet")
        datasets.Dataset.from_parquet(str(file), cache_dir=str(root / "cache")).save_to_disk(str(made))
    return made, task


def drawn(root: Path, task: str) -> Dataset:
    """Three records with two boxes or one class each."""
    classes = list(LABELS) if task != "grounding" else []
    with DatasetWriter(root, Card(name="drawn", task=task, classes=classes)) as writer:
        for at, label in enumerate(LABELS):
            lookalikes.picture(root.parent / f"{at}.png", at)
            boxes = [{"label": name, "box": [5.25 + at, 6.5, 30.75, 40.125]} for name in (label, LABELS[at - 1])]
            annotation = {"classification": label, "grounding": boxes[0]["box"]}.get(task, boxes)
            question = f"Where is the {label}?" if task == "grounding" else None
            writer.add("train", id=f"r{at}", image=root.parent / f"{at}.png", annotation=annotation, question=question)
    return Dataset.open(root)


def truth(root: Path) -> Truth:
    """Image content and question -> annotation."""
    dataset, found = Dataset.open(root), {}
    for split in dataset.splits:
        for record in dataset.records(split):
            content = (dataset.root / record.images[-1]).read_bytes()
            found[hashlib.sha256(content).hexdigest(), record.question] = record.annotation
    return found


def cut_files(source: Path) -> list[Path]:
    """One file of each kind that annotates; an image where there is none."""
    files = [path for path in sorted(source.rglob("*"), reverse=True) if path.is_file()]
    texts = [path for path in files if path.suffix.casefold() not in IMAGE_SUFFIXES | {".jpeg"}]
    return list({re.sub(r"\d+", "", path.name): path for path in texts}.values()) or files[-1:]


def is_begun(ours: Any, whole: Any) -> bool:
    """Whether labels may be cut off, or ImageNet's ids stand for them, and all else is the same."""
    if isinstance(whole, list) and whole and isinstance(whole[0], dict):
        pairs = list(zip(ours, whole, strict=False))
        begun = all(b["label"].startswith(a["label"]) and b["box"] == a["box"] for a, b in pairs)
        return begun and len(ours) == len(whole)
    return ours == whole or (isinstance(whole, str) and (whole.startswith(ours) or bool(WORDNET_ID.search(ours))))


@pytest.mark.parametrize("format", FORMATS)
def test_a_file_cut_off_at_any_tenth_is_told(format: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made, task = source(format, tmp_path)
    out = tmp_path / "out"
    command = ["data", "import", format, str(made), "--out", str(out), "--task", task]
    assert run(command) == 0, capsys.readouterr().err
    whole = truth(out)
    for file in cut_files(made):
        content = file.read_bytes()
        for tenth in range(10):
            shutil.rmtree(out, ignore_errors=True)
            capsys.readouterr()
            file.write_bytes(content[: len(content) * tenth // 10])
            code = run(command)
            said, told = capsys.readouterr()
            assert "Traceback" not in told
            if code:
                assert not out.exists() and len(re.findall("^rise: ", told, re.MULTILINE)) == 1
                continue
            ours = truth(out)
            assert ours.keys() <= whole.keys()
            other = [key for key, annotation in ours.items() if annotation != whole[key]]
            if format in BY_LINE:
                assert format != "imagenet" or not other or "does not name" in said
                other = [key for key in other if not is_begun(ours[key], whole[key])][1:]
            assert not other, (file, tenth, [(ours[key], whole[key]) for key in other])
        file.write_bytes(content)
