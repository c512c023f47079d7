"""A dataset is written whole or not at all, over nothing that was there before, and always to the same bytes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from rise_vlm.data import Card, Dataset, DatasetWriter, Record
from rise_vlm.data.checking import Problem, read_quarantine
from rise_vlm.errors import DataError

CARD = Card(name="x", task="classification", classes=["cat", "dog"])
PICTURE = Image.new("RGB", (4, 3), (9, 8, 7))


def write(root: Path, number: int = 2, **options: Any) -> Path:
    with DatasetWriter(root, CARD, **options) as writer:
        for i in range(number):
            writer.add("train", id=f"r{i}", image=PICTURE, annotation="cat")
    return root


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_same_records_give_the_same_bytes(tmp_path: Path) -> None:
    assert contents(write(tmp_path / "a")) == contents(write(tmp_path / "b"))


def test_an_image_in_memory_is_saved_once_in_a_row_but_anew_when_it_was_drawn_on(tmp_path: Path) -> None:
    canvas = PICTURE.copy()
    with DatasetWriter(tmp_path / "a", CARD) as writer:
        for name in ("one", "again", "other"):
            canvas.paste((0, 0, 0) if name == "other" else (9, 8, 7), (0, 0, 4, 3))
            writer.add("train", id=name, image=canvas, annotation="cat")
    dataset = Dataset.open(tmp_path / "a")
    one, again, other = dataset.records("train")
    assert one.images == again.images != other.images
    assert dataset.image(other).getpixel((0, 0)) == (0, 0, 0) != dataset.image(one).getpixel((0, 0))


def test_nothing_is_left_behind_when_writing_fails(tmp_path: Path) -> None:
    for error in (RuntimeError, KeyboardInterrupt):
        with pytest.raises(error), DatasetWriter(tmp_path / "new" / "set", CARD) as writer:
            writer.add("train", id="a", image=PICTURE, annotation="cat")
            raise error
        assert list((tmp_path / "new").iterdir()) == []


SLOW_WRITER = """
import sys, time
from PIL import Image
from rise_vlm.data import Card, DatasetWriter

with DatasetWriter(sys.argv[1], Card(name="x", task="classification", classes=["cat", "dog"])) as writer:
    writer.add("train", id="a", image=Image.new("RGB", (4, 3)), annotation="cat")
    print("written", flush=True)
    time.sleep(60)
"""


def test_a_killed_process_leaves_no_half_dataset_and_the_next_one_tidies_up(tmp_path: Path) -> None:
    source = Path(__file__).parents[2] / "src"
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW_WRITER, str(tmp_path / "set")],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(source)},
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (tmp_path / "set").exists()
    assert len(list(tmp_path.iterdir())) == 1  # the hidden draft
    write(tmp_path / "set")
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_the_draft_of_a_running_process_is_left_alone(tmp_path: Path) -> None:
    other = tmp_path / f".set.partial-{os.getppid()}"
    other.mkdir()
    write(tmp_path / "set")
    assert other.is_dir()


def test_a_dataset_is_replaced_only_by_force_and_anything_else_never(tmp_path: Path) -> None:
    root = write(tmp_path / "set", 1)
    with pytest.raises(DataError, match="holds a dataset already"):
        write(root)
    assert len(list(Dataset.open(root).records("train"))) == 1
    write(root, 2, force=True)
    assert len(list(Dataset.open(root).records("train"))) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["set"]
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.txt").write_text("mine")
    for force in (False, True):
        with pytest.raises(DataError, match="is not a dataset; choose another folder"):
            write(tmp_path / "photos", force=force)
    assert (tmp_path / "photos" / "a.txt").read_text() == "mine"


def test_a_failed_replacement_keeps_the_old_dataset(tmp_path: Path) -> None:
    root = write(tmp_path / "set", 1)
    with pytest.raises(RuntimeError), DatasetWriter(root, CARD, force=True):
        raise RuntimeError
    assert len(list(Dataset.open(root).records("train"))) == 1


def test_an_empty_folder_is_a_place_for_a_dataset(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    dataset = Dataset.open(write(tmp_path / "set"))
    dataset.require("train", 2)
    assert len(list(dataset.records("train"))) == 2


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="was not written") as error:
        write(tmp_path / "file" / "set")
    assert error.value.exit_code == 1


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    PICTURE.save(tmp_path / "a.png")

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    with (
        pytest.raises(DataError, match=r"set was not written: .*No space left"),
        DatasetWriter(tmp_path / "set", CARD) as w,
    ):
        w.add("train", id="a", image=tmp_path / "a.png", annotation="cat")
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_files_are_copied_byte_for_byte_and_once_per_split(tmp_path: Path) -> None:
    path = tmp_path / "Ein Bild é.JPEG"
    PICTURE.save(path, quality=31)
    with DatasetWriter(tmp_path / "set", CARD) as writer:
        records = [writer.add(split, id=id_, image=path, annotation="cat") for split, id_ in ("ta", "tb", "vc")]
    assert [record.images[0] for record in records] == [f"images/{split}/Ein Bild é.JPEG" for split in "ttv"]
    assert (tmp_path / "set" / records[0].images[0]).read_bytes() == path.read_bytes()
    assert len(list((tmp_path / "set").rglob("*.JPEG"))) == 2


def test_images_of_the_same_name_are_told_apart_whatever_the_case(tmp_path: Path) -> None:
    paths = [tmp_path / folder / name for folder, name in (("a", "x.png"), ("b", "x.png"), ("c", "X.PNG"))]
    for number, path in enumerate(paths):
        path.parent.mkdir()
        Image.new("RGB", (1, 1), (number, 0, 0)).save(path)
    with DatasetWriter(tmp_path / "set", CARD) as writer:
        for number, path in enumerate(paths):
            writer.add("train", id=str(number), image=path, annotation="cat")
    dataset = Dataset.open(tmp_path / "set")
    records = list(dataset.records("train"))
    assert len({record.images[0].casefold() for record in records}) == 3
    assert [dataset.image(record).getpixel((0, 0))[0] for record in records] == [0, 1, 2]


def test_ids_make_safe_file_names(tmp_path: Path) -> None:
    ids = ["../../etc/passwd", "a/b:c*?", "x" * 300, "é" * 300, ".", "..", "CON", "tab\there", "a.b.c"]
    with DatasetWriter(tmp_path / "set", CARD) as writer:
        for id_ in ids:
            writer.add("train", id=id_, image=PICTURE, annotation="cat")
    dataset = Dataset.open(tmp_path / "set")
    records = list(dataset.records("train", strict=True))
    assert [record.id for record in records] == ids
    assert all(Path(record.images[0]).parent == Path("images/train") for record in records)
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_a_refused_record_leaves_no_image_and_no_row(tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("no image")

    def judge(annotation: Any, record: Any) -> str | None:
        return None if annotation in CARD.classes else "unknown class"

    with DatasetWriter(tmp_path / "set", CARD, judge=judge) as writer:
        writer.add("train", id="a", image=PICTURE, annotation="cat")
        for refused in (
            {"id": "a", "image": PICTURE, "annotation": "cat"},
            {"id": "b", "image": PICTURE, "annotation": "cow"},
            {"id": "c", "image": PICTURE, "annotation": float("nan")},
            {"id": "d", "image": tmp_path / "text.jpg", "annotation": "cat"},
            {"id": "", "image": PICTURE, "annotation": "cat"},
        ):
            with pytest.raises(DataError):
                writer.add("train", **refused)
            with pytest.raises(DataError):
                writer.add("val", **refused)
    dataset = Dataset.open(tmp_path / "set")
    assert dataset.splits == ["train"]  # a split without records does not come to be
    assert [record.id for record in dataset.records("train")] == ["a"]
    assert len(list((tmp_path / "set" / "images").rglob("*.*"))) == 1


def test_splits_are_listed_in_the_order_people_expect(tmp_path: Path) -> None:
    with DatasetWriter(tmp_path / "set", CARD) as writer:
        for split in ("ood", "test", "val", "train"):
            writer.add(split, id=split, image=PICTURE, annotation="cat")
    assert Dataset.open(tmp_path / "set").splits == ["train", "val", "test", "ood"]


def test_the_name_of_a_split_is_a_plain_word(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot name a split"), DatasetWriter(tmp_path / "set", CARD) as writer:
        writer.add("../train", id="a", image=PICTURE, annotation="cat")


def test_problems_of_the_source_are_written_down(tmp_path: Path) -> None:
    problem = Problem("labels.csv", 7, "image", "broken", "ä")
    with DatasetWriter(tmp_path / "set", CARD) as writer:
        writer.quarantine(problem)
        writer.add("train", id="a", image=PICTURE, annotation="cat")
    assert read_quarantine(tmp_path / "set") == [problem]
    list(Dataset.open(tmp_path / "set").records("train"))
    assert read_quarantine(tmp_path / "set") == [problem]  # reading the dataset does not forget them
    line = json.loads((tmp_path / "set" / "quarantine.jsonl").read_text())
    assert line == {"file": "labels.csv", "row": 7, "kind": "image", "reason": "broken", "id": "ä"}


def test_kept_images_whose_names_differ_by_case_only_are_both_copied(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "images").mkdir(parents=True)
    shades = {"A.png": 10, "a.png": 200}
    for name, shade in shades.items():
        Image.new("RGB", (4, 3), (shade, 0, 0)).save(source / "images" / name)
    if len(list((source / "images").iterdir())) < 2:
        pytest.skip("this file system does not tell upper from lower case")
    with DatasetWriter(tmp_path / "out", CARD) as writer:
        for name in (*shades, "A.png"):
            record = Record(id=f"r{len(writer._ids)}", images=(f"images/{name}",), annotation="cat", width=4, height=3)
            writer.keep("train", record, source)
    kept = Dataset.open(tmp_path / "out")
    found = [(record.images[0], kept.image(record).getpixel((0, 0))[0]) for record in kept.records("train")]
    assert [shade for _, shade in found] == [10, 200, 10]
    assert len({image.casefold() for image, _ in found}) == 2 and found[0] == found[2]
