"""What a source does not tell must not become a truth: broken rows, shapes that are no box, rows that disagree."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from format_kit import found, put, put_text, skips
from test_formats_bad_input import put as put_files

from rise_vlm.cli import run
from rise_vlm.data.checking import Problem
from rise_vlm.data.formats import FORMATS
from rise_vlm.data.formats.base import ONLY_OTHERS, Item, Note, Options
from rise_vlm.data.images import read_size
from rise_vlm.data.upright import upright
from rise_vlm.errors import DataError

HUB = {"parquet", "imagefolder", "hub"}
"""Formats of the rows of hub data sets: a row is an image."""

TABLE = "image,label,xmin,ymin,xmax,ymax\n"
SHARES = "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsGroupOf\n"
RECTANGLE = {"label": "cat", "points": [[1, 1], [50, 50]], "shape_type": "rectangle"}
PERCENT = {"x": 5, "y": 5, "width": 20, "height": 20}


def coco(*annotations: dict[str, Any]) -> str:
    images = [{"id": number, "file_name": f"{number}.png"} for number in (1, 2)]
    names = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    good = {"image_id": 2, "category_id": 1, "bbox": [1, 1, 50, 50]}
    return json.dumps({"images": images, "categories": names, "annotations": [*annotations, good]})


def cat(image: int = 1, **more: Any) -> dict[str, Any]:
    return {"image_id": image, "category_id": 1, "bbox": [1, 1, 50, 50]} | more


def region(kind: str, label: str, **value: Any) -> dict[str, Any]:
    value = value or PERCENT
    size = {"original_width": 200, "original_height": 100}
    return {"type": f"{kind}labels", **size, "value": value | {f"{kind}labels": [label]}}


def tasks(*results: dict[str, Any], **more: Any) -> str:
    first = {"data": {"image": "1.png"}, "annotations": [{"result": list(results)}]} | more
    return json.dumps([first, {"data": {"image": "2.png"}, "annotations": [{"result": [region("rectangle", "cat")]}]}])


def cvat(shapes: str) -> str:
    box = '<box label="cat" xtl="1" ytl="1" xbr="50" ybr="50"/>'
    return f'<annotations><image name="1.png">{shapes}</image><image name="2.png">{box}</image></annotations>'


def labelme(number: int, *shapes: dict[str, Any], **more: Any) -> str:
    return json.dumps({"shapes": shapes, "imagePath": f"{number}.png"} | more)


def detections(*boxes: Any) -> dict[str, Any]:
    return {"_cls": "Detections", "detections": list(boxes)}


DETECTION = {"_cls": "Detection", "label": "cat", "bounding_box": [0.1, 0.1, 0.5, 0.5]}


def samples(first: Any, **more: Any) -> str:
    one, two = {"filepath": "1.png", "truth": first} | more, {"filepath": "2.png", "truth": detections(DETECTION)}
    return json.dumps({"samples": [one, two]})


def voc(*names: str) -> str:
    box = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>50</xmax><ymax>50</ymax></bndbox>"
    inner = "".join(f"<object><name>{name}</name>{box}</object>" for name in names)
    return f"<annotation><filename>NAME.png</filename>{inner}</annotation>"


def swift(number: int, *boxes: Any) -> str:
    told = [{"role": "user", "content": "<image>?"}, {"role": "assistant", "content": ""}]
    objects = {"ref": ["cat"] * len(boxes), "bbox": list(boxes)}
    return json.dumps({"messages": told, "images": [f"{number}.png"], "objects": objects}) + "\n"


BROKEN = {
    "csv, few fields": ("csv", {"a.csv": TABLE + "1.png,cat,1,1,50,50\n1.png,dog,5,5\n2.png,cat,1,1,9,9"}),
    "csv, no label": ("csv", {"a.csv": TABLE + "1.png,cat,1,1,50,50\n1.png,,5,5,9,9\n2.png,cat,1,1,9,9"}),
    "csv, bytes": ("csv", {"a.csv": TABLE + "1.png,cat,1,1,50,50\n1.png,k\udce4,5,5,9,9\n2.png,cat,1,1,9,9"}),
    "csv, split": (
        "csv",
        {"a.csv": "split," + TABLE + "train,1.png,cat,1,1,50,50\nheld,1.png,dog,5,5,9,9\ntrain,2.png,cat,1,1,9,9"},
    ),
    "openimages, few fields": (
        "openimages",
        {"a.csv": SHARES + "1,,cat,1,.1,.5,.1,.5,0\n1,,dog,1,.2\n2,,cat,1,.1,.5,.1,.5,0"},
    ),
    "coco, category": ("coco", {"a.json": coco(cat(), cat(category_id=9))}),
    "coco, text id": ("coco", {"a.json": coco(cat(), cat(image_id="1", bbox=[1, 1, 5]))}),
    "voc": ("voc", {"1.xml": voc("cat", "").replace("NAME", "1"), "2.xml": voc("cat").replace("NAME", "2")}),
    "yolo": ("yolo", {"1.txt": "0 .5 .5 .2 .2\n0 .5", "2.txt": "0 .5 .5 .2 .2", "obj.names": "cat"}),
    "labelstudio, null": (
        "labelstudio",
        {"a.json": tasks(region("rectangle", "cat"), {"type": "rectanglelabels", "value": None})},
    ),
    "labelstudio, polygon": ("labelstudio", {"a.json": tasks(region("polygon", "cat", points=[[1], [2]]))}),
    "cvat": ("cvat", {"a.xml": cvat('<box label="cat" xtl="1" ytl="1" xbr="50" ybr="50"/><box label="dog"/>')}),
    "cvat, track": (
        "cvat",
        {
            "a.xml": "<annotations>"
            + "".join(
                f'<track {label}><box frame="{frame}" xtl="1" ytl="1" xbr="50" ybr="50"/></track>'
                for label, frame in (('label="cat"', 1), ("", 1), ('label="cat"', 2))
            )
            + "</annotations>"
        },
    ),
    "labelme": ("labelme", {"1.json": labelme(1, RECTANGLE, {"label": "dog"}), "2.json": labelme(2, RECTANGLE)}),
    "swift": ("swift", {"a.jsonl": swift(1, [1, 1, 50, 50], [1, 1, 5]) + swift(2, [1, 1, 50, 50])}),
    "fiftyone": ("fiftyone", {"samples.json": samples(detections(DETECTION, {"label": "dog"}))}),
    "fiftyone, no list": ("fiftyone", {"samples.json": samples({"_cls": "Detections", "detections": "cat"})}),
}


def in_pixels(read: list[Any]) -> dict[str, list[str]]:
    """Image -> the labels of its boxes."""
    items = [item for item in read if isinstance(item, Item)]
    boxes = {item.image.name: upright(item, read_size(item.image), Options("detection")) for item in items}
    return {name: [thing["label"] for thing in things] for name, things in boxes.items()}


def given(folder: Path, format: str, files: dict[str, Any]) -> Path:
    put(folder, "1.png", "2.png", *(("frame_000001.png", "frame_000002.png") if "<track" in str(files) else ()))
    put_files(folder, files)
    return folder if format in ("voc", "yolo", "labelme") else folder / next(iter(files))


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_row_puts_its_whole_image_aside(case: str, tmp_path: Path) -> None:
    format, files = BROKEN[case]
    read = found(format, given(tmp_path, format, files))
    problems = [each for each in read if isinstance(each, Problem)]
    assert len(problems) == 1
    assert list(in_pixels(read)) in (["2.png"], ["frame_000002.png"])


def test_every_format_of_boxes_has_a_case_of_a_broken_row() -> None:
    boxed = {name for name, form in FORMATS.items() if "detection" in form.tasks}
    assert boxed - HUB - {"reasonrft", "sharegpt"} == {format for format, _ in BROKEN.values()}  # a row an image


@pytest.mark.parametrize("row", [",dog,5,5,9,9", "\udce4.png,dog,5,5,9,9"])
def test_a_broken_row_that_does_not_tell_its_image_is_said(row: str, tmp_path: Path) -> None:
    read = found("csv", given(tmp_path, "csv", {"a.csv": TABLE + "1.png,cat,1,1,50,50\n" + row}))
    assert in_pixels(read) == {"1.png": ["cat"]}
    assert "1 broken row does not tell the image" in next(each.text for each in read if isinstance(each, Note))


@pytest.mark.parametrize("task", ["grounding", "classification"])
def test_a_broken_row_of_an_unknown_class_spoils_every_task(task: str, tmp_path: Path) -> None:
    read = found("coco", given(tmp_path, "coco", {"a.json": coco(cat(), cat(category_id=9))}), task)
    assert [item.image.name for item in read if isinstance(item, Item)] == ["2.png"]


OTHERS = {
    "labelstudio, brush": ("labelstudio", {"a.json": tasks(region("brush", "dog"))}),
    "labelstudio, choice": ("labelstudio", {"a.json": tasks({"type": "choices", "value": {"choices": ["dog"]}})}),
    "cvat, polyline": ("cvat", {"a.xml": cvat('<polyline label="dog" points="1,1;5,5"/>')}),
    "cvat, tag": ("cvat", {"a.xml": cvat('<tag label="dog"/>')}),
    "labelme": (
        "labelme",
        {"1.json": labelme(1, {"label": "dog", "shape_type": "point"}), "2.json": labelme(2, RECTANGLE)},
    ),
    "coco, crowd": ("coco", {"a.json": coco(cat(iscrowd=1))}),
    "openimages, group": ("openimages", {"a.csv": SHARES + "1,,cat,1,.1,.5,.1,.5,1\n2,,cat,1,.1,.5,.1,.5,0"}),
    "fiftyone": ("fiftyone", {"samples.json": samples({"_cls": "Polylines", "polylines": [{"label": "dog"}]})}),
    "swift": ("swift", {"a.jsonl": swift(1, [1, 1]) + swift(2, [1, 1, 50, 50])}),
}


@pytest.mark.parametrize("case", OTHERS)
def test_an_image_with_only_things_that_are_no_box_is_not_an_empty_one(case: str, tmp_path: Path) -> None:
    format, files = OTHERS[case]
    read = found(format, given(tmp_path, format, files))
    assert in_pixels(read) == {"2.png": ["cat"]}
    assert len(skips(read)) == 2 and skips(read)[1] == ONLY_OTHERS
    assert not [each for each in read if isinstance(each, Problem)]


def test_a_missing_field_of_fiftyone_is_not_taken_from_another(tmp_path: Path) -> None:
    guessed = detections(DETECTION | {"label": "dog"})
    read = found("fiftyone", given(tmp_path, "fiftyone", {"samples.json": samples(None, guess=guessed)}))
    assert in_pixels(read) == {"1.png": ["dog"]} and skips(read) == ["a sample without a label in 'guess'"]
    file = put_text(tmp_path / "samples.json", samples(None, ground_truth=detections(DETECTION), truth=None))
    assert in_pixels(found("fiftyone", file)) == {"1.png": ["cat"]}
    notes = [each.text for each in found("fiftyone", file) if isinstance(each, Note)]
    assert notes == [
        "samples.json: the labels are taken from the field 'ground_truth', not from truth; --field names another."
    ]
    file = put_text(tmp_path / "samples.json", samples(None, ground_truth=detections(DETECTION), guess=guessed))
    assert in_pixels(found("fiftyone", file, field="guess")) == {"1.png": ["dog"]}
    with pytest.raises(DataError, match=r"no field 'gues' of labels .*Did you mean 'guess'"):
        found("fiftyone", file, field="gues")


def test_labelstudio_polygons_and_ellipses_become_the_box_around_them(tmp_path: Path) -> None:
    ellipse = {"x": 50, "y": 50, "radiusX": 10, "radiusY": 5, "rotation": 90}  # 20 and 5 pixels, then 5 and 20
    shapes = [region("polygon", "dog", points=[[10, 20], [30, 20], [20, 60]]), region("ellipse", "cow", **ellipse)]
    read = found("labelstudio", given(tmp_path, "labelstudio", {"a.json": tasks(*shapes)}))
    first = next(item for item in read if isinstance(item, Item))
    boxes = [thing["box"] for thing in upright(first, read_size(first.image), Options("detection"))]
    assert boxes[0] == [20, 20, 60, 60] and boxes[1] == pytest.approx([95, 30, 105, 70])


def test_of_several_annotations_the_ground_truth_counts_and_others_are_told(tmp_path: Path) -> None:
    one, two = [region("rectangle", "cat")], [region("rectangle", "dog")]
    told: list[dict[str, Any]] = [{"result": one}, {"result": two, "ground_truth": True}, {"result": two}]
    read = found("labelstudio", given(tmp_path, "labelstudio", {"a.json": tasks(annotations=told)}))
    assert in_pixels(read)["1.png"] == ["dog"]
    assert skips(read) == ["another annotation of a task, which differs from the one that counts"]


def test_coco_polygons_without_bbox_become_the_box_around_them(tmp_path: Path) -> None:
    shape = {"image_id": 1, "category_id": 1, "segmentation": [[10, 20, 60, 25, 30, 80], [5, 30, 9, 30, 7, 40]]}
    read = found("coco", given(tmp_path, "coco", {"a.json": coco(shape)}))
    assert next(item for item in read if isinstance(item, Item)).annotation == [
        {"label": "cat", "box": [5, 20, 60, 80]}
    ]


@pytest.mark.parametrize(("second", "classes"), [("cat", ["cat", "dog"]), ("dog", ["dog"])])
def test_rows_that_disagree_on_the_class_of_an_image_make_none(second: str, classes: list[str], tmp_path: Path) -> None:
    table = f"id,image,label\na,1.png,cat\nb,1.png,{second}\nc,2.png,dog\n"
    read = found("csv", given(tmp_path, "csv", {"a.csv": table}), "classification")
    assert sorted({item.annotation for item in read if isinstance(item, Item)}) == classes
    assert skips(read) == (["several classes in the image"] if second == "dog" else [])


def test_a_table_of_boxes_is_taken_as_detection(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(tmp_path, "1.png", "2.png")
    table = put_text(tmp_path / "a.csv", TABLE + "1.png,cat,1,1,50,50\n1.png,dog,5,5,60,70\n2.png,cat,1,1,9,9\n")
    assert run(["data", "import", str(table), "--out", str(tmp_path / "out")]) == 0
    assert "Task: detection." in capsys.readouterr().out
    assert FORMATS["csv"].task_for(put_text(tmp_path / "b.csv", "image,label\n1.png,cat\n")) == "classification"


def test_parquet_tells_its_task(tmp_path: Path) -> None:
    columns = {"image": ["1.png"], "objects": [{"bbox": [[1, 1, 5, 5]], "category": ["cat"]}]}
    pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "a.parquet")
    assert FORMATS["parquet"].task_for(tmp_path) == "detection"
    table = pyarrow.table({"image": ["1.png"], "annotation": ["{}"]})
    named = table.replace_schema_metadata({"rise": json.dumps({"task": "distribution"})})
    pyarrow.parquet.write_table(named, tmp_path / "b.parquet")
    assert FORMATS["parquet"].task_for(tmp_path / "b.parquet") == "distribution"


def test_detection_is_the_task_of_every_format_of_boxes() -> None:
    firsts = {name: form.tasks[0] for name, form in FORMATS.items() if "detection" in form.tasks}
    assert {name for name, task in firsts.items() if task != "detection"} == {"csv", "reasonrft", "sharegpt"} | HUB
