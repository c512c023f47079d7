"""Readers of boxes on hand-written files: what stands in them as their tools write it, and what comes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from format_kit import found, put, put_text, skips, things

from rise_vlm.data.checking import Problem
from rise_vlm.data.formats.base import Classes, Item, Note
from rise_vlm.data.formats.guessing import guess
from rise_vlm.errors import UserError


def test_coco_folder_with_splits(tmp_path: Path) -> None:
    put(tmp_path, "images/train2017/1.jpg", "images/val2017/1.jpg")
    for split in ("train2017", "val2017"):
        content = {
            "images": [{"id": 5, "file_name": "1.jpg", "width": 200, "height": 100}],
            "categories": [{"id": 3, "name": "cat"}, {"id": 9, "name": "dog"}],
            "annotations": [{"image_id": 5, "category_id": 9, "bbox": [1, 2, 3, 4], "score": 0.5}],
        }
        put_text(tmp_path / "annotations" / f"instances_{split}.json", content)
        put_text(tmp_path / "annotations" / f"captions_{split}.json", content)
    read = found("coco", tmp_path)
    items = [item for item in read if isinstance(item, Item)]
    assert [(item.split, item.image.parent.name, item.meta) for item in items] == [
        ("train", "train2017", {"scores": [0.5]}),
        ("val", "val2017", {"scores": [0.5]}),
    ]
    assert things(read)[0] == ("1.jpg", [("dog", [1, 2, 4, 6])])
    assert Classes(("cat", "dog")) in read and len(skips(read)) == 2


def test_a_bad_annotation_does_not_make_a_false_truth_of_the_others(tmp_path: Path) -> None:
    put(tmp_path, "1.jpg")
    boxes = [{"image_id": 1, "category_id": n, "bbox": [1, 2, 3, 4]} for n in (1, 7)]
    content = {
        "images": [{"id": 1, "file_name": "1.jpg"}],
        "categories": [{"id": 1, "name": "cat"}],
        "annotations": boxes,
    }
    read = found("coco", put_text(tmp_path / "a.json", content))
    (problem,) = [each for each in read if isinstance(each, Problem)]
    assert not [item for item in read if isinstance(item, Item)]
    assert problem.id == "1.jpg" and problem.reason == "the category 7 is not listed; its image is left out"


@pytest.mark.parametrize("layout", ["images/train/1.jpg labels/train/1.txt", "train/1.jpg train/1.txt"])
def test_yolo_names_splits_segments_and_empty_files(tmp_path: Path, layout: str) -> None:
    image, label = layout.split()
    put(tmp_path, image, image.replace("1.jpg", "2.jpg"), image.replace("1.jpg", "3.jpg"))
    put_text(tmp_path / label, "1 0.5 0.5 0.25 0.5\n\n0 0.1 0.1 0.2 0.1 0.2 0.3 0.1 0.3\n")
    put_text(tmp_path / label.replace("1.txt", "2.txt"), "")
    put_text(tmp_path / "data.yaml", "names:\n  0: cat\n  1: dog\n  2: cow\n")
    assert guess(tmp_path)[0] == "yolo"
    read = found("yolo", tmp_path)
    assert things(read) == [("1.jpg", [("dog", [75, 25, 125, 75]), ("cat", [20, 10, 40, 30])]), ("2.jpg", [])]
    assert {item.split for item in read if isinstance(item, Item)} == {"train"}
    assert skips(read) == ["an image without a label file"] and Classes(("cat", "dog", "cow")) in read


def test_yolo_without_names_says_so(tmp_path: Path) -> None:
    put(tmp_path, "train_1.jpg")
    put_text(tmp_path / "train_1.txt", "7 0.5 0.5 0.5 0.5")
    read = found("yolo", tmp_path)
    assert things(read) == [("train_1.jpg", [("7", [50, 25, 150, 75])])]
    assert [item.split for item in read if isinstance(item, Item)] == [None]  # a photo's own name is no split
    assert "no class names" in next(each.text for each in read if isinstance(each, Note))


def test_labelstudio_tasks_as_it_exports_them(tmp_path: Path) -> None:
    put(tmp_path, "photo.jpg", "other.jpg")

    def result(type_: str, **value: Any) -> dict[str, Any]:
        return {
            "from_name": "x",
            "to_name": "image",
            "type": type_,
            "original_width": 200,
            "original_height": 100,
            "value": value,
        }

    box = {"x": 10, "y": 20, "width": 30, "height": 40, "rotation": 0, "rectanglelabels": ["cat"]}
    turned = box | {"x": 50, "rotation": 90, "rectanglelabels": ["dog"]}
    tasks = [
        {
            "id": 1,
            "data": {"image": "/data/upload/3/0a1b2c3d-photo.jpg"},
            "annotations": [
                {"was_cancelled": True, "result": []},
                {
                    "result": [
                        result("rectanglelabels", **box),
                        result("rectanglelabels", **turned),
                        result("textarea", text=["why", "so"]),
                    ]
                },
            ],
            "predictions": [{"result": [], "score": 0.1}],
        },
        {
            "data": {"image": "/data/local-files/?d=other.jpg"},
            "predictions": [
                {"model_version": "m1", "score": 0.7, "result": [result("rectanglelabels", **box) | {"score": 0.6}]}
            ],
        },
        {"data": {"image": "photo.jpg"}, "annotations": []},
    ]
    file = put_text(tmp_path / "tasks.json", tasks)
    assert guess(file) == ("labelstudio", "a JSON list of tasks with data and annotations")
    read = found("labelstudio", file)
    # 90 degrees clockwise about the top left corner (100, 20): 60 wide, 40 high -> from 60 to 100 and 20 to 80
    assert things(read) == [
        ("photo.jpg", [("cat", [20, 20, 80, 60]), ("dog", [60, 20, 100, 80])]),
        ("other.jpg", [("cat", [20, 20, 80, 60])]),
    ]
    items = [item for item in read if isinstance(item, Item)]
    assert items[0].rationale == "why\nso" and items[1].meta == {"model": "m1", "scores": [0.6]}
    assert skips(read) == ["a task that nobody annotated"]


def test_labelstudio_choices_and_numbers(tmp_path: Path) -> None:
    put(tmp_path, "1.jpg")
    results = [
        {"type": "choices", "from_name": "class", "value": {"choices": ["cat"]}},
        {"type": "number", "from_name": "joy", "value": {"number": 0.75}},
        {"type": "number", "from_name": "fear", "value": {"number": 0.25}},
    ]
    file = put_text(tmp_path / "a.json", [{"data": {"image": "1.jpg"}, "annotations": [{"result": results}]}])
    for task, annotation in (("classification", "cat"), ("distribution", {"joy": 0.75, "fear": 0.25})):
        assert [item.annotation for item in found("labelstudio", file, task) if isinstance(item, Item)] == [annotation]


def test_cvat_shapes_tags_and_turned_boxes(tmp_path: Path) -> None:
    put(tmp_path, "images/1.jpg")
    inner = """<tag label="indoor" source="manual"/>
      <box label="cat" xtl="10" ytl="10" xbr="30" ybr="20" rotation="90.0" occluded="0" z_order="0"/>
      <polygon label="dog" points="5.5,6;9,7;8,20"/>
      <mask label="cow" rle="1, 2" left="3" top="4" width="5" height="6"/>
      <polyline label="road" points="1,2;3,4"/>"""
    head = '<image id="0" name="1.jpg" subset="Test" width="200" height="100">'
    text = f"<annotations><version>1.1</version>{head}{inner}</image></annotations>"
    file = put_text(tmp_path / "annotations.xml", text)
    read = found("cvat", file)
    assert things(read) == [("1.jpg", [("cat", [15, 5, 25, 25]), ("dog", [5.5, 6, 9, 20]), ("cow", [3, 4, 8, 10])])]
    assert skips(read) == ["a polyline, which is no box"]
    (item,) = [item for item in found("cvat", file, "classification") if isinstance(item, Item)]
    assert (item.annotation, item.split) == ("indoor", "test")


def test_cvat_tracks_of_a_video(tmp_path: Path) -> None:
    put(tmp_path, "images/frame_000000.jpg", "images/frame_000005.jpg")
    box = '<box frame="{}" outside="{}" xtl="1" ytl="2" xbr="3" ybr="4"/>'
    shapes = box.format(0, 0) + box.format(5, 1)
    file = put_text(tmp_path / "a.xml", f'<annotations><track id="0" label="cat">{shapes}</track></annotations>')
    assert things(found("cvat", file)) == [("frame_000000.jpg", [("cat", [1, 2, 3, 4])])]


def test_labelme_shapes_and_flags(tmp_path: Path) -> None:
    put(tmp_path, "a/1.jpg", "b/1.jpg")
    shapes = [
        {"label": "cat", "points": [[30, 40], [10, 20]], "shape_type": "rectangle"},
        {"label": "dog", "points": [[50, 50], [53, 54]], "shape_type": "circle"},
        {"label": "cow", "points": [[1, 2], [3, 9], [7, 5]], "shape_type": "polygon"},
        {"label": "eye", "points": [[1, 2]], "shape_type": "point"},
    ]
    put_text(
        tmp_path / "a" / "1.json",
        {"shapes": shapes, "imagePath": "..\\photos\\1.jpg", "imageWidth": 200, "imageHeight": 100},
    )
    put_text(tmp_path / "b" / "1.json", {"shapes": [], "imagePath": "1.jpg", "flags": {"indoor": True, "night": False}})
    read = found("labelme", tmp_path)
    assert things(read) == [("1.jpg", [("cat", [10, 20, 30, 40]), ("dog", [45, 45, 55, 55]), ("cow", [1, 2, 7, 9])])]
    assert [item.group for item in read if isinstance(item, Item)] == ["a/1.jpg"]
    assert skips(read)[1:] == [
        "a flag of the whole image, which is no box",
        "an image with only things that are no box",
    ]
    classified = found("labelme", tmp_path / "b" / "1.json", "classification")
    assert [item.annotation for item in classified if isinstance(item, Item)] == ["indoor"]


def test_openimages_names_groups_and_decimal_commas(tmp_path: Path) -> None:
    put(tmp_path, "images/train/ab12.jpg", "images/test/ab12.jpg")
    head = "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsGroupOf\n"
    put_text(
        tmp_path / "train-annotations-bbox.csv",
        head + 'ab12,x,/m/01,0.9,"0,25",0.5,0.1,0.3,0\nab12,x,/m/02,1,0,1,0,1,1\n',
    )
    put_text(tmp_path / "class-descriptions.csv", "/m/01,Cat\n/m/02,Crowd\n")
    assert guess(tmp_path)[0] == "openimages"
    read = found("openimages", tmp_path)
    assert things(read) == [("ab12.jpg", [("Cat", [50, 10, 100, 30])])]
    (item,) = [item for item in read if isinstance(item, Item)]
    assert item.image.parent.name == "train" and item.split == "train" and item.meta == {"scores": [0.9]}
    assert skips(read) == ["a crowd (iscrowd), not one thing"]


def test_csv_boxes_and_distributions(tmp_path: Path) -> None:
    put(tmp_path, "images/1.jpg", "images/2.jpg")
    table = put_text(
        tmp_path / "a.csv", "filename;class;x1;y1;w;h\n1.jpg;cat;1;2;3;4\n2.jpg;;;;;\n1.jpg;dog;5;6;7.5;8\n"
    )
    assert guess(table)[0] == "csv"
    assert things(found("csv", table)) == [("1.jpg", [("cat", [1, 2, 4, 6]), ("dog", [5, 6, 12.5, 14])]), ("2.jpg", [])]
    table = put_text(tmp_path / "b.csv", "image,width,height,joy,fear\n1.jpg,200,100,0.25,0.75\n2.jpg,200,100,,1\n")
    read = [item.annotation for item in found("csv", table, "distribution") if isinstance(item, Item)]
    assert read == [{"joy": 0.25, "fear": 0.75}, {"fear": 1}]


def test_sources_that_fit_no_format_or_several_are_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="neither images nor annotations"):
        guess(tmp_path)
    put_text(tmp_path / "a.json", {"images": [], "annotations": [], "categories": []})
    put_text(tmp_path / "a.xml", "<annotations/>")
    with pytest.raises(UserError, match=r"several formats: coco \(.*\); cvat \(.*\)\. Name one"):
        guess(tmp_path)
    put_text(tmp_path / "dataset.yaml", "name: x")
    with pytest.raises(UserError, match="a dataset already"):
        guess(tmp_path)


NOTES = ("README.md", "cat/notes.md", "LICENSE", "Readme.dataset.txt", "credits.txt", "dog/a.html", "a.pdf", ".hidden")


def test_notes_beside_folders_of_classes_do_not_defeat_the_guess(tmp_path: Path) -> None:
    put(tmp_path, "cat/1.jpg", "dog/2.jpg")
    for name in NOTES:
        put_text(tmp_path / name, "Pictures of\na summer\n")
    assert guess(tmp_path)[0] == "folders"
    put_text(tmp_path / "cat" / "LICENSE", "free")
    assert not [each for each in found("folders", tmp_path, "classification") if isinstance(each, Problem)]


@pytest.mark.parametrize(("name", "text"), [("list.txt", "cat/1.jpg 0\n"), ("labels/2.txt", ""), ("a.json", "{}")])
def test_what_may_annotate_defeats_the_guess_of_folders_and_a_format_can_be_named(
    tmp_path: Path, name: str, text: str
) -> None:
    put(tmp_path, "cat/1.jpg", "dog/2.jpg")
    put_text(tmp_path / name, text)
    with pytest.raises(
        UserError, match=rf"no known format .* Name one: rise data import folders {tmp_path} --out \.\.\."
    ):
        guess(tmp_path)


def test_a_large_coco_file_is_recognised_by_its_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    box = {"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]}
    images = [{"id": number, "file_name": f"{number}.jpg"} for number in range(200)]
    content = {"info": {}, "images": images, "annotations": [box] * 200, "categories": [{"id": 1, "name": "cat"}]}
    file = put_text(tmp_path / "a.json", content)
    monkeypatch.setattr("rise_vlm.data.formats.guessing.WHOLE", 1000)
    monkeypatch.setattr("rise_vlm.data.formats.guessing.HEAD", 500)
    assert guess(file)[0] == "coco"


def test_columns_of_a_table_that_are_not_used_may_be_called_anything(tmp_path: Path) -> None:
    put(tmp_path, "1.jpg")
    table = put_text(tmp_path / "a.csv", "image,label,file,class,,\n0,0,1.jpg,cat,,\n")
    (item,) = found("csv", table, "classification", columns=("file", "class"))
    assert isinstance(item, Item) and (item.image.name, item.annotation) == ("1.jpg", "cat")
