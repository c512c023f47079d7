"""Data sets of the hub: Parquet, image folders, what save_to_disk wrote, and what the cache holds by a name."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from format_kit import SIZE, found, put, put_text, skips
from PIL import Image

from rise_vlm.cli import run
from rise_vlm.data import Dataset
from rise_vlm.data.checking import BadRow, Problem
from rise_vlm.data.formats import FORMATS, hub
from rise_vlm.data.formats.base import Item, Note
from rise_vlm.data.formats.guessing import guess
from rise_vlm.errors import DataError

datasets = pytest.importorskip("datasets", reason="datasets is not installed (extra hub)")

LABEL = {"img": {"_type": "Image"}, "fine_label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}
NUMBERS = {"feature": {"feature": {"dtype": "float64", "_type": "Value"}, "_type": "List"}, "_type": "List"}
BOXES = {
    "image": {"_type": "Image"},
    "objects": {"bbox": NUMBERS, "category": {"feature": LABEL["fine_label"], "_type": "List"}},
}
BOXED = [{"bbox": [[1.0, 2.0, 3.0, 4.0]], "category": [1]}, {"bbox": [], "category": []}]


def table(folder: Path, columns: dict[str, Any], features: dict[str, Any]) -> pyarrow.Table:
    """Rows of two pictures, which it holds, with more columns."""
    put(folder, "1.png", "2.png")
    Image.new("RGB", SIZE, "red").save(folder / "2.png")
    pictures = [{"bytes": (folder / name).read_bytes(), "path": name} for name in ("1.png", "2.png")]
    made = pyarrow.table({next(iter(features)): pictures} | columns)
    return made.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})


def saved(folder: Path, made: pyarrow.Table, splits: tuple[str, ...] = ()) -> Path:
    """The table as save_to_disk leaves it, once or once for each split."""
    whole = datasets.Dataset(made)
    (datasets.DatasetDict(dict.fromkeys(splits, whole)) if splits else whole).save_to_disk(str(folder))
    return folder


def notes(read: list[Any]) -> str:
    return " ".join(each.text for each in read if isinstance(each, Note))


def truths(read: list[Any]) -> list[tuple[str | None, Any]]:
    return [(item.split, item.annotation) for item in read if isinstance(item, Item)]


def test_what_save_to_disk_wrote_is_read_as_its_parquet_is(tmp_path: Path) -> None:
    made = table(tmp_path, {"fine_label": [1, 0], "coarse_label": [0, 0]}, LABEL)
    disk = saved(tmp_path / "disk", made, ("train", "test"))
    (tmp_path / "files").mkdir()
    for split in ("train", "test"):
        pyarrow.parquet.write_table(made, tmp_path / "files" / f"{split}.parquet")
    assert guess(disk)[0] == "hub" and guess(tmp_path / "files")[0] == "parquet"
    ours = {
        name: found(name, source, "classification")
        for name, source in (("hub", disk), ("parquet", disk.parent / "files"))
    }
    assert sorted(truths(ours["hub"])) == sorted(truths(ours["parquet"]))  # fmt: skip
    assert sorted(truths(ours["hub"])) == [("test", "cat"), ("test", "dog"), ("train", "cat"), ("train", "dog")]
    for read in ours.values():
        assert "taken from 'img' and 'fine_label'" in notes(read) and "--columns" in notes(read)
        assert len({item.group for item in read if isinstance(item, Item)}) == 2  # in both splits the same


@pytest.mark.parametrize("inner", [False, True], ids=["lists", "objects"])
def test_boxes_of_the_hub_are_x_y_width_height(inner: bool, tmp_path: Path) -> None:
    objects = BOXED if not inner else [[{"bbox": [1.0, 2.0, 3.0, 4.0], "category": "dog"}], []]
    made = table(tmp_path, {"objects": objects}, BOXES)
    if inner:
        made = made.replace_schema_metadata({})
    pyarrow.parquet.write_table(made, tmp_path / "a.parquet")
    sources = {"parquet": tmp_path / "a.parquet"} | ({} if inner else {"hub": saved(tmp_path / "disk", made)})
    for format, source in sources.items():
        assert FORMATS[format].task_for(source) == "detection"
        read = found(format, source)
        assert truths(read) == [(None, [{"label": "dog", "box": [1, 2, 4, 6]}]), (None, [])]
        assert "x, y, width, height" in notes(read)


def test_columns_that_the_user_names_count_and_wrong_ones_are_refused(tmp_path: Path) -> None:
    made = table(tmp_path, {"fine_label": [1, -1], "coarse_label": ["a", "b"]}, LABEL)
    disk = saved(tmp_path / "disk", made)
    assert truths(found("hub", disk, "classification", columns=("img", "coarse_label"))) == [(None, "a"), (None, "b")]
    read = found("hub", disk, "classification")
    assert truths(read) == [(None, "dog")] and skips(read) == ["a row without a label (-1)"]
    with pytest.raises(DataError, match=r"no column 'coarse' \(it has: img, fine_label, coarse_label\)"):
        found("hub", disk, "classification", columns=("img", "coarse"))
    with pytest.raises(DataError, match="no column for the boxes .*--columns IMAGE,LABEL"):
        found("hub", disk, "detection")


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
def test_image_folders_of_the_hub_are_told_by_their_metadata(suffix: str, tmp_path: Path) -> None:
    put(tmp_path, "train/a/1.png", "train/2.png", "train/3.png", "test/1.png")
    for split, rows in (("train", [("a/1.png", "cat"), ("2.png", "dog")]), ("test", [("1.png", "cat")])):
        rows = [{"file_name": name, "label": label} for name, label in rows]
        path = tmp_path / split / f"metadata.{suffix}"
        if suffix == "parquet":
            pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
        elif suffix == "jsonl":
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        else:
            with path.open("w") as file:
                writer = csv.DictWriter(file, ["file_name", "label"])
                writer.writeheader()
                writer.writerows(rows)
    assert guess(tmp_path) == ("imagefolder", f"metadata.{suffix} beside images")
    read = found("imagefolder", tmp_path, "classification")
    items = [item for item in read if isinstance(item, Item)]
    assert {(item.image.relative_to(tmp_path).as_posix(), item.split, item.annotation) for item in items} == {
        ("train/a/1.png", "train", "cat"),
        ("train/2.png", "train", "dog"),
        ("test/1.png", "test", "cat"),
    }
    assert skips(read) == ["an image without a good row"]
    alone = found("imagefolder", tmp_path / "test" / f"metadata.{suffix}", "classification")
    assert [annotation for _, annotation in truths(alone)] == ["cat"]


def test_a_picture_of_another_split_is_not_taken_for_one_that_is_missing(tmp_path: Path) -> None:
    put(tmp_path, "train/1.png", "test/2.png")
    put_text(tmp_path / "train/metadata.jsonl", '{"file_name": "2.png", "label": "cat"}\n')
    items = [item for item in found("imagefolder", tmp_path, "classification") if isinstance(item, Item)]
    assert [item.image for item in items] == [tmp_path / "train/2.png"] and not items[0].image.exists()


def test_objects_of_an_image_folder_and_its_bad_rows(tmp_path: Path) -> None:
    put(tmp_path, "1.png", "2.png")
    rows = [{"file_name": "1.png", "objects": {"bbox": [[1, 2, 3, 4]], "categories": [0]}}, {"objects": {}}, 3]
    rows += [{"file_name": name, "objects": BOXED[1]} for name in ("../secret.png", "none.png")]
    put_text(tmp_path / "metadata.jsonl", "".join(json.dumps(row) + "\n" for row in rows) + "{")
    read = found("imagefolder", tmp_path)
    reasons = [each.reason for each in read if isinstance(each, Problem)]
    assert truths(read)[0] == (None, [{"label": "0", "box": [1, 2, 4, 6]}]) and "called by their numbers" in notes(read)
    for said, reason in zip(
        ("holds no image", "must be an object", "leaves the folder", "no JSON"), reasons, strict=True
    ):
        assert said in reason


def test_a_save_to_disk_folder_that_leads_out_or_is_cut_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    disk = saved(tmp_path / "disk", table(tmp_path, {"fine_label": [1, 0]}, LABEL))
    arrow, state = next(disk.glob("*.arrow")), disk / "state.json"
    sound, content = state.read_text(), arrow.read_bytes()

    def refused(said: str) -> None:
        assert run(["data", "import", "hub", str(disk), "--out", str(tmp_path / "out")]) in (1, 2)
        told = capsys.readouterr().err
        assert said in told and "Traceback" not in told and not (tmp_path / "out").exists()

    (tmp_path / "secret.arrow").write_bytes(content)
    state.write_text(sound.replace(arrow.name, "../secret.arrow"))
    refused("leaves the folder")
    state.write_text("[" * 10_000)
    refused("nested too deeply")
    state.write_text(sound)
    for tenth in range(10):
        arrow.write_bytes(content[: len(content) * tenth // 10])
        refused("cannot be read by 'datasets'")
    arrow.unlink()
    refused("missing or no regular file")
    os.mkfifo(arrow)
    refused("missing or no regular file")


def test_names_of_the_hub_are_read_from_the_cache_and_never_fetched_offline(tmp_path: Path) -> None:
    cache = tmp_path / "home" / "datasets" / "user___pets" / "default" / "0.0.0" / "abc"
    cache.mkdir(parents=True)
    made = table(tmp_path, {"fine_label": [1, 0]}, LABEL)
    with pyarrow.ipc.new_stream(str(cache / "pets-train.arrow"), made.schema) as writer:
        writer.write_table(made)
    info = {"features": LABEL, "config_name": "default", "dataset_name": "pets", "version": "0.0.0"}
    info |= {"splits": {"train": {"name": "train", "num_examples": 2, "dataset_name": "pets"}}}
    put_text(cache / "dataset_info.json", info)
    environment = os.environ | {"HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1"}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)

    def rise(name: str) -> subprocess.CompletedProcess[str]:
        words = [sys.executable, "-m", "rise_vlm", "data", "import", "hub", name, "--out", str(tmp_path / name)]
        return subprocess.run(words, capture_output=True, text=True, env=environment, timeout=120)

    told = rise("user/pets")
    assert told.returncode == 0, told.stderr
    assert Dataset.open(tmp_path / "user/pets").card.classes == ["cat", "dog"]
    told = rise("user/others")
    assert told.returncode == 2 and "'user/others' cannot be had from the hub" in told.stderr
    assert "Traceback" not in told.stderr


def test_a_path_out_of_the_cache_spoils_its_row_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    put(tmp_path, "cache/1.png", "secret.png")
    images = hub._Cached()
    assert images.find(str(tmp_path / "cache" / "1.png")) == tmp_path / "cache" / "1.png"
    for path in ("secret.png", "cache/../secret.png"):
        with pytest.raises(BadRow):
            images.find(str(tmp_path / path))


def test_a_name_that_is_none_and_a_folder_that_is_none_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for source, said in (("a/b/c", "no name of the hub"), (str(tmp_path), "as save_to_disk writes")):
        assert run(["data", "import", "hub", source, "--out", str(tmp_path / "out")]) == 2
        assert said in capsys.readouterr().err
    put_text(tmp_path / "out" / "dataset.yaml", "name: before")
    assert run(["data", "import", "hub", "user/pets", "--out", str(tmp_path / "out")]) == 2
    told = capsys.readouterr().err
    assert "holds a dataset already" in told and "Looking for" not in told
    with pytest.raises(DataError, match="rise data import hub user/pets"):
        guess(Path("user/pets"))
