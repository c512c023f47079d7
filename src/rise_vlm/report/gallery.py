"""The pictures of a report: which records are shown, what each arm answered, and how that is drawn.

An answer's form decides its drawing: boxes go over the picture, a distribution becomes dots on bars, anything else is
text. Left out: pictures in full size; a report carries thumbnails.
"""

from __future__ import annotations

import base64
import io
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from rise_vlm.data.images import read_image
from rise_vlm.errors import UserError
from rise_vlm.tasks.drawing import beside

SIDE = 448
"""Longest side of a thumbnail in pixels: sharp on a screen with double density."""

BYTES = 5_500_000
"""All thumbnails together, as base64; with the text of 60 items the page stays under 8 MB."""

LONGEST_TEXT = 2000
"""Characters of a rationale or an answer that are shown."""

FEW_CLASSES = 8
"""Up to so many classes a distribution is shown whole; of more, the most probable."""

ALL = 1 - 1e-9
"""The score of an answer that has it all; sums of parts may fall short by a rounding."""

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Answer:
    """What one arm answered to one record. ``text`` is None where that could not be read (see ``reason``), and empty
    for a region."""

    arm: str
    text: str | None
    reason: str
    rationale: str
    completion: str
    score: float
    right: bool
    boxes: tuple[Box, ...] = ()


@dataclass(frozen=True)
class Thumbnail:
    """A picture as a data URI (at most SIDE pixels long), with the size of the original in pixels."""

    uri: str
    width: int
    height: int


@dataclass(frozen=True)
class Bar:
    """One class of a distribution: the true probability, and what each arm gave (arm -> probability)."""

    label: str
    truth: float
    dots: dict[str, float]


@dataclass
class Item:
    """One record of the gallery. ``boxes`` are the true ones, maybe none; they are None where the annotation is no box.

    ``problem`` says why there is no thumbnail.
    """

    id: str
    split: str
    images: tuple[str, ...]
    question: str
    truth: str
    answers: list[Answer]
    boxes: tuple[Box, ...] | None = None
    bars: list[Bar] = field(default_factory=list)
    thumbnail: Thumbnail | None = None
    problem: str = ""

    def order(self, arm: str) -> float:
        """The arm's score; above all scores where it has no answer."""
        return next((answer.score for answer in self.answers if answer.arm == arm), 2.0)

    def scores(self) -> str:
        """JSON for the page's script: arm -> [score, right as 0 or 1]."""
        return json.dumps({answer.arm: [round(answer.score, 4), int(answer.right)] for answer in self.answers})


Predictions = Mapping[tuple[str, str], Sequence[dict[str, Any]]]


def gallery(
    predictions: Predictions,
    arms: Sequence[str],
    judged: str,
    *,
    limit: int,
    roots: Sequence[Path],
    classes: Sequence[str] = (),
) -> list[Item]:
    """At most ``limit`` records with thumbnails, worst first by the arm ``judged``; ``classes`` orders the bars.

    Of each split's share, half are the worst and the others lie evenly over the remaining scores, so that the filters
    find right and wrong ones. Pictures are looked for below ``roots``.
    """
    splits = list(dict.fromkeys(split for _, split in predictions))
    items = []
    for split in splits:
        share = max(limit // len(splits), 1)
        items += _spread(_collect(predictions, arms, split, classes), judged, share)
    items.sort(key=lambda item: item.order(judged))
    left = BYTES
    shown = []
    for item in items:
        _picture(item, roots)
        left -= len(item.thumbnail.uri) if item.thumbnail else 0
        if left < 0:
            break
        shown.append(item)
    return shown


def total(predictions: Predictions) -> int:
    """How many different records the predictions cover."""
    return len({(split, str(row.get("id"))) for (_, split), rows in predictions.items() for row in rows})


def is_right(annotation: Any, value: Any, score: float) -> bool:
    """Whether an answer counts as right: boxes with a score of 0.5, the true most probable class, the very value."""
    if value is None:
        return False
    if _functions(annotation) is not None:
        return score >= ALL
    truth = _distribution(annotation)
    if truth is not None:
        given = _distribution(value)
        top = max(truth.values(), default=0.0)
        return bool(given) and truth.get(max(given, key=lambda name: given[name]), 0.0) >= top > 0
    return value == annotation or (score >= 0.5 and _boxes(annotation) is not None)


def show(value: Any) -> str:
    """A value as text: ``joy 0.60, fear 0.40``, ``[12, 40, 310, 555]``, ``2 dog, 1 cat`` or the class itself."""
    if (functions := _functions(value)) is not None:
        return clip(functions)
    shares = _distribution(value)
    if shares is not None:
        ranked = sorted(((share, name) for name, share in shares.items() if share >= 0.005), key=lambda pair: -pair[0])
        return ", ".join(f"{name} {share:.2f}" for share, name in ranked)
    if box := _box(value):
        return "[" + ", ".join(f"{edge:.0f}" for edge in box) + "]"
    if _boxes(value) is not None:
        return ", ".join(f"{n} {label}" for label, n in Counter(one["label"] for one in value).items()) or "nothing"
    return clip(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def _words(value: Any) -> str:
    """``show``, but nothing of a region: it is drawn on the picture."""
    return "" if _box(value) else show(value)


def clip(text: Any) -> str:
    """Text of at most LONGEST_TEXT characters, with a note of what was cut."""
    text = "" if text is None else str(text)
    if len(text) <= LONGEST_TEXT:
        return text
    return f"{text[:LONGEST_TEXT]} … ({len(text) - LONGEST_TEXT:,} more characters)"


def _collect(predictions: Predictions, arms: Sequence[str], split: str, classes: Sequence[str]) -> list[Item]:
    items: dict[str, Item] = {}
    annotations: dict[str, Any] = {}
    values: dict[str, dict[str, Any]] = {}
    for arm in arms:
        for row in predictions.get((arm, split), ()):
            key, annotation = str(row.get("id")), row.get("annotation")
            if key not in items:
                question, truth = clip(row.get("question")), _words(annotation)
                items[key] = Item(key, split, images_of(row), question, truth, [], _boxes(annotation))
                annotations[key] = annotation
            items[key].answers.append(_answer(arm, row))
            values.setdefault(key, {})[arm] = row.get("value")
    for key, item in items.items():
        item.bars = _bars(annotations[key], values[key], classes)
    return list(items.values())


def _answer(arm: str, row: dict[str, Any]) -> Answer:
    value, score = row.get("value"), row.get("score")
    score = float(score) if isinstance(score, int | float) and math.isfinite(score) else 0.0
    return Answer(
        arm=arm,
        text=None if value is None else _words(value),
        reason=clip(row.get("reason") or "no answer"),
        rationale=clip(row.get("rationale")),
        completion=clip(row.get("completion")) if value is None else "",
        score=score,
        right=is_right(row.get("annotation"), value, score),
        boxes=_boxes(value) or (),
    )


def _spread(items: list[Item], judged: str, share: int) -> list[Item]:
    items = sorted(items, key=lambda item: item.order(judged))
    if len(items) <= share:
        return items
    worst = share - share // 2
    rest, wanted = items[worst:], share // 2
    return items[:worst] + [rest[round((index + 1) * len(rest) / wanted) - 1] for index in range(wanted)]


def _bars(annotation: Any, values: Mapping[str, Any], classes: Sequence[str]) -> list[Bar]:
    """A row per class in the order of ``classes``; of many classes only the FEW_CLASSES most probable by anyone."""
    truth = _distribution(annotation)
    if truth is None:
        return []
    given = {arm: shares for arm, value in values.items() if (shares := _distribution(value)) is not None}
    names = dict.fromkeys([*classes, *truth, *(name for shares in given.values() for name in shares)])
    bars = [
        Bar(name, truth.get(name, 0.0), {arm: shares.get(name, 0.0) for arm, shares in given.items()}) for name in names
    ]
    if len(bars) > FEW_CLASSES:
        kept = sorted(bars, key=lambda bar: -max([bar.truth, *bar.dots.values()]))[:FEW_CLASSES]
        bars = [bar for bar in bars if bar in kept]
    return bars


def _functions(value: Any) -> str | None:
    """What turns one picture into the other, of an annotation that also holds the states; None of any other."""
    found = value.get("functions") if isinstance(value, dict) else None
    return ", ".join(map(str, found)) if isinstance(found, list) else found if isinstance(found, str) else None


def _distribution(value: Any) -> dict[str, float] | None:
    """``value`` as class -> probability clamped to 0..1, or None where it is no distribution."""
    if not isinstance(value, dict) or _functions(value) is not None:
        return None
    shares = {str(name): float(share) for name, share in value.items() if isinstance(share, int | float)}
    return {name: min(max(share, 0.0), 1.0) for name, share in shares.items() if math.isfinite(share)}


def _boxes(value: Any) -> tuple[Box, ...] | None:
    """The boxes of one region or of a list of ``{"label", "box"}``; None where ``value`` is neither."""
    if box := _box(value):
        return (box,)
    if not isinstance(value, list) or not all(isinstance(one, dict) and "label" in one for one in value):
        return None
    boxes = [_box(one.get("box")) for one in value]
    return None if None in boxes else tuple(box for box in boxes if box)


def _box(value: Any) -> Box | None:
    if not isinstance(value, list | tuple) or len(value) != 4:
        return None
    if not all(isinstance(edge, int | float) and math.isfinite(edge) for edge in value):
        return None
    return float(value[0]), float(value[1]), float(value[2]), float(value[3])


def _picture(item: Item, roots: Sequence[Path]) -> None:
    """Set the thumbnail of ``item``, or the problem that left it without one."""
    item.thumbnail, item.problem = find_picture(item.images, roots)


def images_of(row: Mapping[str, Any]) -> tuple[str, ...]:
    """The images of a prediction's record."""
    return (str(row.get("image") or ""), *map(str, row.get("more") or ()))


def find_picture(images: Sequence[str], roots: Sequence[Path]) -> tuple[Thumbnail | None, str]:
    """The thumbnail of a record's images, side by side, below one of ``roots``, or None and the problem."""
    found: list[Image.Image] = []
    for image in images:
        paths = [Path(image)] if Path(image).is_absolute() else [root / image for root in roots]
        path = next((path for path in paths if path.is_file()), None)
        if path is None:
            return None, f"{image or 'The picture'} is not where it was."
        try:
            found.append(read_image(path))
        except UserError as error:
            return None, str(error)
    return thumbnail(beside(found), SIDE * len(found)), ""


def thumbnail(image: Image.Image, side: int = SIDE) -> Thumbnail:
    """A JPEG of at most ``side`` pixels."""
    small = image.copy()
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=82, optimize=True)
    return Thumbnail(
        f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}", image.width, image.height
    )
