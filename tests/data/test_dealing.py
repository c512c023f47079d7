"""``rise data split`` on a dataset on disk: what stays together, what is written, how it is undone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw

from rise_vlm.cli import run
from rise_vlm.data import Card, Dataset, DatasetWriter


def picture(seed: int) -> Image.Image:
    image = Image.new("RGB", (40, 30), (250, 250, 250))
    pen = ImageDraw.Draw(image)
    for bit in range(8):
        if (seed * 37 + 11) >> bit & 1:
            pen.rectangle((bit * 5, 0, bit * 5 + 4, 29), fill=(20 * bit, 90, 30))
    return image


@pytest.fixture
def one(tmp_path: Path) -> Path:
    """40 records of 2 classes in one split; records 2k and 2k+1 are of one patient."""
    with DatasetWriter(tmp_path / "set", Card(name="x", task="classification", classes=["a", "b"])) as writer:
        for at in range(40):
            meta = {"patient": at // 2, "site": {"name": "north" if at < 30 else "south"}}
            writer.add("train", id=f"r{at}", image=picture(at), annotation="ab"[at // 2 % 2], meta=meta)
    return tmp_path / "set"


def rise(capsys: pytest.CaptureFixture[str], *arguments: Any) -> tuple[int, str, str]:
    capsys.readouterr()
    code = run(["data", "split", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def homes(root: Path) -> dict[str, str]:
    opened = Dataset.open(root)
    return {record.id: split for split in opened.splits for record in opened.records(split, strict=True)}


def test_a_split_in_place_keeps_every_record_and_can_be_undone(capsys: pytest.CaptureFixture[str], one: Path) -> None:
    before = {path: path.read_bytes() for path in sorted(one.rglob("*")) if path.is_file()}
    code, out, _ = rise(capsys, one)
    assert code == 0 and "train: 32 records, 80.0% (asked 80.0%)" in out and "val: 4 records, 10.0%" in out
    assert len(homes(one)) == 40 and Dataset.open(one).splits == ["train", "val", "test"]
    undo = next(line for line in out.splitlines() if "To undo: mv " in line).partition("mv ")[2].split()
    assert before == {path: path.read_bytes() if path.name != "dataset.yaml" else before[path] for path in before}
    Path(undo[0]).replace(undo[1])
    assert set(homes(one).values()) == {"train"} and len(homes(one)) == 40


def test_the_same_seed_deals_the_same_and_another_otherwise(
    capsys: pytest.CaptureFixture[str], one: Path, tmp_path: Path
) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        assert rise(capsys, one, "--seed", seed, "--out", tmp_path / name)[0] == 0
    assert homes(tmp_path / "a") == homes(tmp_path / "b") != homes(tmp_path / "c")
    assert (tmp_path / "a" / "val.jsonl").read_bytes() == (tmp_path / "b" / "val.jsonl").read_bytes()


def test_a_new_dataset_is_whole_and_the_old_one_untouched(
    capsys: pytest.CaptureFixture[str], one: Path, tmp_path: Path
) -> None:
    before = sorted((path, path.stat().st_mtime_ns) for path in one.rglob("*"))
    code, out, _ = rise(capsys, one, "--out", tmp_path / "new", "--val", 0.25, "--test", 0, "--json")
    result = json.loads(out)
    assert (
        code == 0
        and result["splits"]["val"]["records"] == 10
        and result["splits"]["val"]["classes"]
        == {
            "a": 5,
            "b": 5,
        }
    )
    assert sorted((path, path.stat().st_mtime_ns) for path in one.rglob("*")) == before
    old, new = Dataset.open(one), Dataset.open(tmp_path / "new")
    rows = {record.id: record for split in new.splits for record in new.records(split)}
    for record in old.records("train"):
        assert rows[record.id] == record and new.image(record).tobytes() == old.image(record).tobytes()


@pytest.mark.parametrize("group_by", ["auto", "image", "patient", "meta.patient"])
def test_what_belongs_together_stays_together(capsys: pytest.CaptureFixture[str], one: Path, group_by: str) -> None:
    for at in range(0, 40, 2):  # both records of a pair have the same image, or one that looks the same
        first, second = one / f"images/train/r{at}.png", one / f"images/train/r{at + 1}.png"
        if group_by == "image":
            shutil.copy(first, second)
        if group_by == "auto":
            Image.open(first).resize((80, 60)).resize((40, 30)).save(second)
    assert rise(capsys, one, "--group-by", group_by, "--val", 0.2, "--test", 0.2)[0] == 0
    where = homes(one)
    assert all(where[f"r{at}"] == where[f"r{at + 1}"] for at in range(0, 40, 2))
    assert sorted(set(where.values())) == ["test", "train", "val"]


def test_only_one_split_is_dealt_where_that_is_asked(
    capsys: pytest.CaptureFixture[str], one: Path, tmp_path: Path
) -> None:
    assert rise(capsys, one, "--val", 0, "--test", 0.25)[0] == 0
    test = {id for id, split in homes(one).items() if split == "test"}
    code, _, err = rise(capsys, one, "--from", "train")
    assert code == 2 and "The split 'test' stays as it is" in err and "--test 0" in err
    assert rise(capsys, one, "--from", "train", "--val", 0.2, "--test", 0)[0] == 0
    where = homes(one)
    assert {id for id, split in where.items() if split == "test"} == test and len(test) == 10
    assert sum(split == "val" for split in where.values()) == 6
    assert rise(capsys, one, "--from", "train", "--val", 0, "--test", 0.1)[0] == 2
    code, _, err = rise(capsys, one)
    assert code == 2 and "--force deals all their records anew" in err
    assert rise(capsys, one, "--force")[0] == 0 and len(homes(one)) == 40


def test_bad_rows_are_left_out_and_told(capsys: pytest.CaptureFixture[str], one: Path) -> None:
    with (one / "train.jsonl").open("a") as file:
        file.write("nonsense\n")
    code, out, _ = rise(capsys, one)
    assert code == 0 and "1 bad rows are in no split" in out and len(homes(one)) == 40


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--val", "1.5"], "--val is a share from 0 to 1"),
        (["--val", "nan"], "--val is a share from 0 to 1"),
        (["--val", "0.5", "--test", "0.5"], "must leave something to train on"),
        (["--val", "0", "--test", "0"], "must leave something"),
        (["--seed", "-1"], "--seed"),
        (["--group-by", "patent"], "Did you mean 'patient'?"),
        (["--group-by", "site.town"], "has no 'site.town' in its meta"),
        (["--group-by", "site.name"], "2 groups for 3 splits"),
        (["--group-by", "site.name", "--val", "0"], "The groups are too large: test would get 0% instead of 10%"),
        (["--from", "trian"], "Did you mean 'train'?"),
        (["--out", "{set}"], "holds a dataset already"),
        (["--out", "{set}", "--force"], "--out is the dataset itself"),
        (["--out", "{set}/images"], "is not a dataset; choose another folder"),
    ],
)
def test_wrong_use_is_told_in_one_line_and_changes_nothing(
    capsys: pytest.CaptureFixture[str], one: Path, arguments: list[str], told: str
) -> None:
    code, out, err = rise(capsys, one, *[argument.replace("{set}", str(one)) for argument in arguments])
    assert code in (1, 2) and out == "" and told in err and "Traceback" not in err
    assert sorted(path.name for path in one.iterdir()) == ["dataset.yaml", "images", "train.jsonl"]


def test_an_unreadable_image_and_a_double_id_are_told(capsys: pytest.CaptureFixture[str], one: Path) -> None:
    (one / "images/train/r3.png").write_text("no image")
    code, _, err = rise(capsys, one)
    assert code == 1 and "r3.png" in err and "--quarantine' puts such rows aside" in err
    run(["data", "check", str(one), "--quarantine"])
    assert rise(capsys, one, "--val", 0)[0] == 0 and len(homes(one)) == 39
    shutil.copy(one / "train.jsonl", one / "test-2.jsonl")
    shutil.copy(one / "train.jsonl", one / "train-2.jsonl")
    code, _, err = rise(capsys, one, "--force")
    assert code == 1 and "the id 'r0' is used in the splits 'train' and 'test'" in err
