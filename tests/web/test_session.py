"""What a review remembers, in which order it shows things, and the dataset that comes of it."""

from __future__ import annotations

import json
import tracemalloc
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from web_kit import journal, make_answers, make_dataset, picture

from rise_vlm.data import Dataset, Record
from rise_vlm.errors import UserError
from rise_vlm.web.items import Item, doubt, load
from rise_vlm.web.session import Refused, Session, same_answer

BOX = [40, 30, 100, 90]


def kept(out: Path) -> dict[str, Record]:
    dataset = Dataset.open(out)
    return {record.id: record for split in dataset.splits for record in dataset.records(split, strict=True)}


def reopened(session: Session, **options: Any) -> Session:
    session.journal.close()
    return Session(load(session.batch.source), session.out, **options)


def test_decisions_are_there_after_the_process_is_gone(tmp_path: Path) -> None:
    session = Session(load(make_dataset(tmp_path / "d", "classification")), tmp_path / "out")
    session.decide(0, "accept", "red", "What can be seen, number 0.")
    session.decide(1, "accept", "blue", "Another.")
    session.decide(2, "reject", "blue", "")
    with session.journal.path.open("ab") as file:
        file.write(b'{"key": "train/r0", "decision": "rej')  # killed while writing
    again = reopened(session)
    assert again.counts == {"undecided": 0, "accepted": 1, "corrected": 1, "rejected": 1}
    assert again.now(1).annotation == "blue" and again.now(1).rationale == "Another."
    again.decide(2, "undo", None, "")
    assert reopened(again).counts["undecided"] == 1


def test_a_draft_is_kept_but_decides_nothing(tmp_path: Path) -> None:
    session = Session(load(make_dataset(tmp_path / "d", "grounding")), tmp_path / "out")
    session.decide(0, "draft", [0, 0, 9, 9], "half a senten")
    again = reopened(session)
    assert again.now(0).annotation == [0, 0, 9, 9] and again.state(0) == "undecided"
    again.decide(1, "accept", [10, 10, 60, 60], "What can be seen, number 1.")
    again.finish("keep")
    assert kept(tmp_path / "out")["r0"].annotation == BOX  # as it came, not the half edit


def test_a_decision_about_something_that_changed_since_is_not_applied(tmp_path: Path) -> None:
    folder = make_dataset(tmp_path / "d", "classification")
    session = Session(load(folder), tmp_path / "out")
    session.decide(0, "accept", "red", "What can be seen, number 0.")
    session.decide(1, "accept", "green", "What can be seen, number 1.")
    rows = (folder / "train.jsonl").read_text(encoding="utf-8").replace('"red"', '"blue"')
    (folder / "train.jsonl").write_text(rows, encoding="utf-8")
    again = reopened(session)
    assert again.changed == 1 and again.state(0) == "undecided" and again.state(1) == "accepted"


@pytest.mark.parametrize(
    ("task", "annotation", "told"),
    [
        ("classification", "purple", "unknown class 'purple'"),
        ("distribution", {"joy": 0.5}, "sum to 0.5"),
        ("grounding", [0, 0, 999, 9], "leaves the image"),
        ("grounding", None, "nothing to accept yet"),
        ("detection", [{"label": "spoon", "box": [0, 0, 9, 9]}], "spoon"),
        ("counting", float("nan"), "NaN"),
        ("counting", 2.5, "whole number"),
    ],
)
def test_what_the_task_refuses_is_not_accepted_and_not_written(
    tmp_path: Path, task: str, annotation: Any, told: str
) -> None:
    session = Session(load(make_dataset(tmp_path / "d", task)), tmp_path / "out")
    with pytest.raises(Refused, match=told):
        session.decide(0, "accept", annotation, "")
    assert journal(session) == [] and session.state(0) == "undecided"


def test_json_nested_too_deep_is_refused(tmp_path: Path) -> None:
    session = Session(load(make_dataset(tmp_path / "d", "counting")), tmp_path / "out")
    with pytest.raises(Refused):
        session.decide(0, "accept", None, "", "[" * 100_000)


def test_accepting_without_an_edit_keeps_the_annotation_as_it_was_written(tmp_path: Path) -> None:
    session = Session(load(make_dataset(tmp_path / "d", "distribution")), tmp_path / "out")
    session.decide(1, "accept", {"calm": 1, "joy": 0}, "What can be seen, number 1.")  # 1, as a browser writes 1.0
    assert session.state(1) == "accepted"
    session.finish("leave out")
    (record,) = kept(tmp_path / "out").values()
    assert record.annotation == {"calm": 1.0} and record.meta == {"reviewed": "accepted"}


def test_a_dataset_keeps_its_splits_its_undecided_and_its_images(tmp_path: Path) -> None:
    folder = make_dataset(tmp_path / "d", "detection", split="val")
    session = Session(load(folder), tmp_path / "out")
    session.decide(0, "reject", None, "")
    told = session.finish("keep")
    assert told["splits"] == {"val": 2} and told["left_out"] == []
    records = kept(tmp_path / "out")
    assert set(records) == {"r1", "r2"} and records["r1"].annotation == []
    source = Dataset.open(folder)
    image = (folder / next(source.records("val")).images[0]).read_bytes()
    assert image not in {path.read_bytes() for path in (tmp_path / "out").rglob("*.png")}
    assert len(list((tmp_path / "out").rglob("*.png"))) == 2
    session.decide(0, "undo", None, "")
    assert session.finish("keep")["splits"] == {"val": 3}  # finishing again replaces what it wrote itself


def test_finish_counts_edits_that_nobody_accepted(tmp_path: Path) -> None:
    session = Session(load(make_dataset(tmp_path / "d", "counting")), tmp_path / "out")
    session.decide(0, "draft", None, "What can be seen, number 0.", "7")
    session.decide(1, "draft", 2, "Other words.")
    session.decide(2, "draft", 3, "What can be seen, number 2.")  # edited back to how it came
    assert session.finish("keep")["edited"] == 2
    session.decide(0, "accept", None, "What can be seen, number 0.", "7")
    session.decide(1, "undo", None, "")
    assert session.finish("keep")["edited"] == 0


def test_finish_does_not_replace_what_was_changed_since(tmp_path: Path) -> None:
    out, session = tmp_path / "out", Session(load(make_dataset(tmp_path / "d", "counting")), tmp_path / "out")
    session.finish("keep")
    session = reopened(session)
    session.finish("keep")  # its own
    rows = (out / "train.jsonl").read_text(encoding="utf-8").replace("number 1", "by hand")
    (out / "train.jsonl").write_text(rows, encoding="utf-8")
    with pytest.raises(UserError, match="was changed since Finish wrote it"):
        session.finish("keep")
    assert "by hand" in (out / "train.jsonl").read_text(encoding="utf-8")
    with pytest.raises(UserError, match="add --force"):
        reopened(session)
    assert reopened(session, force=True).finish("keep")["splits"] == {"train": 3}


def test_a_folder_that_contains_the_source_is_refused(tmp_path: Path) -> None:
    make_dataset(tmp_path / "d", "grounding")
    source = make_answers(tmp_path / "d" / "more", [{"annotation": BOX}])
    with pytest.raises(UserError, match="contains what is being reviewed"):
        Session(load(source), tmp_path / "d", force=True)
    assert (tmp_path / "d" / "dataset.yaml").is_file()


def test_answers_are_dealt_to_splits_by_their_images(tmp_path: Path) -> None:
    rows = [{"annotation": BOX} for _ in range(60)]
    session = Session(load(make_answers(tmp_path / "a", rows)), tmp_path / "out", shares={"val": 0.2, "test": 0.3})

    def dealt(out: Path) -> dict[str, str]:
        dataset = Dataset.open(out)
        return {record.id: split for split in dataset.splits for record in dataset.records(split)}

    for index in range(20):
        session.decide(index, "accept", BOX, "A square.")
    session.finish("leave out")
    first = dealt(tmp_path / "out")
    session.finish("keep")
    then = dealt(tmp_path / "out")
    assert len(then) == 60 and first.items() <= then.items()  # more records move none of those before
    assert set(then.values()) == {"train", "val", "test"}
    (tmp_path / "a").rename(tmp_path / "moved")
    moved = Session(load(tmp_path / "moved" / "answers.jsonl"), tmp_path / "more", shares=session.shares)
    moved.finish("keep")
    assert dealt(tmp_path / "more") == then  # nor does their folder
    assert Dataset.open(tmp_path / "out").card.source == "answers of model, reviewed"


def test_an_image_that_is_gone_is_left_out_and_told(tmp_path: Path) -> None:
    source = make_answers(tmp_path / "a", [{"annotation": BOX}, {"annotation": BOX}])
    session = Session(load(source), tmp_path / "out")
    for index in range(2):
        session.decide(index, "accept", BOX, "A square.")
    (tmp_path / "a" / "p0.png").unlink()
    told = session.finish("leave out")
    assert sum(told["splits"].values()) == 1 and "p0.png" in told["left_out"][0]


def test_nothing_accepted_writes_nothing(tmp_path: Path) -> None:
    session = Session(load(make_answers(tmp_path / "a", [{"annotation": BOX}])), tmp_path / "out")
    with pytest.raises(UserError, match="Nothing was accepted"):
        session.finish("leave out")
    assert not (tmp_path / "out").exists()


def test_of_an_answer_only_what_is_reviewed_stands_in_memory(tmp_path: Path) -> None:
    text = "word " * 20_000
    path = make_answers(tmp_path / "a", [{"annotation": BOX, "completion": text} for _ in range(100)])
    tracemalloc.start()
    assert len(load(path).items) == 100
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 2_000_000 < path.stat().st_size / 4


HINTS = st.fixed_dictionaries(
    {},
    optional={
        "confidence": st.one_of(st.floats(0, 1), st.none(), st.text(max_size=3)),
        "reconstruction": st.one_of(st.floats(0, 1), st.just(float("nan")), st.just({"x": 1})),
        "review": st.one_of(st.booleans(), st.none()),
    },
)


@given(st.lists(st.tuples(HINTS, st.booleans()), max_size=8))
def test_any_hints_give_an_order_and_less_certain_never_comes_later(given_hints: list[tuple[dict, bool]]) -> None:
    items = [
        Item(
            Record(id=str(i), images=("x",), annotation=BOX if answered else None, width=200, height=150),
            None,
            (),
            hints,
        )
        for i, (hints, answered) in enumerate(given_hints)
    ]
    ordered = sorted(items, key=doubt)
    for one, other in pairwise(ordered):
        assert (one.record.annotation is None) >= (other.record.annotation is None)
        if all(type(item.hints.get("confidence")) is float and len(item.hints) == 1 for item in (one, other)):
            answered = one.record.annotation is not None and other.record.annotation is not None
            assert not answered or one.hints["confidence"] <= other.hints["confidence"]


@given(st.dictionaries(st.sampled_from("abc"), st.floats(0, 1)))
def test_a_class_of_probability_zero_may_be_left_out(shares: dict[str, float]) -> None:
    assert same_answer(shares, {name: share for name, share in shares.items() if share})
    assert not same_answer(shares, {**shares, "d": 0.5})


def test_answers_with_classes_need_their_task_and_take_no_other(tmp_path: Path) -> None:
    source = make_answers(tmp_path / "a", [{"annotation": "red"}], task="classification")
    rows = [json.loads(line) for line in source.read_text(encoding="utf-8").splitlines()]
    from rise_vlm.stages.annotate import Source  # what 'rise annotate' itself writes
    from rise_vlm.tasks.classification import Classification

    rows[0]["source"] |= {"classes": Source.of("tiny", Classification(["red", "blue"]), None, "think").classes}
    source.write_text(json.dumps(rows[0]) + "\n", encoding="utf-8")
    with pytest.raises(UserError, match="does not list its classes: add --task"):
        load(source)
    task = tmp_path / "task.yaml"
    task.write_text("task: classification\nclasses: [red, blue]\n", encoding="utf-8")
    assert load(source, task).card.classes == ["red", "blue"]
    task.write_text("task: classification\nclasses: [red, pink]\n", encoding="utf-8")
    with pytest.raises(UserError, match="other classes"):
        load(source, task)
    task.write_text("task: counting\nquestion: How many?\n", encoding="utf-8")
    with pytest.raises(UserError, match="is for counting"):
        load(source, task)


def test_bad_rows_are_told_and_do_not_hide_the_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = make_answers(tmp_path / "a", [{"annotation": BOX}, {"annotation": BOX}, {"annotation": BOX}])
    lines = source.read_text(encoding="utf-8").splitlines()
    (tmp_path / "a" / "p1.png").unlink()
    lines[2] = lines[2].replace('"width": 200', '"width": "wide"').replace('"height": 150, ', "")
    picture(2).save(tmp_path / "a" / "p2.png")
    source.write_text("\n".join([*lines, "[1, 2]", "{torn"]), encoding="utf-8")
    batch = load(source)
    assert [item.record.id for item in batch.items] == ["p0.png", "p2.png"]
    assert (batch.items[1].record.width, batch.items[1].record.height) == (200, 150)  # read from the file
    told = capsys.readouterr().err
    assert "1 whose image is missing" in told and "2 no answers of 'rise annotate'" in told


def test_without_file_locks_as_on_windows_a_journal_is_written_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rise_vlm.lock.fcntl", None)
    session = Session(load(make_dataset(tmp_path / "d", "classification")), tmp_path / "out")
    session.decide(0, "accept", "red", "Seen.")
    assert len(reopened(session).journal.rows) == 1
