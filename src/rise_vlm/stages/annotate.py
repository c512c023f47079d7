"""Annotating images that nobody has annotated: an answer and its rationale for each, streamed to a JSONL file.

Images are read a few at a time, so their number does not matter; those that are in the file already are skipped, so a
command that was stopped goes on; one that cannot be read is told and passed over.
Left out: foreign output formats.
"""

from __future__ import annotations

import glob
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
from rise_vlm.engine.sample import sample
from rise_vlm.errors import DataError, UserError
from rise_vlm.policy import Policy
from rise_vlm.stages.files import Row, append_rows, mend_rows
from rise_vlm.tasks import make_task
from rise_vlm.tasks.base import Role, Task

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".jp2", ".avif")
BATCH = 8


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


def annotate(
    policy: Policy, task: Task, question: str | None, images: Sequence[Path], out: Path, role: Role, max_new_tokens: int
) -> Outcome:
    """Append one row per image to ``out``."""
    outcome = Outcome()
    done = {row["image"] for row in mend_rows(out)}
    waiting = [path for path in images if str(path) not in done]
    outcome.skipped = len(images) - len(waiting)
    if outcome.skipped:
        say(f"{outcome.skipped} images are in {out} already and are skipped.")
    out.parent.mkdir(parents=True, exist_ok=True)
    with progress("annotate", total=len(waiting)) as bar:
        for start in range(0, len(waiting), BATCH):
            paths = waiting[start : start + BATCH]
            opened = list(_opened(paths, question, outcome))
            if opened:
                rows = _answer(policy, task, opened, role, max_new_tokens)
                append_rows(out, rows)
                outcome.annotated += len(rows)
                outcome.unparsed += sum(row["annotation"] is None for row in rows)
            bar.update(len(paths))
    return outcome


def _opened(paths: Sequence[Path], question: str | None, outcome: Outcome) -> Iterator[tuple[Record, Image.Image]]:
    for path in paths:
        try:
            image = read_image(path)
        except DataError as error:
            say(f"skipped: {error}")
            outcome.broken += 1
            continue
        width, height = image.size
        # The record has no annotation: asking for an answer never looks at it.
        yield (
            Record(id=str(path), images=(str(path),), annotation="", question=question, width=width, height=height),
            image,
        )


def _answer(
    policy: Policy, task: Task, opened: Sequence[tuple[Record, Image.Image]], role: Role, max_new_tokens: int
) -> list[Row]:
    prompts = [policy.encode(task.prompt(role, record, policy.frame), [image]) for record, image in opened]
    sampled = sample(
        policy,
        prompts,
        1,
        max_new_tokens=max_new_tokens,
        temperature=0.0,
        generator=torch.Generator().manual_seed(0),  # greedy: nothing is drawn
    )
    return [_row(policy, task, record, group[0].text, role) for (record, _), group in zip(opened, sampled, strict=True)]


def _row(policy: Policy, task: Task, record: Record, completion: str, role: Role) -> dict[str, Any]:
    read = task.parse_completion(completion, record, policy.frame, role)
    return {
        "id": Path(record.id).stem,
        "image": record.id,
        "width": record.width,
        "height": record.height,
        "question": task.ask(record),
        "annotation": read.parsed.value,
        "rationale": read.rationale,
        "completion": completion,
        "reason": read.parsed.reason,
    }
