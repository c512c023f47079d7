"""Counting: a whole number answers a question about a picture, such as how many cubes are left.

Left out: units and sentences around the number, which make an answer unreadable.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rise_vlm.errors import UserError
from rise_vlm.rewards.numbers import same_number
from rise_vlm.tasks.base import Frame, Parsed, Task, known_score
from rise_vlm.tasks.drawing import draw_captions, shown
from rise_vlm.tasks.leak import visible
from rise_vlm.tasks.numerals import numbers_in
from rise_vlm.tasks.quantity import LARGEST, read_quantity

if TYPE_CHECKING:
    from PIL import Image

    from rise_vlm.data.record import Record

SCORES = ("number", "official")


class Counting(Task):
    """The annotation is a whole number from 0 on; the score is 1 for an equal number and 0 for anything else.

    ``score="number"`` (ours) compares numbers: ``2``, ``2.0``, ``two`` are equal. ``score="official"`` is the accuracy
    reward of the Reason-RFT code: the very characters, so that ``2.0`` and ``two`` are wrong. (That code turns to
    math-verify where there is no answer tag; here an answer without a tag is none.)
    """

    name = "counting"
    sees_image = False
    form = "number"
    default_question = "How many things are there?"
    forbid = "Do not give the number."

    def __init__(
        self,
        classes: Sequence[str] = (),
        question: str | None = None,
        synonyms: Mapping[str, Sequence[str]] | None = None,
        score: str = "number",
    ) -> None:
        super().__init__(classes, question, synonyms)
        self.kind = known_score(score, SCORES, self.name)

    def statement(self, record: Record, frame: Frame) -> str:
        return f"{self.ask(record)}\nGive one whole number."

    def render(self, annotation: Any, record: Record, frame: Frame) -> str:
        return str(annotation)

    def parse(self, text: str, record: Record, frame: Frame) -> Parsed:
        """One number in digits or words that fills ``text``; under ``official``, only digits as a truth is written."""
        value, problem = read_quantity(text)
        if value is None:
            return Parsed(None, problem)
        if self.kind == "official" and text.strip() != str(value):
            return Parsed(None, f"'{text.strip()[:60]}' is not written as the truth is, which the official score needs")
        return Parsed(value, None)

    def score(self, annotation: Any, value: Any | None) -> float:
        return 0.0 if value is None else float(value == annotation)

    def metrics(self, pairs: Sequence[tuple[Any, Any | None]]) -> dict[str, float]:
        """``accuracy``: the share of right numbers (the same as ``score``); ``off_by_one``: right or next to it."""
        metrics = self.mean_score(pairs)
        near = sum(value is not None and abs(value - truth) <= 1 for truth, value in pairs)
        return {**metrics, "accuracy": metrics["score"], "off_by_one": near / len(pairs)}

    def floors(self, annotations: Sequence[Any], train: Sequence[Any] | None = None) -> dict[str, float]:
        """``majority``: always the most frequent number of ``train``; ``random``: numbers drawn as often as there."""
        return number_floors(annotations, annotations if train is None else train)

    def leaks(self, rationale: str, record: Record, frame: Frame, prompt: str = "") -> list[str]:
        """The common rules, and the true number in digits or words wherever it stands."""
        truth = record.annotation
        said = [
            f"names the number ('{visible(rationale).casefold()[start:end]}')"
            for value, start, end, _ in numbers_in(visible(rationale).casefold())
            if isinstance(truth, int | float) and same_number(truth, value)
        ]
        return [*super().leaks(rationale, record, frame, prompt), *said[:1]]

    def draw(self, image: Image.Image, answers: Sequence[tuple[str, Any | None, str]]) -> Image.Image:
        """The image above a strip with one line per answer."""
        return draw_captions(image, [(f"{label}: {shown(value)}", colour) for label, value, colour in answers])

    def check(self, annotation: Any, record: Record) -> str | None:
        if isinstance(annotation, bool) or not isinstance(annotation, int):
            return f"annotation must be a whole number, got {type(annotation).__name__}"
        if not 0 <= annotation <= LARGEST:
            return f"annotation must be a whole number from 0 to 2^53, got {str(annotation)[:40]}"
        return None


def number_floors(annotations: Sequence[Any], train: Sequence[Any]) -> dict[str, float]:
    """The share of ``annotations`` that is met by the most frequent of ``train`` and by draws from ``train``."""
    if not annotations or not train:
        raise UserError("there are no answers to measure: the split is empty")
    counts = Counter(train)
    majority = counts.most_common(1)[0][0]
    hits = sum(truth == majority for truth in annotations)
    drawn = sum(counts[truth] / len(train) for truth in annotations)
    return {"majority": hits / len(annotations), "random": drawn / len(annotations)}
