"""``--to``: every writable format says the same as the rows, and nothing of a user's is ever replaced."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from answer_rows import ANSWERS, QUESTION, answers, row, task_called, write_rows

from rise_vlm.data import Dataset
from rise_vlm.data.formats import FORMATS
from rise_vlm.data.formats.base import Options
from rise_vlm.data.importing import import_dataset
from rise_vlm.errors import UserError
from rise_vlm.stages.outputs import Made, Written, outputs_of, picture_root, write_output

SUFFIX = {"csv": ".csv", "cvat": ".xml", "openimages": ".csv", "swift": ".jsonl", "parquet": ".parquet"}
CASES = [(name, task) for name, form in FORMATS.items() for task in form.writes if task != "transformation"]


def written(out: Path, task_name: str, text: str) -> tuple[Path, Written]:
    task, made = task_called(task_name), Made(out)
    (output,) = outputs_of([text], task, [out], made)
    return output.path, write_output(output, out, task, QUESTION, made)


def found(name: str, source: Path, folder: Path, task: str, images: Path | None) -> dict[bytes, Any]:
    """Picture -> annotation, as the format's reader has it."""
    options = Options(task=task, images=images if "images" in FORMATS[name].options else None)
    import_dataset(FORMATS[name], source, folder, options, shares={"val": 0, "test": 0})
    dataset = Dataset.open(folder)
    return {dataset.image(record).tobytes(): record.annotation for record in dataset.records("train")}


def expected(out: Path, task: str, name: str) -> dict[bytes, Any]:
    from rise_vlm.data.images import read_image

    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    kept = [one for one in rows if one["annotation"] is not None]
    if "empty" not in FORMATS[name].keeps:
        kept = [one for one in kept if one["annotation"] != []]
    return {read_image(one["image"]).tobytes(): one["annotation"] for one in kept}


def alike(task: str, ours: Any, theirs: Any) -> bool:
    if task == "detection":
        pairs = list(zip(ours, theirs, strict=True))
        return all(a["label"] == b["label"] and b["box"] == pytest.approx(a["box"], abs=1e-3) for a, b in pairs)
    if task in ("grounding", "distribution"):
        return theirs == pytest.approx(ours, abs=1e-3)
    return ours == theirs


@pytest.mark.parametrize(("name", "task"), CASES)
def test_a_folder_of_answers_is_read_back_the_same(tmp_path: Path, name: str, task: str) -> None:
    out = answers(tmp_path, task)
    path, told = written(out, task, f"{name}:{tmp_path / 'laid'}")
    assert told.answers == 3
    ours, theirs = expected(out, task, name), found(name, path, tmp_path / "again", task, None)
    assert ours.keys() == theirs.keys()
    assert all(alike(task, ours[key], theirs[key]) for key in ours)


@pytest.mark.parametrize(
    ("name", "task"),
    [case for case in CASES if case[0] in ("coco", "csv", "labelstudio", "sharegpt", "swift", "parquet")],
)
def test_a_file_of_answers_is_read_back_the_same(tmp_path: Path, name: str, task: str) -> None:
    out = answers(tmp_path, task)
    path, told = written(out, task, f"{name}:{tmp_path / 'all'}{SUFFIX.get(name, '.json')}")
    assert told.answers == 3 and path.is_file()
    images = picture_root(out)
    assert images == tmp_path / "photos"
    ours, theirs = expected(out, task, name), found(name, path, tmp_path / "again", task, images)
    assert ours.keys() == theirs.keys()
    assert all(alike(task, ours[key], theirs[key]) for key in ours)


def test_coco_holds_the_confidence_of_each_box(tmp_path: Path) -> None:
    path, told = written(answers(tmp_path, "detection"), "detection", f"coco:{tmp_path / 'c.json'}")
    content = json.loads(path.read_text(encoding="utf-8"))
    assert [one["score"] for one in content["annotations"]] == [0.75] * 3
    assert [one["file_name"] for one in content["images"]] == ["p 0.png", "inner/p 0.png", "z.png"]
    assert told.lost == {"rationales": 3, "questions": 3}


def test_label_studio_holds_model_confidence_and_rationale(tmp_path: Path) -> None:
    path, told = written(answers(tmp_path, "classification"), "classification", f"labelstudio:{tmp_path / 't.json'}")
    first = json.loads(path.read_text(encoding="utf-8"))[0]
    (prediction,) = first["predictions"]
    assert (prediction["model_version"], prediction["score"]) == ("runs/pets", 0.75)
    values = {result["from_name"]: result["value"] for result in prediction["result"]}
    assert values == {"class": {"choices": ["cat"]}, "rationale": {"text": ["soft fur"]}}
    assert not told.lost


def test_greedy_answers_have_no_score(tmp_path: Path) -> None:
    image = tmp_path / "a.png"
    greedy = row(image, "detection", ANSWERS["detection"][0], confidence=None, scores=None, samples=None)
    out = write_rows(tmp_path / "answers.jsonl", [greedy])
    path, _ = written(out, "detection", f"coco:{tmp_path / 'c.json'}")
    assert all("score" not in one for one in json.loads(path.read_text(encoding="utf-8"))["annotations"])


@pytest.mark.parametrize(
    ("text", "task", "says"),
    [
        ("coco", "detection", "give a format and a path"),
        ("coco:", "detection", "give a format and a path"),
        (":a.json", "detection", "give a format and a path"),
        ("cocoa:a.json", "detection", "no format 'cocoa'.*Did you mean 'coco'"),
        ("coco:a.json", "classification", "'coco' cannot hold classification; these can: folders, csv"),
        ("emotion6:a.json", "distribution", "'emotion6' cannot hold distribution; these can: csv"),
        ("csv:a.csv", "transformation", "none of the formats can"),
        ("sharegpt:a.json", "transformation", "none of the formats can"),
        ("coco:no/such/a.json", "detection", "there is no folder no/such"),
        ("yolo:a.json", "detection", "writes a folder; name one, as in yolo:a"),
        ("fiftyone:a.json", "detection", "writes a folder"),
        ("coco:answers.jsonl", "detection", "is written to already"),
        ("coco:mine.json", "detection", "exists and was not made from these answers"),
        ("yolo:mine", "detection", "exists and was not made from these answers"),
        ("coco:mine.json/a.json", "detection", "there is no folder"),
        ("coco:dir.json", "detection", "is a folder; name a file"),
        ("yolo:plain", "detection", "is a file; name a folder"),
    ],
)
def test_a_mistake_is_told_before_any_work(tmp_path: Path, monkeypatch, text: str, task: str, says: str) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("mine.json", "plain"):
        Path(name).write_text("precious", encoding="utf-8")
    Path("dir.json").mkdir()
    Path("mine").mkdir()
    Path("mine/photo.txt").write_text("precious", encoding="utf-8")
    out = Path("answers.jsonl")
    with pytest.raises(UserError, match=says) as told:
        outputs_of([text], task_called(task), [out], Made(out))
    assert told.value.exit_code == 2 and "\n" not in str(told.value)


def test_two_outputs_to_one_path_are_refused(tmp_path: Path) -> None:
    out = tmp_path / "answers.jsonl"
    with pytest.raises(UserError, match="written to already"):
        outputs_of([f"coco:{tmp_path}/a.json", f"csv:{tmp_path}/./a.json"], task_called("detection"), [out], Made(out))


@pytest.mark.parametrize("place", ["coco:c.json", "yolo:laid"])
def test_what_was_made_is_made_again_until_somebody_changes_it(tmp_path: Path, monkeypatch, place: str) -> None:
    monkeypatch.chdir(tmp_path)
    out = answers(tmp_path, "detection")
    path, _ = written(out, "detection", place)
    first = sorted(one.name for one in path.rglob("*")) if path.is_dir() else path.read_bytes()
    assert written(out, "detection", place)[1].answers == 3
    assert first == (sorted(one.name for one in path.rglob("*")) if path.is_dir() else path.read_bytes())
    (path / "more.txt" if path.is_dir() else path).write_text("by hand", encoding="utf-8")
    with pytest.raises(UserError, match="was changed since"):
        written(out, "detection", place)
    assert not [one for one in tmp_path.iterdir() if one.name.startswith(".") and "made" not in one.name]


def test_a_correction_inside_a_folder_is_never_replaced(tmp_path: Path) -> None:
    out, place = answers(tmp_path, "detection"), f"yolo:{tmp_path / 'laid'}"
    path, _ = written(out, "detection", place)
    (label, *_) = sorted(path.rglob("labels/**/*.txt"))
    label.write_text("0 0.5 0.5 0.1 0.1\n", encoding="utf-8")  # in place: no folder's own time changes
    with pytest.raises(UserError, match="was changed since"):
        written(out, "detection", place)
    assert label.read_text(encoding="utf-8") == "0 0.5 0.5 0.1 0.1\n"


@pytest.mark.parametrize("place", ["coco:c.json", "yolo:laid"])
def test_a_correction_made_while_the_answers_come_is_not_replaced(tmp_path: Path, monkeypatch, place: str) -> None:
    monkeypatch.chdir(tmp_path)
    out, task = answers(tmp_path, "detection"), task_called("detection")
    written(out, "detection", place)
    made = Made(out)
    (output,) = outputs_of([place], task, [out], made)
    mine = next(output.path.rglob("*.txt")) if output.folder else output.path
    mine.write_text("by hand", encoding="utf-8")
    with pytest.raises(UserError, match="was changed since"):
        write_output(output, out, task, QUESTION, made)
    assert mine.read_text(encoding="utf-8") == "by hand"
    assert not [one for one in tmp_path.iterdir() if one.name.startswith(".") and "made" not in one.name]


def test_a_picture_that_is_gone_leaves_nothing_half_made(tmp_path: Path) -> None:
    out = answers(tmp_path, "detection")
    (tmp_path / "photos" / "z.png").unlink()
    with pytest.raises(UserError, match="laid was not written") as told:
        written(out, "detection", f"yolo:{tmp_path / 'laid'}")
    assert told.value.exit_code == 1
    assert sorted(one.name for one in tmp_path.iterdir()) == ["answers.jsonl", "photos"]


@pytest.mark.parametrize(
    ("places", "root"),
    [(["a/b/1.png", "a/c/2.png"], "a"), (["ab/1.png", "a/2.png"], ""), (["a/1.png", "a/b/2.png"], "a")],
)
def test_pictures_are_named_from_the_folder_above_them_all(tmp_path: Path, places: list[str], root: str) -> None:
    rows = [row(tmp_path / place, "counting", 1) for place in places]
    assert picture_root(write_rows(tmp_path / "answers.jsonl", rows)) == (tmp_path / root if root else tmp_path)


def test_a_prefix_makes_addresses_of_the_pictures_of_label_studio_alone(tmp_path: Path) -> None:
    out = answers(tmp_path, "classification")
    task, made, prefix = task_called("classification"), Made(out), "/data/local-files/?d="
    wanted = [f"labelstudio:{tmp_path / 't.json'}", f"csv:{tmp_path / 't.csv'}"]
    for output in outputs_of(wanted, task, [out], made, prefix):
        write_output(output, out, task, QUESTION, made)
    tasks = json.loads((tmp_path / "t.json").read_text())
    assert tasks and all(one["data"]["image"].startswith(prefix) for one in tasks)
    assert prefix not in (tmp_path / "t.csv").read_text()
    with pytest.raises(UserError, match="--image-prefix needs a --to of a format that takes one"):
        outputs_of([f"csv:{tmp_path / 'u.csv'}"], task, [out], made, prefix)
