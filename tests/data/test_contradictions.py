"""Of two rows that contradict each other about an image neither is taken; they are compared by what they mean."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from format_kit import put, put_text
from PIL import Image

from rise_vlm.data import Dataset
from rise_vlm.data.contradictions import REASON
from rise_vlm.data.formats import FORMATS
from rise_vlm.data.formats.base import Options
from rise_vlm.data.importing import import_dataset
from rise_vlm.data.outcome import Outcome


def imported(form: str, source: Path, out: Path, task: str = "classification") -> Outcome:
    return import_dataset(FORMATS[form], source, out, Options(task=task), shares={"val": 0, "test": 0})


def test_rows_that_contradict_each_other_about_an_image_are_left_out_in_every_format(tmp_path: Path) -> None:
    """Of two rows nobody knows the true one; what only says it twice, or answers another question, stays."""
    (tmp_path / "source").mkdir()
    for number, name in enumerate("abc"):  # told apart by their bytes too
        Image.new("L", (20, 10), number).save(tmp_path / "source" / f"{name}.png")
    rows = [("a.png", "cat", None), ("a.png", "dog", None), ("b.png", "cat", None), ("b.png", "cat", None)]
    rows += [("c.png", "cat", "What is it?"), ("c.png", "dog", "What is it not?")]
    keys = ("image", "label", "question")
    for form, inside in (("parquet", False), ("parquet", True), ("imagefolder", False)):
        out = tmp_path / f"{form}-{inside}"
        held = {name: {"bytes": (tmp_path / "source" / name).read_bytes(), "path": name} for name, *_ in rows}
        table = [dict(zip(keys, (held[name] if inside else name, *said), strict=True)) for name, *said in rows]
        source = tmp_path / "source" / ("a.parquet" if form == "parquet" else "metadata.parquet")
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(table), source)
        outcome = imported(form, source, out)
        assert outcome.skipped == {REASON: 2}
        assert [record.annotation for record in Dataset.open(out).records("train")] == ["cat", "cat", "cat", "dog"]


CAR, DOG = ({"label": name, "box": [1, 2, 9, 9]} for name in ("car", "dog"))


@pytest.mark.parametrize(
    ("task", "one", "other", "differ"),
    [
        ("counting", "2", "2.0", False),
        ("counting", "2", "3", True),
        ("detection", [CAR, DOG], [DOG, CAR | {"box": [1.0, 2.0, 9, 9]}], False),
        ("detection", [CAR], [], True),
        ("distribution", {"joy": 1, "fear": 0}, {"joy": 1.0}, False),
        ("distribution", {"joy": 0.5, "fear": 0.5}, {"joy": 1.0}, True),
        ("structure", "A", "B", True),
        ("grounding", [1, 2, 9, 9], [5, 2, 9, 9], False),  # of which there may be several
    ],
)
def test_answers_to_one_question_differ_by_what_they_mean(
    tmp_path: Path, task: str, one: Any, other: Any, differ: bool
) -> None:
    rows = [("1", "What?", one), ("1", "What?", other), ("1", "What else?", other), ("2", "What?", one)]
    source = put_text(
        tmp_path / "a.json",
        [
            {
                "id": str(number),
                "images": [f"{name}.png"],
                "messages": [
                    {"role": "user", "content": f"<image>{question}"},
                    {"role": "assistant", "content": answer if isinstance(answer, str) else json.dumps(answer)},
                ],
            }
            for number, (name, question, answer) in enumerate(rows)
        ],
    )
    put(tmp_path, "1.png", "2.png")
    outcome = imported("sharegpt", source, tmp_path / "out", task)
    assert outcome.skipped == ({REASON: 2} if differ else {}) and not outcome.quarantined.quarantined
    kept = [record.id for record in Dataset.open(tmp_path / "out").records("train")]
    assert kept == (["2", "3"] if differ else ["0", "1", "2", "3"])
