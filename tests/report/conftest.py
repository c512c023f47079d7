"""Run folders made up for the report's tests: small pictures, plausible figures, nothing trained."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

CLASSES = ("joy", "fear", "calm")
MakeRun = Callable[..., Path]


def answer(task: str, score: float) -> Any:
    """A value whose quality is about ``score``; None for 0."""
    if score == 0:
        return None
    if task == "distribution":
        return {"joy": score, "fear": 1 - score}
    return [10, 10, 10 + 40 * score, 50] if task == "grounding" else ("joy" if score == 1 else "fear")


TRUTH: dict[str, Any] = {"distribution": {"joy": 1.0}, "grounding": [10, 10, 50, 50], "classification": "joy"}


def write_predictions(
    run: Path, arm: str, split: str, scores: Sequence[float], task: str, rationale: str | None = "A warm light."
) -> None:
    """One row per score; ids are the positions."""
    (run / "predictions").mkdir(parents=True, exist_ok=True)
    rows = [
        {
            "id": f"{split}-{index}",
            "image": f"images/{split}-{index}.png",
            "question": "What is it?",
            "annotation": TRUTH[task],
            "completion": "<answer>...</answer>",
            "rationale": rationale,
            "value": answer(task, score),
            "reason": None if score else "the answer is empty",
            "score": score,
        }
        for index, score in enumerate(scores)
    ]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (run / "predictions" / f"{arm}-{split}.jsonl").write_text(lines)


def write_stage(folder: Path, rows: Sequence[dict[str, Any]]) -> None:
    """A stage's metrics, with the step counted from 1."""
    folder.mkdir(parents=True)
    lines = [json.dumps({"step": step, **row}) + "\n" for step, row in enumerate(rows, 1)]
    (folder / "metrics.jsonl").write_text("".join(lines))


def arm(name: str, split: str = "test", score: float = 0.5, spread: float = 0.01, **more: Any) -> dict[str, Any]:
    """An entry of ``arms`` in results.json."""
    return {
        "arm": name,
        "seed": 0,
        "task": "classification",
        "split": split,
        "n": 100,
        "metrics": {"score": score, "parsed": 1.0},
        "intervals": {"score": [score - spread, score + spread]},
        "cost": {"seconds": 60.0, "rollouts": 1200, "tokens": 34000, "peak_mb": 512.0},
    } | more


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """``make_run(task, arms, splits, records)`` writes a whole run of two to four arms and returns its folder."""

    def make(
        task: str = "classification",
        arms: Sequence[str] = ("zero_shot", "rise"),
        splits: Sequence[str] = ("test", "ood"),
        records: int = 6,
        rationale: str = "A warm light falls on the face.",
    ) -> Path:
        run = tmp_path / "run"
        (run / "data" / "images").mkdir(parents=True)
        for split in splits:
            for index in range(records):
                Image.new("RGB", (64, 60), (index * 30 % 256, 120, 90)).save(run / f"data/images/{split}-{index}.png")
            for shift, name in enumerate(arms):
                scores = [((index + shift) % 3) / 2 for index in range(records)]
                write_predictions(run, name, split, scores, task, rationale)
        entries = [arm(name, split, 0.4 + 0.1 * index) for index, name in enumerate(arms) for split in splits]
        loop = {"reconstruction": {"real": 0.71, "empty": 0.52, "shuffled": 0.54}, "leak_rate": 0.01, "facts": None}
        results = {
            "format": 1, "recipe": "rise", "model": "tiny", "arms": entries,
            "data": {"name": "made up", "task": task, "folder": "data", "classes": CLASSES, "counts": {"train": 9}},
            "floors": [{"name": "uniform", "split": "test", "metrics": {"score": 0.2}}],
            "loop": loop, "harvest": {"sampled": 40, "kept": 8, "threshold": 0.6},
            "environment": {"command": "rise run rise", "python": "3.11.7"},
        }  # fmt: skip
        (run / "results.json").write_text(json.dumps(results))
        (run / "recipe.yaml").write_text("name: rise\ndata: data\n")
        loop_rows = [{"reward": 0.1 * s, "reconstruction": 0.1 * s, "leak_rate": 0.0, "length": 20} for s in range(9)]
        write_stage(run / "stages/01-closed_loop", loop_rows)
        write_stage(run / "stages/03-grpo", [{"reward": 0.5, "score": 0.4, "loss": 0.0} for _ in range(4)])
        write_stage(run / "stages/02-sft", [{"loss": 3.0 - step} for step in range(3)])
        histogram = {"edges": [0, 0.5, 1], "counts": [32, 8], "threshold": 0.6}
        (run / "stages/01-closed_loop/histogram.json").write_text(json.dumps(histogram))
        return run

    return make
