"""Reason-RFT's released files: told by their names, never mixed, and written as they are."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from format_kit import put, put_text
from PIL import Image

from rise_vlm.cli import run
from rise_vlm.data import Card, Dataset, DatasetWriter
from rise_vlm.data.checking import read_quarantine
from rise_vlm.data.formats.places import DESCRIPTION, split_in
from rise_vlm.data.formats.released import FAMILIES, file_name, task_and_split

RELEASED = {
    "A1-Spatial-Transformation-train-60k-cot.json": ("transformation", "train"),
    "A2-Structure-Perception-train-4k5-cot.json": ("structure", "train"),
    "A3-Visual-Counting-train-35k-cot.json": ("counting", "train"),
    "Spatial-Transformation-id-test-1k.json": ("transformation", "test"),
    "Spatial-Transformation-ood-left-test-1k.json": ("transformation", "ood_left"),
    "Spatial-Transformation-ood-right-test-1k.json": ("transformation", "ood_right"),
    "Structure-Perception-id-test-820.json": ("structure", "test"),
    "Structure-Perception-ood-test-800.json": ("structure", "ood"),
    "Visual-Counting-id-test-1k.json": ("counting", "test"),
    "Visual-Counting-ood-test-1k.json": ("counting", "ood"),
}
ANSWERS = {"counting": "3", "structure": "B", "transformation": "change_color(0, red)"}


@pytest.mark.parametrize(("name", "told"), RELEASED.items())
def test_every_released_name_tells_task_and_split(name: str, told: tuple[str, str]) -> None:
    assert task_and_split(f"test_jsons/{name}") == told
    assert task_and_split("Visual-Counting-notes.json") == ("counting", None)
    assert task_and_split("ScienceQA-2112.json") is None


@pytest.mark.parametrize("task", FAMILIES)
@pytest.mark.parametrize("split", ["train", "val", "test", "ood", "ood_left", "ood_long", "ood_far"])
def test_what_is_named_is_read_back(task: str, split: str) -> None:
    assert task_and_split(file_name(task, split)) == (task, split)


@pytest.mark.parametrize(
    ("path", "split"),
    [("a/ood_left.json", "ood_left"), ("ood_long/x.json", "ood_long"), ("x-ood-right-test-1k.json", "ood_right"),
     ("counting-ood-test-1k.json", "ood"), ("ood_test.json", "ood"), ("test_ood.json", "ood"), ("id-test.json", "test"),
     ("instances_train2017.json", "train"), ("my_test.json", "test"), ("test/ood_left.json", "test")],
)  # fmt: skip
def test_the_longest_split_name_that_fits_counts(path: str, split: str) -> None:
    assert split_in(PurePosixPath(path)) == split


def release(root: Path, *names: str) -> Path:
    """A small folder with files of these released names, two rows each."""
    for name in names:
        task, split = task_and_split(name) or ("counting", None)
        images = [f"images/{split}/{task}-{k}.png" for k in range(2)]
        put(root, *images)
        rows = [{"id": f"{name}-{k}", "image": images[k], "problem": f"How? {k}"} for k in range(2)]
        put_text(root / name, [row | {"answer": ANSWERS[task]} for row in rows])
    return root


def rise(capsys: pytest.CaptureFixture[str], *words: Any) -> tuple[int, dict[str, Any], str]:
    code = run([*map(str, words), "--json"])
    out, err = capsys.readouterr()
    return code, json.loads(out) if code == 0 else {}, err


def test_a_folder_of_one_task_keeps_its_tests_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = release(tmp_path / "in", *(name for name, (task, _) in RELEASED.items() if task == "counting"))
    code, told, _ = rise(capsys, "data", "import", source, "--out", tmp_path / "out")
    assert code == 0
    assert (told["format"], told["task"]) == ("reasonrft", "counting")
    assert told["splits"] == {"train": 2, "test": 2, "ood": 2}
    assert {r.id.rsplit("-", 1)[0] for r in Dataset.open(tmp_path / "out").records("ood")} == {
        "Visual-Counting-ood-test-1k.json"
    }


def test_the_whole_release_wants_a_task_and_passes_over_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    two = [name for name, (task, _) in RELEASED.items() if task != "transformation"]
    source = release(tmp_path / "in", *two, "AI2D.json")
    code, _, err = rise(capsys, "data", "import", "reasonrft", source, "--out", tmp_path / "out")
    assert code == 2
    assert "structure, counting; name one of these with --task" in " ".join(err.split())
    code, told, _ = rise(
        capsys, "data", "import", "reasonrft", source, "--out", tmp_path / "out", "--task", "structure"
    )
    assert code == 0
    assert told["splits"] == {"train": 2, "test": 2, "ood": 2}
    assert told["skipped"]["a file of another task (counting)"] == 3
    assert [names for why, names in told["skipped_first"].items() if "beside" in why] == [["AI2D.json"]]


def test_tests_of_the_same_scenes_by_three_cameras_may_share_their_ids(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [name for name, (task, _) in RELEASED.items() if task == "transformation"]
    for name in names:
        folder = f"images/{name.removesuffix('.json')}"
        put(tmp_path / "in", f"{folder}/before.png", f"{folder}/after.png")  # the same names for each camera
        row = {"id": "7", "image": ["before.png", "after.png"], "problem": "How?", "answer": ANSWERS["transformation"]}
        again = row | {"id": "twice"}
        put_text(tmp_path / "in" / name, [row, again, again] if "train" in name else [row])
    code, told, _ = rise(capsys, "data", "import", "reasonrft", tmp_path / "in", "--out", tmp_path / "out")
    assert code == 0
    assert told["splits"] == {"train": 2, "test": 1, "ood_left": 1, "ood_right": 1}
    assert told["quarantined"] == 1  # what a file says twice
    assert "have rows of the same id" in " ".join(told["notes"])
    (left,) = Dataset.open(tmp_path / "out").records("ood_left")
    assert left.id == "Spatial-Transformation-ood-left-test-1k.json#7"
    for format in ("reasonrft", "sharegpt"):
        code, told, _ = rise(capsys, "data", "export", tmp_path / "out", format, "--out", tmp_path / format)
        (written,) = (tmp_path / format).rglob("*ood*left*.json")
        assert code == 0 and [row["id"] for row in json.loads(written.read_text())] == ["7"]


def test_a_row_that_comes_in_two_files_is_a_duplicate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(tmp_path / "in", "1.png")
    row = {"id": "7", "image": "1.png", "problem": "How many?", "answer": "3"}
    for name in ("train.json", "test.json"):
        put_text(tmp_path / "in" / name, [row])
    code, told, _ = rise(capsys, "data", "import", tmp_path / "in", "--out", tmp_path / "out", "--task", "counting")
    assert (code, sum(told["splits"].values()), told["quarantined"]) == (0, 1, 1)


def test_one_file_alone_is_the_split_that_its_name_tells(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = release(tmp_path / "in", "Visual-Counting-ood-test-1k.json")
    code, told, _ = rise(
        capsys, "data", "import", source / "Visual-Counting-ood-test-1k.json", "--out", tmp_path / "out"
    )
    assert code == 0
    assert told["splits"] == {"ood": 2}


def test_what_is_written_is_called_and_keyed_as_released(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    splits = ("train", "val", "test", "ood", "ood_long")
    with DatasetWriter(tmp_path / "set", Card(name="made", task="counting")) as writer:
        for k, split in enumerate(splits):
            image = Image.new("RGB", (8, 8), (k, 0, 0))
            writer.add(split, id=split, image=image, annotation=k, question="How many?", rationale="So.")
    code, told, _ = rise(capsys, "data", "export", tmp_path / "set", "reasonrft", "--out", tmp_path / "out")
    assert code == 0
    assert not told["lost"]
    assert {path.name for path in (tmp_path / "out").glob("*.json")} == {
        "A3-Visual-Counting-train.json", "Visual-Counting-val.json", "Visual-Counting-id-test.json",
        "Visual-Counting-ood-test.json", "Visual-Counting-ood-long-test.json",
    }  # fmt: skip
    (row,) = json.loads((tmp_path / "out" / "Visual-Counting-ood-test.json").read_text())
    answer = {"cot": "So.", "answer": "3", "solution": "3"}
    assert row == {"id": "ood", "image": "images/ood/ood.png", "problem": "How many?"} | answer
    code, told, _ = rise(capsys, "data", "import", tmp_path / "out", "--out", tmp_path / "again")
    assert told["splits"] == dict.fromkeys(splits, 1)


def imported(source: Path, out: Path) -> tuple[int, list[Any], list[str]]:
    """Exit code, the records of a transformation, and why rows were put aside."""
    code = run(["data", "import", "reasonrft", str(source), "--task", "transformation", "--out", str(out)])
    if code:
        return code, [], []
    dataset = Dataset.open(out)
    records = [record for split in dataset.splits for record in dataset.records(split)]
    return code, records, [problem.reason for problem in read_quarantine(out)]


@pytest.mark.parametrize(
    "image", [["a/1.png", "b/1.png"], [{"path": "a/1.png"}, {"path": "b/1.png"}], [{"path": "a/1.png"}, "b/1.png"]]
)
def test_two_images_may_be_spelt_in_three_ways(tmp_path: Path, image: Any) -> None:
    for k, folder in enumerate(("a", "b")):
        (tmp_path / "in" / folder).mkdir(parents=True)
        Image.new("RGB", (9, 9), (k, 0, 0)).save(tmp_path / "in" / folder / "1.png")  # of the same name
    row = {"id": "t", "image": image, "problem": "<image><image>What changed?", "answer": ANSWERS["transformation"]}
    put_text(tmp_path / "in" / "train.json", [row])
    _, (record,), aside = imported(tmp_path / "in", tmp_path / "out")
    assert not aside
    assert (record.annotation, record.question) == (ANSWERS["transformation"], "What changed?")
    pixels = [Image.open(tmp_path / "out" / name).getpixel((0, 0)) for name in record.images]
    assert pixels == [(0, 0, 0), (1, 0, 0)]


def test_rows_of_one_image_a_missing_second_or_bad_functions_are_put_aside(tmp_path: Path) -> None:
    put(tmp_path / "in", "1.png", "2.png")
    good = {"image": ["1.png", "2.png"], "problem": "What changed?", "answer": ANSWERS["transformation"]}
    bad: list[dict[str, Any]] = [
        {"image": "1.png"}, {"image": ["1.png", "3.png"]}, {"image": ["1.png", None]}, {"answer": "turn(1, red)"},
        {"states": {"objects": []}}, {"image": ["1.png", "../../secret.png"]},
    ]  # fmt: skip
    rows = [good | {"id": str(k)} | change for k, change in enumerate([{}, *bad])]
    put_text(tmp_path / "in" / "train.json", rows)
    _, records, aside = imported(tmp_path / "in", tmp_path / "out")
    assert [record.id for record in records] == ["0"]
    told = ("has 1", "missing", "names no image", "no function 'turn'", "'objects' and 'final'", "secret.png")
    assert len(aside) == len(told)
    assert all(any(part in reason for reason in aside) for part in told), aside


TWO = "<answer>3</answer><answer>4</answer>"
NONE_OR_SEVERAL = {
    "": "is empty", "many": "'many' is not one number", "3 cubes": "not one number", "10^400": "not one number",
    "1e400": "larger than any answer", "2.5": "no whole number", "-3": "from 0 to 2^53", TWO: "2 answers",
    "<answer><answer>3</answer></answer>": "2 answers",
}  # fmt: skip


@pytest.mark.parametrize("format", ["reasonrft", "sharegpt"])
def test_an_answer_that_is_none_or_several_is_put_aside_by_its_id(format: str, tmp_path: Path) -> None:
    put(tmp_path / "in", "1.png")
    read = {"3": 3, "3.0": 3, "three": 3, "1,024": 1024, "<think>So.</think><answer>3</answer>": 3}
    rows: list[dict[str, Any]] = []
    for answer in (*read, *NONE_OR_SEVERAL):
        told = [{"role": "user", "content": f"<image>{answer}?"}, {"role": "assistant", "content": answer}]
        row = {"image": "1.png", "problem": f"{answer}?", "answer": answer}
        rows.append(
            {"id": f"of {answer}"} | (row if format == "reasonrft" else {"images": ["1.png"], "messages": told})
        )
    put_text(tmp_path / "in" / "train.json", rows)
    words = ["--task", "counting", "--out", str(tmp_path / "out")]
    assert run(["data", "import", format, str(tmp_path / "in"), *words]) == 0
    dataset = Dataset.open(tmp_path / "out")
    kept = {record.id: record.annotation for split in dataset.splits for record in dataset.records(split)}
    assert kept == {f"of {answer}": number for answer, number in read.items()}
    aside = {problem.id: problem.reason for problem in read_quarantine(tmp_path / "out")}
    assert aside.keys() == {f"of {answer}" for answer in NONE_OR_SEVERAL}
    assert all(why in aside[f"of {answer}"] for answer, why in NONE_OR_SEVERAL.items()), aside


def test_boxes_are_of_one_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(tmp_path / "in", "1.png", "2.png")
    row = {"image": ["1.png", "2.png"], "problem": "Where?", "answer": "[1, 2, 3, 4]"}
    put_text(tmp_path / "in" / "train.json", [row])
    assert run(["data", "import", "reasonrft", str(tmp_path / "in"), "--out", str(tmp_path / "out")]) == 1
    assert "2 images; boxes are of one" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("format", ["reasonrft", "sharegpt"])
def test_moves_there_and_back(format: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from rise_vlm.worlds import moves

    moves.make(tmp_path / "moves", train=2, val=1, test=1, seed=3)
    ours = Dataset.open(tmp_path / "moves")
    code, told, _ = rise(capsys, "data", "export", tmp_path / "moves", format, "--out", tmp_path / "out")
    assert code == 0
    assert told["lost"] == {"meta": 6}
    words = ("--task", "transformation", "--out", tmp_path / "again")
    code, told, _ = rise(capsys, "data", "import", tmp_path / "out", *words)
    assert (code, told["format"], told["quarantined"]) == (0, format, 0)
    again = Dataset.open(tmp_path / "again")
    assert told["splits"] == {"train": 2, "val": 1, "test": 1, "ood_left": 1, "ood_right": 1}
    for split in ours.splits:
        for mine, their in zip(ours.records(split), again.records(split), strict=True):
            assert mine.model_dump(exclude={"meta", "images"}) == their.model_dump(exclude={"meta", "images"})
            for one, other in zip(mine.images, their.images, strict=True):
                assert (ours.root / one).read_bytes() == (again.root / other).read_bytes()
    files = sorted(path for path in (tmp_path / "out").glob("*.json") if path.name != DESCRIPTION)
    row = json.loads(files[0].read_text())[0]
    if format == "sharegpt":
        assert row["messages"][0]["content"].startswith("<image><image>\nObjects")
        assert len(row["images"]) == 2
    else:
        assert len(row["image"]) == 2
        assert files[0].name == "A1-Spatial-Transformation-train.json"
