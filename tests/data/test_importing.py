"""Importing: splits by a hash of the image's name, boxes made upright, everything counted, nothing half done."""

from __future__ import annotations

import json
import shutil
import threading
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from rise_vlm.data import Dataset, images
from rise_vlm.data.checking import read_quarantine
from rise_vlm.data.formats import FORMATS, find_format, places
from rise_vlm.data.formats.base import Item, Options, Skip
from rise_vlm.data.importing import TOGETHER, _by_image, import_dataset
from rise_vlm.data.outcome import Outcome
from rise_vlm.errors import DataError, UserError


def do_import(format: str, source: Path, out: Path, task: str | None = None, **more: Any) -> Outcome:
    form = FORMATS[format]
    options = {key: more.pop(key) for key in ("images", "columns", "question", "boxes") if key in more}
    return import_dataset(form, source, out, Options(task=task or form.tasks[0], **options), **more)


def folders(source: Path, number: int = 20, classes: str = "ab") -> Path:
    for name in classes:
        for i in range(number):
            path = source / name / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (4, 3), (i, 0, 0)).save(path)
    return source


def voc(source: Path, name: str, size: tuple[int, int], objects: list[tuple[str, list[int]]]) -> None:
    boxes = "".join(
        f"<object><name>{label}</name><bndbox><xmin>{b[0]}</xmin><ymin>{b[1]}</ymin><xmax>{b[2]}</xmax><ymax>{b[3]}</ymax>"
        "</bndbox></object>"
        for label, b in objects
    )
    head = f"<filename>{name}</filename><size><width>{size[0]}</width><height>{size[1]}</height></size>"
    (source / f"{Path(name).stem}.xml").write_text(f"<annotation>{head}{boxes}</annotation>", encoding="utf-8")


def splits_of(folder: Path) -> dict[str, str]:
    dataset = Dataset.open(folder)
    return {record.id: split for split in dataset.splits for record in dataset.records(split)}


def test_a_source_without_splits_is_dealt_in_exact_shares_and_always_alike(tmp_path: Path) -> None:
    folders(tmp_path / "source")
    outcome = do_import("folders", tmp_path / "source", tmp_path / "a")
    assert outcome.splits == {"train": 28, "val": 4, "test": 8}
    assert "val 0.1, test 0.2 of 40 images" in outcome.dealt and "hash" in outcome.dealt
    do_import("folders", tmp_path / "source", tmp_path / "b")
    assert splits_of(tmp_path / "a") == splits_of(tmp_path / "b")
    shutil.copytree(tmp_path / "source", tmp_path / "elsewhere")  # the names count, not where they lie
    do_import("folders", tmp_path / "elsewhere", tmp_path / "c")
    assert splits_of(tmp_path / "c") == splits_of(tmp_path / "a")


def test_shares_can_be_chosen(tmp_path: Path) -> None:
    folders(tmp_path / "source")
    assert do_import("folders", tmp_path / "source", tmp_path / "a", shares={"test": 0.5}).splits == {
        "train": 16,
        "val": 4,
        "test": 20,
    }
    outcome = do_import("folders", tmp_path / "source", tmp_path / "b", shares={"test": 0.0, "val": 0.0})
    assert outcome.splits == {"train": 40} and not outcome.dealt


def test_a_split_that_was_dealt_no_record_or_none_of_a_class_is_noted(tmp_path: Path) -> None:
    folders(tmp_path / "few", 1, "abcdefgh")
    (note,) = do_import("folders", tmp_path / "few", tmp_path / "a").notes
    lacks = {split: sum(home == split for home in splits_of(tmp_path / "a").values()) for split in ("val", "test")}
    assert lacks == {"val": 1, "test": 2}
    assert all(f"'{split}' lacks {8 - number} of 8 classes (" in note for split, number in lacks.items())
    assert note.count(", ...") == 2 and len(note) < 240 and "rise data split" in note

    folders(tmp_path / "two", 1)
    assert "'val' has no record; " in do_import("folders", tmp_path / "two", tmp_path / "b").notes[0]
    folders(tmp_path / "enough")
    assert do_import("folders", tmp_path / "enough", tmp_path / "c", shares={"val": 0.3, "test": 0.3}).notes == []
    assert do_import("folders", tmp_path / "few", tmp_path / "d", shares={"val": 0, "test": 0}).notes == []


def test_splits_of_the_source_are_kept_and_only_missing_ones_are_dealt(tmp_path: Path) -> None:
    folders(tmp_path / "source" / "train")
    folders(tmp_path / "source" / "validation", 2)
    assert do_import("folders", tmp_path / "source", tmp_path / "a").splits == {"train": 40, "val": 4}
    dealt = do_import("folders", tmp_path / "source", tmp_path / "b", shares={"test": 0.1})
    assert dealt.splits == {"train": 36, "val": 4, "test": 4}
    with pytest.raises(UserError, match="--val cannot be used: the source has a split 'val' of its own"):
        do_import("folders", tmp_path / "source", tmp_path / "c", shares={"val": 0.1})


def test_all_records_of_an_image_are_in_one_split(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for i in range(30):
        Image.new("RGB", (20, 10), (i, 0, 0)).save(source / f"{i}.png")
        voc(source, f"{i}.png", (20, 10), [(name, [1, 1, 9, 9]) for name in "abcd"])
    assert do_import("voc", source, tmp_path / "out", "grounding").splits == {"train": 84, "val": 12, "test": 24}
    of_image: dict[str, set[str]] = {}
    for id_, split in splits_of(tmp_path / "out").items():
        of_image.setdefault(id_.partition("#")[0], set()).add(split)
    assert all(len(splits) == 1 for splits in of_image.values())
    assert len(list((tmp_path / "out" / "images").rglob("*.png"))) == 30  # each image once


def test_images_are_copied_byte_for_byte_under_names_of_any_script(tmp_path: Path) -> None:
    path = tmp_path / "source" / "Käfer – жук" / "Ein Bild é 🐞.jpg"
    path.parent.mkdir(parents=True)
    Image.new("RGB", (9, 9), (1, 2, 3)).save(path, quality=42)
    folders(tmp_path / "source", 1, "a")
    do_import("folders", tmp_path / "source", tmp_path / "out", shares={"test": 0, "val": 0})
    dataset = Dataset.open(tmp_path / "out")
    (record,) = [r for r in dataset.records("train") if r.annotation == "Käfer – жук"]
    assert (dataset.root / record.images[0]).read_bytes() == path.read_bytes()


def test_bad_rows_are_put_aside_with_their_place_or_stop_a_strict_import(tmp_path: Path) -> None:
    folders(tmp_path / "source")
    (tmp_path / "source" / "a" / "text.jpg").write_text("no image")
    outcome = do_import("folders", tmp_path / "source", tmp_path / "out")
    assert sum(outcome.splits.values()) == 40 and outcome.quarantined.kinds == Counter(image=1)
    (problem,) = read_quarantine(tmp_path / "out")
    assert (problem.file, problem.kind) == ("a/text.jpg", "image") and "no image" in problem.reason
    with pytest.raises(DataError, match=r"a/text\.jpg: .*no image") as error:
        do_import("folders", tmp_path / "source", tmp_path / "strict", strict=True)
    assert error.value.exit_code == 1
    assert not (tmp_path / "strict").exists()


def coco(source: Path, number: int, place: str) -> Path:
    """``number`` images with two boxes each; their file names have no folder."""
    (source / place).mkdir(parents=True)
    images = [{"id": at, "file_name": f"{at}.jpg", "width": 8, "height": 6} for at in range(number)]
    boxes = [
        {"id": at, "image_id": at // 2, "category_id": 1 + at % 2, "bbox": [at % 2, 1, 3, 4]}
        for at in range(2 * number)
    ]
    for image in images:
        Image.new("RGB", (8, 6)).save(source / place / image["file_name"])
    classes = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    content = {"images": images, "annotations": boxes, "categories": classes}
    (source / "instances.json").write_text(json.dumps(content), encoding="utf-8")
    return source


@pytest.mark.parametrize(
    ("task", "place"), [("detection", "."), ("detection", "deep/down"), ("grounding", "deep/down")]
)
def test_an_import_opens_each_image_once_and_looks_at_each_folder_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str, place: str
) -> None:
    work: Counter[str] = Counter()

    def counted(name: str, of: Callable[..., Any]) -> Callable[..., Any]:
        def call(*values: Any, **options: Any) -> Any:
            work[name] += 1
            return of(*values, **options)

        return call

    monkeypatch.setattr(Image, "open", counted("opened", Image.open))
    monkeypatch.setattr(places, "safe_join", counted("resolved", places.safe_join))
    told = []
    for number in (10, 40):
        work.clear()
        outcome = do_import("coco", coco(tmp_path / f"{number}", number, place), tmp_path / f"out{number}", task)
        assert sum(outcome.splits.values()) == number * (2 if task == "grounding" else 1)
        assert work["opened"] == number
        told.append(work["resolved"])
    assert told[0] == told[1] <= 8


def test_a_jpeg_is_imported_by_its_two_ends_and_a_cut_one_is_refused(tmp_path: Path) -> None:
    source = coco(tmp_path / "source", 4, ".")
    for name, content in {"1.jpg": lambda whole: whole[:-40], "2.jpg": lambda whole: whole + b"more"}.items():
        (source / name).write_bytes(content((source / name).read_bytes()))
    outcome = do_import("coco", source, tmp_path / "out", shares={"val": 0, "test": 0})
    assert outcome.splits == {"train": 3} and outcome.quarantined.kinds == Counter(image=1)
    assert "1.jpg" in str(outcome.quarantined.first)


def test_links_share_the_bytes_and_are_made_of_what_a_link_in_the_source_names(tmp_path: Path) -> None:
    source = coco(tmp_path / "source", 3, ".")
    (source / "2.jpg").unlink()
    (source / "2.jpg").symlink_to(source / "1.jpg")
    do_import("coco", source, tmp_path / "out", shares={"val": 0, "test": 0}, link=True)
    made = tmp_path / "out" / "images" / "train"
    assert [(made / f"{at}.jpg").stat().st_ino for at in range(3)] == [
        (source / f"{at}.jpg").stat().st_ino for at in range(3)
    ]
    assert not (made / "2.jpg").is_symlink()


def test_where_no_link_can_be_made_nothing_is_left_and_the_option_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    with pytest.raises(UserError, match="one file system .* without --link"):
        do_import("coco", coco(tmp_path / "source", 3, "."), tmp_path / "out", link=True)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_large_images_are_decoded_one_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "LARGE", 50)
    at_work, most, lock, load = [0], [0], threading.Lock(), PngImageFile.load

    def counted(image: PngImageFile) -> Any:
        with lock:
            at_work[0] += 1
            most[0] = max(most[0], at_work[0])
        time.sleep(0.01)
        with lock:
            at_work[0] -= 1
        return load(image)

    monkeypatch.setattr(PngImageFile, "load", counted)
    for number in range(70):  # more than the first thread takes
        path = tmp_path / "source" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (number, 0, 0)).save(path)
    assert sum(do_import("folders", tmp_path / "source", tmp_path / "out", "classification").splits.values()) == 70
    assert most[0] == 1


def test_memory_of_an_import_grows_by_little_for_an_image(tmp_path: Path) -> None:
    peaks = []
    for number in (50, 50, 250):  # the first fills caches
        source = coco(tmp_path / f"{len(peaks)}", number, ".")
        tracemalloc.start()
        do_import("coco", source, tmp_path / f"out{len(peaks)}", "detection")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert (peaks[2] - peaks[1]) / 200 < 8_000  # bytes: rows, names and paths, no picture


def test_a_source_of_bad_rows_only_makes_no_dataset(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / "source" / name).mkdir(parents=True)
        (tmp_path / "source" / name / "text.jpg").write_text("no image")
    with pytest.raises(DataError, match=r"gave no record\. 2 rows are bad, the first being a/text\.jpg: ") as error:
        do_import("folders", tmp_path / "source", tmp_path / "out")
    assert error.value.exit_code == 1
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_one_class_is_too_few_and_is_told_before_anything_is_copied(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="classification needs two or more"):
        do_import("folders", folders(tmp_path / "source", classes="a"), tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_an_interrupted_import_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders(tmp_path / "source")
    copy, calls = shutil.copyfile, []

    def interrupted(*paths: Any) -> Any:
        calls.append(paths)
        if len(calls) == 10:
            raise KeyboardInterrupt
        return copy(*paths)

    monkeypatch.setattr(shutil, "copyfile", interrupted)
    with pytest.raises(KeyboardInterrupt):
        do_import("folders", tmp_path / "source", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_an_existing_dataset_is_kept_unless_forced(tmp_path: Path) -> None:
    folders(tmp_path / "source")
    do_import("folders", tmp_path / "source", tmp_path / "out")
    folders(tmp_path / "source", 1, "c")
    with pytest.raises(DataError, match="holds a dataset already"):
        do_import("folders", tmp_path / "source", tmp_path / "out")
    assert Dataset.open(tmp_path / "out").card.classes == ["a", "b"]
    do_import("folders", tmp_path / "source", tmp_path / "out", force=True)
    assert Dataset.open(tmp_path / "out").card.classes == ["a", "b", "c"]


def test_an_unknown_format_is_told_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no format 'vok' \(known: .*\)\. Did you mean 'voc'"):
        find_format("vok")


def test_a_turned_photo_is_imported_with_its_box_on_the_thing(tmp_path: Path) -> None:
    pixels = numpy.zeros((10, 20, 3), dtype=numpy.uint8)
    pixels[2:5, 12:18] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "source").mkdir()
    Image.fromarray(pixels).save(tmp_path / "source" / "a.png", exif=exif)
    voc(tmp_path / "source", "a.png", (20, 10), [("thing", [12, 2, 18, 5])])
    do_import("voc", tmp_path / "source", tmp_path / "out", "grounding")
    dataset = Dataset.open(tmp_path / "out")
    (record,) = dataset.records("train")
    assert (record.width, record.height) == (10, 20)
    assert tuple(record.annotation) == dataset.image(record).convert("L").getbbox()


def test_real_clothing_photos(tmp_path: Path, shared_data: Callable[[str], Path]) -> None:
    outcome = do_import("folders", shared_data("cls-clothing"), tmp_path / "clothing")
    assert outcome.splits == {"train": 110, "val": 30, "test": 40} and not outcome.quarantined.quarantined
    dataset = Dataset.open(tmp_path / "clothing")
    assert dataset.card.classes == sorted(
        ["dress", "hat", "longsleeve", "outwear", "pants", "shirt", "shoes", "shorts", "skirt", "t-shirt"]
    )
    assert Counter(record.annotation for record in dataset.records("train")) == dict.fromkeys(dataset.card.classes, 11)


def test_real_playing_cards(tmp_path: Path, shared_data: Callable[[str], Path]) -> None:
    source = shared_data("det-playingcards-voc") / "images" / "train"
    outcome = do_import("voc", source, tmp_path / "cards", "grounding")
    assert outcome.splits == {"train": 27, "val": 4, "test": 8} and not outcome.quarantined.quarantined
    assert outcome.skipped == {"a class with 2 boxes in one image: grounding takes one": 2}
    dataset = Dataset.open(tmp_path / "cards")
    record = next(dataset.records("train"))
    assert record.question == f"Where is the {record.meta['class']}?" and len(record.annotation) == 4
    assert len(list((tmp_path / "cards" / "images").rglob("*.*"))) == 24


def test_annotations_that_refer_to_absent_images_are_counted(
    tmp_path: Path, shared_data: Callable[[str], Path]
) -> None:
    folder = shared_data("det-playingcards-voc") / "images"
    columns = ("filename", "class")
    outcome = do_import("csv", folder / "test_labels.csv", tmp_path / "cards", images=folder / "test", columns=columns)
    assert outcome.quarantined.kinds["missing image"] == 47
    assert sum(outcome.splits.values()) == 12 and outcome.skipped["several classes in the image"]
    assert "test_labels.csv row " in str(outcome.quarantined.first)


def test_voc_and_both_forms_of_coco_agree(tmp_path: Path, shared_data: Callable[[str], Path]) -> None:
    folder = shared_data("det-voc100-multiformat") / "database"
    sources = {
        "voc": ("voc", folder / "gts" / "pascalvoc_format"),
        "v1": ("coco", folder / "gts" / "coco_format_v1" / "instances_default.json"),
        "v2": ("coco", folder / "gts" / "coco_format_v2" / "instances_v2.json"),
    }
    read: dict[str, dict[str, Any]] = {}
    for name, (format, source) in sources.items():
        shares = {"val": 0, "test": 0}
        outcome = do_import(format, source, tmp_path / name, "grounding", images=folder / "images", shares=shares)
        records = Dataset.open(tmp_path / name).records("train")
        read[name] = {record.id: [float(number) for number in record.annotation] for record in records}
        in_skipped = sum(
            int(reason.split()[3]) * number for reason, number in outcome.skipped.items() if "boxes in one" in reason
        )
        assert len(read[name]) + in_skipped == 273  # every box is accounted for
    assert read["voc"] == read["v1"] == read["v2"] and len(read["voc"]) == 111


def test_a_million_skipped_things_or_questions_of_one_image_are_never_one_list() -> None:
    assert [len(part) for part in _by_image(iter([Skip("a crowd")] * 3))] == [1, 1, 1]
    item = Item("a", 1, "1", "1", Path("1.png"), "cat")
    parts = _by_image(item for _ in range(10**9))
    assert [len(next(parts)) for _ in range(3)] == [TOGETHER] * 3
