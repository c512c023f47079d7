"""Task files: ten lines suffice, and every mistake in them is one message with file, key and the nearest word."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rise_vlm.data.record import MAX_QUESTION
from rise_vlm.errors import DataError, UserError
from rise_vlm.stages.task_file import fill, task_of


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "job.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_ten_lines_suffice(tmp_path: Path) -> None:
    path = written(
        tmp_path, "task: detection\nclasses:\n- cat\n- dog\nsynonyms:\n  cat: [kitten]\nquestion: Which of {classes}?\n"
    )
    task, question = task_of(path, None)
    assert (task.name, task.classes, question) == ("detection", ("cat", "dog"), "Which of cat, dog?")
    assert task.synonyms == {"cat": ("kitten",)}
    assert task_of(path, "What else?")[1] == "What else?"


def test_two_lines_suffice(tmp_path: Path) -> None:
    task, question = task_of(written(tmp_path, "\ufefftask: counting\n"), None)
    assert task.name == "counting" and question is None


def test_a_question_names_the_picture(tmp_path: Path) -> None:
    image = tmp_path / "Bolts" / "box 7.png"
    assert fill("How many {folder} are in {name}? {x}", image) == "How many Bolts are in box 7? {x}"
    with pytest.raises(DataError, match=r"box 7\.png"):
        fill("x" * (MAX_QUESTION - 3) + "{name}", image)


WRONG = {
    "task: detecton\nclasses: [a]": "unknown task 'detecton'.*Did you mean 'detection'",
    "task: detection\nclases: [a]": "unknown key 'clases'.*Did you mean 'classes'",
    "classes: [a]": "the key 'task' is missing",
    "task: detection": "job.yaml: classes: detection needs at least one class, and there is none",
    "task: classification\nclasses: [a]": "at least two classes",
    "task: classification\nclasses: cat": "'classes' should be a valid list, not 'cat'",
    "task: classification\nclasses: [yes, no]": "'classes.0' .* Put it in quotes",
    "task: classification\nclasses: [1, 2]": "'classes.0' .* not 1.*quotes",
    "task: classification\nclasses: [a, a]": "a is listed more than once",
    "task: classification\nclasses: [a, A]": "the same name apart from case",
    "task: classification\nclasses: [a, b]\nsynonyms: {c: [d]}": "'c' is not a class",
    "task: classification\nclasses: [a, b]\nquestion: 7": "'question' should be a valid string, not 7",
    "task: [detection]": "'task' should be a valid string",
    "task: grounding": "grounding needs a question",
    "task: grounding\nquestion: Where is the {class}?": "may hold {name}, {folder} and {classes}",
    "task: counting\nquestion: " + "why " * 2000: "at most 4000",
    "- task": "must hold keys and values",
    "": "must hold keys and values",
    "task: [": "not readable YAML",
    "task: 'a\0b'": "not readable YAML",
    "[" * 5000: "not readable YAML",
    "task: !!python/object:os.system {}": "not readable YAML",
}


@pytest.mark.parametrize("text", WRONG)
def test_a_mistake_is_told_with_the_file(tmp_path: Path, text: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(UserError, match=WRONG[text].replace("{", "[{]").replace("}", "[}]")) as told:
        task_of(path, None)
    assert "job.yaml" in str(told.value) and "dataset.yaml" not in str(told.value)
    assert "\n" not in str(told.value) and len(str(told.value)) < 600


def test_what_is_no_text_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not readable YAML"):
        task_of(written(tmp_path, b"\xff\xfe\x00t\x00a"), None)
    with pytest.raises(UserError, match="no such file"):
        task_of(tmp_path / "nowhere.yaml", None)
    os.mkfifo(tmp_path / "pipe.yaml")
    with pytest.raises(UserError, match="is no file"):
        task_of(tmp_path / "pipe.yaml", None)
    with pytest.raises(DataError, match=r"no dataset\.yaml"):
        task_of(tmp_path, None)
