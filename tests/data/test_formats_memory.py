"""Files of answers are written a row at a time: their size does not matter."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from rise_vlm.data.formats import FORMATS
from rise_vlm.data.formats.base import Entry, Target

OF_ONE_FILE = [name for name, form in FORMATS.items() if form.writes and hasattr(form.load_writer(), "write_file")]


def entries(number: int, task: str) -> Iterator[Entry]:
    boxes = [{"label": "cat", "box": [1.5, 2.5, 9.25, 8.75]}, {"label": "dog", "box": [3.0, 1.0, 12.5, 10.0]}]
    for at in range(number):
        annotation = {"detection": boxes, "classification": "cat", "counting": 2}[task]
        yield Entry(f"{at}", "train", f"{at}.jpg", f"images/{at}.jpg", 30, 24, annotation, "What?", "fur", score=0.5)


def peak(name: str, path: Path, number: int) -> int:
    """Bytes."""
    form = FORMATS[name]
    task = next(task for task in ("detection", "classification", "counting") if task in form.writes)
    tracemalloc.start()
    form.load_writer().write_file(entries(number, task), path, Target(task, ("cat", "dog")))
    found = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return found


@pytest.mark.parametrize("name", OF_ONE_FILE)
def test_a_file_takes_no_more_memory_for_more_pictures(tmp_path: Path, name: str) -> None:
    peak(name, tmp_path / "first", 10)  # imports
    few = peak(name, tmp_path / "few", 500)
    # Twice: paths intern their names, and the interpreter's table of these may double its size while one is written.
    assert any(peak(name, tmp_path / f"many{again}", 3000) - few < 2500 * 40 for again in range(2))  # a row: hundreds
