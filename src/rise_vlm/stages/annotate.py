"""Annotating images that nobody has annotated: an answer and its rationale for each, streamed to a JSONL file.

Pictures are read a batch at a time, so their number does not matter; those that are in the file already are skipped, so
a command that was stopped goes on; one that cannot be read, or whose shape the model does not take, is told and passed
over. Each row says what made it, and a file that something else made is refused, never added to.
Left out: foreign formats and the page, which are made of the rows (``outputs``, ``report.answers``).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch

from rise_vlm.console import progress, say
from rise_vlm.data import Record
from rise_vlm.data.images import read_image
from rise_vlm.engine.sample import sample
from rise_vlm.errors import DataError, UserError
from rise_vlm.policy import ImageInput, Policy, Prompt
from rise_vlm.stages.consistency import REVIEW_BELOW, REVIEW_BELOW_ELSE, Agreement, agree, needs_review
from rise_vlm.stages.files import Row, append_rows, cut_torn, read_rows
from rise_vlm.stages.pictures import ahead, by_size
from rise_vlm.stages.plan import model_digest
from rise_vlm.stages.rebuilding import Given, rebuild
from rise_vlm.stages.task_file import fill
from rise_vlm.tasks.base import Completion, Role, Task

START = '{"id": '
"""How each row begins: what tells a torn first row from a file of something else."""

PARTS = {
    "digest": "model",
    "task": "task",
    "classes": "set of classes",
    "question": "question",
    "role": "role",
    "samples": "number of samples",
    "temperature": "temperature",
    "check": "setting of --check",
    "seed": "seed",
    "max_new_tokens": "longest completion",
    "max_pixels": "bound of a resized picture",
}
"""What must agree for answers to stand in one file -> what it is called."""

UNKNOWN_PIXELS = 1 << 20
"""Taken for the pixels of a picture as the model gets it, where its processor does not say."""


@dataclass(frozen=True)
class Asking:
    """How answers are asked for. Without ``samples`` they are greedy. ``check`` asks for the annotation again from the
    rationale. ``review_below`` is the least figure that no person has to look at; None is the task's own.
    """

    max_new_tokens: int = 256
    samples: int = 0
    temperature: float = 0.7
    seed: int = 0
    check: bool = False
    review_below: float | None = None
    max_pixels: int | None = None

    def threshold(self, task: Task) -> float:
        """The figure below which a row is marked for review."""
        return REVIEW_BELOW.get(task.name, REVIEW_BELOW_ELSE) if self.review_below is None else self.review_below


@dataclass(frozen=True)
class Source:
    """What makes the answers; it stands in each row, as ``source``. ``digest`` is of the model's files."""

    model: str
    digest: str
    task: str
    classes: str
    question: str
    role: Role
    samples: int = 0
    temperature: float = 0.0
    check: bool = False
    seed: int = 0
    max_new_tokens: int = Asking.max_new_tokens
    max_pixels: int | None = None

    @classmethod
    def of(cls, model: str, task: Task, question: str | None, role: Role, asking: Asking | None = None) -> Source:
        """The source of the answers of ``model`` (``tiny``, a hub id or a folder) to one question."""
        asked, how = question or task.question or task.default_question or "", asking or Asking()
        classes = hashlib.sha256(json.dumps(task.classes).encode()).hexdigest()[:12] if task.classes else ""
        heat, seed = (how.temperature, how.seed) if how.samples else (0.0, 0)
        of_model = (model, model_digest(model), task.name, classes, asked, role)
        return cls(*of_model, how.samples, heat, how.check, seed, how.max_new_tokens, how.max_pixels)


_DEFAULTS = {field.name: field.default for field in fields(Source)}
"""What a row stands for that was written before there were such settings."""


@dataclass
class Outcome:
    """What came of it; ``review`` counts the new rows that a person should look at."""

    annotated: int = 0
    unparsed: int = 0
    skipped: int = 0
    broken: int = 0
    review: int = 0


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
    for row in read_rows(out):
        theirs = row.get("source")
        if not isinstance(theirs, dict) or not isinstance(row.get("image"), str):
            raise UserError(f"--out {out} holds rows that 'rise annotate' did not write. Give another --out.")
        others = [name for key, name in PARTS.items() if theirs.get(key, _DEFAULTS[key]) != wanted[key]]
        if others:
            raise UserError(
                f"--out {out} holds the answers of another {' and another '.join(others)} (of {theirs.get('model')}, "
                f"{theirs.get('task')}, role {theirs.get('role')}, '{str(theirs.get('question'))[:60]}'). Give "
                "another --out."
            )
        done.add(row["image"])
    cut_torn(out)
    return done


def _whole(line: str) -> Row | None:
    """The JSON object that a line is, or None."""
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) else None


def annotate(
    policy: Policy, task: Task, source: Source, images: Sequence[str], out: Path, asking: Asking, outcome: Outcome
) -> None:
    """Append one row per image to ``out``, and count in ``outcome``."""
    batches = ahead(_taken(policy, source, names) for names in by_size(images, _most_pixels(policy)))
    with progress("annotate", total=len(images)) as bar:
        for names, found in batches:
            asked = list(_asked(policy, task, source, asking, found, outcome))
            rows = _answer(policy, task, source, asking, asked) if asked else []
            if rows:
                append_rows(out, rows)
            outcome.annotated += len(rows)
            outcome.unparsed += sum(row["annotation"] is None for row in rows)
            outcome.review += sum(row["review"] for row in rows)
            bar.update(len(names), review=str(outcome.review))


@dataclass(frozen=True)
class Picture:
    """A picture as the model takes it, and its record, which has no annotation."""

    record: Record
    image: ImageInput


Asked = tuple[Picture, Prompt]


def _taken(policy: Policy, source: Source, names: Sequence[str]) -> tuple[Sequence[str], list[Picture | str]]:
    """The names, and for each the picture or why there is none. Runs in a thread, so it touches no tokenizer."""
    found: list[Picture | str] = []
    for name in names:
        try:
            found.append(_opened(policy, name, source.question))
        except DataError as error:
            found.append(str(error))
        except UserError as error:
            found.append(f"{name}: {error}")
    return names, found


def _opened(policy: Policy, name: str, question: str) -> Picture:
    try:
        name.encode()
    except UnicodeEncodeError:
        raise DataError(f"{name!a}: this name is not UTF-8, so no row can hold it. Rename it.") from None
    asked = fill(question, Path(name)) or None
    image = read_image(name)
    width, height = image.size
    # The record has no annotation: asking for an answer never looks at it.
    record = Record(id=name, images=(name,), annotation="", question=asked, width=width, height=height)
    return Picture(record, policy.preprocess([image])[0])


def _asked(
    policy: Policy, task: Task, source: Source, asking: Asking, found: Iterable[Picture | str], outcome: Outcome
) -> Iterator[Asked]:
    """Each picture with its prompt; those that the model does not take are told and counted."""
    for one in found:
        told = one if isinstance(one, str) else ""
        if isinstance(one, Picture):
            try:
                prompt = policy.encode(task.prompt(source.role, one.record, policy.frame), [one.image])
                if len(prompt) + asking.max_new_tokens <= policy.context:
                    yield one, prompt
                    continue
                told = f"its prompt has {len(prompt)} tokens, the model takes {policy.context} with the completion."
                told = f"{one.record.id}: {told} Lower --max-pixels or --max-new-tokens."
            except UserError as error:
                told = f"{one.record.id}: {error}"
        say(f"skipped: {told}")
        outcome.broken += 1


def _answer(policy: Policy, task: Task, source: Source, asking: Asking, asked: Sequence[Asked]) -> list[Row]:
    """The rows of one batch. All samples of a picture come from one prefill of its prompt."""
    sampled = sample(
        policy,
        [prompt for _, prompt in asked],
        asking.samples or 1,
        max_new_tokens=asking.max_new_tokens,
        temperature=source.temperature,
        generator=_generator(asking.seed, [picture.record.id for picture, _ in asked]),
    )
    rows = [
        _row(policy, task, source, picture.record, [rollout.text for rollout in rollouts])
        for (picture, _), rollouts in zip(asked, sampled, strict=True)
    ]
    if asking.check:
        _check(policy, task, asking, asked, rows)
    for row in rows:
        row["review"] = needs_review(row, asking.check, asking.threshold(task))
        row["source"] = row.pop("source")  # stays the last key
    return rows


def _generator(seed: int, ids: Sequence[str]) -> torch.Generator:
    """The draws of one batch, by seed and pictures: the same wherever in a long list the batch comes."""
    digest = hashlib.blake2b("\n".join([str(seed), *ids]).encode(), digest_size=7).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "big"))


def _row(policy: Policy, task: Task, source: Source, record: Record, completions: Sequence[str]) -> dict[str, Any]:
    """The row of a picture: of one completion as it stands, of several the answer on which they agree, with the
    rationale of the one that is most like it.
    """
    read = [task.parse_completion(text, record, policy.frame, source.role) for text in completions]
    agreed = _agreed(task, source, read)
    like = read[agreed.like]
    return {
        "id": record.id,
        "image": record.id,
        "width": record.width,
        "height": record.height,
        "question": task.ask(record),
        "annotation": agreed.value,
        "rationale": like.rationale,
        "completion": completions[agreed.like],
        "reason": like.parsed.reason if agreed.value is None else None,
        "samples": source.samples or None,
        "confidence": round(agreed.confidence, 6) if source.samples else None,
        "scores": agreed.scores,
        "reconstruction": None,
        "leaks": None,
        "rebuilt": None,
        "source": vars(source),
    }


def _agreed(task: Task, source: Source, read: Sequence[Completion]) -> Agreement:
    if source.samples:
        return agree(task, [one.parsed.value for one in read])
    return Agreement(read[0].parsed.value, 0.0, 0)


def _check(policy: Policy, task: Task, asking: Asking, asked: Sequence[Asked], rows: Sequence[Row]) -> None:
    """What comes back of the answers that have a rationale, into their rows."""
    chosen: list[Row] = []
    given: list[Given] = []
    for (picture, prompt), row in zip(asked, rows, strict=True):
        if row["annotation"] is not None and row["rationale"]:
            record = picture.record.model_copy(update={"annotation": row["annotation"]})
            chosen.append(row)
            given.append(Given(record, picture.image, row["rationale"], prompt.text))
    for row, rebuilt in zip(chosen, rebuild(policy, task, given, asking.max_new_tokens), strict=True):
        row |= vars(rebuilt)


def _most_pixels(policy: Policy) -> int:
    """The most pixels of a picture as the model gets it, as far as its processor says."""
    size = getattr(policy.processor, "size", None) or {}
    known = "shortest_edge" in size and "longest_edge" in size
    return policy.max_pixels or (int(size["longest_edge"]) if known else UNKNOWN_PIXELS)
