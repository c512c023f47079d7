"""Exporting: what is written, where, what is told; and a model's answers as an annotation tool wants them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from PIL import Image

from rise_vlm.cli import run
from rise_vlm.data import Card, DatasetWriter
from rise_vlm.data.formats import FORMATS
from rise_vlm.data.formats.base import Entry, Target

BOXES = [{"label": "cat", "box": [2, 1, 12, 6]}, {"label": "dog", "box": [0, 0, 20, 10]}]


@pytest.fixture
def detections(tmp_path: Path) -> Path:
    """Two splits with an image of the same name, one of them empty, one with a rationale."""
    card = Card(name="pets", task="detection", classes=["cat", "dog", "cow"])
    with DatasetWriter(tmp_path / "pets", card) as writer:
        for split, annotation, rationale in (("train", BOXES, "Ears."), ("test", [], None)):
            image = Image.new("RGB", (20, 10), (len(split), 0, 0))
            writer.add(split, id=f"{split} 1/a", image=image, annotation=annotation, rationale=rationale)
    return tmp_path / "pets"


def rise(capsys: pytest.CaptureFixture[str], *arguments: Any) -> tuple[int, str, str]:
    capsys.readouterr()
    code = run([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_coco_as_others_read_it(capsys: pytest.CaptureFixture[str], detections: Path, tmp_path: Path) -> None:
    code, out, _ = rise(capsys, "data", "export", detections, "coco", "--out", tmp_path / "out")
    assert code == 0 and "train: 1 records" in out and "Not kept by 'coco': rationales (1)" in out
    content = json.loads((tmp_path / "out" / "annotations" / "instances_train.json").read_text())
    assert [category["name"] for category in content["categories"]] == ["cat", "dog", "cow"]
    assert [(box["category_id"], box["bbox"], box["area"]) for box in content["annotations"]] == [
        (1, [2, 1, 10, 5], 50),
        (2, [0, 0, 20, 10], 200),
    ]
    (image,) = content["images"]
    assert (tmp_path / "out" / "images" / "train" / image["file_name"]).is_file() and image["width"] == 20


def test_voc_and_yolo_as_others_read_them(capsys: pytest.CaptureFixture[str], detections: Path, tmp_path: Path) -> None:
    for format in ("voc", "yolo"):
        assert rise(capsys, "data", "export", detections, format, "--out", tmp_path / format)[0] == 0
    (xml,) = [path for path in (tmp_path / "voc" / "Annotations").iterdir() if "train" in path.name]
    root = ElementTree.parse(xml).getroot()
    assert [int(each.text or "") for each in root.findall("object/bndbox/*")] == [2, 1, 12, 6, 0, 0, 20, 10]
    assert (tmp_path / "voc" / "JPEGImages" / (root.findtext("filename") or "")).is_file()
    (label,) = (tmp_path / "yolo" / "labels" / "train").iterdir()
    assert label.read_text().splitlines()[0].split() == ["0", "0.35000000", "0.35000000", "0.50000000", "0.50000000"]
    (empty,) = (tmp_path / "yolo" / "labels" / "test").iterdir()
    assert empty.read_text() == "" and (tmp_path / "yolo" / "images" / "test" / f"{empty.stem}.png").is_file()


def test_splits_images_and_json(capsys: pytest.CaptureFixture[str], detections: Path, tmp_path: Path) -> None:
    arguments = [
        "data",
        "export",
        detections,
        "coco",
        "--out",
        tmp_path / "out",
        "--split",
        "test",
        "--no-images",
        "--json",
    ]
    code, out, _ = rise(capsys, *arguments)
    result = json.loads(out)
    assert code == 0 and result["splits"] == {"test": 1} and result["lost"] == {"record ids": 1}
    assert [path.name for path in (tmp_path / "out").rglob("*") if path.is_file()] == ["instances_test.json"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["cocoo"], "Did you mean 'coco'?"),
        (["folders"], "'folders' cannot hold detection: it writes classification"),
        (["emotion6"], "it is only read"),
        (["coco", "--split", "trian"], "Did you mean 'train'?"),
    ],
)
def test_wrong_use_of_export_is_told(
    capsys: pytest.CaptureFixture[str], detections: Path, tmp_path: Path, arguments: list[str], told: str
) -> None:
    code, _, err = rise(capsys, "data", "export", detections, *arguments, "--out", tmp_path / "out")
    assert code == 2 and told in err and len(err.splitlines()) == 1 and not (tmp_path / "out").exists()


def test_nothing_is_overwritten(capsys: pytest.CaptureFixture[str], detections: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("x")
    code, _, err = rise(capsys, "data", "export", detections, "coco", "--out", tmp_path / "out")
    assert code == 2 and "not an empty folder" in err and (tmp_path / "out" / "mine").read_text() == "x"


@pytest.mark.parametrize("class_", ["../up", "a/b", ".hidden"])
def test_a_class_that_cannot_name_a_folder_is_told(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, class_: str
) -> None:
    with DatasetWriter(tmp_path / "set", Card(name="x", task="classification", classes=[class_, "b"])) as writer:
        writer.add("train", id="1", image=Image.new("RGB", (4, 4)), annotation=class_)
    code, _, err = rise(capsys, "data", "export", tmp_path / "set", "folders", "--out", tmp_path / "a" / "out")
    assert code == 2 and f"'{class_}' cannot name a folder" in err
    assert sorted(path.name for path in tmp_path.rglob("*.png")) == ["1.png"]


def answer(**more: Any) -> Entry:
    values = {"annotation": BOXES[:1], "rationale": "Whiskers.", "score": 0.8, "scores": (0.9,), "model": "rise-2b"}
    return Entry("7", "test", "1.png", "images/1.png", 20, 10, **(values | more))


def test_answers_of_a_model_become_label_studio_predictions(tmp_path: Path) -> None:
    target = Target("detection", ("cat", "dog"))
    FORMATS["labelstudio"].load_writer().write_file([answer()], tmp_path / "tasks.json", target)
    (task,) = json.loads((tmp_path / "tasks.json").read_text())
    (prediction,) = task["predictions"]
    assert "annotations" not in task and (prediction["score"], prediction["model_version"]) == (0.8, "rise-2b")
    box, text = prediction["result"]
    value = {"x": 10, "y": 10, "width": 50, "height": 50, "rotation": 0, "rectanglelabels": ["cat"]}
    assert (box["type"], box["value"], box["score"]) == ("rectanglelabels", value, 0.9)
    assert (text["type"], text["value"], text["from_name"]) == ("textarea", {"text": ["Whiskers."]}, "rationale")


@pytest.mark.parametrize("prefix", ["/data/local-files/?d=set/", "https://host:8080/a/"])
def test_label_studio_gets_addresses_that_it_can_show_and_that_are_read_back(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, prefix: str
) -> None:
    with DatasetWriter(tmp_path / "set", Card(name="x", task="classification", classes=["a", "b"])) as writer:
        for name in "ab":
            Image.new("RGB", (4, 4)).save(tmp_path / f"{name} 100%+.png")
            writer.add("train", id=name, image=tmp_path / f"{name} 100%+.png", annotation=name)
    export = ["data", "export", tmp_path / "set", "labelstudio", "--out", tmp_path / "out", "--image-prefix", prefix]
    assert rise(capsys, *export)[0] == 0
    tasks = json.loads((tmp_path / "out" / "tasks_train.json").read_text())
    assert tasks[0]["data"]["image"] == f"{prefix}images/train/a%20100_%2B.png"
    back = ["data", "import", tmp_path / "out", "--task", "classification", "--images", tmp_path / "out" / "images"]
    code, out, _ = rise(capsys, *back, "--out", tmp_path / "again")
    assert code == 0 and "train: 2 records" in out
    export[3:6] = ["coco", "--out", tmp_path / "no"]
    code, _, err = rise(capsys, *export)
    assert code == 2 and "--image-prefix means nothing to the format 'coco'" in err


def test_answers_of_a_model_become_coco_with_scores(tmp_path: Path) -> None:
    target = Target("detection", ("cat", "dog"))
    FORMATS["coco"].load_writer().write_file([answer()], tmp_path / "out.json", target)
    (box,) = json.loads((tmp_path / "out.json").read_text())["annotations"]
    assert box["score"] == 0.9 and box["bbox"] == [2, 1, 10, 5]


def test_import_without_a_format_says_what_it_saw(
    capsys: pytest.CaptureFixture[str], detections: Path, tmp_path: Path
) -> None:
    rise(capsys, "data", "export", detections, "yolo", "--out", tmp_path / "yolo")
    arguments = ["data", "import", tmp_path / "yolo", "--out", tmp_path / "again", "--task", "detection"]
    code, out, _ = rise(capsys, *arguments)
    assert code == 0 and "Taken for 'yolo': data.yaml and text files. Task: detection." in out
    code, _, err = rise(capsys, "data", "import", "a", "b", "c", "--out", tmp_path / "no")
    assert code == 2 and "not 3 words. A path with spaces needs quotes." in err
    code, _, err = rise(capsys, "data", "import", "coco", "--out", tmp_path / "no")
    assert code == 2 and "needs a source too" in err


def test_the_question_of_the_dataset_goes_with_every_record(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    card = Card(name="x", task="classification", classes=["a", "b"], question="Which?", synonyms={"a": ["ay"]})
    with DatasetWriter(tmp_path / "set", card) as writer:
        writer.add("train", id="1", image=Image.new("RGB", (4, 4)), annotation="a")
    code, out, _ = rise(capsys, "data", "export", tmp_path / "set", "csv", "--out", tmp_path / "out")
    assert code == 0 and "Which?" in (tmp_path / "out" / "labels.csv").read_text()
    assert "Not kept by 'csv': synonyms of classes (1)" in out
