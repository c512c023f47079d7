"""Rows of Reason-RFT that say two things: which are put aside, which lose a rationale, and that the user is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from format_kit import found, put, put_text
from PIL import Image

from rise_vlm.cli import run
from rise_vlm.data import Card, Dataset, DatasetWriter
from rise_vlm.data.checking import Problem, read_quarantine
from rise_vlm.data.formats.base import Item, Skip

RED, CYAN = "change_color(1, red)", "change_color(1, cyan)"
BOTH = "change_color(1, cyan), change_shape(2, cube)"


def read(folder: Path, task: str, **row: Any) -> tuple[Item | Problem, list[str]]:
    """What a row becomes, and what of it is left out."""
    put(folder, "1.png", "2.png")
    image = ["1.png", "2.png"] if task == "transformation" else "1.png"
    file = put_text(folder / "a.json", [{"id": "a", "image": image, "problem": "How?"} | row])
    all_ = found("reasonrft", file, task)
    left = [each for each in all_ if isinstance(each, Skip)]
    assert all(each.name == "a" for each in left)
    (one,) = [each for each in all_ if isinstance(each, Item | Problem)]
    return one, [each.reason for each in left]


@pytest.mark.parametrize(
    ("task", "answer", "said"),
    [
        ("transformation", CYAN, RED),
        ("transformation", CYAN, BOTH),
        ("transformation", CYAN, "it is cyan"),
        ("counting", "3", "4"),
        ("structure", "B", "A"),
        ("structure", "8.7", "A"),
        ("structure", "8.7", "9"),
        ("classification", "red kite", "kite"),
        ("distribution", "joy: 0.6, fear: 0.4", "joy: 0.4, fear: 0.6"),
        ("grounding", "[1, 2, 3, 4]", "[1, 2, 3, 5]"),
    ],
)
@pytest.mark.parametrize("form", ["<think>So.</think><answer>{}</answer>", "So.\n<answer>{}", "<answer>{}</answer>So."])
def test_a_rationale_that_ends_in_another_answer_is_dropped_and_told(
    tmp_path: Path, task: str, answer: str, said: str, form: str
) -> None:
    item, left = read(tmp_path, task, answer=answer, cot=form.format(said))
    assert isinstance(item, Item) and item.rationale is None and item.annotation is not None
    assert left == ["a rationale whose own <answer> is not its record's, which is kept without it"]


@pytest.mark.parametrize(
    ("task", "answer", "said"),
    [
        ("transformation", BOTH, "change_shape(2,'cube'), change_color(1, cyan)"),
        ("counting", "3", " three "),
        ("structure", "B", "(b)"),
        ("structure", "8.7", "8.70"),
        ("structure", "no idea", "no idea"),
        ("classification", "red_kite", "Red kite"),
        ("distribution", '{"joy": 1}', "joy: 1, fear: 0"),
        ("grounding", "[1, 2, 3, 4]", "[[1.0, 2, 3, 4]]"),
        ("detection", '[{"label": "a", "box": [1, 2, 3, 4]}, {"label": "b", "box": [0, 0, 1, 1]}]',
         '[{"label": "b", "box": [0, 0, 1, 1]}, {"label": "A", "box": [1, 2, 3, 4]}]'),
    ],
)  # fmt: skip
def test_the_same_answer_in_other_words_is_the_same(tmp_path: Path, task: str, answer: str, said: str) -> None:
    """In a rationale, of which it is no part, and where solution and answer both state it."""
    for form in ("<think>So.</think><answer>{}</answer>", "So.<answer>{}</answer>"):
        item, left = read(tmp_path, task, answer=answer, cot=form.format(said))
        assert isinstance(item, Item) and item.rationale == "So." and not left
    item, left = read(tmp_path, task, answer=f"<answer>{said}</answer>", solution=answer)
    assert isinstance(item, Item) and not left


def test_two_answers_of_which_one_is_another_drop_the_rationale(tmp_path: Path) -> None:
    cot = "<think>First <answer>4</answer>, no.</think><answer>3</answer>"
    item, left = read(tmp_path, "counting", answer="3", cot=cot)
    assert isinstance(item, Item) and item.rationale is None and len(left) == 1


def test_where_a_cot_is_dropped_the_solution_may_have_a_rationale(tmp_path: Path) -> None:
    solution = "<think>Three.</think><answer>3</answer>"
    item, left = read(tmp_path, "counting", solution=solution, cot="Four.<answer>4</answer>")
    assert isinstance(item, Item) and item.rationale == "Three." and len(left) == 1


@pytest.mark.parametrize("cot", [["First.", "Then."], 7, {"text": "So."}, False])
def test_a_cot_that_is_no_text_is_told(tmp_path: Path, cot: Any) -> None:
    item, left = read(tmp_path, "counting", answer="3", cot=cot)
    assert isinstance(item, Item) and (item.annotation, item.rationale) == (3, None)
    assert left == ["a cot that is no text; its record is kept without a rationale"]


@pytest.mark.parametrize("cot", [None, "", "  ", "<think></think>"])
def test_a_cot_that_is_not_there_is_not_missed(tmp_path: Path, cot: Any) -> None:
    item, left = read(tmp_path, "counting", answer="3", cot=cot)
    assert isinstance(item, Item) and item.rationale is None and not left


@pytest.mark.parametrize(
    ("task", "solution", "answer", "told"),
    [
        ("transformation", CYAN, RED, f"the solution is '{CYAN}' and the answer '{RED}'"),
        ("counting", "<think>So.</think><answer>3</answer>", 4, "the solution is '3' and the answer '4'"),
        ("structure", "A", "B", "the solution is 'A' and the answer 'B'"),
        ("counting", "3", "many", "'many'"),
    ],
)
def test_a_solution_and_an_answer_that_differ_are_put_aside(
    tmp_path: Path, task: str, solution: str, answer: Any, told: str
) -> None:
    problem, _ = read(tmp_path, task, solution=solution, answer=answer)
    assert isinstance(problem, Problem) and (problem.id, problem.kind) == ("a", "annotation")
    assert told in problem.reason


@pytest.mark.parametrize(("solution", "answer"), [("3", ""), ("", 3), ("3", None), (None, "3"), ("3", 3)])
def test_of_solution_and_answer_one_is_enough(tmp_path: Path, solution: Any, answer: Any) -> None:
    item, _ = read(tmp_path, "counting", solution=solution, answer=answer)
    assert isinstance(item, Item) and item.annotation == 3


def test_the_import_tells_what_it_dropped_and_put_aside(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(tmp_path / "in", "1.png", "2.png")
    row = {"image": ["1.png", "2.png"], "problem": "How?", "answer": CYAN}
    rows = [
        row | {"id": "good", "cot": f"<think>It is cyan.</think><answer>{CYAN}</answer>"},
        row | {"id": "contradicts", "cot": f"<think>It is red.</think><answer>{RED}</answer>"},
        row | {"id": "steps", "cot": ["It is red."]},
        row | {"id": "two", "solution": RED},
    ]
    put_text(tmp_path / "in" / "train.json", rows)
    out = tmp_path / "out"
    words = ["data", "import", "reasonrft", str(tmp_path / "in"), "--task", "transformation", "--out", str(out)]
    assert run(words) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "1 x a rationale whose own <answer> is not its record's, which is kept without it: contradicts" in told
    assert "1 x a cot that is no text; its record is kept without a rationale: steps" in told
    kept = {record.id: record.rationale for record in Dataset.open(out).records("train")}
    assert kept == {"good": "It is cyan.", "contradicts": None, "steps": None}
    assert [problem.id for problem in read_quarantine(out)] == ["two"]


@pytest.mark.parametrize("task", ["structure", "counting"])
def test_ids_of_structure_have_the_word_that_the_official_code_looks_for(tmp_path: Path, task: str) -> None:
    """An import takes off what the export put before them, and no more."""
    ids = ["7", "fig#8", "geomath-9"]
    with DatasetWriter(tmp_path / "set", Card(name="made", task=task)) as writer:
        for at, id_ in enumerate(ids):
            image = Image.new("RGB", (8, 8), (at, 0, 0))
            writer.add("train", id=id_, image=image, annotation="B" if task == "structure" else 3, question="How?")
    assert run(["data", "export", str(tmp_path / "set"), "reasonrft", "--out", str(tmp_path / "out")]) == 0
    (file,) = (tmp_path / "out").glob("*.json")
    written = ["geomath#7", "geomath#fig#8", "geomath-9"] if task == "structure" else ids
    assert [row["id"] for row in json.loads(file.read_text())] == written
    assert run(["data", "import", str(tmp_path / "out"), "--out", str(tmp_path / "again")]) == 0
    assert [record.id for record in Dataset.open(tmp_path / "again").records("train")] == ids
