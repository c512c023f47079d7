"""Detection: every thing of the classes, each with its box (COCO). Boxes are pixels of the upright image; the model's
frame is for text only.

Left out: confidences. A model's answer ranks its boxes by their order alone.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

from rise_vlm.errors import UserError, nearest
from rise_vlm.rewards.detection import Labelled, detection_score, found_score, greedy_score, hits
from rise_vlm.tasks.base import Frame, Parsed, Task, known_score, normal_name
from rise_vlm.tasks.detection_coco import coco_figures
from rise_vlm.tasks.detection_ranked import Ranked
from rise_vlm.tasks.detection_text import read_answer
from rise_vlm.tasks.drawing import draw_boxes, draw_captions
from rise_vlm.tasks.grounding import box_problem
from rise_vlm.tasks.leak import box_leaks, visible
from rise_vlm.tasks.numerals import numbers_in

if TYPE_CHECKING:
    from PIL import Image

    from rise_vlm.data.record import Record

SCORES = ("matched", "official", "visual_rft")
_SCORED = {"matched": detection_score, "official": found_score, "visual_rft": greedy_score}

NOTHING = "none"
"""The answer for a picture without a thing of the classes."""

MOST_LABELS = 60
"""Boxes of more answers than this are drawn without their class names, which would hide the picture."""


class Detection(Task):
    """The annotation is a list, maybe empty, of ``{"label": class, "box": [x1, y1, x2, y2]}`` in pixels; the score is
    the sum of matched IoUs over max(boxes true, boxes found), boxes of one class matched with each other only.

    ``score="matched"`` is that (ours), ``official`` divides by the boxes found alone, as RISE's code does, and
    ``visual_rft`` matches greedily and counts no pair below an IoU of 0.5, as Visual-RFT's (``rewards.detection``).
    """

    name = "detection"
    sees_image = True
    form = "class: [x1, y1, x2, y2]; ..."
    default_question = "Which things does this picture show, and where?"
    forbid = "Do not name a class. Do not give coordinates or numbers."

    def __init__(
        self,
        classes: Sequence[str] = (),
        question: str | None = None,
        synonyms: Mapping[str, Sequence[str]] | None = None,
        score: str = "matched",
    ) -> None:
        super().__init__(classes, question, synonyms)
        self.kind = known_score(score, SCORES, self.name)
        if not self.classes:
            raise UserError("classes: detection needs at least one class, and there is none")
        for name in self.classes:
            if re.search(r"[\[\];]", name):
                raise UserError(f"classes: '{name}' contains one of [ ] ; which detection's answers use; rename it")

    def statement(self, record: Record, frame: Frame) -> str:
        return f"{self.ask(record)}\n{self._find('Find every thing of these classes', frame)}"

    def reconstruct_prompt(self, record: Record, frame: Frame, rationale: str) -> str:
        """The sighted form: the image and a description of the things, but not the question. The classes stay, since
        an answer is made of them; so read a reconstruction beside that from an empty description.
        """
        find = self._find("Find those things", frame)
        described = f"Someone described the things to find in this picture like this:\n{rationale}"
        return f"{described}\n{find}\nReply only with <answer>{self.form}</answer>."

    def _find(self, command: str, frame: Frame) -> str:
        return f"Classes: {', '.join(self.classes)}.\n{command}, or answer {NOTHING}. {frame.hint}"

    def render(self, annotation: Any, record: Record, frame: Frame) -> str:
        """``car: [12, 40, 310, 555]; dog: [330, 420, 410, 530]`` in the model's frame, from left to right; ``none``."""
        size = record.width, record.height
        parts = sorted((frame.encode(one["box"], *size), str(one["label"])) for one in annotation)
        return "; ".join(f"{label}: [{', '.join(map(str, box))}]" for box, label in parts) or NOTHING

    def parse(self, text: str, record: Record, frame: Frame) -> Parsed:
        """The canonical form, or a JSON list of ``{"label", "bbox_2d"}`` -> a list of labels and boxes in pixels.

        One unknown class, swapped corner or box that leaves the image spoils the whole answer: nothing is repaired.
        """
        pairs = read_answer(text, NOTHING)
        if isinstance(pairs, str):
            return Parsed(None, pairs)
        found: list[dict[str, Any]] = []
        for raw, numbers in pairs:
            name = self.by_name.get(normal_name(raw))
            if name is None:
                return Parsed(None, f"'{raw.strip()[:60]}' is not one of the classes")
            if numbers[0] >= numbers[2] or numbers[1] >= numbers[3]:
                return Parsed(None, f"a box of '{name}' has no area (x1 < x2 and y1 < y2 are needed)")
            box = frame.decode(numbers, record.width, record.height)
            if min(numbers) < 0 or box[2] > record.width or box[3] > record.height:
                return Parsed(None, f"a box of '{name}' leaves the image")
            found.append({"label": name, "box": box})
        return Parsed(found, None)

    def score(self, annotation: Any, value: Any | None) -> float:
        if value is None:
            return 0.0
        truth, found = labelled(annotation), labelled(value)
        return judged(truth, found)[0] if self.kind == "matched" else _SCORED[self.kind](truth, found)

    def metrics(self, pairs: Sequence[tuple[Any, Any | None]]) -> dict[str, float]:
        """``f1``, ``precision`` and ``recall`` at IoU 0.5 over the boxes of all pairs. A missing answer finds nothing.

        Where there is nothing to find (or nothing was found) they are the share of answers that could be read: 1 if all
        say so, and nothing is won by answers that say nothing.
        """
        metrics = self.mean_score(pairs)
        right = sum(judged(labelled(truth), labelled(boxes))[1] for truth, boxes in pairs if boxes is not None)
        true, found = sum(len(truth) for truth, _ in pairs), sum(len(boxes or ()) for _, boxes in pairs)
        shares = {"f1": (2 * right, true + found), "precision": (right, found), "recall": (right, true)}
        return metrics | {name: part / whole if whole else metrics["parsed"] for name, (part, whole) in shares.items()}

    def split_metrics(self, pairs: Sequence[tuple[Any, Any | None]]) -> dict[str, float]:
        """COCO's twelve figures, those that are undefined left out; see ``detection_coco``."""
        return {name: value for name, value in coco_figures(pairs, self.classes).items() if value >= 0}

    def ranked(self, pairs: Sequence[tuple[Any, Any | None]]) -> Ranked:
        return Ranked(pairs, self.classes)

    def floors(self, annotations: Sequence[Any], train: Sequence[Any] | None = None) -> dict[str, float]:
        """``nothing``: always ``none``; ``mean_box``: always one box, the mean one of the most frequent class, in
        pixels; fair where the images are of one size.
        """
        known = [one for boxes in (annotations if train is None else train) for one in boxes]
        answer: list[dict[str, Any]] = []
        if known:
            label = Counter(one["label"] for one in known).most_common(1)[0][0]
            boxes = [one["box"] for one in known if one["label"] == label]
            mean = [math.fsum(box[side] for box in boxes) / len(boxes) for side in range(4)]
            answer = [{"label": label, "box": mean}]
        constants: dict[str, list[dict[str, Any]]] = {"nothing": [], "mean_box": answer}
        return {
            name: self.mean_score([(truth, boxes) for truth in annotations])["score"]
            for name, boxes in constants.items()
        }

    def leaks(self, rationale: str, record: Record, frame: Frame, prompt: str = "") -> list[str]:
        """The common rules, class names among them, and anything that a coordinate of a true box can be written as."""
        size = record.width, record.height
        boxes = [one["box"] for one in record.annotation] or [[0, 0, *size]]
        if not numbers_in(visible(rationale).casefold()):
            boxes = boxes[:1]  # nothing can be near a coordinate, of however many boxes
        own = dict.fromkeys(reason for box in boxes for reason in box_leaks(rationale, box, *size, frame))
        if not record.annotation:  # the whole image stood in for a box that is not there
            own = {reason: None for reason in own if "true coordinate" not in reason}
        return [*super().leaks(rationale, record, frame, prompt), *own]

    def draw(self, image: Image.Image, answers: Sequence[tuple[str, Any | None, str]]) -> Image.Image:
        """The image with the boxes and class names of each answer in its colour, above a strip that says whose they
        are.
        """
        boxes = [(one["label"], one["box"], colour) for _, value, colour in answers for one in value or ()]
        if len(boxes) > MOST_LABELS:
            boxes = [("", box, colour) for _, box, colour in boxes]
        strip = [(f"{label}: {_told(value)}", colour) for label, value, colour in answers]
        picture = draw_boxes(image, boxes)
        return draw_captions(picture, strip) if strip else picture

    def check(self, annotation: Any, record: Record) -> str | None:
        if not isinstance(annotation, list | tuple):
            return f"annotation must be a list of labels and boxes, got {type(annotation).__name__}"
        seen: set[tuple[Any, ...]] = set()
        for number, one in enumerate(cast("Sequence[Any]", annotation), 1):
            problem = self._problem(one, record)
            if problem is None and (one["label"], *one["box"]) in seen:
                problem = f"the same '{one['label']}' {list(one['box'])} is listed twice"
            if problem is not None:
                return f"object {number}: {problem}"
            seen.add((one["label"], *one["box"]))
        return None

    def _problem(self, one: Any, record: Record) -> str | None:
        if not isinstance(one, Mapping) or set(cast("Mapping[Any, Any]", one)) != {"label", "box"}:
            return 'must be {"label": class, "box": [x1, y1, x2, y2]}'
        label = cast("Mapping[str, Any]", one)["label"]
        if not isinstance(label, str) or label not in self.classes:
            return f"unknown class '{str(label)[:60]}'.{nearest(str(label), self.classes)}"
        return box_problem(one["box"], record.width, record.height)


Boxes = tuple[Labelled, ...]


def labelled(annotation: Sequence[Mapping[str, Any]]) -> Boxes:
    """An annotation or answer in the hashable form of the rewards."""
    return tuple(Labelled(one["label"], tuple(one["box"])) for one in annotation)


@lru_cache(maxsize=8192)
def judged(truth: Boxes, found: Boxes) -> tuple[float, int]:
    """(score, hits at IoU 0.5); remembered, because a bootstrap asks for the same pairs hundreds of times."""
    return detection_score(truth, found), hits(truth, found)


def _told(value: Sequence[Mapping[str, Any]] | None) -> str:
    """``2 car, 1 dog``, for the strip below a picture."""
    if value is None:
        return "no answer"
    counts = Counter(str(one["label"]) for one in value)
    return ", ".join(f"{count} {label}" for label, count in counts.items()) or NOTHING
