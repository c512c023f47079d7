"""Evaluation: greedy answers on the test splits, metrics with 95 % intervals, every prediction written down.

Predictions are appended batch by batch, so an evaluation that was stopped goes on where it was. Where answers carry
rationales, these are measured too, stage by stage (``quality``).
Left out: tables and pictures (``report``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rise_vlm.data import Record
from rise_vlm.data.splitting import families
from rise_vlm.stages.context import Context, Summary
from rise_vlm.stages.files import Row
from rise_vlm.stages.intervals import intervals, split_intervals
from rise_vlm.stages.material import Material
from rise_vlm.stages.predictions import predict
from rise_vlm.stages.quality import Quality


def run(context: Context) -> Summary:
    """Leaves ``predictions/<arm>-<split>.jsonl`` and ``quality/<arm>-<stage>.jsonl`` in its folder; the summary holds
    one entry per arm and split."""
    settings = context.recipe.evaluate
    arms: list[dict[str, Any]] = []
    quality = Quality(context) if settings.measures_quality else None
    with context.policy(context.models.final) as policy:
        for role in settings.roles:
            arm = context.recipe.evaluated(role)
            for split, records in context.material.tests.items():
                path = context.folder / "predictions" / f"{arm}-{split}.jsonl"
                rows = predict(policy, context.material, records, role, settings, path, context.meter)
                figures = judge(context.material, records, rows, settings.resamples, context.recipe.seed)
                arms.append({"arm": arm, "role": role, "split": split, **figures})
        if quality is not None:
            quality.work(policy, context.models.final)
    if quality is not None:
        found = quality.finish()
        next(arm for arm in arms if (arm["role"], arm["split"]) == ("think", quality.split))["quality"] = found
    return {"arms": arms}


def judge(
    material: Material, records: Sequence[Record], rows: Sequence[Row], resamples: int, seed: int
) -> dict[str, Any]:
    """``{"n", "metrics", "intervals"}`` of predictions. Records that share a picture are drawn together."""
    pairs = [(record.annotation, row["value"]) for record, row in zip(records, rows, strict=True)]
    homes = families([record.images for record in records])
    pictures = [homes[record.images[0]] for record in records]
    found = intervals(material.task.metrics, pairs, resamples=resamples, seed=seed, pictures=pictures)
    found |= split_intervals(material.task.ranked(pairs), resamples, seed, pictures)
    whole = material.task.metrics(pairs) | material.task.split_metrics(pairs)
    metrics = {name: round(float(value), 6) for name, value in whole.items()}
    return {"n": len(pairs), "metrics": metrics, "intervals": found}
