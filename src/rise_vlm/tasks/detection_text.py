"""Reading a detection answer: ``car: [12, 40, 310, 555]; dog: [330, 420, 410, 530]``, ``none``, or a JSON list.

Only the form is judged here; what is a class and what is a box of the image, the task knows. Time is linear in the
text.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, cast

Pair = tuple[str, list[float]]

_NUMBER = r" ?([0-9]{1,6}(?:\.[0-9]{1,9})?) ?"
_BOX = re.compile(rf"(.*?) ?: ?\[{_NUMBER},{_NUMBER},{_NUMBER},{_NUMBER}\]")


def read_answer(text: str, nothing: str) -> list[Pair] | str:
    """(label as written, four numbers) per box, none for ``nothing`` and ``[]``; or why there is no reading it."""
    text = " ".join(text.split())
    if not text:
        return "the answer is empty"
    if text.casefold() == nothing:
        return []
    return _read_json(text) if text.startswith("[") else _read_list(text)


def _read_list(text: str) -> list[Pair] | str:
    pairs: list[Pair] = []
    for part in text.split(";"):
        match = _BOX.fullmatch(part.strip())
        if match is None:
            return f"'{part.strip()[:60]}' is not of the form class: [x1, y1, x2, y2]"
        pairs.append((match[1], [float(match[side]) for side in (2, 3, 4, 5)]))
    return pairs


def _read_json(text: str) -> list[Pair] | str:
    """A list of ``{"label": ..., "bbox_2d": [...]}`` (``box`` for ``bbox_2d`` is taken too) and nothing else."""
    try:
        items = json.loads(text, object_pairs_hook=lambda pairs: pairs)
    except (ValueError, RecursionError):
        return "the answer is not a JSON list"
    pairs: list[Pair] = []
    for item in cast("list[Any]", items):
        keys = [key for key, _ in item] if _is_object(item) else []
        if sorted(keys) not in (["bbox_2d", "label"], ["box", "label"]):
            return 'an item of the JSON list is not {"label": class, "bbox_2d": [x1, y1, x2, y2]}'
        values = dict(item)
        label, box = values["label"], values.get("bbox_2d", values.get("box"))
        if not isinstance(label, str) or not isinstance(box, list) or not _is_box(cast("list[Any]", box)):
            return "an item of the JSON list has no label or no box of four finite numbers"
        pairs.append((label, [float(n) for n in cast("list[Any]", box)]))
    return pairs


def _is_object(item: Any) -> bool:
    """Whether a parsed item was a JSON object: a list of (key, value) tuples, which no JSON list holds."""
    return isinstance(item, list) and all(isinstance(pair, tuple) for pair in cast("list[Any]", item))


def _is_box(box: list[Any]) -> bool:
    return len(box) == 4 and all(
        isinstance(n, int | float) and not isinstance(n, bool) and abs(n) < 1e6 and math.isfinite(n) for n in box
    )
