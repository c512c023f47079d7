"""Each importer reads its format as people write it and names what it cannot use."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from rise_vlm.data.checking import Problem
from rise_vlm.data.formats import FORMATS
from rise_vlm.data.formats.base import Found, Item, Options, Skip
from rise_vlm.errors import DataError


def found(format: str, source: Path, task: str | None = None, **options: Any) -> list[Found]:
    form = FORMATS[format]
    return list(form.load().read(source, Options(task=task or form.tasks[0], **options)))


def items(found: list[Found]) -> list[Item]:
    return [each for each in found if isinstance(each, Item)]


def problems(found: list[Found]) -> list[str]:
    return [f"{each.kind}: {each}" for each in found if isinstance(each, Problem)]


def skips(found: list[Found]) -> list[str]:
    return [each.reason for each in found if isinstance(each, Skip)]


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 10)).save(path, format="PNG")


# --- folders ---


def test_folders_without_splits(tmp_path: Path) -> None:
    touch(tmp_path / "b" / "1.png", tmp_path / "a b" / "deep" / "ä.weird", tmp_path / ".hidden" / "1.png")
    (tmp_path / "b" / "readme.txt").write_text("")
    (tmp_path / "LICENSE").write_text("")
    (tmp_path / "empty").mkdir()
    read = found("folders", tmp_path)
    assert [(item.id, item.annotation, item.split) for item in items(read)] == [
        ("a b/deep/ä.weird", "a b", None),
        ("b/1.png", "b", None),
    ]
    assert sorted(skips(read)) == [
        "a file outside of the class folders",
        "a file that is no image",
        "a folder without images",
    ]
    names = {each.name for each in read if isinstance(each, Skip)}
    assert names == {"LICENSE", "b/readme.txt", "empty"}


@pytest.mark.parametrize(("name", "split"), [("validation", "val"), ("valid", "val"), ("VAL", "val"), ("Test", "test")])
def test_folders_with_splits(tmp_path: Path, name: str, split: str) -> None:
    touch(tmp_path / "Train" / "a" / "1.png", tmp_path / name / "a" / "1.png", tmp_path / "extra" / "1.png")
    read = found("folders", tmp_path)
    assert {(item.id, item.annotation, item.split) for item in items(read)} == {
        ("Train/a/1.png", "a", "train"),
        (f"{name}/a/1.png", "a", split),
    }
    assert [each for each in read if isinstance(each, Skip)] == [
        Skip("a folder that is none of train, val and test", "extra")
    ]


def test_a_class_may_be_called_test(tmp_path: Path) -> None:
    touch(tmp_path / "test" / "1.png", tmp_path / "exam" / "1.png")
    assert [item.annotation for item in items(found("folders", tmp_path))] == ["exam", "test"]


def test_links_out_of_the_source_are_refused(tmp_path: Path) -> None:
    touch(tmp_path / "source" / "a" / "1.png", tmp_path / "secret.png")
    (tmp_path / "source" / "a" / "link.png").symlink_to(tmp_path / "secret.png")
    read = found("folders", tmp_path / "source")
    assert [item.id for item in items(read)] == ["a/1.png"]
    assert problems(read)[0].startswith("path: a/link.png: 'a/link.png' leaves the folder")


# --- csv ---


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_csv_rows_and_their_faults(tmp_path: Path, delimiter: str) -> None:
    table = tmp_path / "Tabelle ä.csv"
    rows = [
        ["image", "label", "split"],
        ['"a b,;é.png"', " cat ", ""],
        ["../b.png", "cat", "train"],
        ["/b.png", "cat", "train"],
        ["", "cat", "train"],
        ["c.png", "", "train"],
        ["d.png", "cat"],
        ["e.png", "dog", "Validation"],
        ["f.png", "dog", "holdout"],
    ]
    content = "\r\n".join(delimiter.join(row) for row in rows) + "\r\n\r\n"
    table.write_bytes(b"\xef\xbb\xbf" + content.encode() + delimiter.join(["\xff", "x", ""]).encode("latin-1"))
    read = found("csv", table)
    assert [(item.image, item.annotation, item.split, item.row) for item in items(read)] == [
        (tmp_path / "a b,;é.png", "cat", None, 2),
        (tmp_path / "e.png", "dog", "val", 8),
    ]
    reasons = [
        "path: Tabelle ä.csv row 3: '../b.png' leaves the folder",
        "path: Tabelle ä.csv row 4: '/b.png' is not a relative path",
        "row: Tabelle ä.csv row 5: the image is empty",
        "row: Tabelle ä.csv row 6: the label is empty",
        "row: Tabelle ä.csv row 7: the row has 2 fields, the header 3",
        "row: Tabelle ä.csv row 9: the split 'holdout' is none of train, val and test",
        "row: Tabelle ä.csv row 11: the row is not UTF-8 text",
    ]
    assert len(problems(read)) == len(reasons)
    assert all(told.startswith(reason) for told, reason in zip(problems(read), reasons, strict=True))


def test_csv_columns_may_be_named_and_wrong_names_are_told(tmp_path: Path) -> None:
    table = tmp_path / "a.csv"
    table.write_text("file,class,x\n1.png,cat,3\n")
    touch(tmp_path / "photos" / "1.png")
    (item,) = items(found("csv", table, columns=("file", "class"), images=tmp_path / "photos"))
    assert (item.image, item.annotation) == (tmp_path / "photos" / "1.png", "cat")
    with pytest.raises(DataError, match=r"a\.csv has no column 'image' \(it has: file, class, x\).*--columns"):
        found("csv", table)
    with pytest.raises(DataError, match=r"no column 'clas' .*Did you mean 'class'"):
        found("csv", table, columns=("file", "clas"))
    table.write_text("")
    with pytest.raises(DataError, match="is empty"):
        found("csv", table)


# --- voc ---

OBJECT = "<object><name>{}</name><bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox></object>"
SIZE = "<size><width>20</width><height>10</height></size>"


def write_xml(path: Path, filename: str, *objects: tuple[Any, ...], size: str = SIZE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    inner = "".join(OBJECT.format(*each) for each in objects)
    path.write_text(f"<annotation><filename>{filename}</filename>{size}{inner}</annotation>", encoding="utf-8")


def test_voc_makes_one_record_of_each_class_that_has_one_box(tmp_path: Path) -> None:
    touch(tmp_path / "a.JPG", tmp_path / "lonely.png")
    write_xml(tmp_path / "a.xml", "A.jpg", ("cat", 1, 2, 3.5, 4), ("dog", 1, 1, 2, 2), ("dog", 3, 3, 4, 4))
    read = found("voc", tmp_path, "grounding")
    (item,) = items(read)
    assert (item.id, item.group, item.annotation) == ("a.JPG#cat", "a.JPG", [1, 2, 3.5, 4])
    assert (item.question, item.stated_size) == ("Where is the cat?", (20, 10))
    assert sorted(skips(read)) == [
        "a class with 2 boxes in one image: grounding takes one",
        "an image without an XML file",
    ]


def test_voc_classification_takes_images_of_one_class(tmp_path: Path) -> None:
    touch(tmp_path / "a.png", tmp_path / "b.png", tmp_path / "c.png")
    write_xml(tmp_path / "a.xml", "a.png", ("cat", 1, 2, 3, 4), ("cat", 5, 5, 6, 6))
    write_xml(tmp_path / "b.xml", "b.png", ("cat", 1, 2, 3, 4), ("dog", 5, 5, 6, 6))
    write_xml(tmp_path / "c.xml", "c.png")
    read = found("voc", tmp_path, "classification")
    assert [(item.id, item.annotation) for item in items(read)] == [("a.png", "cat")]
    assert skips(read) == ["several classes in the image", "no box in the image"]


def test_voc_reads_the_classical_folders_and_their_lists(tmp_path: Path) -> None:
    for name in ("1", "2", "3"):
        touch(tmp_path / "JPEGImages" / f"{name}.jpg")
        write_xml(tmp_path / "Annotations" / f"{name}.xml", f"{name}.jpg", ("cat", 1, 2, 3, 4))
    lists = tmp_path / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("1\n")
    (lists / "val.txt").write_text("2 1\n\n")
    (lists / "trainval.txt").write_text("1\n2\n")
    assert [(item.group, item.split) for item in items(found("voc", tmp_path, "grounding"))] == [
        ("JPEGImages/1.jpg", "train"),
        ("JPEGImages/2.jpg", "val"),
        ("JPEGImages/3.jpg", None),
    ]


def test_voc_reads_splits_from_folders(tmp_path: Path) -> None:
    for split in ("train", "test"):
        touch(tmp_path / split / "1.jpg")
        write_xml(tmp_path / split / "1.xml", "1.jpg", ("cat", 1, 2, 3, 4))
    read = items(found("voc", tmp_path, "grounding"))
    assert {(item.id, item.split) for item in read} == {("train/1.jpg#cat", "train"), ("test/1.jpg#cat", "test")}


def test_voc_finds_images_by_windows_paths_and_by_the_name_of_the_xml(tmp_path: Path) -> None:
    touch(tmp_path / "a.png", tmp_path / "b.jpeg")
    write_xml(tmp_path / "x.xml", "C:\\photos\\A.PNG", ("cat", 1, 2, 3, 4))
    write_xml(tmp_path / "b.xml", "renamed.jpg", ("cat", 1, 2, 3, 4))
    assert [item.group for item in items(found("voc", tmp_path, "grounding"))] == ["b.jpeg", "a.png"]


def test_voc_faults_are_named(tmp_path: Path) -> None:
    touch(*(tmp_path / f"{name}.png" for name in "abcdf"))
    write_xml(tmp_path / "a.xml", "a.png", ("cat", 1, "two", 3, 4), ("dog", 1, 2, 3, 4))
    (tmp_path / "b.xml").write_text("<annotation><filename>b.png")
    (tmp_path / "c.xml").write_text("<svg/>")
    (tmp_path / "d.xml").write_text("<annotation><filename>d.png</filename><object><name/></object></annotation>")
    write_xml(tmp_path / "e.xml", "e.png", ("cat", 1, 2, 3, 4))
    (tmp_path / "f.xml").write_text(
        "<annotation><filename>f.png</filename><object><name>cat</name></object></annotation>"
    )
    read = found("voc", tmp_path, "grounding")
    assert [item.id for item in items(read)] == ["a.png#dog"]
    told = [
        "annotation: a.xml: the box of the cat is not of four numbers: 1, two, 3, 4",
        "row: b.xml: the file is no XML",
        "row: c.xml: the file is no Pascal VOC annotation: it begins with <svg>",
        "row: d.xml: an object has no name",
        "missing image: e.xml: the image 'e.png' is not in",
        "annotation: f.xml: the cat has no bndbox",
    ]
    assert all(problem.startswith(start) for problem, start in zip(problems(read), told, strict=True))


@pytest.mark.parametrize(
    "size", ["", "<size><width>0</width><height>0</height></size>", "<size><width>x</width></size>"]
)
def test_voc_without_a_size_states_none(tmp_path: Path, size: str) -> None:
    touch(tmp_path / "a.png")
    write_xml(tmp_path / "a.xml", "a.png", ("cat", 1, 2, 3, 4), size=size)
    assert items(found("voc", tmp_path))[0].stated_size is None


def test_an_xml_bomb_is_no_danger(tmp_path: Path) -> None:
    touch(tmp_path / "a.png")
    entities = "".join(f'<!ENTITY e{i} "{f"&e{i - 1};" * 10}">' for i in range(1, 12))
    bomb = f'<!DOCTYPE annotation [<!ENTITY e0 "ha">{entities}]><annotation><filename>&e11;</filename></annotation>'
    (tmp_path / "a.xml").write_text(bomb)
    assert problems(found("voc", tmp_path))[0].startswith("row: a.xml: the file is no XML")


# --- coco ---


def coco(folder: Path, images: list[Any], annotations: list[Any], categories: list[Any] | None = None) -> Path:
    categories = categories if categories is not None else [{"id": 7, "name": "cat"}, {"id": 2, "name": "dog"}]
    path = folder / "instances.JSON"
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return path


PHOTO = {"id": 1, "file_name": "ä b.png", "width": 20, "height": 10}


def test_coco_boxes_become_corners_and_categories_names(tmp_path: Path) -> None:
    boxes = [
        {"image_id": 1, "category_id": 2, "bbox": [1, 2, 3.5, 4]},
        {"image_id": 1, "category_id": 7, "bbox": [1, 2, 3, 4]},
        {"image_id": 1, "category_id": 7, "bbox": [2, 2, 3, 4]},
    ]
    read = found("coco", coco(tmp_path, [PHOTO], boxes), "grounding", question="Wo ist {class}?")
    (item,) = items(read)
    assert (item.image, item.id, item.annotation) == (tmp_path / "ä b.png", "ä b.png#dog", [1, 2, 4.5, 6])
    assert (item.question, item.stated_size, item.row) == ("Wo ist dog?", (20, 10), 1)
    assert skips(read) == ["a class with 2 boxes in one image: grounding takes one"]


def test_coco_crowds_are_skipped_and_spoil_a_single_box_of_their_class(tmp_path: Path) -> None:
    crowd = {"image_id": 1, "category_id": 7, "bbox": [1, 2, 3, 4], "iscrowd": 1}
    assert skips(found("coco", coco(tmp_path, [PHOTO], [crowd]), "grounding")) == ["a crowd (iscrowd), not one thing"]
    read = found("coco", coco(tmp_path, [PHOTO], [crowd, crowd | {"iscrowd": 0}]), "grounding")
    assert not items(read) and skips(read) == ["a class with 2 boxes in one image: grounding takes one"]


def test_coco_faults_are_named(tmp_path: Path) -> None:
    box = {"image_id": 1, "category_id": 7, "bbox": [1, 2, 3, 4]}
    images = [PHOTO, {"id": 2}, {"file_name": "x"}, PHOTO, {"id": 3, "file_name": "../x.png"}, 5, {"id": [1]}]
    boxes = [
        box | {"image_id": 99},
        box | {"category_id": 99},
        3,
        box | {"bbox": [1, 2, 0, 4]},
        box | {"category_id": 2, "bbox": [1, "2", 3, 4]},
        box | {"image_id": None},
    ]
    told = [
        "missing image: instances.JSON annotations row 1: the annotation refers to the image 99, which is not listed",
        "row: instances.JSON annotations row 3: an annotation must be an object",
        "missing image: instances.JSON annotations row 6: the annotation refers to the image None",
        "annotation: instances.JSON annotations row 2: the category 99 is not listed",
        "annotation: instances.JSON annotations row 4: the bbox [1, 2, 0, 4] of the cat has no area",
        "annotation: instances.JSON annotations row 5: the bbox of the dog is not of four numbers",
        "row: instances.JSON images row 2: the image 2 has no file_name",
        "row: instances.JSON images row 3: an image must be an object with an id",
        "duplicate id: instances.JSON images row 4: the image id 1 was used before",
        "path: instances.JSON images row 5: '../x.png' leaves the folder",
        "row: instances.JSON images row 6: an image must be an object with an id",
        "row: instances.JSON images row 7: an image must be an object with an id",
    ]
    problems_ = problems(found("coco", coco(tmp_path, images, boxes)))
    assert all(problem.startswith(start) for problem, start in zip(problems_, told, strict=True))


@pytest.mark.parametrize(
    ("content", "reason"),
    [("[]", "is a bare list"), ('{"images": [], "categories": []}', "no list 'annotations'"), ("{", "is no JSON")],
)
def test_a_file_that_is_no_coco_is_told(tmp_path: Path, content: str, reason: str) -> None:
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(DataError, match=rf"a\.json .*{reason}"):
        found("coco", tmp_path / "a.json")
    for bad, reason in (
        ([{"id": 1}], "row 1 lacks"),
        ([{"id": 1, "name": "a"}, {"id": 1, "name": "b"}], "used before"),
    ):
        with pytest.raises(DataError, match=reason):
            found("coco", coco(tmp_path, [], [], bad))


@pytest.mark.parametrize("format", FORMATS)
def test_a_missing_source_and_one_of_the_wrong_kind_are_told(tmp_path: Path, format: str) -> None:
    with pytest.raises(DataError, match="none is missing"):
        found(format, tmp_path / "none")
    if format not in ("folders", "csv", "voc", "coco", "yolo"):
        return  # these read a file or a folder
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    wrong = tmp_path / ("folder" if format in ("csv", "coco") else "file")
    with pytest.raises(DataError, match=r"is a (file|folder); "):
        found(format, wrong)


def test_empty_folders_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no folders"):
        found("folders", tmp_path)
    with pytest.raises(DataError, match="holds no XML files"):
        found("voc", tmp_path)
