"""The page of annotated pictures: answer, rationale and picture side by side, the least certain first.

Rows stream past; only those that are shown are held. Nothing on the page runs or loads anything. Left out: a truth to
compare with, which these pictures do not have.
"""

from __future__ import annotations

import heapq
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rise_vlm.data.images import read_image
from rise_vlm.errors import UserError
from rise_vlm.policy.names import called
from rise_vlm.report.charts import histogram, number
from rise_vlm.report.curves import Chart
from rise_vlm.report.gallery import BYTES, FEW_CLASSES, Thumbnail, clip, show, thumbnail
from rise_vlm.report.page import COLOURS
from rise_vlm.report.template import fill, write_whole
from rise_vlm.stages.consistency import by_certainty
from rise_vlm.stages.files import read_rows
from rise_vlm.tasks.base import Task

BINS = 20
MOST_LEAKS = 3

TELLING = ("names the number", "holds a true coordinate", "holds two numbers near a true coordinate")
"""How the reasons of a leak begin that are the answer itself, whatever it is."""
_CLASS = re.compile(r"^names class '(.*)' \('.*'\)$", re.DOTALL)

FIGURES = {
    "confidence": "How far the sampled answers agree.",
    "reconstruction": "How well the answer is found again from the rationale.",
}


@dataclass(frozen=True)
class Mark:
    """A box over the picture: what it is of, its corners in pixels, its colour and, if known, its confidence."""

    label: str
    box: list[float]
    colour: str
    score: float | None


@dataclass
class Shown:
    """One row of the page. ``problem`` says why there is no thumbnail, ``doubts`` why a person should look,
    ``leaks`` what the rationale holds that makes its reconstruction say little.
    """

    id: str
    question: str
    answer: str | None
    reason: str
    rationale: str
    completion: str
    figures: list[tuple[str, float]]
    doubts: list[str]
    leaks: list[str]
    marks: list[Mark] = field(default_factory=list)
    bars: list[tuple[str, float]] = field(default_factory=list)
    thumbnail: Thumbnail | None = None
    problem: str = ""


@dataclass
class Tally:
    """What is counted of all rows on their way."""

    rows: int = 0
    review: int = 0
    unread: int = 0
    source: dict[str, Any] = field(default_factory=dict)
    questions: set[str] = field(default_factory=set)
    bins: dict[str, Counter[int]] = field(default_factory=lambda: {name: Counter() for name in FIGURES})

    def past(self, rows: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """The rows, counted."""
        for row in rows:
            self.rows += 1
            self.review += bool(row.get("review"))
            self.unread += row.get("annotation") is None
            self.source = row.get("source") or self.source
            if len(self.questions) < 2:
                self.questions.add(str(row.get("question") or ""))
            for name, counted in self.bins.items():
                if isinstance(value := row.get(name), int | float):
                    counted[min(int(value * BINS), BINS - 1)] += 1
            yield row


def write_page(
    answers: Path, page: Path, task: Task, below: float, items: int = 60, cautions: Sequence[str] = ()
) -> int:
    """Write the page of the rows in ``answers`` with at most ``items`` pictures, and return how many it shows.
    ``cautions`` say why all of them may be worth little.

    Raises UserError, exit code 1, where the page cannot be written.
    """
    tally = Tally()
    numbered = enumerate(tally.past(read_rows(answers)))
    first = heapq.nsmallest(items, numbered, key=lambda pair: (*by_certainty(pair[1]), pair[0]))
    # The first colour of the style sheet is grey.
    colours = {name: f"a{1 + i % (COLOURS - 1)}" for i, name in enumerate(task.classes)}
    shown: list[Shown] = []
    left = BYTES
    for _, row in first:
        one = _shown(row, task, below, colours)
        left -= len(one.thumbnail.uri) if one.thumbnail else 0
        if left < 0:
            break
        shown.append(one)
    write_whole(page, _render(tally, shown, task, below, colours, cautions))
    return len(shown)


def _render(
    tally: Tally, shown: list[Shown], task: Task, below: float, colours: Mapping[str, str], cautions: Sequence[str]
) -> str:
    used = {mark.label for one in shown for mark in one.marks}
    return fill(
        "answers.html.j2",
        {"number": number},
        tally=tally,
        facts=_facts(tally),
        cautions=cautions,
        charts=list(_charts(tally, below)),
        items=shown,
        question=next(iter(tally.questions), "") if len(tally.questions) == 1 else "",
        key=[(name, colour) for name, colour in colours.items() if name in used],
        below=below,
        ordered=any(sum(counted.values()) for counted in tally.bins.values()),
    )


def _facts(tally: Tally) -> list[tuple[str, str]]:
    """The line under the title."""
    source = tally.source
    model = str(source.get("model", ""))
    named = [
        ("Model", called(model)),
        ("Task", str(source.get("task", ""))),
        ("Answers to each", str(source["samples"]) if source.get("samples") else "1, greedy"),
        ("For review", f"{tally.review:,}"),
        ("Not readable", f"{tally.unread:,}"),
    ]
    return [(name, value) for name, value in named if value]


def _charts(tally: Tally, below: float) -> Iterator[Chart]:
    for name, note in FIGURES.items():
        counted = tally.bins[name]
        if counted:
            edges, counts = [i / BINS for i in range(BINS + 1)], [float(counted[i]) for i in range(BINS)]
            yield Chart(name.capitalize(), note, histogram(edges, counts, below, f"{name} of all answers"))


def _shown(row: Mapping[str, Any], task: Task, below: float, colours: Mapping[str, str]) -> Shown:
    annotation = row.get("annotation")
    figures = [(name, float(row[name])) for name in FIGURES if isinstance(row.get(name), int | float)]
    one = Shown(
        id=str(row.get("id")),
        question=clip(row.get("question")),
        answer=None if annotation is None else _text(annotation, task),
        reason=clip(row.get("reason") or "no answer"),
        rationale=clip(row.get("rationale")),
        completion=clip(row.get("completion")) if annotation is None else "",
        figures=figures,
        doubts=list(_doubts(row, below)),
        leaks=list(_leaks(row.get("leaks") or (), annotation, task)),
        marks=list(_marks(annotation, row.get("scores"), task, colours)),
        bars=_bars(annotation, task),
    )
    try:
        one.thumbnail = thumbnail(read_image(str(row.get("image"))))
    except UserError as error:
        one.problem = str(error)
    return one


def _text(annotation: Any, task: Task) -> str:
    """The answer in words; of boxes how many of each class."""
    if task.name != "detection":
        return show(annotation)
    counts = Counter(str(thing["label"]) for thing in annotation)
    return ", ".join(f"{count} {label}" for label, count in counts.items()) or "none"


def _doubts(row: Mapping[str, Any], below: float) -> Iterator[str]:
    if not row.get("review"):
        return
    if row.get("annotation") is None:
        yield "no answer that could be read"
        return
    for name, told in (("confidence", "the samples disagree"), ("reconstruction", "the rationale leads elsewhere")):
        if isinstance(value := row.get(name), int | float) and value < below:
            yield told
    if (row.get("source") or {}).get("check") and row.get("reconstruction") is None:
        yield "no rationale to check"


def _leaks(reasons: Sequence[str], annotation: Any, task: Task) -> Iterator[str]:
    """What a rationale holds; only of the answer itself that it gives that away.

    In training naming any class is a leak; here "wears no hat" says nothing of the answer 'dress'.
    """
    named = [f"names class '{name}'" for name in _names(annotation, task)]
    others = [reason for reason in reasons if not reason.startswith((*named, *TELLING))]
    if len(others) < len(reasons):
        yield "the rationale gives it away"
    if others:
        told = "; ".join(_CLASS.sub(r"names the class '\1'", reason) for reason in others[:MOST_LEAKS])
        yield clip(f"the rationale {told}") + (" and more" if len(others) > MOST_LEAKS else "")


def _names(annotation: Any, task: Task) -> list[str]:
    """The classes that the answer is made of; of a distribution the most probable."""
    if task.name == "distribution" and annotation:
        return [name for name, share in annotation.items() if share == max(annotation.values())]
    if task.name == "detection":
        return [str(thing["label"]) for thing in annotation or ()]
    return [annotation] if isinstance(annotation, str) else []


def _marks(annotation: Any, scores: Any, task: Task, colours: Mapping[str, str]) -> Iterator[Mark]:
    if task.name == "grounding" and annotation is not None:
        yield Mark("", annotation, "a3", None)
    if task.name == "detection":
        for i, thing in enumerate(annotation or ()):
            label = str(thing["label"])
            score = scores[i] if isinstance(scores, list) and i < len(scores) else None
            yield Mark(label, thing["box"], colours.get(label, "a3"), score)


def _bars(annotation: Any, task: Task) -> list[tuple[str, float]]:
    """The most probable classes of a distribution, in the order of the classes."""
    if task.name != "distribution" or annotation is None:
        return []
    kept = sorted(task.classes, key=lambda name: -annotation.get(name, 0.0))[:FEW_CLASSES]
    return [(name, annotation.get(name, 0.0)) for name in task.classes if name in kept]
