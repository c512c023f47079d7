"""``rise data`` as typed: what it makes, what it prints, how it ends."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from rise_vlm.cli import run
from rise_vlm.data import Card, Dataset, DatasetWriter
from rise_vlm.data.checking import read_quarantine

CARD = Card(name="x", task="classification", classes=["cat", "dog"])


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    with DatasetWriter(tmp_path / "set", CARD) as writer:
        for split in ("train", "test"):
            for i in range(3):
                picture = Image.new("RGB", (8, 6), (i, len(split), 0))
                writer.add(split, id=f"{split}{i}", image=picture, annotation="cat")
    return tmp_path / "set"


def rise(capsys: pytest.CaptureFixture[str], *arguments: Any) -> tuple[int, str, str]:
    capsys.readouterr()
    code = run([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def as_json(capsys: pytest.CaptureFixture[str], *arguments: Any) -> tuple[int, Any]:
    code, out, _ = rise(capsys, *arguments, "--json")
    return code, json.loads(out)


def folders(source: Path) -> Path:
    for name in ("cat", "dog"):
        for i in range(10):
            path = source / name / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (4, 3), (i, 0, 0)).save(path)
    return source


def test_a_sound_dataset_passes(capsys: pytest.CaptureFixture[str], dataset: Path) -> None:
    code, out, _ = rise(capsys, "data", "check", dataset)
    assert code == 0 and "train: 3 records, 0 bad" in out and "test: 3 records, 0 bad" in out
    code, result = as_json(capsys, "data", "check", dataset)
    assert code == 0 and result["ok"] and result["problems"] == []
    assert result["splits"]["train"] == {"records": 3, "quarantined": 0, "kinds": {}}


def damage(dataset: Path) -> None:
    """A truncated image, a size that is not the image's, an id of another split, a row that is no JSON."""
    whole = (dataset / "images" / "train" / "train0.png").read_bytes()
    (dataset / "images" / "train" / "train0.png").write_bytes(whole[: len(whole) // 2])
    rows = [json.loads(line) for line in (dataset / "train.jsonl").read_text().splitlines()]
    rows[1]["width"] = 80
    (dataset / "train.jsonl").write_text("\n".join(json.dumps(row) for row in rows) + "\nnonsense\n")
    rows = (dataset / "test.jsonl").read_text().replace('"test0"', '"train2"')
    (dataset / "test.jsonl").write_text(rows)


def test_check_opens_every_image_and_names_every_problem(capsys: pytest.CaptureFixture[str], dataset: Path) -> None:
    damage(dataset)
    code, out, _ = rise(capsys, "data", "check", dataset)
    assert code == 1
    for start in (
        "train.jsonl row 1: ",
        "train.jsonl row 2: the row says 80 x 6, but 'images/train/train1.png' has 8 x 6",
        "train.jsonl row 4: the row is not valid JSON",
        "test.jsonl row 1: the id 'train2' is used in split 'train' too",
        "train: 1 records, 3 bad (2 image, 1 row)",
    ):
        assert any(line.startswith(start) for line in out.splitlines()), start
    assert not (dataset / "quarantine.jsonl").exists()
    code, result = as_json(capsys, "data", "check", dataset)
    assert code == 1 and not result["ok"] and len(result["problems"]) == 4
    code, _, err = rise(capsys, "data", "check", dataset, "--strict")
    assert code == 1 and "train.jsonl row 1: " in err


def test_rows_that_check_put_aside_are_passed_over_until_checked_again(
    capsys: pytest.CaptureFixture[str], dataset: Path
) -> None:
    whole = (dataset / "images" / "train" / "train0.png").read_bytes()
    damage(dataset)
    assert [record.id for record in Dataset.open(dataset).records("train")] == ["train0", "train1", "train2"]
    assert rise(capsys, "data", "check", dataset, "--quarantine")[0] == 1
    for _ in range(2):  # a pass that puts rows aside does not forget what only the deep check saw
        opened = Dataset.open(dataset)
        assert [record.id for record in opened.records("train")] == ["train2"]
        assert opened.counts["train"].quarantined == 3
    assert len(read_quarantine(dataset)) == 4
    (dataset / "images" / "train" / "train0.png").write_bytes(whole)
    assert rise(capsys, "data", "check", dataset, "--quarantine")[0] == 1
    assert [record.id for record in Dataset.open(dataset).records("train")] == ["train0", "train2"]


def test_check_counts_more_problems_than_it_shows(capsys: pytest.CaptureFixture[str], dataset: Path) -> None:
    with (dataset / "train.jsonl").open("a") as file:
        file.write("nonsense\n" * 50)
    code, out, _ = rise(capsys, "data", "check", dataset)
    assert code == 1 and "... and 30 more" in out and "50 bad (50 row)" in out


def test_an_empty_split_is_a_problem_and_shared_images_are_noted(
    capsys: pytest.CaptureFixture[str], dataset: Path
) -> None:
    code, result = as_json(capsys, "data", "check", dataset)
    assert result["notes"] == []
    row = json.loads((dataset / "test.jsonl").read_text().splitlines()[0])
    (dataset / row["images"][0]).write_bytes((dataset / "images" / "train" / "train1.png").read_bytes())
    code, result = as_json(capsys, "data", "check", dataset)
    assert code == 0 and "in more than one split: 1 image;" in result["notes"][0]
    (dataset / "test.jsonl").write_text("")
    code, out, _ = rise(capsys, "data", "check", dataset)
    assert code == 1 and "test.jsonl: the split 'test' is empty" in out


def test_check_names_what_an_import_left_out(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    source = folders(tmp_path / "source")
    for name in ("x", "y"):
        (source / "cat" / f"{name}.jpg").write_text("no image")
    out = tmp_path / "out"
    assert rise(capsys, "data", "import", "folders", source, "--out", out)[0] == 0
    where = out / "quarantine.jsonl"
    told = f"left out when the dataset was made: 2 rows of its source, in {where}; the first: cat/x.jpg"
    for further in ([], ["--quarantine"], []):  # what the check itself writes there is no part of it
        code, lines, _ = rise(capsys, "data", "check", out, *further)
        assert code == 0 and [line.startswith(told) for line in lines.splitlines() if "left out" in line] == [True]
    first = json.loads((out / "train.jsonl").read_text().splitlines()[0])
    (out / first["images"][0]).unlink()
    assert rise(capsys, "data", "check", out, "--quarantine")[0] == 1
    code, result = as_json(capsys, "data", "check", out)
    assert code == 1 and result["notes"][0].startswith(told)


def test_check_of_what_is_no_dataset(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, out, err = rise(capsys, "data", "check", tmp_path / "none")
    assert code == 2 and out == "" and err.startswith("rise: There is no folder") and len(err.splitlines()) == 1


def test_import_ends_with_counts(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    source = folders(tmp_path / "source")
    (source / "cat" / "text.jpg").write_text("no image")
    code, out, _ = rise(capsys, "data", "import", "folders", source, "--out", tmp_path / "a")
    assert code == 0
    numbers = dict(re.findall(r"^(train|val|test): (\d+) records$", out, re.MULTILINE))
    assert sum(map(int, numbers.values())) == 20 and int(numbers["test"]) in (3, 4)  # the bad image counts as dealt
    assert "Splits: val 0.1, test 0.2 of 21 images" in out
    assert "Quarantined: 1 bad (1 image); the first: cat/text.jpg: this is no image" in out
    code, result = as_json(
        capsys, "data", "import", "folders", source, "--out", tmp_path / "b", "--test", "0", "--val", "0"
    )
    assert code == 0 and result["splits"] == {"train": 20} and result["kinds"] == {"image": 1}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["folder", "{source}"], "Did you mean 'folders'?"),
        (["folders", "{source}", "--task", "grounding"], "'folders' imports classification, not 'grounding'"),
        (["voc", "{source}", "--task", "groundin"], "Did you mean 'grounding'?"),
        (["folders", "{source}", "--columns", "a,b"], "--columns means nothing to the format 'folders'"),
        (["csv", "{source}", "--columns", "a"], "--columns takes two names"),
        (["voc", "{source}", "--boxes", "left"], "--boxes is auto, upright or stored, not 'left'"),
        (["folders", "{source}", "--val", "1.5"], "--val is a share from 0 to 1"),
        (["folders", "{source}", "--val", "nan"], "--val is a share from 0 to 1"),
        (["folders", "{source}", "--val", "0.5", "--test", "0.5"], "leave nothing to train on"),
        (["folders", "{source}/none"], "none is missing"),
    ],
)
def test_wrong_use_of_import_is_told_in_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: list[str], told: str
) -> None:
    source = folders(tmp_path / "source")
    arguments = [argument.replace("{source}", str(source)) for argument in arguments]
    code, out, err = rise(capsys, "data", "import", *arguments, "--out", tmp_path / "out")
    assert code == 2 and out == "" and told in err and len(err.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def fake_world(out: Path, *, train: int, val: int, test: int, seed: int, force: bool) -> dict[str, Any]:
    with DatasetWriter(out, CARD, force=force) as writer:
        for split, number in (("train", train), ("val", val), ("test", test)):
            for i in range(number):
                picture = Image.new("RGB", (2, 2), (seed, i, number))
                writer.add(split, id=f"{split}{i}", image=picture, annotation="dog")
    return {"best": 0.91234, "floors": {"uniform": 0.5, "ood": {"mean": 0.25}}}


def test_make_draws_a_world_and_prints_its_summary(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rise_vlm.worlds.load_world", lambda name: SimpleNamespace(make=fake_world))
    arguments = ["data", "make", "affect", "--out", tmp_path / "w", "--train", 3, "--val", 1, "--test", 2, "--seed", 5]
    code, out, _ = rise(capsys, *arguments)
    assert code == 0 and "best: 0.912" in out and "floors: uniform 0.500, ood (mean 0.250)" in out
    opened = Dataset.open(tmp_path / "w")
    assert {split: len(list(opened.records(split))) for split in opened.splits} == {"train": 3, "val": 1, "test": 2}
    assert opened.image(next(opened.records("train"))).getpixel((0, 0)) == (5, 0, 3)
    code, out, err = rise(capsys, *arguments)
    assert code == 2 and "replace it with --force" in err
    code, result = as_json(capsys, *arguments, "--force")
    assert code == 0 and result["summary"]["best"] == 0.91234


def test_make_shows_progress(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    sizes = ["--train", 3, "--val", 0, "--test", 1]
    code, _, err = rise(capsys, "data", "make", "errand", "--out", tmp_path / "w", *sizes)
    assert code == 0 and err.startswith("draw errand: 5/5")


def test_make_that_is_interrupted_leaves_nothing_and_says_that_it_starts_over(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(scene: Any) -> Image.Image:
        raise KeyboardInterrupt

    monkeypatch.setattr("rise_vlm.worlds.errand.draw", interrupt)
    code, _, err = rise(capsys, "data", "make", "errand", "--out", tmp_path / "w")
    assert code == 130 and "starts over" in err and "continues" not in err
    assert list(tmp_path.iterdir()) == []


def test_make_of_an_unknown_world_suggests_the_nearest(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, _, err = rise(capsys, "data", "make", "afect", "--out", tmp_path / "w")
    assert code == 2 and "Did you mean 'affect'?" in err and not (tmp_path / "w").exists()


def test_make_refuses_negative_numbers(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert rise(capsys, "data", "make", "affect", "--out", tmp_path / "w", "--train", -1)[0] == 2
