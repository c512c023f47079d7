"""Rows as ``rise annotate`` writes them, made by hand for the tests of what is made of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from rise_vlm.tasks import TASKS
from rise_vlm.tasks.base import Task

CLASSES = ["cat", "dog", "bird"]
QUESTION = "What is there?"

ANSWERS: dict[str, list[Any]] = {
    "classification": ["cat", "dog", None, "cat"],
    "distribution": [{"cat": 0.25, "dog": 0.75}, {"cat": 0.5, "dog": 0.25, "bird": 0.25}, None, {"bird": 1.0}],
    "grounding": [[1.0, 2.0, 20.0, 21.5], [3.0, 3.0, 9.0, 9.0], None, [0.0, 0.0, 30.0, 24.0]],
    "detection": [
        [{"label": "cat", "box": [1.0, 2.0, 20.0, 21.5]}, {"label": "dog", "box": [0.0, 0.0, 8.0, 8.0]}],
        [{"label": "bird", "box": [3.0, 3.0, 9.0, 9.0]}],
        None,
        [],
    ],
    "counting": [3, 0, None, 12],
    "structure": ["A", "B", None, "E"],
    "transformation": ["change_color(0, red)", "change_size(1, small)", None, "change_color(0, red)"],
}
"""Of each task three answers and one that could not be read."""


def task_called(name: str) -> Task:
    return TASKS[name](CLASSES if name in ("classification", "distribution", "detection") else (), QUESTION)


def row(image: Path, name: str, answer: Any, **more: Any) -> dict[str, Any]:
    """A row of ``--samples 4 --check``; ``more`` replaces what it holds."""
    source = {"model": "runs/pets", "digest": "d", "task": name, "classes": "", "question": QUESTION, "role": "think"}
    scores = [0.75] * len(answer) if name == "detection" and answer is not None else None
    return {
        "id": str(image),
        "image": str(image),
        "width": 30,
        "height": 24,
        "question": QUESTION,
        "annotation": answer,
        "rationale": "soft fur",
        "completion": "<think>soft fur</think><answer>...</answer>",
        "reason": "the answer is empty" if answer is None else None,
        "samples": 4,
        "confidence": 0.0 if answer is None else 0.75,
        "scores": scores,
        "reconstruction": None if answer is None else 1.0,
        "leaks": [],
        "review": answer is None,
        "source": source | {"samples": 4, "temperature": 0.7, "check": True},
        **more,
    }


def write_rows(out: Path, rows: Sequence[dict[str, Any]]) -> Path:
    out.write_text("".join(json.dumps(one) + "\n" for one in rows), encoding="utf-8")
    return out


def answers(folder: Path, name: str) -> Path:
    """``folder/answers.jsonl`` of four pictures, two of one name."""
    rows = []
    places = ("p 0.png", "inner/p 0.png", "inner/q.jpg", "z.png")
    for number, (place, answer) in enumerate(zip(places, ANSWERS[name], strict=True)):
        path = folder / "photos" / place
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (30, 24), (60 * number, 90, 120)).save(path)
        rows.append(row(path, name, answer))
    return write_rows(folder / "answers.jsonl", rows)
