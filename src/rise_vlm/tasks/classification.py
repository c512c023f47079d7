"""Classification: one class out of a closed set. Any other text, a list of classes or a part of a name is a parse
failure.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rise_vlm.errors import nearest
from rise_vlm.tasks.base import Frame, Parsed, Task, need_classes, normal_name
from rise_vlm.tasks.drawing import draw_captions

if TYPE_CHECKING:
    from PIL import Image

    from rise_vlm.data.record import Record


class Classification(Task):
    """The annotation is a class name; the score is 1 for that class and 0 for anything else."""

    name = "classification"
    sees_image = False
    form = "class"
    default_question = "Which class does this picture show?"
    forbid = "Do not name a class or a probability."

    def __init__(
        self,
        classes: Sequence[str] = (),
        question: str | None = None,
        synonyms: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        super().__init__(classes, question, synonyms)
        need_classes(self)

    def statement(self, record: Record, frame: Frame) -> str:
        return f"{self.ask(record)}\nClasses: {', '.join(self.classes)}.\nGive the one class that fits."

    def render(self, annotation: Any, record: Record, frame: Frame) -> str:
        return str(annotation)

    def parse(self, text: str, record: Record, frame: Frame) -> Parsed:
        """The class whose name ``text`` is, whole, after normalisation of case, blanks, underscores and hyphens."""
        name = self.by_name.get(normal_name(text))
        if name is None:
            return Parsed(
                None, "the answer is empty" if not text.strip() else f"'{text.strip()[:60]}' is not one of the classes"
            )
        return Parsed(name, None)

    def score(self, annotation: Any, value: Any | None) -> float:
        return 1.0 if value is not None and value == annotation else 0.0

    def metrics(self, pairs: Sequence[tuple[Any, Any | None]]) -> dict[str, float]:
        """``top1`` (the same as ``score``) and ``macro_f1``, the mean F1 of the classes that occur in truth or
        answers.
        """
        metrics = self.mean_score(pairs)
        f1 = macro_f1([truth for truth, _ in pairs], [guess for _, guess in pairs])
        return {**metrics, "top1": metrics["score"], "macro_f1": f1}

    def floors(self, annotations: Sequence[Any], train: Sequence[Any] | None = None) -> dict[str, float]:
        """``uniform``: a class drawn at random; ``majority``: always the most frequent class, the first of the list in
        a tie.
        """
        counts = Counter(annotations if train is None else train)
        majority = max(self.classes, key=lambda name: counts[name])
        scores = self.mean_score([(name, majority) for name in annotations])
        return {"uniform": 1 / len(self.classes), "majority": scores["score"]}

    def draw(self, image: Image.Image, answers: Sequence[tuple[str, Any | None, str]]) -> Image.Image:
        """The image above a strip with one line per answer."""
        return draw_captions(image, [(f"{label}: {value or 'no answer'}", colour) for label, value, colour in answers])

    def check(self, annotation: Any, record: Record) -> str | None:
        if not isinstance(annotation, str):
            return f"annotation must be a class name, got {type(annotation).__name__}"
        if annotation not in self.classes:
            return f"unknown class '{annotation[:60]}'.{nearest(annotation, self.classes)}"
        return None


def macro_f1(truths: Sequence[str], guesses: Sequence[str | None]) -> float:
    """The mean of F1 = 2 TP / (2 TP + FP + FN) over the classes that occur in either; None is no guess."""
    right = Counter(truth for truth, guess in zip(truths, guesses, strict=True) if truth == guess)
    total = Counter(truths) + Counter(guess for guess in guesses if guess is not None)
    return math.fsum(2 * right[name] / count for name, count in total.items()) / len(total)
