"""Annotating images that nobody has annotated: an answer and its rationale for each, streamed to a JSONL file.

Images are read a few at a time, so their number does not matter; those that are in the file already are skipped, so a
command that was stopped goes on; one that cannot be read, or whose shape the model does not take, is told and passed
over. Each row says what made it, and a file that something else made is refused, never added to.
Left out: foreign output formats (``rise data export`` writes those).
"""

from __future__ import annotations

import glob
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from PIL import Image

from rise_vlm.console import progress, say
from rise_vlm.data import Card, Record
from rise_vlm.data.card import CARD, explain
from rise_vlm.data.images import read_image
from rise_vlm.data.record import MAX_QUESTION
from rise_vlm.engine.sample import sample
from rise_vlm.errors import DataError, UserError
from rise_vlm.policy import Policy, Prompt
from rise_vlm.stages.files import Row, append_rows, mend_rows
from rise_vlm.stages.plan import model_digest
from rise_vlm.tasks import make_task
from rise_vlm.tasks.base import Role, Task

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".jp2", ".avif")
BATCH = 8


START = '{"id": '
"""How each row begins: what tells a torn first row from a file of something else."""

PARTS = {"digest": "model", "task": "task", "classes": "set of classes", "question": "question", "role": "role"}
"""What must agree for answers to stand in one file -> what it is called."""


@dataclass(frozen=True)
class Source:
    """What makes the answers; it stands in each row, as ``source``. ``digest`` is of the model's files."""

    model: str
    digest: str
    task: str
    classes: str
    question: str
    role: Role

    @classmethod
    def of(cls, model: str, task: Task, question: str | None, role: Role) -> Source:
        """The source of the answers of ``model`` (``tiny``, a hub id or a folder) to one question."""
        asked = question or task.question or task.default_question or ""
        classes = hashlib.sha256(json.dumps(task.classes).encode()).hexdigest()[:12] if task.classes else ""
        return cls(model, model_digest(model), task.name, classes, asked, role)


@dataclass
class Outcome:
    """What came of it."""

    annotated: int = 0
    unparsed: int = 0
    skipped: int = 0
    broken: int = 0


def task_of(path: Path, question: str | None) -> tuple[Task, str | None]:
    """The task that a dataset or a short YAML file (``task``, ``classes``, ``question``) names, and the question.

    Raises:
        UserError: no such file, an unknown key, or a task without the question it needs.
    """
    from pydantic import ValidationError

    if path.is_dir():
        card = Card.read(path)
    elif path.name == CARD:
        card = Card.read(path.parent)
    else:
        try:
            values = yaml.safe_load(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise UserError(f"--task {path} cannot be read: {error.strerror}.") from None
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise UserError(f"--task {path} is not readable YAML: {' '.join(str(error).split())}") from None
        if not isinstance(values, dict):
            raise UserError(f"--task {path} must hold keys and values, such as 'task: classification'.")
        try:
            card = Card(**{"name": path.stem, **{str(key): value for key, value in values.items()}})
        except ValidationError as error:
            raise UserError(f"--task {path}: {explain(error, Card)}") from None
    task = make_task(card)
    asked = question or card.question
    if asked is None and task.default_question is None:
        raise UserError(f"{task.name} needs a question: add --question, or 'question' to {path}.")
    if asked and len(asked) > MAX_QUESTION:
        where = "--question" if question else f"the question in {path}"
        raise UserError(f"{where} has {len(asked)} characters; at most {MAX_QUESTION} are asked. Shorten it.")
    return task, asked


def find_images(named: Sequence[str]) -> list[Path]:
    """The files that paths, folders (searched throughout, by suffix) and globs name, each once, in order.

    Raises:
        UserError: a name that matches nothing.
    """
    found: dict[Path, None] = {}
    for name in named:
        path = Path(name)
        if path.is_dir():
            matches = [p for p in sorted(path.rglob("*")) if p.suffix.lower() in SUFFIXES and p.is_file()]
        elif path.exists():
            matches = [path]
        else:
            # Not Path.glob, which takes no absolute pattern.
            matches = [Path(match) for match in sorted(glob.glob(name, recursive=True)) if Path(match).is_file()]  # noqa: PTH207
        if not matches:
            what = "holds no image" if path.is_dir() else "is neither a file nor a folder and matches nothing"
            raise UserError(f"'{name}' {what}.")
        found |= dict.fromkeys(matches)
    return list(found)


def answered(out: Path, source: Source) -> set[str]:
    """The images that ``out`` holds answers of ``source`` for; a torn last row of it is cut off.

    Raises:
        UserError: ``out`` holds something else, or answers of something else. It is left as it is.
    """
    if not out.exists():
        return set()
    with out.open("rb") as file:
        line = file.readline()
    first = line.decode("utf-8", errors="replace")
    torn = not line.endswith(b"\n") and (first.startswith(START) or START.startswith(first)) and not _whole(first)
    if line and not torn and "source" not in (_whole(first) or {}):
        raise UserError(f"--out {out} exists and holds no answers of 'rise annotate'. Give another --out.")
    done: set[str] = set()
    wanted = vars(source)
    for row in mend_rows(out):
        theirs = row.get("source")
        if not isinstance(theirs, dict) or not isinstance(row.get("image"), str):
            raise UserError(f"--out {out} holds rows that 'rise annotate' did not write. Give another --out.")
        others = [name for key, name in PARTS.items() if theirs.get(key) != wanted[key]]
        if others:
            raise UserError(
                f"--out {out} holds the answers of another {' and another '.join(others)} (of {theirs.get('model')}, "
                f"{theirs.get('task')}, role {theirs.get('role')}, '{str(theirs.get('question'))[:60]}'). Give "
                "another --out."
            )
        done.add(row["image"])
    return done


def _whole(line: str) -> Row | None:
    """The JSON object that a line is, or None."""
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) else None


def annotate(
    policy: Policy, task: Task, source: Source, images: Sequence[Path], out: Path, max_new_tokens: int
) -> Outcome:
    """Append one row per image to ``out``."""
    outcome = Outcome()
    done = answered(out, source)
    waiting = [path for path in images if str(path) not in done]
    outcome.skipped = len(images) - len(waiting)
    if outcome.skipped:
        say(f"{outcome.skipped} images are in {out} already and are skipped.")
    out.parent.mkdir(parents=True, exist_ok=True)
    with progress("annotate", total=len(waiting)) as bar:
        for start in range(0, len(waiting), BATCH):
            paths = waiting[start : start + BATCH]
            asked = list(_asked(policy, task, source, paths, outcome))
            if asked:
                rows = _answer(policy, task, source, asked, max_new_tokens)
                append_rows(out, rows)
                outcome.annotated += len(rows)
                outcome.unparsed += sum(row["annotation"] is None for row in rows)
            bar.update(len(paths))
    return outcome


def _asked(
    policy: Policy, task: Task, source: Source, paths: Sequence[Path], outcome: Outcome
) -> Iterator[tuple[Record, Prompt]]:
    """The record and prompt of each picture that can be read and that the model takes; the others are told."""
    for path in paths:
        try:
            record, image = _opened(path, source.question)
            yield record, policy.encode(task.prompt(source.role, record, policy.frame), [image])
        except DataError as error:
            say(f"skipped: {error}")
            outcome.broken += 1
        except UserError as error:
            say(f"skipped: {path}: {error}")
            outcome.broken += 1


def _opened(path: Path, question: str) -> tuple[Record, Image.Image]:
    name = str(path)
    try:
        name.encode()
    except UnicodeEncodeError:
        raise DataError(f"{name!a}: this name is not UTF-8, so no row can hold it. Rename it.") from None
    image = read_image(path)
    width, height = image.size
    # The record has no annotation: asking for an answer never looks at it.
    record = Record(id=name, images=(name,), annotation="", question=question or None, width=width, height=height)
    return record, image


def _answer(
    policy: Policy, task: Task, source: Source, asked: Sequence[tuple[Record, Prompt]], max_new_tokens: int
) -> list[Row]:
    sampled = sample(
        policy,
        [prompt for _, prompt in asked],
        1,
        max_new_tokens=max_new_tokens,
        temperature=0.0,
        generator=torch.Generator().manual_seed(0),  # greedy: nothing is drawn
    )
    return [_row(policy, task, source, record, one[0].text) for (record, _), one in zip(asked, sampled, strict=True)]


def _row(policy: Policy, task: Task, source: Source, record: Record, completion: str) -> dict[str, Any]:
    read = task.parse_completion(completion, record, policy.frame, source.role)
    return {
        "id": record.id,
        "image": record.id,
        "width": record.width,
        "height": record.height,
        "question": task.ask(record),
        "annotation": read.parsed.value,
        "rationale": read.rationale,
        "completion": completion,
        "reason": read.parsed.reason,
        "source": vars(source),
    }
