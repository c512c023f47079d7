"""Grounding: the one box that answers a question (LISA). Boxes are pixels of the upright image; the model's frame is
for text only.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from rise_vlm.rewards.boxes import area, giou, intersection, iou
from rise_vlm.tasks.base import Frame, Parsed, Task, known_score
from rise_vlm.tasks.drawing import draw_boxes
from rise_vlm.tasks.leak import box_leaks

if TYPE_CHECKING:
    from PIL import Image

    from rise_vlm.data.record import Record

_NUMBER = r"\s*([0-9]{1,6}(?:\.[0-9]{1,9})?)\s*"
_BOX = re.compile(rf"\[{_NUMBER},{_NUMBER},{_NUMBER},{_NUMBER}\]")


SCORES = ("iou", "visual_rft")


class Grounding(Task):
    """The annotation is ``[x1, y1, x2, y2]`` in pixels; the score is IoU. Every record, or the data set, needs a
    question.

    ``score="visual_rft"`` is (generalised IoU + 1) / 2, half of what Visual-RFT's code pays (RISE's pays the IoU).
    """

    name = "grounding"
    sees_image = True
    form = "[x1, y1, x2, y2]"
    forbid = "Do not give coordinates or numbers."
    lead_in = "Find that region."

    def __init__(
        self,
        classes: Sequence[str] = (),
        question: str | None = None,
        synonyms: Mapping[str, Sequence[str]] | None = None,
        score: str = "iou",
    ) -> None:
        super().__init__(classes, question, synonyms)
        self.kind = known_score(score, SCORES, self.name)

    def statement(self, record: Record, frame: Frame) -> str:
        return f"{self.ask(record)}\nFind the one region that answers this. {frame.hint}"

    def reconstruct_prompt(self, record: Record, frame: Frame, rationale: str) -> str:
        """The sighted form: the image and a description of the region, but not the question, which would make the
        description needless.
        """
        ask = f"{self.lead_in} {frame.hint}\nReply only with <answer>{self.form}</answer>."
        return f"Someone described one region of this picture like this:\n{rationale}\n{ask}"

    def render(self, annotation: Any, record: Record, frame: Frame) -> str:
        """``[12, 40, 310, 555]`` in the model's frame."""
        return f"[{', '.join(str(n) for n in frame.encode(annotation, record.width, record.height))}]"

    def parse(self, text: str, record: Record, frame: Frame) -> Parsed:
        """Exactly one ``[x1, y1, x2, y2]`` inside the frame, with area -> pixels."""
        match = _BOX.fullmatch(text.strip())
        if match is None:
            return Parsed(
                None, "the answer is empty" if not text.strip() else "the answer is not one box [x1, y1, x2, y2]"
            )
        numbers = [float(n) for n in match.groups()]
        if numbers[0] >= numbers[2] or numbers[1] >= numbers[3]:
            return Parsed(None, "the box has no area (x1 < x2 and y1 < y2 are needed)")
        box = frame.decode(numbers, record.width, record.height)
        if box[2] > record.width or box[3] > record.height:
            return Parsed(None, "the box leaves the image")
        return Parsed(box, None)

    def score(self, annotation: Any, value: Any | None) -> float:
        if value is None:
            return 0.0
        return iou(annotation, value) if self.kind == "iou" else (giou(annotation, value) + 1) / 2

    def metrics(self, pairs: Sequence[tuple[Any, Any | None]]) -> dict[str, float]:
        """``score`` = ``miou``: mean IoU over records, which the LISA paper calls gIoU (it is not the generalised IoU);
        ``ciou``: all intersections over all unions; ``acc50``.

        A missing answer adds nothing to the intersections and the true box to the unions.
        """
        metrics = self.mean_score(pairs)
        shared = math.fsum(intersection(truth, box) for truth, box in pairs if box is not None)
        covered = math.fsum(area(truth) + (0.0 if box is None else area(box)) for truth, box in pairs)
        hits = sum(self.score(truth, box) >= 0.5 for truth, box in pairs)
        union = covered - shared
        ciou = shared / union if union > 0 else 0.0
        return {**metrics, "miou": metrics["score"], "ciou": ciou, "acc50": hits / len(pairs)}

    def floors(self, annotations: Sequence[Any], train: Sequence[Any] | None = None) -> dict[str, float]:
        """``mean_box``: always the mean box of the training annotations, in pixels; fair where the images are of one
        size.
        """
        boxes = annotations if train is None else train
        mean = [math.fsum(box[side] for box in boxes) / len(boxes) for side in range(4)]
        return {"mean_box": self.mean_score([(truth, mean) for truth in annotations])["score"]}

    def leaks(self, rationale: str, record: Record, frame: Frame, prompt: str = "") -> list[str]:
        """The common rules, and anything that a coordinate can be written as."""
        own = box_leaks(rationale, record.annotation, record.width, record.height, frame)
        return [*super().leaks(rationale, record, frame, prompt), *own]

    def draw(self, image: Image.Image, answers: Sequence[tuple[str, Any | None, str]]) -> Image.Image:
        """The image with each box and its label in its colour."""
        return draw_boxes(image, answers)

    def check(self, annotation: Any, record: Record) -> str | None:
        problem = box_problem(annotation, record.width, record.height)
        if problem is None and not (record.question or self.question):
            return "grounding needs a question: add 'question' to the row or to dataset.yaml"
        return problem


def box_problem(box: Any, width: int, height: int) -> str | None:
    """Why ``box`` is not a box of an image of this size, or None. A half pixel over the edge is let pass (Pascal VOC
    counts from 1).
    """
    if not isinstance(box, list | tuple) or len(cast("list[Any]", box)) != 4:
        return "annotation must be a box [x1, y1, x2, y2]"
    box = cast("list[Any]", box)
    if any(isinstance(n, bool) or not isinstance(n, int | float) or not math.isfinite(n) for n in box):
        return f"box {list(box)} holds something that is not a finite number"
    x1, y1, x2, y2 = box
    if x1 > x2 or y1 > y2:
        return f"box {list(box)} has its corners swapped (x1 < x2 and y1 < y2 are needed; is it x, y, width, height?)"
    if x1 == x2 or y1 == y2:
        return f"box {list(box)} has no area"
    if x1 < -0.5 or y1 < -0.5 or x2 > width + 0.5 or y2 > height + 0.5:
        return f"box {list(box)} leaves the image of {width} x {height}"
    return None
