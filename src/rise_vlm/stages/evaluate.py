"""Evaluation: greedy answers on the test splits, metrics with 95 % intervals, every prediction written down.

Predictions are appended batch by batch, so an evaluation that was stopped goes on where it was.
Left out: tables and pictures (``report``).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from rise_vlm.console import progress
from rise_vlm.data import Record
from rise_vlm.engine.sample import sample
from rise_vlm.policy import Policy
from rise_vlm.recipes.schema import Evaluate
from rise_vlm.stages.context import Context, Summary, batches
from rise_vlm.stages.cost import Meter
from rise_vlm.stages.files import Row, append_rows, mend_rows
from rise_vlm.stages.intervals import intervals, split_intervals
from rise_vlm.stages.loop_reward import count
from rise_vlm.stages.material import Material
from rise_vlm.stages.prompter import Prompter
from rise_vlm.tasks.base import Role


def run(context: Context) -> Summary:
    """Leaves ``predictions/<arm>-<split>.jsonl`` in its folder; the summary holds one entry per arm and split."""
    settings = context.recipe.evaluate
    arms: list[dict[str, Any]] = []
    with context.policy(context.models.final) as policy:
        for role in settings.roles:
            arm = context.recipe.name if role == settings.roles[0] else f"{context.recipe.name}_{role}"
            for split, records in context.material.tests.items():
                path = context.folder / "predictions" / f"{arm}-{split}.jsonl"
                rows = predict(policy, context.material, records, role, settings, path, context.meter)
                figures = judge(context.material, records, rows, settings.resamples, context.recipe.seed)
                arms.append({"arm": arm, "role": role, "split": split, **figures})
    return {"arms": arms}


def predict(
    policy: Policy,
    material: Material,
    records: Sequence[Record],
    role: Role,
    settings: Evaluate,
    path: Path,
    meter: Meter,
) -> list[Row]:
    """The greedy answer to each record, in order; those already in ``path`` are not asked again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    done = {row["id"]: row for row in mend_rows(path)}
    prompter = Prompter(policy, material)
    with progress(f"evaluate: {path.stem}", total=len(records)) as bar:
        for batch in batches(len(records), settings.records_per_batch):
            chosen = [records[i] for i in batch if records[i].id not in done]
            bar.skip(len(batch) - len(chosen))
            if chosen:
                rows = _answer(policy, prompter, chosen, role, settings, meter)
                append_rows(path, rows)
                meter.save()
                done |= {row["id"]: row for row in rows}
            asked = [done[records[i].id]["score"] for i in range(batch.stop)]
            bar.update(len(chosen), score=sum(asked) / len(asked))
    return [done[record.id] for record in records]


def _answer(
    policy: Policy, prompter: Prompter, records: Sequence[Record], role: Role, settings: Evaluate, meter: Meter
) -> list[Row]:
    task = prompter.material.task
    sampled = sample(
        policy,
        [prompter.prompt(role, record) for record in records],
        1,
        max_new_tokens=settings.max_new_tokens,
        temperature=0.0,
        generator=torch.Generator().manual_seed(0),  # greedy: nothing is drawn
    )
    count(meter, sampled)
    rows: list[Row] = []
    for record, (rollout,) in zip(records, sampled, strict=True):
        read = task.parse_completion(rollout.text, record, policy.frame, role)
        rows.append(
            {
                "id": record.id,
                "image": record.images[0],
                "question": task.ask(record),
                "annotation": record.annotation,
                "completion": rollout.text,
                "rationale": read.rationale,
                "value": read.parsed.value,
                "reason": read.parsed.reason,
                "score": task.score(record.annotation, read.parsed.value),
            }
        )
    return rows


def judge(
    material: Material, records: Sequence[Record], rows: Sequence[Row], resamples: int, seed: int
) -> dict[str, Any]:
    """``{"n", "metrics", "intervals"}`` of predictions."""
    pairs = [(record.annotation, row["value"]) for record, row in zip(records, rows, strict=True)]
    pictures = [record.images[0] for record in records]
    found = intervals(material.task.metrics, pairs, resamples=resamples, seed=seed, pictures=pictures)
    found |= split_intervals(material.task.ranked(pairs), resamples, seed, pictures)
    whole = material.task.metrics(pairs) | material.task.split_metrics(pairs)
    metrics = {name: round(float(value), 6) for name, value in whole.items()}
    return {"n": len(pairs), "metrics": metrics, "intervals": found}
