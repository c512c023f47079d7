"""Classification: one class out of a closed set. Any other text, a list of classes or a part of a name is a parse failure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rise_vlm.errors import nearest
from rise_vlm.tasks.base import Frame, Parsed, Task, need_classes, normal_name

if TYPE_CHECKING:
    from rise_vlm.data.record import Record


class Classification(Task):
    """The annotation is a class name; the score is 1 for that class and 0 for anything else."""

    name = "classification"
    sees_image = False
    form = "class"
    default_question = "Which class does this picture show?"
    forbid = "Do not name a class or a probability."

    def __init__(
        self, classes: Sequence[str] = (), question: str | None = None, synonyms: Mapping[str, Sequence[str]] | None = None
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
            return Parsed(None, "the answer is empty" if not text.strip() else f"'{text.strip()[:60]}' is not one of the classes")
        return Parsed(name, None)

    def score(self, annotation: Any, value: Any | None) -> float:
        return 1.0 if value is not None and value == annotation else 0.0

    def check(self, annotation: Any, record: Record) -> str | None:
        if not isinstance(annotation, str):
            return f"annotation must be a class name, got {type(annotation).__name__}"
        if annotation not in self.classes:
            return f"unknown class '{annotation[:60]}'.{nearest(annotation, self.classes)}"
        return None
