"""Boxes as models of other papers write them, for the rewards that are named after those papers.

Read from the raw completion: ``[{'Position': [x1, y1, x2, y2], 'Confidence': 0.9}]`` and ``No Objects`` (Visual-RFT),
a JSON list of ``{"bbox_2d": [...], "label": ...}``, fenced or not, and ``None`` (VLM-R1), one bare box, and the answers
of our own tasks, which state no confidence. Left out: their repairs of broken lists, and answers without tags.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from rise_vlm.rewards.published_boxes import Found
from rise_vlm.tasks.base import Frame, normal_name
from rise_vlm.tasks.detection_text import read_answer

if TYPE_CHECKING:
    from rise_vlm.data.record import Record

NOTHING = ("none", "no objects", "no object", "[]")
BOX_KEYS, LABEL_KEYS, CONFIDENCE_KEYS = ("bbox_2d", "position", "box"), ("label",), ("confidence", "score")
LARGEST = 1e6
"""No coordinate is greater; far greater ones make an area infinite."""

_ANSWER = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)
_FENCED = re.compile(r"```(?:json)?(.*?)```", re.DOTALL)


def found_boxes(completion: str, record: Record, frame: Frame) -> list[Found] | None:
    """The boxes of the one ``<answer>`` in pixels of the original picture, labels normalised; None where none can be
    read.
    """
    said = read_boxes(completion)
    if said is None:
        return None
    return [one._replace(box=_corners(frame.decode(one.box, record.width, record.height))) for one in said]


def read_boxes(completion: str) -> list[Found] | None:
    """The same in the numbers that stand there."""
    answers = _ANSWER.findall(completion)
    if len(answers) != 1:
        return None
    text = answers[0].strip()
    fenced = _FENCED.findall(text)
    if fenced:  # of several the last, as in VLM-R1's code
        text = fenced[-1].strip()
    if text.casefold().rstrip(".") in NOTHING:
        return []
    if not text.startswith(("[", "{")):
        pairs = read_answer(text, "none")
        return None if isinstance(pairs, str) else [_found(label, numbers, None) for label, numbers in pairs]
    return _from_json(text)


def _from_json(text: str) -> list[Found] | None:
    items = _loaded(text)
    if items is None:  # Visual-RFT writes Python's quotes
        items = _loaded(text.replace("'", '"'))
    if isinstance(items, dict) or _is_box(items):
        items = cast("list[Any]", [items])
    if not isinstance(items, list):
        return None
    found = [_item(item) for item in cast("list[Any]", items)]
    whole = [one for one in found if one is not None]
    return whole if len(whole) == len(found) else None


def _loaded(text: str) -> Any | None:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _item(item: Any) -> Found | None:
    """One item of the list; None unless it is a box with, maybe, a label and a finite confidence."""
    if _is_box(item):
        return _found(None, item, None)
    if not isinstance(item, dict):
        return None
    values = {str(key).casefold(): value for key, value in cast("Mapping[Any, Any]", item).items()}
    box, label, confidence = (_first(values, keys) for keys in (BOX_KEYS, LABEL_KEYS, CONFIDENCE_KEYS))
    if not _is_box(box) or not isinstance(label, str | None) or not (confidence is None or _is_number(confidence)):
        return None
    return _found(label, box, confidence)


def _first(values: Mapping[str, Any], keys: tuple[str, ...]) -> Any | None:
    return next((values[key] for key in keys if key in values), None)


def _found(label: str | None, box: Any, confidence: float | None) -> Found:
    name = None if label is None else normal_name(label)
    return Found(name, _corners(box), None if confidence is None else float(confidence))


def _corners(box: Any) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = (float(n) for n in box)
    return x1, y1, x2, y2


def _is_box(box: Any) -> bool:
    return isinstance(box, list) and len(cast("list[Any]", box)) == 4 and all(map(_is_number, cast("list[Any]", box)))


def _is_number(n: Any) -> bool:
    return isinstance(n, int | float) and not isinstance(n, bool) and abs(n) <= LARGEST and math.isfinite(n)
