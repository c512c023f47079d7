"""A teacher's rationale for one record, and whether it can be trusted: what is asked, and why a reply is refused.

The teacher is shown pictures, question and annotation and writes ``<think>`` rationale ``</think><answer>`` annotation
``</answer>``. Kept is what passes all of this: the reply keeps to that form, its own answer is the annotation, no
leak rule finds anything (where reasons end in the answer, as in ``REACHED``: it may be named, but the rationale must
say something that the question does not, and not that the answer was given), it states nothing that the world knows to
be false, and a reader who is not told the annotation reaches it from the rationale. Source of the form and of the
temperature: Reason-RFT (arXiv 2503.20752), whose distillation checks nothing of this; the wording is ours. Left out:
sending anything (``web.chat``).
"""

from __future__ import annotations

import base64
import io
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from rise_vlm.data import Record
from rise_vlm.data.images import read_image, safe_join
from rise_vlm.policy.frames import Thousand
from rise_vlm.stages.facts import untrue
from rise_vlm.stages.material import Material
from rise_vlm.tasks.base import Frame, Task
from rise_vlm.tasks.inflection import words
from rise_vlm.tasks.leak import tag_leaks

FRAME = Thousand()
"""Boxes are written in thousandths, which the prompt says, whatever the teacher's family is used to."""

READ = {"detection": 0.5, "grounding": 0.5, "distribution": 0.8}
"""What a reading must score at least where no description gives the annotation to the last digit; else 1. Ours."""

REACHED = ("counting", "structure", "transformation")
"""Here reasons end in the answer, as the paper's do: to forbid its name would refuse most that are right."""

OWN_WORDS = 6
"""So many different words a rationale has at least that neither question nor answer has. Ours."""

_TOLD = re.compile(
    r"\b(?:was|were|am|are|been|is) told\b|\b(?:given|provided|stated|known) (?:answer|annotation|solution|label)\b"
    r"|\b(?:answer|annotation|solution|label) (?:that )?(?:is|was|has been) (?:given|provided|stated|known)\b",
    re.IGNORECASE,
)
"""Says that the answer was not found but known."""

EXACT = 1e-6
"""A score this much below the threshold is one that was rounded."""


@dataclass(frozen=True)
class Asking:
    """What is asked for and what is kept. ``threshold`` is a share of what the annotation itself scores as it can be
    written; ``read_threshold`` None is the task's own of ``READ``; ``reader`` is teacher, none, or a model of ours;
    ``leaks`` None is the task's own of ``REACHED``.
    """

    threshold: float = 1.0
    read_threshold: float | None = None
    reader: str = "teacher"
    leaks: bool | None = None
    facts: bool = True
    words: int = 100
    max_pixels: int = 1_048_576

    def read_from(self, task: Task) -> float:
        """The score that a reading must reach."""
        return READ.get(task.name, 1.0) if self.read_threshold is None else self.read_threshold

    def lets_leak(self, task: Task) -> bool:
        """Whether a rationale may name the annotation."""
        return task.name in REACHED if self.leaks is None else self.leaks


def question(task: Task, record: Record, asking: Asking) -> str:
    """What the teacher is asked: the task's statement, the annotation, and for reasons that do without being told."""
    answer = task.render(record.annotation, record, FRAME)
    forbid = "" if asking.lets_leak(task) else f" In it: {task.forbid}"
    return (
        f"{task.statement(record, FRAME)}\nThe right answer is: {answer}\n"
        f"Explain in at most {asking.words} words, step by step, what can be seen that leads to it, as someone would "
        f"who looks at the picture and finds the answer. Do not say that you were told the answer.{forbid}\n"
        f"Reply only with <think>your explanation</think><answer>{answer}</answer>."
    )


def rationale_of(reply: str) -> str:
    """The reply from its last ``<think>`` on: a teacher that reasons for itself first does so in such tags too."""
    start = reply.rfind("<think>")
    return reply[start:] if start > 0 else reply


@dataclass(frozen=True)
class Judged:
    """A reply taken apart. ``reason`` is why it is refused before anybody reads it, or None."""

    rationale: str
    score: float
    leaks: list[str]
    reason: str | None


def judge(material: Material, record: Record, reply: str, *, finished: bool, asking: Asking) -> Judged:
    """The reply's form, own answer, leaks and facts."""
    task = material.task
    read = task.parse_completion(rationale_of(reply), record, FRAME, "think")
    rationale = read.rationale or ""
    best = task.score(record.annotation, _written(task, record))
    score = task.score(record.annotation, read.parsed.value)
    leaks = task.leaks(rationale, record, FRAME, question(task, record, asking))
    reason: str | None = None
    if not reply.strip():
        reason = "empty"
    elif not finished:
        reason = "cut off"
    elif not read.well_formed or not rationale:
        reason = "not of the form"
    elif score < asking.threshold * best - EXACT:
        reason = "wrong answer"
    elif leaks and not asking.lets_leak(task):
        reason = "leaks"
    elif asking.lets_leak(task) and (told := _empty(task, record, rationale)):
        reason = told
    elif asking.facts and untrue(material, record, rationale):
        reason = "states what is not there"
    return Judged(rationale, score, leaks, reason)


def _empty(task: Task, record: Record, rationale: str) -> str | None:
    """Why a rationale that may name the answer is none, or None."""
    if tag_leaks(rationale):
        return "leaks"
    if _TOLD.search(rationale):
        return "says that the answer was given"
    known = {*words(task.ask(record)), *words(task.render(record.annotation, record, FRAME))}
    return "says too little" if len(set(words(rationale)) - known) < OWN_WORDS else None


def reading_score(task: Task, record: Record, text: str, frame: Frame = FRAME) -> float:
    """What the answer of a reader scores."""
    answer = text.rpartition("</think>")[2]  # a reader may think aloud first
    read = task.parse_completion(answer, record, frame, "reconstruct")
    return task.score(record.annotation, read.parsed.value)


def is_reached(task: Task, score: float, asking: Asking) -> bool:
    """Whether a reading counts as the annotation."""
    return score >= asking.read_from(task) - EXACT


def pictures(material: Material, record: Record, max_pixels: int) -> list[str]:
    """The record's pictures as data URIs: upright, without metadata, no larger than ``max_pixels``."""
    return [data_uri(safe_join(material.dataset.root, image), max_pixels) for image in record.images]


def data_uri(path: Path, max_pixels: int) -> str:
    """One picture as a data URI: PNG stays PNG, all else is JPEG. Raises DataError for one that cannot be read."""
    image = read_image(path)
    if image.width * image.height > max_pixels:
        share = (max_pixels / (image.width * image.height)) ** 0.5
        size = max(1, int(image.width * share)), max(1, int(image.height * share))
        image = image.resize(size, Image.Resampling.BICUBIC)
    kind, options = ("png", {}) if path.suffix.lower() == ".png" else ("jpeg", {"quality": 92})
    file = io.BytesIO()
    image.save(file, format=kind, **options)
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"


def _written(task: Task, record: Record) -> Any:
    return task.parse(task.render(record.annotation, record, FRAME), record, FRAME).value
