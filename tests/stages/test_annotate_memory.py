"""Annotating holds the names of the pictures and a few batches, however many there are."""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from answer_rows import CLASSES, QUESTION, task_called
from PIL import Image

from rise_vlm.policy.frames import Thousand
from rise_vlm.stages import annotate as stage
from rise_vlm.stages import pictures

TEXT = "<think>soft fur</think><answer>cat</answer>"


class Prompt(list[int]):
    text = "What is there?"


class Stub:
    """A policy that answers every picture alike, at once."""

    max_pixels, context, processor, frame = 1 << 16, 4096, None, Thousand()

    def preprocess(self, images: Sequence[Image.Image]) -> list[Image.Image]:
        return [image.copy() for image in images]

    def encode(self, text: str, images: Sequence[Any]) -> Prompt:
        return Prompt(range(100))


def answer(policy: Any, prompts: Sequence[Any], n: int, **_: Any) -> list[list[Any]]:
    return [[SimpleNamespace(text=TEXT)] * n for _ in prompts]


def peak(out: Path, number: int) -> int:
    """Bytes at the most while that many pictures are annotated, all of one file."""
    task, names = task_called("classification"), ["one.png"] * number
    source = stage.Source("stub", "", task.name, ",".join(CLASSES), QUESTION, "think")
    outcome = stage.Outcome()
    tracemalloc.start()
    stage.annotate(Stub(), task, source, names, out, stage.Asking(), outcome)  # type: ignore[arg-type]
    found = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert outcome.annotated == number and outcome.unparsed == 0
    return found


def test_memory_does_not_grow_with_the_number_of_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = Image.new("RGB", (64, 48))
    monkeypatch.setattr(stage, "sample", answer)
    monkeypatch.setattr(stage, "read_image", lambda _: picture)
    monkeypatch.setattr(pictures, "_pixels", lambda _: 64 * 48)
    monkeypatch.setattr(os, "fsync", lambda _: None)
    peak(tmp_path / "first", 300)
    few, many = (peak(tmp_path / f"{number}.jsonl", number) for number in (1_000, 5_000))
    assert many - few < 4_000 * 8  # bytes; a row takes a thousand
