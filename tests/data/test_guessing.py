"""What a source is taken for where it is not plain, and what is said where it is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from format_kit import found, put, put_text, things

from rise_vlm.cli import run
from rise_vlm.data import Dataset
from rise_vlm.data.formats.base import Item, Note
from rise_vlm.data.formats.guessing import guess
from rise_vlm.errors import UserError


def rise(capsys: pytest.CaptureFixture[str], *words: Any) -> tuple[int, str]:
    code = run(["data", "import", *map(str, words)])
    told = capsys.readouterr()
    return code, told.out + told.err


@pytest.mark.parametrize("inner", ["dataset", "a/dataset"])
@pytest.mark.parametrize("splits", [("",), ("train/", "test/")], ids=["no splits", "splits"])
def test_a_folder_that_stands_alone_is_gone_into(inner: str, splits: tuple[str, ...], tmp_path: Path) -> None:
    put(tmp_path, *(f"{inner}/{split}{name}/1.jpg" for split in splits for name in ("cat", "dog")))
    assert guess(tmp_path)[0] == "folders"
    read = found("folders", tmp_path, "classification")
    assert {item.annotation for item in read if isinstance(item, Item)} == {"cat", "dog"}
    assert str(tmp_path / inner) in next(each.text for each in read if isinstance(each, Note))


def test_a_single_class_is_told_of_the_source(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(tmp_path / "source", "cat/1.jpg", "cat/2.jpg")
    code, told = rise(capsys, tmp_path / "source", "--out", tmp_path / "out")
    assert code == 2 and "has one class, 'cat'; classification needs two or more" in told


def test_the_card_of_yolo_stands_for_its_folder(tmp_path: Path) -> None:
    put(tmp_path, "1.jpg")
    put_text(tmp_path / "1.txt", "0 0.5 0.5 0.5 0.5")
    card = put_text(tmp_path / "data.yaml", "names: [cat]")
    assert guess(card)[0] == "yolo"
    assert things(found("yolo", card)) == [("1.jpg", [("cat", [50, 25, 150, 75])])]


def test_what_is_no_source_is_told_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a\.zip is an archive; unpack it"):
        guess(put_text(tmp_path / "a.zip", "PK"))
    put(tmp_path / "photos", "1.jpg", "2.jpg")
    with pytest.raises(UserError, match="photos holds images and nothing that annotates them. 'rise annotate MODEL"):
        guess(tmp_path / "photos")
    with pytest.raises(UserError, match="model's results for COCO, which are not read"):
        guess(put_text(tmp_path / "r.json", [{"image_id": 1, "category_id": 1, "bbox": [1, 1, 5, 5], "score": 0.5}]))
    short = [{"image": "1.jpg", "choice": "cat", "annotator": 1, "annotation_id": 3, "lead_time": 2.5}]
    for file in (
        put_text(tmp_path / "a.json", short),
        put_text(tmp_path / "a.csv", "image,annotation_id,annotator,label\n1.jpg,3,1,[]\n"),
    ):
        with pytest.raises(UserError, match="Label Studio's JSON-MIN or CSV, which are not read; export 'JSON' there"):
            guess(file)


def test_of_a_folder_with_several_tables_one_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(tmp_path, "1.jpg", "2.jpg")
    for name, label in (("a", "cat"), ("b", "dog")):
        put_text(tmp_path / f"{name}.csv", f"image,label\n1.jpg,{label}\n2.jpg,hen\n")
    code, told = rise(capsys, tmp_path, "--out", tmp_path / "out")
    assert code == 2 and f"rise data import csv {tmp_path}" in told
    code, told = rise(capsys, "csv", tmp_path, "--out", tmp_path / "out")
    assert code == 2 and f"a folder of 2 tables: name one, such as {tmp_path / 'a.csv'}" in told


def test_where_a_source_gives_nothing_for_its_usual_task_it_is_told_for_which_it_would(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(tmp_path, "1.jpg", "2.jpg")
    choice = {"from_name": "class", "to_name": "image", "type": "choices"}
    tasks = [
        {"data": {"image": f"{name}.jpg"}, "annotations": [{"result": [choice | {"value": {"choices": [label]}}]}]}
        for name, label in (("1", "cat"), ("2", "dog"))
    ]
    put_text(tmp_path / "tasks.json", tasks)
    code, told = rise(capsys, tmp_path, "--out", tmp_path / "out")
    assert code == 1 and told.strip().endswith("It was read for detection; --task classification would give 2.")
    code, told = rise(capsys, tmp_path, "--out", tmp_path / "out", "--task", "classification", "--val", 0, "--test", 0)
    assert code == 0 and "train: 2 records" in told


def test_a_folder_of_several_years_of_voc_is_told_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for year in ("VOC2007", "VOC2012"):
        put(tmp_path, f"{year}/JPEGImages/1.jpg")
        put_text(tmp_path / year / "Annotations" / "1.xml", "<annotation><filename>1.jpg</filename></annotation>")
    code, told = rise(capsys, tmp_path, "--out", tmp_path / "out")
    assert code == 2 and f"Import {tmp_path / 'VOC2007'} and {tmp_path / 'VOC2012'}, one after the other" in told


def test_tables_in_utf_16_are_read(tmp_path: Path) -> None:
    put(tmp_path, "1.jpg", "é.jpg")
    table = tmp_path / "a.csv"
    table.write_text("image;label\n1.jpg;cat\né.jpg;dög\n", encoding="utf-16")
    assert guess(table)[0] == "csv"
    items = [item for item in found("csv", table, "classification") if isinstance(item, Item)]
    assert [(item.image.name, item.annotation) for item in items] == [("1.jpg", "cat"), ("é.jpg", "dög")]


def test_images_named_for_a_table_are_looked_for_below_and_asked_for_where_none_is_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(tmp_path, "photos/a/1.jpg", "photos/b/2.jpg")
    table = put_text(tmp_path / "labels" / "a.csv", "image,label\n1.jpg,cat\n2.jpg,dog\n")
    command = ["csv", table, "--out", tmp_path / "out"]
    code, told = rise(capsys, *command)
    assert code == 1 and "name their folder with --images" in told
    code, told = rise(capsys, *command, "--images", tmp_path / "photos", "--val", 0, "--test", 0)
    assert code == 0 and "train: 2 records" in told and len(list(Dataset.open(tmp_path / "out").records("train"))) == 2


def test_a_source_with_a_train_split_alone_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(tmp_path / "source", "train/cat/1.jpg", "train/dog/2.jpg")
    for more, said in (((), True), (("--val", 0.5), False)):
        _, told = rise(capsys, tmp_path / "source", "--out", tmp_path / "out", "--force", *more)
        assert ("has a train split alone; --val 0.1 --test 0.2" in told) == said
