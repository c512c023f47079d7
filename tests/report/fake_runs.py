"""Run folders as a finished run leaves them, with given scores and without any model."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def fake_run(
    folder: Path,
    arm: str,
    scores: Mapping[str, Sequence[float]],
    *,
    seed: int = 0,
    task: str = "classification",
    truth: str = "red",
    seconds: float = 60.0,
    loop: Mapping[str, Any] | None = None,
    records: int = 100,
    quality: Mapping[str, Any] | None = None,
) -> Path:
    """``scores`` maps splits to the score of each record, ``r0``, ``r1``, ...; a score of 0 was not parsed."""
    (folder / "predictions").mkdir(parents=True)
    arms = []
    for split, values in scores.items():
        rows = [
            {
                "id": f"r{i}", "image": f"{split}/{i}.png", "question": "Which?", "annotation": truth,
                "completion": "", "rationale": None, "value": truth if value else None,
                "reason": None if value else "empty", "score": value,
            }
            for i, value in enumerate(values)
        ]  # fmt: skip
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / "predictions" / f"{arm}-{split}.jsonl").write_text(lines, encoding="utf-8")
        score = sum(values) / len(values)
        arms.append({
            "arm": arm, "seed": seed, "task": task, "split": split, "role": "think", "n": len(values),
            "metrics": {"score": score, "parsed": 1.0}, "intervals": {},
            "cost": {"seconds": seconds, "rollouts": 10, "tokens": 1000, "peak_mb": 500.0},
        })  # fmt: skip
    if quality:
        arms[0]["quality"] = quality
    results = {
        "format": 1, "recipe": arm, "model": "tiny",
        "data": {"name": "d", "task": task, "folder": "data", "classes": ["red"], "counts": {"train": records}},
        "arms": arms, "floors": [{"name": "uniform", "split": split, "metrics": {"score": 0.25}} for split in scores],
        "loop": loop, "harvest": {"kept": 1, "sampled": 4} if loop else None, "notes": [],
        "environment": {"version": "0.1.0", "device": "cpu"},
    }  # fmt: skip
    (folder / "results.json").write_text(json.dumps(results), encoding="utf-8")
    return folder
