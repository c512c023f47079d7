"""Geometry3K (Inter-GPS): a folder per problem with ``data.json`` and ``img_diagram.png``; the answer is a letter.

The question is the problem with its choices; the logic forms go to meta. Splits are those of the folders above. The
picture of the whole problem is never used, since it shows the text and at times the answer. Left out: problems without
a diagram.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rise_vlm.data.checking import BadRow
from rise_vlm.data.formats.base import Found, Item, Options, Skip
from rise_vlm.data.formats.guessing import Glimpse
from rise_vlm.data.formats.places import annotation_files
from rise_vlm.data.formats.reading import list_of, object_of, read_json, text_of
from rise_vlm.data.images import safe_join
from rise_vlm.errors import DataError

PROBLEM, DIAGRAM, FORMS = "data.json", "img_diagram.png", "logic_form.json"
LETTERS = "ABCDE"
KEPT = ("text_logic_form", "diagram_logic_form", "point_positions", "line_instances", "circle_instances")
"""What of the logic forms goes to meta."""


def sees(glimpse: Glimpse) -> str | None:
    """Files data.json with a problem and its choices."""
    keys = glimpse.keys_where(lambda path: path.name == PROBLEM) if PROBLEM in glimpse.names else set()
    return "data.json files with problem_text and choices" if {"problem_text", "choices"} <= keys else None


def read(source: Path, options: Options) -> Iterator[Found]:
    """Yield an item for every problem."""
    for path, name, split in annotation_files(source, "geometry3k", (".json",), by_name=False):
        if path.name != PROBLEM:
            continue
        try:
            yield _item(path, name, split)
        except BadRow as bad:
            yield bad.at(name, None)
        except DataError as error:
            yield BadRow("row", str(error)).at(name, None)


def _item(path: Path, name: str, split: str | None) -> Found:
    problem = object_of(read_json(path))
    text, letter = text_of(problem.get("problem_text")), text_of(problem.get("answer"))
    choices = [text_of(choice) for choice in list_of(problem.get("choices"))]
    id_ = path.parent.name
    if not text or not 2 <= len(choices) <= len(LETTERS) or not all(choices):
        raise BadRow("row", "the problem has no problem_text or no list of choices", id_)
    if letter not in LETTERS[: len(choices)] or not letter:
        raise BadRow("annotation", f"the answer '{letter[:20]}' is no letter of {len(choices)} choices", id_)
    diagram = safe_join(path.parent, DIAGRAM)
    if not diagram.exists():
        return Skip(f"a problem without {DIAGRAM}", id_)
    listed = " ".join(f"{mark}. {choice}" for mark, choice in zip(LETTERS, choices, strict=False))
    question = f"{text}\nChoices: {listed}"
    return Item(name, None, id_, name, diagram, letter, split, question, meta=_meta(path.parent, problem, letter))


def _meta(folder: Path, problem: dict[str, Any], letter: str) -> dict[str, Any]:
    """Kinds of the problem, the value of the right choice, and the logic forms where there are any."""
    values = list_of(problem.get("precise_value"))
    at = LETTERS.index(letter)
    told = {"figures": problem.get("problem_type_graph"), "goal": problem.get("problem_type_goal")}
    told |= {"value": values[at]} if at < len(values) else {}
    forms = folder / FORMS
    known = object_of(read_json(forms)) if forms.is_file() else {}
    return told | ({"logic_form": {key: known[key] for key in KEPT if key in known}} if known else {})
