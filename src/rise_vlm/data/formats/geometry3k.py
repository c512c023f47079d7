"""Geometry3K (Inter-GPS): a folder per problem with ``data.json`` and ``img_diagram.png``; the answer is a letter.

The question is the problem with its choices; the logic forms go to meta. Splits are those of the folders above. The
picture of the whole problem is never used, since it shows the text and at times the answer. With ``redraw`` the picture
is drawn anew from ``logic_form.json``. The archive of all problems' logic forms is read too: it has no pictures, texts
and choices, so its pictures are drawn, and asked what is written where. Left out: problems without a diagram.
"""

from __future__ import annotations

import hashlib
import random
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from rise_vlm.data.checking import BadRow, printable
from rise_vlm.data.formats.base import Found, Item, Options, Skip, scratch_folder
from rise_vlm.data.formats.guessing import Glimpse
from rise_vlm.data.formats.places import annotation_files
from rise_vlm.data.formats.reading import list_of, object_of, parse_json, read_json, text_of
from rise_vlm.data.images import safe_join
from rise_vlm.errors import DataError
from rise_vlm.worlds import figures_logic
from rise_vlm.worlds.figures_asked import asked
from rise_vlm.worlds.figures_plan import Plan
from rise_vlm.worlds.figures_redraw import redraw

PROBLEM, DIAGRAM, FORMS = "data.json", "img_diagram.png", "logic_form.json"
LETTERS = "ABCDE"
KEPT = ("text_logic_form", "diagram_logic_form", "point_positions", "line_instances", "circle_instances")
"""What of the logic forms goes to meta."""

DIAGRAMS, TEXTS = "diagram_logic_forms_annot.json", "text_logic_forms_annot.json"
"""What the archive of all problems' logic forms holds."""

LARGEST = 64 << 20
"""Bytes of either; the true ones have 3 MB."""

PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""How they may be packed; what is packed otherwise is unpacked whole by `zipfile`, however little of it is read."""

SPLITS = {"train": range(2101), "val": range(2101, 2401), "test": range(2401, 3002)}
"""Numbers of the problems in Geometry3K's splits."""

REDRAWN = {"picture": "redrawn from the logic form"}
UNDRAWN = "a logic form that is not drawn"


def sees(glimpse: Glimpse) -> str | None:
    """Files data.json with a problem and its choices, or the archive of logic forms."""
    if not glimpse.is_folder and glimpse.source.suffix.casefold() == ".zip":
        try:
            archived(glimpse.source, (DIAGRAMS,))
        except DataError:
            return None
        return f"a zip archive with {DIAGRAMS}"
    keys = glimpse.keys_where(lambda path: path.name == PROBLEM) if PROBLEM in glimpse.names else set()
    return "data.json files with problem_text and choices" if {"problem_text", "choices"} <= keys else None


def read(source: Path, options: Options) -> Iterator[Found]:
    """Yield an item for every problem."""
    with scratch_folder(options) as scratch:
        if source.suffix.casefold() == ".zip":
            yield from _archive(source, scratch)
            return
        for path, name, split in annotation_files(source, "geometry3k", (".json",), by_name=False):
            if path.name != PROBLEM:
                continue
            try:
                yield _redrawn(path, name, split, scratch) if options.redraw else _item(path, name, split)
            except BadRow as bad:
                yield bad.at(name, None)
            except DataError as error:
                yield BadRow("row", str(error)).at(name, None)


def _redrawn(path: Path, name: str, split: str | None, scratch: Path) -> Found:
    """A problem with its picture drawn anew."""
    if not (path.parent / FORMS).is_file():
        return Skip(f"a problem without {FORMS}, so it cannot be redrawn", path.parent.name)
    found = _item(path, name, split, picture=False)
    if not isinstance(found, Item):
        return found
    try:
        plan = figures_logic.read(object_of(read_json(path.parent / FORMS)))
    except figures_logic.Unreadable as why:
        return Skip(f"{UNDRAWN}: {why}", found.id)
    return replace(found, image=_draw(plan, found.id, scratch), meta=found.meta | REDRAWN)


def _draw(plan: Plan, id_: str, scratch: Path) -> Path:
    """The picture of a figure, drawn once though the source is gone through twice."""
    path = scratch / f"{hashlib.blake2b(id_.encode(errors='surrogatepass'), digest_size=16).hexdigest()}.png"
    if not path.exists():
        redraw(plan).save(path)
    return path


def _archive(source: Path, scratch: Path) -> Iterator[Found]:
    """An item for every logic form that can be drawn and has something written that can be asked for."""
    forms, texts = archived(source, (DIAGRAMS, TEXTS))
    for key, told in forms.items():
        id_, form = printable(key), object_of(told)
        try:
            plan = figures_logic.read(form)
        except figures_logic.Unreadable as why:
            yield Skip(f"{UNDRAWN}: {why}", id_)
            continue
        question = asked(plan, random.Random(f"geometry3k {id_}"))
        if question is None:
            yield Skip("a figure in which nothing is written that can be asked for", id_)
            continue
        stated = list_of(object_of(texts.get(key)).get("text_logic_forms"))
        known = {
            "text_logic_form": [text for text in stated if isinstance(text, str)],
            "diagram_logic_form": form.get("diagram_logic_forms"),
        }
        meta = REDRAWN | {"logic_form": known | {key: form[key] for key in KEPT if key in form}}
        yield Item(
            source.name, None, id_, id_, _draw(plan, id_, scratch), question[1], _split(id_), question[0], meta=meta
        )


def _split(id_: str) -> str | None:
    """The split of a problem by its number, as Inter-GPS has them."""
    number = int(id_) if id_.isdecimal() and len(id_) < 6 else -1
    return next((split for split, numbers in SPLITS.items() if number in numbers), None)


def archived(source: Path, names: Iterable[str]) -> list[dict[str, Any]]:
    """The JSON objects in a zip archive that go by ``names``, in whatever folder of it. Nothing is unpacked.

    Raises DataError where there is no such archive, where one is missing, too large or no object, and where a path
    leads out.
    """
    try:
        if not source.is_file():
            raise DataError(f"{source} is missing or no regular file.")
        with zipfile.ZipFile(source) as archive:
            inside = {PurePosixPath(name).name: name for name in archive.namelist()}
            for name in inside.values():
                if name.startswith("/") or "\\" in name or ".." in PurePosixPath(name).parts:
                    raise DataError(f"{source} holds '{name[:80]}', which leads out of it; it is not read.")
            return [_member(source, archive, name, inside.get(name)) for name in names]
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError, ValueError) as error:
        raise DataError(f"{source} cannot be read as a zip archive: {error}.") from error


def _member(source: Path, archive: zipfile.ZipFile, wanted: str, name: str | None) -> dict[str, Any]:
    if name is None:
        raise DataError(f"{source} holds no {wanted}; is it the logic_forms.zip of Inter-GPS?")
    if archive.getinfo(name).compress_type not in PACKED:
        raise DataError(f"{source}: {name} is packed in a way that is not read; pack it anew as a plain zip archive.")
    with archive.open(name) as file:
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise DataError(f"{source}: {name} is larger than the {LARGEST // 2**20} MiB that it may have.")
    value = parse_json(content, f"{source}: {name}")
    if not isinstance(value, dict):
        raise DataError(f"{source}: {name} holds no object with a logic form for each problem.")
    return value


def _item(path: Path, name: str, split: str | None, picture: bool = True) -> Found:
    problem = object_of(read_json(path))
    text, letter = text_of(problem.get("problem_text")), text_of(problem.get("answer"))
    choices = [text_of(choice) for choice in list_of(problem.get("choices"))]
    id_ = path.parent.name
    if not text or not 2 <= len(choices) <= len(LETTERS) or not all(choices):
        raise BadRow("row", "the problem has no problem_text or no list of choices", id_)
    if letter not in LETTERS[: len(choices)] or not letter:
        raise BadRow("annotation", f"the answer '{letter[:20]}' is no letter of {len(choices)} choices", id_)
    diagram = safe_join(path.parent, DIAGRAM)
    if picture and not diagram.exists():
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
