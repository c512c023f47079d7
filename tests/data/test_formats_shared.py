"""Readers and writers on real files of other tools: one truth in many formats, and the fixtures of datumaro."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rise_vlm.data import Dataset
from rise_vlm.data.exporting import export_dataset
from rise_vlm.data.formats import FORMATS
from rise_vlm.data.formats.base import Item, Options
from rise_vlm.data.formats.guessing import guess
from rise_vlm.data.images import read_size
from rise_vlm.data.importing import import_dataset
from rise_vlm.data.upright import upright
from rise_vlm.errors import UserError

Find = Callable[[str], Path]
Truth = dict[str, list[tuple[str, list[float]]]]

VOC100 = {
    "voc": "pascalvoc_format",
    "voc (ImageNet)": "imagenet_format",
    "coco (v1)": "coco_format_v1/instances_default.json",
    "coco (v2)": "coco_format_v2",
    "yolo": "yolo_format",
    "openimages": "openimages_format/all_bounding_boxes.csv",
    "cvat": "cvat_format/annotations.xml",
    "labelme": "labelme_format",
}


def truth(format: str, source: Path, images: Path) -> Truth:
    """Image name -> labels and boxes, sorted."""
    options = Options(task="detection", images=images)
    read: Truth = {}
    for item in FORMATS[format].load_reader().read(source, options):
        if isinstance(item, Item):
            boxes = upright(item, read_size(item.image), options)
            read[item.image.name] = sorted((thing["label"], thing["box"]) for thing in boxes)
    return read


def differences(ours: Truth, theirs: Truth) -> float:
    """The greatest difference of a coordinate; the labels must be the same."""
    worst = 0.0
    for name, boxes in theirs.items():
        assert [label for label, _ in boxes] == [label for label, _ in ours[name]]
        for (_, a), (_, b) in zip(boxes, ours[name], strict=True):
            worst = max([worst, *(abs(x - y) for x, y in zip(a, b, strict=True))])
    return worst


def test_one_truth_in_eight_formats(shared_data: Find) -> None:
    folder = shared_data("det-voc100-multiformat") / "database"
    read = {name: truth(name.split()[0], folder / "gts" / path, folder / "images") for name, path in VOC100.items()}
    for name, path in VOC100.items():
        assert guess(folder / "gts" / path)[0] == name.split()[0]
        assert differences(read["voc"], read[name]) < 1e-2
        assert len(read[name]) == (5 if name == "labelme" else 100)
        assert sum(map(len, read[name].values())) == (12 if name == "labelme" else 273)


@pytest.fixture(scope="module")
def voc100(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Fifteen of the photos with their boxes, as a dataset."""
    folder = Path(__file__).parents[3] / "shared" / "data" / "det-voc100-multiformat" / "database"
    if not folder.is_dir():
        pytest.skip(f"the sample data {folder} are absent")
    source = tmp_path_factory.mktemp("voc")
    for xml in sorted((folder / "gts" / "pascalvoc_format").iterdir())[:15]:
        (source / xml.name).write_bytes(xml.read_bytes())
    out = source.parent / "set"
    import_dataset(FORMATS["voc"], source, out, Options(task="detection", images=folder / "images"))
    return Dataset.open(out)


def boxes(dataset: Dataset) -> dict[str, Any]:
    return {
        Path(record.images[0]).name: (split, [(t["label"], *map(float, t["box"])) for t in record.annotation])
        for split in dataset.splits
        for record in dataset.records(split)
    }


@pytest.mark.parametrize("name", [name for name, form in FORMATS.items() if "detection" in form.writes])
def test_photos_are_exported_and_read_again_the_same(name: str, voc100: Dataset, tmp_path: Path) -> None:
    export_dataset(name, FORMATS[name], voc100, tmp_path / "out")
    options = Options(task="detection")
    import_dataset(FORMATS[name], tmp_path / "out", tmp_path / "again", options, shares={"val": 0, "test": 0})
    ours, theirs = boxes(voc100), boxes(Dataset.open(tmp_path / "again"))
    assert ours.keys() == theirs.keys() and sum(len(found) for _, found in ours.values()) > 30
    for image, (split, found) in ours.items():
        assert theirs[image][0] == split and [box[0] for box in theirs[image][1]] == [box[0] for box in found]
        for mine, their in zip(found, theirs[image][1], strict=True):
            assert their[1:] == pytest.approx(mine[1:], abs=1e-3)


READABLE = {
    "coco_dataset/coco": ("coco", 2),
    "coco_dataset/coco_instances": ("coco", 2),
    "coco_dataset/coco_person_keypoints": ("coco", 2),
    "coco_dataset/coco_roboflow": ("coco", 2),
    "coco_dataset/mmdet_coco": ("coco", 2),
    "kaggle_dataset/relaxed_coco": ("coco", 2),
    "roboflow_dataset/coco": ("coco", 3),
    "voc_dataset/voc_dataset1": ("voc", 1),
    "voc_dataset/voc_dataset3": ("voc", 1),
    "kaggle_dataset/relaxed_voc1": ("voc", 1),
    "kaggle_dataset/relaxed_voc2": ("voc", 1),
    "roboflow_dataset/voc": ("voc", 3),
    "yolo_dataset/strict": ("yolo", 1),
    "yolo_dataset/labels": ("yolo", 2),
    "yolo_dataset/annotations": ("yolo", 1),
    "kaggle_dataset/relaxed_yolo": ("yolo", 2),
    "roboflow_dataset/yolo": ("yolo", 3),
    "cvat_dataset/for_images/export_task": ("cvat", 1),  # the other has a polygon without a label
    "cvat_dataset/for_video": ("cvat", 1),
    "open_images_dataset/v6": ("openimages", 1),  # of two images one shows a group only
    "vott_csv_dataset/dataset/train-export.csv": ("csv", 2),
    "kaggle_dataset/image_csv_det/ann.csv": ("csv", 3),
    "kaggle_dataset/image_csv_det/ann2.csv": ("csv", 3),
    "imagenet_dataset": ("folders", 3),
    "kaggle_dataset/image_csv/ann.csv": ("csv", 5),
    "kaggle_dataset/image_csv/ann_wo_ext.csv": ("csv", 5),
}
"""Fixture -> its format and how many images it annotates."""


@pytest.mark.parametrize("name", READABLE)
def test_readable_fixtures_are_recognised_and_read(name: str, shared_data: Find) -> None:
    source = shared_data("formats-datumaro-fixtures") / name
    format, number = READABLE[name]
    assert guess(source)[0] == format
    task = "classification" if format == "folders" or "image_csv/" in name else "detection"
    found = list(FORMATS[format].load_reader().read(source, Options(task=task)))
    items = [each for each in found if isinstance(each, Item)]
    assert len({item.group for item in items}) == number and all(item.image.is_file() for item in items)


def sources(folder: Path) -> list[Path]:
    """Every folder of the fixtures and every file that could be an annotation."""
    kinds = (".json", ".xml", ".csv", ".txt", ".yaml", ".names", ".data", ".tfrecord", ".pbtxt", ".meta")
    return [path for path in sorted(folder.rglob("*")) if path.is_dir() or path.suffix in kinds]


def test_every_fixture_imports_or_is_refused_with_a_reason(tmp_path: Path, shared_data: Find) -> None:
    taken = refused = 0
    for path in sources(shared_data("formats-datumaro-fixtures")):
        try:
            name, _ = guess(path)
        except UserError as error:
            assert str(path) in str(error) and len(str(error)) > 40
            refused += 1
            continue
        form = FORMATS[name]
        for task in form.tasks:
            out = tmp_path / f"{taken}"
            try:
                outcome = import_dataset(form, path, out, Options(task=task))
                assert sum(outcome.splits.values()) == sum(
                    1 for split in Dataset.open(out).splits for _ in Dataset.open(out).records(split)
                )
                taken += 1
            except UserError as error:
                assert str(path) in str(error) or "classes" in str(error)
                assert not out.exists()
                refused += 1
    assert taken >= 40 and refused >= 40
