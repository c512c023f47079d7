"""Datasets stream their good rows; bad rows are named, counted and put aside, and nothing is dropped silently."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from rise_vlm.data import Card, Dataset, DatasetWriter, Record
from rise_vlm.data.checking import BadRow, check_row, read_quarantine
from rise_vlm.errors import DataError, UserError

CLASSES = ["cat", "dog", "emu"]
ROW = {"id": "good", "images": ["a.png"], "annotation": "cat", "width": 20, "height": 10}


def build(
    folder: Path, rows: list[Any], task: str = "classification", question: str | None = None, split: str = "train"
) -> Dataset:
    """A dataset of ``rows`` (objects, or raw lines as text) and one image ``a.png`` of 20 x 10 pixels."""
    folder.mkdir(exist_ok=True)
    Image.new("RGB", (20, 10)).save(folder / "a.png")
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    (folder / f"{split}.jsonl").write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    classes = [] if task == "grounding" else CLASSES
    Card(name="x", task=task, classes=classes, question=question, splits={split: f"{split}.jsonl"}).write(folder)
    return Dataset.open(folder)


def only_problem(dataset: Dataset) -> str:
    """The reason why the one bad row (the second of three) of ``dataset`` was put aside."""
    ids = [record.id for record in dataset.records("train")]
    assert ids == ["good", "last"]
    (problem,) = read_quarantine(dataset.root)
    assert (problem.file, problem.row) == ("train.jsonl", 2)
    assert dataset.counts["train"].records == 2 and dataset.counts["train"].quarantined == 1
    with pytest.raises(DataError, match=r"train\.jsonl row 2: ") as error:
        list(dataset.records("train", strict=True))
    assert problem.reason in str(error.value) and error.value.exit_code == 1
    return f"{problem.kind}: {problem.reason}"


def changed(**changes: Any) -> dict[str, Any]:
    row = ROW | {"id": "bad"} | changes
    return {key: value for key, value in row.items() if value is not ...}


BAD_ROWS = {
    "unknown class": (changed(annotation="dgo"), "annotation: unknown class 'dgo'. Did you mean 'dog'?"),
    "annotation of another type": (changed(annotation=3), "annotation: .*class name"),
    "no annotation": (changed(annotation=...), "row: the key 'annotation' is missing"),
    "endless annotation": (changed(annotation=json.loads("[" * 700 + "]" * 700)), "annotation: .* nested too deeply"),
    "null annotation": (changed(annotation=None), "annotation: the annotation is null"),
    "no id": (changed(id=...), "row: the key 'id' is missing"),
    "id a number": (changed(id=7), "row: 'id' should be a valid string, not 7"),
    "empty id": (changed(id=""), "row: 'id' should have at least 1 character"),
    "duplicate id": (changed(id="good"), "duplicate id: the id 'good' was used before"),
    "no images": (changed(images=[]), "row: 'images' "),
    "images a text": (changed(images="a.png"), "row: 'images' should be a valid list, not 'a.png'"),
    "missing image": (changed(images=["none.png"]), "missing image: the image 'none.png' is missing"),
    "image is a folder": (changed(images=["."]), "missing image: "),
    "path leaves the folder": (changed(images=["../a.png"]), r"path: '\.\./a\.png' leaves the folder"),
    "absolute path": (changed(images=["/etc/passwd"]), "path: '/etc/passwd' is not a relative path"),
    "windows path": (changed(images=["C:\\a.png"]), "path: .*is not a relative path"),
    "overlong path": (changed(images=["a" * 5000]), "path: .*cannot be reached"),
    "lone surrogate": ('{"id": "bad", "images": ["\\ud800"], "annotation": "cat"}', "row: 'images.0'"),
    "unknown key": (changed(anotation="cat"), "row: unknown key 'anotation'. Did you mean 'annotation'?"),
    "width a text": (changed(width="20"), "row: 'width' should be a valid integer, not '20'"),
    "width 0": (changed(width=0), "row: 'width' should be greater than 0, not 0"),
    "height without width": (changed(width=...), "row: the key 'width' is missing"),
    "long question": (changed(question="?" * 10_000), "row: 'question' should have at most 4000 characters"),
    "question a list": (changed(question=["?"]), "row: 'question' should be a valid string"),
    "meta a text": (changed(meta="x"), "row: 'meta' should be a valid dictionary"),
    "not JSON": ('{"id": ', "row: the row is not valid JSON"),
    "a list": ("[1, 2]", "row: a row must be an object with keys, not a list"),
    "a number": ("3", "row: a row must be an object with keys, not a number"),
    "deep nesting": ("[" * 100_000, "row: the row is not valid JSON"),
}


@pytest.mark.parametrize("name", BAD_ROWS)
def test_a_bad_row_goes_to_quarantine_with_its_reason(tmp_path: Path, name: str) -> None:
    row, reason = BAD_ROWS[name]
    dataset = build(tmp_path / "set", [ROW, row, ROW | {"id": "last"}])
    assert re.match(reason, only_problem(dataset))


BAD_DISTRIBUTIONS = {
    "sum too low": '{"cat": 0.5, "dog": 0.4}',
    "sum too high": '{"cat": 0.9, "dog": 0.13}',
    "NaN": '{"cat": NaN, "dog": 0.5}',
    "infinity": '{"cat": 1e999}',
    "negative": '{"cat": 1.2, "dog": -0.2}',
    "unknown class": '{"cat": 0.5, "wolf": 0.5}',
    "text": '"cat"',
    "truth value": '{"cat": true}',
    "huge integer": '{"cat": 1' + "0" * 400 + "}",
    "empty": "{}",
}


@pytest.mark.parametrize("name", BAD_DISTRIBUTIONS)
def test_a_distribution_must_be_one(tmp_path: Path, name: str) -> None:
    good = ROW | {"annotation": {"cat": 0.5, "dog": 0.49}}  # within the tolerance of 0.02
    bad = json.dumps(good | {"id": "bad", "annotation": "HERE"}).replace('"HERE"', BAD_DISTRIBUTIONS[name])
    dataset = build(tmp_path / "set", [good, bad, good | {"id": "last"}], "distribution")
    assert only_problem(dataset).startswith("annotation: ")


BAD_BOXES = {
    "outside": ([2, 2, 25, 8], "leaves the image of 20 x 10"),
    "negative": ([-3, 2, 5, 8], "leaves the image"),
    "no width": ([5, 2, 5, 8], "no area"),
    "swapped": ([9, 2, 5, 8], "swapped"),
    "NaN": ([1, 2, float("nan"), 8], "NaN"),
    "huge": ([1, 2, 10**400, 8], "beyond all measure"),
    "three numbers": ([1, 2, 3], "box"),
    "text": ("1, 2, 3, 4", "box"),
    "text inside": ([1, 2, "3", 4], "not a finite number"),
}


@pytest.mark.parametrize("name", BAD_BOXES)
def test_a_box_must_lie_in_its_image(tmp_path: Path, name: str) -> None:
    box, reason = BAD_BOXES[name]
    good = ROW | {"annotation": [0, 0, 20, 10], "question": "Where?"}
    dataset = build(
        tmp_path / "set", [good, good | {"id": "bad", "annotation": box}, good | {"id": "last"}], "grounding"
    )
    assert reason in only_problem(dataset)


def test_grounding_without_a_question_is_a_bad_row_unless_the_card_asks_one(tmp_path: Path) -> None:
    row = ROW | {"annotation": [0, 0, 20, 10]}
    dataset = build(tmp_path / "set", [row], "grounding")
    assert list(dataset.records("train")) == []
    assert "question" in read_quarantine(dataset.root)[0].reason
    assert len(list(build(tmp_path / "set", [row], "grounding", "Where?").records("train"))) == 1


def test_symlinks_out_of_the_folder_are_refused(tmp_path: Path) -> None:
    Image.new("RGB", (20, 10)).save(tmp_path / "outside.png")
    dataset = build(tmp_path / "set", [ROW | {"images": ["link.png"]}])
    (dataset.root / "link.png").symlink_to(tmp_path / "outside.png")
    assert list(dataset.records("train")) == []
    assert read_quarantine(dataset.root)[0].kind == "path"


def test_bytes_that_are_no_text_spoil_one_row_only(tmp_path: Path) -> None:
    dataset = build(tmp_path / "set", [ROW, "x", ROW | {"id": "last"}])
    path = dataset.root / "train.jsonl"
    path.write_bytes(path.read_bytes().replace(b"\nx\n", b"\n\xff\xfe\n"))
    assert only_problem(dataset) == "row: the row is not UTF-8 text"


def test_blank_lines_and_a_byte_order_mark_are_no_rows(tmp_path: Path) -> None:
    dataset = build(tmp_path / "set", [ROW, "", "  ", ROW | {"id": "last"}])
    path = dataset.root / "train.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert [record.id for record in dataset.records("train")] == ["good", "last"]
    assert not (dataset.root / "quarantine.jsonl").exists()


def test_rows_are_numbered_by_line_even_after_blank_ones(tmp_path: Path) -> None:
    dataset = build(tmp_path / "set", [ROW, "", "", "nonsense"])
    list(dataset.records("train"))
    assert read_quarantine(dataset.root)[0].row == 4


def test_width_and_height_are_read_from_the_image_where_the_row_has_none(tmp_path: Path) -> None:
    dataset = build(tmp_path / "set", [changed(width=..., height=...)])
    (record,) = dataset.records("train")
    assert (record.width, record.height) == (20, 10)


def test_records_stream(tmp_path: Path) -> None:
    dataset = build(tmp_path / "set", [ROW, "nonsense"])
    records = dataset.records("train")
    assert next(records).id == "good"
    assert dataset.counts["train"].quarantined == 0  # the second row has not been looked at
    records.close()


def test_quarantine_follows_the_last_complete_pass(tmp_path: Path) -> None:
    dataset = build(tmp_path / "set", [ROW, "nonsense", "more nonsense"])
    list(dataset.records("train"))
    list(dataset.records("train"))
    assert len(read_quarantine(dataset.root)) == 2  # not four
    mended = build(tmp_path / "set", [ROW, ROW | {"id": "b"}, "more nonsense"])
    next(mended.records("train"))  # a pass that was broken off forgets nothing
    assert len(read_quarantine(dataset.root)) == 2
    list(mended.records("train"))
    assert [problem.row for problem in read_quarantine(dataset.root)] == [3]
    list(build(tmp_path / "set", [ROW]).records("train"))
    assert not (dataset.root / "quarantine.jsonl").exists()


def test_quarantine_of_other_splits_is_kept(tmp_path: Path) -> None:
    build(tmp_path / "set", ["nonsense"], split="test")
    build(tmp_path / "set", ["nonsense"], split="train")
    splits = {"train": "train.jsonl", "test": "test.jsonl"}
    Card(name="x", task="classification", classes=CLASSES, splits=splits).write(tmp_path / "set")
    dataset = Dataset.open(tmp_path / "set")
    for split in ("test", "train", "test"):
        list(dataset.records(split))
    assert {problem.file for problem in read_quarantine(dataset.root)} == {"train.jsonl", "test.jsonl"}


def test_a_dataset_that_cannot_be_written_to_is_used_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = build(tmp_path / "set", [ROW, "nonsense"])

    def refuse(*_: Any) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("rise_vlm.data.checking.write_quarantine", refuse)
    assert len(list(dataset.records("train"))) == 1
    assert "Read-only file system" in capsys.readouterr().err


def test_require_says_why_there_are_too_few_records(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"split 'train' of .* is empty"):
        build(tmp_path / "a", []).require("train")
    with pytest.raises(DataError, match=r"has no good record: 2 rows are bad, the first being train\.jsonl row 1: "):
        build(tmp_path / "b", ["x", "y"]).require("train")
    one = build(tmp_path / "c", [ROW])
    one.require("train")
    with pytest.raises(DataError, match="has only 1 of 2 records"):
        one.require("train", minimum=2)
    with pytest.raises(DataError, match="has 1 good records of 2 needed: 1 rows are bad"):
        build(tmp_path / "d", [ROW, "x"]).require("train", minimum=2)
    with pytest.raises(DataError, match=r"no split 'trian' \(it has: train\)\. Did you mean 'train'\?"):
        one.require("trian")


def test_open_says_what_is_missing(tmp_path: Path) -> None:
    dataset = build(tmp_path / "clothing", [ROW])
    with pytest.raises(DataError, match=r"There is no folder .*clothin\. Did you mean 'clothing'\?"):
        Dataset.open(tmp_path / "clothin")
    with pytest.raises(DataError, match=r"is not a dataset: it has no dataset\.yaml"):
        Dataset.open(tmp_path)
    (dataset.root / "train.jsonl").unlink()
    with pytest.raises(DataError, match=r"the file 'train\.jsonl' of split 'train' is missing"):
        Dataset.open(dataset.root)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("name: x\ntask: classification\nclases: [a, b]", "unknown key 'clases'. Did you mean 'classes'?"),
        ("name: x", "the key 'task' is missing"),
        ("name: 3\ntask: classification", "'name' should be a valid string, not 3"),
        ("name: x\ntask: classification\nclasses: [a, a]", "a is listed more than once"),
        ("name: x\ntask: t\nframe: relative", "'frame' should be 'pixels', not 'relative'"),
        ("name: x\ntask: t\nsplits: {train: train.csv}", "must end in .jsonl or .parquet"),
        ("name: x\ntask: t\nsplits: {train: ../train.jsonl}", "leaves the folder"),
        ("name: x\ntask: t\nquestion: " + "why " * 2500, "'question' should have at most 4000 characters"),
        ("- a\n- b", "must hold keys and values"),
        ("a: [", "is not readable YAML"),
        ("", "must hold keys and values"),
    ],
)
def test_a_bad_card_is_told_by_file_and_key(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "dataset.yaml").write_text(text)
    with pytest.raises(DataError) as error:
        Dataset.open(tmp_path)
    assert reason in str(error.value) and str(tmp_path) in str(error.value)


def test_an_unknown_task_is_told(tmp_path: Path) -> None:
    dataset = build(tmp_path / "set", [ROW])
    dataset.card.model_copy(update={"task": "clasification"}).write(dataset.root)
    with pytest.raises(UserError, match="Did you mean 'classification'"):
        list(Dataset.open(dataset.root).records("train"))


def parquet(folder: Path, task: str, columns: dict[str, Any], **kinds: pyarrow.DataType) -> Dataset:
    dataset = build(folder, [], task, "Where?" if task == "grounding" else None)
    number = len(columns["annotation"])
    columns = {"id": [f"r{i}" for i in range(number)], "images": [["a.png"]] * number} | columns
    arrays = {name: pyarrow.array(values, type=kinds.get(name)) for name, values in columns.items()}
    pyarrow.parquet.write_table(pyarrow.table(arrays), folder / "train.parquet", row_group_size=2)
    dataset.card.model_copy(update={"splits": {"train": "train.parquet"}}).write(folder)
    return Dataset.open(folder)


def test_parquet_annotations_may_be_native_or_json(tmp_path: Path) -> None:
    share = {"cat": 0.25, "dog": 0.75}
    text = [json.dumps(share)] * 3
    struct = [share, {"cat": 1.0}, {"dog": 1.0}]
    kind = pyarrow.map_(pyarrow.string(), pyarrow.float64())
    for name, values, kinds in [("a", text, {}), ("b", struct, {}), ("c", struct, {"annotation": kind})]:
        dataset = parquet(tmp_path / name, "distribution", {"annotation": values}, **kinds)
        read = [record.annotation for record in dataset.records("train")]
        assert read == (struct if name != "a" else [share] * 3)
    boxes = parquet(tmp_path / "d", "grounding", {"annotation": [[1, 2, 3, 4], [0.5, 1, 2, 3]]})
    assert [record.annotation for record in boxes.records("train")] == [[1, 2, 3, 4], [0.5, 1, 2, 3]]
    names = parquet(tmp_path / "e", "classification", {"annotation": ["cat", '"dog"', "[x"]})
    assert [record.annotation for record in names.records("train")] == ["cat", "dog"]
    assert read_quarantine(names.root)[0].row == 3


def test_parquet_rows_are_checked_as_jsonl_rows_are(tmp_path: Path) -> None:
    columns = {"annotation": ["cat", None, "cow", "dog"], "question": ["?", None, None, None], "width": [20] * 4}
    dataset = parquet(tmp_path / "set", "classification", columns | {"height": [10] * 4})
    assert [(record.id, record.question) for record in dataset.records("train")] == [("r0", "?"), ("r3", None)]
    assert [(p.row, p.kind) for p in read_quarantine(dataset.root)] == [(2, "annotation"), (3, "annotation")]


def test_a_parquet_file_that_is_none_is_told(tmp_path: Path) -> None:
    dataset = parquet(tmp_path / "set", "classification", {"annotation": ["cat"]})
    (dataset.root / "train.parquet").write_bytes(b"PAR1 nonsense")
    with pytest.raises(DataError, match=r"train\.parquet is no readable Parquet file"):
        list(dataset.records("train"))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=8,
)


@given(
    st.dictionaries(st.sampled_from([*Record.model_fields, "x"]), json_values) | json_values,
    st.sampled_from(["d", "g"]),
)
def test_any_row_is_a_record_or_a_reason(tmp_path_factory: pytest.TempPathFactory, row: Any, kind: str) -> None:
    from rise_vlm.tasks import make_task

    root = tmp_path_factory.getbasetemp()
    (root / "a.png").write_bytes(b"")
    if isinstance(row, dict):
        row = {"id": "a", "images": ["a.png"], "width": 5, "height": 5} | row
    name = {"d": "distribution", "g": "grounding"}[kind]
    judge = make_task(Card(name="x", task=name, classes=CLASSES if kind == "d" else [], question="?")).check
    try:
        assert isinstance(check_row(row, root, judge, set()), Record)
    except BadRow as bad:
        assert str(bad)


boxes = st.tuples(st.integers(0, 19), st.integers(0, 9)).flatmap(
    lambda at: st.tuples(st.just(at[0]), st.just(at[1]), st.integers(at[0] + 1, 20), st.integers(at[1] + 1, 10))
)
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)


@given(st.lists(st.tuples(names, boxes, names), unique_by=lambda row: row[0], min_size=1, max_size=5))
def test_what_is_written_is_read_back(tmp_path_factory: pytest.TempPathFactory, rows: list[Any]) -> None:
    root = tmp_path_factory.mktemp("set") / "Ä set 🐈"
    with DatasetWriter(root, Card(name="ä", task="grounding")) as writer:
        for id_, box, question in rows:
            picture = Image.new("RGB", (20, 10), (len(id_), 0, 0))
            writer.add("test", id=id_, image=picture, annotation=list(box), question=question, meta={"é": [1]})
    dataset = Dataset.open(root)
    read = list(dataset.records("test", strict=True))
    assert [(r.id, tuple(r.annotation), r.question) for r in read] == rows
    assert [dataset.image(r).getpixel((0, 0))[0] for r in read] == [len(r.id) for r in read]
    assert all(r.meta == {"é": [1]} and (r.width, r.height) == (20, 10) for r in read)
